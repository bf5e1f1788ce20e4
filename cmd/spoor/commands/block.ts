/** `spoor block ls|inspect|find|verify`: examines blocks in the bucket or in plain files. */
import { BlockVerifier } from "#pkg/block/verify/verify.ts";
import { hasCode, SpoorError } from "#pkg/errors/errors.ts";
import {
  type CommandHelp,
  flagText,
  parseArgs,
  type ParsedArgs,
  usageError,
} from "#cmd/spoor/flags.ts";
import type { CommandIo } from "#cmd/spoor/io.ts";
import { chooseAction, folderFlags } from "./actions.ts";
import { findBlocks } from "./block-find.ts";
import { describeBlock, describedLines } from "./block-inspect.ts";
import { blockLine, listedBlock, listHeader } from "./block-list.ts";
import { type BlockCatalog, openCatalog, type BlockSource } from "./block-places.ts";
import { escapeControls } from "./escape.ts";
import { parseTraceIdText } from "./trace-id.ts";

export const blockHelp: CommandHelp = {
  usage: "spoor block ls|inspect|find|verify [BLOCK...|TRACE] [flags]",
  about:
    "ls       lists the blocks of the tenants' tables\n" +
    "inspect  shows the parts of a block: row groups, columns, index section, tags\n" +
    "find     lists the blocks that hold a trace, with the number of its spans\n" +
    "verify   checks every byte, row and index of the given blocks, or of all blocks\n\n" +
    "BLOCK is a file, or a key in the bucket: TENANT/blocks/2026/11/22/ULID.parquet.",
  flags: [
    ...folderFlags,
    { name: "--tenant", value: "NAME", help: "only the blocks of this tenant (ls, find, verify)" },
    { name: "--json", help: "print one JSON object per line" },
  ],
  notes: "Exit code 1: a block is damaged or unreadable, or (find) no block holds the trace.",
};

type Action = (parsed: ParsedArgs, blocks: readonly string[], io: CommandIo) => Promise<number>;

/** Runs the command; resolves to the exit code. Throws a usage error, NotFound, Unavailable. */
export async function blockCommand(args: string[], io: CommandIo): Promise<number> {
  const parsed = parseArgs(args, blockHelp.flags);
  const actions = { ls, inspect, find, verify };
  const { run, names } = chooseAction<Action>("block", parsed, actions);
  return await run(parsed, names, io);
}

async function ls(parsed: ParsedArgs, blocks: readonly string[], io: CommandIo): Promise<number> {
  if (blocks.length > 0) throw usageError(`unexpected argument ${JSON.stringify(blocks[0])}`);
  const catalog = openCatalog(parsed, io);
  const isJson = parsed.flags.has("--json");
  let failed = false;
  for (const tenant of await catalog.tenants(flagText(parsed, "--tenant"))) {
    const files = [...(await catalog.files(tenant)).values()];
    files.sort((a, b) => (a.path < b.path ? -1 : 1));
    if (!isJson) await io.out(listHeader(tenant, files));
    for (const file of files) {
      const listed = listedBlock(tenant, file);
      failed ||= listed.error !== undefined;
      await io.out(isJson ? `${JSON.stringify(listed)}\n` : blockLine(listed));
    }
  }
  return failed ? 1 : 0;
}

async function inspect(
  parsed: ParsedArgs,
  blocks: readonly string[],
  io: CommandIo,
): Promise<number> {
  const [name, extra] = blocks;
  if (name === undefined)
    throw usageError("block inspect: the block is missing: spoor block inspect BLOCK");
  if (extra !== undefined) throw usageError(`unexpected argument ${JSON.stringify(extra)}`);
  const block = await openCatalog(parsed, io).block(name);
  const described = await describeBlock(block.store, block.key);
  if (parsed.flags.has("--json")) await io.out(`${JSON.stringify(described)}\n`);
  else await io.out(`${describedLines(described).map(escapeControls).join("\n")}\n`);
  return 0;
}

