/** Turns a change into a commit on top of a snapshot, or throws if the two conflict. */
import { type Reason, SpoorError } from "#pkg/errors/errors.ts";
import { checkKey } from "#pkg/objstore/objstore.ts";
import { checkColumns, mergeColumns } from "./columns.ts";
import { type Commit, commitBytesMax, encodeCommit } from "./commit.ts";
import { newMetaData, withFields } from "./metadata.ts";
import type {
  BlockFile,
  Change,
  Field,
  MetaData,
  Snapshot,
  StatValue,
  Transaction,
} from "./table-model.ts";

/** Maximum blocks of one table. */
export const filesMax = 1_000_000;
const appIdLengthMax = 512;
/** Maximum length of the names and values of one block's tags, UTF-16 units. */
const tagsLengthMax = 65_536;
const operationPattern = /^[A-Z][A-Z _]{0,63}$/u;

export interface Plan {
  commit: Commit;
  bytes: Uint8Array;
}

/** Identity of one call of `commit`; it stays the same when the commit is rebased. */
export interface Attempt {
  tenant: string;
  /** Unique id, written into the commit's commitInfo. */
  id: string;
  nowMs: number;
}

/** Throws InvalidInput for a change that is invalid for every table. */
export function checkChange(tenant: string, change: Change): void {
  const { add = [], remove = [], transaction, columns = [], operation } = change;
  if (!operationPattern.test(operation)) throw invalid(tenant, "its operation is not a valid name");
  if (add.length + remove.length + columns.length === 0 && transaction === undefined) {
    throw invalid(tenant, "it changes nothing");
  }
  const paths = new Set<string>();
  for (const path of [...remove, ...add.map((file) => file.path)]) {
    if (paths.has(path)) throw invalid(tenant, `it has path ${path} twice`);
    paths.add(path);
  }
  for (const file of add) checkFile(tenant, file);
  if (transaction) checkTransaction(tenant, transaction);
  for (const mark of change.marks ?? []) checkMark(tenant, mark, transaction);
  checkColumns(columns);
}

/**
 * Returns the commit of the version after `snapshot`. Throws Conflict if the change contradicts the
 * snapshot, TooLarge if the commit exceeds its limit.
 */
export function planCommit(snapshot: Snapshot, change: Change, attempt: Attempt): Plan {
  checkContradictions(snapshot, change, attempt.tenant);
  const metaData = planMetaData(snapshot, change, attempt);
  checkStats(metaData ?? snapshot.metaData, change, attempt.tenant);
  const { add = [], remove = [], transaction, marks = [] } = change;
  const commit: Commit = {
    id: attempt.id,
    hasProtocol: snapshot.version < 0,
    metaData,
    add,
    remove: remove.map((path) => ({
      path,
      deletedMs: attempt.nowMs,
      sizeBytes: snapshot.files.get(path)?.sizeBytes,
    })),
    transactions: new Map([
      ...(transaction ? [[transaction.appId, transaction.version] as const] : []),
      ...marks,
    ]),
  };
  const { operation, dataChange } = change;
  const bytes = encodeCommit(commit, { timestampMs: attempt.nowMs, operation, dataChange });
  if (bytes.length > commitBytesMax) {
    const size = `${bytes.length} bytes exceed ${commitBytesMax}`;
    const message = `commit to table ${attempt.tenant}: ${size}`;
    throw new SpoorError("TooLarge", message, { reason: "commit_too_large" });
  }
  return { commit, bytes };
}

function checkContradictions(snapshot: Snapshot, change: Change, tenant: string): void {
  const { add = [], remove = [], transaction } = change;
  const { files, tombstones } = snapshot;
  if (transaction) checkTransactionUnchanged(snapshot, change, { tenant, transaction });
  for (const path of remove) {
    if (!files.has(path)) throw conflict(tenant, "input_gone", `block ${path} is not in the table`);
  }
  for (const { path } of add) {
    if (files.has(path) || tombstones.has(path)) {
      throw conflict(tenant, "path_exists", `block ${path} is or was in the table already`);
    }
  }
  if (add.length > 0 && files.size + add.length - remove.length > filesMax) {
    const message = `commit to table ${tenant}: it would have over ${filesMax} blocks`;
    throw new SpoorError("LimitExceeded", message, { reason: "too_many_blocks" });
  }
}

