/** Validates addresses to listen on in a config. */
import { isIP } from "node:net";

/** Returns whether `host` can be listened on: an IP address or a host name. */
export function isListenHost(host: string): boolean {
  const label = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?";
  return (
    isIP(host) !== 0 || (host.length <= 253 && new RegExp(`^${label}(\\.${label})*$`).test(host))
  );
}

/** Error message for an invalid host. */
export const listenHostError = "must be an IP address or a host name, such as 127.0.0.1 or 0.0.0.0";
