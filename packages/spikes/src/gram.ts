/**
 * `a a^T` of a matrix `[n, length]`: every row times every other, `[n, n]`. Two rows by two are in work at a time, so that
 * each value that is loaded serves twice.
 */
export function gramOfRows(a: Float64Array, n: number, length: number): Float64Array {
  const out = new Float64Array(n * n);
  for (let i = 0; i < n; i += 2) {
    // The last row of an odd number is paired with itself.
    const i2 = Math.min(i + 1, n - 1);
    for (let j = 0; j <= i; j += 2) {
      const j2 = Math.min(j + 1, n - 1);
      let [aa, ab, ba, bb] = [0, 0, 0, 0];
      for (let k = 0; k < length; k++) {
        const x = a[i * length + k]!;
        const x2 = a[i2 * length + k]!;
        const y = a[j * length + k]!;
        const y2 = a[j2 * length + k]!;
        aa += x * y;
        ab += x * y2;
        ba += x2 * y;
        bb += x2 * y2;
      }
      for (const [r, c, value] of [
        [i, j, aa],
        [i, j2, ab],
        [i2, j, ba],
        [i2, j2, bb],
      ] as const) {
        out[r * n + c] = value;
        out[c * n + r] = value;
      }
    }
  }
  return out;
}

/** `a^T a`, `[nColumns, nColumns]`. */
export function gramOfColumns(a: Float64Array, nRows: number, nColumns: number): Float64Array {
  const columns = new Float64Array(a.length);
  for (let r = 0; r < nRows; r++) {
    for (let c = 0; c < nColumns; c++) columns[c * nRows + r] = a[r * nColumns + c]!;
  }
  return gramOfRows(columns, nColumns, nRows);
}
