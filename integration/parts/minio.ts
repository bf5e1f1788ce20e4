/** MinIO, the S3 server that people run at home, built from source by its makers' own command. */
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
  /** Folder of the server's disk. */
  dir: string;
  /** Undefined: a free one. Given to start again where it was. */
  port?: number;
  /** Undefined: MinIO checks no region. */
  region?: string;
  /** The owner of everything; a user of the tests unless given. */
  user?: string;
  password?: string;
}

export interface Minio extends Part {
  port: number;
}

/** Path of the binary; builds it on a machine that has not built it before. */
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
      // Folders of the system's disk are refused without it.
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
