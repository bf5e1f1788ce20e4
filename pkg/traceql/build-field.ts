/** From the parser's tree to checked field expressions. */
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

export interface BuildContext extends CheckContext {
  /** Unfinished comparisons become true. */
  isLenient: boolean;
}

/** Children of a node that have a meaning, in order. */
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

/** Throws where an expression is nested too deep. */
export function checkDepth(context: BuildContext, range: Range, depth: number): void {
  if (depth > depthMax) throw tooDeep(context.text, range.from);
}

/** A checked and folded expression with its type. */
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

/** `a && b || c` is `(a && b) || c`. */
function buildChain(context: BuildContext, parts: SyntaxNode[], depth: number): Checked {
  const operandDepth = depth + (parts.length - 1) / 2;
  let left = buildField(context, parts[0], operandDepth);
  for (let index = 1; index < parts.length; index += 2) {
    const op = parts[index].name as "&&" | "||";
    const right = buildField(context, parts[index + 1], operandDepth);
    const range = { from: parts[0].from, to: parts[index + 1].to };
    left = checkLogical(context, { op, left, right, range });
  }
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

/** An attribute or an intrinsic. */
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

/** A literal, without a sign. */
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

/** The expression of `{ }`: a condition, true where nothing is written. */
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
