/** The status page: a small HTML page that loads nothing from elsewhere, and its JSON form. */
import type { Viewer } from "#pkg/tenant/tenant.ts";
import { type Answer, jsonAnswer } from "#modules/frontend/http/answers.ts";

/** How the page formats a number. JSON has the plain number. */
export type StatusUnit = "bytes" | "bytes_per_second" | "per_second" | "time";

export interface StatusColumn {
  /** Name in JSON. */
  key: string;
  /** Name on the page; the key with spaces unless given. */
  title?: string;
  /** Unit of its numbers; a plain count unless given. Times are milliseconds since the epoch. */
  unit?: StatusUnit;
}

export interface StatusTable {
  /** Name in JSON. */
  key: string;
  title: string;
  /** What the reader should do about it. */
  hint?: string;
  columns: readonly StatusColumn[];
  rows: readonly (readonly (string | number)[])[];
}

export interface StatusPage {
  version: string;
  /** When the process started, milliseconds since the epoch. */
  startedMs: number;
  /** Why the process is not ready; undefined if it is. */
  notReady: string | undefined;
  /** What needs attention: one sentence each, with the remedy. */
  problems: readonly string[];
  /** E.g. tenants with their blocks and spans, heads, the log. */
  tables: readonly StatusTable[];
}

export type StatusPages = Record<string, (viewer: Viewer) => StatusPage | Promise<StatusPage>>;

const style =
  "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}" +
  "table{border-collapse:collapse;margin:.5rem 0 1.5rem}" +
  "th,td{border:1px solid #8886;padding:.2rem .7rem;text-align:left}" +
  "td.n{text-align:right;font-variant-numeric:tabular-nums}" +
  ":root{color-scheme:light dark}";

/** Content security policy: nothing is loaded and no script runs, whatever a name contains. */
const policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";

export interface PageOptions {
  /** Names of further pages below /status. */
  others: readonly string[];
  pathPrefix: string;
  nowMs: number;
}

/** Formats the page as HTML. */
export function formatStatusPage(
  page: StatusPage,
  { others, pathPrefix, nowMs }: PageOptions,
): Answer {
  const links = ["/status", ...others.map((name) => `/status/${name}`), "/status/config"];
  links.push("/status/version", "/metrics", "/ready");
  const anchors = links.map(
    (path) => `<a href="${escapeHtml(pathPrefix + path)}">${path.slice(1)}</a>`,
  );
  const state = page.notReady === undefined ? "ready" : `not ready: ${page.notReady}`;
  const body = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Spoor</title><style>${style}</style></head>
<body><h1>Spoor ${escapeHtml(page.version)}</h1>
<p>${escapeHtml(state)}, up ${formatDuration(nowMs - page.startedMs)}</p>
${formatProblems(page.problems)}${page.tables.map(formatTable).join("\n")}
<p>${anchors.join(" ")}</p>
</body></html>
`;
  const headers = { "Content-Security-Policy": policy };
  return { status: 200, contentType: "text/html; charset=utf-8", body, headers };
}

/** Formats the page as JSON: each table under its key, each row an object by column keys. */
export function statusJson(page: StatusPage, nowMs: number): Answer {
  const { version, startedMs, notReady, problems } = page;
  const tables = page.tables.map(({ key, columns, rows }) => [
    key,
    rows.map((row) => Object.fromEntries(row.map((value, i) => [columns[i].key, value]))),
  ]);
  return jsonAnswer(
    JSON.stringify({
      version,
      ready: notReady === undefined,
      notReady,
      uptimeSeconds: Math.floor((nowMs - startedMs) / 1000),
      problems,
      ...Object.fromEntries(tables),
    }),
  );
}

function formatProblems(problems: readonly string[]): string {
  if (problems.length === 0) return "";
  return `<ul>${problems.map((text) => `<li><b>${escapeHtml(text)}</b></li>`).join("")}</ul>\n`;
}

function formatTable({ title, hint, columns, rows }: StatusTable): string {
  const titles = columns.map((column) => column.title ?? column.key.replaceAll("_", " "));
  const head = titles.map((name) => `<th>${escapeHtml(name)}</th>`).join("");
  const lines = rows
    .map((row) => `<tr>${row.map((value, i) => formatCell(value, columns[i].unit)).join("")}</tr>`)
    .join("\n");
  const none = rows.length === 0 ? `<tr><td colspan="${columns.length}">none</td></tr>` : "";
  const remedy = hint === undefined ? "" : `<p>${escapeHtml(hint)}</p>\n`;
  const name = `<h2>${escapeHtml(title)}</h2>\n`;
  return `${name}${remedy}<table><tr>${head}</tr>\n${lines}${none}</table>`;
}

function formatCell(value: string | number, unit: StatusUnit | undefined): string {
  if (typeof value === "string") return `<td>${escapeHtml(value)}</td>`;
  return `<td class="n">${escapeHtml(formatNumber(value, unit))}</td>`;
}

function formatNumber(value: number, unit: StatusUnit | undefined): string {
  switch (unit) {
    case "bytes":
      return formatBytes(value);
    case "bytes_per_second":
      return `${formatBytes(value)}/s`;
    case "per_second":
      return `${value.toLocaleString("en-US", { maximumFractionDigits: 1 })}/s`;
    case "time":
      return new Date(value).toISOString();
    default:
      return value.toLocaleString("en-US");
  }
}

const byteUnits = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** Formats bytes with three digits and a unit: 1.53 GiB. */
function formatBytes(value: number): string {
  let left = value;
  let unit = 0;
  while (left >= 1000 && unit < byteUnits.length - 1) {
    left /= 1024;
    unit++;
  }
  const digits = unit === 0 ? 0 : Math.max(0, 2 - Math.floor(Math.log10(Math.max(1, left))));
  return `${left.toFixed(digits)} ${byteUnits[unit]}`;
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
