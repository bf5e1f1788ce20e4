/** A sample of crash.long.test.ts, with the same seed each time. */
import { defineKillTest } from "./rings.ts";

defineKillTest({ seed: 12, rounds: 12 });
