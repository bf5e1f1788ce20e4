/** Finds a few trace ids of a refused request, so that an operator can find its sender. */
import { WireReader } from "#pkg/bytes/bytes.ts";

const traceIdBytes = 16;

/**
 * Returns up to `countMax` distinct trace ids (32 hex digits) of an ExportTraceServiceRequest. If
 * the request does not parse, it returns the ids before the damage.
 */
export function exampleTraceIds(body: Uint8Array, countMax = 3): string[] {
  const ids = new Set<string>();
  try {
    eachMessage(new WireReader(body), body.length, 1, (resourceSpans, resourceEnd) =>
      eachMessage(resourceSpans, resourceEnd, 2, (scopeSpans, scopeEnd) =>
        eachMessage(scopeSpans, scopeEnd, 2, (span, spanEnd) =>
          eachMessage(span, spanEnd, 1, (id, idEnd) => {
            if (idEnd - id.pos === traceIdBytes) {
              ids.add(Buffer.from(body.subarray(id.pos, idEnd)).toString("hex"));
            }
            return ids.size < countMax;
          }),
        ),
      ),
    );
  } catch {
    // The caller refuses the request anyway: examples are best effort.
    return [...ids];
  }
  return [...ids];
}

/** Calls `each` for every message with this field number; stops and returns false if it does. */
function eachMessage(
  reader: WireReader,
  end: number,
  field: number,
  each: (reader: WireReader, end: number) => boolean,
): boolean {
  const wanted = (field << 3) | 2;
  while (reader.pos < end) {
    const tag = reader.tag();
    if (tag !== wanted) {
      reader.skip(tag);
      continue;
    }
    const fieldEnd = reader.lengthEnd();
    if (!each(reader, fieldEnd)) return false;
    reader.pos = fieldEnd;
  }
  return true;
}
