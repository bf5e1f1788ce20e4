/** The examples in deploy are valid configs, and everything that they name exists. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { parseConfig } from "#pkg/config/settings.ts";
import { spoorConfig } from "./config.ts";
import { storeConfigOf } from "./storage.ts";

const root = new URL("../../", import.meta.url);
const textOf = (path: string): string => readFileSync(fileURLToPath(new URL(path, root)), "utf8");
const env = { SPOOR_S3_BUCKET: "b", SPOOR_GCS_BUCKET: "g" };

test.each([
  ["deploy/minio.yaml", "s3", "b"],
  ["deploy/aws-s3.yaml", "s3", "b"],
  ["deploy/gcs.yaml", "gcs", "g"],
])("%s", (name, kind, bucket) => {
  const { storage, server } = parseConfig(spoorConfig, { text: textOf(name), name, env }, []);
  const store = storeConfigOf(storage, server.dataDir);
  expect(store.kind).toBe(kind);
  expect(store).toMatchObject({ [kind]: { bucket } });
});

test("every YAML file in deploy is an example that is tested here, or compose", () => {
  const names = readdirSync(fileURLToPath(new URL("deploy", root))).sort();
  expect(names.filter((name) => name.endsWith(".yaml"))).toEqual([
    "aws-s3.yaml",
    "compose.yaml",
    "gcs.yaml",
    "minio.yaml",
  ]);
});

test("compose.yaml fits minio.yaml and the Dockerfile", () => {
  const { services } = parse(textOf("deploy/compose.yaml")) as {
    services: {
      minio: { entrypoint: string[]; environment: Record<string, string> };
      spoor: { volumes: string[]; environment: Record<string, string>; ports: string[] };
    };
  };
  const { minio, spoor } = services;
  const { text, name } = { text: textOf("deploy/minio.yaml"), name: "minio.yaml" };
  const secret = minio.environment.MINIO_ROOT_PASSWORD;
  expect(spoor.environment.SPOOR_S3_SECRET_ACCESS_KEY).toBe(secret);
  const { SPOOR_S3_ENDPOINT } = spoor.environment;
  const source = { text, name, env: { SPOOR_S3_ENDPOINT } };
  const { s3 } = parseConfig(spoorConfig, source, []).storage;
  expect(s3.accessKeyId).toBe(minio.environment.MINIO_ROOT_USER);
  expect(secret).toContain(s3.secretAccessKey);
  expect(new URL(s3.endpoint).hostname).toBe("minio");
  expect(minio.entrypoint.at(-1)).toContain(`/data/${s3.bucket} `);
  const [file] = spoor.volumes.filter((volume) => volume.startsWith("./"));
  expect(existsSync(fileURLToPath(new URL(`deploy/${file.split(":")[0]}`, root)))).toBe(true);
  const dockerfile = textOf("Dockerfile");
  for (const port of spoor.ports) expect(dockerfile).toContain(port.split(":")[1]);
});

test("secrets are never printed", async () => {
  const { printConfig } = await import("#pkg/config/print.ts");
  const text = `storage:
  backend: s3
  s3: {bucket: b, access_key_id: id, secret_access_key: hidden-1, session_token: hidden-2}
`;
  const config = parseConfig(spoorConfig, { text, name: "x", env: {} }, []);
  const printed = printConfig(spoorConfig, config);
  expect(printed).not.toContain("hidden");
  expect(printed.match(/<redacted>/g)).toHaveLength(2);
});

test("a bucket must have a name, and keys come in pairs", () => {
  const problemsOf = (text: string): string => {
    try {
      parseConfig(spoorConfig, { text, name: "x", env: {} }, []);
      return "";
    } catch (error) {
      return String(error);
    }
  };
  expect(problemsOf("storage: {backend: s3}")).toContain("storage.s3.bucket");
  expect(problemsOf("storage: {backend: gcs}")).toContain("storage.gcs.bucket");
  expect(problemsOf("storage: {s3: {access_key_id: x}}")).toContain("go together");
  expect(problemsOf("storage: {prefix: a}")).toContain("must be empty or a folder");
  expect(problemsOf("storage: {prefix: a/}")).toBe("");
});
