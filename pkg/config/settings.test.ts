import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { SpoorError } from "#pkg/errors/errors.ts";
import { parseConfig, type ConfigOverride } from "./settings.ts";
import { configTree, yamlKey } from "./config-tree.ts";
import type { Environment } from "./interpolate.ts";
import { printConfig } from "./print.ts";
import { ConfigError, type ConfigProblem } from "./problems.ts";
import { configReference } from "./reference.ts";

const limits = z
  .strictObject({
    spansMax: z.int().positive().optional().describe("Spans of one trace"),
    retentionMs: z.int().min(1000).optional().describe("How long blocks are kept"),
  })
  .describe("Limits of one tenant.");

const schema = z.strictObject({
  server: z
    .strictObject({
      host: z.string().min(1).default("127.0.0.1").describe("Address"),
      port: z.int().min(0).max(65_535).default(3200).describe("Port | of HTTP"),
      logLevel: z.enum(["debug", "info", "warn"]).default("info"),
      isPublic: z.boolean().default(false),
      ratio: z.number().min(0).max(1).default(0.5),
      tls: z.strictObject({
        keyFile: z.string().default(""),
        reloadMs: z.int().positive().max(3_600_000).default(60_000).describe("How often"),
      }),
    })
    .describe("The server."),
  store: z
    .strictObject({
      bytesMax: z
        .int()
        .min(1024)
        .max(2 ** 50)
        .default(64 * 1024 * 1024),
      headBytesMax: z.int().min(1024).default(1_000_000_000),
      password: z.string().default("").meta({ secret: true, description: "Of the bucket" }),
      bytesizeText: z.string().default("x"),
      origins: z.array(z.string()).min(1).default(["*"]),
      waitsMs: z.array(z.int()).default([1000, 60_000]),
    })
    .refine((store) => store.headBytesMax >= store.bytesMax, {
      path: ["headBytesMax"],
      error: "must be at least bytes_max",
    }),
  overrides: z.record(z.string(), limits).default({}),
});

type Config = z.infer<typeof schema>;

function parse(text: string, env: Environment = {}, overrides: ConfigOverride[] = []): Config {
  return parseConfig(schema, { text, name: "spoor.yaml", env }, overrides);
}

/** Returns `line:column path message` of every problem. */
function problemsOf(
  text: string,
  env: Environment = {},
  overrides: ConfigOverride[] = [],
): string[] {
  return failureOf(text, env, overrides).problems.map(
    ({ line, column, path, message }: ConfigProblem) => `${line}:${column} ${path} ${message}`,
  );
}

