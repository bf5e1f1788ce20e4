/** Seeded choices: the same seed makes the same ones, in the same order. */
import { SeededRandom } from "#pkg/loadgen/random.ts";

export class Dice extends SeededRandom {
  /** Whether something of this probability happens. */
  chance(probability: number): boolean {
    return this.float() < probability;
  }

  /** A whole number from `least` to `most`, both included. */
  between(least: number, most: number): number {
    return least + this.below(most - least + 1);
  }

  /** As `between`, small numbers more often: each order of magnitude is as likely. */
  magnitude(least: number, most: number): number {
    return Math.round(least * (most / least) ** this.float());
  }

  /** Dice of their own: what they are used for does not shift the others. */
  fork(): Dice {
    return new Dice(this.uint32());
  }

  hex(digits: number): string {
    let text = "";
    while (text.length < digits) text += this.uint32().toString(16).padStart(8, "0");
    return text.slice(0, digits);
  }
}
