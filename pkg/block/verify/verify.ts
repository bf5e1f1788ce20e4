/**
 * Verifies one block: every byte belongs to a part and matches its checksum, rows are in order, and
 * every index agrees with the rows. Damage cannot end the process: the Parquet reader, whose panics
 * nothing can catch, runs in a worker thread.
 *
 *     bytes (verify-structure.ts)  ->  rows, per row group, in a worker (verify-rows.ts,
 *     verify-tags.ts)  ->  all trace ids together (verify-traces.ts)  ->  the commit
 */
import {
  formatTooNew,
  hasCode,
  parquetPanic,
  type SpoorError,
  verifySilent,
} from "#pkg/errors/errors.ts";
import type { BlockFile } from "#pkg/table/table.ts";
import { type BlockTags, parseBlockTags } from "#pkg/block/block-file.ts";
import { type Finding, Findings } from "./findings.ts";
import type { TagIndex } from "#pkg/block/index/tag-index.ts";
import {
  checkStructure,
  type RangeStore,
  type Structure,
  type StructureSource,
} from "./verify-structure.ts";
import { checkMergedTags } from "./verify-tags.ts";
import { VerifyThread } from "./verify-thread.ts";
import { TraceCheck } from "./verify-traces.ts";

/** Number of unreadable row groups after which the remaining row groups are skipped. */
const failuresMax = 8;

export interface VerifyTarget {
  store: RangeStore;
  key: string;
  /** The block's entry in its table, if it is in a table. */
  file?: BlockFile;
}

export interface VerifyOptions {
  signal?: AbortSignal;
}

/** Verifies blocks one after another; keeps its worker thread until `close`. */
export class BlockVerifier {
  readonly #thread = new VerifyThread();

  /**
   * Verifies a block and returns the findings; empty if the block is sound. Throws only errors of
   * the store (NotFound, Unavailable, Canceled, ...).
   */
  async verify(target: VerifyTarget, options: VerifyOptions = {}): Promise<Finding[]> {
    const findings = new Findings();
    const { store, key, file } = target;
    const { sizeBytes } = await store.head(key, options);
    if (file !== undefined && file.sizeBytes !== sizeBytes) {
      const message = `the object has ${sizeBytes} bytes, its commit says ${file.sizeBytes}`;
      findings.add("size", "file", message);
    }
    const source: StructureSource = { store, key, sizeBytes, signal: options.signal };
    try {
      const structure = await checkStructure(source, findings);
      if (structure !== undefined) {
        if (file !== undefined) checkCommit(structure, file, findings);
        await this.#checkRowGroups(source, structure, findings);
      }
    } catch (error) {
      // The object was truncated or replaced while it was read.
      if (!hasCode(error, "Corrupt")) throw error;
      findings.add("size", "file", error.message);
    }
    return findings.list();
  }

  /** Ends the worker thread. */
  async close(): Promise<void> {
    await this.#thread.close();
  }

  async #checkRowGroups(
    source: StructureSource,
    structure: Structure,
    findings: Findings,
  ): Promise<void> {
    const traces = new TraceCheck(structure.directory, structure.blooms, findings);
    let failures = 0;
    for (const rowGroup of structure.soundRowGroups) {
      if (failures === failuresMax) {
        findings.add("parquet", "file", `row groups from ${rowGroup} on were not checked`);
        break;
      }
      try {
        const report = await this.#thread.check(source, rowGroup);
        findings.addAll(report.findings);
        traces.add(rowGroup, report.traceIds);
      } catch (error) {
        if (!hasCode(error, "Corrupt") && !hasCode(error, "Timeout")) throw error;
        if (hasCode(error, "Timeout") && error.reason !== verifySilent) throw error;
        failures++;
        // Damaged index parts are reported already.
        const isKnown = structure.rowGroupTags[rowGroup] === undefined;
        if (!isKnown || isPanic(error)) {
          findings.add("parquet", `row group ${rowGroup}`, error.message);
        }
      }
    }
    const parts = structure.rowGroupTags.filter((tags): tags is TagIndex => tags !== undefined);
    if (structure.tags !== undefined && parts.length === structure.rowGroupTags.length) {
      checkMergedTags(structure.tags, parts, findings);
    }
  }
}

