/**
 * The blocks that a worker thread keeps open. The index is read on opening, the footer once rows
 * are read. An LRU cache, bounded by number and by bytes.
 */
import { LRUCache } from "lru-cache";
import {
  type BlockAddress,
  type BlockIndex,
  type BlockReader,
  openBlock,
  openBlockIndex,
} from "#pkg/block/block.ts";
import { ParquetLibrary } from "#pkg/parquet/parquet-library.ts";

export interface OpenBlocksOptions {
  openBlocksMax: number;
  /** Memory for indexes and footers; a block larger than that is kept as the only one. */
  openBlockBytes: number;
}

/** An open block. Its reader is opened on first use. */
export class OpenBlock {
  readonly index: BlockIndex;
  readonly #place: BlockAddress;
  readonly #library: ParquetLibrary;
  #reader: BlockReader | undefined;
  #opening: Promise<BlockReader> | undefined;
  #uses = 0;
  #isClosed = false;

  constructor(place: BlockAddress, index: BlockIndex, library: ParquetLibrary) {
    this.#place = place;
    this.#library = library;
    this.index = index;
  }

  /** Memory held by the block, bytes. */
  get heldBytes(): number {
    return this.#reader?.heldBytes ?? this.index.heldBytes;
  }

  /** Returns the reader of the block's rows. Throws what `openBlock` throws. */
  async reader(): Promise<BlockReader> {
    if (this.#reader !== undefined) return this.#reader;
    this.#opening ??= openBlock({
      ...this.#place,
      index: this.index,
      library: this.#library,
    });
    try {
      this.#reader = await this.#opening;
      return this.#reader;
    } finally {
      this.#opening = undefined;
    }
  }

  /** Keeps the block open until the caller's matching `release`. */
  retain(): void {
    this.#uses++;
  }

  release(): void {
    this.#uses--;
    if (this.#isClosed) this.close();
  }

  /** Closes the block, once all its users have released it. */
  close(): void {
    this.#isClosed = true;
    if (this.#uses > 0) return;
    this.#reader?.close();
    this.#reader = undefined;
  }
}

export class OpenBlocks {
  /** The cache reads a size only on `set`, so each use sets a new wrapper of the block. */
  readonly #open: LRUCache<string, { block: OpenBlock }>;
  readonly #opening = new Map<string, Promise<OpenBlock>>();
  readonly #library = new ParquetLibrary();

  constructor({ openBlocksMax, openBlockBytes }: OpenBlocksOptions) {
    this.#open = new LRUCache({
      max: openBlocksMax,
      maxSize: openBlockBytes,
      sizeCalculation: ({ block }) => Math.min(block.heldBytes, openBlockBytes),
      dispose: ({ block }, _key, reason) => {
        if (reason !== "set") block.close();
      },
    });
  }

  /** WASM memory of this thread, bytes; it never shrinks. */
  get wasmBytes(): number {
    return this.#library.memoryBytes;
  }

  /**
   * Runs `use` on a block, which is opened if needed. Several uses may run at the same time. Throws
   * what `openBlockIndex` throws, and what `use` throws.
   *
   * @param withFooter whether rows will be read, so that opening reads the footer as well.
   */
  async use<T>(
    key: string,
    place: BlockAddress,
    { withFooter, use }: { withFooter: boolean; use: (block: OpenBlock) => Promise<T> },
  ): Promise<T> {
    const block = await this.#get(key, place, withFooter);
    block.retain();
    try {
      return await use(block);
    } finally {
      // The block may hold more memory than before.
      if (this.#open.peek(key)?.block === block) this.#open.set(key, { block });
      block.release();
    }
  }

  async #get(key: string, place: BlockAddress, withFooter: boolean): Promise<OpenBlock> {
    const known = this.#open.get(key);
    if (known !== undefined) return known.block;
    let opening = this.#opening.get(key);
    if (opening === undefined) {
      opening = openBlockIndex(place, { withFooter })
        .then((index) => {
          const block = new OpenBlock(place, index, this.#library);
          this.#open.set(key, { block });
          return block;
        })
        .finally(() => this.#opening.delete(key));
      this.#opening.set(key, opening);
    }
    return await opening;
  }

  /** Removes a block from the cache and closes it. */
  drop(key: string): void {
    this.#open.delete(key);
  }

  close(): void {
    this.#open.clear();
  }
}
