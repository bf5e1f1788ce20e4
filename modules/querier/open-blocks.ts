/**
 * The blocks that a worker thread keeps open: first their index only, their footer too once rows
 * are read. Bounded by number and by bytes; least recently used go first.
 */
import { LRUCache } from "lru-cache";
import { type BlockIndex, type BlockPlace, openBlockIndex } from "#pkg/block/block-index.ts";
import { type BlockReader, openBlock } from "#pkg/block/reader.ts";

export interface OpenBlocksOptions {
  openBlocksMax: number;
  /** For their indexes and footers; the block in use is kept whatever its size. */
  openBlockBytes: number;
}

/** One block. Its reader is opened when it is asked for. */
export class OpenBlock {
  readonly index: BlockIndex;
  readonly #place: BlockPlace;
  #reader: BlockReader | undefined;

  constructor(place: BlockPlace, index: BlockIndex) {
    this.#place = place;
    this.index = index;
  }

  /** Memory that it holds, bytes. */
  get heldBytes(): number {
    return this.#reader?.heldBytes ?? this.index.heldBytes;
  }

  /** Throws what `openBlock` does. One caller at a time. */
  async reader(): Promise<BlockReader> {
    this.#reader ??= await openBlock({ ...this.#place, index: this.index });
    return this.#reader;
  }

  close(): void {
    this.#reader?.close();
    this.#reader = undefined;
  }
}

export class OpenBlocks {
  /** A block that has grown gets a new slot: its size is asked for when it is set. */
  readonly #open: LRUCache<string, { block: OpenBlock }>;

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

  /**
   * The block, opened if it was not. `withFooter`: rows will be read. Throws what `openBlockIndex`
   * does.
   */
  async get(key: string, place: BlockPlace, withFooter: boolean): Promise<OpenBlock> {
    const known = this.#open.get(key);
    if (known !== undefined) return known.block;
    const index = await openBlockIndex(place, { withFooter });
    const block = new OpenBlock(place, index);
    this.#open.set(key, { block });
    return block;
  }

  /** To be called after each use: the block may hold more than before. */
  used(key: string): void {
    const known = this.#open.peek(key);
    if (known !== undefined) this.#open.set(key, { block: known.block });
  }

  /** Closes one. */
  drop(key: string): void {
    this.#open.delete(key);
  }

  close(): void {
    this.#open.clear();
  }
}
