/**
 * The content of a checkpoint as lines of JSON with one action each, as in a commit. The table's
 * configuration carries a checksum of all lines: `spoor.checkpoint` = `<version>:<sum>`. The sum
 * adds the CRC-32 of each line (modulo 2^32), because a checkpoint does not preserve their order.
 * The checksum is not part of the table. If another engine copies it into a later checkpoint, its
 * version does not match and it is ignored.
 */
import { crc32 } from "node:zlib";
import { ActionDecoder, type Commit, encodeAdd, encodeRemove } from "./commit.ts";
import { encodeMetaData, readerVersion, writerVersion } from "./metadata.ts";
import { corrupt, isObject, type JsonObject, optionalObject, own, parseObject } from "./json.ts";
import { stringField, stringMap } from "./json.ts";
import type { MetaData, Snapshot } from "./table-model.ts";

/** Lines that are decoded in one turn of the event loop: about 2 ms. */
const linesPerTurn = 200;
const sumKey = "spoor.checkpoint";

/** Returns the actions of a whole table. */
export function encodeCheckpointLines(snapshot: Snapshot): Uint8Array {
  const { metaData, transactions, files, tombstones } = snapshot;
  const protocol = { minReaderVersion: readerVersion, minWriterVersion: writerVersion };
  const lines = [JSON.stringify({ protocol })];
  for (const [appId, version] of transactions) {
    lines.push(JSON.stringify({ txn: { appId, version } }));
  }
  for (const tombstone of tombstones.values()) lines.push(encodeRemove(tombstone, false));
  for (const file of files.values()) lines.push(encodeAdd(file, false));
  if (metaData !== undefined) {
    const known = knownMetaData(metaData);
    const own = JSON.stringify({ metaData: known });
    const sum = lines.reduce((total, line) => (total + crc32(line)) >>> 0, crc32(own));
    lines.splice(1, 0, JSON.stringify({ metaData: withSum(known, snapshot.version, sum) }));
  }
  return new TextEncoder().encode(`${lines.join("\n")}\n`);
}

/**
 * Decodes the lines of the checkpoint of `version`, like `decodeCommit`. Yields to the event loop
 * in between. Throws Corrupt, also if the checksum does not match; older checkpoints have none.
 */
export async function decodeCheckpointLines(
  bytes: Uint8Array,
  { key, version }: { key: string; version: number },
): Promise<Commit> {
  const decoder = new ActionDecoder();
  const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  let count = 0;
  let sum = 0;
  let expected: string | undefined;
  for (let start = 0; start < text.length;) {
    const newline = text.indexOf("\n", start);
    const end = newline < 0 ? text.length : newline;
    const where = `checkpoint ${key} action ${++count}`;
    const line = text.slice(start, end);
    const action = parseObject(line, where);
    const plain = withoutSum(action);
    if (plain !== undefined) expected = plain.sum;
    decoder.action(plain?.action ?? action, where);
    sum = (sum + crc32(plain === undefined ? line : JSON.stringify(plain.action))) >>> 0;
    start = end + 1;
    if (count % linesPerTurn === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  const isOurs = expected?.startsWith(`${version}:`) === true;
  if (isOurs && expected !== `${version}:${sum}`) {
    throw corrupt(`checkpoint ${key}`, "its checksum does not match");
  }
  return decoder;
}

/** Returns the fields that a checkpoint has columns for, in their order and without nulls. */
function knownMetaData(metaData: MetaData): JsonObject {
  const where = "metaData";
  const json = encodeMetaData(metaData);
  const format = optionalObject(json, "format", where) ?? {};
  const text = (name: string): string | undefined => {
    const value = own(json, name);
    return typeof value === "string" ? value : undefined;
  };
  const created = own(json, "createdTime");
  // Another engine, or an older Spoor, may have copied the checksum of an earlier checkpoint.
  const { [sumKey]: _sum, ...configuration } = stringMap(json, "configuration", where);
  return {
    id: text("id"),
    name: text("name"),
    description: text("description"),
    format: {
      provider: stringField(format, "provider", where),
      options: stringMap(format, "options", where),
    },
    schemaString: stringField(json, "schemaString", where),
    partitionColumns: [],
    createdTime: Number.isSafeInteger(created) ? created : undefined,
    configuration,
  };
}

function withSum(metaData: JsonObject, version: number, sum: number): JsonObject {
  const configuration = stringMap(metaData, "configuration", "metaData");
  return { ...metaData, configuration: { ...configuration, [sumKey]: `${version}:${sum}` } };
}

/** Splits a metaData action into the action and its checksum; undefined if it has none. */
function withoutSum(action: JsonObject): { action: JsonObject; sum: string } | undefined {
  const { metaData } = action;
  if (!isObject(metaData) || !isObject(metaData.configuration)) return undefined;
  const { [sumKey]: sum, ...configuration } = metaData.configuration;
  if (typeof sum !== "string") return undefined;
  return { action: { ...action, metaData: { ...metaData, configuration } }, sum };
}
