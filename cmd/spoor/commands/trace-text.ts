/**
 * Formats a trace as text for a terminal:
 *
 *     trace 0af7651916cd43dd8448eb211c80319c: 3 spans, 2 services, 12.3ms, 2026-01-01T10:00:00.000Z
 *
 *       +0ns   12.3ms  ████████████████████  shop · GET /cart  [server] ERROR: no stock
 *     +1.2ms    9.8ms   ████████████████     └─ shop · call stock  [client]
 *     +2.3ms    4.5ms     ███████               └─ stock · GET /items  [server]
 *
 * Times are on the left, so that long names and deep trees do not push them off the screen.
 */
import { spanKindNames } from "#pkg/otlp/otlp.ts";
import type { Paint } from "#cmd/spoor/paint.ts";
import { detailLines } from "./span-details.ts";
import { escapeControls } from "./escape.ts";
import { durationText, timeText } from "./times.ts";
import type { TraceTree, TreeNode } from "./trace-tree.ts";

const barCells = 20;
/** Deepest drawn level; deeper spans are drawn there, with their depth as a number. */
const depthDrawnMax = 40;
const nameCharsMax = 200;
const statusError = 2;

export interface TreeView {
  traceId: string;
  /** Whether to print attributes, events and links of each span. */
  isVerbose: boolean;
  /** Whether to print only failed spans and their ancestors. */
  onlyErrors: boolean;
  /** Deepest printed level, 1 for the top; deeper spans are only counted. */
  depthMax: number;
  paint: Paint;
}

/** Yields the lines of a trace, without line ends. */
export function* traceLines(tree: TraceTree, view: TreeView): Generator<string> {
  const { spanCount, services, start, end } = tree;
  const { traceId, isVerbose, onlyErrors, depthMax, paint } = view;
  const parts = [countText(spanCount, "span"), countText(services.size, "service")];
  parts.push(durationText(end - start));
  if (start > 0n) parts.push(timeText(start));
  yield paint("bold", `trace ${traceId}: ${parts.join(", ")}`);
  yield "";
  const shown = onlyErrors ? leadingToErrors(tree.tops) : undefined;
  const isShown = (node: TreeNode): boolean => shown === undefined || shown.has(node);
  let hidden = 0;
  // Per depth, whether the ancestor there has later siblings: then its line continues.
  const goesOn: boolean[] = [];
  for (const [node, depth, isLast] of walkWithLast(tree.tops, isShown)) {
    if (depth >= depthMax) {
      hidden++;
      continue;
    }
    if (depth < depthDrawnMax) {
      goesOn.length = depth;
      goesOn.push(!isLast);
    }
    const text = spanText(node);
    const painted = isError(node) ? paint("red", text) : text;
    yield `${timesText(tree, node)}  ${branchText(goesOn, depth, isLast)}${painted}`;
    if (isVerbose) for (const line of detailLines(node)) yield paint("dim", indent + line);
  }
  if (hidden > 0) yield paint("dim", `${indent}(${countText(hidden, "deeper span")} not shown)`);
  if (shown?.size === 0) yield "no span failed";
}

/** Indentation up to the tree, right of the times. */
const indent = " ".repeat(42);

function isError({ span }: TreeNode): boolean {
  return span.status.code === statusError;
}

/** Returns failed nodes and their ancestors. */
function leadingToErrors(tops: readonly TreeNode[]): Set<TreeNode> {
  const out = new Set<TreeNode>();
  for (const [node] of walkWithLast(tops)) {
    if (!isError(node)) continue;
    for (let at: TreeNode | undefined = node; at !== undefined && !out.has(at); at = at.parent) {
      out.add(at);
    }
  }
  return out;
}

/** Walks depth-first; yields each node with its depth and whether it is the last sibling. */
function* walkWithLast(
  tops: readonly TreeNode[],
  isShown: (node: TreeNode) => boolean = () => true,
): Generator<[node: TreeNode, depth: number, isLast: boolean]> {
  const stack: [siblings: readonly TreeNode[], index: number][] = [[tops.filter(isShown), 0]];
  while (stack.length > 0) {
    const level = stack[stack.length - 1];
    const [siblings, index] = level;
    if (index === siblings.length) {
      stack.pop();
      continue;
    }
    level[1]++;
    const node = siblings[index];
    yield [node, stack.length - 1, level[1] === siblings.length];
    stack.push([node.children.filter(isShown), 0]);
  }
}

