/** Trace ids as people write them. */
import { usageError } from "#cmd/spoor/flags.ts";

/** Up to 32 hex digits, leading zeros may be missing, as 16 bytes. Throws a usage error. */
export function parseTraceIdText(id: string): Uint8Array {
  if (/^[0-9a-f]{1,32}$/i.test(id)) return Buffer.from(id.padStart(32, "0"), "hex");
  throw usageError(`${JSON.stringify(id)} is not a trace id: 1 to 32 hex digits`);
}
