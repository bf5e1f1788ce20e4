/**
 * Parses parameters that hold TraceQL. Cheap ones are parsed in place. Long texts and costly
 * regular expressions go to a worker thread, so that one client's pattern does not delay others.
 */
import { RegexCache } from "#pkg/traceql/regex.ts";
import { type ParseOptions, RegexElsewhere } from "#pkg/traceql/traceql.ts";
import { parseSearch, type SearchBounds, type SearchParams } from "./params.ts";
import { parseTagParams, type TagParams } from "./tag-params.ts";

/** Longest parameters that are parsed in place. Longer ones take more than a millisecond. */
const charsHereMax = 4096;
/** Largest compiled regular expression in place: its compilation takes less than a millisecond. */
const regexSizeHere = 256;

/** Parameters of a search or of a tag request, as they appear in the URL. */
export type ParamsJob =
  | { kind: "search"; params: string; bounds: SearchBounds }
  | { kind: "tags"; params: string; nowMs: number };

/** The parsed parameters of each kind. */
interface ParamsAnswers {
  search: SearchParams;
  tags: TagParams;
}

/** Parses parameters of any cost. Runs on a worker thread. Throws InvalidInput. */
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

  /**
   * Parses the parameters of a request. Throws InvalidInput, Canceled, Timeout, or LimitExceeded if
   * too many jobs wait for the thread.
   */
  async read<K extends ParamsJob["kind"]>(
    job: Extract<ParamsJob, { kind: K }>,
    signal: AbortSignal,
  ): Promise<ParamsAnswers[K]> {
    return (this.#readHere(job) ?? (await this.#onThread(job, signal))) as ParamsAnswers[K];
  }

  /** Parses in place; returns undefined if that would cost too much. */
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
