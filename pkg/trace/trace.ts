/**
 * Spans of Spoor's own work. Modules tell what they do through this; who listens is decided at
 * start (cmd/spoor/tracing.ts), and usually nobody does.
 */

export type SpanAttributes = Record<string, string | number | boolean>;

export interface OwnSpan {
  /** Adds what is known only later. */
  set(attributes: SpanAttributes): void;
}

export interface Tracer {
  /**
   * Runs `work` as a span; spans that it begins are its children. An error that it throws makes
   * the span an error, and is thrown on.
   */
  run<T>(name: string, attributes: SpanAttributes, work: (span: OwnSpan) => Promise<T>): Promise<T>;
}

const nobody: OwnSpan = { set: () => undefined };

/** Runs the work and tells nobody. */
export const noTracer: Tracer = { run: async (_name, _attributes, work) => await work(nobody) };
