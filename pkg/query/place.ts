/** The order of traces in the result of a search. */

/** The sort key of a trace in the result: newest start first, then by id. */
export interface Place {
  startNano: bigint;
  /** 32 hex digits; "" sorts before all ids. */
  id: string;
}

export function comparePlaces(a: Place, b: Place): number {
  if (a.startNano !== b.startNano) return a.startNano > b.startNano ? -1 : 1;
  return a.id < b.id ? -1 : a.id > b.id ? 1 : 0;
}
