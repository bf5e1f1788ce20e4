/** Addresses to listen on, as configs have them. */
import { isIP } from "node:net";

/** Whether this may be a host to listen on: an IP address or a name. */
export function isListenHost(host: string): boolean {
  const label = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?";
  return (
    isIP(host) !== 0 || (host.length <= 253 && new RegExp(`^${label}(\\.${label})*$`).test(host))
  );
}

/** What is wrong with a host that is none. */
export const listenHostError = "must be an IP address or a host name, such as 127.0.0.1 or 0.0.0.0";
