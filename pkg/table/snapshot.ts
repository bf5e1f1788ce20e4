/** Applies commits to a snapshot to make the next one. */
import { corrupt } from "./json.ts";
import type { Commit } from "./commit.ts";
import type { BlockFile, MetaData, Snapshot, Tombstone } from "./table-model.ts";

/** Returns the snapshot before the first commit. */
export function emptySnapshot(): Snapshot {
  return {
    version: -1,
    files: new Map(),
    transactions: new Map(),
    columns: new Map(),
    tombstones: new Map(),
    metaData: undefined,
  };
}

/** Returns the snapshot of a checkpoint of `version`; `key` is for messages. */
export function snapshotOfCheckpoint(version: number, commit: Commit, key: string): Snapshot {
  const { hasProtocol, metaData, add, remove, transactions } = commit;
  if (!hasProtocol || metaData === undefined) {
    throw corrupt(`checkpoint ${key}`, "it has no protocol and metaData");
  }
  return {
    version,
    files: new Map(add.map((file) => [file.path, file])),
    transactions: new Map(transactions),
    columns: metaData.columns,
    tombstones: new Map(remove.map((tombstone) => [tombstone.path, tombstone])),
    metaData,
  };
}

/** Returns the snapshot without tombstones from before `beforeMs`, ms since the epoch. */
export function withoutOldTombstones(snapshot: Snapshot, beforeMs: number): Snapshot {
  const kept = [...snapshot.tombstones].filter(([, { deletedMs }]) => deletedMs >= beforeMs);
  return { ...snapshot, tombstones: new Map(kept) };
}

/**
 * Copies a snapshot's maps once and then applies any number of commits to the copies. `finish`
 * returns the copies; do not use the builder afterwards.
 */
export class SnapshotBuilder {
  #version: number;
  #metaData: MetaData | undefined;
  readonly #files: Map<string, BlockFile>;
  readonly #transactions: Map<string, number>;
  readonly #tombstones: Map<string, Tombstone>;

  constructor(base: Snapshot) {
    this.#version = base.version;
    this.#metaData = base.metaData;
    this.#files = new Map(base.files);
    this.#transactions = new Map(base.transactions);
    this.#tombstones = new Map(base.tombstones);
  }

  /** Applies the commit of the next version; `key` is for messages. */
  apply(commit: Commit, key: string): void {
    if (this.#version < 0 && !(commit.hasProtocol && commit.metaData)) {
      throw corrupt(`commit ${key}`, "the first commit has no protocol and metaData");
    }
    this.#version++;
    this.#metaData = commit.metaData ?? this.#metaData;
    for (const tombstone of commit.remove) {
      this.#files.delete(tombstone.path);
      this.#tombstones.set(tombstone.path, tombstone);
    }
    for (const file of commit.add) {
      this.#files.set(file.path, file);
      this.#tombstones.delete(file.path);
    }
    for (const [appId, version] of commit.transactions) this.#transactions.set(appId, version);
  }

  finish(): Snapshot {
    return {
      version: this.#version,
      files: this.#files,
      transactions: this.#transactions,
      columns: this.#metaData?.columns ?? new Map(),
      tombstones: this.#tombstones,
      metaData: this.#metaData,
    };
  }
}
