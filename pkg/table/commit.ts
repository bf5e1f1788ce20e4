/**
 * One commit of the table's log: lines of JSON, each one action of the Delta Lake protocol
 * (https://github.com/delta-io/delta/blob/master/PROTOCOL.md). FORMAT.md shows an example.
 */
import { hasCode } from "#pkg/errors/errors.ts";
import { checkKey } from "#pkg/objstore/keys.ts";
import { corrupt, type JsonObject, optionalObject, own, parseObject } from "./json.ts";
import { stringField, stringMap, uintField } from "./json.ts";
import { checkProtocol, decodeMetaData, encodeMetaData } from "./metadata.ts";
import { readerVersion, writerVersion } from "./metadata.ts";
import { decodeStats, encodeStats } from "./stats.ts";
import type { BlockFile, MetaData, Snapshot, Tombstone } from "./model.ts";

/** Largest commit, in bytes. 16 MiB: about 10,000 blocks. */
export const commitBytesMax: number = 16 * 2 ** 20;
/** A commit of the largest size has far fewer lines with an action each. */
const linesMax = 200_000;
/** Lines of a checkpoint that are decoded in one turn of the event loop: about 2 ms. */
const linesPerTurn = 200;
/** Number of lines, in our commitInfo: a commit that lost its last lines is noticed. */
const lineCountKey = "spoor.lines";

export interface Commit {
  /** Unique id of the attempt; undefined in commits of other writers. */
  readonly id: string | undefined;
  /** Whether a `protocol` action is in it. */
  readonly hasProtocol: boolean;
  readonly metaData: MetaData | undefined;
  readonly add: readonly BlockFile[];
  readonly remove: readonly Tombstone[];
  /** appId -> version. */
  readonly transactions: ReadonlyMap<string, number>;
}

/** What only the text of a commit needs. */
export interface CommitInfo {
  /** Milliseconds since the epoch. */
  timestampMs: number;
  operation: string;
  /** False if the commit only arranges rows anew. */
  dataChange: boolean;
}

export function encodeCommit(commit: Commit, info: CommitInfo): Uint8Array {
  const lines: string[] = [];
  if (commit.hasProtocol) {
    const protocol = { minReaderVersion: readerVersion, minWriterVersion: writerVersion };
    lines.push(JSON.stringify({ protocol }));
  }
  if (commit.metaData) lines.push(JSON.stringify({ metaData: encodeMetaData(commit.metaData) }));
  for (const [appId, version] of commit.transactions) {
    lines.push(JSON.stringify({ txn: { appId, version, lastUpdated: info.timestampMs } }));
  }
  for (const tombstone of commit.remove) lines.push(encodeRemove(tombstone, info.dataChange));
  for (const file of commit.add) lines.push(encodeAdd(file, info.dataChange));
  lines.unshift(encodeInfo(commit.id, info, lines.length + 1));
  return new TextEncoder().encode(`${lines.join("\n")}\n`);
}

/** The actions of a whole table, as lines like those of a commit, for a checkpoint. */
export function encodeCheckpointLines(snapshot: Snapshot): Uint8Array {
  const { metaData, transactions, files, tombstones } = snapshot;
  const protocol = { minReaderVersion: readerVersion, minWriterVersion: writerVersion };
  const lines = [JSON.stringify({ protocol })];
  if (metaData) lines.push(encodeKnownMetaData(metaData));
  for (const [appId, version] of transactions) {
    lines.push(JSON.stringify({ txn: { appId, version } }));
  }
  for (const tombstone of tombstones.values()) lines.push(encodeRemove(tombstone, false));
  for (const file of files.values()) lines.push(encodeAdd(file, false));
  return new TextEncoder().encode(`${lines.join("\n")}\n`);
}

/** A checkpoint has columns for these fields only, in this order, and leaves out nulls. */
function encodeKnownMetaData(metaData: MetaData): string {
  const where = "metaData";
  const json = encodeMetaData(metaData);
  const format = optionalObject(json, "format", where) ?? {};
  const text = (name: string): string | undefined => {
    const value = own(json, name);
    return typeof value === "string" ? value : undefined;
  };
  const created = own(json, "createdTime");
  const known = {
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
    configuration: stringMap(json, "configuration", where),
  };
  return JSON.stringify({ metaData: known });
}

