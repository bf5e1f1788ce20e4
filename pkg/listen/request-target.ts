/** Paths of HTTP/1 request targets (RFC 9112, 3.2). */

/**
 * Returns the path of a request target or URL, without query and fragment. Repeated slashes are
 * merged. Proxies send the absolute form (`http://host/path`), older Grafana `//api/...`.
 */
export function pathOfTarget(target: string): string {
  const scheme = /^[a-z][a-z0-9+.-]*:\/\//i.exec(target);
  const start = scheme === null ? 0 : target.indexOf("/", scheme[0].length);
  if (start < 0) return "/";
  const rest = target.slice(start);
  const end = rest.search(/[?#]/);
  return (end < 0 ? rest : rest.slice(0, end)).replaceAll(/\/{2,}/g, "/");
}
