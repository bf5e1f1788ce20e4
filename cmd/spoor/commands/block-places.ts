/** Locates the blocks of `spoor block`: plain files, or keys of the bucket with their commits. */
import { type FileHandle, open, stat } from "node:fs/promises";
import { systemClock } from "#pkg/clock/clock.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import { openLog } from "#pkg/log/pino-log.ts";
import { type ObjectInfo, type ObjectStore, openStore } from "#pkg/objstore/objstore.ts";
import { type BlockFile, openTable, type Snapshot } from "#pkg/table/table.ts";
import { isTenantName } from "#pkg/tenant/tenant.ts";
import type { ParsedArgs } from "#cmd/spoor/flags.ts";
import type { CommandIo } from "#cmd/spoor/io.ts";
import { loadConfig } from "#cmd/spoor/serve-args.ts";
import { storeConfigOf } from "#cmd/spoor/storage.ts";

export type RangeStore = Pick<ObjectStore, "getRange" | "head">;

export interface BlockSource {
  /** The name as given. */
  name: string;
  store: RangeStore;
  key: string;
  /** The block in its table's last commit; undefined for a plain file or an unknown key. */
  file: BlockFile | undefined;
}

/** Returns a catalog. The bucket is opened on first use. */
export function openCatalog(parsed: ParsedArgs, io: CommandIo): BlockCatalog {
  return new BlockCatalog(parsed, io);
}

export class BlockCatalog {
  readonly #parsed: ParsedArgs;
  readonly #io: CommandIo;
  #store: ObjectStore | undefined;
  readonly #tables = new Map<string, Snapshot>();

  constructor(parsed: ParsedArgs, io: CommandIo) {
    this.#parsed = parsed;
    this.#io = io;
  }

  /** Returns `only`, or all tenants in the bucket. Throws NotFound if `only` is not there. */
  async tenants(only: string | undefined): Promise<string[]> {
    const store = await this.#openStore();
    const found = (await store.listFolders("")).filter(isTenantName);
    if (only === undefined) return found;
    if (found.includes(only)) return [only];
    throw new SpoorError("NotFound", `tenant ${only} has nothing in the bucket`);
  }

  /** Returns the blocks of a tenant's table, by path. */
  async files(tenant: string): Promise<ReadonlyMap<string, BlockFile>> {
    return (await this.table(tenant)).files;
  }

  /** Returns a snapshot of a tenant's table. Throws Corrupt, or what the store throws. */
  async table(tenant: string): Promise<Snapshot> {
    let snapshot = this.#tables.get(tenant);
    if (snapshot === undefined) {
      const store = await this.#openStore();
      const log = openLog("silent");
      snapshot = await openTable({ store, tenant, clock: systemClock, log }).refresh();
      this.#tables.set(tenant, snapshot);
    }
    return snapshot;
  }

  /** Returns the number of blocks, of one tenant or of all. */
  async count(only: string | undefined): Promise<number> {
    let count = 0;
    for (const tenant of await this.tenants(only)) count += (await this.files(tenant)).size;
    return count;
  }

  /** Returns a block by the path of a file, or by its key in the bucket. Throws NotFound. */
  async block(name: string): Promise<BlockSource> {
    if (await isFile(name)) return { name, store: localFiles, key: name, file: undefined };
    const slash = name.indexOf("/");
    const tenant = name.slice(0, Math.max(0, slash));
    if (!isTenantName(tenant)) {
      const message = `${JSON.stringify(name)} is neither a file nor a key: TENANT/blocks/...`;
      throw new SpoorError("NotFound", message);
    }
    const store = await this.#openStore();
    const file = (await this.files(tenant)).get(name.slice(slash + 1));
    return { name, store, key: name, file };
  }

  async #openStore(): Promise<ObjectStore> {
    if (this.#store !== undefined) return this.#store;
    const { config } = loadConfig(this.#parsed, this.#io.env, this.#io.readFile);
    const store = storeConfigOf(config.storage, config.server.dataDir);
    // Opening a store creates its folder, which a read-only command must not do.
    if (store.kind === "fs" && !(await exists(store.root))) {
      throw new SpoorError("NotFound", `there is no bucket in ${store.root}`);
    }
    // The disk cache belongs to the server; a short command needs none.
    const uncached = { memoryBytes: 0, diskBytes: 0 };
    this.#store = await openStore(
      store.kind === "fs" ? store : { ...store, cache: { ...store.cache, ...uncached } },
    );
    return this.#store;
  }
}

async function isFile(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isFile();
  } catch {
    // It is not a readable file, so it may be a key.
    return false;
  }
}

async function exists(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  );
}

/** Reads local files by path. */
const localFiles: RangeStore = {
  head: async (path: string): Promise<ObjectInfo> => {
    const { size, mtimeMs } = await stat(path).catch((error: unknown) => fail(path, error));
    return { key: path, sizeBytes: size, modifiedMs: mtimeMs };
  },
  getRange: async (path: string, start: number, end: number): Promise<Uint8Array> => {
    let file: FileHandle | undefined;
    try {
      file = await open(path, "r");
      const bytes = new Uint8Array(end - start);
      for (let at = 0; at < bytes.length;) {
        const { bytesRead } = await file.read(bytes, at, bytes.length - at, start + at);
        if (bytesRead === 0) {
          throw new SpoorError("Corrupt", `file ${path} ends at byte ${start + at}`);
        }
        at += bytesRead;
      }
      return bytes;
    } catch (error) {
      return fail(path, error);
    } finally {
      await file?.close();
    }
  },
};

function fail(path: string, error: unknown): never {
  if (error instanceof SpoorError) throw error;
  const why = error instanceof Error ? error.message : String(error);
  throw new SpoorError("Unavailable", `read ${path}: ${why}`, { cause: error });
}
