/**
 * A number that one thread sets and others wait for, in shared memory. Setting it costs a store and
 * a wake-up, where a message per change costs a clone and a task.
 *
 *     bytes 0..7   the number, int64        bytes 8..11   counts changes, int32 (wraps)
 */
export class SharedNumber {
  readonly buffer: SharedArrayBuffer;
  readonly #value: BigInt64Array<SharedArrayBuffer>;
  readonly #changes: Int32Array<SharedArrayBuffer>;

  /** A new one, or another thread's by its buffer. */
  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(16)) {
    this.buffer = buffer;
    this.#value = new BigInt64Array(buffer, 0, 1);
    this.#changes = new Int32Array(buffer, 8, 1);
  }

  get value(): number {
    return Number(Atomics.load(this.#value, 0));
  }

  /** Sets the number (an integer below 2^53) and wakes whoever waits. */
  set(value: number): void {
    Atomics.store(this.#value, 0, BigInt(value));
    this.touch();
  }

  /** Wakes whoever waits without changing the number. */
  touch(): void {
    Atomics.add(this.#changes, 0, 1);
    Atomics.notify(this.#changes, 0);
  }

  /** To be taken before looking at what the number allows, and given to `changed` afterwards. */
  get version(): number {
    return Atomics.load(this.#changes, 0);
  }

  /** Resolves when there was a change since `version`, or after `timeoutMs`. */
  async changed(version: number, timeoutMs: number): Promise<void> {
    await Atomics.waitAsync(this.#changes, 0, version, timeoutMs).value;
  }
}
