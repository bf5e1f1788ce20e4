/** Test support: a command's io that records output, with given files and variables. */
import { SpoorError } from "#pkg/errors/errors.ts";
import type { Environment } from "#pkg/config/interpolate.ts";
import type { CommandIo } from "./io.ts";

export interface RecordedIo extends CommandIo {
  stdout: string;
  stderr: string;
}

export function recordIo(files: Record<string, string> = {}, env: Environment = {}): RecordedIo {
  const io: RecordedIo = {
    stdout: "",
    stderr: "",
    env,
    isTerminal: false,
    out: async (text) => void (io.stdout += text),
    err: (text) => void (io.stderr += text),
    readFile: (path) => {
      if (!Object.hasOwn(files, path))
        throw new SpoorError("NotFound", `read ${path}: no such file`);
      return files[path];
    },
  };
  return io;
}
