/**
 * Several writers over retrying stores that inject all kinds of cloud faults at random: each step
 * is in the table exactly once. A seed replays its faults.
 */
import { expect, test, inject } from "vitest";
import { hasCode, toSpoorError } from "#pkg/errors/errors.ts";
import { chaos, cloudErrors, faultStore } from "#pkg/objstore/fault.testing.ts";
import { StoreLedger } from "#pkg/objstore/ledger.ts";
import { MemoryStore } from "#pkg/objstore/memory.ts";
import type { ObjectStore } from "#pkg/objstore/object-store.ts";
import { retryStore } from "#pkg/objstore/wrap/retry.ts";
import type { Table } from "./delta-table.ts";
import type { Change } from "./table-model.ts";
import { addOf, pathOf, pathsOf, tableOf, testClock } from "./table.testing.ts";

const writers = 3;
const steps = 8;

function unreliable(below: ObjectStore, seed: number): ObjectStore {
  const faulty = faultStore(below, chaos(seed, 250), { error: cloudErrors(seed + 1) });
  const bounds = { attemptsMax: 3, backoffMinMs: 1, backoffMaxMs: 2000 };
  const budget = { budgetShare: 1, budgetBurst: 100 };
  const ledger = new StoreLedger();
  return retryStore(faulty, { ...bounds, ...budget, clock: testClock, ledger });
}

function stepOf(writer: number, step: number): Change {
  const expectedVersion = step === 0 ? undefined : step;
  const transaction = { appId: `log/4/${writer}`, expectedVersion, version: step + 1 };
  return { ...addOf(`w${writer}-${step}`), transaction };
}

/** Retries a commit, as writers do, until the table contains it. */
async function commitSurely(table: Table, change: Change): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    try {
      await table.commit(change);
      return;
    } catch (error) {
      if (hasCode(error, "Conflict") && error.reason === "already_committed") return;
      if (toSpoorError(error).code === "Conflict") throw error;
    }
  }
  throw new Error("it never went through");
}

const seeds = Array.from({ length: 6 * inject("depth") }, (_, i) => 1000 + i);

test.each(seeds)(
  "seed %i: every step once, in order, and a fresh reader sees them",
  async (seed) => {
    const below = new MemoryStore({ clock: testClock });
    const work = Array.from({ length: writers }, async (_, writer) => {
      const table = tableOf(unreliable(below, seed * 10 + writer));
      for (let step = 0; step < steps; step++) {
        await commitSurely(table, stepOf(writer, step));
        // Each checkpoint starts a thread, so only one writer makes them.
        if (writer === 0 && step % 4 === 3) {
          const policy = { commitsMin: 6, removedBeforeMs: 0 };
          await table.checkpoint(policy).catch(ignoreInjectedFault);
        }
      }
    });
    await Promise.all(work);
    const snapshot = await tableOf(below).refresh();
    const expected = Array.from({ length: writers * steps }, (_, i) =>
      pathOf(`w${i % writers}-${Math.floor(i / writers)}`),
    );
    expect(pathsOf(snapshot)).toEqual(expected.sort());
    for (let writer = 0; writer < writers; writer++) {
      expect(snapshot.transactions.get(`log/4/${writer}`)).toBe(steps);
    }
    expect(snapshot.version).toBe(writers * steps - 1);
  },
);

/** The store injects faults, so this call may fail. */
function ignoreInjectedFault(): void {}
