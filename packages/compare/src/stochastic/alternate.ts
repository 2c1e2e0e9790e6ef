import { type Linalg, type MatrixBatch, polarFactor } from "@penfield/linalg";
import { assignment } from "../similarity/assignment.ts";
import { type Dense, inner, norm } from "../similarity/pair.ts";

/** Over which transformations two networks are aligned. */
export type StochasticGroup = "orthogonal" | "permutation" | "identity";

/** The member of the group with the greatest inner product with a matrix, `[p, p]`. */
export async function alignTo(
  linalg: Linalg,
  cross: Dense,
  group: StochasticGroup,
): Promise<Dense> {
  const p = cross.nRows;
  if (group === "orthogonal") return polarFactor(cross, linalg);
  const data = new Float64Array(p * p);
  const columns =
    group === "permutation" ? assignment(cross, { maximize: true }).columns : undefined;
  for (let i = 0; i < p; i++) data[i * p + (columns ? columns[i]! : i)] = 1;
  return { data, nRows: p, nColumns: p };
}

/** What alternation needs of a problem: minimize a |M_x - M_y T|^2 + b sum_i min over Q_i of |S_i - Q_i^T R_i T|^2. */
export interface AlternationProblem {
  readonly group: StochasticGroup;
  /** M_y^T M_x. */
  readonly meanCross: Dense;
  readonly meanWeight: number;
  readonly spreadWeight: number;
  /** |M_x - M_y T|^2. */
  readonly meanResidual: (t: Dense) => Promise<number>;
  /** The best Q for T, as sum_i R_i^T Q_i S_i, and the residual sum_i |S_i - Q_i^T R_i T'|^2 of another T'. */
  readonly spread: (
    t: Dense,
  ) => Promise<{ readonly cross: Dense; readonly residual: (t: Dense) => Promise<number> }>;
}

/** An alignment and how it was found. */
export interface Alternation {
  /** `[p, p]`: responses of y times this are aligned with x. */
  readonly transform: Dense;
  /** The root of the weighted residual after each iteration. */
  readonly losses: readonly number[];
  readonly iterations: number;
  /** False if the iterations ran out. */
  readonly converged: boolean;
}

/** Alternates between the inner rotations and T, as netrep does, step by step. */
export async function alternate(
  linalg: Linalg,
  problem: AlternationProblem,
  start: Dense,
  iterations: number,
  tolerance: number,
): Promise<Alternation> {
  const { meanWeight, spreadWeight } = problem;
  let transform = start;
  const losses: number[] = [];
  for (let i = 0; i < iterations; i++) {
    const { cross, residual } = await problem.spread(transform);
    transform = await alignTo(linalg, weighted(problem, cross), problem.group);
    losses.push(
      Math.sqrt(
        meanWeight * (await problem.meanResidual(transform)) +
          spreadWeight * (await residual(transform)),
      ),
    );
    if (i >= 2 && losses[i - 1]! - losses[i]! < tolerance) {
      return { transform, losses, iterations: i + 1, converged: true };
    }
  }
  return { transform, losses, iterations, converged: false };
}

/**
 * The same map, accelerated: each step starts from a point extrapolated along the last one, with Nesterov's
 * weights, which start anew whenever a step gains nothing. Never ends worse than it was at any step.
 *
 * What is maximized, g(T) = <weighted cross(T), T>, is convex and homogeneous in T. So <cross(P), T> is never more
 * than g(T), whatever the point P that the step to T started from: this bound costs nothing and decides on
 * restarts, and P need not be orthogonal.
 */
export async function alternateAccelerated(
  linalg: Linalg,
  problem: AlternationProblem,
  start: Dense,
  constant: number,
  iterations: number,
  tolerance: number,
  /** What gains are off by, as a share of the constant: less of a loss is none. */
  noise = 0,
): Promise<Alternation> {
  const accelerates = problem.group === "orthogonal";
  let here = start;
  let before = start;
  let bound = Number.NEGATIVE_INFINITY;
  let momentum = 1;
  let quiet = 0;
  const losses: number[] = [];
  for (let i = 0; i < iterations; i++) {
    const next = (1 + Math.sqrt(1 + 4 * momentum * momentum)) / 2;
    const by = accelerates ? (momentum - 1) / next : 0;
    const point = by === 0 ? here : extrapolated(here, before, by);
    const cross = weighted(problem, (await problem.spread(point)).cross);
    const arrived = await alignTo(linalg, cross, problem.group);
    const value = inner(cross.data, arrived.data);
    const gain = value - bound;
    if (gain < -noise * constant && by !== 0) {
      momentum = 1;
      before = here;
      losses.push(lossOf(constant, bound));
      continue;
    }
    before = here;
    here = arrived;
    bound = Math.max(bound, value);
    momentum = next;
    losses.push(lossOf(constant, bound));
    quiet = gain <= tolerance * constant ? quiet + 1 : 0;
    if (quiet >= (accelerates ? 3 : 1)) {
      return { transform: here, losses, iterations: i + 1, converged: true };
    }
  }
  return { transform: here, losses, iterations, converged: false };
}

const lossOf = (constant: number, value: number): number =>
  Math.sqrt(Math.max(0, constant - 2 * value));

function weighted(
  { meanCross, meanWeight, spreadWeight }: AlternationProblem,
  cross: Dense,
): Dense {
  return {
    ...cross,
    data: cross.data.map((v, i) => meanWeight * meanCross.data[i]! + spreadWeight * v),
  };
}

function extrapolated(here: Dense, before: Dense, by: number): Dense {
  return { ...here, data: here.data.map((v, i) => v + by * (v - before.data[i]!)) };
}

/** |a - b T|_F^2. */
export async function residualOf(linalg: Linalg, a: Dense, b: Dense, t: Dense): Promise<number> {
  const { data } = await linalg.matmul(b, t);
  return norm(data.map((v, i) => a.data[i]! - v)) ** 2;
}

/** All matrices of a batch below each other. No copy. */
export function stacked({ data, count, nRows, nColumns }: MatrixBatch): Dense {
  return { data, nRows: count * nRows, nColumns };
}
