/**
 * The door of pkg/wire: plain data as bytes.
 */
export {
  type Codec,
  type ValueOf,
  bigInt,
  bigInt64s,
  bigUint64s,
  bool,
  bytes,
  count,
  decode,
  dictionary,
  encode,
  float,
  float64s,
  int32s,
  list,
  nested,
  optional,
  record,
  text,
  variant,
  word,
} from "./codec.ts";
