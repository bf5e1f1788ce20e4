/** The status page: a small HTML page for people, without anything from outside. */
import type { Answer } from "./answers.ts";

export interface StatusTable {
  title: string;
  columns: readonly string[];
  rows: readonly (readonly (string | number)[])[];
}

export interface StatusPage {
  version: string;
  /** When the process started, milliseconds since the epoch. */
  startedMs: number;
  /** Why it is not ready; undefined if it is. */
  notReady: string | undefined;
  /** Tenants with blocks and spans, heads, the log ... */
  tables: readonly StatusTable[];
}

export type StatusPages = Record<string, () => StatusPage | Promise<StatusPage>>;

const style =
  "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}" +
  "table{border-collapse:collapse;margin:.5rem 0 1.5rem}" +
  "th,td{border:1px solid #8886;padding:.2rem .7rem;text-align:left}" +
  "td.n{text-align:right;font-variant-numeric:tabular-nums}" +
  ":root{color-scheme:light dark}";

/** Nothing may be loaded and no script may run, whatever a name contains. */
const policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";

/** `others` are the names of further pages below /status. */
export function formatStatusPage(
  page: StatusPage,
  others: readonly string[],
  nowMs: number,
): Answer {
  const links = ["/status", ...others.map((name) => `/status/${name}`), "/status/config"];
  links.push("/status/version", "/metrics", "/ready");
  const state = page.notReady === undefined ? "ready" : `not ready: ${page.notReady}`;
  const body = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Spoor</title><style>${style}</style></head>
<body><h1>Spoor ${escapeHtml(page.version)}</h1>
<p>${escapeHtml(state)}, up ${formatDuration(nowMs - page.startedMs)}</p>
${page.tables.map(formatTable).join("\n")}
<p>${links.map((path) => `<a href="${path}">${path.slice(1)}</a>`).join(" ")}</p>
</body></html>
`;
  const headers = { "Content-Security-Policy": policy };
  return { status: 200, contentType: "text/html; charset=utf-8", body, headers };
}

function formatTable({ title, columns, rows }: StatusTable): string {
  const head = columns.map((name) => `<th>${escapeHtml(name)}</th>`).join("");
  const lines = rows.map((row) => `<tr>${row.map(formatCell).join("")}</tr>`).join("\n");
  const none = rows.length === 0 ? `<tr><td colspan="${columns.length}">none</td></tr>` : "";
  return `<h2>${escapeHtml(title)}</h2>\n<table><tr>${head}</tr>\n${lines}${none}</table>`;
}

function formatCell(value: string | number): string {
  if (typeof value === "string") return `<td>${escapeHtml(value)}</td>`;
  return `<td class="n">${value.toLocaleString("en-US")}</td>`;
}

function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (letter) => `&#${letter.charCodeAt(0)};`);
}

function formatDuration(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const [days, hours, minutes] = [86_400, 3600, 60].map((unit) => Math.floor(seconds / unit));
  if (days > 0) return `${days} d ${hours % 24} h`;
  if (hours > 0) return `${hours} h ${minutes % 60} min`;
  return minutes > 0 ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
}
