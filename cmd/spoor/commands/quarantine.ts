/** `spoor quarantine ls|show|retry|rm`: acknowledged spans that could not become blocks. */
import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import {
  type AsideRecord,
  quarantineFolder,
  readAside,
  removeDurably,
} from "#modules/ingester/ingester.ts";
import { SpoorError } from "#pkg/errors/errors.ts";
import { decodeTraceData, formatTraceJson } from "#pkg/otlp/otlp.ts";
import { type CommandHelp, parseArgs, type ParsedArgs, usageError } from "#cmd/spoor/flags.ts";
import type { CommandIo } from "#cmd/spoor/io.ts";
import { loadConfig } from "#cmd/spoor/serve-args.ts";
import { chooseAction, folderFlags } from "./actions.ts";
import { nanoText, sizeText } from "./block-list.ts";
import { openPutBack } from "./quarantine-retry.ts";

export const quarantineHelp: CommandHelp = {
  usage: "spoor quarantine ls|show|retry|rm [RECORD...] [flags]",
  about:
    "ls     lists log records that could not become a block: no query finds their spans\n" +
    "show   prints the spans of records as OTLP/JSON, one line per record\n" +
    "retry  appends the given records, or all, to the log again, each once; the next\n" +
    "       start of Spoor makes blocks of them; Spoor must not be running\n" +
    "rm     removes records: their spans are lost\n\n" +
    "RECORD is TENANT/NAME.otlp, as ls prints it.",
  flags: [
    ...folderFlags,
    { name: "--tenant", value: "NAME", help: "only the records of this tenant (ls, retry)" },
    { name: "--json", help: "print one JSON object per line (ls)" },
  ],
  notes: "Exit code 1: a record could not be read or appended to the log.",
};

interface Chosen {
  parsed: ParsedArgs;
  records: readonly AsideRecord[];
  isAll: boolean;
}

/**
 * Runs the command; resolves to the exit code. Throws a usage error, NotFound for an unknown
 * record, or Unavailable.
 */
export async function quarantineCommand(args: string[], io: CommandIo): Promise<number> {
  const parsed = parseArgs(args, quarantineHelp.flags);
  const actions = { ls, show, retry, rm };
  const { run, names, tenant } = chooseAction("quarantine", parsed, actions);
  const { config } = loadConfig(parsed, io.env, io.readFile);
  const dir = quarantineFolder(resolve(config.server.dataDir));
  const all = (await readAside(dir)).filter((one) => tenant === undefined || one.tenant === tenant);
  const records = names.map((name) => {
    const found = all.find((one) => nameOf(one) === name || one.path === resolve(name));
    if (found !== undefined) return found;
    throw new SpoorError("NotFound", `there is no record ${name} in ${dir}`);
  });
  const isAll = names.length === 0;
  return await run({ parsed, records: isAll ? all : records, isAll }, io);
}

function nameOf({ tenant, name }: AsideRecord): string {
  return `${tenant}/${name}`;
}

async function ls({ parsed, records }: Chosen, io: CommandIo): Promise<number> {
  for (const record of records) {
    const { sizeBytes, atMs, facts } = record;
    const setAside = new Date(atMs).toISOString();
    const minStart = facts && nanoText(facts.minStartNano);
    const maxEnd = facts && nanoText(facts.maxEndNano);
    if (parsed.flags.has("--json")) {
      const shown = { record: nameOf(record), sizeBytes, setAside, spans: facts?.spans };
      await io.out(`${JSON.stringify({ ...shown, minStart, maxEnd })}\n`);
      continue;
    }
    const what =
      facts === undefined ? "does not parse" : `${facts.spans} spans  ${minStart} to ${maxEnd}`;
    await io.out(`${nameOf(record)}  ${sizeText(sizeBytes)}  set aside ${setAside}  ${what}\n`);
  }
  if (!parsed.flags.has("--json")) {
    const spans = records.reduce((sum, { facts }) => sum + (facts?.spans ?? 0), 0);
    await io.out(`${records.length} records, ${spans} spans in quarantine\n`);
  }
  return 0;
}

async function show({ records, isAll }: Chosen, io: CommandIo): Promise<number> {
  if (isAll) {
    throw usageError("quarantine show: the record is missing: spoor quarantine show RECORD");
  }
  for (const { path } of records) {
    const data = decodeTraceData(await readFile(path));
    await io.out(`${formatTraceJson(data, { dialect: "otlp", key: "resourceSpans" })}\n`);
  }
  return 0;
}

async function rm({ records, isAll }: Chosen, io: CommandIo): Promise<number> {
  if (isAll) throw usageError("quarantine rm: the record is missing: spoor quarantine rm RECORD");
  for (const record of records) {
    await removeDurably(record.path);
    await io.out(`removed ${nameOf(record)}\n`);
  }
  return 0;
}

async function retry({ parsed, records }: Chosen, io: CommandIo): Promise<number> {
  if (records.length === 0) {
    await io.out("there are no records in quarantine\n");
    return 0;
  }
  const { config } = loadConfig(parsed, io.env, io.readFile);
  await using log = await openPutBack(config, join(resolve(config.server.dataDir), "log"));
  let failed = 0;
  for (const record of records) {
    try {
      await log.putBack(record);
      await io.out(`put back ${nameOf(record)}: ${record.facts?.spans ?? 0} spans\n`);
    } catch (error) {
      if (!(error instanceof SpoorError)) throw error;
      failed++;
      io.err(`spoor: ${error.message}\n`);
    }
  }
  await io.out("start spoor serve: it makes blocks of the records that were put back\n");
  return failed === 0 ? 0 : 1;
}
