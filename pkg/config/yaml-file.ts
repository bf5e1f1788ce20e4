/** Parses YAML to nodes with positions, within limits: size, depth, no anchors, one document. */
import { Composer, LineCounter, Parser, visit, type CST, type Document, type Node } from "yaml";

export const configBytesMax: number = 1024 * 1024;
const depthMax = 32;

/** Reports a problem at an offset of the text (UTF-16 units). */
export type ReportAt = (offset: number, message: string) => void;

export interface YamlFile {
  /** Undefined for an empty file, or if problems make it unreadable. */
  root: Node | undefined;
  position(offset: number): { line: number; column: number };
}

/** Parses `text`; reports problems of the YAML to `report`. */
export function parseYamlFile(
  text: string,
  report: (line: number, column: number, message: string) => void,
): YamlFile {
  const lines = new LineCounter();
  const position = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  };
  const reportAt: ReportAt = (offset, message) => {
    const { line, column } = position(offset);
    report(line, column, message);
  };
  if (Buffer.byteLength(text) > configBytesMax) {
    report(0, 0, `the file is larger than ${String(configBytesMax)} bytes`);
    return { root: undefined, position };
  }
  const tokens = [...new Parser(lines.addNewLine).parse(text)];
  const tooDeepAt = findTooDeep(tokens);
  if (tooDeepAt !== undefined) {
    reportAt(tooDeepAt, `more than ${String(depthMax)} levels inside each other`);
    return { root: undefined, position };
  }
  // The reader finds duplicate keys, because the library's own check is quadratic.
  const composer = new Composer({ uniqueKeys: false, lineCounter: lines });
  const documents = [...composer.compose(tokens, false, text.length)] as Document.Parsed[];
  for (const document of documents) checkDocument(document, reportAt);
  if (documents.length > 1) {
    reportAt(documents[1].range[0], "a second document begins here; one is allowed");
  }
  const [document] = documents;
  const isUsable = document !== undefined && document.errors.length === 0;
  return { root: isUsable ? (document.contents ?? undefined) : undefined, position };
}

function checkDocument(document: Document.Parsed, reportAt: ReportAt): void {
  for (const error of [...document.errors, ...document.warnings]) {
    // Cuts off the library's excerpt of the file, which may contain a secret.
    reportAt(error.pos[0], error.message.split(" at line ")[0].split("\n")[0]);
  }
  visit(document, {
    Alias: (_, node) => reportAt(offsetOf(node), "aliases (*name) are not allowed"),
    Value: (_, node) => {
      if (node.anchor !== undefined) reportAt(offsetOf(node), "anchors (&name) are not allowed");
    },
  });
}

/** Returns the offset of a node in the text. */
export function offsetOf(node: Node): number {
  return node.range?.[0] ?? 0;
}

/** Finds a token that is nested too deeply. Uses a stack of its own, because composing recurses. */
function findTooDeep(tokens: CST.Token[]): number | undefined {
  const stack: [token: CST.Token, depth: number][] = tokens.map((token) => [token, 0]);
  for (;;) {
    const entry = stack.pop();
    if (entry === undefined) return undefined;
    const [token, depth] = entry;
    if (depth > depthMax) return "offset" in token ? token.offset : 0;
    if (token.type === "document" && token.value !== undefined) stack.push([token.value, depth]);
    if (!("items" in token)) continue;
    for (const item of token.items) {
      if (item.key !== undefined && item.key !== null) stack.push([item.key, depth + 1]);
      if (item.value !== undefined) stack.push([item.value, depth + 1]);
    }
  }
}
