import { DataError } from "@penfield/core";
import type { Linalg } from "@penfield/linalg";
import { checkTrials, type Trials } from "./gaussian.ts";
import { type GaussianProcess, gaussianProcessDistance } from "./gaussianProcess.ts";

/** The largest covariance that a registered measure decomposes: some seconds, and 32 MB. */
const MOST = 2048;

/**
 * Repeated trajectories as one Gaussian over all times and units.
 *
 * @param trials - `[n times, r repeats, p units]`, finite, r >= 2.
 * @param options.ridge - Added to the diagonal. Default 0; with r <= n p the covariance is singular, which {@link gaussianProcessDistance} takes.
 * @returns The mean over repeats and the covariance of all times and units, over r - 1.
 * @throws {ShapeError} if there are fewer than 2 repeats.
 * @throws {DataError} if a value is not finite.
 *
 * Cost: 2 r (n p)^2 operations. Source: Nejatbakhsh et al. (2024).
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const trials = { data: Float64Array.of(1, 3, 0, 2), nStimuli: 2, nRepeats: 2, nUnits: 1 };
 * const { mean, covariance } = await gaussianProcessOf(linalg, trials);
 * [...mean.data, ...covariance.data].join(" ") // => "2 1 2 2 2 2"
 */
export async function gaussianProcessOf(
  linalg: Linalg,
  trials: Trials,
  { ridge = 0 }: { ridge?: number | undefined } = {},
): Promise<GaussianProcess> {
  checkTrials("gaussianProcessOf", trials, 2);
  const { data, nStimuli: n, nRepeats: r, nUnits: p } = trials;
  const size = n * p;
  const mean = new Float64Array(size);
  const off = new Float64Array(r * size);
  for (let i = 0; i < n; i++) {
    for (let t = 0; t < r; t++) {
      for (let j = 0; j < p; j++) {
        const value = data[(i * r + t) * p + j]!;
        mean[i * p + j]! += value / r;
        off[t * size + i * p + j] = value;
      }
    }
  }
  const scale = 1 / Math.sqrt(r - 1);
  for (let at = 0; at < off.length; at++) off[at] = scale * (off[at]! - mean[at % size]!);
  const deviations = { data: off, nRows: r, nColumns: size };
  const covariance = await linalg.matmul(deviations, deviations, { transposeA: true });
  if (ridge !== 0) for (let at = 0; at < size; at++) covariance.data[at * size + at]! += ridge;
  return { mean: { data: mean, nRows: n, nColumns: p }, covariance };
}

/** Of repeated trajectories, as the registry computes it: what would take hours is refused. */
export async function processShapeDistance(linalg: Linalg, x: Trials, y: Trials): Promise<number> {
  for (const { nStimuli, nUnits } of [x, y]) {
    if (nStimuli * nUnits > MOST) {
      throw new DataError(
        `gaussian-process-shape: expected at most ${MOST} times times units, got ${nStimuli} x ${nUnits}`,
        { hint: "Take fewer times, or principal components of the units." },
      );
    }
  }
  const [a, b] = [await gaussianProcessOf(linalg, x), await gaussianProcessOf(linalg, y)];
  return (await gaussianProcessDistance(linalg, a, b)).distance;
}
