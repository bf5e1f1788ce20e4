/**
 * The catalogue of reasons: stable words in errors, metrics, status pages and logs. New reasons are
 * added here. Reasons that code branches on have named constants.
 */

/** The commit is in the table already: an earlier attempt succeeded. */
export const alreadyCommitted = "already_committed";
/** Bytes changed in transit, not in the bucket; the read is retried. */
export const checksumMismatch = "checksum_mismatch";
/** A consumer of the log exceeded its maximum lag: see `BoundedConsumer` of `pkg/spanlog`. */
export const claimLost = "log_claim_lost";
/** The thread that encoded a block ended; the block is retried a few times. */
export const cutterDied = "cutter_died";
/** Another process has the data folder. */
export const dataDirLocked = "data_dir_locked";
/** Another process may have taken over the data folder; this one must exit. */
export const dataDirLost = "data_dir_lost";
/** Spans cannot be encoded as a block; the range is halved. */
export const encodeFailed = "encode_failed";
/** A block has a newer format than this program supports. */
export const formatTooNew = "format_too_new";
/** A table has a newer format than this program supports. */
export const newerFormat = "newer_format";
/** Another process may have taken over the log. */
export const ownerLost = "log_owner_lost";
/** The Parquet library panicked; its thread is replaced. */
export const parquetPanic = "parquet_panic";
/** A query does not parse. */
export const traceqlSyntax = "traceql";
/** A command has wrong arguments. */
export const wrongUsage = "usage";
/** A thread that verifies a block does not respond. */
export const verifySilent = "verify_silent";

/** Every reason: first those with constants and shared ones, then by the folder that uses them. */
export const reasons = [
  "already_committed",
  "checksum_mismatch",
  "log_claim_lost",
  "commit_mismatch",
  "cutter_died",
  "data_dir_locked",
  "data_dir_lost",
  "encode_failed",
  "format_too_new",
  "newer_format",
  "log_owner_lost",
  "parquet_panic",
  "query_bytes",
  "trace_too_large",
  "traceql",
  "traceql_value",
  "usage",
  "verify_silent",
  // cmd/spoor
  "connection",
  "data_dir_unusable",
  "missing_spans",
  "module_needs",
  "not_found",
  "not_passed",
  "partial",
  "port_taken",
  "request_failed",
  "unexpected_spans",
  "wrong_result",
  // modules/compactor
  "clock_skew",
  "retention",
  // modules/distributor
  "ingest_rate",
  "spans_per_request",
  "split_queue_full",
  "split_thread_died",
  "tenant_store_failing",
  // modules/frontend
  "admin_off",
  "answers_queued",
  "block",
  "bytes",
  "client_gone",
  "incomplete",
  "invalid_parameter",
  "memory",
  "no_admin_token",
  "no_trace",
  "profile_running",
  "quarantine",
  "queries_max",
  "queries_queued",
  "query_memory",
  "query_range",
  "query_timeout",
  "store_stalled",
  "tag_memory",
  // modules/ingester
  "attribute_key_bytes",
  "attribute_value_bytes",
  "attributes_cut",
  "attributes_per_span",
  "head_overlap",
  "heads_given_up",
  "large_trace",
  "live_timeout",
  "lost",
  "pin_expired",
  "pins",
  "quarantine_failed",
  "quarantine_full",
  "queue_full",
  "timeout",
  "worker_died",
  "worker_restarting",
  // modules/querier
  "canceled",
  "job_timeout",
  "panic",
  "set",
  "stopping",
  // modules/receivers
  "deadline",
  "body_too_large",
  "bytes_in_flight",
  "connection_requests_in_flight",
  "content_encoding",
  "content_type",
  "grpc_flag",
  "grpc_incomplete",
  "grpc_timeout",
  "grpc_trailing_bytes",
  "invalid_compression",
  "invalid_http2",
  "json_queue_full",
  "method_not_allowed",
  "requests_in_flight",
  // pkg/bytes
  "invalid_protobuf",
  // pkg/config
  "invalid_config",
  "invalid_duration",
  "invalid_size",
  // pkg/files
  "not_a_file",
  // pkg/grpc
  "health_watchers",
  "unimplemented",
  // pkg/listen
  "connections",
  "headers_too_large",
  "invalid_http",
  "listen",
  "request_timeout",
  // pkg/objstore
  "access_denied",
  "bucket_missing",
  "busy",
  "cache_folder",
  "checksum_refused",
  "connect_timeout",
  "connection_lost",
  "disk_full",
  "folder_missing",
  "gateway_timeout",
  "host_not_found",
  "injected",
  "invalid_key",
  "invalid_range",
  "io_error",
  "io_timeout",
  "key_is_folder",
  "key_too_long",
  "no_conditional_create",
  "no_credentials",
  "no_delete",
  "no_list",
  "no_ranges",
  "no_read",
  "not_http",
  "not_implemented",
  "not_ready",
  "object_too_large",
  "out_of_memory",
  "read_only",
  "sdk_error",
  "server_error",
  "short_object",
  "slow_down",
  "source_changed",
  "stale_handle",
  "storage_class",
  "tls",
  "too_many_files",
  "too_many_links",
  "too_many_parts",
  "too_many_pieces",
  "unreachable",
  "write_conflict",
  "wrong_credentials",
  "wrong_region",
  // pkg/otlp
  "envelope_growth",
  "invalid_json",
  "invalid_parent_span_id",
  "invalid_span_id",
  "invalid_trace_id",
  "too_deep",
  // pkg/spanlog
  "bad_log_consumer",
  "bad_request_key",
  "bad_tenant",
  "disk_space_low",
  "log_busy",
  "log_closed",
  "log_foreign_segment",
  "log_format_newer",
  "log_full",
  "log_read_failed",
  "log_segments_missing",
  "log_state_missing",
  "log_write_failed",
  "no_such_consumer",
  "no_such_partition",
  "partition_count_changed",
  "record_too_large",
  "trimmed",
  // pkg/table
  "transaction_changed",
  "checkpoint_needed",
  "commit_contention",
  "commit_outcome_unknown",
  "commit_too_large",
  "corrupt_commit",
  "input_gone",
  "invalid_change",
  "invalid_column",
  "log_too_long",
  "path_exists",
  "schema_conflict",
  "snapshot_behind",
  "too_many_blocks",
  "too_many_columns",
  // pkg/tenant
  "invalid_tenant",
  "no_tenant",
  // pkg/wire
  "wire",
  "wire_version",
] as const;

/** A word of the catalogue, or `http_<status>` for a response without a more specific reason. */
export type Reason = (typeof reasons)[number] | `http_${number}`;

/** Returns a word that a server or the operating system chose as a reason. */
export function foreignReason(word: string): Reason {
  return word as Reason;
}
