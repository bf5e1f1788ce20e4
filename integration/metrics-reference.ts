/**
 * Generates the reference of all metrics, deploy/metrics-reference.md, from the registered metrics:
 *
 *     npm run -s metrics-reference > deploy/metrics-reference.md
 */
import type { Registry } from "prom-client";
import { withSpoorHere } from "#integration/parts/spoor-here.ts";
import { verifyMetrics } from "#cmd/spoor/verify/metrics.ts";

interface MetricFacts {
  name: string;
  type: string;
  labels: readonly string[];
  help: string;
}

/** Every metric of `spoor serve` and `spoor verify`. */
export async function allMetrics(): Promise<{ serve: MetricFacts[]; verify: MetricFacts[] }> {
  return await withSpoorHere("", async ({ registry }) => ({
    serve: factsOf(registry),
    verify: factsOf(verifyMetrics(() => 0).registry),
  }));
}

/** Fields of a prom-client metric that its types omit. */
interface KeptMetric {
  name: string;
  help: string;
  labelNames?: readonly string[];
}

function factsOf(registry: Registry): MetricFacts[] {
  const metrics = registry.getMetricsAsArray() as unknown as KeptMetric[];
  const facts = metrics.map((metric) => ({
    name: metric.name,
    type: metric.constructor.name.toLowerCase(),
    labels: metric.labelNames ?? [],
    help: metric.help,
  }));
  return facts.sort((a, b) => (a.name < b.name ? -1 : 1));
}

export async function metricsPage(): Promise<string> {
  const { serve, verify } = await allMetrics();
  const isNodes = ({ name }: MetricFacts): boolean => /^spoor_(process|nodejs)_/.test(name);
  return `# Metrics

Made by \`npm run -s metrics-reference\` from the metrics themselves; a test holds it true.

## spoor serve, at /metrics of the API's port

${table(serve.filter((one) => !isNodes(one)))}
The event-loop delay of the main thread is \`spoor_nodejs_eventloop_lag_p99_seconds\` and its like,
since the last time that metrics were read.

### Of Node.js and the process

${table(serve.filter(isNodes))}
## spoor verify, at --metrics HOST:PORT

${table(verify)}`;
}

function table(metrics: readonly MetricFacts[]): string {
  const rows = metrics.map(
    ({ name, type, labels, help }) =>
      `| \`${name}\` | ${type} | ${labels.join(", ")} | ${help.replaceAll("|", "\\|")} |`,
  );
  return `| metric | type | labels | meaning |\n|---|---|---|---|\n${rows.join("\n")}\n`;
}

if (import.meta.main) process.stdout.write(await metricsPage());
