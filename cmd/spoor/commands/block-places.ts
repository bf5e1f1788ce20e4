/** Where the blocks of `spoor block` are: plain files, or keys of the bucket with their commits. */
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

export interface PlacedBlock {
  /** As it was named. */
  name: string;
  store: RangeStore;
  key: string;
  /** What the table says of it. */
  file: BlockFile | undefined;
}

/** The bucket is opened when something in it is asked for. */
export function openPlaces(parsed: ParsedArgs, io: CommandIo): BlockPlaces {
  return new BlockPlaces(parsed, io);
}

export class BlockPlaces {
  readonly #parsed: ParsedArgs;
  readonly #io: CommandIo;
  #store: ObjectStore | undefined;
  readonly #tables = new Map<string, Snapshot>();

  constructor(parsed: ParsedArgs, io: CommandIo) {
    this.#parsed = parsed;
    this.#io = io;
  }

  /** The one asked for, or all that have a table. Throws NotFound for one that has none. */
  async tenants(only: string | undefined): Promise<string[]> {
    const store = await this.#openStore();
    const found = (await store.listFolders("")).filter(isTenantName);
    if (only === undefined) return found;
    if (found.includes(only)) return [only];
    throw new SpoorError("NotFound", `tenant ${only} has nothing in the bucket`);
  }

  /** Blocks of a tenant's table, by path. */
  async files(tenant: string): Promise<ReadonlyMap<string, BlockFile>> {
    return (await this.table(tenant)).files;
  }

  /** A tenant's table. Throws Corrupt, or what the store throws. */
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

  /** How many blocks there are, of one tenant or of all. */
  async count(only: string | undefined): Promise<number> {
    let count = 0;
    for (const tenant of await this.tenants(only)) count += (await this.files(tenant)).size;
    return count;
  }

  /** A block by the path of a file, or by its key in the bucket. Throws NotFound. */
  async block(name: string): Promise<PlacedBlock> {
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
    // Opening makes the folder: looking should not.
    if (store.kind === "fs" && !(await exists(store.root))) {
      throw new SpoorError("NotFound", `there is no bucket in ${store.root}`);
    }
    // A command that ends soon shares no cache with the server.
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
    // Whatever it is, it is not a file that can be read: it may be a key.
    return false;
  }
}

async function exists(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  );
}

/** Files of this machine, by path. */
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
