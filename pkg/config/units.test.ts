import * as fc from "fast-check";
import { expect, test } from "vitest";
import { SpoorError } from "#pkg/errors/errors.ts";
import { formatDuration, parseDuration } from "./duration.ts";
import { formatSize, parseSize } from "./size.ts";

const anyWhole = fc.oneof(
  fc.nat(),
  fc.maxSafeNat(),
  fc.constantFrom(0, 1, 999, 1000, 1023, 1024, 60_000, 86_400_000, Number.MAX_SAFE_INTEGER),
);

test("durations: golden values", () => {
  const golden: [text: string, ms: number, printed: string][] = [
    ["0", 0, "0s"],
    ["0s", 0, "0s"],
    ["250ms", 250, "250ms"],
    ["30s", 30_000, "30s"],
    ["5m", 300_000, "5m"],
    ["90m", 5_400_000, "1h30m"],
    ["1h30m", 5_400_000, "1h30m"],
    ["1.5h", 5_400_000, "1h30m"],
    ["0.001s", 1, "1ms"],
    ["14d", 1_209_600_000, "14d"],
    ["1d2h3m4s5ms", 93_784_005, "1d2h3m4s5ms"],
    ["0007s", 7000, "7s"],
  ];
  for (const [text, ms, printed] of golden) {
    expect(parseDuration(text), text).toBe(ms);
    expect(formatDuration(ms), text).toBe(printed);
  }
});

test("durations: what is refused", () => {
  const refused: [text: string, why: string][] = [
    ["", "is not a duration"],
    ["30", "a unit is missing"],
    ["1.5", "a unit is missing"],
    ["-5m", "is not a duration"],
    ["5 m", "is not a duration"],
    ["5M", "is not a duration"],
    ["5w", "the units are d, h, m, s, ms, not w"],
    ["5us", "not us"],
    ["30m1h", "from large to small"],
    ["1h1h", "from large to small"],
    ["0.5ms", "not in whole milliseconds"],
    ["1.0001s", "not in whole milliseconds"],
    ["999999999999d", "too long"],
    ["9".repeat(30) + "s", "too many digits"],
    ["1s".repeat(40), "is not a duration"],
    ["1h30", "is not a duration"],
    ["١s", "is not a duration"],
  ];
  for (const [text, why] of refused) expect(() => parseDuration(text), text).toThrow(why);
});

test("durations: each whole number of milliseconds round-trips", () => {
  fc.assert(fc.property(anyWhole, (ms) => parseDuration(formatDuration(ms)) === ms));
});

test("durations: what parses prints to the same time", () => {
  const part = fc.tuple(fc.nat(9999), fc.constantFrom("d", "h", "m", "s", "ms"));
  fc.assert(
    fc.property(fc.array(part, { minLength: 1, maxLength: 5 }), (parts) => {
      const order = ["d", "h", "m", "s", "ms"] as const;
      const ms = [86_400_000, 3_600_000, 60_000, 1000, 1];
      const unique = new Map(parts.map(([count, unit]) => [unit, count]));
      const used = order.filter((unit) => unique.has(unit));
      const text = used.map((unit) => `${String(unique.get(unit))}${unit}`).join("");
      const sum = used.reduce(
        (total, unit) => total + unique.get(unit)! * ms[order.indexOf(unit)],
        0,
      );
      expect(parseDuration(text)).toBe(sum);
      expect(parseDuration(formatDuration(sum))).toBe(sum);
    }),
  );
});

test("sizes: golden values", () => {
  const golden: [text: string, bytes: number, printed: string][] = [
    ["0", 0, "0B"],
    ["1", 1, "1B"],
    ["4096", 4096, "4KiB"],
    ["64MiB", 67_108_864, "64MiB"],
    ["64 MiB", 67_108_864, "64MiB"],
    ["1GB", 1_000_000_000, "1GB"],
    ["30000KB", 30_000_000, "30MB"],
    ["1.5GiB", 1_610_612_736, "1536MiB"],
    ["0.5KiB", 512, "512B"],
    ["1000B", 1000, "1KB"],
    ["1024000", 1_024_000, "1000KiB"],
    ["2TiB", 2_199_023_255_552, "2TiB"],
    ["1025", 1025, "1025B"],
  ];
  for (const [text, bytes, printed] of golden) {
    expect(parseSize(text), text).toBe(bytes);
    expect(formatSize(bytes), text).toBe(printed);
  }
});

test("sizes: what is refused", () => {
  const refused: [text: string, why: string][] = [
    ["", "is not a size"],
    ["-1", "is not a size"],
    ["MiB", "is not a size"],
    ["64mb", "not mb"],
    ["64M", "not M"],
    ["64Mi", "not Mi"],
    ["1.5B", "not in whole bytes"],
    ["0.0001KiB", "not in whole bytes"],
    ["9007199254740992", "too large"],
    ["100000000TiB", "too large"],
    ["9".repeat(21), "is not a size"],
    ["1  MiB", "is not a size"],
    ["1e3", "is not a size"],
    ["0x10", "is not a size"],
  ];
  for (const [text, why] of refused) expect(() => parseSize(text), text).toThrow(why);
});

test("sizes: each whole number of bytes round-trips, in a text no longer than its digits", () => {
  fc.assert(
    fc.property(anyWhole, (bytes) => {
      const text = formatSize(bytes);
      expect(parseSize(text)).toBe(bytes);
      expect(text.replace(/\D+$/, "").length).toBeLessThanOrEqual(String(bytes).length);
    }),
  );
});

test("any text is a number or a typed error", () => {
  const likely = fc.string({
    unit: fc.constantFrom(...Array.from("0159.dhmsKMGTiB -+eE")),
    maxLength: 80,
  });
  fc.assert(
    fc.property(fc.oneof(fc.string(), likely), (text) => {
      for (const parse of [parseDuration, parseSize]) {
        try {
          const value = parse(text);
          expect(Number.isSafeInteger(value) && value >= 0).toBe(true);
        } catch (error) {
          expect(error).toBeInstanceOf(SpoorError);
          expect((error as SpoorError).code).toBe("InvalidInput");
        }
      }
    }),
    { numRuns: 1000 },
  );
});

test("numbers that are not whole are not printed", () => {
  for (const bad of [-1, 0.5, NaN, Infinity, 2 ** 53]) {
    expect(() => formatDuration(bad)).toThrow("not whole");
    expect(() => formatSize(bad)).toThrow("not whole");
  }
});
