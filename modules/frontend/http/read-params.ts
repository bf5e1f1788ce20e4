/**
 * Reads parameters that hold TraceQL: what costs little in place, long texts and costly regular
 * expressions on a worker thread, so that nobody's pattern holds up all others.
 */
import { RegexCache } from "#pkg/traceql/regex.ts";
import { type ParseOptions, RegexElsewhere } from "#pkg/traceql/traceql.ts";
import { parseSearch, type SearchBounds, type SearchParams } from "./params.ts";
import { parseTagParams, type TagParams } from "./tag-params.ts";

/** Longer ones take more than a millisecond. */
const charsHereMax = 4096;
/** What regular expressions may cost here: less than a millisecond too. */
const regexSizeHere = 256;

/** Parameters of a search or of a question for tags, as they stand in the URL. */
export type ParamsJob =
  | { kind: "search"; params: string; bounds: SearchBounds }
  | { kind: "tags"; params: string; nowMs: number };

/** What the parameters of each kind mean. */
interface ParamsAnswers {
  search: SearchParams;
  tags: TagParams;
}

/** Parses whatever it costs: on a thread. Throws InvalidInput. */
export function parseParams(job: ParamsJob, regexes: RegexCache): ParsedParams {
  return parseHere(job, { regexes });
}

function parseHere(job: ParamsJob, options: ParseOptions): ParsedParams {
  const params = new URLSearchParams(job.params);
  if (job.kind === "tags") return parseTagParams(params, job.nowMs, options);
  return parseSearch(params, job.bounds, options);
}

export type ParsedParams = SearchParams | TagParams;

export type ParseOnThread = (job: ParamsJob, signal: AbortSignal) => Promise<ParsedParams>;

export class ParamsReader {
  readonly #onThread: ParseOnThread;
  readonly #regexes = new RegexCache();

  constructor(onThread: ParseOnThread) {
    this.#onThread = onThread;
  }

  /** Throws InvalidInput; LimitExceeded if too many wait for the thread; Canceled, Timeout. */
  async read<K extends ParamsJob["kind"]>(
    job: Extract<ParamsJob, { kind: K }>,
    signal: AbortSignal,
  ): Promise<ParamsAnswers[K]> {
    return (this.#readHere(job) ?? (await this.#onThread(job, signal))) as ParamsAnswers[K];
  }

  /** Undefined if it would cost too much. */
  #readHere(job: ParamsJob): ParsedParams | undefined {
    if (job.params.length > charsHereMax) return undefined;
    try {
      return parseHere(job, { regexes: this.#regexes, regexSizeHere });
    } catch (error) {
      if (error instanceof RegexElsewhere) return undefined;
      throw error;
    }
  }
}
