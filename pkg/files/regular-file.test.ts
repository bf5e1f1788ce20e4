import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { openRegularFile, readRegularFile, readRegularFileAsync } from "./regular-file.ts";

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "spoor-files-"));
  execFileSync("mkfifo", [join(dir, "pipe")]);
  writeFileSync(join(dir, "file"), "content");
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

it.each([
  ["pipe", "a pipe"],
  ["/dev/zero", "a device"],
  [".", "a folder"],
])("%s is refused at once: it is %s", async (name, what) => {
  const path = name.startsWith("/") ? name : join(dir, name);
  const message = `open ${path}: it is ${what}, not a regular file`;
  expect(() => openRegularFile(path)).toThrow(message);
  expect(() => readRegularFile(path)).toThrow(message);
  const refused = { code: "InvalidInput", reason: "not_a_file", message };
  await expect(readRegularFileAsync(path, 100)).rejects.toMatchObject(refused);
});

it("reads regular files up to a bound", async () => {
  const path = join(dir, "file");
  expect(readRegularFile(path).toString()).toBe("content");
  expect((await readRegularFileAsync(path, 7)).toString()).toBe("content");
  await expect(readRegularFileAsync(path, 6)).rejects.toMatchObject({ code: "TooLarge" });
  expect(() => readRegularFile(join(dir, "none"))).toThrow("ENOENT");
});
