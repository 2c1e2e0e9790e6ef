/** A diagonal plus a rank-one matrix, diagonalized: diag(d) + rho z z^T. */
export interface SecularSolution {
  /** Ascending, [k]. */
  readonly values: Float64Array;
  /** Row j is the unit eigenvector of values[j], [k, k]. */
  readonly vectors: Float64Array;
}

/**
 * Eigenvalues and eigenvectors of diag(d) + rho z z^T, for distinct ascending d, z without zeros and rho > 0.
 *
 * Eigenvalues are roots of 1 + rho sum z_k^2 / (d_k - lambda), one in every gap, found as distances from the nearer
 * pole so that no digits are lost. Vectors are computed from a z that belongs to these values exactly, which keeps them orthogonal.
 *
 * Source: Gu & Eisenstat (1994), SIAM J Matrix Anal 15:1266; Li (1993), LAPACK Working Note 89 (the middle way).
 */
export function solveSecular(d: Float64Array, z: Float64Array, rho: number): SecularSolution {
  const k = d.length;
  /** gaps[j k + i] = d_i - lambda_j. */
  const gaps = new Float64Array(k * k);
  const values = new Float64Array(k);
  const squares = z.map((v) => rho * v * v);
  let total = 0;
  for (const s of squares) total += s;
  for (let j = 0; j < k; j++) {
    values[j] = root(d, squares, total, j, gaps.subarray(j * k, (j + 1) * k));
  }
  const exact = new Float64Array(k);
  for (let i = 0; i < k; i++) {
    // prod_j (lambda_j - d_i) / prod_{j != i} (d_j - d_i), in pairs whose ratios are near 1.
    let product = -gaps[i * k + i]!;
    for (let j = 0; j < k; j++) {
      if (j !== i) product *= gaps[j * k + i]! / (d[i]! - d[j]!);
    }
    exact[i] = Math.sign(z[i]!) * Math.sqrt(Math.abs(product));
  }
  for (let j = 0; j < k; j++) {
    let square = 0;
    for (let i = j * k; i < (j + 1) * k; i++) {
      gaps[i] = exact[i - j * k]! / gaps[i]!;
      square += gaps[i]! * gaps[i]!;
    }
    const scale = 1 / Math.sqrt(square);
    for (let i = j * k; i < (j + 1) * k; i++) gaps[i]! *= scale;
  }
  return { values, vectors: gaps };
}

const MOST_STEPS = 100;

/** The j-th root; fills `gap` with d_i - root. */
function root(
  d: Float64Array,
  squares: Float64Array,
  total: number,
  j: number,
  gap: Float64Array,
): number {
  const k = d.length;
  if (k === 1) {
    gap[0] = -squares[0]!;
    return d[0]! + squares[0]!;
  }
  const last = j === k - 1;
  const width = last ? total : d[j + 1]! - d[j]!;
  // The value in the middle of the gap says which pole is nearer.
  const middle = width / 2;
  let atMiddle = 1;
  for (let i = 0; i < k; i++) atMiddle += squares[i]! / (d[i]! - d[j]! - middle);
  const fromLeft = last || atMiddle >= 0;
  const origin = fromLeft ? d[j]! : d[j + 1]!;
  let low = fromLeft ? (last && atMiddle < 0 ? middle : 0) : -middle;
  let high = fromLeft ? (last && atMiddle < 0 ? width : middle) : 0;
  // Two poles carry the interpolation: those around the root, or the last two.
  const left = last ? k - 2 : j;
  let mu = (low + high) / 2;
  for (let step = 0; step < MOST_STEPS; step++) {
    let f = 1;
    let size = 1;
    let leftSlope = 0;
    let rightSlope = 0;
    for (let i = 0; i <= left; i++) {
      const g = d[i]! - origin - mu;
      gap[i] = g;
      const term = squares[i]! / g;
      f += term;
      size += Math.abs(term);
      leftSlope += term / g;
    }
    for (let i = left + 1; i < k; i++) {
      const g = d[i]! - origin - mu;
      gap[i] = g;
      const term = squares[i]! / g;
      f += term;
      size += Math.abs(term);
      rightSlope += term / g;
    }
    if (!(Math.abs(f) > 2 * Number.EPSILON * size)) break;
    if (f < 0) low = mu;
    else high = mu;
    const [p, q] = [gap[left]!, gap[left + 1]!];
    const a = (p + q) * f - p * q * (leftSlope + rightSlope);
    const b = p * q * f;
    const c = f - p * leftSlope - q * rightSlope;
    const discriminant = Math.sqrt(Math.max(0, a * a - 4 * b * c));
    const eta = a <= 0 ? (a - discriminant) / (2 * c) : (2 * b) / (a + discriminant);
    let next = mu + eta;
    if (!(next > low && next < high)) next = (low + high) / 2;
    if (next === mu || high - low <= Number.EPSILON * Math.min(Math.abs(low), Math.abs(high)))
      break;
    mu = next;
  }
  for (let i = 0; i < k; i++) gap[i] = d[i]! - origin - mu;
  return origin + mu;
}
