import { ShapeError, type Tensor } from "@penfield/core";
import { checkCount, checkFinite } from "./check.ts";
import { gramOfColumns } from "./gram.ts";

/** How strongly a network is coupled, as the width of its covariances tells. */
export interface SpectralRadius {
  /** R: 0 without coupling, 1 where linear activity would grow without bound. NaN if nothing varies. */
  readonly radius: number;
  /** Delta: standard deviation of covariances between units over the mean of their variances, without what chance adds. */
  readonly dispersion: number;
  /** The same with what chance adds. */
  readonly naive: { readonly radius: number; readonly dispersion: number };
  /** What speaks against the estimate, as sentences; empty if nothing does. */
  readonly warnings: readonly string[];
}

/**
 * The spectral radius of a network's effective coupling, from how widely covariances of its units are spread.
 *
 *   Delta^2 = (var of c_ij, i != j, less mean of (c_ii c_jj + c_ij^2) / (nSamples - 1)) / (mean of c_ii)^2
 *   R = sqrt(1 - 1 / sqrt(1 + N Delta^2))
 *
 * In a large random network close to linear, covariances between units are small on average and spread the more widely the
 * stronger the coupling is (a second kind of criticality, which averages and the branching ratio do not show).
 *
 * @param x - Samples by units, `[nSamples, nUnits]`, nSamples >= 3, nUnits >= 2, finite: spike counts of trials, or of bins
 *   much longer than the activity's timescale, so that samples are independent.
 * @param options.nTotal - N, units of the whole network, those that were not seen among them. Default nUnits.
 * @returns Both estimates. The correction for chance is right on average; dispersion 0 if covariances are no wider than chance makes them.
 * @throws {ShapeError} if there are fewer than 3 samples or 2 units.
 * @throws {DataError} if a value is not finite.
 * @throws {ArgumentError} if nTotal is below nUnits.
 *
 * Cost: O(nSamples nUnits^2).
 * Source: Dahmen, Grün, Diesmann & Helias (2019), PNAS 116:13051-13060.
 *
 * @example
 * const rng = createRng(1);
 * const rows = Array.from({ length: 500 }, () => Array.from({ length: 20 }, () => rng.normal()));
 * spectralRadius(activations(rows)).radius < 0.3 // => true
 */
export function spectralRadius(
  x: Tensor<readonly [string, string]>,
  { nTotal = x.shape[1] }: { nTotal?: number } = {},
): SpectralRadius {
  const name = "spectralRadius";
  const [n, p] = x.shape;
  if (n < 3 || p < 2) {
    throw new ShapeError(`${name}: expected at least 3 samples of 2 units, got [${n}, ${p}]`);
  }
  checkFinite(name, "activity", x.data);
  checkCount(name, "nTotal", nTotal, p);
  const means = new Float64Array(p);
  for (let k = 0; k < x.data.length; k++) means[k % p]! += x.data[k]! / n;
  const centred = Float64Array.from(x.data, (v, k) => v - means[k % p]!);
  const c = gramOfColumns(centred, n, p).map((v) => v / (n - 1));
  const own = Float64Array.from({ length: p }, (_, i) => c[i * p + i]!);
  const scale = own.reduce((sum, v) => sum + v, 0) / p;
  const nPairs = (p * (p - 1)) / 2;
  let [sum, squares, chance] = [0, 0, 0];
  for (let i = 0; i < p; i++) {
    for (let j = 0; j < i; j++) {
      const between = c[i * p + j]!;
      sum += between;
      squares += between * between;
      chance += (own[i]! * own[j]! + between * between) / (n - 1);
    }
  }
  const spread = squares / nPairs - (sum / nPairs) ** 2;
  const real = spread - chance / nPairs;
  const of = (variance: number) => {
    const dispersion = Math.sqrt(Math.max(0, variance)) / scale;
    return { dispersion, radius: Math.sqrt(1 - 1 / Math.sqrt(1 + nTotal * dispersion ** 2)) };
  };
  const warnings: string[] = [];
  if (real <= 0)
    warnings.push("Covariances vary no more than chance makes them: take more samples.");
  else if (real < spread / 4) {
    warnings.push("Most of the spread of covariances is chance: take more samples.");
  }
  return { ...of(real), naive: of(spread), warnings };
}
