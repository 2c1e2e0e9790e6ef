import type { Activations } from "@penfield/core";
import type { Linalg } from "@penfield/linalg";
import { assignment } from "./assignment.ts";
import { centred, type Dense, pairOf } from "./pair.ts";
import { uniformTransport } from "./transport.ts";

/** Units centred and divided by their length, and which of them do not vary. */
interface UnitColumns {
  readonly x: Dense;
  readonly constant: Uint8Array;
}

function unitColumns(x: Dense): UnitColumns {
  const c = centred(x);
  const { nRows, nColumns } = x;
  const squares = new Float64Array(nColumns);
  const sizes = new Float64Array(nColumns);
  for (let i = 0; i < nRows; i++) {
    for (let j = 0; j < nColumns; j++) {
      squares[j]! += c.data[i * nColumns + j]! ** 2;
      sizes[j]! += x.data[i * nColumns + j]! ** 2;
    }
  }
  const constant = Uint8Array.from(squares, (s, j) => (s > 1e-28 * sizes[j]! ? 0 : 1));
  for (let i = 0; i < nRows; i++) {
    for (let j = 0; j < nColumns; j++) {
      c.data[i * nColumns + j] = constant[j]
        ? 0
        : c.data[i * nColumns + j]! / Math.sqrt(squares[j]!);
    }
  }
  return { x: c, constant };
}

/** Correlations of all units of x with all of y, `[p, q]`; 0 where a unit does not vary. */
async function correlations(linalg: Linalg, x: Dense, y: Dense): Promise<Dense> {
  return linalg.matmul(unitColumns(x).x, unitColumns(y).x, { transposeA: true });
}

/**
 * Correlation of units matched one to one: the mean over the matching with the greatest sum.
 *
 * @param x - `[n, p]`, finite.
 * @param y - `[n, q]`, the same stimuli. The larger representation keeps units without a partner.
 * @returns The mean over min(p, q) pairs, at most 1; units that do not vary have correlation 0 with all.
 * @throws {ShapeError} if the stimuli differ or are fewer than 2.
 * @throws {DataError} if a value is not finite.
 *
 * Cost: one product and a linear assignment. Source: Li et al. (2015), "Convergent learning". Matches ReSi's HardCorrelationMatch.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = activations([[1, 5], [2, 1], [4, 3]]);
 * (await hardCorrelationMatch(linalg, x, activations([[5, 2], [1, 4], [3, 8]]))).toFixed(9) // => "1.000000000"
 */
export async function hardCorrelationMatch(
  linalg: Linalg,
  x: Activations,
  y: Activations,
): Promise<number> {
  const pair = pairOf("hardCorrelationMatch", x, y);
  const r = await correlations(linalg, pair.x, pair.y);
  return assignment(r, { maximize: true }).total / Math.min(r.nRows, r.nColumns);
}

/**
 * Correlation of every unit with the one that is most like it, which may be taken many times (pairwise match).
 *
 *   (mean_i max_j r_ij + mean_j max_i r_ij) / 2
 *
 * @returns `mean` of both directions, `xToY` and `yToX`.
 * @throws As {@link hardCorrelationMatch}.
 *
 * Cost: one product. Source: Li et al. (2015), "Convergent learning". Matches ReSi's SoftCorrelationMatch.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = activations([[1, 5], [2, 1], [4, 3]]);
 * (await pairwiseMatch(linalg, x, activations([[1], [2], [4]]))).yToX.toFixed(9) // => "1.000000000"
 */
export async function pairwiseMatch(
  linalg: Linalg,
  x: Activations,
  y: Activations,
): Promise<{ readonly mean: number; readonly xToY: number; readonly yToX: number }> {
  const pair = pairOf("pairwiseMatch", x, y);
  const { data, nRows, nColumns } = await correlations(linalg, pair.x, pair.y);
  const rows = new Float64Array(nRows).fill(Number.NEGATIVE_INFINITY);
  const columns = new Float64Array(nColumns).fill(Number.NEGATIVE_INFINITY);
  for (let i = 0; i < nRows; i++) {
    for (let j = 0; j < nColumns; j++) {
      rows[i] = Math.max(rows[i]!, data[i * nColumns + j]!);
      columns[j] = Math.max(columns[j]!, data[i * nColumns + j]!);
    }
  }
  const mean = (v: Float64Array) => v.reduce((sum, value) => sum + value, 0) / v.length;
  const [xToY, yToX] = [mean(rows), mean(columns)];
  return { mean: (xToY + yToX) / 2, xToY, yToX };
}

/** What soft matching finds. */
export interface SoftMatching {
  /** The root of the cost of the best transport: a distance. */
  readonly distance: number;
  /** sum_ij T_ij r_ij: mean correlation of the units that are matched. */
  readonly correlation: number;
  /** `[p, q]`: rows sum to 1 / p, columns to 1 / q. */
  readonly plan: Dense;
  /** How many units do not vary; they are matched as patterns of zeros. */
  readonly nConstant: number;
}

/**
 * Soft matching: units are matched as in an optimal transport, in parts where the numbers of units differ, so
 * that every unit counts. Unlike a rotation, it keeps what single units do.
 *
 *   d^2 = min over T of sum_ij T_ij |x_i - y_j|^2,  T with row sums 1/p and column sums 1/q
 *
 * Units are centred and have length 1, so that |x_i - y_j|^2 = 2 - 2 r_ij.
 *
 * @param x - `[n, p]`, finite.
 * @param y - `[n, q]`, the same stimuli.
 * @throws {ShapeError} if the stimuli differ or are fewer than 2.
 * @throws {DataError} if a value is not finite.
 *
 * Cost: one product and {@link uniformTransport}. Source: Khosla & Williams (2024), "Soft matching distance", PMLR 243.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = activations([[1, 5], [2, 1], [4, 3]]);
 * (await softMatching(linalg, x, activations([[5, 1], [1, 2], [3, 4]]))).correlation.toFixed(9) // => "1.000000000"
 */
export async function softMatching(
  linalg: Linalg,
  x: Activations,
  y: Activations,
): Promise<SoftMatching> {
  const pair = pairOf("softMatching", x, y);
  const [a, b] = [unitColumns(pair.x), unitColumns(pair.y)];
  const r = await linalg.matmul(a.x, b.x, { transposeA: true });
  const cost = r.data.map((value, k) => {
    const length =
      (a.constant[Math.floor(k / r.nColumns)] ? 0 : 1) + (b.constant[k % r.nColumns] ? 0 : 1);
    return Math.max(0, length - 2 * value);
  });
  const { plan, cost: square } = uniformTransport({ ...r, data: cost });
  let correlation = 0;
  for (let k = 0; k < plan.data.length; k++) correlation += plan.data[k]! * r.data[k]!;
  const count = (flags: Uint8Array) => flags.reduce((sum, flag) => sum + flag, 0);
  return {
    distance: Math.sqrt(Math.max(0, square)),
    correlation,
    plan,
    nConstant: count(a.constant) + count(b.constant),
  };
}
