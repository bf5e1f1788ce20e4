/**
 * One commit of the table's log: lines of JSON with one action of the Delta Lake protocol each
 * (https://github.com/delta-io/delta/blob/master/PROTOCOL.md). FORMAT.md shows an example.
 */
import { crc32 } from "node:zlib";
import { hasCode } from "#pkg/errors/errors.ts";
import { checkKey } from "#pkg/objstore/objstore.ts";
import { corrupt, isObject, type JsonObject, optionalObject, own, parseObject } from "./json.ts";
import { stringField, stringMap, uintField } from "./json.ts";
import { checkProtocol, decodeMetaData, encodeMetaData } from "./metadata.ts";
import { readerVersion, writerVersion } from "./metadata.ts";
import { decodeStats, encodeStats } from "./stats.ts";
import type { BlockFile, MetaData, Tombstone } from "./table-model.ts";

/** Maximum size of a commit, in bytes. 16 MiB: about 10,000 blocks. */
export const commitBytesMax: number = 16 * 2 ** 20;
/** Maximum lines of a commit; a commit of the maximum size has far fewer. */
const linesMax = 200_000;
/** Field of our commitInfo: the number of lines, which detects missing lines. */
const lineCountKey = "spoor.lines";
/**
 * Field of our commitInfo: the CRC-32 of all lines. No other check detects a wrong partition in a
 * block's tags or a wrong offset. Older commits have none.
 */
const crcKey = "spoor.crc32";

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

/** Fields that appear only in the text of a commit. */
export interface CommitInfo {
  /** Milliseconds since the epoch. */
  timestampMs: number;
  operation: string;
  /** False if the commit only rearranges rows. */
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
  const commitInfo = {
    timestamp: info.timestampMs,
    operation: info.operation,
    operationParameters: {},
    engineInfo: "spoor",
    txnId: commit.id,
    [lineCountKey]: lines.length + 1,
  };
  const sum = crcOfLines([JSON.stringify({ commitInfo }), ...lines]);
  const first = JSON.stringify({ commitInfo: { ...commitInfo, [crcKey]: sum } });
  return new TextEncoder().encode(`${[first, ...lines].join("\n")}\n`);
}

function crcOfLines(lines: readonly string[]): number {
  return lines.reduce((sum, line) => crc32(`${line}\n`, sum), 0);
}

/** Decodes a commit; `key` is for messages. Throws Corrupt, naming key and line. */
export function decodeCommit(bytes: Uint8Array, key: string): Commit {
  const decoder = new ActionDecoder();
  const lines = decodeText(bytes, key).split("\n", linesMax + 1);
  if (lines.length > linesMax) throw corrupt(`commit ${key}`, `it has over ${linesMax} lines`);
  const kept: string[] = [];
  for (const [index, line] of lines.entries()) {
    if (line.trim() === "") continue;
    const where = `commit ${key} line ${index + 1}`;
    const action = parseObject(line, where);
    decoder.action(action, where);
    kept.push(withoutCrc(action) ?? line);
  }
  const lineCount = kept.length;
  if (lineCount === 0) throw corrupt(`commit ${key}`, "it is empty");
  const expected = decoder.lineCount ?? lineCount;
  if (lineCount !== expected) {
    throw corrupt(`commit ${key}`, `it has ${lineCount} lines, expected ${expected}`);
  }
  if (decoder.crc !== undefined && crcOfLines(kept) !== decoder.crc) {
    throw corrupt(`commit ${key}`, "its checksum does not match");
  }
  return decoder;
}

/** Returns the line of a commitInfo without its checksum; undefined for other actions. */
function withoutCrc({ commitInfo }: JsonObject): string | undefined {
  if (!isObject(commitInfo) || own(commitInfo, crcKey) === undefined) return undefined;
  const { [crcKey]: _crc, ...rest } = commitInfo;
  return JSON.stringify({ commitInfo: rest });
}

/** Encodes a block's path as Delta Lake does: a relative, percent-encoded URI. */
export function encodePath(path: string): string {
  return path.split("/").map(encodeURIComponent).join("/");
}

export function decodePath(encoded: string, where: string): string {
  if (/^[A-Za-z][A-Za-z0-9+.-]*:/u.test(encoded)) {
    throw corrupt(where, `path ${encoded.slice(0, 200)} is outside the table`);
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
    throw corrupt(`commit ${key}`, `${bytes.length} bytes exceed ${commitBytesMax}`);
  }
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    const line = lineOfBrokenText(bytes);
    throw corrupt(`commit ${key} line ${line}`, "it is not UTF-8", error);
  }
}

/** Returns the first line that is not UTF-8. No multi-byte character contains a newline byte. */
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

/** Returns the line of an `add`. */
export function encodeAdd(file: BlockFile, dataChange: boolean): string {
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

/** Returns the line of a `remove`. */
export function encodeRemove(tombstone: Tombstone, dataChange: boolean): string {
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

/** Collects the actions of a commit or checkpoint. Unknown actions are ignored. */
export class ActionDecoder implements Commit {
  id: string | undefined;
  hasProtocol = false;
  metaData: MetaData | undefined;
  readonly add: BlockFile[] = [];
  readonly remove: Tombstone[] = [];
  readonly transactions: Map<string, number> = new Map();
  lineCount: number | undefined;
  crc: number | undefined;
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
    if (own(commitInfo, crcKey) !== undefined) this.crc = uintField(commitInfo, crcKey, where);
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
