/**
 * Checks rules of the code that no other tool checks: allowed imports, places, lengths and contents
 * of files.
 */
import { existsSync, globSync, readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join, matchesGlob, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const root: string = fileURLToPath(new URL("..", import.meta.url));

/** Allowed folders of the top level. Files there are for tools and newcomers. */
const topFolders = ["cmd", "pkg", "modules", "web", "deploy", "testdata", "integration"];
/** Folders made by git, npm and runs; not part of the project. */
const ignoredFolders = ["node_modules", "data", "coverage", "dist"];
const codeFolders = ["cmd", "pkg", "modules", "web", "integration"];

/** Level 0: packages that import only each other. */
const level0 = [
  "bytes",
  "clock",
  "errors",
  "files",
  "limits",
  "log",
  "selftrace",
  "tenant",
  "threads",
  "version",
];

/**
 * Which folders of pkg each folder of pkg may import, beside level 0 and itself. A line here is a
 * decision about the design, so a new folder starts with an empty list.
 */
const pkgEdges: Record<string, readonly string[]> = {
  api: ["traceql"],
  otlp: [],
  pb: [],
  listen: [],
  grpc: ["listen", "pb"],
  loadgen: ["columns", "otlp", "traceql"],
  config: [],
  objstore: [],
  spanlog: [],
  columns: ["otlp"],
  parquet: ["columns"],
  table: ["objstore"],
  block: ["columns", "objstore", "otlp", "parquet", "table"],
  traceql: [],
  engine: ["api", "block", "columns", "objstore", "otlp", "parquet", "table", "traceql"],
  wire: [],
  questions: ["api", "block", "columns", "engine", "otlp", "traceql", "wire"],
  query: [
    "api",
    "block",
    "columns",
    "engine",
    "loadgen",
    "objstore",
    "otlp",
    "questions",
    "table",
    "traceql",
  ],
};

/** Folders with a door of their own, beside the door of their package. */
const foldersWithDoors = [
  "pkg/block/verify",
  "pkg/objstore/fs",
  "pkg/objstore/gcs",
  "pkg/objstore/s3",
  "pkg/objstore/wrap",
];

/** Files that other packages import although they are not a door, with the reason. */
const besideDoors: Readonly<Record<string, readonly string[]>> = {
  "a command that starts no module reads its settings": ["modules/*/config.ts"],
  "flags are read before anything else is loaded": [
    "pkg/config/duration.ts",
    "pkg/config/nearest.ts",
    "pkg/config/problems.ts",
    "pkg/config/size.ts",
  ],
  "loads pino, which threads do not need": ["pkg/log/pino-log.ts"],
  "loads the Parquet library, which only cutters and some reads need": [
    "pkg/block/cut.ts",
    "pkg/parquet/arrow-read.ts",
    "pkg/parquet/arrow-write.ts",
    "pkg/parquet/parquet-library.ts",
    "pkg/parquet/parquet-wasm.ts",
  ],
  "threads that search heads load no schemas and no store": [
    "pkg/block/block-facts.ts",
    "pkg/block/index/bloom.ts",
    "pkg/block/index/tag-lists.ts",
    "pkg/block/index/tag-values.ts",
    "pkg/block/index/value-counts.ts",
  ],
  "threads that evaluate conditions load no parser": [
    "pkg/traceql/arithmetic.ts",
    "pkg/traceql/format.ts",
    "pkg/traceql/regex.ts",
  ],
  "generated code has no door": ["pkg/pb/**"],
};

/** Test support is marked by its name; the program must not import it. */
const testSupport = /(?:\.testing\.ts$|\/testing\/|\/contract\/|\.(?:test|bench)\.tsx?$)/;

/** Allowed imports of the other layers. Modules never import other modules. */
const layerEdges: Record<string, readonly string[]> = {
  pkg: ["pkg"],
  modules: ["pkg"],
  cmd: ["pkg", "modules", "cmd"],
  integration: ["pkg", "modules", "cmd", "integration"],
  // The page shares nothing with the server but the types of its contract.
  web: ["pkg/api", "web"],
};

/** Allowed relative imports from another folder, where a tool needs them. */
const pathExceptions = ["pkg/version/version.ts -> ../../package.json"];

/** Node modules of networks and processes, which pkg must not import. */
const foreignToPkg = ["node:http", "node:http2", "node:https", "node:net", "hono", "prom-client"];

/** Packages with servers for several modules: exceptions to "pkg uses no network". */
const listening = ["pkg/listen/", "pkg/grpc/"];

const sourceLinesMax = 400;
const testLinesMax = 800;
const columnsMax = 100;

interface SourceFile {
  /** Path from the root, with `/`. */
  path: string;
  text: string;
  lines: string[];
  isTest: boolean;
  imports: string[];
  /** Workers and programs that the file runs, as `new URL(x, import.meta.url)`. */
  programs: string[];
}

const files: readonly SourceFile[] = codeFolders.flatMap(readFolder);
const byPath: ReadonlyMap<string, SourceFile> = new Map(files.map((file) => [file.path, file]));
const sources: readonly SourceFile[] = files.filter(
  ({ isTest, path }) => !isTest && !isGenerated(path),
);

/** Generated files, whose names the generator chose. */
function isGenerated(path: string): boolean {
  return /^pkg\/pb\/.+_pb\.ts$/.test(path);
}

function readFolder(folder: string): SourceFile[] {
  if (!existsSync(join(root, folder))) return [];
  const found: SourceFile[] = [];
  for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) {
      if (!ignoredFolders.includes(entry.name)) found.push(...readFolder(path));
    } else if (/\.(ts|tsx|js|mjs|cjs)$/.test(entry.name)) found.push(readSource(path));
  }
  return found;
}

