import { describe, expect, it } from "vitest";
import { resolveTenant, singleTenant } from "./tenant-name.ts";

describe("resolveTenant", () => {
  it("ignores the header while multi-tenancy is off", () => {
    expect(resolveTenant(["a", "../b"], false)).toBe(singleTenant);
  });

  it("accepts one name, also if it is sent twice", () => {
    expect(resolveTenant(["team-a"], true)).toBe("team-a");
    expect(resolveTenant(["team-a", "team-a"], true)).toBe("team-a");
  });

  it.each([[[]], [[""]]])("requires a name: %j", (values) => {
    expect(() => resolveTenant(values, true)).toThrow("no org id");
  });

  it.each(["..", ".", "_spoor", ".tmp", "a/b", "a\\b", "a\0", "a b", "ä", "x".repeat(151), "a|b"])(
    "refuses %j",
    (name) => {
      expect(() => resolveTenant([name], true)).toThrow("is not allowed");
    },
  );

  it("refuses differing names", () => {
    expect(() => resolveTenant(["a", "b"], true)).toThrow("differing");
  });
});
