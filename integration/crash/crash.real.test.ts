/** A sample of crash.long.test.ts with a fixed seed. */
import { defineCrashTests } from "./rings.ts";

defineCrashTests({ seed: 12, bucketRounds: 12, pausedRounds: 4 });
