import { ArgumentError, ShapeError } from "@penfield/core";
import type { Dense } from "./pair.ts";

/** Pairs of rows and columns. */
export interface Assignment {
  /** For each row its column, or -1 if there are more rows than columns and it got none, `[n]`. */
  readonly columns: Int32Array;
  /** The sum of the entries chosen. */
  readonly total: number;
}

/**
 * The best one-to-one matching of rows and columns: the sum of the chosen entries is the largest (or
 * smallest) there is.
 *
 * Shortest augmenting paths with dual prices, row after row. Of several best matchings it takes the one that scipy's
 * linear_sum_assignment takes.
 *
 * @param values - `[n, m]`, finite. Every row gets a column if n <= m; else every column gets a row.
 * @param options.maximize - Default false: the smallest sum.
 * @throws {ShapeError} if there are no values.
 * @throws {ArgumentError} if a value is not finite.
 *
 * Cost: O(n^2 m) at worst, usually far less (about 0.1 s at 512 x 512).
 * Source: Jonker & Volgenant (1987), Computing 38:325-340; Crouse (2016), IEEE Trans. AES 52.
 *
 * @example
 * const values = { data: Float64Array.of(1, 2, 3, 1), nRows: 2, nColumns: 2 };
 * assignment(values, { maximize: true }).columns.join(" ") // => "1 0"
 */
export function assignment(
  values: Dense,
  { maximize = false }: { maximize?: boolean | undefined } = {},
): Assignment {
  const { data, nRows: n, nColumns: m } = values;
  if (n === 0 || m === 0) throw new ShapeError(`assignment: expected values, got ${n} x ${m}`);
  const at = data.findIndex((v) => !Number.isFinite(v));
  if (at >= 0) throw new ArgumentError(`assignment: expected finite values, got ${data[at]}`);
  if (n > m) {
    const turned = new Float64Array(n * m);
    for (let i = 0; i < n; i++) for (let j = 0; j < m; j++) turned[j * n + i] = data[i * m + j]!;
    const { columns: rows, total } = assignment(
      { data: turned, nRows: m, nColumns: n },
      { maximize },
    );
    const columns = new Int32Array(n).fill(-1);
    rows.forEach((row, j) => {
      columns[row] = j;
    });
    return { columns, total };
  }
  const cost = maximize ? data.map((v) => -v) : data;
  const columns = assignRows(cost, n, m);
  let total = 0;
  columns.forEach((j, i) => {
    total += data[i * m + j]!;
  });
  return { columns, total };
}

function assignRows(cost: Float64Array, n: number, m: number): Int32Array {
  const columnOf = new Int32Array(n).fill(-1);
  const rowOf = new Int32Array(m).fill(-1);
  const u = new Float64Array(n);
  const v = new Float64Array(m);
  const search = {
    shortest: new Float64Array(m),
    before: new Int32Array(m),
    waiting: new Int32Array(m),
    rowsSeen: new Int32Array(n),
    columnsSeen: new Int32Array(m),
  };
  for (let i = 0; i < n; i++) augment(cost, m, i, u, v, columnOf, rowOf, search);
  return columnOf;
}

interface Search {
  readonly shortest: Float64Array;
  readonly before: Int32Array;
  readonly waiting: Int32Array;
  readonly rowsSeen: Int32Array;
  readonly columnsSeen: Int32Array;
}

/** Finds the cheapest way to give row `start` a column, moving others along, and goes it. */
function augment(
  cost: Float64Array,
  m: number,
  start: number,
  u: Float64Array,
  v: Float64Array,
  columnOf: Int32Array,
  rowOf: Int32Array,
  { shortest, before, waiting, rowsSeen, columnsSeen }: Search,
): void {
  shortest.fill(Number.POSITIVE_INFINITY);
  // From the last column on: with equal sums, the choice is the one that scipy makes.
  for (let j = 0; j < m; j++) waiting[j] = m - 1 - j;
  let nWaiting = m;
  let nRowsSeen = 0;
  let nColumnsSeen = 0;
  let i = start;
  let length = 0;
  let end = -1;
  while (end === -1) {
    rowsSeen[nRowsSeen++] = i;
    let least = Number.POSITIVE_INFINITY;
    let best = -1;
    for (let w = 0; w < nWaiting; w++) {
      const j = waiting[w]!;
      const through = length + cost[i * m + j]! - u[i]! - v[j]!;
      if (through < shortest[j]!) {
        shortest[j] = through;
        before[j] = i;
      }
      const d = shortest[j]!;
      // Of equally near columns a free one ends the search.
      if (d < least || (d === least && rowOf[j] === -1)) {
        least = d;
        best = w;
      }
    }
    length = least;
    const j = waiting[best]!;
    waiting[best] = waiting[--nWaiting]!;
    columnsSeen[nColumnsSeen++] = j;
    if (rowOf[j] === -1) end = j;
    else i = rowOf[j]!;
  }
  u[start]! += length;
  for (let r = 1; r < nRowsSeen; r++) {
    const row = rowsSeen[r]!;
    u[row]! += length - shortest[columnOf[row]!]!;
  }
  for (let c = 0; c < nColumnsSeen; c++) {
    const j = columnsSeen[c]!;
    v[j]! -= length - shortest[j]!;
  }
  let j = end;
  for (;;) {
    const row = before[j]!;
    rowOf[j] = row;
    const next = columnOf[row]!;
    columnOf[row] = j;
    if (row === start) break;
    j = next;
  }
}
