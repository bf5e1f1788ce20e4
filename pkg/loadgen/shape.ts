/**
 * Shapes of traces: services, operations, callers, start times and durations, drawn once per seed.
 * A generated trace is a copy of a shape, stretched in time, with its own ids.
 */
import { type Operation, operationsOf, type ServiceOperations } from "./operations.ts";
import type { SeededRandom } from "./random.ts";
import { edgeNames, services } from "./shop.ts";
import type { SpanTemplate } from "./template.ts";

/** The spans of a trace, each after its parent. */
export interface TraceShape {
  size: number;
  service: Uint8Array;
  /** Index of the parent; the root's own index for the root. */
  parent: Uint16Array;
  /** Start after the trace's start, and duration, before stretching. */
  startNanos: Float64Array;
  durationNanos: Float64Array;
  /** Per span: the template of a successful and of a failed operation. */
  templates: readonly (readonly SpanTemplate[])[];
}

interface Draft {
  service: number;
  parent: number;
  startNanos: number;
  durationNanos: number;
  operation: Operation;
}

const commonSpansMax = 40;
const largeSpansMin = 1000;
const largeSpansMax = 4000;

export interface Shapes {
  common: readonly TraceShape[];
  large: readonly TraceShape[];
}

export function drawShapes(random: SeededRandom, commonCount: number, largeCount: number): Shapes {
  const operations = services.map(operationsOf);
  const common = Array.from({ length: commonCount }, (_, i) => {
    // All sizes occur, small ones more often than large ones; the mean is about 13.
    const share = (i + random.float()) / commonCount;
    const size = 1 + Math.floor(share * share * commonSpansMax);
    return drawShape(random, operations, size);
  });
  const large = Array.from({ length: largeCount }, () => {
    const size = largeSpansMin + random.below(largeSpansMax - largeSpansMin + 1);
    return drawShape(random, operations, size);
  });
  return { common, large };
}

function drawShape(
  random: SeededRandom,
  operations: readonly ServiceOperations[],
  size: number,
): TraceShape {
  // Edge services start most traces; any service may start a batch.
  const isBatch = random.float() < 0.1;
  const root = isBatch ? random.below(services.length) : random.below(edgeNames.length);
  const rootKinds = isBatch ? operations[root].batch : operations[root].httpServer;
  const drafts: Draft[] = [
    {
      service: root,
      parent: 0,
      startNanos: 0,
      durationNanos: 0,
      operation: random.pick(rootKinds),
    },
  ];
  while (drafts.length < size) addChild(random, operations, drafts, size - drafts.length);
  setTimes(random, drafts);
  return {
    size: drafts.length,
    service: Uint8Array.from(drafts, ({ service }) => service),
    parent: Uint16Array.from(drafts, ({ parent }) => parent),
    startNanos: Float64Array.from(drafts, ({ startNanos }) => startNanos),
    durationNanos: Float64Array.from(drafts, ({ durationNanos }) => durationNanos),
    templates: drafts.map(({ operation }, i) => (i === 0 ? operation.asRoot : operation.asChild)),
  };
}

/** Adds a child to an existing span: one span, or two for a call (client and server side). */
function addChild(
  random: SeededRandom,
  operations: readonly ServiceOperations[],
  drafts: Draft[],
  left: number,
): void {
  // Recent spans are more likely: traces grow deep as well as wide.
  const back = Math.floor(random.float() * random.float() * drafts.length);
  const parent = drafts.length - 1 - back;
  const { service } = drafts[parent];
  const add = (ofService: number, of: number, list: readonly Operation[]): number =>
    drafts.push({
      service: ofService,
      parent: of,
      startNanos: 0,
      durationNanos: 0,
      operation: random.pick(list),
    }) - 1;
  const own = operations[service];
  const kind = random.float();
  if (left === 1 || service === services.length - 1 || kind < 0.45) {
    const list =
      kind < 0.18
        ? own.database
        : kind < 0.3
          ? own.cache
          : kind < 0.4
            ? own.internal
            : own.producer;
    add(service, parent, list);
    return;
  }
  const callee = service + 1 + random.below(services.length - service - 1);
  const other = operations[callee];
  if (kind < 0.7) add(callee, add(service, parent, other.httpClient), other.httpServer);
  else if (kind < 0.93) add(callee, add(service, parent, other.rpcClient), other.rpcServer);
  else add(callee, add(service, parent, own.producer), other.consumer);
}

/** Sets times: a span takes its own time plus that of its children, which run one after another. */
function setTimes(random: SeededRandom, drafts: Draft[]): void {
  const childNanos = new Float64Array(drafts.length);
  for (let i = drafts.length - 1; i >= 0; i--) {
    const draft = drafts[i];
    const own = draft.operation.selfNanos * (0.1 + 0.9 * random.float());
    draft.durationNanos = Math.floor(own + childNanos[i]);
    if (i > 0) childNanos[draft.parent] += draft.durationNanos;
  }
  const nextStart = new Float64Array(drafts.length);
  for (const [i, draft] of drafts.entries()) {
    if (i > 0) {
      draft.startNanos = nextStart[draft.parent];
      nextStart[draft.parent] += draft.durationNanos;
    }
    const selfNanos = draft.durationNanos - childNanos[i];
    nextStart[i] = draft.startNanos + Math.floor(selfNanos / 2);
  }
}
