/** The status pages of the running process, as tables for people and programs. */
import { z } from "zod";
import type { TenantActivity } from "#modules/distributor/distributor.ts";
import type { Viewer } from "#pkg/tenant/tenant.ts";
import type { StatusPage, StatusPages, StatusTable } from "#modules/frontend/frontend.ts";
import type { Ingester, PartitionState } from "#modules/ingester/ingester.ts";
import { configTree, formatNumber, type ScalarNode, yamlKey } from "#pkg/config/config.ts";
import { toSpoorError } from "#pkg/errors/errors.ts";
import {
  limitFields,
  limitNames,
  type Limits,
  type RefusalEntry,
  type Refusals,
  type TenantLimits,
} from "#pkg/limits/limits.ts";
import type { ObjectStore } from "#pkg/objstore/objstore.ts";
import type { SpanLog } from "#pkg/spanlog/spanlog.ts";
import type { Table } from "#pkg/table/table.ts";
import type { Overrides } from "./overrides.ts";
import {
  claimProblems,
  consumersTable,
  lossProblems,
  lossTables,
  spanLogTable,
} from "./status-log.ts";

export interface StatusSources {
  store: ObjectStore;
  ingester: Ingester;
  spanLog: SpanLog;
  tableOf: (tenant: string) => Table;
  limits: TenantLimits;
  overrides: Pick<Overrides, "problem">;
  refusals: Refusals;
  activity: TenantActivity;
  /** How long a page waits for the bucket, milliseconds. */
  bucketWaitMs: number;
  /** Returns the names of running modules, in start order. */
  modules: () => string[];
  startedMs: number;
  version: string;
}

/** Returns the pages below /status. */
export function statusPages(sources: StatusSources): StatusPages {
  const page = (...tables: StatusTable[]): StatusPage => ({
    ...headOf(sources),
    problems: [],
    tables,
  });
  return {
    modules: ({ tenant }) => page(...(tenant === undefined ? [modulesTable(sources)] : [])),
    limits: (viewer) => page(...limitsTables(sources, viewer)),
    refused: (viewer) => {
      const entries = refusedFor(sources, viewer);
      return page(refusedTable(entries), examplesTable(entries));
    },
  };
}

function headOf({
  version,
  startedMs,
  ingester,
}: StatusSources): Pick<StatusPage, "version" | "startedMs" | "notReady"> {
  const notReady = ingester.isReady ? undefined : "the span log is being read";
  return { version, startedMs, notReady };
}

function modulesTable({ modules }: StatusSources): StatusTable {
  const rows = modules().map((name) => [name]);
  return { key: "modules", title: "Modules", columns: [{ key: "module" }], rows };
}

/** Returns the limits in the form of the config file; for tenants, those that differ. */
function limitsTables({ limits, overrides }: StatusSources, { tenant }: Viewer): StatusTable[] {
  const node = configTree(z.strictObject(limitFields));
  const text = (name: keyof Limits, value: number): string => {
    const field = node.fields.find((one) => one.name === name)!;
    return value === 0 ? "no limit" : formatNumber(field.node as ScalarNode, value);
  };
  const rows = limitNames.map((name) => [yamlKey(name), text(name, limits.defaults[name])]);
  const own = [...limits.overrides]
    .filter(([name]) => tenant === undefined || name === tenant)
    .flatMap(([name, of]) =>
      limitNames
        .filter((limit) => of[limit] !== limits.defaults[limit])
        .map((limit) => [name, yamlKey(limit), text(limit, of[limit])]),
    );
  const problem = tenant === undefined ? (overrides.problem?.split("\n") ?? []) : [];
  const bad: StatusTable = {
    key: "overrides_problems",
    title: "The overrides file is invalid",
    hint: "The last valid content is in force. Fix the file; it is read again automatically.",
    columns: [{ key: "problem" }],
    rows: problem.map((line) => [line]),
  };
  return [
    {
      key: "limits",
      title: "Limits of all tenants",
      columns: [{ key: "limit" }, { key: "value" }],
      rows,
    },
    {
      key: "tenant_limits",
      title: "Limits of single tenants",
      columns: [{ key: "tenant" }, { key: "limit" }, { key: "value" }],
      rows: own,
    },
    ...(problem.length === 0 ? [] : [bad]),
  ];
}

/** Returns a tenant's own refusals; for the operator, all, even those without a tenant. */
function refusedFor({ refusals }: StatusSources, { tenant }: Viewer): RefusalEntry[] {
  return refusals.list().filter((one) => tenant === undefined || one.tenant === tenant);
}

