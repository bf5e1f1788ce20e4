import { expect, test } from "vitest";
import { type FlagSpec, parseArgs } from "./flags.ts";

const flags: readonly FlagSpec[] = [
  { name: "--limit", short: "-n", value: "N", help: "how many" },
  { name: "--json", help: "as JSON" },
];

test.each<[args: string[], found: Record<string, string | true>, positionals: string[]]>([
  [["a", "--limit", "5", "b"], { "--limit": "5" }, ["a", "b"]],
  [["--limit=5", "--limit=6"], { "--limit": "6" }, []],
  [["--limit=a=b"], { "--limit": "a=b" }, []],
  [["--limit", "-5", "--json"], { "--limit": "-5", "--json": true }, []],
  [["-n", "5", "-"], { "--limit": "5" }, ["-"]],
  [["--json", "--", "--limit", "-x"], { "--json": true }, ["--limit", "-x"]],
  [['{ name = "--x" }', ""], {}, ['{ name = "--x" }', ""]],
  [["--help"], { "--help": true }, []],
])("%j", (args, found, positionals) => {
  const parsed = parseArgs(args, flags);
  expect(Object.fromEntries(parsed.flags)).toEqual(found);
  expect(parsed.positionals).toEqual(positionals);
});

test.each([
  [["--lmit", "5"], "unknown flag --lmit; did you mean --limit?"],
  [["--lmit=5"], "unknown flag --lmit; did you mean --limit?"],
  [["-x"], "unknown flag -x"],
  [["-5"], "unknown flag -5"],
  [["--__proto__"], "unknown flag --__proto__"],
  [["--no-json"], "unknown flag --no-json"],
  [["--json=1"], "--json takes no value"],
  [["--json="], "--json takes no value"],
  [["--limit"], "--limit needs a value: --limit N"],
  [["--limit="], "--limit needs a value: --limit N"],
  [["--limit", ""], "--limit needs a value: --limit N"],
  [["--limit", "--json"], "--limit needs a value: --limit N"],
  [["-n"], "-n needs a value: -n N"],
])("%j is wrong", (args, message) => {
  expect(() => parseArgs(args, flags)).toThrow(
    expect.objectContaining({ reason: "usage", message: expect.stringContaining(message) }),
  );
});
