/** Formats durations and times. */

/** Formats nanoseconds with up to three digits: `999ns`, `12.3µs`, `1.23s`, `2m3s`. */
export function durationText(nanos: bigint): string {
  if (nanos < 1000n) return `${String(nanos)}ns`;
  if (nanos < 1_000_000n) return `${threeDigits(nanos, 1000n)}µs`;
  if (nanos < 1_000_000_000n) return `${threeDigits(nanos, 1_000_000n)}ms`;
  if (nanos < 60_000_000_000n) return `${threeDigits(nanos, 1_000_000_000n)}s`;
  const seconds = nanos / 1_000_000_000n;
  const hours = seconds / 3600n;
  const minutes = `${String((seconds / 60n) % 60n)}m${String(seconds % 60n)}s`;
  return hours === 0n ? minutes : `${String(hours)}h${minutes}`;
}

/** Truncates and does not round: 999.96 is not 1000. */
function threeDigits(nanos: bigint, unit: bigint): string {
  const whole = nanos / unit;
  const scale = whole >= 100n ? 1n : whole >= 10n ? 10n : 100n;
  return String(Number((nanos * scale) / unit) / Number(scale));
}

/** Formats a time in UTC; a time outside of the calendar's range as a number. */
export function timeText(nanos: bigint): string {
  const date = new Date(Number(nanos / 1_000_000n));
  return Number.isNaN(date.getTime()) ? `${String(nanos)}ns since 1970` : date.toISOString();
}
