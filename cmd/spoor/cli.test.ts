import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ConfigError } from "#pkg/config/problems.ts";
import { hasCode, SpoorError } from "#pkg/errors/errors.ts";
import { version } from "#pkg/version/version.ts";
import { runCli } from "./cli.ts";
import { readTextFile } from "./io.ts";
import { parseServeArgs, type ServeArgs } from "./serve-args.ts";
import { recordIo, type RecordedIo } from "./spoor.testing.ts";

const launcher = fileURLToPath(new URL("spoor.js", import.meta.url));

let dir = "";
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "spoor-cli-"));
});
afterAll(() => rmSync(dir, { recursive: true }));

async function run(
  args: string[],
  files: Record<string, string> = {},
): Promise<[number, RecordedIo]> {
  const io = recordIo(files, { PORT: "99" });
  return [await runCli(args, io), io];
}

function serve(args: string[], files: Record<string, string> = {}): ServeArgs {
  const io = recordIo(files, { DIR: "/var/spoor" });
  return parseServeArgs(args, io.env, io.readFile);
}

describe("commands", () => {
  test("no command, unknown commands and flags: exit code 2", async () => {
    const cases: [args: string[], stderr: string][] = [
      [[], "usage: spoor COMMAND"],
      [["srve"], 'unknown command "srve"; did you mean serve?'],
      [["--nope"], 'unknown command "--nope"'],
      [["help", "traec"], "did you mean trace?"],
      [["serve", "--htpp-port", "1"], "unknown flag --htpp-port; did you mean --http-port?"],
      [["serve", "-x"], "unknown flag -x"],
      [["serve", "now"], 'unexpected argument "now"'],
      [["serve", "--http-port", "65536"], "--http-port: must be at most 65535"],
      [["serve", "--http-port", "-1"], "--http-port: must be at least 0"],
      [["serve", "--target", "querier"], "--target querier is not possible"],
      [["config"], "print, check or reference"],
      [["config", "show"], "config show: unknown action, choose print, check or reference"],
      [["config", "print", "x"], 'unexpected argument "x"'],
    ];
    for (const [args, stderr] of cases) {
      const [exitCode, io] = await run(args);
      expect(exitCode, stderr).toBe(2);
      expect(io.stderr).toContain(stderr);
      expect(io.stdout).toBe("");
    }
  });

  test("help goes to stdout", async () => {
    for (const args of [["help"], ["--help"], ["-h"]]) {
      const [exitCode, io] = await run(args);
      expect(exitCode).toBe(0);
      for (const name of ["serve", "trace", "query", "block", "config", "version", "help"]) {
        expect(io.stdout).toMatch(new RegExp(`^  ${name} `, "m"));
      }
    }
    for (const name of ["serve", "trace", "query", "config"]) {
      const [exitCode, { stdout }] = await run([name, "--help", "--unknown"]);
      expect(exitCode).toBe(0);
      expect(stdout).toContain(`usage: spoor ${name}`);
      expect(stdout).toContain("--help");
      expect((await run(["help", name]))[1].stdout).toBe(stdout);
      expect(Math.max(...stdout.split("\n").map((line) => line.length))).toBeLessThanOrEqual(100);
    }
    expect((await run(["help", "version"]))[1].stdout).toContain("spoor version");
  });

  test("version", async () => {
    for (const args of [["version"], ["--version"], ["-v"]]) {
      const [exitCode, io] = await run(args);
      expect(exitCode).toBe(0);
      expect(io.stdout).toMatch(new RegExp(`^spoor ${version} \\(node v\\d`));
    }
  });

  test("stacks only with --log-level debug", async () => {
    const [exitCode, quiet] = await run(["config", "print", "--config", "missing.yaml"]);
    expect(exitCode).toBe(1);
    expect(quiet.stderr).toBe("spoor: read missing.yaml: no such file\n");
    for (const flag of [["--log-level", "debug"], ["--log-level=debug"]]) {
      const [, loud] = await run(["config", "print", "--config", "missing.yaml", ...flag]);
      expect(loud.stderr).toMatch(/^spoor: read missing.yaml: no such file\n(.|\n)+ at /);
    }
  });
});

