// Generated from traceql.grammar: UPDATE=1 npx vitest run pkg/traceql/generated.test.ts
export const space = 102;
export const LineComment = 1;
export const BlockComment = 2;
export const Missing = 3;
export const MissingEnd = 4;
export const Attribute = 5;
export const ScopedIntrinsic = 6;
