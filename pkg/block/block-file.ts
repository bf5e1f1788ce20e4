/**
 * A block's entry in its table. The commit holds enough facts for a planner to skip the block
 * without opening it.
 */
import { SpoorError } from "#pkg/errors/errors.ts";
import type { BlockFile, ColumnDef, ColumnType as TableType } from "#pkg/table/table.ts";
import { columnType, type ColumnType } from "#pkg/columns/columns.ts";
import type { BloomShape } from "#pkg/block/index/bloom.ts";
import { bloomShapeSchema } from "#pkg/block/index/bloom-schema.ts";
import type { WrittenBlock } from "./writer.ts";

/** Version of the tags that this code writes; newer ones are refused. */
const tagsVersion = 1;

export interface RowGroupTimes {
  rows: number;
  traces: number;
  minStartNano: bigint;
  maxStartNano: bigint;
  maxEndNano: bigint;
  /** Latest start of a trace, which is that of its earliest span; older blocks have none. */
  maxTraceStartNano?: bigint;
}

export interface BlockTags {
  partition: { index: number; count: number };
  spans: number;
  traces: number;
  indexOffset: number;
  footerOffset: number;
  /** The trace bloom: shards one after another from `offset`, each with its CRC-32. */
  bloom: BloomShape & { offset: number; crcs: number[] };
  rowGroups: RowGroupTimes[];
}

/** Returns the path of a block below its tenant: `blocks/2026/11/22/<ulid>.parquet`. */
export function blockPath(ulid: string, timeMs: number): string {
  const day = new Date(timeMs).toISOString().slice(0, 10).replaceAll("-", "/");
  return `blocks/${day}/${ulid}.parquet`;
}

/**
 * Returns the ingest time of a block from the ULID in its path, milliseconds since the epoch;
 * undefined if the path has no ULID.
 */
export function blockTimeMs(path: string): number | undefined {
  const match = /\/([0-9A-HJKMNP-TV-Z]{10})[0-9A-HJKMNP-TV-Z]{16}\.parquet$/.exec(path);
  if (match === null) return undefined;
  const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
  let timeMs = 0;
  for (const letter of match[1]) timeMs = timeMs * 32 + alphabet.indexOf(letter);
  // A ULID's time has 48 bits; ten letters can encode 50.
  return timeMs < 2 ** 48 ? timeMs : undefined;
}

/** Returns the table entry of a block, for its commit. */
export function toBlockFile(
  block: Omit<WrittenBlock, "bytes" | "columns">,
  place: { path: string; sizeBytes: number; modifiedMs: number; partition: BlockTags["partition"] },
): BlockFile {
  const { bloom } = block;
  return {
    path: place.path,
    sizeBytes: place.sizeBytes,
    modifiedMs: place.modifiedMs,
    stats: {
      rows: block.spans,
      min: { start_unix_nano: block.minStartNano },
      max: { start_unix_nano: block.maxStartNano },
    },
    tags: {
      "spoor.version": String(tagsVersion),
      "spoor.partition": `${place.partition.index}/${place.partition.count}`,
      "spoor.traces": String(block.traces),
      "spoor.index": `${block.indexOffset},${block.footerOffset}`,
      "spoor.bloom": [bloom.offset, bloom.shards, bloom.bitsPerShard, bloom.hashes]
        .concat(bloom.crcs)
        .join(","),
      "spoor.row_groups": block.rowGroups
        .map((group) =>
          [group.rows, group.traces, group.minStartNano, group.maxStartNano, group.maxEndNano].join(
            ",",
          ),
        )
        .join(";"),
      ...traceStartsTag(block.rowGroups),
    },
  };
}

/** Bounds of a search for the newest traces; absent where they are not known. */
function traceStartsTag(rowGroups: readonly RowGroupTimes[]): Record<string, string> {
  const starts = rowGroups.flatMap(({ maxTraceStartNano }) => maxTraceStartNano ?? []);
  return starts.length === rowGroups.length ? { "spoor.trace_starts": starts.join(";") } : {};
}

/**
 * Parses a block's tags. Throws Corrupt, or InvalidInput for a version newer than this code knows.
 */
