/** What the status page shows of the running process. */
import { z } from "zod";
import type { StatusPage, StatusPages, StatusTable } from "#modules/frontend/status-page.ts";
import type { Ingester } from "#modules/ingester/ingester.ts";
import { formatNumber } from "#pkg/config/config.ts";
import { configTree, type ScalarNode, yamlKey } from "#pkg/config/config-tree.ts";
import { limitFields, limitNames, type Limits, type TenantLimits } from "#pkg/limits/limits.ts";
import type { Refusals } from "#pkg/limits/refusals.ts";
import type { ObjectStore } from "#pkg/objstore/objstore.ts";
import type { SpanLog } from "#pkg/spanlog/spanlog.ts";
import type { Table } from "#pkg/table/table.ts";
import type { Overrides } from "./overrides.ts";

export interface StatusSources {
  store: ObjectStore;
  ingester: Ingester;
  spanLog: SpanLog;
  tableOf: (tenant: string) => Table;
  limits: TenantLimits;
  overrides: Overrides;
  refusals: Refusals;
  /** Names of what runs, in the order of the start. */
  services: () => string[];
  startedMs: number;
  version: string;
}

/** The pages below /status. */
export function statusPages(sources: StatusSources): StatusPages {
  const page = (...tables: StatusTable[]): StatusPage => ({ ...headOf(sources), tables });
  return {
    services: () => page(servicesTable(sources)),
    limits: () => page(...limitsTables(sources)),
    refused: () => page(refusedTable(sources), examplesTable(sources)),
  };
}

function headOf({ version, startedMs, ingester }: StatusSources): Omit<StatusPage, "tables"> {
  const notReady = ingester.isReady ? undefined : "the span log is being read again";
  return { version, startedMs, notReady };
}

function servicesTable({ services }: StatusSources): StatusTable {
  return { title: "Services", columns: ["service"], rows: services().map((name) => [name]) };
}

/** Limits as in the config file; of tenants those that differ. */
function limitsTables({ limits, overrides }: StatusSources): StatusTable[] {
  const node = configTree(z.strictObject(limitFields));
  const text = (name: keyof Limits, value: number): string => {
    const field = node.fields.find((one) => one.name === name)!;
    return value === 0 ? "no limit" : formatNumber(field.node as ScalarNode, value);
  };
  const rows = limitNames.map((name) => [yamlKey(name), text(name, limits.defaults[name])]);
  const own = [...limits.overrides].flatMap(([tenant, of]) =>
    limitNames
      .filter((name) => of[name] !== limits.defaults[name])
      .map((name) => [tenant, yamlKey(name), text(name, of[name])]),
  );
  const problem = overrides.problem?.split("\n").map((line) => [line]) ?? [];
  return [
    { title: "Limits of all tenants", columns: ["limit", "value"], rows },
    { title: "Limits of single tenants", columns: ["tenant", "limit", "value"], rows: own },
    ...(problem.length === 0
      ? []
      : [{ title: "The file of overrides is bad", columns: ["problem"], rows: problem }]),
  ];
}

function refusedTable({ refusals }: StatusSources): StatusTable {
  const columns = ["tenant", "reason", "from", "count", "first", "last"];
  const rows = refusals
    .list()
    .map((one) => [
      one.tenant,
      one.reason,
      one.source,
      one.count,
      new Date(one.firstMs).toISOString(),
      new Date(one.lastMs).toISOString(),
    ]);
  return { title: "Refused since the start", columns, rows };
}

function examplesTable({ refusals }: StatusSources): StatusTable {
  const columns = ["when", "tenant", "reason", "what", "examples"];
  const rows = refusals
    .list()
    .flatMap(({ tenant, reason, examples }) =>
      examples.map(({ atMs, message, ids }) => [
        new Date(atMs).toISOString(),
        tenant,
        reason,
        message,
        ids.join(" "),
      ]),
    );
  return { title: "Examples", columns, rows };
}

/** Tenants whose table cannot be read; no table while there is none. */
function failingTables({ failing }: Ingester): StatusTable[] {
  if (failing.size === 0) return [];
  const rows = [...failing].map(([tenant, why]) => [tenant, why]);
  const title = "Tenants that are not served: their table cannot be read, and is tried again";
  return [{ title, columns: ["tenant", "why"], rows }];
}

/** Records that the page lists at the most. */
const asideShown = 50;

/** What could not become a block; no table while there is nothing. */
function quarantineTables({ quarantine }: Ingester): StatusTable[] {
  const records = quarantine.list();
  if (records.length === 0) return [];
  const { spans } = quarantine.totals();
  const rows = records
    .slice(0, asideShown)
    .map(({ tenant, name, sizeBytes, atMs, facts }) => [
      tenant,
      name,
      facts?.spans ?? "does not parse",
      sizeBytes,
      new Date(atMs).toISOString(),
    ]);
  const title =
    `Quarantine: ${records.length} records with ${spans} acknowledged spans are in no block; ` +
    `"spoor quarantine" lists them and puts them back`;
  return [{ title, columns: ["tenant", "record", "spans", "bytes", "set aside"], rows }];
}

/** Tenants, partitions and log as tables. */
export async function statusPage(sources: StatusSources): Promise<StatusPage> {
  const { store, ingester, spanLog, tableOf } = sources;
  const tenants: (string | number)[][] = [];
  for (const name of await store.listFolders("")) {
    if (name.startsWith("_") || name.startsWith(".")) continue;
    const files = [...tableOf(name).snapshot.files.values()];
    const spans = files.reduce((sum, { stats }) => sum + stats.rows, 0);
    const sizeBytes = files.reduce((sum, file) => sum + file.sizeBytes, 0);
    tenants.push([name, files.length, spans, sizeBytes]);
  }
  const partitions = (await ingester.states()).map((state) => [
    state.partition,
    state.nextOffset,
    state.durableEnd - state.nextOffset,
    state.headSpans,
    state.headBytes,
    state.closedHeads,
  ]);
  const { bytes, records, segments, pendingBytes } = spanLog.stats();
  const aside = quarantineTables(ingester);
  return {
    ...headOf(sources),
    tables: [
      { title: "Tenants", columns: ["tenant", "blocks", "spans", "bytes"], rows: tenants },
      {
        title: "Partitions",
        columns: ["partition", "next offset", "behind", "head spans", "head bytes", "closed heads"],
        rows: partitions,
      },
      {
        title: "Span log",
        columns: ["bytes", "records", "segments", "waiting bytes"],
        rows: [[bytes, records, segments, pendingBytes]],
      },
      ...aside,
      ...failingTables(ingester),
    ],
  };
}
