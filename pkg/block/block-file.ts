/** A block as its table names it: what the commit says, so that a planner need not open the block. */
import { z } from "zod";
import { SpoorError } from "#pkg/errors/errors.ts";
import type { BlockFile, ColumnDef, ColumnType as TableType } from "#pkg/table/table.ts";
import { columnType, type ColumnType } from "#pkg/columns/schema.ts";
import type { BloomShape } from "./bloom.ts";
import type { WrittenBlock } from "./writer.ts";

/** Version of the tags that this code writes; newer ones are refused. */
const tagsVersion = 1;

export interface RowGroupTimes {
  rows: number;
  traces: number;
  minStartNano: bigint;
  maxStartNano: bigint;
  maxEndNano: bigint;
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

/** The path of a block below its tenant: `blocks/2026/11/22/<ulid>.parquet`. */
export function blockPath(ulid: string, timeMs: number): string {
  const day = new Date(timeMs).toISOString().slice(0, 10).replaceAll("-", "/");
  return `blocks/${day}/${ulid}.parquet`;
}

/** When a block was ingested, from the ULID in its path, milliseconds since the epoch. */
export function blockTimeMs(path: string): number | undefined {
  const match = /\/([0-9A-HJKMNP-TV-Z]{10})[0-9A-HJKMNP-TV-Z]{16}\.parquet$/.exec(path);
  if (match === null) return undefined;
  const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
  let timeMs = 0;
  for (const letter of match[1]) timeMs = timeMs * 32 + alphabet.indexOf(letter);
  return timeMs;
}

/** What a commit says of a block. */
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
    },
  };
}

const integer: z.ZodType<bigint> = z
  .string()
  .regex(/^-?\d{1,20}$/)
  .transform((text) => BigInt(text));

/** Reads a block's tags. Throws Corrupt, or InvalidInput for a version newer than this code knows. */
export function parseBlockTags(file: BlockFile): BlockTags {
  const fail = (what: string): never => {
    throw new SpoorError("Corrupt", `block ${file.path}: its commit has ${what}`);
  };
  const version = Number(file.tags["spoor.version"] ?? Number.NaN);
  if (Number.isNaN(version)) fail("no tag spoor.version: not written by Spoor");
  if (version > tagsVersion) {
    throw new SpoorError(
      "InvalidInput",
      `block ${file.path} has version ${version}, this program knows up to ${tagsVersion}`,
      { reason: "format_too_new" },
    );
  }
  const numbers = (name: string, separator: RegExp | string): bigint[] =>
    (file.tags[name] ?? "").split(separator).map((text) => {
      const parsed = integer.safeParse(text);
      return parsed.success ? parsed.data : fail(`an unreadable tag ${name}`);
    });
  const [index, count] = numbers("spoor.partition", "/").map(Number);
  const [indexOffset, footerOffset] = numbers("spoor.index", ",").map(Number);
  const [offset, shards, bitsPerShard, hashes, ...crcs] = numbers("spoor.bloom", ",").map(Number);
  if (crcs.length !== shards) fail("a tag spoor.bloom without a checksum per shard");
  const rowGroups = (file.tags["spoor.row_groups"] ?? "").split(";").map((text) => {
    const parts = text.split(",").map((part) => integer.safeParse(part));
    if (parts.length !== 5 || parts.some(({ success }) => !success)) {
      fail("an unreadable tag spoor.row_groups");
    }
    const [rows, traces, minStartNano, maxStartNano, maxEndNano] = parts.map(({ data }) => data!);
    return { rows: Number(rows), traces: Number(traces), minStartNano, maxStartNano, maxEndNano };
  });
  return {
    partition: { index, count },
    spans: file.stats.rows,
    traces: Number(numbers("spoor.traces", ",")[0]),
    indexOffset,
    footerOffset,
    bloom: { offset, shards, bitsPerShard, hashes, crcs },
    rowGroups,
  };
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

/** The columns of a block in the words of its table. */
export function tableColumns(names: readonly string[]): ColumnDef[] {
  return names.map((name) => {
    const type = columnType(name);
    if (type === undefined) throw new SpoorError("Internal", `column ${name} has no type`);
    return { name, type: tableTypes[type] };
  });
}
