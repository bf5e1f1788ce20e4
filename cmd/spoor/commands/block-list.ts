/** Formats the lines of `spoor block ls`. */
import { type BlockTags, blockTimeMs, parseBlockTags } from "#pkg/block/block.ts";
import { toSpoorError } from "#pkg/errors/errors.ts";
import type { BlockFile } from "#pkg/table/table.ts";
import { escapeControls } from "./escape.ts";

/** A block as its commit describes it. Times are ISO 8601, or nanoseconds if out of its range. */
export interface ListedBlock {
  block: string;
  sizeBytes: number;
  spans: number;
  ingested: string | undefined;
  partition: string | undefined;
  traces: number | undefined;
  rowGroups: number | undefined;
  minStart: string | undefined;
  maxEnd: string | undefined;
  /** Set if the commit's tags cannot be read. */
  error: string | undefined;
}

export function listedBlock(tenant: string, file: BlockFile): ListedBlock {
  const timeMs = blockTimeMs(file.path);
  let tags: BlockTags | undefined;
  let error: string | undefined;
  try {
    tags = parseBlockTags(file);
  } catch (thrown) {
    error = toSpoorError(thrown).message;
  }
  const groups = tags?.rowGroups ?? [];
  const starts = groups.map(({ minStartNano }) => minStartNano);
  const ends = groups.map(({ maxEndNano }) => maxEndNano);
  return {
    block: `${tenant}/${file.path}`,
    sizeBytes: file.sizeBytes,
    spans: file.stats.rows,
    ingested: timeMs === undefined ? undefined : new Date(timeMs).toISOString(),
    partition: tags && `${tags.partition.index}/${tags.partition.count}`,
    traces: tags?.traces,
    rowGroups: tags && groups.length,
    minStart: tags && nanoText(starts.reduce((a, b) => (b < a ? b : a))),
    maxEnd: tags && nanoText(ends.reduce((a, b) => (b > a ? b : a))),
    error,
  };
}

/** Formats nanoseconds since the epoch as ISO 8601 in ms; as a number if far from today. */
export function nanoText(nano: bigint): string {
  const ms = Number(nano / 1_000_000n);
  return Math.abs(ms) < 8e15 / 1000 ? new Date(ms).toISOString() : `${nano} ns`;
}

export function sizeText(sizeBytes: number): string {
  if (sizeBytes < 1024) return `${sizeBytes} B`;
  if (sizeBytes < 1024 ** 2) return `${(sizeBytes / 1024).toFixed(1)} KiB`;
  return `${(sizeBytes / 1024 ** 2).toFixed(1)} MiB`;
}

export function listHeader(tenant: string, files: readonly BlockFile[]): string {
  const sum = (pick: (file: BlockFile) => number): number =>
    files.reduce((total, file) => total + pick(file), 0);
  const spans = sum(({ stats }) => stats.rows);
  const size = sizeText(sum(({ sizeBytes }) => sizeBytes));
  return `tenant ${tenant}: ${files.length} blocks, ${spans} spans, ${size}\n`;
}

export function blockLine(listed: ListedBlock): string {
  const { block, sizeBytes, spans, error } = listed;
  const start = `  ${escapeControls(block)}  ${sizeText(sizeBytes)}  ${spans} spans`;
  if (error !== undefined) return `${start}  ${escapeControls(error)}\n`;
  const { traces, partition, rowGroups, minStart, maxEnd } = listed;
  const groups = `${rowGroups} row group${rowGroups === 1 ? "" : "s"}`;
  const facts = `${traces} traces  partition ${partition}  ${groups}`;
  return `${start}  ${facts}  ${minStart} to ${maxEnd}\n`;
}
