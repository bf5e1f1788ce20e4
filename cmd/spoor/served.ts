/** Everything that a process serves, over all of its ports, as data: for checks and documents. */
import type { GrpcMethod, MethodFacts } from "#pkg/grpc/grpc.ts";
import type { RouteFacts } from "#pkg/listen/listen.ts";

export type PortName = "api" | "otlp_http" | "otlp_grpc";

interface ServedRoute extends RouteFacts {
  port: PortName;
  protocol: "http";
}

interface ServedMethod extends MethodFacts {
  port: PortName;
  protocol: "grpc";
  kind: GrpcMethod["kind"];
}

/** A route or method with its right, request and response types. */
export type Served = ServedRoute | ServedMethod;

export function servedRoutes(port: PortName, routes: readonly RouteFacts[]): Served[] {
  return routes.map(({ path, method, right, params, answers }) => ({
    port,
    protocol: "http",
    path,
    method,
    right,
    params,
    answers,
  }));
}

export function servedMethods(port: PortName, methods: readonly GrpcMethod[]): Served[] {
  return methods.map(({ service, method, kind, right, request, answer }) => ({
    port,
    protocol: "grpc",
    service,
    method,
    kind,
    right,
    request,
    answer,
  }));
}
