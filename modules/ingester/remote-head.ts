/**
 * A pinned head as a shard of a query. The thread that holds it looks traces up and lends the head
 * to the threads that search (live-pool.ts).
 */
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
import type { PinnedData } from "./live-head.ts";
import type { LivePool } from "./live-pool.ts";
import type { LiveQuestion, LiveQuestions } from "./live-questions.ts";
import type { HeadInfo } from "./messages.ts";

export interface HeadPlace {
  partition: PinnedHead["partition"];
  appId: string;
  rpc: Rpc;
  pinId: number;
  tenant: string;
  searches: LivePool;
}

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
  readonly #tenant: string;
  readonly #searches: LivePool;

  constructor(info: HeadInfo, place: HeadPlace) {
    this.name = `head of partition ${place.partition.index}`;
    this.partition = place.partition;
    this.appId = place.appId;
    this.toOffset = info.toOffset;
    this.spans = info.spans;
    this.minStartNano = info.minStartNano;
    this.maxStartNano = info.maxStartNano;
    this.maxEndNano = info.maxEndNano;
    this.#rpc = place.rpc;
    this.#tenant = place.tenant;
    this.#searches = place.searches;
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
    return await this.#search("listTraces", request, signal);
  }

  async traceDetails(request: TraceDetailsRequest, signal: AbortSignal): Promise<DetailsAnswer> {
    return await this.#search("traceDetails", request, signal);
  }

  async findTrace(
    traceId: Uint8Array,
    signal: AbortSignal,
    bytesMax?: number,
  ): Promise<Uint8Array | undefined> {
    const request = { traceId, bytesMax };
    return (await this.#ask("findTrace", request, signal)) as Uint8Array | undefined;
  }

  async countTags(request: TagsRequest, signal: AbortSignal): Promise<TagCounts> {
    return await this.#search("countTags", request, signal);
  }

  async #search<K extends LiveQuestion>(
    question: K,
    request: LiveQuestions[K]["request"],
    signal: AbortSignal,
  ): Promise<LiveQuestions[K]["answer"]> {
    // Each time: what is not held any more must not be read, and its memory must come back.
    const head = (await this.#rpc.call("lend", this.#ids, signal)) as PinnedData;
    return await this.#searches.ask(this.#tenant, { question, head, request }, signal);
  }

  #ask(method: string, request: unknown, signal: AbortSignal): Promise<unknown> {
    return this.#rpc.call(method, { ...this.#ids, request }, signal);
  }
}
