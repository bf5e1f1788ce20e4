/** Returns the n-th largest of some numbers (n from 1), in linear time on average. */
export function nthLargest(numbers: Float64Array, n: number): number {
  const left = numbers.slice();
  let from = 0;
  let to = left.length - 1;
  const wanted = left.length - n;
  // Hoare's selection. Input that would make it slow is sorted instead.
  for (let rounds = 0; from < to; rounds++) {
    if (rounds > roundsMax) return left.subarray(from, to + 1).sort()[wanted - from];
    const pivot = middleOf(left[from], left[(from + to) >>> 1], left[to]);
    let low = from;
    let high = to;
    while (low <= high) {
      while (left[low] < pivot) low++;
      while (left[high] > pivot) high--;
      if (low > high) break;
      const swapped = left[low];
      left[low++] = left[high];
      left[high--] = swapped;
    }
    if (wanted <= high) to = high;
    else if (wanted >= low) from = low;
    else return left[wanted];
  }
  return left[from];
}

/** Enough rounds for a million numbers, unless they were chosen to be slow. */
const roundsMax = 60;

function middleOf(a: number, b: number, c: number): number {
  return Math.max(Math.min(a, b), Math.min(Math.max(a, b), c));
}