export function parseBlockTags(file: BlockFile): BlockTags {
  const read = new TagReader(file);
  const [version] = read.naturals("spoor.version", "/", 1);
  if (version > tagsVersion) {
    throw new SpoorError(
      "InvalidInput",
      `block ${file.path} has version ${version}, this program knows up to ${tagsVersion}`,
      { reason: "format_too_new" },
    );
  }
  const [index, count] = read.naturals("spoor.partition", "/", 2);
  if (index >= count || (count & (count - 1)) !== 0) read.fail("spoor.partition");
  const [indexOffset, footerOffset] = read.naturals("spoor.index", ",", 2);
  if (indexOffset >= footerOffset || footerOffset >= file.sizeBytes) read.fail("spoor.index");
  const [traces] = read.naturals("spoor.traces", ",", 1);
  const rowGroups = readRowGroups(file, read);
  return {
    partition: { index, count },
    spans: file.stats.rows,
    traces,
    indexOffset,
    footerOffset,
    bloom: readBloom(read, indexOffset, footerOffset),
    rowGroups,
  };
}

function readRowGroups({ tags }: BlockFile, read: TagReader): RowGroupTimes[] {
  const groups = (tags["spoor.row_groups"] ?? "").split(";").map((text): RowGroupTimes => {
    const [rows, traces, ...times] = read.integers("spoor.row_groups", text.split(","), 5);
    const [minStartNano, maxStartNano, maxEndNano] = times;
    return { rows: Number(rows), traces: Number(traces), minStartNano, maxStartNano, maxEndNano };
  });
  const starts = tags["spoor.trace_starts"]?.split(";");
  if (starts === undefined) return groups;
  const values = read.integers("spoor.trace_starts", starts);
  return groups.map((group, i) => ({ ...group, maxTraceStartNano: values[i] }));
}

function readBloom(read: TagReader, indexOffset: number, footerOffset: number): BlockTags["bloom"] {
  const [offset, shards, bitsPerShard, hashes, ...crcs] = read.naturals("spoor.bloom", ",");
  const shape = bloomShapeSchema.safeParse({ shards, bitsPerShard, hashes });
  if (!shape.success || crcs.length !== shards) return read.fail("spoor.bloom");
  const end = offset + (shards * bitsPerShard) / 8;
  if (offset < indexOffset || end > footerOffset) read.fail("spoor.bloom");
  return { ...shape.data, offset, crcs };
}

/** Reads lists of numbers from a block's tags. */
class TagReader {
  readonly #file: BlockFile;

  constructor(file: BlockFile) {
    this.#file = file;
  }

  fail(name: string): never {
    const shown = JSON.stringify((this.#file.tags[name] ?? "").slice(0, 80));
    const message = `block ${this.#file.path}: invalid tag ${name} in its commit: ${shown}`;
    throw new SpoorError("Corrupt", message);
  }

  integers(name: string, parts: readonly string[], count?: number): bigint[] {
    if (count !== undefined && parts.length !== count) this.fail(name);
    return parts.map((part) => (/^-?\d{1,20}$/.test(part) ? BigInt(part) : this.fail(name)));
  }

  naturals(name: string, separator: string, count?: number): number[] {
    const parts = (this.#file.tags[name] ?? "").split(separator);
    return this.integers(name, parts, count).map((value) =>
      value >= 0n && value <= Number.MAX_SAFE_INTEGER ? Number(value) : this.fail(name),
    );
  }
}

const tableTypes: Record<ColumnType, TableType> = {
  string: "string",
  binary: "binary",
  int64: "long",
  int32: "integer",
  double: "double",
  bool: "boolean",
  "list<string>": "array<string>",
  "list<binary>": "array<binary>",
  "list<int64>": "array<long>",
  "list<int32>": "array<integer>",
};

/** Returns the table's definitions of these block columns. */
export function tableColumns(names: readonly string[]): ColumnDef[] {
  return names.map((name) => {
    const type = columnType(name);
    if (type === undefined) throw new SpoorError("Internal", `column ${name} has no type`);
    return { name, type: tableTypes[type] };
  });
}
