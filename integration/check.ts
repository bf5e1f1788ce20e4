/**
 * `npm run check`: runs format, lint, types, unused code, the rules of the tree, generated pages
 * and code, and the table of test times side by side. Prints one line per check and the output of
 * failed ones. Exit code 1 if any check failed.
 */
import { spawn } from "node:child_process";
import { globSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { checkTimes, readRows, readTimes, testTimesPath } from "./test-times.ts";

const root: string = fileURLToPath(new URL("..", import.meta.url));
const toolFolder: string = join(root, "node_modules", ".bin");
const outputCharsMax = 100_000;

interface CheckResult {
  isOk: boolean;
  output: string;
  /** Text to print even if the check passed. */
  notes?: readonly string[];
}

interface Check {
  name: string;
  run: () => Promise<CheckResult>;
}

const checks: readonly Check[] = [
  { name: "format", run: () => runTool("oxfmt", "--check") },
  { name: "lint", run: () => runTool("oxlint", "--type-aware", "--deny-warnings") },
  { name: "types", run: () => runTool("tsc", "-p", ".") },
  { name: "unused", run: () => runTool("knip", "--treat-config-hints-as-errors") },
  {
    name: "tidy",
    run: () => runTool("vitest", "run", "--project", "unit", "integration/tidy.test.ts"),
  },
  { name: "config reference", run: checkReference },
  { name: "generated code", run: checkGenerated },
  { name: "test times", run: checkTestTimes },
];

/** Runs a tool of node_modules in the project's folder. */
async function runTool(tool: string, ...args: string[]): Promise<CheckResult> {
  const path = `${toolFolder}${delimiter}${process.env.PATH ?? ""}`;
  const child = spawn(join(toolFolder, tool), args, {
    cwd: root,
    env: { ...process.env, PATH: path, NO_COLOR: "1" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  const keep = (chunk: Buffer): void => {
    if (output.length < outputCharsMax) output += chunk.toString("utf8");
  };
  child.stdout.on("data", keep);
  child.stderr.on("data", keep);
  return await new Promise((resolve) => {
    child.once("error", (error) => resolve({ isOk: false, output: `${tool}: ${error.message}` }));
    child.once("close", (code) => resolve({ isOk: code === 0, output }));
  });
}

/** Checks that the page in deploy matches the schema. */
async function checkReference(): Promise<CheckResult> {
  const { referencePage } = await import("#cmd/spoor/commands/config.ts");
  const path = "deploy/config-reference.md";
  const isOk = (await readFile(join(root, path), "utf8")) === referencePage();
  const remedy = `${path} is not what the config says: npm run -s spoor config reference > ${path}`;
  return { isOk, output: isOk ? "" : remedy };
}

/** Checks that the generated code matches the schemas. */
async function checkGenerated(): Promise<CheckResult> {
  const { staleFiles } = await import("./generate.ts");
  const stale = await staleFiles();
  const remedy = `not what the schemas of pkg/pb make: ${stale.join(", ")}: npm run generate`;
  return { isOk: stale.length === 0, output: stale.length === 0 ? "" : remedy };
}

/** Checks that the table of seconds has each long test file; prints files that exceed their row. */
async function checkTestTimes(): Promise<CheckResult> {
  const cwd = root;
  const files = new Set(globSync("{pkg,modules,cmd,integration}/**/*.test.ts", { cwd }));
  const rows = readRows(await readFile(join(root, "integration/README.md"), "utf8"));
  const { notes, problems } = checkTimes(files, rows, readTimes(join(root, testTimesPath)));
  const remedy = `${problems.join("\n")}\nthe table is in integration/README.md`;
  return { isOk: problems.length === 0, output: problems.length === 0 ? "" : remedy, notes };
}

async function runCheck({ name, run }: Check): Promise<boolean> {
  const startMs = performance.now();
  let result: CheckResult;
  try {
    result = await run();
  } catch (error) {
    result = { isOk: false, output: error instanceof Error ? String(error.stack) : String(error) };
  }
  const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
  const line = `${result.isOk ? "ok  " : "FAIL"}  ${name.padEnd(18)}${seconds.padStart(6)} s`;
  const notes = (result.notes ?? []).map((note) => `      ${note}\n`).join("");
  process.stdout.write(`${line}\n${notes}${result.isOk ? "" : `${result.output.trim()}\n\n`}`);
  return result.isOk;
}

const results: boolean[] = await Promise.all(checks.map(runCheck));
process.exitCode = results.every((isOk) => isOk) ? 0 : 1;
