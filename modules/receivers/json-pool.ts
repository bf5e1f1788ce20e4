/** Converts OTLP/JSON bodies to protobuf: small ones in place, others on worker threads. */
import { Piscina } from "piscina";
import { errorFromData, SpoorError } from "#pkg/errors/errors.ts";
import { jsonToWire } from "#pkg/otlp/otlp.ts";
import { requestKey } from "#pkg/spanlog/spanlog.ts";
import type { JsonJob, JsonJobResult, KeyedWire } from "./json-worker.ts";

/** About one millisecond of work. */
const inPlaceBytesMax = 48 * 1024;
/** Jobs that may wait per thread; their bodies are bounded by InFlight too. */
const queuePerThread = 64;
const idleTimeoutMs = 60_000;

export class JsonPool {
  #threads: number;
  #pool: Piscina<JsonJob, JsonJobResult> | undefined;

  /** Threads start with the first large body. */
  constructor(threads: number) {
    this.#threads = threads;
  }

  /**
   * Converts a request to protobuf and returns it with its key. `json` may be transferred to a
   * thread: the caller must not use it afterwards. Throws InvalidInput, or LimitExceeded
   * (`json_queue_full`). Takes no AbortSignal: piscina would end the thread to cancel one job.
   */
  async toWire(tenant: string, json: Uint8Array): Promise<KeyedWire> {
    if (json.length <= inPlaceBytesMax) {
      return { wire: jsonToWire(json), key: requestKey(tenant, json) };
    }
    this.#pool ??= new Piscina<JsonJob, JsonJobResult>({
      filename: new URL("./json-worker.ts", import.meta.url).href,
      minThreads: 0,
      maxThreads: this.#threads,
      maxQueue: this.#threads * queuePerThread,
      idleTimeout: idleTimeoutMs,
    });
    if (this.#pool.queueSize >= this.#threads * queuePerThread) {
      throw new SpoorError(
        "LimitExceeded",
        "too many JSON bodies wait for conversion: retry later",
        {
          reason: "json_queue_full",
        },
      );
    }
    // Only a whole buffer can be transferred; a view of a larger one is copied.
    const owned = json.byteLength === json.buffer.byteLength ? json : new Uint8Array(json);
    const transferList = [owned.buffer as ArrayBuffer];
    const result = await this.#pool.run({ tenant, json: owned }, { transferList });
    if ("error" in result) throw errorFromData(result.error);
    return result;
  }

  async close(): Promise<void> {
    await this.#pool?.destroy();
  }
}
