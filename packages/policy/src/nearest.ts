/**
 * The nearest known name, for messages: "unknown X, did you mean Y?" (Damerau–Levenshtein distance, at most a third of
 * the word wrong). Only for people: nothing is ever corrected by it.
 */

const longestCompared = 64;

/** ` Did you mean "x"?` for the nearest of `known`, or, when none is near, the empty string. */
export function suggest(word: string, known: Iterable<string>): string {
  const near = nearest(word, known);
  return near === null ? '' : ` Did you mean "${near}"?`;
}

/** The known name closest to `word`, the alphabetically first of equals, or null when none is close. */
export function nearest(word: string, known: Iterable<string>): string | null {
  if (word.length > longestCompared) return null;
  let best: string | null = null;
  let bestDistance = Math.max(1, Math.floor(word.length / 3)) + 1;
  for (const candidate of [...known].sort()) {
    if (candidate.length > longestCompared || Math.abs(candidate.length - word.length) >= bestDistance)
      continue;
    const distance = editDistance(word, candidate);
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= b.length; column += 1) {
      const same = a[row - 1] === b[column - 1];
      let distance = Math.min(
        (last[column] ?? 0) + 1,
        (current[column - 1] ?? 0) + 1,
        (last[column - 1] ?? 0) + (same ? 0 : 1),
      );
      if (row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]) {
        distance = Math.min(distance, (beforeLast[column - 2] ?? 0) + 1);
      }
      current.push(distance);
    }
    beforeLast = last;
    last = current;
  }
  return last[b.length] ?? 0;
}
