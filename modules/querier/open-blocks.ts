/**
 * The blocks that a worker thread keeps open: first their index only, their footer too once rows
 * are read. Bounded by number and by bytes; least recently used go first.
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
  /** For their indexes and footers; the block in use is kept whatever its size. */
  openBlockBytes: number;
}

/** One block. Its reader is opened when it is asked for. */
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

  /** Memory that it holds, bytes. */
  get heldBytes(): number {
    return this.#reader?.heldBytes ?? this.index.heldBytes;
  }

  /** Throws what `openBlock` does. */
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

  /** Whoever uses it says so, and `release`s it: it is not closed in between. */
  retain(): void {
    this.#uses++;
  }

  release(): void {
    this.#uses--;
    if (this.#isClosed) this.close();
  }

  /** Closes it when nobody uses it any more. */
  close(): void {
    this.#isClosed = true;
    if (this.#uses > 0) return;
    this.#reader?.close();
    this.#reader = undefined;
  }
}

export class OpenBlocks {
  /** A block that has grown gets a new slot: its size is asked for when it is set. */
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
   * Uses the block, opened if it was not; it may be in several uses at the same time. `withFooter`:
   * rows will be read. Throws what `openBlockIndex` does, and what `use` throws.
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
      // It may hold more than before.
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

  /** Closes one. */
  drop(key: string): void {
    this.#open.delete(key);
  }

  close(): void {
    this.#open.clear();
  }
}