/** Verifies one block with a verifier of its own. Throws as `BlockVerifier.verify` does. */
export async function verifyBlock(
  target: VerifyTarget,
  options?: VerifyOptions,
): Promise<Finding[]> {
  const verifier = new BlockVerifier();
  try {
    return await verifier.verify(target, options);
  } finally {
    await verifier.close();
  }
}

function isPanic(error: SpoorError): boolean {
  return error.reason === parquetPanic || error.reason === verifySilent;
}

/** Checks the commit's tags and statistics against the block's index section. */
function checkCommit(structure: Structure, file: BlockFile, findings: Findings): void {
  let tags: BlockTags;
  try {
    tags = parseBlockTags(file);
  } catch (error) {
    if (!hasCode(error, "Corrupt") && !hasCode(error, "InvalidInput")) throw error;
    const cause = error.reason === formatTooNew ? "version" : "commit";
    findings.add(cause, "tags", error.message);
    return;
  }
  const { directory, trailer, footerOffset } = structure;
  const { bloom, partition } = directory;
  const compare = (what: string, said: unknown, found: unknown): void => {
    if (String(said) === String(found)) return;
    findings.add("commit", what, `the commit says ${String(said)}, the block ${String(found)}`);
  };
  const of = ({ index, count }: { index: number; count: number }): string => `${index}/${count}`;
  compare("partition", of(tags.partition), of(partition));
  compare("spans", tags.spans, directory.rows);
  compare("traces", tags.traces, directory.traces);
  compare("index offset", tags.indexOffset, trailer.sectionOffset);
  compare("footer offset", tags.footerOffset, footerOffset);
  const { shards, bitsPerShard, hashes, offset, crcs } = tags.bloom;
  compare("bloom shards", shards, bloom.shards);
  compare("bloom bits per shard", bitsPerShard, bloom.bitsPerShard);
  compare("bloom hashes", hashes, bloom.hashes);
  let at = offset;
  bloom.places.forEach((place, i) => {
    compare(`offset of bloom shard ${i}`, at, place.offset);
    compare(`checksum of bloom shard ${i}`, crcs[i], place.crc);
    at += place.sizeBytes;
  });
  const times = (group: BlockTags["rowGroups"][number] | undefined): string =>
    group === undefined
      ? "nothing"
      : `${group.rows} rows, ${group.traces} traces, starts ${group.minStartNano} to ` +
        `${group.maxStartNano}, end ${group.maxEndNano}, ` +
        `last trace ${group.maxTraceStartNano ?? "unknown"}`;
  compare("row groups", tags.rowGroups.length, directory.rowGroups.length);
  directory.rowGroups.forEach((group, i) => {
    const { minStartNano, maxStartNano, maxEndNano, maxTraceStartNano } = group;
    const own = {
      ...group,
      minStartNano: BigInt(minStartNano),
      maxStartNano: BigInt(maxStartNano),
      maxEndNano: BigInt(maxEndNano),
      maxTraceStartNano: maxTraceStartNano === undefined ? undefined : BigInt(maxTraceStartNano),
    };
    compare(`row group ${i}`, times(tags.rowGroups[i]), times(own));
  });
  const starts = directory.rowGroups.map((group) => BigInt(group.minStartNano));
  const lasts = directory.rowGroups.map((group) => BigInt(group.maxStartNano));
  const least = starts.reduce((a, b) => (b < a ? b : a));
  const greatest = lasts.reduce((a, b) => (b > a ? b : a));
  compare("statistics, earliest start", file.stats.min["start_unix_nano"], least);
  compare("statistics, latest start", file.stats.max["start_unix_nano"], greatest);
}
