/**
 * A cursor over JSON text as UTF-8 bytes (RFC 8259). It builds no objects: it calls back for each
 * key or item, and the callback reads or skips the value. Memory stays near the size of the text.
 * Numbers are returned as text, without loss. Every error names the path to its position.
 */
import { SpoorError } from "#pkg/errors/errors.ts";

/** Deepest nesting of objects and arrays, read or skipped. */
export const jsonDepthMax = 400;

/** Slots of the key cache, a power of two. */
const keySlots = 128;

const quote = 0x22;
const backslash = 0x5c;
const comma = 0x2c;
const colon = 0x3a;
const openBrace = 0x7b;
const closeBrace = 0x7d;
const openBracket = 0x5b;
const closeBracket = 0x5d;

const numberPattern = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;
const shortEscapes: Record<string, number> = {
  '"': 0x22,
  "\\": 0x5c,
  "/": 0x2f,
  b: 8,
  f: 12,
  n: 10,
  r: 13,
  t: 9,
};

export class JsonReader {
  #buf: Buffer;
  #pos: number;
  #path: (string | number)[] = [];
  #what: string;
  /** Key cache. Unused slots are holes: most readers read one short text. */
  readonly #keys: (string | undefined)[] = [];

  /** `what` names the text in errors: "invalid <what> at ...". Skips a byte order mark. */
  constructor(bytes: Uint8Array, what: string) {
    this.#buf = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#pos = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0;
    this.#what = what;
    this.#keys.length = keySlots;
  }

