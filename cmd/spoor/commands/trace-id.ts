/** Parses trace ids of the command line. */
import { usageError } from "#cmd/spoor/flags.ts";

/** Parses 1 to 32 hex digits to 16 bytes; adds leading zeros. Throws a usage error. */
export function parseTraceIdText(id: string): Uint8Array {
  if (/^[0-9a-f]{1,32}$/i.test(id)) return Buffer.from(id.padStart(32, "0"), "hex");
  throw usageError(`${JSON.stringify(id)} is not a trace id: 1 to 32 hex digits`);
}
