/** The error for an invalid request parameter. */
import { SpoorError } from "#pkg/errors/errors.ts";

/** Returns InvalidInput with reason `invalid_parameter`. */
export function invalid(message: string): SpoorError {
  return new SpoorError("InvalidInput", message, { reason: "invalid_parameter" });
}