function readSource(path: string): SourceFile {
  const text = readFileSync(join(root, path), "utf8");
  return {
    path,
    text,
    lines: text.replace(/\n$/, "").split("\n"),
    isTest: /\.(test|bench)\.tsx?$/.test(path),
    imports: importsOf(text),
    programs: programsOf(text),
  };
}

/**
 * Returns the specifiers of static, dynamic and type imports. oxfmt puts statements at the start of
 * a line, which keeps this simple.
 */
function importsOf(text: string): string[] {
  const patterns = [
    /^\s*(?:import|export)\b[^;"']*?\bfrom\s+"([^"]+)"/gm,
    /^import\s+"([^"]+)"/gm,
    /\bimport\(\s*"([^"]+)"\s*,?\s*\)/g,
  ];
  return patterns.flatMap((pattern) => Array.from(text.matchAll(pattern), ([, name]) => name));
}

function programsOf(text: string): string[] {
  const pattern = /\bnew URL\(\s*"([^"]+\.(?:ts|js))",\s*import\.meta\.url,?\s*\)/g;
  return Array.from(text.matchAll(pattern), ([, path]) => path.replace(/^(?!\.)/, "./"));
}

/** Returns whether another package may import this file. */
function isDoor(target: string): boolean {
  const folder = dirname(target);
  const isFolder = folder === folderOf(target) || foldersWithDoors.includes(folder);
  if (isFolder && basename(target) === `${basename(folder)}.ts`) return true;
  const patterns = Object.values(besideDoors).flat();
  return patterns.some((pattern) => matchesGlob(target, pattern));
}

/** Resolves an import to a file of the project; undefined for packages and node:. */
function resolveImport(from: string, specifier: string): string | undefined {
  if (specifier.startsWith("#")) return specifier.slice(1);
  if (specifier.startsWith(".")) return normalize(join(dirname(from), specifier));
  return undefined;
}

/** Returns the package of a file: `pkg/block/reader.ts` -> `pkg/block`. */
function folderOf(path: string): string {
  return path.split("/").slice(0, 2).join("/");
}

