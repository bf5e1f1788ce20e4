/** Turns the grammar into the parser's source. Used by the test that keeps `*.generated.ts` fresh. */
import { readFileSync } from "node:fs";
import { buildParserFile } from "@lezer/generator";

export interface GeneratedParser {
  /** Text of `parser.generated.ts`. */
  parser: string;
  /** Text of `terms.generated.ts`: the numbers of the tokens that `tokens.ts` makes. */
  terms: string;
}

const externalTokens = [
  "space",
  "LineComment",
  "BlockComment",
  "Missing",
  "MissingEnd",
  "Attribute",
  "ScopedIntrinsic",
];

/** Builds the parser of `traceql.grammar`; throws on a grammar with conflicts or warnings. */
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
  return {
    parser: head + parser.replace("export const parser =", "export const parser: LRParser ="),
    terms: head + lines.join(""),
  };
}
