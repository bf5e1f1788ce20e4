/**
 * Resource and scope of spans as columns. A head stores them as protobuf bytes, once per distinct
 * pair (an "envelope"). Each pair is decoded once and its values are copied to its rows.
 */
import { WireWriter } from "#pkg/bytes/bytes.ts";
import {
  type AnyValue,
  decodeTraceData,
  type KeyValue,
  type Resource,
  type Scope,
} from "#pkg/otlp/otlp.ts";
import { type Column, type ListColumn, valueBytes, valueText } from "./column-batch.ts";
import { DictBuilder } from "./dict-builder.ts";
import type { HeadData } from "./head.ts";
import { formatRestValue } from "./rest-value.ts";
import { attributeColumnName, columnKeyPattern, type ScalarType } from "./schema.ts";

interface Envelope {
  resource: Resource;
  resourceSchema: string;
  scope: Scope;
  scopeSchema: string;
  /** Resource attributes that can be columns, by column name. */
  scalars: Map<string, AnyValue>;
  resourceRest: KeyValue[];
}

/** Builds columns of a batch from its envelopes. */
export class EnvelopeColumns {
  readonly #envelopes: Envelope[];
  readonly #rowEnvelopes: Uint32Array;

  /** @param rowEnvelopes The envelope of each row of the batch. */
  constructor(data: HeadData, rowEnvelopes: Uint32Array) {
    this.#rowEnvelopes = rowEnvelopes;
    this.#envelopes = decodeEnvelopes(data);
  }

  /** Returns the resource attribute columns that occur, with the number of rows of each. */
  attributeRows(): Map<string, number> {
    const rowsOf = new Uint32Array(this.#envelopes.length);
    for (const envelope of this.#rowEnvelopes) rowsOf[envelope]++;
    const counts = new Map<string, number>();
    this.#envelopes.forEach((envelope, i) => {
      if (rowsOf[i] === 0) return;
      for (const name of envelope.scalars.keys()) {
        counts.set(name, (counts.get(name) ?? 0) + rowsOf[i]);
      }
    });
    return counts;
  }

  /** Returns the column of a resource attribute; undefined if no row has the attribute. */
  attribute(name: string): Column | undefined {
    const values = this.#envelopes.map((envelope) => envelope.scalars.get(name));
    const first = values.find((value) => value !== undefined);
    switch (first?.kind) {
      case "string":
        return this.#strings(values.map((v) => (v?.kind === "string" ? v.value : undefined)));
      case "int":
        return {
          kind: "int64",
          values: this.#spread(
            BigInt64Array,
            values.map((v) => (v?.kind === "int" ? v.value : 0n)),
          ),
          valid: this.#valid(values),
        };
      case "double":
        return {
          kind: "double",
          values: this.#spread(
            Float64Array,
            values.map((v) => (v?.kind === "double" ? v.value : 0)),
          ),
          valid: this.#valid(values),
        };
      case "bool":
        return {
          kind: "bool",
          values: this.#spread(
            Uint8Array,
            values.map((v) => (v?.kind === "bool" && v.value ? 1 : 0)),
          ),
          valid: this.#valid(values),
        };
      default:
        return undefined;
    }
  }

  /**
   * Returns a fixed column of resource or scope; undefined if it is empty or not one of these.
   */
  fixed(name: string, chosen: ReadonlySet<string> | undefined): Column | undefined {
    switch (name) {
      case "scope_name":
        return this.#texts((envelope) => envelope.scope.name);
      case "scope_version":
        return this.#texts((envelope) => envelope.scope.version);
      case "scope_schema_url":
        return this.#texts((envelope) => envelope.scopeSchema);
      case "scope_dropped_attributes_count":
        return this.#counts((envelope) => envelope.scope.droppedAttributesCount);
      case "resource_schema_url":
        return this.#texts((envelope) => envelope.resourceSchema);
      case "resource_dropped_attributes_count":
        return this.#counts((envelope) => envelope.resource.droppedAttributesCount);
      case "resource_entity_refs":
        return this.#texts(({ resource }) =>
          resource.entityRefs.length === 0 ? "" : JSON.stringify(resource.entityRefs),
        );
      case "scope_rest_key":
        return this.#lists((envelope) => envelope.scope.attributes.map(({ key }) => key));
      case "scope_rest_value":
        return this.#lists((envelope) =>
          envelope.scope.attributes.map(({ value }) => formatRestValue(value)),
        );
      case "resource_rest_key":
        return this.#lists((envelope) => restOf(envelope, chosen).map(({ key }) => key));
      case "resource_rest_value":
        return this.#lists((envelope) =>
          restOf(envelope, chosen).map(({ value }) => formatRestValue(value)),
        );
      default:
        return undefined;
    }
  }

  #texts(pick: (envelope: Envelope) => string): Column | undefined {
    const texts = this.#envelopes.map((envelope) => pick(envelope) || undefined);
    return this.#strings(texts);
  }

  #strings(texts: (string | undefined)[]): Column | undefined {
    const builder = new DictBuilder();
    const codes = texts.map((text) => (text === undefined ? -1 : builder.code(text)));
    if (builder.length === 0) return undefined;
    return builder.column(this.#spread(Int32Array, codes));
  }

  #counts(pick: (envelope: Envelope) => number): Column | undefined {
    const counts = this.#envelopes.map((envelope) => pick(envelope));
    if (counts.every((count) => count === 0)) return undefined;
    return { kind: "int32", values: this.#spread(Int32Array, counts), valid: undefined };
  }

  #lists(pick: (envelope: Envelope) => string[]): ListColumn | undefined {
    const builder = new DictBuilder();
    const lists = this.#envelopes.map((envelope) =>
      Int32Array.from(pick(envelope), (text) => builder.code(text)),
    );
    if (builder.length === 0) return undefined;
    const rows = this.#rowEnvelopes;
    const offsets = new Int32Array(rows.length + 1);
    for (let row = 0; row < rows.length; row++) {
      offsets[row + 1] = offsets[row] + lists[rows[row]].length;
    }
    const codes = new Int32Array(offsets[rows.length]);
    for (let row = 0; row < rows.length; row++) codes.set(lists[rows[row]], offsets[row]);
    return { kind: "list", offsets, child: builder.column(codes) };
  }

  #spread<T extends Int32Array | Float64Array | Uint8Array | BigInt64Array>(
    make: new (length: number) => T,
    values: readonly T[number][],
  ): T {
    const rows = this.#rowEnvelopes;
    const out = new make(rows.length);
    for (let row = 0; row < rows.length; row++) out[row] = values[rows[row]];
    return out;
  }

  #valid(values: readonly (AnyValue | undefined)[]): Uint8Array | undefined {
    if (values.every((value) => value !== undefined)) return undefined;
    const rows = this.#rowEnvelopes;
    const valid = new Uint8Array((rows.length + 7) >> 3);
    for (let row = 0; row < rows.length; row++) {
      if (values[rows[row]] !== undefined) valid[row >> 3] |= 1 << (row & 7);
    }
    return valid;
  }
}

