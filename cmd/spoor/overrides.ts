/**
 * The overrides file with limits of single tenants. It is read at the start, when it changes and at
 * SIGHUP. If it is invalid at the start, the start fails. Later the last valid content stays in
 * force, and log, metric and status page report the error.
 */
import { createHash } from "node:crypto";
import { Counter, Gauge, type Registry } from "prom-client";
import type { Environment } from "#pkg/config/config.ts";
import { toSpoorError } from "#pkg/errors/errors.ts";
import type { TenantLimits } from "#pkg/limits/limits.ts";
import type { Log } from "#pkg/log/log.ts";
import { parseOverridesAside, readOverridesText } from "./overrides-file.ts";

export interface OverridesOptions {
  /** Path of the file; empty: no overrides. */
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
      help: "Reads of a changed overrides file, by result: ok or bad.",
      registers,
      labelNames: ["result"],
    });
    const isGood = (): boolean => this.#problem === undefined;
    // oxlint-disable-next-line no-new -- the registry keeps it
    new Gauge({
      name: "spoor_limits_overrides_good",
      help: "1 if the current content of the overrides file is in force; 0 if an older one is.",
      registers,
      collect() {
        this.set(isGood() ? 1 : 0);
      },
    });
  }

  /** The error of the file's current content; undefined if it is in force. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** Reads the file and starts to poll it. Throws ConfigError or Unavailable. */
  async start(): Promise<void> {
    const { path, pollMs } = this.#options;
    if (path === "") return;
    await this.#read();
    this.#timer = setInterval(() => void this.reload(), pollMs);
    this.#timer.unref();
  }

  /** Reads the file if it has changed. Never rejects: logs an invalid file. */
  reload(): Promise<void> {
    // Sequential, so that an older content cannot replace a newer one.
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
      // Logs each error once, not at every poll.
      if (message === this.#problem) return;
      this.#problem = message;
      this.#reloads.inc({ result: "bad" });
      log.error(
        { path, error: message },
        "the overrides file is invalid, the last valid limits stay in force",
      );
    }
  }

  /** Reads the file and applies changed content; returns whether it has changed. */
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
