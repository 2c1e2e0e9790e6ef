import type { Activations } from "@penfield/core";
import type { Linalg } from "@penfield/linalg";
import { centredPair, linearModel } from "./leastSquares.ts";
import type { LinearModel, Responses } from "./ridgeCv.ts";
import { withLinalg } from "./ridgeEngine.ts";

/** A model of one unit per target. */
export interface NearestUnitModel extends LinearModel {
  /** The unit of each target, [nTargets]. */
  readonly units: Int32Array;
  /** Its correlation with the target over the stimuli fitted to, [nTargets]. */
  readonly correlations: Float64Array;
}

/**
 * For each target the unit that correlates with it most, and the line through both: a map that cannot mix units.
 *
 * @param x - Activations, `[nStimuli, nUnits]`, finite.
 * @param y - Responses, `[nStimuli, nTargets]`, finite.
 * @param options.sign - Whether a unit that falls as the target rises counts: `positive` (default) or `any`.
 * @returns The unit of each target and a linear model of it, to be scored on other stimuli. A unit that does not vary correlates 0.
 * @throws {ShapeError} if the numbers of stimuli differ, or there is no unit or target.
 * @throws {DataError} if a value is not finite.
 *
 * Cost: one product of `[nUnits, nStimuli]` and `[nStimuli, nTargets]`.
 * Source: the one-to-one mapping of Yamins et al. (2014), PNAS 111; Arend et al. (2018).
 *
 * @example
 * const x = activations([[1, 5], [2, 1], [4, 2]]);
 * const y = tensor(Float64Array.of(3, 5, 9), ["stimulus", "target"], [3, 1]);
 * (await nearestUnit(x, y)).units[0] // => 0
 */
export async function nearestUnit(
  x: Activations,
  y: Responses,
  {
    sign = "positive",
    linalg: given,
  }: { sign?: "positive" | "any" | undefined; linalg?: Linalg | undefined } = {},
): Promise<NearestUnitModel> {
  const pair = centredPair("nearestUnit", x, y, true);
  return withLinalg(given, async (linalg) => {
    const nUnits = pair.x.nColumns;
    const nTargets = pair.y.nColumns;
    const { data: products } = await linalg.matmul(pair.x, pair.y, { transposeA: true });
    const [xSquares, ySquares] = [squares(pair.x), squares(pair.y)];
    const units = new Int32Array(nTargets);
    const correlations = new Float64Array(nTargets);
    const coefficients = new Float64Array(nUnits * nTargets);
    for (let t = 0; t < nTargets; t++) {
      let best = Number.NEGATIVE_INFINITY;
      for (let u = 0; u < nUnits; u++) {
        const scale = Math.sqrt(xSquares[u]! * ySquares[t]!);
        const r = scale === 0 ? 0 : products[u * nTargets + t]! / scale;
        const size = sign === "any" ? Math.abs(r) : r;
        if (size <= best) continue;
        best = size;
        units[t] = u;
        correlations[t] = r;
      }
      const unit = units[t]!;
      const at = unit * nTargets + t;
      coefficients[at] = xSquares[unit] === 0 ? 0 : products[at]! / xSquares[unit]!;
    }
    const model = linearModel({ data: coefficients, nRows: nUnits, nColumns: nTargets }, pair);
    return { ...model, units, correlations };
  });
}

function squares({ data, nColumns }: { data: Float64Array; nColumns: number }): Float64Array {
  const sums = new Float64Array(nColumns);
  for (let i = 0; i < data.length; i++) sums[i % nColumns]! += data[i]! ** 2;
  return sums;
}
