/** Decodes responses of OTLP servers: google.rpc.Status with its details, and partial success. */
import { WireReader } from "#pkg/bytes/wire.ts";

export interface ReadStatus {
  message: string;
  /** From a RetryInfo. */
  retryAfterMs?: number;
  /** From an ErrorInfo. */
  reason?: string;
}

const retryInfoUrl = "type.googleapis.com/google.rpc.RetryInfo";
const errorInfoUrl = "type.googleapis.com/google.rpc.ErrorInfo";
const reasonPattern = /^[a-zA-Z0-9_.-]{1,64}$/;

/** Decodes a google.rpc.Status. Throws InvalidInput. */
export function readStatus(bytes: Uint8Array): ReadStatus {
  const status: ReadStatus = { message: "" };
  eachField(new WireReader(bytes), bytes.length, (reader, tag, end) => {
    if (tag === 0x12) status.message = text(reader, end);
    else if (tag === 0x1a) readDetail(reader, end, status);
  });
  return status;
}

function readDetail(reader: WireReader, end: number, status: ReadStatus): void {
  let url = "";
  let valueStart = 0;
  let valueEnd = 0;
  eachField(reader, end, (_, tag, fieldEnd) => {
    if (tag === 0x0a) url = text(reader, fieldEnd);
    else if (tag === 0x12) [valueStart, valueEnd] = [reader.pos, fieldEnd];
  });
  const value = new WireReader(reader.buf, valueStart, valueEnd);
  if (url === retryInfoUrl) status.retryAfterMs = readRetryDelay(value, valueEnd);
  if (url !== errorInfoUrl) return;
  eachField(value, valueEnd, (_, tag, fieldEnd) => {
    if (tag !== 0x0a) return;
    const reason = text(value, fieldEnd);
    if (reasonPattern.test(reason)) status.reason = reason;
  });
}

function readRetryDelay(reader: WireReader, end: number): number {
  let ms = 0;
  eachField(reader, end, (_, tag, durationEnd) => {
    if (tag !== 0x0a) return;
    while (reader.pos < durationEnd) {
      const inner = reader.tag();
      if (inner === 0x08) ms += reader.varint32() * 1000;
      else if (inner === 0x10) ms += reader.varint32() / 1e6;
      else reader.skip(inner);
    }
  });
  return ms;
}

export interface PartialSuccess {
  rejectedSpans: number;
  message: string;
}

/** Decodes an ExportTraceServiceResponse. Throws InvalidInput. */
export function readPartialSuccess(bytes: Uint8Array): PartialSuccess {
  const partial: PartialSuccess = { rejectedSpans: 0, message: "" };
  eachField(new WireReader(bytes), bytes.length, (reader, tag, end) => {
    if (tag !== 0x0a) return;
    while (reader.pos < end) {
      const inner = reader.tag();
      if (inner === 0x08) partial.rejectedSpans = reader.varint32();
      else if (inner === 0x12) partial.message = text(reader, reader.lengthEnd());
      else reader.skip(inner);
    }
  });
  return partial;
}

/** Calls `each` for length-delimited fields, with the reader at their content; skips others. */
function eachField(
  reader: WireReader,
  end: number,
  each: (reader: WireReader, tag: number, end: number) => void,
): void {
  while (reader.pos < end) {
    const tag = reader.tag();
    if ((tag & 7) !== 2) {
      reader.skip(tag);
      continue;
    }
    const fieldEnd = reader.lengthEnd();
    each(reader, tag, fieldEnd);
    reader.pos = fieldEnd;
  }
}

function text(reader: WireReader, end: number): string {
  const found = Buffer.from(reader.buf.subarray(reader.pos, end)).toString("utf8");
  reader.pos = end;
  return found;
}
