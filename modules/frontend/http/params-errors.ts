/** What is wrong with a parameter, in words for people. */
import { SpoorError } from "#pkg/errors/errors.ts";

export function invalid(message: string): SpoorError {
  return new SpoorError("InvalidInput", message, { reason: "invalid_parameter" });
}