function refusedTable(entries: RefusalEntry[]): StatusTable {
  return {
    key: "refused",
    title: "Refused since the start",
    columns: [
      { key: "tenant" },
      { key: "reason" },
      { key: "from" },
      { key: "count" },
      { key: "first", unit: "time" },
      { key: "last", unit: "time" },
    ],
    rows: entries.map((one) => [
      one.tenant,
      one.reason,
      one.source,
      one.count,
      one.firstMs,
      one.lastMs,
    ]),
  };
}

function examplesTable(entries: RefusalEntry[]): StatusTable {
  return {
    key: "examples",
    title: "Examples",
    columns: [
      { key: "when", unit: "time" },
      { key: "tenant" },
      { key: "reason" },
      { key: "what" },
      { key: "peer" },
      { key: "examples" },
    ],
    rows: entries.flatMap(({ tenant, reason, examples }) =>
      examples.map(({ atMs, message, peer, ids }) => [
        atMs,
        tenant,
        reason,
        message,
        peer,
        ids.join(" "),
      ]),
    ),
  };
}

/** Returns the table of tenants whose table cannot be read; none if there are none. */
function failingTables(ingester: Ingester, { tenant }: Viewer): StatusTable[] {
  const failing = [...ingester.failing].filter(([one]) => tenant === undefined || one === tenant);
  if (failing.length === 0) return [];
  return [
    {
      key: "failing_tenants",
      title: "Tenants that are not served",
      hint: "Their tables cannot be read. Spoor retries automatically.",
      columns: [{ key: "tenant" }, { key: "why" }],
      rows: failing,
    },
  ];
}

/** Most records that the page lists. */
const asideShown = 50;

/** Returns the table of records in quarantine; none if there are none. */
function quarantineTables({ quarantine }: Ingester, { tenant }: Viewer): StatusTable[] {
  const records = quarantine.list().filter((one) => tenant === undefined || one.tenant === tenant);
  if (records.length === 0) return [];
  const spans = records.reduce((sum, { facts }) => sum + (facts?.spans ?? 0), 0);
  return [
    {
      key: "quarantine",
      title: "Quarantine",
      hint:
        `${records.length} records with ${spans} acknowledged spans are in no block: ` +
        "`spoor quarantine` lists them and puts them back.",
      columns: [
        { key: "tenant" },
        { key: "record" },
        { key: "spans" },
        { key: "bytes", title: "size", unit: "bytes" },
        { key: "set_aside", unit: "time" },
      ],
      rows: records
        .slice(0, asideShown)
        .map(({ tenant: of, name, sizeBytes, atMs, facts }) => [
          of,
          name,
          facts?.spans ?? "does not parse",
          sizeBytes,
          atMs,
        ]),
    },
  ];
}

/** Returns the main page: tenants, partitions and log. A tenant sees only its own row. */
export async function statusPage(sources: StatusSources, viewer: Viewer): Promise<StatusPage> {
  const states = await sources.ingester.states();
  const isAll = viewer.tenant === undefined;
  const folders = isAll ? await foldersOf(sources) : { names: [] };
  const tenants = tenantsTable(sources, states, viewer.tenant ?? folders);
  const aside = quarantineTables(sources.ingester, viewer);
  const failing = failingTables(sources.ingester, viewer);
  if (!isAll) return { ...headOf(sources), problems: [], tables: [...failing, tenants, ...aside] };
  const whole = [partitionsTable(states), spanLogTable(sources), consumersTable(sources)];
  const tables = [...lossTables(sources), ...failing, ...aside, tenants, ...whole];
  const problems = problemsOf(sources, tenants, folders.problem);
  return { ...headOf(sources), problems, tables };
}

