/**
 * Durations in text form: `1h30m`, `250ms`, `14d`. The program uses whole milliseconds. Units: d
 * (24 h), h, m, s, ms, largest first, each at most once. Decimals (`1.5h`) are allowed if the
 * result is whole milliseconds.
 */
import { SpoorError } from "#pkg/errors/errors.ts";

const units: readonly (readonly [name: string, ms: bigint])[] = [
  ["d", 86_400_000n],
  ["h", 3_600_000n],
  ["m", 60_000n],
  ["s", 1000n],
  ["ms", 1n],
];

/** Maximum length of a text; longer ones are refused without parsing. */
const textCharsMax = 64;
const digitsMax = 20;
const partPattern = /(\d+)(?:\.(\d+))?([a-z]+)/y;

/** Examples for messages. */
export const durationExample = "a duration such as 250ms, 30s, 1h30m or 14d";

/** Parses a duration; returns milliseconds. Throws InvalidInput if invalid. `0` needs no unit. */
export function parseDuration(text: string): number {
  if (text === "0") return 0;
  let totalMs = 0n;
  let unitIndexMin = 0;
  let position = 0;
  if (text.length === 0 || text.length > textCharsMax) throw notADuration(text);
  if (/^\d+(\.\d+)?$/.test(text)) throw notADuration(text, "a unit is missing");
  while (position < text.length) {
    partPattern.lastIndex = position;
    const match = partPattern.exec(text);
    if (match === null) throw notADuration(text);
    const [part, whole, fraction = "", unitName] = match;
    const unitIndex = units.findIndex(([name]) => name === unitName);
    if (unitIndex < 0) throw notADuration(text, `the units are d, h, m, s, ms, not ${unitName}`);
    if (unitIndex < unitIndexMin) throw notADuration(text, "units go from large to small");
    if (whole.length + fraction.length > digitsMax) throw notADuration(text, "too many digits");
    totalMs += partMs(text, whole + fraction, 10n ** BigInt(fraction.length), units[unitIndex][1]);
    unitIndexMin = unitIndex + 1;
    position += part.length;
  }
  if (totalMs > BigInt(Number.MAX_SAFE_INTEGER)) throw notADuration(text, "too long");
  return Number(totalMs);
}

function partMs(text: string, digits: string, divisor: bigint, unitMs: bigint): bigint {
  const scaled = BigInt(digits) * unitMs;
  if (scaled % divisor !== 0n) throw notADuration(text, "not in whole milliseconds");
  return scaled / divisor;
}

/** Returns the shortest exact text of whole units, e.g. `1h30m`; `0s` for 0. */
export function formatDuration(durationMs: number): string {
  if (!Number.isSafeInteger(durationMs) || durationMs < 0) {
    throw new SpoorError("Internal", `format duration ${String(durationMs)}: not whole ms`);
  }
  let rest = BigInt(durationMs);
  let text = "";
  for (const [name, unitMs] of units) {
    const count = rest / unitMs;
    if (count > 0n) text += `${String(count)}${name}`;
    rest %= unitMs;
  }
  return text === "" ? "0s" : text;
}

function notADuration(text: string, why?: string): SpoorError {
  const shown = JSON.stringify(text.slice(0, textCharsMax));
  const reason = why === undefined ? "" : `: ${why}`;
  return new SpoorError("InvalidInput", `${shown} is not ${durationExample}${reason}`, {
    reason: "invalid_duration",
  });
}
