/** delta-rs and DuckDB, which know nothing of Spoor, count what Spoor counts, in the bucket. */
import { DuckDBInstance } from "@duckdb/node-api";
