/** A pinned head, on the thread that holds it, as a shard of a query. */
import type {
  DetailsAnswer,
  ListTracesRequest,
  PinnedHead,
  TraceDetailsRequest,
  TraceList,
} from "#pkg/api/query.ts";
import type { TagCounts, TagsRequest } from "#pkg/api/tags.ts";
import type { Rpc } from "#pkg/rpc/rpc.ts";
import type { HeadInfo } from "./messages.ts";

export class RemoteHead implements PinnedHead {
  readonly name: string;
  readonly partition: { index: number; count: number };
  readonly appId: string;
  readonly toOffset: number;
  readonly spans: number;
  readonly minStartNano: bigint;
  readonly maxStartNano: bigint;
  readonly maxEndNano: bigint;
  readonly #rpc: Rpc;
  readonly #ids: { pinId: number; headId: number };

  constructor(
    info: HeadInfo,
    place: { partition: PinnedHead["partition"]; appId: string; rpc: Rpc; pinId: number },
  ) {
    this.name = `head of partition ${place.partition.index}`;
    this.partition = place.partition;
    this.appId = place.appId;
    this.toOffset = info.toOffset;
    this.spans = info.spans;
    this.minStartNano = info.minStartNano;
    this.maxStartNano = info.maxStartNano;
    this.maxEndNano = info.maxEndNano;
    this.#rpc = place.rpc;
    this.#ids = { pinId: place.pinId, headId: info.headId };
  }

  /** Asking costs as much as the answer: every head may hold every trace of its partition. */
  mayHoldTrace(): Promise<boolean> {
    return Promise.resolve(true);
  }

  async listTraces(request: ListTracesRequest, signal: AbortSignal): Promise<TraceList> {
    return (await this.#ask("listTraces", request, signal)) as TraceList;
  }

  async traceDetails(request: TraceDetailsRequest, signal: AbortSignal): Promise<DetailsAnswer> {
    return (await this.#ask("traceDetails", request, signal)) as DetailsAnswer;
  }

  async findTrace(traceId: Uint8Array, signal: AbortSignal): Promise<Uint8Array | undefined> {
    return (await this.#ask("findTrace", traceId, signal)) as Uint8Array | undefined;
  }

  async countTags(request: TagsRequest, signal: AbortSignal): Promise<TagCounts> {
    return (await this.#ask("countTags", request, signal)) as TagCounts;
  }

  #ask(method: string, request: unknown, signal: AbortSignal): Promise<unknown> {
    return this.#rpc.call(method, { ...this.#ids, request }, signal);
  }
}
