// HOT: runs per field of every span of tenants with attribute limits; measured by `npm run bench`.
/**
 * Finds records with attributes beyond their limits. It reads tags and lengths on the wire and
 * skips everything else, so that the many records within their limits cost little. The record has
 * passed the splitter, so it parses.
 */
import { WireReader } from "#pkg/bytes/bytes.ts";

export interface AttributeLimits {
  /** 0: no limit. */
  attributeKeyBytesMax: number;
  attributeValueBytesMax: number;
  attributesPerSpanMax: number;
}

/** Returns whether any of the limits is set. */
export function hasAttributeLimits(limits: AttributeLimits): boolean {
  const { attributeKeyBytesMax, attributeValueBytesMax, attributesPerSpanMax } = limits;
  return attributeKeyBytesMax + attributeValueBytesMax + attributesPerSpanMax > 0;
}

const tagOne = 0x0a;
const tagTwo = 0x12;
const tagThree = 0x1a;
const tagSpanAttribute = (9 << 3) | 2;
const tagEvent = (11 << 3) | 2;
const tagLink = (13 << 3) | 2;
const tagLinkAttribute = (4 << 3) | 2;

/**
 * Returns false if the record is certainly within its limits. True may be a false alarm, because
 * this scan counts the protobuf head of a value: `cutAttributes` decides.
 */
export function mayExceedLimits(record: Uint8Array, limits: AttributeLimits): boolean {
  const reader = new WireReader(record);
  while (reader.pos < reader.end) {
    const tag = reader.tag();
    if (tag !== tagOne) reader.skip(tag);
    else if (resourceSpansExceed(reader, reader.lengthEnd(), limits)) return true;
  }
  return false;
}

function resourceSpansExceed(reader: WireReader, end: number, limits: AttributeLimits): boolean {
  while (reader.pos < end) {
    const tag = reader.tag();
    if (tag === tagOne) {
      if (attributesExceed(reader, reader.lengthEnd(), tagOne, limits)) return true;
    } else if (tag === tagTwo) {
      if (scopeSpansExceed(reader, reader.lengthEnd(), limits)) return true;
    } else reader.skip(tag);
  }
  return false;
}

function scopeSpansExceed(reader: WireReader, end: number, limits: AttributeLimits): boolean {
  while (reader.pos < end) {
    const tag = reader.tag();
    if (tag === tagOne) {
      if (attributesExceed(reader, reader.lengthEnd(), tagThree, limits)) return true;
    } else if (tag === tagTwo) {
      if (attributesExceed(reader, reader.lengthEnd(), tagSpanAttribute, limits)) return true;
    } else reader.skip(tag);
  }
  return false;
}

/** Scans a message whose attributes have `attributeTag`; for a span also its events and links. */
function attributesExceed(
  reader: WireReader,
  end: number,
  attributeTag: number,
  limits: AttributeLimits,
): boolean {
  const countMax = limits.attributesPerSpanMax || Number.POSITIVE_INFINITY;
  let count = 0;
  while (reader.pos < end) {
    const tag = reader.tag();
    if (tag === attributeTag) {
      if (++count > countMax) return true;
      if (attributeExceeds(reader, reader.lengthEnd(), limits)) return true;
    } else if (attributeTag === tagSpanAttribute && tag === tagEvent) {
      if (attributesExceed(reader, reader.lengthEnd(), tagThree, limits)) return true;
    } else if (attributeTag === tagSpanAttribute && tag === tagLink) {
      if (attributesExceed(reader, reader.lengthEnd(), tagLinkAttribute, limits)) return true;
    } else reader.skip(tag);
  }
  return false;
}

/** Scans one KeyValue. Skips its content if it is smaller than both limits. */
function attributeExceeds(reader: WireReader, end: number, limits: AttributeLimits): boolean {
  const keyMax = limits.attributeKeyBytesMax || Number.POSITIVE_INFINITY;
  const valueMax = limits.attributeValueBytesMax || Number.POSITIVE_INFINITY;
  if (end - reader.pos <= keyMax && end - reader.pos <= valueMax) {
    reader.pos = end;
    return false;
  }
  while (reader.pos < end) {
    const tag = reader.tag();
    if (tag !== tagOne && tag !== tagTwo) {
      reader.skip(tag);
      continue;
    }
    const fieldEnd = reader.lengthEnd();
    if (fieldEnd - reader.pos > (tag === tagOne ? keyMax : valueMax)) return true;
    reader.pos = fieldEnd;
  }
  return false;
}
