/**
 * Spans of Spoor's own work. Modules report their work through this interface. The process chooses
 * the implementation at start (cmd/spoor/tracing.ts); by default nothing is recorded.
 */

export type SpanAttributes = Record<string, string | number | boolean>;

export interface OwnSpan {
  /** Adds attributes to the running span. */
  set(attributes: SpanAttributes): void;
}

export interface Tracer {
  /**
   * Runs `work` as a span; spans that `work` starts are its children. An error of `work` marks the
   * span as failed, and is rethrown.
   */
  run<T>(name: string, attributes: SpanAttributes, work: (span: OwnSpan) => Promise<T>): Promise<T>;
}

const noSpan: OwnSpan = { set: () => undefined };

/** A tracer that runs the work and records nothing. */
export const noTracer: Tracer = { run: async (_name, _attributes, work) => await work(noSpan) };