function failureOf(
  text: string,
  env: Environment = {},
  overrides: ConfigOverride[] = [],
): ConfigError {
  try {
    parse(text, env, overrides);
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
  throw new Error(`no problem in ${text}`);
}

const defaults = parse("");

describe("values", () => {
  test("an empty file is all defaults", () => {
    expect(defaults.server.port).toBe(3200);
    expect(defaults.server.tls.reloadMs).toBe(60_000);
    expect(defaults.store.origins).toEqual(["*"]);
    expect(defaults.overrides).toEqual({});
    for (const text of [
      "# nothing\n",
      "---\n",
      "server:\n",
      "server:\n  tls:\n",
      "\ufeff{}",
      "~",
    ]) {
      expect(parse(text), JSON.stringify(text)).toEqual(defaults);
    }
  });

  test("every kind of value", () => {
    const config = parse(`
server:
  host: "::1"
  port: 0
  log_level: warn
  is_public: true
  ratio: 1
  tls: { key_file: a b.pem, reload: 1m30s }
store:
  bytes_max: 4096
  head_bytes_max: 2GiB
  password: "p: #1"
  origins:
    - https://a
    - "1"
  waits: [0, 2h, "3ms"]
overrides:
  team-a: { retention: 14d }
  constructor:
`);
    expect(config.server).toEqual({
      host: "::1",
      port: 0,
      logLevel: "warn",
      isPublic: true,
      ratio: 1,
      tls: { keyFile: "a b.pem", reloadMs: 90_000 },
    });
    expect(config.store).toEqual({
      bytesMax: 4096,
      headBytesMax: 2 ** 31,
      password: "p: #1",
      bytesizeText: "x",
      origins: ["https://a", "1"],
      waitsMs: [0, 7_200_000, 3],
    });
    expect(config.overrides["team-a"]).toEqual({ retentionMs: 1_209_600_000 });
    expect(Object.keys(config.overrides)).toContain("constructor");
    expect(problemsOf("overrides:\n  __proto__: { spans_max: 7 }")).toEqual([
      "2:3 overrides.__proto__ this key is not allowed",
    ]);
    expect(({} as Record<string, unknown>).spansMax).toBeUndefined();
  });

  test("keys lose their unit", () => {
    expect(yamlKey("cutAgeMs")).toBe("cut_age");
    expect(yamlKey("headBytesMax")).toBe("head_bytes_max");
    expect(yamlKey("itemsMax")).toBe("items_max");
    expect(yamlKey("http2Port")).toBe("http2_port");
  });
});

describe("problems", () => {
  test("all at once, with line, column, path and what was expected", () => {
    const text = `server:
  hosst: a
  port: "80"
  log_level: inof
  is_public: yes
  ratio: 1.5
  tls:
    reload: 30
    key_fil: x
store:
  bytes_max: 12mb
  origins: "*"
  waits: [5x, -1]
overrides:
  a: { retention: 1ms, spans_max: 0 }
nonsense: 1
`;
    expect(problemsOf(text)).toEqual([
      "2:3 server.hosst unknown key; did you mean host?",
      '3:9 server.port expected a whole number, got the text "80"',
      '4:14 server.log_level expected one of debug, info, warn, got "inof"; did you mean info?',
      '5:14 server.is_public expected true or false, got the text "yes"',
      "6:10 server.ratio must be at most 1",
      "8:13 server.tls.reload expected a duration such as 250ms, 30s, 1h30m or 14d, " +
        "got the number 30 without a unit",
      "9:5 server.tls.key_fil unknown key; did you mean key_file?",
      '11:14 store.bytes_max "12mb" is not a size such as 64MiB, 1GB or 4096 (bytes): ' +
        "the units are B, KB, MB, GB, TB, KiB, MiB, GiB, TiB, not mb",
      '12:12 store.origins expected a list, got the text "*"',
      '13:11 store.waits.0 "5x" is not a duration such as 250ms, 30s, 1h30m or 14d: ' +
        "the units are d, h, m, s, ms, not x",
      "13:15 store.waits.1 expected a duration such as 250ms, 30s, 1h30m or 14d, " +
        "got the number -1 without a unit",
      "15:19 overrides.a.retention must be at least 1s",
      "15:35 overrides.a.spans_max must be more than 0",
      "16:1 nonsense unknown key",
    ]);
    const { message, code } = failureOf(text);
    expect(code).toBe("InvalidInput");
    expect(message.split("\n")[0]).toBe(
      "spoor.yaml:2:3: server.hosst: unknown key; did you mean host?",
    );
    expect(message.split("\n")).toHaveLength(14);
  });

  const single: [text: string, problem: string][] = [
    ["server: 5", "1:9 server expected a section (keys with values), got the number 5"],
    ["server: [1]", "1:9 server expected a section (keys with values), got a list"],
    ["- 1", "1:1  expected a section (keys with values), got a list"],
    ["just text", '1:1  expected a section (keys with values), got the text "just text"'],
    ["server:\n  host:", "2:8 server.host expected text, got nothing"],
    ["server:\n  host: 5", "2:9 server.host expected text, got the number 5"],
    ["server: { host: true }", "1:17 server.host expected text, got true"],
    ["server: { host: {} }", "1:17 server.host expected text, got a section"],
    ['server: { host: "" }', "1:17 server.host must be at least 1 characters long"],
    ["server: { port: 1.5 }", "1:17 server.port expected a whole number, got the number 1.5"],
    ["server: { port: .inf }", "1:17 server.port expected a whole number, got the number Infinity"],
    ["server: { port: 65536 }", "1:17 server.port must be at most 65535"],
    ["store: { bytes_max: 100 }", "1:21 store.bytes_max must be at least 1KiB"],
    [
      "store: { bytes_max: 2PB }",
      '1:21 store.bytes_max "2PB" is not a size such as 64MiB, 1GB ' +
        "or 4096 (bytes): the units are B, KB, MB, GB, TB, KiB, MiB, GiB, TiB, not PB",
    ],
    ["store: { bytes_max: 1025TiB }", "1:21 store.bytes_max must be at most 1024TiB"],
    ["store: { head_bytes_max: 2KiB }", "1:26 store.head_bytes_max must be at least bytes_max"],
    ["store: { origins: [] }", "1:19 store.origins must be at least 1 entries long"],
    ["store: { origins: [5] }", "1:20 store.origins.0 expected text, got the number 5"],
    ["store: { origins: }", "1:19 store.origins expected a list, got nothing"],
    ["server: {}\nserver: {}", "2:1 server this key was given before"],
    ["a: 1\n---\nb: 2", "1:1 a unknown key"],
    ["server: { ? [1] : 2 }", "1:13 server a key must be a word"],
    [
      "overrides: { a: 5 }",
      "1:17 overrides.a expected a section (keys with values), got the number 5",
    ],
  ];
  test.each(single)("%j", (text, problem) => {
    expect(problemsOf(text)).toContain(problem);
  });

  test("of text that is not YAML", () => {
    expect(problemsOf("server: [1, 2")[0]).toMatch(/^1:\d+ {2}Flow sequence in block collection/);
    expect(problemsOf('server: "a')[0]).toMatch(/^1:\d+ {2}Missing closing/);
    expect(problemsOf("server:\n\thost: a")[0]).toMatch(/^2:\d+ {2}Tabs/);
    expect(problemsOf("server: !!js/function x")[0]).toMatch(/Unresolved tag/);
    expect(problemsOf("a: 1\n---\nb: 2").join()).toContain("a second document begins here");
  });

  test("at most 20 are shown, at most 1,000 kept", () => {
    const text = Array.from({ length: 2000 }, (_, i) => `k${i}: 1`).join("\n");
    const { problems, message } = failureOf(text);
    expect(problems).toHaveLength(1000);
    expect(message.split("\n")).toHaveLength(21);
    expect(message).toContain("and 980 more problems");
  });

  test("text of the file is shown short and without control characters", () => {
    const { message } = failureOf(`"a\\x1b[31mb": 1\nserver: { port: "${"x".repeat(100_000)}" }`);
    expect(message).toContain("a\\u{1b}[31mb: unknown key");
    expect(message).not.toContain("\u001b");
    expect(message.length).toBeLessThan(2000);
  });
});

describe("bounds", () => {
  test("files over 1 MiB", () => {
    expect(problemsOf(`# ${"x".repeat(1024 * 1024)}`)).toEqual([
      "0:0  the file is larger than 1048576 bytes",
    ]);
    expect(parse(`# ${"x".repeat(1024 * 1024 - 2)}`)).toEqual(defaults);
  });

  test("aliases and anchors", () => {
    const bomb = `a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nserver: *c`;
    const problems = problemsOf(bomb).join("\n");
    expect(problems).toContain("1:7  anchors (&name) are not allowed");
    expect(problems).toContain("2:8  aliases (*name) are not allowed");
    expect(problemsOf("server: { <<: {} }")).toEqual(["1:11 server.<< unknown key"]);
  });

  test("depth", () => {
    for (const part of ["[", "{a: ", "- ", "? "]) {
      const text = part.repeat(Math.floor((256 * 1024) / part.length));
      expect(problemsOf(text).join(), part).toContain("more than 32 levels inside each other");
    }
  });

  test("many keys do not take quadratic time", () => {
    const text = Array.from({ length: 80_000 }, (_, i) => `k${i}: 1`).join("\n");
    expect(failureOf(text).problems).toHaveLength(1000);
  });
});

describe("variables", () => {
  const env = { PORT: "4318", EMPTY: "", HOST: "example", BYTES: "2MiB", ON: "true", S: "hush" };

  test("in every kind of value", () => {
    const config = parse(
      `server:
  host: "\${HOST}:\${PORT}"
  port: \${PORT}
  is_public: \${ON}
  ratio: \${R:-0.25}
  log_level: \${LEVEL:-debug}
  tls: { reload: "\${T:-1h}", key_file: "\${EMPTY}" }
store:
  head_bytes_max: "\${BYTES}"
  bytes_max: \${EMPTY:-1MiB}
  origins: ["\${HOST}"]
  bytesize_text: "$\${HOST} $5 $ {x} \${MISSING:-}|"
`,
      env,
    );
    expect(config.server).toMatchObject({ host: "example:4318", port: 4318, isPublic: true });
    expect(config.server).toMatchObject({ ratio: 0.25, logLevel: "debug" });
    expect(config.server.tls).toEqual({ reloadMs: 3_600_000, keyFile: "" });
    expect(config.store).toMatchObject({ headBytesMax: 2 ** 21, bytesMax: 2 ** 20 });
    expect(config.store.origins).toEqual(["example"]);
    expect(config.store.bytesizeText).toBe("${HOST} $5 $ {x} |");
  });

  test("the value of a variable is not parsed as YAML", () => {
    const config = parse("server: { host: '${X}' }", { X: "a\nport: 5\n*b" });
    expect(config.server).toMatchObject({ host: "a\nport: 5\n*b", port: 3200 });
  });

  test("problems name the variable", () => {
    expect(problemsOf("server:\n  port: ${NOPE}\n  host: ${ALSO}", env)).toEqual([
      "2:9 server.port the environment variable NOPE is not set",
      "3:9 server.host the environment variable ALSO is not set",
    ]);
    expect(problemsOf("server: { port: '${HOST}' }", env)).toEqual([
      '1:17 server.port expected a whole number, got "example"',
    ]);
    expect(problemsOf("server: { host: '${toString}' }")[0]).toContain("toString is not set");
    for (const text of ["${", "${}", "${1A}", "${A", "${A:+b}", "${A-b}"]) {
      expect(problemsOf(`server: { host: '${text}' }`, { A: "x" })[0], text).toContain(
        "after ${ a NAME} or NAME:-default} is expected",
      );
    }
    expect(problemsOf("server: { host: '${A}${A}${A}' }", { A: "x".repeat(400_000) })[0]).toContain(
      "has more than 1048576 characters",
    );
  });
});

describe("flags", () => {
  const flag = (path: string, text: string): ConfigOverride => ({
    path: path.split("."),
    text,
    flag: `--${path}`,
  });

  test("win over the file", () => {
    const text = "server: { port: 1, host: b }";
    const config = parse(text, {}, [flag("server.port", "2"), flag("server.tls.reloadMs", "2m")]);
    expect(config.server).toMatchObject({ port: 2, host: "b", tls: { reloadMs: 120_000 } });
  });

  test("are checked like the file, and named", () => {
    const wrong = [flag("server.port", "70000"), flag("server.logLevel", "loud")];
    expect(failureOf("server: { hots: 1 }", {}, wrong).message.split("\n")).toEqual([
      '--server.logLevel: expected one of debug, info, warn, got "loud"',
      "--server.port: must be at most 65535",
      "spoor.yaml:1:11: server.hots: unknown key; did you mean host?",
    ]);
    for (const text of ["", " 1", "1e3", "0x10", "abc", "1.5", "${PORT}"]) {
      expect(() => parse("", { PORT: "1" }, [flag("server.port", text)]), text).toThrow(
        "--server.port: expected a whole number",
      );
    }
    expect(problemsOf("server: 5", {}, [flag("server.port", "1")])).toHaveLength(1);
  });

  test("that set several keys are reported once", () => {
    const wrong = ["port", "ratio"].map((name) => ({
      path: ["server", name],
      text: "-1",
      flag: "--x",
    }));
    expect(failureOf("", {}, wrong).message).toBe("--x: must be at least 0");
  });

  test("replace a value that is out of bounds in the file", () => {
    expect(parse("server: { port: 70000 }", {}, [flag("server.port", "1")]).server.port).toBe(1);
  });
});

describe("secrets", () => {
  test("appear in no message and no printed config", () => {
    expect(printConfig(schema, parse("store: { password: hush }"))).not.toContain("hush");
    for (const text of ["[hush]", "{ hush: 1 }", "1234567"]) {
      const { message } = failureOf(`store: { password: ${text} }`);
      expect(message).toContain("store.password: expected text, got something else");
      expect(message).not.toMatch(/hush|1234567/);
    }
    expect(failureOf('store: { password: "hush').message).not.toContain("hush");
  });

  test("a redacted value is not accepted as the secret", () => {
    const printed = printConfig(schema, parse("store: { password: hush }"));
    expect(printed).toContain("password: <redacted>");
    expect(failureOf(printed).message).toContain("store.password: <redacted> is not the secret");
  });
});

describe("print", () => {
  test("golden", () => {
    const config = parse("overrides: { a: { retention: 36h } }\nserver: { host: '$${A}' }");
    expect(printConfig(schema, config)).toBe(`server:
  host: $\${A}
  port: 3200
  log_level: info
  is_public: false
  ratio: 0.5
  tls:
    key_file: ""
    reload: 1m
store:
  bytes_max: 64MiB
  head_bytes_max: 1GB
  password: ""
  bytesize_text: x
  origins:
    - "*"
  waits:
    - 1s
    - 1m
overrides:
  a:
    retention: 1d12h
`);
  });

  const text = fc.oneof(
    fc.string({ unit: "binary", minLength: 1 }),
    fc.constantFrom("~", "null", "${", "$${A}", "5", "- a", "a: b", "#", "<<"),
  );
  const anyConfig: fc.Arbitrary<Config> = fc.record({
    server: fc.record({
      host: text,
      port: fc.nat(65_535),
      logLevel: fc.constantFrom("debug" as const, "info" as const, "warn" as const),
      isPublic: fc.boolean(),
      ratio: fc.double({ min: 0, max: 1, noNaN: true }).map((ratio) => ratio + 0),
      tls: fc.record({ keyFile: fc.string(), reloadMs: fc.integer({ min: 1, max: 3_600_000 }) }),
    }),
    store: fc.record({
      bytesMax: fc.integer({ min: 1024, max: 2 ** 30 }),
      headBytesMax: fc.integer({ min: 2 ** 30, max: 2 ** 52 }),
      password: fc.constant(""),
      bytesizeText: text,
      origins: fc.array(text, { minLength: 1, maxLength: 4 }),
      waitsMs: fc.array(fc.nat(), { maxLength: 3 }),
    }),
    overrides: fc.dictionary(
      text.filter((key) => key !== "__proto__"),
      fc.record(
        { spansMax: fc.integer({ min: 1 }), retentionMs: fc.integer({ min: 1000 }) },
        { requiredKeys: [] },
      ),
      { maxKeys: 3, noNullPrototype: true },
    ),
  });

  test("a printed config parses to an equal config", () => {
    fc.assert(
      fc.property(anyConfig, (config) => {
        // A lone surrogate is no character of a file.
        fc.pre(JSON.stringify(config).isWellFormed());
        expect(parse(printConfig(schema, config))).toEqual(config);
      }),
      { numRuns: 300 },
    );
  });
});

test("any text is a config or a ConfigError", () => {
  const word = fc.constantFrom(
    ..."server: |store|  |\n|- |{|}|[|]|,|:|'|\"|&a |*a |!x |? |${A}|5m|#|\t|%|---\n|>|port: ".split(
      "|",
    ),
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(word, { maxLength: 30 }).map((w) => w.join("")),
      ),
      (text) => {
        try {
          parse(text);
        } catch (error) {
          expect(error).toBeInstanceOf(ConfigError);
        }
      },
    ),
    { numRuns: 1000 },
  );
});