async function find(parsed: ParsedArgs, ids: readonly string[], io: CommandIo): Promise<number> {
  const [id, extra] = ids;
  if (id === undefined)
    throw usageError("block find: the trace id is missing: spoor block find TRACE");
  if (extra !== undefined) throw usageError(`unexpected argument ${JSON.stringify(extra)}`);
  const catalog = openCatalog(parsed, io);
  const tenants = await catalog.tenants(flagText(parsed, "--tenant"));
  const traceId = parseTraceIdText(id);
  let failed = false;
  let found = 0;
  const onError = (block: string, { message }: SpoorError): void => {
    failed = true;
    io.err(`spoor: ${escapeControls(block)}: ${escapeControls(message)}\n`);
  };
  for await (const one of findBlocks(catalog, { tenants, traceId, onError })) {
    found++;
    const isJson = parsed.flags.has("--json");
    const spans = `${one.spans} span${one.spans === 1 ? "" : "s"}`;
    await io.out(isJson ? `${JSON.stringify(one)}\n` : `${escapeControls(one.block)}  ${spans}\n`);
  }
  if (found === 0) io.err("no block holds the trace (recent spans are not in a block yet)\n");
  return failed || found === 0 ? 1 : 0;
}

async function verify(
  parsed: ParsedArgs,
  blocks: readonly string[],
  io: CommandIo,
): Promise<number> {
  const tenant = flagText(parsed, "--tenant");
  if (blocks.length > 0 && tenant !== undefined) {
    throw usageError("block verify: give either blocks or --tenant, not both");
  }
  const catalog = openCatalog(parsed, io);
  const isJson = parsed.flags.has("--json");
  const verifier = new BlockVerifier();
  const total = blocks.length > 0 ? blocks.length : await catalog.count(tenant);
  let count = 0;
  let damaged = 0;
  try {
    for await (const block of targets(catalog, blocks, tenant)) {
      const findings = await checked(verifier, block);
      count++;
      // A progress line; the next one overwrites it.
      if (io.isTerminal) io.err(`\r${count} of ${total} blocks checked`);
      if (findings.length > 0) damaged++;
      const ok = findings.length === 0;
      if (isJson) await io.out(`${JSON.stringify({ block: block.name, ok, findings })}\n`);
      else await io.out(verifiedText(block.name, findings));
    }
  } finally {
    await verifier.close();
    if (io.isTerminal && count > 0) io.err("\n");
  }
  if (!isJson) await io.out(`${count} blocks checked, ${damaged} damaged\n`);
  return damaged === 0 ? 0 : 1;
}

async function* targets(
  catalog: BlockCatalog,
  blocks: readonly string[],
  tenant: string | undefined,
): AsyncIterable<BlockSource> {
  if (blocks.length > 0) {
    for (const name of blocks) yield await catalog.block(name);
    return;
  }
  for (const one of await catalog.tenants(tenant)) {
    for (const path of (await catalog.files(one)).keys()) {
      yield await catalog.block(`${one}/${path}`);
    }
  }
}

interface Shown {
  cause: string;
  place: string;
  message: string;
}

/** Verifies a block and returns its findings. An unreadable block is a finding. */
async function checked(verifier: BlockVerifier, block: BlockSource): Promise<Shown[]> {
  try {
    return await verifier.verify(block);
  } catch (error) {
    if (!(error instanceof SpoorError)) throw error;
    const cause = hasCode(error, "NotFound") ? "missing" : "unreadable";
    return [{ cause, place: "file", message: error.message }];
  }
}

function verifiedText(name: string, findings: readonly Shown[]): string {
  const lines = findings.map(
    ({ cause, place, message }) => `  ${cause}: ${escapeControls(`${place}: ${message}`)}\n`,
  );
  return `${findings.length === 0 ? "ok     " : "damaged"}  ${name}\n${lines.join("")}`;
}
