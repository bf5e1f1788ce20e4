/** Colours for a terminal (SGR codes). */
import type { CommandIo } from "./io.ts";

export type Colour = "red" | "yellow" | "green" | "dim" | "bold";

const codes: Record<Colour, number> = { red: 31, yellow: 33, green: 32, dim: 2, bold: 1 };

/** Wraps a text in the codes of a colour, or returns it unchanged. */
export type Paint = (colour: Colour, text: string) => string;

export const plain: Paint = (_colour, text) => text;

const coloured: Paint = (colour, text) => `\u001b[${codes[colour]}m${text}\u001b[0m`;

/** Returns colours if stdout is a terminal and NO_COLOR (https://no-color.org) is not set. */
export function paintOf({ isTerminal, env }: CommandIo): Paint {
  return isTerminal && (env["NO_COLOR"] ?? "") === "" ? coloured : plain;
}
