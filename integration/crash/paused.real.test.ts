/** A sample of crash.long.test.ts, with the same seed each time. */
import { definePausedTest } from "./rings.ts";

definePausedTest({ seed: 12, rounds: 3 });