function tenantsTable(
  sources: StatusSources,
  states: readonly PartitionState[],
  shown: string | Folders,
): StatusTable {
  const { tableOf, refusals, activity } = sources;
  const live = new Map<string, number>();
  for (const { tenantSpans } of states) {
    for (const [name, spans] of tenantSpans) live.set(name, (live.get(name) ?? 0) + spans);
  }
  const refused = new Map<string, number>();
  for (const { tenant, count } of refusals.list()) {
    refused.set(tenant, (refused.get(tenant) ?? 0) + count);
  }
  const rates = activity.rates();
  const names = typeof shown === "string" ? [shown] : tenantNames(shown, live);
  const rows = names.map((name) => {
    const files = [...tableOf(name).snapshot.files.values()];
    const rate = rates.get(name);
    return [
      name,
      rate?.spansPerSecond ?? 0,
      rate?.bytesPerSecond ?? 0,
      live.get(name) ?? 0,
      files.length,
      files.reduce((sum, { stats }) => sum + stats.rows, 0),
      files.reduce((sum, file) => sum + file.sizeBytes, 0),
      refused.get(name) ?? 0,
    ];
  });
  return {
    key: "tenants",
    title: "Tenants",
    columns: [
      { key: "tenant" },
      { key: "spans_per_second", title: "spans received", unit: "per_second" },
      { key: "bytes_per_second", title: "bytes received", unit: "bytes_per_second" },
      { key: "live_spans", title: "spans in memory" },
      { key: "blocks" },
      { key: "block_spans", title: "spans in blocks" },
      { key: "block_bytes", title: "size of blocks", unit: "bytes" },
      { key: "refused", title: "refused since the start" },
    ],
    rows,
  };
}

/** Folders of the bucket; none, with the problem, if the bucket does not respond in time. */
interface Folders {
  names: readonly string[];
  problem?: string;
}

async function foldersOf({ store, bucketWaitMs }: StatusSources): Promise<Folders> {
  const late = Promise.withResolvers<never>();
  const timeout = AbortSignal.timeout(bucketWaitMs);
  const onLate = (): void => late.reject(new Error(`no response within ${bucketWaitMs / 1000} s`));
  timeout.addEventListener("abort", onLate, { once: true });
  try {
    const asked = store.listFolders("", { signal: timeout });
    return { names: await Promise.race([asked, late.promise]) };
  } catch (error) {
    return { names: [], problem: toSpoorError(error).message };
  } finally {
    timeout.removeEventListener("abort", onLate);
  }
}

/** Returns tenants with a folder in the bucket, and tenants with spans only in memory. */
function tenantNames({ names }: Folders, live: ReadonlyMap<string, number>): string[] {
  const stored = names.filter((name) => !name.startsWith("_") && !name.startsWith("."));
  return [...new Set([...stored, ...live.keys()])].sort();
}

function partitionsTable(states: readonly PartitionState[]): StatusTable {
  return {
    key: "partitions",
    title: "Partitions",
    columns: [
      { key: "partition" },
      { key: "next_offset" },
      { key: "behind", title: "records behind" },
      { key: "head_spans", title: "spans in memory" },
      { key: "head_bytes", title: "memory", unit: "bytes" },
      { key: "closed_heads", title: "heads being stored" },
    ],
    rows: states.map((state) => [
      state.partition,
      state.nextOffset,
      state.durableEnd - state.nextOffset,
      state.headSpans,
      state.headBytes,
      state.closedHeads,
    ]),
  };
}

/** Returns problem texts for the operator, with what to do. */
function problemsOf(
  { ingester, overrides, spanLog }: StatusSources,
  tenants: StatusTable,
  bucketProblem: string | undefined,
): string[] {
  const problems: string[] = [];
  if (bucketProblem !== undefined) {
    problems.push(
      `The bucket does not answer (${bucketProblem}): queries see only live spans and report ` +
        "partial results. Check that the bucket can be reached.",
    );
  }
  if (!ingester.isReady) {
    problems.push("The span log is being read: query results are partial until that is done.");
  }
  for (const problem of lossProblems({ ingester, spanLog })) problems.push(problem);
  if (overrides.problem !== undefined) {
    problems.push("The overrides file is invalid: the page on limits shows its errors. Fix it.");
  }
  for (const problem of claimProblems({ spanLog })) problems.push(problem);
  const { records, spans } = ingester.quarantine.totals();
  if (records > 0) {
    problems.push(`${spans} acknowledged spans are in quarantine: see the table below.`);
  }
  for (const [name] of tenants.rows) {
    if (!ingester.isTenantFailing(String(name))) continue;
    const why = ingester.failing.get(String(name)) ?? "see the log for the bucket's error";
    problems.push(`Spans of tenant ${name} cannot be stored, its clients must retry: ${why}.`);
  }
  if (tenants.rows.length === 0 && bucketProblem === undefined) {
    problems.push(
      "No spans received yet: point an OTLP exporter at port 4318 (HTTP) or 4317 (gRPC), " +
        "or run `spoor load`.",
    );
  }
  return problems;
}