function branchText(goesOn: readonly boolean[], depth: number, isLast: boolean): string {
  if (depth === 0) return "";
  let text = "";
  for (let i = 1; i < Math.min(depth, depthDrawnMax); i++) text += goesOn[i] ? "│  " : "   ";
  if (depth >= depthDrawnMax) text += `…${String(depth)} `;
  return `${text}${isLast ? "└─ " : "├─ "}`;
}

function timesText({ start, end }: TraceTree, { span }: TreeNode): string {
  const spanStart = span.startTimeUnixNano;
  const spanEnd = span.endTimeUnixNano;
  if (spanStart === 0n) return `${"-".padStart(9)} ${"-".padStart(8)}  ${" ".repeat(barCells)}`;
  const offset = `+${durationText(spanStart - start)}`.padStart(9);
  const duration = (spanEnd < spanStart ? "-" : durationText(spanEnd - spanStart)).padStart(8);
  return `${offset} ${duration}  ${barText(start, end, spanStart, spanEnd)}`;
}

/** Draws the span's time within the trace's time, at least one cell. */
function barText(start: bigint, end: bigint, spanStart: bigint, spanEnd: bigint): string {
  const cells = BigInt(barCells);
  const total = end > start ? end - start : 1n;
  let from = Number(((spanStart - start) * cells) / total);
  const shownEnd = spanEnd > spanStart ? spanEnd : spanStart;
  const to = Number(((shownEnd - start) * cells + total - 1n) / total);
  if (from >= barCells) from = barCells - 1;
  const length = Math.max(1, Math.min(to, barCells) - from);
  return `${" ".repeat(from)}${"█".repeat(length)}`.padEnd(barCells);
}

function spanText(node: TreeNode): string {
  const { span, service } = node;
  const parts = [`${service === "" ? "(no service)" : shorten(service)} · ${shorten(span.name)} `];
  const kind = kindText(span.kind);
  if (kind !== "") parts.push(`[${kind}]`);
  const { code, message } = span.status;
  if (code === 1) parts.push("ok");
  else if (code === statusError) {
    parts.push(message === "" ? "ERROR" : `ERROR: ${shorten(message)}`);
  } else if (code !== 0) parts.push(`status ${String(code)}`);
  const note = noteText(node);
  if (note !== "") parts.push(`(${note})`);
  return parts.join(" ").trimEnd();
}

function noteText({ span, parent, cut }: TreeNode): string {
  const notes: string[] = [];
  const parentId = Buffer.from(span.parentSpanId).toString("hex");
  if (cut === "orphan") notes.push(`parent ${parentId} is missing`);
  if (cut === "cycle") notes.push(`parent ${parentId} is below it`);
  if (span.startTimeUnixNano === 0n) notes.push("no start time");
  else {
    if (span.endTimeUnixNano === 0n) notes.push("no end time");
    else if (span.endTimeUnixNano < span.startTimeUnixNano) notes.push("ends before it starts");
    const early = (parent?.span.startTimeUnixNano ?? 0n) - span.startTimeUnixNano;
    if (early > 0n) notes.push(`starts ${durationText(early)} before its parent`);
  }
  return notes.join(", ");
}

function kindText(kind: number): string {
  if (kind === 0) return "";
  const name = spanKindNames[kind] as string | undefined;
  return name === undefined
    ? `kind ${String(kind)}`
    : name.slice("SPAN_KIND_".length).toLowerCase();
}

function countText(count: number, noun: string): string {
  return `${String(count)} ${noun}${count === 1 ? "" : "s"}`;
}

function shorten(text: string): string {
  const shown = text.length > nameCharsMax ? `${text.slice(0, nameCharsMax)}…` : text;
  return escapeControls(shown);
}
