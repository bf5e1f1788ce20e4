import { expect, it } from "vitest";
import { SplitPool } from "./split-pool.ts";

const large = 1024 * 1024 + 1;

it("refuses large bodies beyond its queue, and takes them again when it has room", async () => {
  const pool = new SplitPool({ threads: 1, partitionCount: 4, retryAfterMs: 77 });
  try {
    const jobs = Array.from({ length: 80 }, () => pool.split("acme", new Uint8Array(large)));
    const codes = (await Promise.allSettled(jobs)).map((one) =>
      one.status === "rejected" ? (one.reason as { reason: string }).reason : "split",
    );
    const refused = codes.filter((reason) => reason === "split_queue_full");
    expect(refused.length).toBeGreaterThanOrEqual(10);
    expect(refused.length).toBeLessThan(80);
    // All the others were looked at: zero bytes are no protobuf.
    expect(new Set(codes)).toEqual(new Set(["split_queue_full", "invalid_protobuf"]));
    await expect(pool.split("acme", new Uint8Array(large))).rejects.toMatchObject({
      code: "InvalidInput",
      reason: "invalid_protobuf",
    });
    expect(pool.threads).toBe(1);
  } finally {
    await pool.close();
  }
});
