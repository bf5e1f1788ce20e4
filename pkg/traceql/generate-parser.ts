/** Generates the parser's source from the grammar, for the test that keeps it fresh. */
import { readFileSync } from "node:fs";
import { buildParserFile } from "@lezer/generator";

export interface GeneratedParser {
  /** Text of `parser.generated.ts`. */
  parser: string;
  /** Text of `terms.generated.ts`: the ids of the tokens that `tokens.ts` emits. */
  terms: string;
}

const columnsMax = 100;

const externalTokens = [
  "space",
  "LineComment",
  "BlockComment",
  "Missing",
  "MissingEnd",
  "Attribute",
  "ScopedIntrinsic",
];

/** Builds the parser of `traceql.grammar`. Throws if the grammar has conflicts or warnings. */
export function generateParser(): GeneratedParser {
  const grammar = readFileSync(new URL("./traceql.grammar", import.meta.url), "utf8");
  const { parser, terms } = buildParserFile(grammar, {
    fileName: "traceql.grammar",
    typeScript: true,
    warn: (message) => {
      throw new Error(`generate the parser of traceql.grammar: ${message}`);
    },
  });
  const head =
    "// Generated from traceql.grammar: UPDATE=1 npx vitest run pkg/traceql/generated.test.ts\n";
  const lines = externalTokens.map((name) => {
    const id = new RegExp(`\\b${name} = (\\d+)`).exec(terms)?.[1];
    if (id === undefined) throw new Error(`generate the parser of traceql.grammar: no ${name}`);
    return `export const ${name} = ${id};\n`;
  });
  const typed = parser.replace("export const parser =", "export const parser: LRParser =");
  return {
    parser: head + typed.split("\n").map(wrapLine).join("\n"),
    terms: head + lines.join(""),
  };
}

/** Breaks a long string or list into lines of bounded length, for readable diffs. */
function wrapLine(line: string): string {
  if (line.length <= columnsMax) return line;
  const [, start, text, end] = /^(\s*\w+: )("(?:[^"\\]|\\.)*")(,?)$/.exec(line) ?? [];
  if (text === undefined) return line.replaceAll(/(.{60,90}?[,>]) ?/g, "$1\n  ");
  const chunks = text.slice(1, -1).match(/(?:\\u[0-9a-f]{4}|\\.|[^\\]){1,88}/g) ?? [];
  return `${start}\n${chunks.map((chunk) => `    "${chunk}"`).join(" +\n")}${end}`;
}
