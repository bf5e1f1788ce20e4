/** Flags of commands that send OTLP. */
import { isTenantName } from "#pkg/tenant/tenant.ts";
import { type FlagSpec, flagText, type ParsedArgs, usageError } from "#cmd/spoor/flags.ts";
import { parseEndpoint } from "#cmd/spoor/endpoint.ts";
import { openGrpcSender } from "./grpc-sender.ts";
import { openHttpSender } from "./http-sender.ts";
import type { Sender } from "./sender.ts";

type SendProtocol = "http" | "grpc";

const defaultEndpoints: Record<SendProtocol, string> = {
  http: "http://127.0.0.1:4318",
  grpc: "http://127.0.0.1:4317",
};

/** Flags for the receiver of OTLP requests. */
export const sendFlags: readonly FlagSpec[] = [
  {
    name: "--endpoint",
    value: "URL",
    help: `URL of the OTLP receiver (default ${defaultEndpoints.http}, with grpc :4317)`,
  },
  { name: "--protocol", value: "PROTOCOL", help: "http (default) or grpc" },
  { name: "--tenant", value: "NAME", help: "tenant, if multi-tenancy is on" },
];

/** Opens the sender that `sendFlags` select. Throws a usage error. */
export function openSender(args: ParsedArgs, inFlightMax: number): Sender {
  const protocol = flagText(args, "--protocol") ?? "http";
  if (protocol !== "http" && protocol !== "grpc") {
    throw usageError(`--protocol ${JSON.stringify(protocol)} is neither http nor grpc`);
  }
  const text = flagText(args, "--endpoint") ?? defaultEndpoints[protocol];
  const endpoint = parseEndpoint(text, "--endpoint", defaultEndpoints[protocol]);
  const tenant = flagText(args, "--tenant");
  if (tenant !== undefined && !isTenantName(tenant)) {
    throw usageError(`${JSON.stringify(tenant)} is not a valid tenant name`);
  }
  const open = protocol === "http" ? openHttpSender : openGrpcSender;
  return open({ endpoint, tenant, inFlightMax });
}
