/** The log's two small JSON files, each with its own CRC: `log.json` and `p<i>/trimmed.json`. */
import { crc32 } from "node:zlib";
import { SpoorError } from "#pkg/errors/errors.ts";
import { readRegularFile } from "#pkg/files/files.ts";
import { FORMAT_VERSION, LOG_ID_BYTES, refuseNewer } from "./format.ts";
import { errorText } from "./log-context.ts";
import { writeFileDurably, type LogFs } from "./log-fs.ts";
import { ingesterName } from "./span-log.ts";

export const LOG_STATE_NAME = "log.json";
export const TRIM_STATE_NAME = "trimmed.json";

export interface LogState {
  /** 32 hex digits. */
  logId: string;
  partitionCount: number;
  /** Fencing number of the process that opened the log last; 0 before format 2. */
  owner: number;
}

/** Position of a consumer other than the ingesters in a partition. */
export interface ConsumerPosition {
  /** The consumer has released the records below. */
  position: number;
  /** Whether the consumer has lost its claim on the records above. */
  isLost: boolean;
}

export interface TrimState {
  /** All consumers with a claim have released the records below. */
  trimmedTo: number;
  /** The ingesters have released the records below. */
  ingesterTo: number;
  /** The other consumers, by name. */
  others: ReadonlyMap<string, ConsumerPosition>;
  /** Tenant -> offset (exclusive) up to which its table had committed at the time of the trim. */
  committed: Map<string, number>;
}

/** Reads `log.json`; undefined if missing. Throws Corrupt if damaged, InvalidInput if newer. */
export function readLogState(dir: string): LogState | undefined {
  const body = readChecked(`${dir}/${LOG_STATE_NAME}`);
  if (body === undefined) return undefined;
  const { logId, partitionCount, owner = 0 } = body;
  const isId = typeof logId === "string" && /^[0-9a-f]+$/.test(logId);
  if (
    !isId ||
    logId.length !== LOG_ID_BYTES * 2 ||
    !isPartitionCount(partitionCount) ||
    !isOffset(owner)
  ) {
    throw new SpoorError("Corrupt", `read ${dir}/${LOG_STATE_NAME}: its fields are invalid`);
  }
  return { logId, partitionCount, owner };
}

export async function writeLogState(fs: LogFs, dir: string, state: LogState): Promise<void> {
  await writeFileDurably(fs, dir, LOG_STATE_NAME, encodeChecked({ ...state }));
}

/** Reads `trimmed.json`; undefined if missing. Throws Corrupt if damaged, InvalidInput if newer. */
export function readTrimState(folder: string): TrimState | undefined {
  const path = `${folder}/${TRIM_STATE_NAME}`;
  const body = readChecked(path);
  if (body === undefined) return undefined;
  const { trimmedTo, committed } = body;
  if (!isOffset(trimmedTo) || typeof committed !== "object" || committed === null) {
    throw new SpoorError("Corrupt", `read ${path}: its fields are invalid`);
  }
  const entries = Object.entries(committed as Record<string, unknown>);
  const map = new Map<string, number>();
  for (const [tenant, offset] of entries) {
    if (!isOffset(offset)) {
      throw new SpoorError("Corrupt", `read ${path}: committed offset of ${tenant} is invalid`);
    }
    map.set(tenant, offset);
  }
  return { trimmedTo, committed: map, ...readPositions(body.consumers, trimmedTo, path) };
}

/** Returns a state in which the ingesters are the only consumer. */
export function trimStateAt(trimmedTo: number, committed: Map<string, number>): TrimState {
  return { trimmedTo, ingesterTo: trimmedTo, others: new Map(), committed };
}

/** Reads the positions; without `consumers` in the file, the ingesters are at `trimmedTo`. */
function readPositions(
  consumers: unknown,
  trimmedTo: number,
  path: string,
): Pick<TrimState, "ingesterTo" | "others"> {
  const others = new Map<string, ConsumerPosition>();
  if (consumers === undefined) return { ingesterTo: trimmedTo, others };
  let ingesterTo = trimmedTo;
  for (const [name, value] of Object.entries(consumers as Record<string, unknown>)) {
    const { position, lost = false } = (value ?? {}) as Record<string, unknown>;
    if (!isOffset(position) || typeof lost !== "boolean") {
      throw new SpoorError("Corrupt", `read ${path}: position of ${name} is invalid`);
    }
    if (name === ingesterName) ingesterTo = Math.max(position, trimmedTo);
    else others.set(name, { position, isLost: lost });
  }
  return { ingesterTo, others };
}

export async function writeTrimState(fs: LogFs, folder: string, state: TrimState): Promise<void> {
  const { trimmedTo, ingesterTo, others } = state;
  const body: Record<string, unknown> = {
    trimmedTo,
    committed: Object.fromEntries(state.committed),
  };
  if (others.size > 0 || ingesterTo !== trimmedTo) {
    const entries = [...others].map(([name, { position, isLost }]) => [
      name,
      isLost ? { position, lost: true } : { position },
    ]);
    body.consumers = { [ingesterName]: { position: ingesterTo }, ...Object.fromEntries(entries) };
  }
  await writeFileDurably(fs, folder, TRIM_STATE_NAME, encodeChecked(body));
}

/** Returns whether `value` is a power of two from 1 to 1,024. */
export function isPartitionCount(value: unknown): value is number {
  return isOffset(value) && value >= 1 && value <= 1024 && (value & (value - 1)) === 0;
}

export function isOffset(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** Encodes one line of JSON and its checksum. */
export function encodeChecked(body: Record<string, unknown>): Buffer {
  const text = JSON.stringify({ format: FORMAT_VERSION, ...body });
  return Buffer.from(`${text}\n${crc32(text).toString(16).padStart(8, "0")}\n`);
}

/** Reads a file that `encodeChecked` made; undefined if missing. Throws like `readLogState`. */
export function readChecked(path: string): Record<string, unknown> | undefined {
  let bytes: Buffer;
  try {
    bytes = readRegularFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    if (error instanceof SpoorError) throw error;
    throw new SpoorError("Unavailable", `read ${path}: ${errorText(error)}`, { cause: error });
  }
  // The CRC is of the bytes: decoded text could hide a flipped bit in a replacement character.
  const split = bytes.indexOf(0x0a);
  const crc = split < 0 ? "" : bytes.toString("latin1", split + 1);
  const text = bytes.subarray(0, Math.max(split, 0));
  if (crc !== `${crc32(text).toString(16).padStart(8, "0")}\n`) {
    throw new SpoorError("Corrupt", `read ${path}: checksum does not match`);
  }
  const body = parseObject(text.toString(), path);
  refuseNewer(Number(body.format), path);
  return body;
}

function parseObject(text: string, path: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null) return value as Record<string, unknown>;
  } catch (error) {
    throw new SpoorError("Corrupt", `read ${path}: not JSON`, { cause: error });
  }
  throw new SpoorError("Corrupt", `read ${path}: not an object`);
}
