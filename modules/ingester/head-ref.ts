/** Describes a pinned head as a shard of a query. */
import { SpoorError } from "#pkg/errors/errors.ts";
import type { HeadRef } from "#pkg/questions/questions.ts";
import type { HeadInfo } from "./messages.ts";

export interface PinnedHeadAddress extends Pick<HeadRef, "partition" | "appId" | "tenant"> {
  worker: string;
  pinId: number;
}

export function headRef(
  { headId, ...info }: HeadInfo,
  { partition, appId, tenant, worker, pinId }: PinnedHeadAddress,
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

/** Returns the error for a pin whose worker has died. */
export function staleHead({ name, partition }: HeadRef): SpoorError {
  const message = `${name} is no longer pinned: the worker of partition ${partition.index} died`;
  return new SpoorError("Unavailable", message, { reason: "worker_died" });
}
