/** `spoor sql`: prints SQL for reading a tenant's table with DuckDB. */
import { resolve } from "node:path";
import { duckdbStatements } from "#pkg/block/block.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import type { StoreConfig } from "#pkg/objstore/objstore.ts";
import { isTenantName, singleTenant } from "#pkg/tenant/tenant.ts";
import { type CommandHelp, flagText, parseArgs, usageError } from "#cmd/spoor/flags.ts";
import type { CommandIo } from "#cmd/spoor/io.ts";
import { configFlags, loadConfig } from "#cmd/spoor/serve-args.ts";
import { storeConfigOf } from "#cmd/spoor/storage.ts";
import { openCatalog } from "./block-places.ts";

const ownConfigFlags = ["--config", "--data-dir"];

export const sqlHelp: CommandHelp = {
  usage: "spoor sql [flags]",
  about:
    "Prints statements for DuckDB: a view `spans` of the table's current files, and the macros\n" +
    "span_attribute(spans, key), resource_attribute and scope_attribute, which return an\n" +
    "attribute as text from its column or, if it is rare, from the rest lists.",
  flags: [
    ...configFlags.filter(({ name }) => ownConfigFlags.includes(name)),
    { name: "--tenant", value: "NAME", help: `tenant of the table (default ${singleTenant})` },
  ],
  notes:
    'spoor sql > spans.sql, then: duckdb -init spans.sql -c "select count(*) from spans where\n' +
    "span_attribute(spans, 'http.method') = 'GET'\". Run it again to include newer blocks.",
};

/** Runs the command; resolves to the exit code. Throws a usage error, NotFound, or table errors. */
export async function sqlCommand(args: string[], io: CommandIo): Promise<number> {
  const parsed = parseArgs(args, sqlHelp.flags);
  const [extra] = parsed.positionals;
  if (extra !== undefined) throw usageError(`unexpected argument ${JSON.stringify(extra)}`);
  const tenant = flagText(parsed, "--tenant") ?? singleTenant;
  if (!isTenantName(tenant)) {
    throw usageError(`${JSON.stringify(tenant)} is not a valid tenant name`);
  }
  const catalog = openCatalog(parsed, io);
  await catalog.tenants(tenant);
  const { files, columns, version } = await catalog.table(tenant);
  if (version < 0) throw new SpoorError("NotFound", `tenant ${tenant} has no table`);
  const { config } = loadConfig(parsed, io.env, io.readFile);
  const root = rootOf(storeConfigOf(config.storage, config.server.dataDir));
  const paths = [...files.keys()].sort().map((path) => `${root}${tenant}/${path}`);
  await io.out(
    `-- ${paths.length} files of tenant ${tenant} at version ${version} of its table.\n` +
      "-- Alternative through Delta Lake, always up to date: INSTALL delta; LOAD delta;\n" +
      `-- CREATE OR REPLACE VIEW spans AS SELECT * FROM delta_scan('${root}${tenant}');\n`,
  );
  await io.out(duckdbStatements({ files: paths, columns: [...columns.keys()] }));
  return 0;
}

/** Returns the path or URL of the bucket's objects for DuckDB. */
function rootOf(store: StoreConfig): string {
  const { prefix = "" } = store;
  if (store.kind === "fs") return `${resolve(store.root)}/${prefix}`;
  const [scheme, bucket] = store.kind === "s3" ? ["s3", store.s3.bucket] : ["gs", store.gcs.bucket];
  return `${scheme}://${bucket}/${prefix}`;
}
