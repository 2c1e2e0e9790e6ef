/** The first four central moments of many units, as sums that can be merged. */
export interface MomentSums {
  /** Values of each unit so far. */
  n: number;
  readonly mean: Float64Array;
  readonly m2: Float64Array;
  readonly m3: Float64Array;
  readonly m4: Float64Array;
}

/**
 * Adds `values` to the sums of one unit. The first pass takes their mean, the second their powers about it, so that
 * a large mean does not swallow a small variance.
 *
 * @param nBefore - Values of this unit so far.
 *
 * Source: Pébay (2008), SAND2008-6212, equations 2.1 to 2.4 for two sets.
 */
export function addMoments(
  sums: Omit<MomentSums, "n">,
  unit: number,
  nBefore: number,
  values: Float32Array,
  valuesMean: number,
): void {
  const b = values.length;
  if (b === 0) return;
  let m2b = 0;
  let m3b = 0;
  let m4b = 0;
  for (let i = 0; i < b; i++) {
    const d = values[i]! - valuesMean;
    const d2 = d * d;
    m2b += d2;
    m3b += d2 * d;
    m4b += d2 * d2;
  }
  const a = nBefore;
  const n = a + b;
  const delta = valuesMean - sums.mean[unit]!;
  const step = delta / n;
  const m2a = sums.m2[unit]!;
  const m3a = sums.m3[unit]!;
  sums.m4[unit]! +=
    m4b +
    delta * step ** 3 * a * b * (a * a - a * b + b * b) +
    6 * step * step * (a * a * m2b + b * b * m2a) +
    4 * step * (a * m3b - b * m3a);
  sums.m3[unit]! += m3b + delta * step * step * a * b * (a - b) + 3 * step * (a * m2b - b * m2a);
  sums.m2[unit] = m2a + m2b + delta * step * a * b;
  sums.mean[unit]! += step * b;
}

/** Mean, variance (divided by n), skewness and kurtosis (3 for a normal); the last two are 0 for a constant unit. */
export function momentsOf(
  sums: Omit<MomentSums, "n">,
  unit: number,
  n: number,
): { mean: number; variance: number; skewness: number; kurtosis: number } {
  const m2 = sums.m2[unit]!;
  if (n === 0 || m2 <= 0) return { mean: sums.mean[unit]!, variance: 0, skewness: 0, kurtosis: 0 };
  return {
    mean: sums.mean[unit]!,
    variance: m2 / n,
    skewness: (Math.sqrt(n) * sums.m3[unit]!) / m2 ** 1.5,
    kurtosis: (n * sums.m4[unit]!) / (m2 * m2),
  };
}
