// HOT: runs per protobuf field of every span received; measured by `npm run bench` (split).
/**
 * Checks the wire bytes of an OTLP message and refuses bytes that would not decode later:
 * truncation, a known field with a wrong wire type, groups, values nested too deep. It builds no
 * objects. It accepts exactly what decode.ts accepts (property-tested).
 *
 * One table maps each tag in each message to an action, so one function checks all messages:
 *
 *     action = table[message << 7 | tag]     tag < 128: fields 1-15, every wire type
 */
import { SpoorError } from "#pkg/errors/errors.ts";
import {
  wireBytes,
  wireFixed32,
  wireFixed64,
  type WireReader,
  wireVarint,
} from "#pkg/bytes/bytes.ts";
import { valueDepthMax } from "./trace-data.ts";

/** Messages below the envelopes, as numbers for the table. */
export const messageResource = 1;
export const messageScope = 2;
export const messageSpan = 3;
const messageEntityRef = 4;
const messageEvent = 5;
const messageLink = 6;
const messageStatus = 7;
const messageKeyValue = 8;
const messageAnyValue = 9;
const messageArray = 10;
const messageKeyValueList = 11;

/** Actions 1-11 mean "nested message with this number". */
const actionVarint = 16;
const actionFixed64 = 17;
const actionBytes = 18;
const actionFixed32 = 19;
const actionRefuse = 20;
/** Actions from here on record the position of bytes field `action - actionCapture`. */
const actionCapture = 32;

/** Tag of Span.flags, the only known field whose tag takes two bytes. */
const tagFlags = (16 << 3) | wireFixed32;

/** Length of the `captured` array: start and length of the last field 1, 2 and 4 of a span. */
export const capturedSlots = 10;

/** Type of a known field: its wire type, a nested message, or a bytes field to capture. */
type FieldType = number | { message: number } | { capture: number };

const schemas: Record<number, Record<number, FieldType>> = {
  [messageResource]: {
    1: { message: messageKeyValue },
    2: wireVarint,
    3: { message: messageEntityRef },
  },
  [messageScope]: {
    1: wireBytes,
    2: wireBytes,
    3: { message: messageKeyValue },
    4: wireVarint,
  },
  [messageSpan]: {
    1: { capture: 1 },
    2: { capture: 2 },
    3: wireBytes,
    4: { capture: 4 },
    5: wireBytes,
    6: wireVarint,
    7: wireFixed64,
    8: wireFixed64,
    9: { message: messageKeyValue },
    10: wireVarint,
    11: { message: messageEvent },
    12: wireVarint,
    13: { message: messageLink },
    14: wireVarint,
    15: { message: messageStatus },
  },
  [messageEntityRef]: { 1: wireBytes, 2: wireBytes, 3: wireBytes, 4: wireBytes },
  [messageEvent]: {
    1: wireFixed64,
    2: wireBytes,
    3: { message: messageKeyValue },
    4: wireVarint,
  },
  [messageLink]: {
    1: wireBytes,
    2: wireBytes,
    3: wireBytes,
    4: { message: messageKeyValue },
    5: wireVarint,
    6: wireFixed32,
  },
  [messageStatus]: { 2: wireBytes, 3: wireVarint },
  [messageKeyValue]: { 1: wireBytes, 2: { message: messageAnyValue } },
  [messageAnyValue]: {
    1: wireBytes,
    2: wireVarint,
    3: wireVarint,
    4: wireFixed64,
    5: { message: messageArray },
    6: { message: messageKeyValueList },
    7: wireBytes,
  },
  [messageArray]: { 1: { message: messageAnyValue } },
  [messageKeyValueList]: { 1: { message: messageKeyValue } },
};

const skipActions: readonly number[] = [
  actionVarint,
  actionFixed64,
  actionBytes,
  actionRefuse,
  actionRefuse,
  actionFixed32,
  actionRefuse,
  actionRefuse,
];

const table: Uint8Array = buildTable();

/**
 * Checks the message in [start, end) of `buf`. For a span, it sets `captured[2 * f]` and
 * `captured[2 * f + 1]` to start and length of its last field f (1, 2, 4); the caller clears
 * `captured` first. `depth` is the nesting level of the enclosing attribute value, 0 outside.
 * `slow` is any reader, used for rare cases. Throws InvalidInput.
 */
export function checkMessage(
  buf: Uint8Array,
  start: number,
  end: number,
  message: number,
  depth: number,
  captured: Int32Array,
  slow: WireReader,
): void {
  const row = message << 7;
  let pos = start;
  while (pos < end) {
    const tag = buf[pos];
    let action: number;
    if (tag < 0x80 && tag >= 8) {
      pos++;
      action = table[row | tag];
    } else {
      slow.reset(buf, pos, end);
      action = slowAction(message, slow);
      pos = slow.pos;
    }
    if (action <= messageKeyValueList || action === actionBytes || action >= actionCapture) {
      let length = pos < end ? buf[pos] : 0x80;
      if (length < 0x80) pos++;
      else {
        slow.reset(buf, pos, end);
        length = slow.lengthEnd() - slow.pos;
        pos = slow.pos;
      }
      if (length > end - pos) refuse(slow, buf, pos, `truncated field of ${length} bytes`);
      if (action <= messageKeyValueList) {
        const inside = action === messageAnyValue ? depth + 1 : depth;
        if (inside > valueDepthMax) refuseDepth();
        checkMessage(buf, pos, pos + length, action, inside, captured, slow);
      } else if (action >= actionCapture) {
        captured[(action - actionCapture) * 2] = pos;
        captured[(action - actionCapture) * 2 + 1] = length;
      }
      pos += length;
    } else if (action === actionFixed64) pos += 8;
    else if (action === actionFixed32) pos += 4;
    else if (action === actionVarint) {
      if (pos < end && buf[pos] < 0x80) pos++;
      else {
        slow.reset(buf, pos, end);
        slow.varint64();
        pos = slow.pos;
      }
    } else refuse(slow, buf, pos, `wire type ${tag & 7} of tag ${tag} in message ${message}`);
  }
  if (pos > end) refuse(slow, buf, end, "truncated fixed field");
}

/** Reads a tag that is not a single-byte tag of fields 1-15 and returns its action. */
function slowAction(message: number, slow: WireReader): number {
  const tag = slow.tag();
  if (tag < 0x80) return table[(message << 7) | tag];
  if (message === messageSpan && tag >>> 3 === 16) {
    return tag === tagFlags ? actionFixed32 : actionRefuse;
  }
  return skipActions[tag & 7];
}

function refuse(slow: WireReader, buf: Uint8Array, pos: number, what: string): never {
  slow.reset(buf, pos, buf.length);
  slow.fail(what);
}

function refuseDepth(): never {
  throw new SpoorError("InvalidInput", `attribute value nested over ${valueDepthMax} levels`, {
    reason: "too_deep",
  });
}

function buildTable(): Uint8Array {
  const built = new Uint8Array((messageKeyValueList + 1) << 7);
  for (let message = 1; message <= messageKeyValueList; message++) {
    for (let tag = 8; tag < 128; tag++) {
      const type = schemas[message][tag >>> 3];
      built[(message << 7) | tag] =
        type === undefined ? skipActions[tag & 7] : fieldAction(type, tag & 7);
    }
  }
  return built;
}

function fieldAction(type: FieldType, wireType: number): number {
  if (typeof type === "number") return wireType === type ? skipActions[type] : actionRefuse;
  if (wireType !== wireBytes) return actionRefuse;
  return "message" in type ? type.message : actionCapture + type.capture;
}
