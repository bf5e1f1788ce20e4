/**
 * Sizes in text form: `64MiB`, `1GB`, `1.5GiB`, `4096` (bytes). The program uses whole bytes. KB,
 * MB, GB, TB are powers of 1,000; KiB, MiB, GiB, TiB are powers of 1,024.
 */
import { SpoorError } from "#pkg/errors/errors.ts";

/** Largest first; if two units give equally short texts, the binary one is printed. */
const units: readonly (readonly [name: string, bytes: bigint])[] = [
  ["TiB", 1024n ** 4n],
  ["TB", 1000n ** 4n],
  ["GiB", 1024n ** 3n],
  ["GB", 1000n ** 3n],
  ["MiB", 1024n ** 2n],
  ["MB", 1000n ** 2n],
  ["KiB", 1024n],
  ["KB", 1000n],
  ["B", 1n],
];

const textCharsMax = 64;
const sizePattern = /^(\d{1,20})(?:\.(\d{1,20}))? ?([A-Za-z]*)$/;

/** Examples for messages. */
export const sizeExample = "a size such as 64MiB, 1GB or 4096 (bytes)";

/** Parses a size; returns bytes. Throws InvalidInput if it is not a size in whole bytes. */
export function parseSize(text: string): number {
  const match = text.length > textCharsMax ? null : sizePattern.exec(text);
  if (match === null) throw notASize(text);
  const [, whole, fraction = "", unitName] = match;
  const unit = units.find(([name]) => name === (unitName === "" ? "B" : unitName));
  if (unit === undefined) {
    throw notASize(text, `the units are B, KB, MB, GB, TB, KiB, MiB, GiB, TiB, not ${unitName}`);
  }
  const scaled = BigInt(whole + fraction) * unit[1];
  const divisor = 10n ** BigInt(fraction.length);
  if (scaled % divisor !== 0n) throw notASize(text, "not in whole bytes");
  const bytes = scaled / divisor;
  if (bytes > BigInt(Number.MAX_SAFE_INTEGER)) throw notASize(text, "too large");
  return Number(bytes);
}

/** Returns the shortest exact text, e.g. `64MiB`; `0B` for 0. */
export function formatSize(sizeBytes: number): string {
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 0) {
    throw new SpoorError("Internal", `format size ${String(sizeBytes)}: not whole bytes`);
  }
  const bytes = BigInt(sizeBytes);
  let best = `${String(bytes)}B`;
  let bestDigits = String(bytes).length;
  for (const [name, unitBytes] of units) {
    if (bytes === 0n || bytes % unitBytes !== 0n) continue;
    const count = String(bytes / unitBytes);
    if (count.length >= bestDigits) continue;
    best = count + name;
    bestDigits = count.length;
  }
  return best;
}

function notASize(text: string, why?: string): SpoorError {
  const shown = JSON.stringify(text.slice(0, textCharsMax));
  const reason = why === undefined ? "" : `: ${why}`;
  return new SpoorError("InvalidInput", `${shown} is not ${sizeExample}${reason}`, {
    reason: "invalid_size",
  });
}
