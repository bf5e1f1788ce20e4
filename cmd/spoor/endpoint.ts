/** Parses server addresses in flags. */
import { usageError } from "./flags.ts";

/**
 * Parses the URL of an endpoint flag; `localhost:3200` means http. Throws a usage error with an
 * example.
 */
export function parseEndpoint(text: string, flag: string, example: string): URL {
  const url = URL.parse(/^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`);
  if (url === null || (url.protocol !== "http:" && url.protocol !== "https:")) {
    throw usageError(`${flag} ${JSON.stringify(text)} is not like ${example}`);
  }
  return url;
}
