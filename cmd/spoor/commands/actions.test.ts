import { expect, test } from "vitest";
import { parseArgs } from "#cmd/spoor/flags.ts";
import { chooseAction } from "./actions.ts";

const actions = { ls: "list", rm: "remove" };
const tenant = { name: "--tenant", value: "NAME", help: "" };

function choose(...args: string[]): unknown {
  return chooseAction("block", parseArgs(args, [tenant]), actions);
}

test("the action, what stands behind it, and its tenant", () => {
  expect(choose("rm", "a", "b")).toEqual({ run: "remove", names: ["a", "b"], tenant: undefined });
  expect(choose("ls", "--tenant", "acme")).toEqual({ run: "list", names: [], tenant: "acme" });
});

test.each([
  [[], "block: the action is missing or unknown: spoor block ls|rm"],
  [["toString"], "block: the action is missing or unknown: spoor block ls|rm"],
  [["ls", "--tenant", "../a"], '"../a" is not a valid tenant name'],
])("%j is refused", (args, message) => {
  expect(() => choose(...args)).toThrow(message);
});
