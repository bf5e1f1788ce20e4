/** The intrinsics with their spellings and types. */
import type { IntrinsicName } from "./ast.ts";

/** Static type of a value; `number` is the result of arithmetic on attributes. */
export type ValueType =
  | "int"
  | "float"
  | "duration"
  | "number"
  | "string"
  | "bool"
  | "status"
  | "kind"
  | "nil"
  | "any";

export interface Intrinsic {
  type: ValueType;
  /** The spelling without a scope, if there is one; it is then the canonical spelling. */
  legacy: string | undefined;
  /** Whether the scoped name of the node is also a spelling. */
  isScoped: boolean;
}

function scoped(type: ValueType, legacy?: string): Intrinsic {
  return { type, legacy, isScoped: true };
}

/** Intrinsics by the name of their node. */
export const intrinsics: Readonly<Record<IntrinsicName, Intrinsic>> = {
  "span:duration": scoped("duration", "duration"),
  "span:name": scoped("string", "name"),
  "span:status": scoped("status", "status"),
  "span:statusMessage": scoped("string", "statusMessage"),
  "span:kind": scoped("kind", "kind"),
  "span:id": scoped("string"),
  "span:parentID": scoped("string"),
  "span:childCount": scoped("int"),
  "trace:id": scoped("string"),
  "trace:duration": scoped("duration", "traceDuration"),
  "trace:rootName": scoped("string", "rootName"),
  "trace:rootService": scoped("string", "rootServiceName"),
  "event:name": scoped("string"),
  "event:timeSinceStart": scoped("duration"),
  "link:traceID": scoped("string"),
  "link:spanID": scoped("string"),
  "instrumentation:name": scoped("any"),
  "instrumentation:version": scoped("any"),
  nestedSetLeft: { type: "int", legacy: "nestedSetLeft", isScoped: false },
  nestedSetRight: { type: "int", legacy: "nestedSetRight", isScoped: false },
  nestedSetParent: { type: "int", legacy: "nestedSetParent", isScoped: false },
};

/** Returns the intrinsic with this spelling (`span:name` or `name`); undefined if there is none. */
export function intrinsicOf(word: string): IntrinsicName | undefined {
  for (const [name, { legacy, isScoped }] of Object.entries(intrinsics)) {
    if (word === legacy || (isScoped && word === name)) return name as IntrinsicName;
  }
  return undefined;
}
