import { readFileSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { generateParser } from "./generate-parser.ts";

/** With UPDATE=1 this test writes the files. */
test("the committed parser is generated from the grammar", () => {
  const { parser, terms } = generateParser();
  for (const [name, text] of [
    ["parser.generated.ts", parser],
    ["terms.generated.ts", terms],
  ]) {
    const path = new URL(name, import.meta.url);
    if (process.env.UPDATE === "1") writeFileSync(path, text);
    expect(readFileSync(path, "utf8")).toBe(text);
  }
});