  /** Reads `{...}`: `field` reads the value of `key` and returns true, or false to skip it. */
  object(field: (key: string) => boolean): void {
    this.#open(openBrace, "an object");
    if (this.#take(closeBrace)) return;
    const level = this.#path.length;
    for (;;) {
      const key = this.#key();
      if (!this.#take(colon)) this.fail(`expected ":" after key ${shorten(key)}`);
      this.#path.push(key);
      this.#checkDepth();
      if (!field(key)) this.skip();
      this.#path.length = level;
      if (this.#take(closeBrace)) return;
      if (!this.#take(comma)) this.fail('expected "," or "}"');
    }
  }

  /** Reads `[...]`: `item` must read each value. */
  array(item: (index: number) => void): void {
    this.#open(openBracket, "an array");
    if (this.#take(closeBracket)) return;
    const level = this.#path.length;
    for (let index = 0; ; index++) {
      this.#path.push(index);
      this.#checkDepth();
      item(index);
      this.#path.length = level;
      if (this.#take(closeBracket)) return;
      if (!this.#take(comma)) this.fail('expected "," or "]"');
    }
  }

  /** Reads a string as UTF-8 bytes; a view of the text if the string has no escapes. */
  string(): Buffer {
    if (this.#peek() !== quote) this.fail("expected a string");
    const buf = this.#buf;
    const start = ++this.#pos;
    for (let pos = start; pos < buf.length; pos++) {
      const byte = buf[pos];
      if (byte === quote) {
        this.#pos = pos + 1;
        return buf.subarray(start, pos);
      }
      if (byte === backslash) return this.#escapedString(start);
      if (byte < 0x20) this.fail("control character in a string");
    }
    return this.fail("unterminated string");
  }

  /** Reads a number as text, unchanged. */
  number(): string {
    this.#peek();
    const buf = this.#buf;
    let end = this.#pos;
    while (end < buf.length && isNumberByte(buf[end])) end++;
    const text = buf.toString("latin1", this.#pos, end);
    if (!numberPattern.test(text)) this.fail("expected a number");
    this.#pos = end;
    return text;
  }

  boolean(): boolean {
    if (this.#word("true")) return true;
    if (this.#word("false")) return false;
    return this.fail("expected true or false");
  }

  /** Reads `null` if it is the next value; returns whether it was. */
  takeNull(): boolean {
    return this.#word("null");
  }

  /** Returns whether the next value is a string. */
  isString(): boolean {
    return this.#peek() === quote;
  }

  /** Skips one value of any kind. */
  skip(): void {
    switch (this.#peek()) {
      case quote:
        this.string();
        return;
      case openBrace:
        this.object(() => false);
        return;
      case openBracket:
        this.array(() => this.skip());
        return;
      case 0x74:
      case 0x66:
        this.boolean();
        return;
      case 0x6e:
        if (!this.takeNull()) this.fail("expected null");
        return;
      default:
        this.number();
    }
  }

  /** Checks that only white space is left. */
  end(): void {
    if (this.#peek() !== undefined) this.fail("text after the end");
  }

  fail(what: string): never {
    let path = "";
    for (const step of this.#path.slice(0, 40)) {
      if (typeof step === "number") path += `[${step}]`;
      else path += path === "" ? shorten(step) : `.${shorten(step)}`;
    }
    const where = path === "" ? `byte ${this.#pos}` : `${path}, byte ${this.#pos}`;
    throw new SpoorError("InvalidInput", `invalid ${this.#what} at ${where}: ${what}`, {
      reason: "invalid_json",
    });
  }

  /** Skips white space and returns the next byte without consuming it. */
  #peek(): number | undefined {
    const buf = this.#buf;
    let pos = this.#pos;
    let byte: number | undefined = buf[pos];
    while (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) byte = buf[++pos];
    this.#pos = pos;
    return byte;
  }

  #take(byte: number): boolean {
    if (this.#peek() !== byte) return false;
    this.#pos++;
    return true;
  }

  #open(byte: number, what: string): void {
    if (!this.#take(byte)) this.fail(`expected ${what}`);
  }

  #word(word: string): boolean {
    if (this.#peek() !== word.charCodeAt(0)) return false;
    for (let i = 1; i < word.length; i++) {
      if (this.#buf[this.#pos + i] !== word.charCodeAt(i)) return false;
    }
    this.#pos += word.length;
    return true;
  }

  /** Reads a key. Repeated keys come from the cache: a byte comparison instead of a new string. */
  #key(): string {
    if (this.#peek() !== quote) this.fail("expected a key");
    const buf = this.#buf;
    const start = this.#pos + 1;
    const end = buf.indexOf(quote, start);
    const length = end - start;
    const slot = (buf[start] + length * 7 + (buf[start + 3] ?? 0) * 31) & (keySlots - 1);
    const known = this.#keys[slot];
    if (known !== undefined && known.length === length) {
      let i = 0;
      while (i < length && buf[start + i] === known.charCodeAt(i)) i++;
      if (i === length) {
        this.#pos = end + 1;
        return known;
      }
    }
    const key = this.string().toString("utf8");
    if (this.#pos === end + 1 && /^\w+$/.test(key)) this.#keys[slot] = key;
    return key;
  }

  #checkDepth(): void {
    if (this.#path.length > jsonDepthMax) this.fail(`nested over ${jsonDepthMax} levels`);
  }

  #escapedString(start: number): Buffer {
    const buf = this.#buf;
    let end = start;
    while (end < buf.length && buf[end] !== quote) {
      if (buf[end] < 0x20) this.fail("control character in a string");
      end += buf[end] === backslash ? 2 : 1;
    }
    if (end >= buf.length) this.fail("unterminated string");
    // Unescaping never needs more bytes: \uXXXX (6 bytes) becomes at most 3.
    const out = Buffer.allocUnsafe(end - start);
    let size = 0;
    let pos = start;
    while (pos < end) {
      const next = buf.indexOf(backslash, pos);
      const plainEnd = next === -1 || next > end ? end : next;
      size += buf.copy(out, size, pos, plainEnd);
      pos = plainEnd;
      if (pos === end) break;
      const escape = String.fromCharCode(buf[pos + 1]);
      if (escape === "u") {
        const unit = this.#hexUnit(pos);
        const isPair = unit >= 0xd800 && unit < 0xdc00 && this.#isLowUnit(pos + 6);
        const text = isPair
          ? String.fromCharCode(unit, this.#hexUnit(pos + 6))
          : String.fromCharCode(unit);
        size += out.write(text, size, "utf8");
        pos += isPair ? 12 : 6;
      } else {
        const byte = shortEscapes[escape];
        if (byte === undefined) this.fail(`invalid escape \\${escape}`);
        out[size++] = byte;
        pos += 2;
      }
    }
    this.#pos = end + 1;
    return out.subarray(0, size);
  }

  /** Reads the code unit of the `\uXXXX` at `pos`. */
  #hexUnit(pos: number): number {
    const digits = this.#buf.toString("latin1", pos + 2, pos + 6);
    if (!/^[0-9a-fA-F]{4}$/.test(digits)) this.fail(`invalid escape \\u${digits}`);
    return Number.parseInt(digits, 16);
  }

  #isLowUnit(pos: number): boolean {
    return /^\\u[dD][c-fC-F]/.test(this.#buf.toString("latin1", pos, pos + 4));
  }
}

/** Returns at most 64 characters of `text`, in quotes unless it is a plain word. */
export function shorten(text: string): string {
  const short = text.length > 64 ? `${text.slice(0, 64)}…` : text;
  return /^[\w.:-]+$/.test(short) ? short : JSON.stringify(short);
}

function isNumberByte(byte: number): boolean {
  return (
    (byte >= 0x30 && byte <= 0x39) ||
    byte === 0x2d ||
    byte === 0x2b ||
    byte === 0x2e ||
    byte === 0x65 ||
    byte === 0x45
  );
}