/** As `decodeCommit` for the lines of a checkpoint. Lets others run in between. */
export async function decodeCheckpointLines(bytes: Uint8Array, key: string): Promise<Commit> {
  const decoder = new Decoder();
  const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  let count = 0;
  for (let start = 0; start < text.length;) {
    const newline = text.indexOf("\n", start);
    const end = newline < 0 ? text.length : newline;
    const where = `checkpoint ${key} action ${++count}`;
    decoder.action(parseObject(text.slice(start, end), where), where);
    start = end + 1;
    if (count % linesPerTurn === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  return decoder;
}

/** `key` is for messages. Throws Corrupt, naming key and line. */
export function decodeCommit(bytes: Uint8Array, key: string): Commit {
  const decoder = new Decoder();
  const lines = decodeText(bytes, key).split("\n", linesMax + 1);
  if (lines.length > linesMax) throw corrupt(`commit ${key}`, `it has over ${linesMax} lines`);
  let lineCount = 0;
  for (const [index, line] of lines.entries()) {
    if (line.trim() === "") continue;
    lineCount++;
    const where = `commit ${key} line ${index + 1}`;
    decoder.action(parseObject(line, where), where);
  }
  if (lineCount === 0) throw corrupt(`commit ${key}`, "it is empty");
  const expected = decoder.lineCount ?? lineCount;
  if (lineCount !== expected) {
    throw corrupt(`commit ${key}`, `it has ${lineCount} lines, expected ${expected}`);
  }
  return decoder;
}

/** A block's path as Delta Lake writes it: a relative URI, percent-encoded. */
export function encodePath(path: string): string {
  return path.split("/").map(encodeURIComponent).join("/");
}

export function decodePath(encoded: string, where: string): string {
  if (/^[A-Za-z][A-Za-z0-9+.-]*:/u.test(encoded)) {
    throw corrupt(where, `path ${encoded.slice(0, 200)} is not in the table`);
  }
  try {
    const path = decodeURIComponent(encoded);
    checkKey(path);
    return path;
  } catch (error) {
    const why = hasCode(error, "InvalidInput") ? error.message : "it is not percent-encoded";
    throw corrupt(where, `path ${encoded.slice(0, 200)}: ${why}`, error);
  }
}

function decodeText(bytes: Uint8Array, key: string): string {
  if (bytes.length > commitBytesMax) {
    throw corrupt(`commit ${key}`, `${bytes.length} bytes are over ${commitBytesMax}`);
  }
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    const line = lineOfBrokenText(bytes);
    throw corrupt(`commit ${key} line ${line}`, "it is not UTF-8", error);
  }
}

/** The first line that does not decode alone. No longer character has a newline byte in it. */
function lineOfBrokenText(bytes: Uint8Array): number {
  let line = 1;
  for (let start = 0; start < bytes.length; line++) {
    const newline = bytes.indexOf(0x0a, start);
    const end = newline < 0 ? bytes.length : newline;
    const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes.subarray(start, end));
    const again = new TextEncoder().encode(text);
    if (Buffer.compare(again, bytes.subarray(start, end)) !== 0) return line;
    start = end + 1;
  }
  return line;
}

function encodeInfo(id: string | undefined, info: CommitInfo, lineCount: number): string {
  const commitInfo = {
    timestamp: info.timestampMs,
    operation: info.operation,
    operationParameters: {},
    engineInfo: "spoor",
    txnId: id,
    [lineCountKey]: lineCount,
  };
  return JSON.stringify({ commitInfo });
}

function encodeAdd(file: BlockFile, dataChange: boolean): string {
  const add = {
    path: encodePath(file.path),
    partitionValues: {},
    size: file.sizeBytes,
    modificationTime: file.modifiedMs,
    dataChange,
    stats: encodeStats(file.stats),
    tags: file.tags,
  };
  return JSON.stringify({ add });
}

function encodeRemove(tombstone: Tombstone, dataChange: boolean): string {
  const remove = {
    path: encodePath(tombstone.path),
    deletionTimestamp: tombstone.deletedMs,
    dataChange,
    extendedFileMetadata: true,
    partitionValues: {},
    size: tombstone.sizeBytes,
  };
  return JSON.stringify({ remove });
}

/** Collects the actions of one commit. Actions that Delta Lake adds later are passed over. */
class Decoder implements Commit {
  id: string | undefined;
  hasProtocol = false;
  metaData: MetaData | undefined;
  readonly add: BlockFile[] = [];
  readonly remove: Tombstone[] = [];
  readonly transactions = new Map<string, number>();
  lineCount: number | undefined;
  readonly #paths = new Set<string>();

  action(line: JsonObject, where: string): void {
    const commitInfo = optionalObject(line, "commitInfo", where);
    const protocol = optionalObject(line, "protocol", where);
    const metaData = optionalObject(line, "metaData", where);
    const txn = optionalObject(line, "txn", where);
    const add = optionalObject(line, "add", where);
    const remove = optionalObject(line, "remove", where);
    if (commitInfo) this.#commitInfo(commitInfo, where);
    if (protocol) this.#protocol(protocol, where);
    if (metaData) this.#metaData(metaData, where);
    if (txn) this.#txn(txn, where);
    if (add) this.add.push(this.#file(add, where));
    if (remove) this.remove.push(this.#tombstone(remove, where));
  }

  #commitInfo(commitInfo: JsonObject, where: string): void {
    const id = own(commitInfo, "txnId");
    if (typeof id === "string") this.id = id;
    if (own(commitInfo, lineCountKey) !== undefined) {
      this.lineCount = uintField(commitInfo, lineCountKey, where);
    }
  }

  #protocol(protocol: JsonObject, where: string): void {
    if (this.hasProtocol) throw corrupt(where, "it has protocol a second time");
    checkProtocol(protocol, where);
    this.hasProtocol = true;
  }

  #metaData(metaData: JsonObject, where: string): void {
    if (this.metaData) throw corrupt(where, "it has metaData a second time");
    this.metaData = decodeMetaData(metaData, where);
  }

  #txn(txn: JsonObject, where: string): void {
    const appId = stringField(txn, "appId", where);
    if (this.transactions.has(appId)) throw corrupt(where, `it has txn of ${appId} a second time`);
    this.transactions.set(appId, uintField(txn, "version", where));
  }

  #file(add: JsonObject, where: string): BlockFile {
    return {
      path: this.#path(add, where),
      sizeBytes: uintField(add, "size", where),
      modifiedMs: uintField(add, "modificationTime", where),
      stats: decodeStats(stringField(add, "stats", where), where),
      tags: stringMap(add, "tags", where),
    };
  }

  #tombstone(remove: JsonObject, where: string): Tombstone {
    const path = this.#path(remove, where);
    const hasSize = own(remove, "size") !== undefined && own(remove, "size") !== null;
    const sizeBytes = hasSize ? uintField(remove, "size", where) : undefined;
    return { path, deletedMs: uintField(remove, "deletionTimestamp", where), sizeBytes };
  }

  #path(action: JsonObject, where: string): string {
    const path = decodePath(stringField(action, "path", where), where);
    if (this.#paths.has(path)) throw corrupt(where, `it has path ${path} a second time`);
    this.#paths.add(path);
    return path;
  }
}
