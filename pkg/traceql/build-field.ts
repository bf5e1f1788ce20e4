/** Builds checked field expressions from the parser's tree. */
import type { SyntaxNode } from "@lezer/common";
import type {
  ArithmeticOp,
  AttributeScope,
  ComparisonOp,
  FieldExpr,
  Range,
  Reference,
  Static,
} from "./ast.ts";
import {
  checkArithmetic,
  checkComparison,
  checkLogical,
  checkNegate,
  checkNot,
  type Checked,
  type CheckContext,
} from "./check-field.ts";
import { depthMax } from "./limits.ts";
import { intrinsicOf, intrinsics } from "./intrinsics.ts";
import {
  int64Max,
  int64Min,
  type Literal,
  parseName,
  parseNumber,
  parseString,
} from "./literals.ts";
import { problemAt, tooDeep } from "./problem.ts";
import { areOneSet, setOf } from "./sets.ts";

export interface BuildContext extends CheckContext {
  /** Whether unfinished comparisons become true. */
  isLenient: boolean;
  /** The deepest level of the tree built since a caller last reset it. */
  deepest: number;
}

/** Returns the children of a node without comments, in order. */
export function partsOf(node: SyntaxNode): SyntaxNode[] {
  const parts: SyntaxNode[] = [];
  for (let child = node.firstChild; child !== null; child = child.nextSibling) {
    if (child.name !== "LineComment" && child.name !== "BlockComment") parts.push(child);
  }
  return parts;
}

export function textOf(context: BuildContext, { from, to }: Range): string {
  return context.text.slice(from, to);
}

/** Throws InvalidInput if an expression is nested too deep; records the depth otherwise. */
export function checkDepth(context: BuildContext, range: Range, depth: number): void {
  if (depth > depthMax) throw tooDeep(context.text, range.from);
  context.deepest = Math.max(context.deepest, depth);
}

/** Builds a checked and folded expression with its type. Throws InvalidInput. */
export function buildField(context: BuildContext, outer: SyntaxNode, depth: number): Checked {
  let node = outer;
  let parts = partsOf(node);
  while (node.name === "FieldGroup") {
    node = parts[1];
    parts = partsOf(node);
  }
  const range = { from: node.from, to: node.to };
  checkDepth(context, range, depth);
  switch (node.name) {
    case "FieldChain":
      return buildChain(context, parts, depth);
    case "Not":
      return checkNot(context, buildField(context, parts[1], depth + 1), range);
    case "Negate":
      return checkNegate(context, buildField(context, parts[1], depth + 1), range);
    case "FieldOperation":
      return buildOperation(context, parts, { range, depth: depth + 1 });
    case "Attribute":
    case "ScopedIntrinsic":
    case "Intrinsic":
    case "Identifier":
      return buildReference(context, node);
    default: {
      const literal = buildLiteral(context, node);
      return { expr: { kind: "static", static: literal, range }, type: literal.type };
    }
  }
}

interface Operand extends Checked {
  /** Number of tree levels below its root. */
  height: number;
}

/**
 * Builds a chain of `&&` and `||`: `a && b || c` is `(a && b) || c`. It first joins comparisons
 * that form a set, so that only the remaining operators add levels to the tree.
 */
function buildChain(context: BuildContext, parts: SyntaxNode[], depth: number): Checked {
  const outer = context.deepest;
  const operands: Operand[] = [];
  for (let index = 0; index < parts.length; index += 2) {
    context.deepest = depth + 1;
    const built = buildField(context, parts[index], depth + 1);
    operands.push({ ...built, height: context.deepest - depth - 1 });
  }
  let left: Operand = operands[0];
  let height = left.height;
  for (let index = 1; index < operands.length;) {
    const op = parts[index * 2 - 1].name as "&&" | "||";
    let end = index + 1;
    while (end < operands.length && parts[end * 2 - 1].name === op) {
      if (!areOneSet(op, operands[index].expr, operands[end].expr)) break;
      end++;
    }
    const some = operands.slice(index, end);
    const expr =
      end - index === 1
        ? some[0].expr
        : setOf(
            op,
            some.map((one) => one.expr),
          );
    const range = { from: parts[0].from, to: parts[end * 2 - 2].to };
    const joined = checkLogical(context, { op, left, right: { ...some[0], expr }, range });
    // An operand that became part of a set adds no level.
    const isLevel = joined.expr.kind === "logical" && joined.expr.right === expr;
    if (isLevel) height = some.reduce((most, one) => Math.max(most, one.height), height) + 1;
    checkDepth(context, range, depth + height);
    left = { ...joined, height };
    index = end;
  }
  context.deepest = Math.max(outer, depth + height);
  return left;
}

