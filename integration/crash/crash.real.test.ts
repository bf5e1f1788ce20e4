/** A sample of crash.long.test.ts with a fixed seed. */
import { defineKillTest } from "./rings.ts";

defineKillTest({ seed: 12, rounds: 12 });