/** Returns attributes without a column: those that cannot have one and those not chosen. */
function restOf(envelope: Envelope, chosen: ReadonlySet<string> | undefined): KeyValue[] {
  if (chosen === undefined) return envelope.resourceRest;
  const unchosen: KeyValue[] = [];
  for (const [name, value] of envelope.scalars) {
    if (chosen.has(name)) continue;
    const key = /^resource\.(.*?)(?::int|:double|:bool)?$/.exec(name)![1];
    unchosen.push({ key, value });
  }
  // The first service name must precede its other values.
  return [...unchosen, ...envelope.resourceRest];
}

function decodeEnvelopes(data: HeadData): Envelope[] {
  const { envelopes, dictionaries } = data;
  const resources = new Map<number, Resource>();
  const scopes = new Map<number, Scope>();
  const out: Envelope[] = [];
  for (let i = 0; i < envelopes.resource.length; i++) {
    const resourceCode = envelopes.resource[i];
    const scopeCode = envelopes.scope[i];
    const resource =
      resources.get(resourceCode) ??
      decodeResource(valueBytes(dictionaries.resource, resourceCode));
    resources.set(resourceCode, resource);
    const scope = scopes.get(scopeCode) ?? decodeScope(valueBytes(dictionaries.scope, scopeCode));
    scopes.set(scopeCode, scope);
    out.push({
      resource,
      scope,
      resourceSchema: valueText(dictionaries.schemaUrl, envelopes.resourceSchema[i]),
      scopeSchema: valueText(dictionaries.schemaUrl, envelopes.scopeSchema[i]),
      ...splitAttributes(resource.attributes),
    });
  }
  return out;
}

function decodeResource(bytes: Uint8Array): Resource {
  const writer = new WireWriter(bytes.length + 16);
  writer.message(1, (inner) => inner.bytesField(1, bytes));
  return decodeTraceData(writer.bytes()).resourceSpans[0].resource;
}

function decodeScope(bytes: Uint8Array): Scope {
  const writer = new WireWriter(bytes.length + 16);
  writer.message(1, (outer) => outer.message(2, (inner) => inner.bytesField(1, bytes)));
  return decodeTraceData(writer.bytes()).resourceSpans[0].scopeSpans[0].scope;
}

const scalarTypes: Partial<Record<AnyValue["kind"], ScalarType>> = {
  string: "string",
  int: "int64",
  double: "double",
  bool: "bool",
};

function splitAttributes(attributes: readonly KeyValue[]): {
  scalars: Map<string, AnyValue>;
  resourceRest: KeyValue[];
} {
  const scalars = new Map<string, AnyValue>();
  const resourceRest: KeyValue[] = [];
  const counts = new Map<string, number>();
  for (const { key } of attributes) counts.set(key, (counts.get(key) ?? 0) + 1);
  const seen = new Set<string>();
  for (const attribute of attributes) {
    const { key, value } = attribute;
    const type = scalarTypes[value.kind];
    // All values of a repeated key go to the rest list, in order: the last one counts. Exception:
    // the first service name stays in its column, which is the service in all answers.
    const isService = key === "service.name" && type === "string" && !seen.has(key);
    seen.add(key);
    const mayBeColumn = counts.get(key) === 1 || isService;
    if (type !== undefined && mayBeColumn && columnKeyPattern.test(key)) {
      scalars.set(attributeColumnName("resource", key, type), value);
    } else resourceRest.push(attribute);
  }
  return { scalars, resourceRest };
}
