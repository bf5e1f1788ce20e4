/**
 * `npm run bench:peer`: the benchmarks' data set, at full speed, into any OTLP backend on this
 * machine, so that anybody can put Spoor beside what they run today. README.md says how.
 *
 *     npm run bench:peer -- --endpoint http://127.0.0.1:4318 --pid 1234 [--dir FOLDER] [--spans N]
 *
 * It prints what that process used from the first byte until it rests: CPU seconds per million
 * spans, acknowledged spans per second, peak memory, and how much the folder grew.
 */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { folderBytes } from "#integration/soak/watch.ts";
import { generateDataset } from "./dataset.ts";
import { sendGrpc, sendHttp } from "./load.ts";
import { cpuSecondsOf, machine } from "./measure.ts";

const { values: flags } = parseArgs({
  options: {
    endpoint: { type: "string" },
    protocol: { type: "string", default: "http" },
    pid: { type: "string" },
    dir: { type: "string" },
    spans: { type: "string", default: "1000000" },
    lanes: { type: "string", default: "8" },
    tenant: { type: "string" },
    seed: { type: "string", default: "1" },
    "rest-seconds": { type: "string", default: "10" },
    "wait-seconds": { type: "string", default: "900" },
  },
});

const usage =
  "usage: npm run bench:peer -- --endpoint URL --pid PID [--protocol http|grpc] [--dir FOLDER] " +
  "[--spans N] [--lanes N] [--tenant NAME] [--rest-seconds N] [--wait-seconds N]\n";

/** A process rests when it uses less than this share of a core, for a while. */
const restShare = 0.02;
const sampleMs = 1000;
/** Made and sent at a time: the whole data set need not be in memory. */
const chunkSpans = 100_000;

interface Peer {
  endpoint: string;
  pid: number;
  isGrpc: boolean;
  lanes: number;
  headers: Record<string, string>;
}

function fail(message: string): never {
  process.stderr.write(`${message}\n${usage}`);
  process.exit(2);
}

function numberOf(name: keyof typeof flags): number {
  const value = Number(flags[name]);
  return Number.isFinite(value) && value > 0 ? value : fail(`--${name} must be a number above 0`);
}

function peerOf(): Peer {
  const { endpoint, protocol, tenant } = flags;
  if (endpoint === undefined || flags.pid === undefined)
    return fail("--endpoint and --pid are needed");
  const url = URL.parse(endpoint);
  const isHere = url !== null && /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(url.hostname);
  if (!isHere)
    return fail(
      `--endpoint ${endpoint} is not a URL of this machine, such as http://127.0.0.1:4318`,
    );
  if (protocol !== "http" && protocol !== "grpc") return fail("--protocol is http or grpc");
  const pid = numberOf("pid");
  if (cpuSecondsOf(pid) === undefined) return fail(`there is no process ${pid} (Linux only)`);
  const headers: Record<string, string> = tenant === undefined ? {} : { "x-scope-orgid": tenant };
  return {
    endpoint: url.origin,
    pid,
    isGrpc: protocol === "grpc",
    lanes: numberOf("lanes"),
    headers,
  };
}

interface Sent {
  spans: number;
  bytes: number;
  /** Of sending alone: what is made in between does not count. */
  seconds: number;
}

/** Sends the data set by pieces. Rejects at the first request that is not acknowledged. */
async function sendAll(peer: Peer, spansWanted: number): Promise<Sent> {
  const startNano = (BigInt(Date.now()) - 600_000n) * 1_000_000n;
  const sent: Sent = { spans: 0, bytes: 0, seconds: 0 };
  for (let piece = 0; sent.spans < spansWanted; piece++) {
    const set = generateDataset({
      spans: Math.min(chunkSpans, spansWanted - sent.spans),
      seed: numberOf("seed") + piece,
      startNano,
      spreadNano: 600_000_000_000n,
    });
    const send = peer.isGrpc ? sendGrpc : sendHttp;
    const { seconds } = await send(peer.endpoint, set.requests, peer.lanes, peer.headers).catch(
      (cause: Error) => {
        const hint = "try fewer --lanes, or raise its limits";
        throw new Error(`a request was not acknowledged: ${cause.message}; ${hint}`, { cause });
      },
    );
    sent.spans += set.spans;
    sent.bytes += set.sizeBytes;
    sent.seconds += seconds;
  }
  return sent;
}

/** Waits until the process rests, and returns the CPU seconds that it had used before it did. */
async function untilRest(pid: number): Promise<number> {
  const restSeconds = numberOf("rest-seconds");
  const endMs = performance.now() + numberOf("wait-seconds") * 1000;
  let before = cpuOf(pid);
  let atRest = before;
  for (let quiet = 0; quiet < restSeconds;) {
    await new Promise((resolve) => setTimeout(resolve, sampleMs));
    const now = cpuOf(pid);
    if (now - before < (restShare * sampleMs) / 1000) quiet += sampleMs / 1000;
    else {
      quiet = 0;
      atRest = now;
    }
    before = now;
    if (performance.now() > endMs) {
      process.stderr.write(
        "it did not come to rest in time (--wait-seconds): the CPU is a lower bound\n",
      );
      return now;
    }
  }
  return atRest;
}

function cpuOf(pid: number): number {
  const seconds = cpuSecondsOf(pid);
  if (seconds === undefined) throw new Error(`process ${pid} has ended`);
  return seconds;
}

/** The most memory that a process ever had, bytes. */
function peakMemoryOf(pid: number): number {
  const match = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Number(match?.[1] ?? Number.NaN) * 1024;
}

const peer: Peer = peerOf();
const spansWanted: number = numberOf("spans");
const bytesBefore: number = flags.dir === undefined ? 0 : await folderBytes(flags.dir);
const cpuBefore: number = cpuOf(peer.pid);
const sent: Sent = await sendAll(peer, spansWanted);
const cpuSeconds: number = (await untilRest(peer.pid)) - cpuBefore;
const rows: [name: string, value: string][] = [
  ["machine", machine()],
  ["spans", `${sent.spans} (${(sent.bytes / sent.spans).toFixed(0)} bytes each as protobuf)`],
  ["acknowledged spans / s", (sent.spans / sent.seconds).toFixed(0)],
  ["CPU s / M spans", ((cpuSeconds / sent.spans) * 1e6).toFixed(2)],
  ["peak memory, MiB", (peakMemoryOf(peer.pid) / 2 ** 20).toFixed(0)],
];
if (flags.dir !== undefined) {
  const grown = (await folderBytes(flags.dir)) - bytesBefore;
  rows.push(["bytes in the folder / span", (grown / sent.spans).toFixed(1)]);
}
for (const [name, value] of rows) process.stdout.write(`${name.padEnd(28)}${value}\n`);