test("a file cut off anywhere is a config or a ConfigError", () => {
  const text = printConfig(schema, defaults);
  for (let end = 0; end < text.length; end++) {
    try {
      parse(text.slice(0, end));
    } catch (error) {
      expect(error).toBeInstanceOf(ConfigError);
    }
  }
});

test("reference: golden", () => {
  expect(configReference(schema, { title: "Title", intro: "Intro." })).toBe(`# Title

Intro.

## server

The server.

| key | type | default | unit | description |
|---|---|---|---|---|
| \`host\` | text | \`127.0.0.1\` |  | Address |
| \`port\` | integer, at most 65535 | \`3200\` |  | Port \\| of HTTP |
| \`log_level\` | \`debug\`, \`info\`, \`warn\` | \`info\` |  |  |
| \`is_public\` | \`true\`, \`false\` | \`false\` |  |  |
| \`ratio\` | number, at most 1 | \`0.5\` |  |  |

## server.tls

| key | type | default | unit | description |
|---|---|---|---|---|
| \`key_file\` | text | \`""\` |  |  |
| \`reload\` | duration, at least 1ms, at most 1h | \`1m\` | ms, s, m, h, d | How often |

## store

| key | type | default | unit | description |
|---|---|---|---|---|
| \`bytes_max\` | size, at least 1KiB, at most 1024TiB | \`64MiB\` | B, KB, KiB, MB, MiB ... |  |
| \`head_bytes_max\` | size, at least 1KiB | \`1GB\` | B, KB, KiB, MB, MiB ... |  |
| \`password\` | text, secret | \`""\` |  | Of the bucket |
| \`bytesize_text\` | text | \`x\` |  |  |
| \`origins\` | list of text | \`["*"]\` |  |  |
| \`waits\` | list of duration | \`["1s","1m"]\` | ms, s, m, h, d |  |

## overrides.<name>

Limits of one tenant.

| key | type | default | unit | description |
|---|---|---|---|---|
| \`spans_max\` | integer, at least 1 |  |  | Spans of one trace |
| \`retention\` | duration, at least 1s |  | ms, s, m, h, d | How long blocks are kept |
`);
});

test("unsupported schemas are refused", () => {
  const refused: z.ZodType[] = [
    z.strictObject({ a: z.string().nullable() }),
    z.object({ a: z.string() }).loose(),
    z.strictObject({ aMs: z.int(), a: z.int() }),
    z.strictObject({ a: z.union([z.string(), z.int()]) }),
    z.string(),
  ];
  for (const bad of refused) {
    expect(() => configTree(bad)).toThrow(SpoorError);
    expect(() => configTree(bad)).toThrow("config schema");
  }
});

test("missing required keys are problems", () => {
  const strict = z.strictObject({ a: z.strictObject({ b: z.string(), c: z.int() }) });
  const parseStrict = () => parseConfig(strict, { text: "a: { c: x }", name: "f", env: {} });
  expect(parseStrict).toThrow("f:1:4: a.b: is required");
  expect(parseStrict).toThrow('f:1:9: a.c: expected a whole number, got the text "x"');
});
