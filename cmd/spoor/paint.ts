/** Colours for a terminal (SGR codes), where the reader is one and has not asked for none. */
import type { CommandIo } from "./io.ts";

export type Colour = "red" | "yellow" | "green" | "dim" | "bold";

const codes: Record<Colour, number> = { red: 31, yellow: 33, green: 32, dim: 2, bold: 1 };

/** Puts a text between the codes of a colour, or leaves it as it is. */
export type Paint = (colour: Colour, text: string) => string;

export const plain: Paint = (_colour, text) => text;

const coloured: Paint = (colour, text) => `\u001b[${codes[colour]}m${text}\u001b[0m`;

/** Colours if stdout is a terminal, and NO_COLOR (https://no-color.org) is not set. */
export function paintOf({ isTerminal, env }: CommandIo): Paint {
  return isTerminal && (env["NO_COLOR"] ?? "") === "" ? coloured : plain;
}
