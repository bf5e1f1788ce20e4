/** Places of traces in the order of an answer. */

/** A place in the order of the answer: newest start first, then by id. */
export interface Place {
  startNano: bigint;
  /** 32 hex digits; "" comes before all. */
  id: string;
}

export function comparePlaces(a: Place, b: Place): number {
  if (a.startNano !== b.startNano) return a.startNano > b.startNano ? -1 : 1;
  return a.id < b.id ? -1 : a.id > b.id ? 1 : 0;
}
