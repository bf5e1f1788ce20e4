/**
 * The door of pkg/grpc: servers, clients, methods and status of gRPC.
 */
export { GrpcClient } from "./client.ts";
export { Health } from "./health.ts";
export type { GrpcMethod, MethodFacts, UnaryCall } from "./methods.ts";
export { GrpcServer } from "./server.ts";
export {
  type Status,
  cutMessage,
  encodeStatus,
  errorDomain,
  errorInfoUrl,
  grpcStatus,
  readStatus,
  retryInfoUrl,
  statusOf,
} from "./status.ts";