describe("spoor config", () => {
  test("print shows file and flags, and reads back", async () => {
    const files = { "a.yaml": "frontend: { port: '${PORT}' }\nspan_log: { bytes_max: 1GB }" };
    const flags = ["--config", "a.yaml", "--data-dir=/d", "--log-level", "warn"];
    const [exitCode, io] = await run(["config", ...flags, "print"], files);
    expect(exitCode).toBe(0);
    expect(parse(io.stdout)).toMatchObject({
      server: { data_dir: "/d", shutdown: "30s" },
      log: { level: "warn", format: "auto" },
      frontend: { port: 99 },
      span_log: { bytes_max: "1GB", partition_count: 4 },
    });
    const again = await run(["config", "print", "--config", "b"], { b: io.stdout });
    expect(again[1].stdout).toBe(io.stdout);
  });

  test("a file that is named like an action", async () => {
    const [exitCode, io] = await run(["config", "print", "--config", "print"], {
      print: "frontend: { port: 5 }",
    });
    expect(exitCode).toBe(0);
    expect(parse(io.stdout)).toMatchObject({ frontend: { port: 5 } });
  });

  test("check is silent or lists everything", async () => {
    expect(await run(["config", "check"])).toMatchObject([0, { stdout: "", stderr: "" }]);
    const files = { f: "servr: {}\nspan_log:\n  partition_count: 3\n" };
    const [exitCode, io] = await run(["config", "check", "--config", "f", "--http-port=x"], files);
    expect(exitCode).toBe(2);
    expect(io.stderr.trimEnd().split("\n")).toEqual([
      'spoor: --http-port: expected a whole number, got "x"',
      "spoor: f:1:1: servr: unknown key; did you mean server?",
      "spoor: f:3:20: span_log.partition_count: must be a power of two",
    ]);
  });

  test("check finds wrong addresses, tokens and overrides", async () => {
    const wrong = {
      host: "receivers: { host: 'a b' }",
      origin: "receivers: { cors_allowed_origins: ['app.example.com/'] }",
      tracing: "server: { tracing_endpoint: 'collector:4317' }",
      token: 'server: { admin_token: "a\\nb" }',
      folder: "limits: { overrides_file: / }",
      missing: "limits: { overrides_file: /no/such/file }",
      prefix: "server: { http_path_prefix: spoor/ }",
    };
    const says: Record<keyof typeof wrong, RegExp> = {
      host: /receivers.host: must be an IP address or a host name/,
      origin: /cors_allowed_origins.0: must be \* or like https/,
      tracing: /tracing_endpoint: must be like http/,
      token: /admin_token: must be printable ASCII/,
      folder: /read the limits of tenants: .*not a regular file|EISDIR/,
      missing: /read the limits of tenants: ENOENT/,
      prefix: /http_path_prefix: must be like \/spoor/,
    };
    for (const [name, text] of Object.entries(says)) {
      const [exitCode, { stderr }] = await run(["config", "check", "--config", name], wrong);
      expect([exitCode !== 0, stderr], name).toEqual([true, expect.stringMatching(text)]);
    }
  });

  test("old names of keys are read with a warning, both names are an error", async () => {
    const files = {
      old: "log: { bytes_max: 1GB, level: warn }\nserver: { log_level: error }\n",
      both: "log:\n  bytes_max: 1GB\nspan_log: { bytes_max: 2GB }\n",
      empty: "span_log:\nlog: { partition_count: 8 }\n",
      bad: "log: { bytes_max: lots }\n",
    };
    const check = (file: string) => run(["config", "check", "--config", file], files);
    expect(await check("both")).toMatchObject([
      2,
      { stderr: expect.stringMatching(/^spoor: both:2:3: log.bytes_max: is the old name of/) },
    ]);
    expect(await check("bad")).toMatchObject([
      2,
      {
        stderr: expect.stringMatching(/^spoor: bad:1:19: span_log.bytes_max: "lots" is not a size/),
      },
    ]);
    expect(await check("empty")).toMatchObject([
      0,
      {
        stderr:
          "spoor: warning: empty:2:8: log.partition_count is now span_log.partition_count: " +
          "rename the key\n",
      },
    ]);
    const clash = await check("old");
    expect(clash).toMatchObject([
      2,
      {
        stderr:
          "spoor: old:2:11: server.log_level: is the old name of log.level: set only log.level\n",
      },
    ]);
    const [, { stdout }] = await run(["config", "print", "--config", "empty"], files);
    expect(parse(stdout)).toMatchObject({
      span_log: { partition_count: 8 },
      log: { level: "info" },
    });
  });

  test("every key is described, and the page in deploy is this one", async () => {
    const [exitCode, { stdout }] = await run(["config", "reference"]);
    expect(exitCode).toBe(0);
    const rows = stdout.split("\n").filter((line) => line.startsWith("| `"));
    expect(rows.length).toBeGreaterThan(40);
    for (const row of rows) expect(row.split(" | ").at(-1), row).toMatch(/^[A-Z].{9,} \|$/);
    const page = new URL("../../deploy/config-reference.md", import.meta.url);
    if (process.env.UPDATE === "1") writeFileSync(page, stdout);
    expect(readFileSync(page, "utf8")).toBe(stdout);
  });
});

