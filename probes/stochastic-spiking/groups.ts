import { predictFromNeighbours } from "@penfield/compare";
import type { Matrix } from "@penfield/linalg";

/** How well nearest neighbours tell two groups apart, and how often that happens by chance. */
export interface GroupTest {
  /** Share of networks whose nearest neighbour is of their own group. */
  readonly score: number;
  /** Mean distances between groups and within. */
  readonly between: number;
  readonly within: number;
  /** Share of all divisions into groups of these sizes with a score at least as high. */
  readonly p: number;
  readonly nDivisions: number;
}

/**
 * Leaves each network out and asks its nearest neighbour; exact permutation test over all divisions.
 *
 * @param distances - `[n, n]`; @param first - which networks are of the first group, the others of the second.
 */
export function testGroups(distances: Matrix<Float64Array>, first: readonly boolean[]): GroupTest {
  const n = first.length;
  const nearest = (members: readonly boolean[]) =>
    predictFromNeighbours(
      distances,
      members.map((m) => (m ? "first" : "second")),
    ).score;
  const score = nearest(first);
  const size = first.filter(Boolean).length;
  let [asHigh, total] = [0, 0];
  for (const members of divisions(n, size)) {
    total++;
    if (nearest(members) >= score) asHigh++;
  }
  const [within, between] = [
    { sum: 0, n: 0 },
    { sum: 0, n: 0 },
  ];
  for (let a = 0; a < n; a++) {
    for (let b = a + 1; b < n; b++) {
      const part = first[a] === first[b] ? within : between;
      part.sum += distances.data[a * n + b]!;
      part.n++;
    }
  }
  return {
    score,
    between: between.sum / between.n,
    within: within.sum / within.n,
    p: asHigh / total,
    nDivisions: total,
  };
}

/** All ways to choose `size` of n. */
function* divisions(n: number, size: number, from = 0): Generator<boolean[]> {
  if (size === 0) {
    yield new Array<boolean>(n).fill(false);
    return;
  }
  for (let i = from; i <= n - size; i++) {
    for (const rest of divisions(n, size - 1, i + 1)) {
      rest[i] = true;
      yield rest;
    }
  }
}

/** Rows and columns of some networks. */
export function takeNetworks(
  { data, nRows }: Matrix<Float64Array>,
  chosen: readonly number[],
): Matrix<Float64Array> {
  const n = chosen.length;
  const part = new Float64Array(n * n);
  chosen.forEach((a, i) => {
    chosen.forEach((b, j) => {
      part[i * n + j] = data[a * nRows + b]!;
    });
  });
  return { data: part, nRows: n, nColumns: n };
}