function buildOperation(
  context: BuildContext,
  [leftNode, operator, rightNode]: SyntaxNode[],
  { range, depth }: { range: Range; depth: number },
): Checked {
  const left = buildField(context, leftNode, depth);
  const op = operator.name;
  if (context.isLenient && isUnfinished(context, rightNode)) {
    return { expr: { kind: "static", static: { type: "bool", value: true }, range }, type: "bool" };
  }
  const right = buildField(context, rightNode, depth);
  if ("+-*/%^".includes(op)) {
    return checkArithmetic(context, { op: op as ArithmeticOp, left, right, range });
  }
  return checkComparison(context, { op: op as ComparisonOp, left, right, range });
}

function isUnfinished(context: BuildContext, node: SyntaxNode): boolean {
  if (node.name === "Missing") return true;
  return node.name === "String" && "problem" in parseString(textOf(context, node));
}

/** Builds an attribute or an intrinsic. Throws InvalidInput for an unknown name. */
export function buildReference(
  context: BuildContext,
  node: SyntaxNode,
): Checked & { expr: Reference } {
  const range = { from: node.from, to: node.to };
  const written = textOf(context, range);
  if (node.name === "Identifier") throw problemAt(context.text, range, "unknown identifier");
  if (written === "parent" || written.startsWith("parent.")) {
    throw problemAt(context.text, range, "parent not yet supported");
  }
  if (node.name === "Attribute") {
    const dot = written.indexOf(".");
    const name = valueOf(context, range, parseName(written.slice(dot + 1)));
    const scope: AttributeScope = dot === 0 ? "any" : (written.slice(0, dot) as AttributeScope);
    return { expr: { kind: "attribute", scope, name, range }, type: "any" };
  }
  const name = intrinsicOf(written);
  if (name === undefined) throw problemAt(context.text, range, "unknown intrinsic");
  return { expr: { kind: "intrinsic", name, range }, type: intrinsics[name].type };
}

/** Builds a literal without a sign. Throws InvalidInput. */
export function buildLiteral(context: BuildContext, node: SyntaxNode): Static {
  const range = { from: node.from, to: node.to };
  const word = textOf(context, range);
  switch (node.name) {
    case "Number":
      return valueOf(context, range, parseNumber(word));
    case "String":
      return { type: "string", value: valueOf(context, range, parseString(word)) };
    case "Bool":
      return { type: "bool", value: word === "true" };
    case "Nil":
      return { type: "nil" };
    case "Status":
      return { type: "status", value: word } as Static;
    case "Kind":
      return { type: "kind", value: word } as Static;
    case "IntegerLimit":
      return { type: "int", value: word === "minInt" ? int64Min : int64Max };
    default:
      throw problemAt(context.text, range, "expected an attribute, an intrinsic or a value");
  }
}

function valueOf<T>(context: BuildContext, range: Range, literal: Literal<T>): T {
  if ("problem" in literal) throw problemAt(context.text, range, literal.problem);
  return literal.value;
}

/** Builds the condition in `{ }`; the literal true if the braces are empty. */
export function buildFilter(context: BuildContext, node: SyntaxNode, depth: number): FieldExpr {
  const [, content] = partsOf(node);
  if (content === undefined || content.name === "}" || content.name === "MissingEnd") {
    const range = { from: node.from, to: node.to };
    return { kind: "static", static: { type: "bool", value: true }, range };
  }
  const { expr, type } = buildField(context, content, depth + 1);
  if (type !== "bool" && expr.kind !== "attribute") {
    const message = "span filter field expressions must resolve to a boolean";
    throw problemAt(context.text, expr.range, message);
  }
  return expr;
}
