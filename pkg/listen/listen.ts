/**
 * The door of pkg/listen: ports, limits and request parsing shared by all servers.
 */
export {
  type Listener,
  type ListenAddress,
  type Refused,
  boundConnections,
  listenOn,
  peerOf,
  startAll,
  stopAll,
} from "./addresses.ts";
export { preflightHeaders } from "./cors.ts";
export { isListenHost, listenHostError } from "./host.ts";
export { HttpListener } from "./http-listener.ts";
export { Admission, type Connection, InFlight, type Lease } from "./in-flight.ts";
export { type Encoding, encodingNames, inflate, parseEncoding } from "./inflate.ts";
export { pathOfTarget } from "./request-target.ts";
export { credentialsOf, readBody, signalOf } from "./request.ts";
export { type RouteFacts, findRoute } from "./routes.ts";
export { Turns } from "./turns.ts";
export type { RawAnswer, Unreadable } from "./unreadable.ts";
