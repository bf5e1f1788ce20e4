/**
 * The file with limits of single tenants: read at the start, when it changes and at SIGHUP. A bad
 * file at the start ends the start; later the last good one stays, and log, metric and status page
 * say so.
 */
import { createHash } from "node:crypto";
import { Counter, Gauge, type Registry } from "prom-client";
import type { Environment } from "#pkg/config/interpolate.ts";
import { toSpoorError } from "#pkg/errors/errors.ts";
import type { TenantLimits } from "#pkg/limits/limits.ts";
import type { Log } from "#pkg/log/log.ts";
import { parseOverridesAside, readOverridesText } from "./overrides-file.ts";

export interface OverridesOptions {
  /** Empty: there are no overrides. */
  path: string;
  pollMs: number;
  env: Environment;
  limits: TenantLimits;
  log: Log;
  registry: Registry;
}

export class Overrides {
  readonly #options: OverridesOptions;
  readonly #reloads: Counter<"result">;
  #digest = "";
  #problem: string | undefined;
  #timer: NodeJS.Timeout | undefined;
  #reading: Promise<void> = Promise.resolve();

  constructor(options: OverridesOptions) {
    this.#options = options;
    const registers = [options.registry];
    this.#reloads = new Counter({
      name: "spoor_limits_reloads_total",
      help: "Times that a changed file of overrides was read, by result: ok or bad.",
      registers,
      labelNames: ["result"],
    });
    const isGood = (): boolean => this.#problem === undefined;
    // oxlint-disable-next-line no-new -- the registry keeps it
    new Gauge({
      name: "spoor_limits_overrides_good",
      help: "1 if the file of overrides, as it is now, is in force; 0 if an older one is.",
      registers,
      collect() {
        this.set(isGood() ? 1 : 0);
      },
    });
  }

  /** Why the file as it is now is not in force; undefined if it is. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** Reads the file and looks at it from then on. Throws ConfigError or Unavailable. */
  async start(): Promise<void> {
    const { path, pollMs } = this.#options;
    if (path === "") return;
    await this.#read();
    this.#timer = setInterval(() => void this.reload(), pollMs);
    this.#timer.unref();
  }

  /** Reads the file if it has changed. Never rejects: a bad file is reported. */
  reload(): Promise<void> {
    // One after the other: an older content must not come last.
    this.#reading = this.#reading.then(() => this.#reload());
    return this.#reading;
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async #reload(): Promise<void> {
    const { path, log } = this.#options;
    if (path === "") return;
    try {
      const isNew = await this.#read();
      if (isNew || this.#problem !== undefined)
        log.info({ path }, "limits of tenants are in force");
      this.#problem = undefined;
    } catch (cause) {
      const { message } = toSpoorError(cause);
      // The same file is not reported every few seconds.
      if (message === this.#problem) return;
      this.#problem = message;
      this.#reloads.inc({ result: "bad" });
      log.error({ path, error: message }, "limits of tenants are bad, the last good ones stay");
    }
  }

  /** Whether the content is another one than that in force. */
  async #read(): Promise<boolean> {
    const { path, env, limits } = this.#options;
    const text = await readOverridesText(path);
    const digest = createHash("sha256").update(text).digest("hex");
    if (digest === this.#digest) return false;
    limits.setOverrides(await parseOverridesAside({ text, name: path, env }));
    this.#digest = digest;
    this.#reloads.inc({ result: "ok" });
    return true;
  }
}
