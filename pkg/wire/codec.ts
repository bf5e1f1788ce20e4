/**
 * Binary codecs of plain data, for messages between processes. Codecs are composed of smaller
 * codecs, so that one declaration defines both directions of a message. Reading checks that the
 * bytes have the declared shape.
 *
 *     message = version (1 byte) | value
 *     numbers are little-endian; counts are LEB128; lists, texts and typed arrays are
 *     count | elements; a choice is the index of the case in its table
 *
 * The order of cases in tables and of keys in records is part of the format. New ones go to the
 * end, with a new version.
 */
import { SpoorError } from "#pkg/errors/errors.ts";
import { Reader } from "./reader.ts";
import { Writer } from "./writer.ts";

export interface Codec<T> {
  write(out: Writer, value: T): void;
  /** Reads a value. Throws Corrupt `wire` if the bytes do not encode such a value. */
  read(from: Reader): T;
}

/** The type of a codec's values. */
export type ValueOf<C> = C extends Codec<infer T> ? T : never;

/** Version of all messages. */
export const wireVersion = 1;

export function encode<T>(codec: Codec<T>, value: T): Uint8Array {
  const out = new Writer();
  out.byte(wireVersion);
  codec.write(out, value);
  return out.finish();
}

/**
 * Decodes a message. Throws Corrupt `wire` if the bytes do not encode such a value, and
 * InvalidInput `wire_version` if they have a newer version.
 */
export function decode<T>(codec: Codec<T>, bytes: Uint8Array): T {
  const from = new Reader(bytes);
  const version = from.byte();
  if (version > wireVersion) {
    const known = `this process reads up to ${wireVersion}: update it`;
    const message = `decode a message: it has version ${version}, ${known}`;
    throw new SpoorError("InvalidInput", message, { reason: "wire_version" });
  }
  if (version !== wireVersion) throw from.corrupt(`unknown version ${version}`);
  const value = codec.read(from);
  from.finish();
  return value;
}

export const bool: Codec<boolean> = {
  write: (out, value) => out.byte(value ? 1 : 0),
  read: (from) => {
    const byte = from.byte();
    if (byte > 1) throw from.corrupt(`invalid boolean ${byte}`);
    return byte === 1;
  },
};

/** A whole number from 0 to 2^53 - 1. */
export const count: Codec<number> = {
  write: (out, value) => out.count(value),
  read: (from) => from.count(),
};

/** Any number. */
export const float: Codec<number> = {
  write: (out, value) => out.float(value),
  read: (from) => from.float(),
};

/** An integer of at most 128 bits. */
export const bigInt: Codec<bigint> = {
  write: (out, value) => out.bigInt(value),
  read: (from) => from.bigInt(),
};

export const text: Codec<string> = {
  write: (out, value) => out.text(value),
  read: (from) => from.text(),
};

export const bytes: Codec<Uint8Array> = {
  write: (out, value) => out.sized(value),
  read: (from) => from.sized(1).slice(),
};

export const bigInt64s: Codec<BigInt64Array> = {
  write: (out, value) => out.sized(value),
  read: (from) => new BigInt64Array(aligned(from.sized(8))),
};

export const bigUint64s: Codec<BigUint64Array> = {
  write: (out, value) => out.sized(value),
  read: (from) => new BigUint64Array(aligned(from.sized(8))),
};

export const int32s: Codec<Int32Array> = {
  write: (out, value) => out.sized(value),
  read: (from) => new Int32Array(aligned(from.sized(4))),
};

export const float64s: Codec<Float64Array> = {
  write: (out, value) => out.sized(value),
  read: (from) => new Float64Array(aligned(from.sized(8))),
};

function aligned(part: Uint8Array): ArrayBuffer {
  const own = new Uint8Array(part.length);
  own.set(part);
  return own.buffer;
}

export function list<T>(item: Codec<T>): Codec<T[]> {
  return {
    write: (out, values) => {
      out.count(values.length);
      for (const value of values) item.write(out, value);
    },
    read: (from) => {
      const length = from.lengthOfItems();
      return Array.from({ length }, () => item.read(from));
    },
  };
}

export function optional<T>(codec: Codec<T>): Codec<T | undefined> {
  return {
    write: (out, value) => {
      out.byte(value === undefined ? 0 : 1);
      if (value !== undefined) codec.write(out, value);
    },
    read: (from) => (bool.read(from) ? codec.read(from) : undefined),
  };
}

/** Codec of one of some words, in a fixed order. */
export function word<const T extends string>(words: readonly T[]): Codec<T> {
  return {
    write: (out, value) => out.count(indexOfWord(words, value)),
    read: (from) => from.choice(words),
  };
}

/**
 * Codec of an object with the keys of `fields`, in their order. Omits undefined keys on reading.
 */
export function record<T extends object>(fields: {
  [K in keyof T]-?: Codec<T[K]>;
}): Codec<T> {
  const entries = Object.entries(fields) as [keyof T & string, Codec<unknown>][];
  return {
    write: (out, value) => {
      for (const [key, codec] of entries) codec.write(out, value[key]);
    },
    read: (from) => {
      const value: Record<string, unknown> = {};
      for (const [key, codec] of entries) {
        const field = codec.read(from);
        if (field !== undefined) value[key] = field;
      }
      return value as T;
    },
  };
}

/** Codec of an object whose keys are data. */
export function dictionary<T>(codec: Codec<T>): Codec<Record<string, T>> {
  const entry: Codec<[string, T]> = {
    write: (out, [key, value]) => {
      out.text(key);
      codec.write(out, value);
    },
    read: (from) => [from.text(), codec.read(from)],
  };
  const entries = list(entry);
  return {
    write: (out, value) => entries.write(out, Object.entries(value)),
    read: (from) => Object.fromEntries(entries.read(from)),
  };
}

/** Codec of a union, discriminated by `key`. */
export function variant<T extends object, K extends keyof T & string>(
  key: K,
  cases: { [W in T[K] & string]: Codec<Omit<Extract<T, Record<K, W>>, K>> },
): Codec<T> {
  const words = Object.keys(cases);
  const codecs = cases as Record<string, Codec<object>>;
  return {
    write: (out, value) => {
      const kind = String(value[key]);
      out.count(indexOfWord(words, kind));
      codecs[kind].write(out, value);
    },
    read: (from) => {
      const kind = from.choice(words);
      return { [key]: kind, ...codecs[kind].read(from) } as T;
    },
  };
}

/** Codec of a recursive type, nested at most 1024 deep. */
export function nested<T>(codec: () => Codec<T>): Codec<T> {
  return {
    write: (out, value) => codec().write(out, value),
    read: (from) => from.nested(() => codec().read(from)),
  };
}

function indexOfWord(words: readonly string[], value: string): number {
  const place = words.indexOf(value);
  if (place < 0) throw new SpoorError("Internal", `encode a message: unknown word "${value}"`);
  return place;
}
