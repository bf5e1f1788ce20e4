/**
 * Computes the tree columns of one trace with plain objects. It shares no code with
 * pkg/columns/trace-tree.ts, so that a difference shows a bug in one of them.
 */

export interface TreeSpan {
  id: bigint;
  parentId: bigint | undefined;
  startNano: bigint;
  durationNano: bigint;
  /** The values of `name` and `resource.service.name`; null = no value. */
  name: string | null;
  service: string | null;
}

/** The derived columns of a span. */
export interface TreeFacts {
  nestedLeft: number;
  nestedRight: number;
  nestedParent: number;
  childCount: number;
  rootName: string | null;
  rootService: string | null;
  traceStartNano: bigint;
  traceDurationNano: bigint;
}

interface Node {
  span: TreeSpan;
  children: Node[];
  facts: TreeFacts;
}

/** Longest duration that fits the column, nanoseconds. */
const int64Max = 2n ** 63n - 1n;

/** Returns the facts of each span; `spans` are all spans of a trace in the block's order. */
export function plainTree(spans: readonly TreeSpan[]): TreeFacts[] {
  const trace = traceFacts(spans);
  const nodes = spans.map((span): Node => ({
    span,
    children: [],
    facts: { nestedLeft: 0, nestedRight: 0, nestedParent: 0, childCount: 0, ...trace },
  }));
  const byId = new Map<bigint, Node>();
  for (const node of nodes) if (!byId.has(node.span.id)) byId.set(node.span.id, node);
  for (const node of nodes) {
    const { parentId } = node.span;
    const parent = parentId === undefined ? undefined : byId.get(parentId);
    if (parent !== undefined && parent !== node) parent.children.push(node);
  }
  let next = 1;
  for (const node of nodes) {
    node.facts.childCount = node.children.length;
    if (node.span.parentId === undefined) next = numberBelow(node, next);
  }
  return nodes.map(({ facts }) => facts);
}

/** Numbers a tree depth-first; returns the next number. Uses no recursion: traces can be deep. */
function numberBelow(root: Node, first: number): number {
  let next = first;
  root.facts.nestedParent = -1;
  root.facts.nestedLeft = next++;
  const path = [{ node: root, child: 0 }];
  for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
    const child = top.node.children[top.child++];
    if (child === undefined) {
      top.node.facts.nestedRight = next++;
      path.pop();
    } else {
      child.facts.nestedParent = top.node.facts.nestedLeft;
      child.facts.nestedLeft = next++;
      path.push({ node: child, child: 0 });
    }
  }
  return next;
}

function traceFacts(
  spans: readonly TreeSpan[],
): Pick<TreeFacts, "rootName" | "rootService" | "traceStartNano" | "traceDurationNano"> {
  const root = spans.find(({ parentId }) => parentId === undefined);
  const starts = spans.map(({ startNano }) => startNano);
  const ends = spans.map(({ startNano, durationNano }) =>
    durationNano > 0n ? startNano + durationNano : startNano,
  );
  const start = starts.reduce((a, b) => (b < a ? b : a));
  const length = ends.reduce((a, b) => (b > a ? b : a)) - start;
  return {
    rootName: root?.name ?? null,
    rootService: root?.service ?? null,
    traceStartNano: start,
    traceDurationNano: length > int64Max ? int64Max : length,
  };
}
