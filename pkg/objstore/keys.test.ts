import * as fc from "fast-check";
import { expect, test } from "vitest";
import { hasCode } from "#pkg/errors/errors.ts";
import { checkKey, checkPrefix, compareKeys, folderOf } from "./keys.ts";

const text = fc.string({ unit: "binary" });

test("compareKeys is the order of the UTF-8 bytes", () => {
  fc.assert(
    fc.property(text, text, text, (shared, a, b) => {
      const left = shared + a;
      const right = shared + b;
      const expected = Buffer.compare(Buffer.from(left), Buffer.from(right));
      expect(Math.sign(compareKeys(left, right))).toBe(expected);
    }),
    { numRuns: 2000 },
  );
});

test("checkKey agrees with a direct implementation of the rules", () => {
  const segment = fc.oneof(
    text,
    fc.constantFrom("", ".", "..", "...", ".tmp", "a", "x".repeat(256)),
  );
  fc.assert(
    fc.property(fc.array(segment, { maxLength: 5 }), (segments) => {
      const key = segments.join("/");
      const parts = key.split("/");
      const valid =
        key.isWellFormed() &&
        !key.includes("\0") &&
        Buffer.byteLength(key) <= 1024 &&
        parts.every((part) => part !== "" && part !== "." && part !== "..") &&
        parts.every((part) => Buffer.byteLength(part) <= 255) &&
        parts[0] !== ".tmp";
      expect(throws(() => checkKey(key))).toBe(!valid);
      if (!valid) return;
      for (let end = 0; end <= key.length; end++) {
        const prefix = key.slice(0, end);
        if (prefix.isWellFormed()) checkPrefix(prefix);
      }
    }),
    { numRuns: 2000 },
  );
});

test("folderOf keeps the last slash", () => {
  expect(["a", "a/b", "a/b/", ""].map(folderOf)).toEqual(["", "a/", "a/b/", ""]);
});

function throws(run: () => void): boolean {
  try {
    run();
    return false;
  } catch (error) {
    expect(hasCode(error, "InvalidInput")).toBe(true);
    return true;
  }
}
