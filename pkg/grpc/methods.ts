/**
 * The methods of a port as a table: their names, rights and message types. Handlers take and return
 * bytes; `unaryMethod` and `streamingMethod` wrap handlers of generated messages.
 */
import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { SpoorError } from "#pkg/errors/errors.ts";
import type { Encoding, Lease } from "#pkg/listen/listen.ts";
import type { Right, Viewer } from "#pkg/tenant/tenant.ts";

export interface MethodFacts {
  /** E.g. `grpc.health.v1.Health`. */
  service: string;
  /** E.g. `Check`. */
  method: string;
  right: Right;
  /** Full names of the request and response messages. */
  request: string;
  answer: string;
}

export interface GrpcCall {
  /** The caller; with the right `write` always a tenant. */
  viewer: Viewer;
  /** Address of the client. */
  peer: string;
  /** Start time by `performance.now()`. */
  startedMs: number;
  /** Aborts at the client's deadline, or when the client disconnects. */
  signal: AbortSignal;
}

export interface UnaryCall extends GrpcCall {
  /** The message as sent. */
  message: { bytes: Uint8Array; encoding: Encoding };
  /** Counts the message's bytes. Handlers must add memory that they derive from them. */
  lease: Lease;
  /** Returns the message after decompression. Throws what `inflate` of pkg/listen throws. */
  inflated(): Promise<Uint8Array>;
}

/** One message in, one out. */
export interface UnaryMethod extends MethodFacts {
  kind: "unary";
  requestBytesMax: number;
  /** Resolves to the bytes of the response. */
  handle: (call: UnaryCall) => Promise<Uint8Array>;
}

/** One message in, any number out. Handlers bound how many such calls are open. */
export interface StreamingMethod extends MethodFacts {
  kind: "server_streaming";
  requestBytesMax: number;
  /** Yields responses. The next one is requested when the client can receive it. */
  handle: (request: Uint8Array, call: GrpcCall) => AsyncIterable<Uint8Array>;
}

export type GrpcMethod = UnaryMethod | StreamingMethod;

/** A method of a generated service. */
interface DescribedMethod<Kind extends string, I extends DescMessage, O extends DescMessage> {
  methodKind: Kind;
  name: string;
  parent: { typeName: string };
  input: I;
  output: O;
}

/** Properties of a method that its schema lacks. */
interface Declared {
  right: Right;
  requestBytesMax: number;
}

/** Wraps a handler for a unary method of a generated service. */
export function unaryMethod<I extends DescMessage, O extends DescMessage>(
  described: DescribedMethod<"unary", I, O>,
  declared: Declared,
  handle: (request: MessageShape<I>, call: GrpcCall) => Promise<MessageInitShape<O>>,
): UnaryMethod {
  const { input, output } = described;
  return {
    ...factsOf(described, declared),
    kind: "unary",
    handle: async (call) => {
      const request = decode(input, await call.inflated());
      return toBinary(output, create(output, await handle(request, call)));
    },
  };
}

/** Wraps a handler for a server-streaming method of a generated service. */
export function streamingMethod<I extends DescMessage, O extends DescMessage>(
  described: DescribedMethod<"server_streaming", I, O>,
  declared: Declared,
  handle: (request: MessageShape<I>, call: GrpcCall) => AsyncIterable<MessageInitShape<O>>,
): StreamingMethod {
  const { input, output } = described;
  return {
    ...factsOf(described, declared),
    kind: "server_streaming",
    handle: async function* (request, call) {
      for await (const answer of handle(decode(input, request), call)) {
        yield toBinary(output, create(output, answer));
      }
    },
  };
}

function factsOf(
  { name, parent, input, output }: DescribedMethod<string, DescMessage, DescMessage>,
  declared: Declared,
): MethodFacts & Declared {
  const types = { request: input.typeName, answer: output.typeName };
  return { service: parent.typeName, method: name, ...types, ...declared };
}

function decode<I extends DescMessage>(input: I, bytes: Uint8Array): MessageShape<I> {
  try {
    return fromBinary(input, bytes);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new SpoorError("InvalidInput", `not a ${input.typeName}: ${why}`, {
      cause,
      reason: "invalid_protobuf",
    });
  }
}
