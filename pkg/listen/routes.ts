/**
 * Declared routes: a port serves the routes in its table and nothing else. `findRoute` is for ports
 * without a router.
 */
import type { IncomingMessage } from "node:http";
import type { Right } from "#pkg/tenant/tenant.ts";
import { pathOfTarget } from "./request-target.ts";

export interface RouteFacts {
  path: string;
  method: "get" | "post" | "any";
  right: Right;
  /** URL parameters that the route reads. Others are ignored, except old tags of a search. */
  params: readonly string[];
  /** Content types of responses. */
  answers: readonly string[];
}

/** A request without a route, before its body is read. */
export interface RouteRefusal {
  httpStatus: 404 | 405;
  reason: "not_found" | "method_not_allowed";
  message: string;
  headers: Readonly<Record<string, string>>;
}

/** A browser's preflight request; answered by 204 with `headers`. */
export interface Preflight {
  httpStatus: 204;
  headers: Readonly<Record<string, string>>;
}

/** Returns the route of a request. Paths are literal, without parameters. */
export function findRoute<R extends RouteFacts>(
  routes: readonly R[],
  req: IncomingMessage,
): R | RouteRefusal | Preflight {
  const { url: target = "", method: sent = "" } = req;
  const usual = routes.find((route) => route.path === target && takes(route, sent));
  if (usual !== undefined) return usual;
  const path = pathOfTarget(target);
  const here = routes.filter((route) => route.path === path);
  if (here.length === 0) {
    const paths = [...new Set(routes.map((route) => route.path))].join(", ");
    const message = `no such path: only ${paths} is served here`;
    return { httpStatus: 404, reason: "not_found", message, headers: {} };
  }
  const found = here.find((route) => takes(route, sent));
  if (found !== undefined) return found;
  const allowed = here.flatMap(({ method }) => methodNames[method]);
  const headers = { Allow: [...allowed, "OPTIONS"].join(", ") };
  if (sent === "OPTIONS") return { httpStatus: 204, headers };
  const message = `${path} takes ${allowed.join(", ")}, not ${sent}`;
  return { httpStatus: 405, reason: "method_not_allowed", message, headers };
}

const methodNames: Readonly<Record<RouteFacts["method"], readonly string[]>> = {
  get: ["GET", "HEAD"],
  post: ["POST"],
  any: [],
};

function takes({ method }: RouteFacts, sent: string): boolean {
  return method === "any" || methodNames[method].includes(sent);
}
