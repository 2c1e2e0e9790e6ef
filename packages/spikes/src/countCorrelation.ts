import { ShapeError, type Tensor, tensor } from "@penfield/core";
import { binCounts, type Population } from "./spikeTrain.ts";

/**
 * Correlations of binned spike counts between all pairs of units.
 *
 *   r_ij = cov(n_i, n_j) / sqrt(var(n_i) var(n_j))  over bins
 *
 * @param units - Recorded together.
 * @param options.binSeconds - Length of a bin, in seconds: it sets which correlations are seen.
 * @param options.binary - Count any number of spikes in a bin as one. Default false.
 * @returns `[nUnits, nUnits]`, 1 on the diagonal; NaN for units whose count does not vary (silent ones).
 * @throws {ArgumentError} if binSeconds is not above 0 or longer than the recording.
 * @throws {ShapeError} if there are fewer than 2 bins.
 *
 * Cost: O(nUnits^2 nBins). Matches elephant 1.2 `correlation_coefficient`.
 *
 * @example
 * const units = population([spikeTrain([0.1, 0.6], { tStop: 1 }), spikeTrain([0.2, 0.7], { tStop: 1 })]);
 * countCorrelation(units, { binSeconds: 0.25 }).data[1].toFixed(3) // => "1.000"
 */
export function countCorrelation(
  units: Population,
  { binSeconds, binary = false }: { binSeconds: number; binary?: boolean },
): Tensor<readonly ["unit", "unit"]> {
  const counts = binCounts(units, { binSeconds, binary });
  const [nUnits, nBins] = counts.shape;
  if (nBins < 2) {
    throw new ShapeError(`countCorrelation: expected at least 2 bins, got ${nBins}`, {
      hint: "Take shorter bins.",
    });
  }
  const rows = Array.from({ length: nUnits }, (_, unit) =>
    unitLength(counts.data.subarray(unit * nBins, (unit + 1) * nBins)),
  );
  const out = new Float64Array(nUnits * nUnits);
  for (let i = 0; i < nUnits; i++) {
    for (let j = i; j < nUnits; j++) {
      const varies = !Number.isNaN(rows[i]![0]!);
      const r = i === j && varies ? 1 : dot(rows[i]!, rows[j]!);
      out[i * nUnits + j] = r;
      out[j * nUnits + i] = r;
    }
  }
  return tensor(out, ["unit", "unit"], [nUnits, nUnits]);
}

/** Deviations from the mean, scaled to length 1; NaN if there are none. */
function unitLength(values: ArrayLike<number>): Float64Array {
  const x = Float64Array.from(values);
  const mean = x.reduce((sum, v) => sum + v, 0) / x.length;
  const squares = x.reduce((sum, v) => sum + (v - mean) ** 2, 0);
  return x.map((v) => (squares === 0 ? Number.NaN : (v - mean) / Math.sqrt(squares)));
}

function dot(x: Float64Array, y: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += x[i]! * y[i]!;
  return Number.isNaN(sum) ? sum : Math.max(-1, Math.min(1, sum));
}
