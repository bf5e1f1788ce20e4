/** An emulator of Google Cloud Storage that honours preconditions. */
import { installGoProgram } from "./install.ts";
import { freePort, type Part, startDaemon } from "./daemon.ts";

const program = {
  name: "fake-gcs-server",
  module: "github.com/fsouza/fake-gcs-server",
  version: "v1.56.1",
};

/** Returns the path of the binary; builds it if needed. */
async function installGcs(): Promise<string> {
  return await installGoProgram(program);
}

/** Starts the emulator, which keeps all objects in memory. */
export async function startGcs(): Promise<Part> {
  const port = await freePort();
  const address = `http://127.0.0.1:${port}`;
  const args = ["-scheme", "http", "-host", "127.0.0.1", "-port", String(port)];
  return await startDaemon({
    program: await installGcs(),
    args: [...args, "-backend", "memory", "-external-url", address],
    address,
    isReady: async () => {
      const response = await fetch(`${address}/_internal/healthcheck`);
      await response.arrayBuffer();
      return response.status === 200;
    },
  });
}
