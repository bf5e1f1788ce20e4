/** Ids of a few traces of a request, so that people can find what was refused. */
import { WireReader } from "#pkg/bytes/wire.ts";

const traceIdBytes = 16;

/**
 * Up to `countMax` different trace ids (32 hex digits) of an ExportTraceServiceRequest that need
 * not parse: what comes before the damage is looked at.
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
    // The request is refused for another reason, or for this one: examples are a courtesy.
    return [...ids];
  }
  return [...ids];
}

/** Calls `each` for every field `field` that has a length, until it says false; returns that. */
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
