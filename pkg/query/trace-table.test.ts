import fc from "fast-check";
import { expect, it } from "vitest";
import { TraceTable } from "./trace-table.ts";

it("numbers ids in order of insertion, each once", () => {
  const ids = fc.array(fc.integer({ min: 0, max: 300 }), { maxLength: 1000 });
  // Ids that differ in only one byte, at any position.
  const byte = fc.integer({ min: 0, max: 15 });
  fc.assert(
    fc.property(ids, byte, (numbers, at) => {
      const table = new TraceTable();
      const expected = new Map<string, number>();
      for (const number of numbers) {
        const bytes = Buffer.alloc(20, number >> 8);
        bytes[2 + at] = number;
        const id = bytes.toString("hex", 2, 18);
        if (!expected.has(id)) expected.set(id, expected.size);
        const place = table.place(bytes, 2);
        expect(place).toBe(expected.get(id));
        expect(table.hex(place)).toBe(id);
      }
      expect(table.count).toBe(expected.size);
    }),
    { numRuns: 200 },
  );
});
