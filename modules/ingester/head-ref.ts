/** A pinned head as a shard of a query. */
import { SpoorError } from "#pkg/errors/errors.ts";
import type { HeadRef } from "#pkg/questions/shards.ts";
import type { HeadInfo } from "./messages.ts";

export interface HeadPlace extends Pick<HeadRef, "partition" | "appId" | "tenant"> {
  worker: string;
  pinId: number;
}

export function headRef(
  { headId, ...info }: HeadInfo,
  { partition, appId, tenant, worker, pinId }: HeadPlace,
): HeadRef {
  return {
    kind: "head",
    name: `head of partition ${partition.index}`,
    ...info,
    partition,
    appId,
    tenant,
    sizeBytes: 0,
    pin: { worker, pinId, headId },
  };
}

/** The worker that held the head has ended, and its pins with it. */
export function staleHead({ name, partition }: HeadRef): SpoorError {
  const message = `${name} is not held any more: worker of partition ${partition.index} died`;
  return new SpoorError("Unavailable", message, { reason: "worker_died" });
}
