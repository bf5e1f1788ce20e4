/**
 * A trace as text for a terminal:
 *
 *     trace 0af7651916cd43dd8448eb211c80319c: 3 spans, 2 services, 12.3ms, 2026-01-01T10:00:00.000Z
 *
 *       +0ns   12.3ms  ████████████████████  shop · GET /cart  [server] ERROR: no stock
 *     +1.2ms    9.8ms   ████████████████     └─ shop · call stock  [client]
 *     +2.3ms    4.5ms     ███████               └─ stock · GET /items  [server]
 *
 * Times stand left, so that long names and deep trees do not push them off the screen.
 */
import { spanKindNames } from "#pkg/otlp/otlp.ts";
import type { TraceTree, TreeNode } from "./trace-tree.ts";

const barCells = 20;
/** Deeper spans are drawn at this depth with their real depth as a number. */
const depthDrawnMax = 40;
const nameCharsMax = 200;
const statusError = 2;

/** Lines of a trace, without line ends. */
export function* traceLines(tree: TraceTree, traceId: string): Generator<string> {
  const { spanCount, services, start, end } = tree;
  const parts = [countText(spanCount, "span"), countText(services.size, "service")];
  parts.push(durationText(end - start));
  if (start > 0n) parts.push(timeText(start));
  yield `trace ${traceId}: ${parts.join(", ")}`;
  yield "";
  // For each depth whether that ancestor has siblings below it: then a line goes on.
  const goesOn: boolean[] = [];
  for (const [node, depth, isLast] of walkWithLast(tree.tops)) {
    if (depth < depthDrawnMax) {
      goesOn.length = depth;
      goesOn.push(!isLast);
    }
    yield `${timesText(tree, node)}  ${branchText(goesOn, depth, isLast)}${spanText(node)}`;
  }
}

/** Depth-first, each node with its depth and whether it is the last of its siblings. */
function* walkWithLast(
  tops: readonly TreeNode[],
): Generator<[node: TreeNode, depth: number, isLast: boolean]> {
  const stack: [siblings: readonly TreeNode[], index: number][] = [[tops, 0]];
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
    stack.push([node.children, 0]);
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

/** The span's time within the trace's; at least one cell. */
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

/** Nanoseconds with up to three digits: `999ns`, `12.3µs`, `1.23s`; from a minute on `2m3s`. */
export function durationText(nanos: bigint): string {
  if (nanos < 1000n) return `${String(nanos)}ns`;
  if (nanos < 1_000_000n) return `${threeDigits(nanos, 1000n)}µs`;
  if (nanos < 1_000_000_000n) return `${threeDigits(nanos, 1_000_000n)}ms`;
  if (nanos < 60_000_000_000n) return `${threeDigits(nanos, 1_000_000_000n)}s`;
  const seconds = nanos / 1_000_000_000n;
  const hours = seconds / 3600n;
  const minutes = `${String((seconds / 60n) % 60n)}m${String(seconds % 60n)}s`;
  return hours === 0n ? minutes : `${String(hours)}h${minutes}`;
}

/** Cut off, not rounded: 999.96 is not 1000. */
function threeDigits(nanos: bigint, unit: bigint): string {
  const whole = nanos / unit;
  const scale = whole >= 100n ? 1n : whole >= 10n ? 10n : 100n;
  return String(Number((nanos * scale) / unit) / Number(scale));
}

/** UTC; a time that no calendar has is shown as its number. */
export function timeText(nanos: bigint): string {
  const date = new Date(Number(nanos / 1_000_000n));
  return Number.isNaN(date.getTime()) ? `${String(nanos)}ns since 1970` : date.toISOString();
}

function countText(count: number, noun: string): string {
  return `${String(count)} ${noun}${count === 1 ? "" : "s"}`;
}

function shorten(text: string): string {
  const shown = text.length > nameCharsMax ? `${text.slice(0, nameCharsMax)}…` : text;
  return escapeControls(shown);
}

/**
 * Text that came from elsewhere, safe for a terminal: control characters (escape sequences, line
 * ends), invisible and direction-changing ones become `\u{..}`.
 */
export function escapeControls(text: string): string {
  return text.replaceAll(
    /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu,
    (char) => `\\u{${char.codePointAt(0)!.toString(16)}}`,
  );
}
