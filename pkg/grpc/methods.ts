/**
 * The methods of a port as a table: what each is called, who may call it, what it takes and gives.
 * Bytes in and bytes out; `unaryMethod` and `streamingMethod` put generated messages around them.
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
  /** Full names of the messages that it takes and gives. */
  request: string;
  answer: string;
}

export interface GrpcCall {
  /** For whom it is; of the right `write`, always a tenant. */
  viewer: Viewer;
  /** Address of the client. */
  peer: string;
  /** By `performance.now()`. */
  startedMs: number;
  /** Aborts at the client's deadline, and when it goes away. */
  signal: AbortSignal;
}

export interface UnaryCall extends GrpcCall {
  /** As it was sent. */
  message: { bytes: Uint8Array; encoding: Encoding };
  /** Holds the message's bytes; what is made of them is to be counted there, too. */
  lease: Lease;
  /** The message after decompression. Throws as `inflate` of pkg/listen. */
  inflated(): Promise<Uint8Array>;
}

/** One message in, one out. */
export interface UnaryMethod extends MethodFacts {
  kind: "unary";
  requestBytesMax: number;
  /** Resolves to the answer's bytes. */
  handle: (call: UnaryCall) => Promise<Uint8Array>;
}

/** One message in, any number out. Handlers bound how many such calls are open. */
export interface StreamingMethod extends MethodFacts {
  kind: "server_streaming";
  requestBytesMax: number;
  /** Makes the answers; it is asked for the next one when the client has room for it. */
  handle: (request: Uint8Array, call: GrpcCall) => AsyncIterable<Uint8Array>;
}

export type GrpcMethod = UnaryMethod | StreamingMethod;

/** A method as it is in a generated service. */
interface DescribedMethod<Kind extends string, I extends DescMessage, O extends DescMessage> {
  methodKind: Kind;
  name: string;
  parent: { typeName: string };
  input: I;
  output: O;
}

/** What a schema does not say of a method. */
interface Declared {
  right: Right;
  requestBytesMax: number;
}

/** A unary method of a generated service. */
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

/** A method of a generated service that answers with a stream. */
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
