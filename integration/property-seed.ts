/**
 * Runs before each test file: property tests (fast-check) take the same cases each time, so that a
 * run says something about the change and not about chance. At depth they take others each time,
 * and a failure prints its seed.
 */
import * as fc from "fast-check";
import { inject } from "vitest";

const seed = 20_261_201;

fc.configureGlobal(inject("depth") === 1 ? { seed } : {});