describe("parseServeArgs", () => {
  test("defaults", () => {
    const { config, configFile, target, configText } = serve([]);
    expect(configFile).toBeUndefined();
    expect(target).toBe("all");
    expect(config.server).toEqual({
      multitenancy: false,
      shutdownMs: 30_000,
      dataDir: "./data",
      adminToken: "",
      httpPathPrefix: "",
      tracingEndpoint: "",
      tracingSampleRatio: 1,
      tracingToSelf: false,
    });
    expect([config.frontend.port, config.receivers.httpPort, config.receivers.grpcPort]).toEqual([
      3200, 4318, 4317,
    ]);
    expect(config.log).toMatchObject({ level: "info", format: "auto" });
    expect(config.spanLog).toMatchObject({ partitionCount: 4, bytesMax: 8 * 2 ** 30 });
    expect(configText).toContain("cut_age: 5m\n");
  });

  test("flags win over the file, the last of one flag wins", () => {
    const files = {
      "spoor.yaml": `
server: { multitenancy: true, data_dir: "\${DIR}" }
log: { level: error }
receivers: { http_port: 1, grpc_port: 2 }
frontend: { port: 3 }
`,
    };
    const fromFile = serve(["--config", "spoor.yaml", "--target=all"], files);
    expect(fromFile.configFile).toBe("spoor.yaml");
    expect(fromFile.config.server).toMatchObject({ multitenancy: true, dataDir: "/var/spoor" });
    const flags = ["--http-port", "5", "--otlp-http-port=6", "--otlp-grpc-port", "0"];
    const { config } = serve(
      ["--config", "spoor.yaml", ...flags, "--host", "0.0.0.0", "--http-port=7"],
      files,
    );
    expect([config.frontend.port, config.receivers.httpPort, config.receivers.grpcPort]).toEqual([
      7, 6, 0,
    ]);
    expect([config.frontend.host, config.receivers.host]).toEqual(["0.0.0.0", "0.0.0.0"]);
    expect(config.log.level).toBe("error");
  });

  test("errors have types", () => {
    const failure = (args: string[], files?: Record<string, string>): unknown => {
      try {
        return serve(args, files);
      } catch (error) {
        return error;
      }
    };
    expect(failure(["--config", "f"], { f: "a: 1" })).toBeInstanceOf(ConfigError);
    expect(hasCode(failure(["--config", "f"]), "NotFound")).toBe(true);
    for (const args of [
      ["--config"],
      ["--config", "--host"],
      ["--target", "x"],
      ["--", "--help"],
    ]) {
      const error = failure(args);
      expect(error).toBeInstanceOf(SpoorError);
      expect((error as SpoorError).reason).toBe("usage");
    }
  });
});

describe("reading files", () => {
  test("unreadable files have a clear error", () => {
    const write = (name: string, bytes: string | Uint8Array): string => {
      const path = join(dir, name);
      writeFileSync(path, bytes);
      return path;
    };
    expect(readTextFile(write("ok", "é"))).toBe("é");
    expect(readTextFile(write("empty", ""))).toBe("");
    expect(readTextFile(write("max", Buffer.alloc(1024 * 1024, "a")))).toHaveLength(1024 * 1024);
    const cases: [path: string, code: string, message: string][] = [
      [join(dir, "none"), "NotFound", "no such file"],
      [dir, "Unavailable", "EISDIR"],
      [write("large", Buffer.alloc(1024 * 1024 + 1, "a")), "TooLarge", "more than 1048576 bytes"],
      [write("binary", Buffer.from([0x61, 0xff])), "InvalidInput", "not UTF-8 text"],
    ];
    for (const [path, code, message] of cases) {
      expect(() => readTextFile(path), path).toThrow(expect.objectContaining({ code }));
      expect(() => readTextFile(path), path).toThrow(message);
    }
  });
});

describe("the program", () => {
  const spoor = (...args: string[]): ReturnType<typeof spawnSync> =>
    spawnSync(process.execPath, [launcher, ...args], { encoding: "utf8" });

  test("exit codes and streams", () => {
    expect(spoor("version")).toMatchObject({ status: 0, stderr: "" });
    expect(spoor("nope")).toMatchObject({ status: 2, stdout: "" });
    const missing = join(dir, "none.yaml");
    expect(spoor("config", "check", "--config", missing)).toMatchObject({
      status: 1,
      stderr: `spoor: read ${missing}: no such file\n`,
    });
  });

  test("a reader that closes stdout is no error", async () => {
    const child = spawn(process.execPath, [launcher, "config", "reference"], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    child.stdout.destroy();
    let stderr = "";
    child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
    const [exitCode] = (await once(child, "close")) as [number | null];
    expect(stderr).toBe("");
    expect(exitCode).toBe(0);
  });

  test("the launcher tells old Nodes what to do, and loads nothing", () => {
    // The launcher checks only the version that Node reports.
    const preload = join(dir, "old-node.cjs");
    writeFileSync(
      preload,
      'Object.defineProperty(process.versions, "node", { value: "20.20.2" });\n',
    );
    const args = ["--require", preload, launcher, "version"];
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
    expect(status).toBe(1);
    expect(stdout).toBe("");
    expect(stderr).toContain("spoor: needs Node 24 or newer, this is Node 20.20.2.");
    expect(stderr).toContain("npm ci");
  });

  test("the launcher is written for old Nodes", () => {
    const source = readFileSync(launcher, "utf8");
    expect(source.startsWith("#!/usr/bin/env node\n")).toBe(true);
    const code = source.replaceAll(/\/\/.*|"(?:[^"\\]|\\.)*"/g, "");
    expect(code).not.toMatch(/\b(?:const|let|class|async|await)\b|=>|`|\?\.|\?\?|^import\s/m);
  });
});
