/**
 * The door of modules/receivers.
 */
export { OtlpReceiver } from "./otlp-receiver.ts";
