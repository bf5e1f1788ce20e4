/**
 * Runs before each test file. Property tests (fast-check) use fixed cases, so that a failure is due
 * to a change and not to chance. At depth 10 each run uses other cases, and a failure prints its
 * seed.
 */
import * as fc from "fast-check";
import { inject } from "vitest";

const seed = 20_261_201;

fc.configureGlobal(inject("depth") === 1 ? { seed } : {});
