/** delta-rs, an independent reader of Delta Lake tables, from PyPI in a virtual environment. */
import { join } from "node:path";
import { installOnce, run } from "./install.ts";

const versions = ["deltalake==1.6.6", "pyarrow==26.0.1"];

const missing =
  "npm run test:real reads tables with delta-rs and needs Python 3.10 or newer with venv, which " +
  "is not on the PATH: install it (python3 and python3-venv on Debian) and run again";

export interface DeltaRsTable {
  version: number;
  files: number;
  rows: number;
  columns: string[];
}

const script = `
import json, sys
from deltalake import DeltaTable
uri, options = sys.argv[1], json.loads(sys.argv[2])
table = DeltaTable(uri, storage_options=options or None)
scan = table.to_pyarrow_dataset()
print(json.dumps({
    "version": table.version(),
    "files": len(table.file_uris()),
    "rows": scan.count_rows(),
    "columns": scan.schema.names,
}))
`;

/** Installs delta-rs; returns the path of its Python. */
async function installDeltaRs(): Promise<string> {
  const dir = await installOnce("delta-rs-1.6.6", async (path) => {
    await run("python3", ["-m", "venv", path], { missing });
    const pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", ...versions];
    await run(join(path, "bin", "python"), pip, { missing });
  });
  return join(dir, "bin", "python");
}

/** Opens a table and counts its rows; `options` describe the bucket, empty for a folder. */
export async function readWithDeltaRs(
  uri: string,
  options: Readonly<Record<string, string>> = {},
): Promise<DeltaRsTable> {
  const python = await installDeltaRs();
  const output = await run(python, ["-c", script, uri, JSON.stringify(options)], { missing });
  return JSON.parse(output.trim().split("\n").at(-1)!) as DeltaRsTable;
}
