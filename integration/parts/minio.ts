/** MinIO, a self-hosted S3 server, built from source with `go install`. */
import { installGoProgram } from "./install.ts";
import { freePort, type Part, startDaemon } from "./daemon.ts";

const program = {
  name: "minio",
  module: "github.com/minio/minio",
  version: "v0.0.0-20260212201848-7aac2a2c5b7c",
};

export const minioUser = "spoor-test";
export const minioPassword = "spoor-test-secret";

export interface MinioOptions {
  /** Folder for the server's data. */
  dir: string;
  /** A free port by default; set it to restart on the same port. */
  port?: number;
  /** Undefined: MinIO checks no region. */
  region?: string;
  /** The root user; a test user by default. */
  user?: string;
  password?: string;
}

export interface Minio extends Part {
  port: number;
}

/** Returns the path of the binary; builds it if needed. */
export async function installMinio(): Promise<string> {
  return await installGoProgram(program);
}

export async function startMinio(options: MinioOptions): Promise<Minio> {
  const port = options.port ?? (await freePort());
  const address = `http://127.0.0.1:${port}`;
  const part = await startDaemon({
    program: await installMinio(),
    args: ["server", options.dir, "--address", `127.0.0.1:${port}`, "--quiet"],
    env: {
      MINIO_ROOT_USER: options.user ?? minioUser,
      MINIO_ROOT_PASSWORD: options.password ?? minioPassword,
      MINIO_BROWSER: "off",
      MINIO_UPDATE: "off",
      // Without it MinIO refuses folders on the system's disk.
      MINIO_CI_CD: "1",
      ...(options.region === undefined ? {} : { MINIO_SITE_REGION: options.region }),
    },
    address,
    isReady: async () => {
      const response = await fetch(`${address}/minio/health/ready`);
      await response.arrayBuffer();
      return response.status === 200;
    },
  });
  return { ...part, port };
}
