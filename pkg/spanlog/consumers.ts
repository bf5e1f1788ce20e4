/** Consumers of a log besides the ingesters: their limits, their side of the log, and their lag. */
import { SpoorError } from "#pkg/errors/errors.ts";
import type { PartitionLog } from "./partition-log.ts";
import type { PartitionTrim } from "./partition-trim.ts";
import {
  type BoundedConsumer,
  type ConsumerConfig,
  type ConsumerState,
  ingesterName,
} from "./span-log.ts";

/** One partition of an open log. */
export interface LogPartition {
  log: PartitionLog;
  trim: PartitionTrim;
}

/**
 * Returns the consumers' limits per partition. Throws InvalidInput `bad_log_consumer` for an
 * invalid or duplicate name, for limits that are not positive, and if all consumers together may
 * retain more than half of the log: the other half is reserved for the ingesters.
 */
export function partitionBounds(
  consumers: readonly ConsumerConfig[],
  { bytesMax, partitionCount }: { bytesMax: number; partitionCount: number },
): ConsumerConfig[] {
  const names = new Set<string>([ingesterName]);
  let bytes = 0;
  for (const { name, recordsBehindMax, bytesBehindMax } of consumers) {
    const isName = /^[a-z][a-z0-9-]{0,62}$/.test(name) && !names.has(name);
    if (!isName) throw badConsumer(name, "not a unique name of a-z, 0-9 and -");
    if (!(recordsBehindMax >= 1 && bytesBehindMax >= 1)) {
      throw badConsumer(name, `bounds of ${recordsBehindMax} records, ${bytesBehindMax} bytes`);
    }
    names.add(name);
    bytes += bytesBehindMax;
    if (bytes > bytesMax / 2) {
      throw badConsumer(name, `${bytes} bytes behind are more than half of the log's ${bytesMax}`);
    }
  }
  const share = (max: number): number => Math.max(1, Math.floor(max / partitionCount));
  return consumers.map(({ name, recordsBehindMax, bytesBehindMax }) => ({
    name,
    recordsBehindMax: share(recordsBehindMax),
    bytesBehindMax: share(bytesBehindMax),
  }));
}

function badConsumer(name: string, why: string): SpoorError {
  const message = `open log with consumer ${JSON.stringify(name)}: ${why}`;
  return new SpoorError("InvalidInput", message, { reason: "bad_log_consumer" });
}

/** The side of one consumer. `partitionOf` throws for a missing partition. */
export class FileLogConsumer implements BoundedConsumer {
  readonly name: string;
  readonly #partitionOf: (partition: number, what: string) => LogPartition;

  constructor(name: string, partitionOf: (partition: number, what: string) => LogPartition) {
    this.name = name;
    this.#partitionOf = partitionOf;
  }

  firstOffset(partition: number): number {
    return this.#partitionOf(partition, "inspect").trim.position(this.name).position;
  }

  durableEnd(partition: number): number {
    return this.#partitionOf(partition, "inspect").log.durableEnd;
  }

  subscribe(partition: number, onDurable: (endOffset: number) => void): () => void {
    return this.#partitionOf(partition, "inspect").log.subscribe(onDurable);
  }

  async trim(partition: number, upTo: number): Promise<void> {
    await this.#partitionOf(partition, "trim").trim.trimOf(this.name, upTo);
  }

  isLost(partition: number): boolean {
    return this.#partitionOf(partition, "inspect").trim.position(this.name).isLost;
  }

  async rejoin(partition: number): Promise<number> {
    return await this.#partitionOf(partition, "join").trim.rejoin(this.name);
  }
}

/** Returns the lag of the ingesters and of the other consumers. */
export function consumerStates(
  partitions: readonly LogPartition[],
  others: readonly ConsumerConfig[],
): ConsumerState[] {
  const behind = partitions.map(({ trim }) => trim.behind(trim.state.ingesterTo));
  const ingesters = { name: ingesterName, ...sumOf(behind) };
  const states: ConsumerState[] = [{ ...ingesters, lostPartitions: [], claimsLostTotal: 0 }];
  for (const { name } of others) {
    const places = partitions.map(({ trim }) => trim.position(name));
    const kept = places.map(({ position }, i) => partitions[i].trim.behind(position));
    states.push({
      name,
      ...sumOf(kept),
      lostPartitions: places.flatMap(({ isLost }, i) => (isLost ? [i] : [])),
      claimsLostTotal: partitions.reduce((sum, { trim }) => sum + trim.claimsLost(name), 0),
    });
  }
  return states;
}

function sumOf(
  behind: readonly { records: number; bytes: number }[],
): Pick<ConsumerState, "behindRecords" | "behindBytes"> {
  return {
    behindRecords: behind.reduce((sum, { records }) => sum + records, 0),
    behindBytes: behind.reduce((sum, { bytes }) => sum + bytes, 0),
  };
}
