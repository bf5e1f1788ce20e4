/** `npm run test-times`: prints the tables for README.md from the last run of each test file. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { formatRows, readTimes, testTimesPath } from "./test-times.ts";

const root: string = fileURLToPath(new URL("..", import.meta.url));
const isReal = (path: string): boolean => /\.(?:real|load)\.test\.ts$/.test(path);
const times = [...readTimes(join(root, testTimesPath))].filter(([path]) =>
  existsSync(join(root, path)),
);
const parts: [string, boolean][] = [
  ["npm test", false],
  ["npm run test:real", true],
];
for (const [command, real] of parts) {
  const rows = formatRows(new Map(times.filter(([path]) => isReal(path) === real)));
  process.stdout.write(`\`${command}\`:\n\n${rows}\n`);
}
