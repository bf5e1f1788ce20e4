/** Compares the catalogue of error reasons with their uses in the code. */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { reasons } from "#pkg/errors/reasons.ts";

const root = join(import.meta.dirname, "..");
const known = new Set<string>(reasons);
const programs = globSync("{cmd,modules,pkg}/**/*.ts", { cwd: root })
  .filter((path) => !/\.(?:test|bench)\.ts$/.test(path))
  .filter((path) => path !== "pkg/errors/reasons.ts")
  .map((path) => ({ path, text: readFileSync(join(root, path), "utf8") }));

describe("the catalogue of reasons", () => {
  it("has every reason that is written in the tree", () => {
    const wrong: string[] = [];
    let found = 0;
    for (const { path, text } of programs) {
      for (const [, word] of text.matchAll(/\breason(?:\)?:| =| ===| !==)\s*"([^"]*)"/g)) {
        found++;
        if (!known.has(word)) wrong.push(`${path}: ${word}`);
      }
    }
    expect(found).toBeGreaterThan(100);
    expect(wrong).toEqual([]);
  });

  it("has each of them once, and none that nothing uses", () => {
    expect(known.size).toBe(reasons.length);
    const text = programs.map((one) => one.text).join("\n");
    const catalogue = readFileSync(join(root, "pkg/errors/reasons.ts"), "utf8");
    const names = new Map(
      [...catalogue.matchAll(/export const (\w+) = "(\w+)";/g)].map(([, name, word]) => [
        word,
        name,
      ]),
    );
    const unused = reasons.filter((word) => {
      const name = names.get(word);
      return !text.includes(`"${word}"`) && (name === undefined || !text.includes(name));
    });
    expect(unused).toEqual([]);
  });

  it("has words of small letters, digits and _", () => {
    expect(reasons.filter((word) => !/^[a-z][a-z0-9_]*$/.test(word))).toEqual([]);
  });
});
