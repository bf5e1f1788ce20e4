/**
 * A number in shared memory: one thread sets it, others poll it. A message per change would cost a
 * clone and a task, and so would waking a sleeping thread.
 */
export class SharedNumber {
  readonly buffer: SharedArrayBuffer;
  readonly #value: BigInt64Array<SharedArrayBuffer>;

  /** Creates a number, or opens another thread's by its buffer. */
  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(8)) {
    this.buffer = buffer;
    this.#value = new BigInt64Array(buffer);
  }

  get value(): number {
    return Number(Atomics.load(this.#value, 0));
  }

  /** Sets the number, an integer below 2^53. */
  set(value: number): void {
    Atomics.store(this.#value, 0, BigInt(value));
  }
}
