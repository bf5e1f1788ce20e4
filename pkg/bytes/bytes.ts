/**
 * The door of pkg/bytes: arenas, growing arrays, the protobuf wire format.
 */
export { Arena } from "./arena.ts";
export { GrowU32, GrowU8, Ledger } from "./grow.ts";
export { ownBuffers } from "./own-buffers.ts";
export { WireWriter, varintSize } from "./wire-writer.ts";
export { WireReader, wireBytes, wireFixed32, wireFixed64, wireVarint } from "./wire.ts";
