/** A diagonal plus a rank-one matrix, diagonalized: diag(d) + rho z z^T. */
export interface SecularSolution {
  /** Ascending, [k]. */
  readonly values: Float64Array;
  /** Row j is the unit eigenvector of values[j], [k, k]. */
  readonly vectors: Float64Array;
}

/** A diagonal matrix with a full first row, decomposed. */
export interface BorderedSvd {
  /** Ascending, [k]. */
  readonly values: Float64Array;
  /** Row j is the unit left singular vector of values[j], [k, k]. */
  readonly left: Float64Array;
  /** Row j is the unit right singular vector of values[j], [k, k]. */
  readonly right: Float64Array;
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
  const { roots, gaps, exact } = solve(d, z, rho, (a, b) => a - b);
  for (let j = 0; j < k; j++) {
    const gap = gaps.subarray(j * k, (j + 1) * k);
    for (let i = 0; i < k; i++) gap[i] = exact[i]! / gap[i]!;
    toUnitLength(gap);
  }
  return { values: roots.map(({ pole, beyond }) => d[pole]! + beyond), vectors: gaps };
}

/**
 * Singular values and vectors of diag(d) with z as its first row, for 0 = d_0 < d_1 < ... and z without zeros: their squares
 * are the eigenvalues of diag(d^2) + z z^T.
 *
 * Differences of squares are taken as products of sums and differences, so that values keep their digits.
 *
 * Source: Gu & Eisenstat (1995), SIAM J Matrix Anal 16:79.
 */
export function solveBordered(d: Float64Array, z: Float64Array): BorderedSvd {
  const k = d.length;
  const { roots, gaps, exact } = solve(d, z, 1, (a, b) => (a - b) * (a + b));
  const left = new Float64Array(k * k);
  for (let j = 0; j < k; j++) {
    const v = gaps.subarray(j * k, (j + 1) * k);
    const u = left.subarray(j * k, (j + 1) * k);
    for (let i = 0; i < k; i++) {
      v[i] = exact[i]! / v[i]!;
      u[i] = d[i]! * v[i]!;
    }
    u[0] = -1;
    toUnitLength(v);
    toUnitLength(u);
  }
  const values = roots.map(({ pole, beyond }) => Math.sqrt(d[pole]! * d[pole]! + beyond));
  return { values, left, right: gaps };
}

interface Roots {
  /** Ascending; each by the pole next to it and its distance from there. */
  readonly roots: { map(value: (root: Root) => number): Float64Array };
  /** gaps[j k + i] = pole_i - root_j. */
  readonly gaps: Float64Array;
  /** The z to which these roots belong exactly. */
  readonly exact: Float64Array;
}

interface Root {
  readonly pole: number;
  readonly beyond: number;
}

function solve(
  d: Float64Array,
  z: Float64Array,
  rho: number,
  difference: (a: number, b: number) => number,
): Roots {
  const k = d.length;
  const gaps = new Float64Array(k * k);
  const squares = z.map((v) => rho * v * v);
  let total = 0;
  for (const s of squares) total += s;
  const found: Root[] = [];
  const shifted = new Float64Array(k);
  const from = (origin: number): Float64Array => {
    for (let i = 0; i < k; i++) shifted[i] = difference(d[i]!, d[origin]!);
    return shifted;
  };
  // prod_j (root_j - pole_i) / prod_{j != i} (pole_j - pole_i), in pairs whose ratios are near 1.
  const exact = new Float64Array(k).fill(1);
  for (let j = 0; j < k; j++) {
    const gap = gaps.subarray(j * k, (j + 1) * k);
    found.push(root(from, squares, total, j, gap));
    const apart = from(j);
    for (let i = 0; i < k; i++) exact[i]! *= i === j ? -gap[i]! : gap[i]! / apart[i]!;
  }
  for (let i = 0; i < k; i++) exact[i] = Math.sign(z[i]!) * Math.sqrt(Math.abs(exact[i]!));
  return { roots: { map: (value) => Float64Array.from(found, value) }, gaps, exact };
}

function toUnitLength(v: Float64Array): void {
  let square = 0;
  for (let i = 0; i < v.length; i++) square += v[i]! * v[i]!;
  const scale = 1 / Math.sqrt(square);
  for (let i = 0; i < v.length; i++) v[i]! *= scale;
}

const MOST_STEPS = 100;

/** The j-th root; fills `gap` with pole_i - root. */
function root(
  from: (origin: number) => Float64Array,
  squares: Float64Array,
  total: number,
  j: number,
  gap: Float64Array,
): Root {
  const k = squares.length;
  if (k === 1) {
    gap[0] = -squares[0]!;
    return { pole: 0, beyond: squares[0]! };
  }
  const last = j === k - 1;
  let poles = from(j);
  const width = last ? total : poles[j + 1]!;
  // The value in the middle of the gap says which pole is nearer.
  const middle = width / 2;
  let atMiddle = 1;
  for (let i = 0; i < k; i++) atMiddle += squares[i]! / (poles[i]! - middle);
  const fromLeft = last || atMiddle >= 0;
  const pole = fromLeft ? j : j + 1;
  if (!fromLeft) poles = from(pole);
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
      const g = poles[i]! - mu;
      const term = squares[i]! / g;
      f += term;
      size += Math.abs(term);
      leftSlope += term / g;
    }
    for (let i = left + 1; i < k; i++) {
      const g = poles[i]! - mu;
      const term = squares[i]! / g;
      f += term;
      size += Math.abs(term);
      rightSlope += term / g;
    }
    if (!(Math.abs(f) > 2 * Number.EPSILON * size)) break;
    if (f < 0) low = mu;
    else high = mu;
    const [p, q] = [poles[left]! - mu, poles[left + 1]! - mu];
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
  for (let i = 0; i < k; i++) gap[i] = poles[i]! - mu;
  return { pole, beyond: mu };
}