/** Throws "already_committed" instead of "transaction_changed" if the same change is committed. */
function checkTransactionUnchanged(
  snapshot: Snapshot,
  change: Change,
  of: { tenant: string; transaction: Transaction },
): void {
  const { appId, expectedVersion, version } = of.transaction;
  const known = snapshot.transactions.get(appId);
  if (known === expectedVersion) return;
  const { files, tombstones } = snapshot;
  const isThere = (file: BlockFile): boolean => files.has(file.path) || tombstones.has(file.path);
  const same = known === version && (change.add ?? []).every(isThere);
  const found = `at ${known ?? "none"}, expected ${expectedVersion ?? "none"}`;
  const reason = same ? "already_committed" : "transaction_changed";
  throw conflict(of.tenant, reason, `transaction ${appId} is ${found}`);
}

/** Returns the metaData action of the first commit, or of a commit that adds columns. */
function planMetaData(snapshot: Snapshot, change: Change, attempt: Attempt): MetaData | undefined {
  const { metaData } = snapshot;
  const known: readonly Field[] = metaData?.fields ?? [];
  const fields = mergeColumns(known, change.columns ?? []);
  if (metaData === undefined) return newMetaData(attempt.id, attempt.nowMs, fields);
  return fields === known ? undefined : withFields(metaData, fields);
}

/**
 * Throws InvalidInput for a statistic that does not have its column's type. Readers parse it by
 * that type, so a single wrong one makes the whole table unreadable.
 */
function checkStats(metaData: MetaData | undefined, change: Change, tenant: string): void {
  for (const { path, stats } of change.add ?? []) {
    for (const values of [stats.min, stats.max]) {
      for (const [column, value] of Object.entries(values)) {
        const type = metaData?.columns.get(column);
        if (type !== undefined && statFits(type, value)) continue;
        const found = `${typeof value} for column ${column} of type ${type ?? "none"}`;
        throw invalid(tenant, `block ${path} has a statistic ${found}`);
      }
    }
  }
}

function statFits(type: string, value: StatValue): boolean {
  switch (type) {
    case "long":
    case "integer":
    case "short":
    case "byte":
      return typeof value === "bigint";
    case "double":
    case "float":
      return typeof value === "number";
    case "boolean":
      return typeof value === "boolean";
    case "string":
    case "date":
    case "timestamp":
      return typeof value === "string";
    default:
      return false;
  }
}

function checkFile(tenant: string, file: BlockFile): void {
  const { path, sizeBytes, modifiedMs, stats, tags } = file;
  checkKey(path);
  checkKey(`${tenant}/${path}`);
  if (path.startsWith("_delta_log/")) throw invalid(tenant, `path ${path} is in the log's folder`);
  for (const [name, value] of Object.entries({ sizeBytes, modifiedMs, rows: stats.rows })) {
    if (!isUint(value)) throw invalid(tenant, `${name} of block ${path} is ${value}`);
  }
  let length = 0;
  for (const text of Object.entries(tags).flat()) {
    if (!text.isWellFormed()) throw invalid(tenant, `a tag of block ${path} is not Unicode`);
    length += text.length;
  }
  if (length > tagsLengthMax) {
    throw invalid(tenant, `tags of block ${path} have ${length} characters`);
  }
}

function checkMark(
  tenant: string,
  [appId, value]: [string, number],
  transaction: Transaction | undefined,
): void {
  const isName = appId.length > 0 && appId.length <= appIdLengthMax && appId.isWellFormed();
  if (isName && appId !== transaction?.appId && Number.isSafeInteger(value) && value >= 0) return;
  throw invalid(tenant, "a mark has an invalid name, or its value is not an integer from 0");
}

function checkTransaction(tenant: string, transaction: Transaction): void {
  const { appId, expectedVersion, version } = transaction;
  if (appId === "" || appId.length > appIdLengthMax || !appId.isWellFormed()) {
    throw invalid(tenant, "its transaction's appId is empty, too long or not Unicode");
  }
  const expectedIsSane = expectedVersion === undefined || isUint(expectedVersion);
  if (!isUint(version) || !expectedIsSane || version <= (expectedVersion ?? -1)) {
    const step = `${expectedVersion ?? "none"} to ${version}`;
    throw invalid(tenant, `transaction ${appId} does not go forward: ${step}`);
  }
}

function isUint(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

function invalid(tenant: string, why: string): SpoorError {
  const message = `invalid change of table ${tenant}: ${why}`;
  return new SpoorError("InvalidInput", message, { reason: "invalid_change" });
}

function conflict(tenant: string, reason: Reason, why: string): SpoorError {
  return new SpoorError("Conflict", `commit to table ${tenant}: ${why}`, { reason });
}
