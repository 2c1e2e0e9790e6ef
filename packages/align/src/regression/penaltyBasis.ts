/**
 * Predictions of many penalties from those of a few. Along direction j a penalty alpha leaves the share
 *
 *   h_alpha(j) = |lambda_j| / (lambda_j + alpha)
 *
 * of what least squares would predict. As functions of lambda these shares are nearly dependent (those of two penalties far above
 * every lambda differ by a factor, those far below are all 1), so a few orthonormal ones span all of them to rounding.
 */
export interface PenaltyBasis {
  /** How many functions, r. */
  readonly count: number;
  /** Row q is function q over the directions, [r, k]. */
  readonly shares: Float64Array;
  /** h of penalty a = sum_q combine[a r + q] shares_q, [nAlphas, r]; undefined where each penalty has its own function. */
  readonly combine: Float64Array | undefined;
}

/** Nanoseconds of a multiplication and addition in a product, and of one in scoring: what the choice below weighs. */
const PRODUCT = 0.013;
const LOOP = 0.5;

/**
 * @param tolerance - Largest part of a penalty's shares, relative to their norm, that may be left out.
 */
export function penaltyBasis(
  lambda: Float64Array,
  alphas: readonly number[],
  tolerance: number,
): PenaltyBasis {
  const own = alphas.map((alpha) =>
    lambda.map((value) => (value === 0 ? 0 : Math.abs(value) / (value + alpha))),
  );
  const norms = own.map(norm);
  const rest = own.map((h, a) => (norms[a] === 0 ? h : h.map((value) => value / norms[a]!)));
  const functions: Float64Array[] = [];
  while (functions.length < alphas.length) {
    const sizes = rest.map(norm);
    const largest = sizes.indexOf(Math.max(...sizes));
    if (!(sizes[largest]! > tolerance)) break;
    const q = rest[largest]!.map((value) => value / sizes[largest]!);
    // Once more: what rounding left of the earlier functions.
    for (const before of functions) subtractAlong(q, before);
    const length = norm(q);
    functions.push(q.map((value) => value / length));
    for (const h of rest) subtractAlong(h, functions[functions.length - 1]!);
  }
  const r = Math.max(1, functions.length);
  const k = lambda.length;
  const shared = r * k * PRODUCT + LOOP * 0.5 * r * (r + 3);
  const each = alphas.length * (k * PRODUCT + LOOP * 2);
  if (functions.length === 0 || each <= shared) {
    return { count: alphas.length, shares: joined(own, k), combine: undefined };
  }
  const combine = new Float64Array(alphas.length * r);
  own.forEach((h, a) => {
    functions.forEach((q, at) => {
      combine[a * r + at] = dot(h, q);
    });
  });
  return { count: r, shares: joined(functions, k), combine };
}

const dot = (a: Float64Array, b: Float64Array): number => {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
};
const norm = (a: Float64Array): number => Math.sqrt(dot(a, a));

function subtractAlong(a: Float64Array, q: Float64Array): void {
  const share = dot(a, q);
  for (let i = 0; i < a.length; i++) a[i]! -= share * q[i]!;
}

function joined(rows: readonly Float64Array[], k: number): Float64Array {
  const out = new Float64Array(rows.length * k);
  rows.forEach((row, i) => {
    out.set(row, i * k);
  });
  return out;
}
