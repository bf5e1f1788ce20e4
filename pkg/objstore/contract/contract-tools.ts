/** Helpers of the contract tests. */
import { expect } from "vitest";
import { hasCode } from "#pkg/errors/errors.ts";
import type { ListOptions, ObjectInfo, ObjectStore } from "#pkg/objstore/object-store.ts";

/** Creates an empty store; called once per test. */
export type MakeStore = () => Promise<ObjectStore>;

export async function listOf(store: ObjectStore, prefix: string): Promise<ObjectInfo[]> {
  return await Array.fromAsync(store.list(prefix));
}

export async function keysOf(
  store: ObjectStore,
  prefix: string,
  options?: ListOptions,
): Promise<string[]> {
  const infos = await Array.fromAsync(store.list(prefix, options));
  return infos.map((info) => info.key);
}

export async function expectCode(
  call: Promise<unknown>,
  code: Parameters<typeof hasCode>[1],
): Promise<void> {
  const error: unknown = await call.then(
    () => "no error",
    (thrown: unknown) => thrown,
  );
  expect(hasCode(error, code), `expected ${code}, got ${String(error)}`).toBe(true);
}

/** Returns bytes without repeated parts. */
export function patternOf(sizeBytes: number): Uint8Array {
  const words = new Uint32Array(Math.ceil(sizeBytes / 4));
  for (let index = 0; index < words.length; index++) words[index] = Math.imul(index, 0x9e3779b1);
  return new Uint8Array(words.buffer, 0, sizeBytes);
}

export function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

export function textOf(bytes: Uint8Array): string {
  return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
}

/** Waits one turn of the event loop. */
export async function turnOfLoop(): Promise<false> {
  await new Promise((resolve) => setImmediate(resolve));
  return false;
}