/** Returns whether a file is part of the program. */
function isProgram({ path, isTest }: SourceFile): boolean {
  return !isTest && !testSupport.test(path) && /^(?:cmd|modules|pkg)\//.test(path);
}

/** Returns why `file` may not import `target`; undefined if it may. */
function whyNot(file: SourceFile, target: string): string | undefined {
  const from = folderOf(file.path);
  const to = folderOf(target);
  if (from === to) return undefined;
  const [layer, name] = file.path.split("/");
  const [toLayer, toName] = target.split("/");
  const layers = layerEdges[layer] ?? [];
  if (!layers.includes(toLayer) && !layers.includes(to)) return `${layer} may not import ${to}`;
  if (layer !== "pkg" || level0.includes(toName)) return undefined;
  if (level0.includes(name)) return `${from} is level 0`;
  const allowed = pkgEdges[name] as readonly string[] | undefined;
  if (allowed === undefined) return `${from} is not in the table pkgEdges`;
  return allowed.includes(toName) ? undefined : `${from} may not import ${to}`;
}

test("imports of every form are seen", () => {
  const name = '"#pkg/x/x.ts"';
  const text = [
    `import { a } from ${name};`,
    `import type { B } from ${name};`,
    `import {\n  type C,\n  d,\n} from ${name};`,
    `import * as e from ${name};`,
    `export { f } from ${name};`,
    `export * from ${name};`,
    `import ${name};`,
    `const g = await import(${name});`,
    `const h = import(\n  ${name},\n);`,
  ];
  for (const line of text) expect(importsOf(`"a";\n${line}\n"b";\n`), line).toHaveLength(1);
  expect(importsOf(text.join("\n"))).toHaveLength(text.length);
  const url = ["new", 'URL("x-worker.ts", import.meta.url)'].join(" ");
  expect(programsOf(`run(${url});`)).toEqual(["./x-worker.ts"]);
});

