/** Seeded random choices: the seed determines the sequence. */
import { SeededRandom } from "#pkg/loadgen/random.ts";

export class Dice extends SeededRandom {
  /** Returns true with this probability. */
  chance(probability: number): boolean {
    return this.float() < probability;
  }

  /** Returns a whole number from `least` to `most`, both included. */
  between(least: number, most: number): number {
    return least + this.below(most - least + 1);
  }

  /** Like `between`, but log-uniform: each order of magnitude is equally likely. */
  magnitude(least: number, most: number): number {
    return Math.round(least * (most / least) ** this.float());
  }

  /** Returns independent dice: their use does not change the choices of these. */
  fork(): Dice {
    return new Dice(this.uint32());
  }

  hex(digits: number): string {
    let text = "";
    while (text.length < digits) text += this.uint32().toString(16).padStart(8, "0");
    return text.slice(0, digits);
  }
}
