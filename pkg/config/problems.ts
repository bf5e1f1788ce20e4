/** The problems of a config, all in one error. */
import { SpoorError } from "#pkg/errors/errors.ts";

export interface ConfigProblem {
  /** Key in YAML from the root, e.g. `ingester.cut_age`; empty for the file as a whole. */
  path: string;
  /** The file's name or the flag. */
  source: string;
  /** 1-based; 0 if the problem has no position in the file. */
  line: number;
  column: number;
  message: string;
}

const problemsShownMax = 20;
/** Maximum shown length: a key or a value may be as long as the file. */
const textCharsMax = 300;

/** An InvalidInput with a list of problems. Its message has one line per problem. */
export class ConfigError extends SpoorError {
  readonly problems: readonly ConfigProblem[];

  constructor(problems: readonly ConfigProblem[]) {
    super("InvalidInput", problemsText(problems), { reason: "invalid_config" });
    this.name = "ConfigError";
    this.problems = problems;
  }
}

function problemsText(problems: readonly ConfigProblem[]): string {
  const lines = problems.slice(0, problemsShownMax).map(problemText);
  const hidden = problems.length - lines.length;
  if (hidden > 0) lines.push(`and ${String(hidden)} more problems`);
  return lines.join("\n");
}

function problemText(problem: ConfigProblem): string {
  const position = problem.line > 0 ? `:${String(problem.line)}:${String(problem.column)}` : "";
  const path = problem.path === "" ? "" : ` ${shown(problem.path)}:`;
  return `${problem.source}${position}:${path} ${shown(problem.message)}`;
}

/** Makes a text from the file short and safe for a terminal. */
function shown(text: string): string {
  const cut = text.length > textCharsMax ? `${text.slice(0, textCharsMax)}…` : text;
  return cut.replaceAll(
    /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu,
    (char) => `\\u{${char.codePointAt(0)!.toString(16)}}`,
  );
}
