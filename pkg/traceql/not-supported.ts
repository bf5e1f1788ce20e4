/** The list of constructs that are parsed but cannot be evaluated yet. */
import type { Query, QueryBody, Stage } from "./ast.ts";

/**
 * Returns "not supported yet: <construct>" if the engine cannot evaluate the query; undefined
 * otherwise.
 */
export function notSupportedYet(query: Query): string | undefined {
  const construct = findConstruct(query.body);
  return construct === undefined ? undefined : `not supported yet: ${construct}`;
}

function findConstruct(body: QueryBody): string | undefined {
  switch (body.kind) {
    case "pipeline": {
      const [first] = body.stages;
      return (
        nameOfStage(first) ?? (body.stages.length > 1 ? "pipelines of several stages" : undefined)
      );
    }
    case "pipelineOperation":
      return `the operator ${body.op} between pipelines`;
    case "scalarPipelineFilter":
      return "comparisons of pipelines";
    case "metrics":
      return `the metrics function ${nameOfFunction(body.function)}`;
    default:
      return "arithmetic between metrics";
  }
}

function nameOfStage(stage: Stage): string | undefined {
  switch (stage.kind) {
    case "filter":
      return undefined;
    case "spansetOperation":
      return `the spanset operator ${stage.op}`;
    case "scalarFilter":
      return "aggregates";
    case "groupBy":
      return "by()";
    default:
      return `${stage.kind}()`;
  }
}

function nameOfFunction(metrics: Extract<QueryBody, { kind: "metrics" }>["function"]): string {
  if (metrics.kind === "compare") return "compare";
  return metrics.kind === "quantiles" ? "quantile_over_time" : metrics.name;
}
