/**
 * Builds a tree from the spans of any trace, also with several roots, missing parents, cycles and
 * duplicate ids. Each span is in the tree exactly once.
 */
import type { Span, TraceData } from "#pkg/otlp/otlp.ts";

export interface TreeSpan {
  /** `service.name` of the resource; empty if there is none. */
  service: string;
  span: Span;
}

export interface TreeNode extends TreeSpan {
  children: TreeNode[];
  /** The parent node; undefined at the top. */
  parent: TreeNode | undefined;
  /**
   * The reason why a node with a parent id is at the top: its parent is missing, or the node is its
   * own ancestor.
   */
  cut: "" | "orphan" | "cycle";
}

export interface TraceTree {
  /** Real roots first, then orphans and cut cycles, each sorted by start. */
  tops: TreeNode[];
  spanCount: number;
  services: Set<string>;
  /** Nanoseconds since the epoch; 0 if no span has a start. `end` is at or after `start`. */
  start: bigint;
  end: bigint;
}

/** Builds the tree without recursion, so that a chain of 100,000 spans is fine. */
export function buildTraceTree(data: TraceData): TraceTree {
  const nodes = nodesOf(data);
  nodes.sort(byStart);
  const tops = linkParents(nodes);
  cutCycles(nodes, tops);
  const rank = { "": 0, orphan: 1, cycle: 1 };
  tops.sort((a, b) => rank[a.cut] - rank[b.cut] || byStart(a, b));
  return {
    tops,
    spanCount: nodes.length,
    services: new Set(nodes.map(({ service }) => service)),
    ...timesOf(nodes),
  };
}

/** Yields nodes with their depth, depth-first. */
function* walkTree(tops: readonly TreeNode[]): Generator<[node: TreeNode, depth: number]> {
  const stack: [node: TreeNode, depth: number][] = [];
  pushAll(stack, tops, 0);
  for (;;) {
    const entry = stack.pop();
    if (entry === undefined) return;
    yield entry;
    pushAll(stack, entry[0].children, entry[1] + 1);
  }
}

function pushAll(
  stack: [node: TreeNode, depth: number][],
  nodes: readonly TreeNode[],
  depth: number,
): void {
  for (let i = nodes.length - 1; i >= 0; i--) stack.push([nodes[i], depth]);
}

function nodesOf(data: TraceData): TreeNode[] {
  const nodes: TreeNode[] = [];
  for (const { resource, scopeSpans } of data.resourceSpans) {
    const name = resource.attributes.find(({ key }) => key === "service.name")?.value;
    const service = name?.kind === "string" ? name.value : "";
    for (const { spans } of scopeSpans) {
      for (const span of spans) {
        nodes.push({ service, span, children: [], parent: undefined, cut: "" });
      }
    }
  }
  return nodes;
}

/** Links each node to its parent; returns nodes without one. Children keep the order of `nodes`. */
function linkParents(nodes: readonly TreeNode[]): TreeNode[] {
  const byId = new Map<string, TreeNode[]>();
  for (const node of nodes) {
    const id = idText(node.span.spanId);
    const same = byId.get(id);
    if (same === undefined) byId.set(id, [node]);
    else same.push(node);
  }
  const tops: TreeNode[] = [];
  for (const node of nodes) {
    if (node.span.parentSpanId.every((byte) => byte === 0)) {
      tops.push(node);
      continue;
    }
    const candidates = byId.get(idText(node.span.parentSpanId));
    const parent = candidates?.find((candidate) => candidate !== node);
    if (parent !== undefined) {
      node.parent = parent;
      parent.children.push(node);
      continue;
    }
    node.cut = candidates === undefined ? "orphan" : "cycle";
    tops.push(node);
  }
  return tops;
}

/**
 * Cuts cycles. A node that no top reaches is in or below a cycle, whose first span becomes a top.
 */
function cutCycles(nodes: readonly TreeNode[], tops: TreeNode[]): void {
  const reached = new Set<TreeNode>();
  for (const [node] of walkTree(tops)) reached.add(node);
  for (const node of nodes) {
    if (reached.has(node)) continue;
    const first = earliestInCycle(node);
    const { parent } = first;
    if (parent === undefined) continue;
    parent.children.splice(parent.children.indexOf(first), 1);
    first.parent = undefined;
    first.cut = "cycle";
    tops.push(first);
    for (const [below] of walkTree([first])) reached.add(below);
  }
}

/** Walks up from a node that no top reaches, into a cycle; returns the cycle's earliest node. */
function earliestInCycle(node: TreeNode): TreeNode {
  const seen = new Set<TreeNode>();
  let at = node;
  while (!seen.has(at) && at.parent !== undefined) {
    seen.add(at);
    at = at.parent;
  }
  let earliest = at;
  for (let other = at.parent; other !== undefined && other !== at; other = other.parent) {
    if (byStart(other, earliest) < 0) earliest = other;
  }
  return earliest;
}

function byStart(a: TreeNode, b: TreeNode): number {
  const difference = a.span.startTimeUnixNano - b.span.startTimeUnixNano;
  if (difference !== 0n) return difference < 0n ? -1 : 1;
  return Buffer.compare(a.span.spanId, b.span.spanId);
}

/** Returns start and end of the trace. Ignores spans without a start, which would mean 1970. */
function timesOf(nodes: readonly TreeNode[]): { start: bigint; end: bigint } {
  let start = 0n;
  let end = 0n;
  for (const { span } of nodes) {
    const { startTimeUnixNano, endTimeUnixNano } = span;
    if (startTimeUnixNano === 0n) continue;
    if (start === 0n || startTimeUnixNano < start) start = startTimeUnixNano;
    if (startTimeUnixNano > end) end = startTimeUnixNano;
    if (endTimeUnixNano > end) end = endTimeUnixNano;
  }
  return { start, end };
}

function idText(id: Uint8Array): string {
  return Buffer.from(id.buffer, id.byteOffset, id.length).toString("latin1");
}