describe("imports", () => {
  test("go down only, along the edges in the tables", () => {
    const wrong: string[] = [];
    for (const file of files) {
      for (const specifier of [...file.imports, ...file.programs]) {
        const target = resolveImport(file.path, specifier);
        if (target === undefined || pathExceptions.includes(`${file.path} -> ${specifier}`))
          continue;
        const why = whyNot(file, target);
        if (why !== undefined) wrong.push(`${file.path} imports ${specifier}: ${why}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  test("of the program reach another package by a door", () => {
    const wrong: string[] = [];
    for (const file of sources.filter(isProgram)) {
      for (const specifier of file.imports) {
        const target = resolveImport(file.path, specifier);
        const isOther = target !== undefined && folderOf(target) !== folderOf(file.path);
        if (!isOther || !/^(?:pkg|modules)\//.test(target) || isDoor(target)) continue;
        wrong.push(`${file.path} -> ${specifier}`);
      }
    }
    expect(wrong).toEqual([]);
    for (const folder of foldersWithDoors) expect(existsSync(join(root, folder))).toBe(true);
    const unused = Object.values(besideDoors)
      .flat()
      .filter((pattern) => !files.some(({ path }) => matchesGlob(path, pattern)));
    expect(unused).toEqual([]);
  });

  test("of the program bring no test support", () => {
    const wrong = sources
      .filter(isProgram)
      .flatMap(({ path, imports }) =>
        imports
          .filter((name) => testSupport.test(resolveImport(path, name) ?? ""))
          .map((name) => `${path} -> ${name}`),
      );
    expect(wrong).toEqual([]);
  });

  test("name files that exist: ./x.ts in the same folder, #folder/... elsewhere", () => {
    const wrong: string[] = [];
    for (const file of files) {
      for (const program of file.programs) {
        const target = normalize(join(dirname(file.path), program));
        if (!existsSync(join(root, target))) wrong.push(`${file.path} -> ${program}: no such file`);
      }
      for (const specifier of file.imports) {
        const edge = `${file.path} -> ${specifier}`;
        const target = resolveImport(file.path, specifier);
        if (target === undefined || pathExceptions.includes(edge)) continue;
        if (!existsSync(join(root, target))) wrong.push(`${edge}: there is no such file`);
        const isNear = dirname(target) === dirname(file.path);
        if (specifier.startsWith(".") && !isNear) wrong.push(`${edge}: use #${target}`);
        if (specifier.startsWith("#") && isNear) wrong.push(`${edge}: use ./`);
      }
    }
    expect(wrong).toEqual([]);
  });

  test("have no cycles, types included", () => {
    expect(findCycles()).toEqual([]);
  });

  test("of modules reach the span log by its seam: none knows that it is a folder", () => {
    const seam = /^#pkg\/spanlog\/(?:spanlog|log-config|retry-memory)\.ts$/;
    const modules = sources.filter(
      ({ path }) => path.startsWith("modules/") && !testSupport.test(path),
    );
    const used = modules.flatMap(({ path, imports }) =>
      imports.filter((name) => name.includes("/spanlog/")).map((name) => ({ path, name })),
    );
    expect(used.length).toBeGreaterThan(5);
    const wrong = used.filter(({ name }) => !seam.test(name));
    expect(wrong.map(({ path, name }) => `${path}: ${name}`)).toEqual([]);
    expect(linesWhere(modules, (line) => /\blogDir\b/.test(line))).toEqual([]);
  });

  test("of pkg bring no network", () => {
    const wrong = sources
      .filter(({ path }) => path.startsWith("pkg/"))
      .filter(({ path }) => !listening.some((folder) => path.startsWith(folder)))
      .flatMap(({ path, imports }) =>
        imports.filter((name) => foreignToPkg.includes(name)).map((name) => `${path}: ${name}`),
      );
    expect(wrong).toEqual([]);
  });

  test("of the program need no development dependency", () => {
    const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
      dependencies: Record<string, string>;
    };
    const installed = Object.keys(manifest.dependencies);
    const reached = filesReachedFrom("cmd/spoor/spoor.js");
    // The imports must include workers, which are started by URL.
    expect(reached.filter((path) => path.endsWith("worker.ts")).length).toBeGreaterThan(2);
    const wrong = reached.flatMap((path) =>
      (byPath.get(path)?.imports ?? [])
        .filter((name) => !/^(node:|#|\.)/.test(name))
        .filter((name) => !installed.some((dep) => name === dep || name.startsWith(`${dep}/`)))
        .map((name) => `${path}: ${name}`),
    );
    expect(wrong).toEqual([]);
  });
});

function filesReachedFrom(entry: string): string[] {
  const reached = new Set([entry]);
  for (const path of reached) {
    const { imports = [], programs = [] } = byPath.get(path) ?? {};
    for (const specifier of [...imports, ...programs]) {
      const target = resolveImport(path, specifier);
      if (target !== undefined && byPath.has(target)) reached.add(target);
    }
  }
  return [...reached];
}

/** Returns one import cycle per file that closes one, as `a -> b -> a`. */
function findCycles(): string[] {
  const cycles: string[] = [];
  const done = new Set<string>();
  const visit = (path: string, trail: string[]): void => {
    const at = trail.indexOf(path);
    if (at >= 0) cycles.push([...trail.slice(at), path].join(" -> "));
    if (at >= 0 || done.has(path)) return;
    for (const specifier of byPath.get(path)?.imports ?? []) {
      const target = resolveImport(path, specifier);
      if (target !== undefined && byPath.has(target)) visit(target, [...trail, path]);
    }
    done.add(path);
  };
  for (const { path } of files) visit(path, []);
  return cycles;
}

describe("files", () => {
  test("stand in the folders of the tree", () => {
    const wrong = readdirSync(root, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && !entry.name.startsWith("."))
      .map(({ name }) => name)
      .filter((name) => !topFolders.includes(name) && !ignoredFolders.includes(name));
    expect(wrong).toEqual([]);
  });

  test("have kebab-case names, and no folder hides behind an index", () => {
    const named = files.filter(({ path }) => !isGenerated(path));
    const wrong = named.filter(
      ({ path }) => !/^(?:[a-z0-9-]+\/)+[a-z0-9.-]+$/.test(path) || /\/index\.\w+$/.test(path),
    );
    expect(wrong.map(({ path }) => path)).toEqual([]);
  });

  test(`are at most ${String(sourceLinesMax)} lines long, tests ${String(testLinesMax)}`, () => {
    const wrong = files
      .filter(({ lines, isTest }) => lines.length > (isTest ? testLinesMax : sourceLinesMax))
      .map(({ path, lines }) => `${path}: ${String(lines.length)} lines`);
    expect(wrong).toEqual([]);
  });

  test(`are at most ${String(columnsMax)} columns wide`, () => {
    // Tests contain expected texts, whose lines may be longer.
    const wrong = linesWhere(sources, (line) => Array.from(line).length > columnsMax);
    expect(wrong).toEqual([]);
  });

  test("that are excused from the length of functions are hot and say so", () => {
    const config = JSON.parse(readFileSync(join(root, ".oxlintrc.json"), "utf8")) as {
      rules: Record<string, unknown>;
      overrides: { files: string[]; rules: Record<string, unknown> }[];
    };
    const rule = "max-lines-per-function";
    expect(config.rules[rule]).toEqual(["error", { max: 70 }]);
    const excused = config.overrides
      .filter(({ rules }) => rule in rules)
      .flatMap((override) => override.files)
      .filter((pattern) => pattern !== "**/*.test.ts" && pattern !== "**/*.bench.ts");
    const wrong = excused.filter((path) => !byPath.get(path)?.lines[0].startsWith("// HOT"));
    expect(wrong).toEqual([]);
  });

  test("of modules come with a README", () => {
    const modules = readdirSync(join(root, "modules"));
    expect(modules.length).toBeGreaterThan(3);
    expect(modules.filter((name) => !existsSync(join(root, "modules", name, "README.md")))).toEqual(
      [],
    );
  });
});

describe("code", () => {
  // Concatenated, so that the search does not match this file.
  const words = [
    ["TO", "DO"],
    ["FIX", "ME"],
  ]
    .map((word) => word.join(""))
    .join("|");
  const marks = new RegExp(`\\b(?:${words})\\b`);
  const modifiers = [
    ["on", "ly"],
    ["sk", "ip"],
  ]
    .map((word) => word.join(""))
    .join("|");
  const focused = new RegExp(
    `\\b(?:test|it|describe|suite|bench)(?:\\.\\w+)*\\.(?:${modifiers})\\b`,
  );

  test("has no work left in it", () => {
    expect(linesWhere(files, (line) => marks.test(line))).toEqual([]);
  });

  test("runs all of its tests", () => {
    const tests = files.filter(({ isTest, text }) => isTest || text.includes('from "vitest"'));
    expect(linesWhere(tests, (line) => focused.test(line))).toEqual([]);
  });

  test("opens ports only where what they serve is declared in tables, with its right", () => {
    const servers = [
      "pkg/listen/http-listener.ts",
      "pkg/grpc/server.ts",
      // A socket that marks the data folder as owned; it serves nothing.
      "cmd/spoor/data-lock.ts",
    ];
    const product = sources.filter(({ path }) => /^(?:cmd|modules|pkg)\//.test(path));
    const opening = /\bcreate(?:Secure|Adaptor)?Server\(|[^.\w]serve\(/;
    const found = linesWhere(product, (line) => opening.test(line));
    expect(found.map((line) => line.split(":")[0])).toEqual(expect.arrayContaining(servers));
    expect(found.filter((line) => !servers.includes(line.split(":")[0]))).toEqual([]);
    // All routes of the API must come from `routesOf`.
    const routing = /\bapp\.(?:get|post|put|patch|delete|all|on|use|route|mount)\(/;
    const routed = linesWhere(product, (line) => routing.test(line));
    expect(routed.length).toBeGreaterThan(0);
    expect(routed.filter((line) => !line.startsWith("modules/frontend/http/http.ts:"))).toEqual([]);
  });

  test("reads environment and arguments only in cmd and integration", () => {
    const others = sources.filter(({ path }) => !/^(cmd|integration)\//.test(path));
    expect(linesWhere(others, (line) => /\bprocess\.(?:env|argv)\b/.test(line))).toEqual([]);
  });

  test("spreads no list into the arguments of a call: a long one overflows the stack", () => {
    const spread =
      /(?:\.(?:push|unshift|splice|concat|apply)|Math\.(?:max|min)|String\.from\w+)\([^;]*\.\.\.[\w([]/;
    // An object literal within the arguments spreads properties; a list literal has no limit.
    const withoutLiterals = (line: string): string => line.replaceAll(/[[{][^[\]{}]*[\]}]/g, "_");
    const programs = sources.filter(
      ({ path }) =>
        /^(?:cmd|modules|pkg)\//.test(path) && !/testing|random-|odd-wire|fault/.test(path),
    );
    expect(spread.test("drafts.push(...found);")).toBe(true);
    expect(linesWhere(programs, (line) => spread.test(withoutLiterals(line)))).toEqual([]);
  });

  test("has no state at the level of a module", () => {
    const variable = /^(?:export )?(?:let|var) /;
    const container = /^(?:export )?const [^=]+ = (?:new (?:Weak)?(?:Map|Set)\b.*\(\)|\[\]|\{\});$/;
    // Old Nodes know no other variables than those of the launcher.
    const modern = sources.filter(({ path }) => path !== "cmd/spoor/spoor.js");
    expect(linesWhere(modern, (line) => variable.test(line) || container.test(line))).toEqual([]);
  });

  test("has default exports only where a worker pool wants them, and hides nothing from tsc", () => {
    const others = sources.filter(({ path }) => !path.endsWith("worker.ts"));
    expect(linesWhere(others, (line) => /^export default\b/.test(line))).toEqual([]);
    expect(linesWhere(files, (line) => /\/\/ @ts-(?:ignore|nocheck)/.test(line))).toEqual([]);
  });
});

function linesWhere(where: readonly SourceFile[], isWrong: (line: string) => boolean): string[] {
  return where.flatMap(({ path, lines }) =>
    lines.flatMap((line, i) => (isWrong(line) ? [`${path}:${String(i + 1)}: ${line.trim()}`] : [])),
  );
}

describe("documents", () => {
  test("ARCHITECTURE.md names only paths that exist", () => {
    const text = readFileSync(join(root, "ARCHITECTURE.md"), "utf8");
    const named = new Set<string>();
    for (const [, code] of text.matchAll(/`([^`\n]+)`/g)) {
      const [path] = code.split(/[\s:]/);
      if (topFolders.includes(path.split("/")[0]) && path.includes("/")) named.add(path);
    }
    expect(named.size).toBeGreaterThan(10);
    expect([...named].filter((path) => !isThere(path))).toEqual([]);
  });

  test("every folder of code stands in ARCHITECTURE.md", () => {
    const text = readFileSync(join(root, "ARCHITECTURE.md"), "utf8");
    const folders = new Set(
      sources.map(({ path }) => folderOf(path)).filter((path) => /^(pkg|modules)\//.test(path)),
    );
    expect(folders.size).toBeGreaterThan(10);
    expect([...folders].filter((folder) => !text.includes(folder))).toEqual([]);
  });
});

function isThere(path: string): boolean {
  return path.includes("*")
    ? globSync(path, { cwd: root }).length > 0
    : existsSync(join(root, path));
}
