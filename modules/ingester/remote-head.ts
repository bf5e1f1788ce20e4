/** A pinned head, on the thread that holds it, as a shard of a query. */
import type {
  DetailsAnswer,
  HeldTraces,
  HeldTracesRequest,
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
  readonly sizeBytes = 0;
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
  mayHoldTraces(ids: Uint8Array): Promise<Uint8Array> {
    return Promise.resolve(new Uint8Array(ids.length / 16).fill(1));
  }

  async heldTraces(request: HeldTracesRequest, signal: AbortSignal): Promise<HeldTraces> {
    return (await this.#ask("heldTraces", request, signal)) as HeldTraces;
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
