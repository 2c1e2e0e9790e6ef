/** B_2j / (2j)! for j = 1..8. */
const BERNOULLI = [
  1 / 12,
  -1 / 720,
  1 / 30240,
  -1 / 1209600,
  1 / 47900160,
  -691 / 1307674368000,
  1 / 74724249600,
  -3617 / 10670622842880000,
];

/**
 * Hurwitz' zeta function and its derivative by s.
 *
 *   zeta(s, q) = sum over k >= 0 of (k + q)^-s,  s > 1, q > 0
 *
 * Euler-Maclaurin summation from a term on at which the remainder is below rounding. Both are multiplied by unit^s, which keeps
 * them from underflow where q^-s would.
 */
export function hurwitzZeta(s: number, q: number, unit = 1): { value: number; derivative: number } {
  const logUnit = Math.log(unit);
  // The expansion needs arguments well above s / (2 pi).
  const nDirect = Math.max(0, Math.ceil(Math.max(24, 2 * s) - q));
  let value = 0;
  let derivative = 0;
  for (let k = 0; k < nDirect; k++) {
    const log = Math.log(q + k);
    const term = Math.exp(-s * (log - logUnit));
    value += term;
    derivative -= log * term;
  }
  const a = q + nDirect;
  const log = Math.log(a);
  const power = Math.exp(-s * (log - logUnit));
  const integral = (power * a) / (s - 1);
  value += integral + power / 2;
  derivative -= integral * (log + 1 / (s - 1)) + (log * power) / 2;
  // The j-th term is B_2j / (2j)! s (s + 1) ... (s + 2j - 2) a^(-s - 2j + 1).
  let product = s;
  let inverses = 1 / s;
  let scale = power / a;
  for (let j = 0; j < BERNOULLI.length; j++) {
    const term = BERNOULLI[j]! * product * scale;
    value += term;
    derivative += term * (inverses - log);
    const [c, d] = [s + 2 * j + 1, s + 2 * j + 2];
    product *= c * d;
    inverses += 1 / c + 1 / d;
    scale /= a * a;
  }
  return { value, derivative };
}
