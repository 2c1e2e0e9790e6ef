import { type Linalg, type MatrixBatch, polarFactor, symmetricEigen } from "@penfield/linalg";
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

/** Steps that the curvature is learned from. */
const DEPTH = 10;

/**
 * The same problem for rotations by a quasi-Newton method (L-BFGS in the rotations' tangent space, preconditioned with what one
 * step of alternation takes for the curvature). A step that gains nothing is replaced by one of alternation, which never loses,
 * and what was learned is given up. For permutations and the identity: alternation.
 *
 * What is maximized, g(T) = <weighted cross(T), T>, is homogeneous in T, so weighted cross(T) is its gradient.
 *
 * Source: Nocedal & Wright (2006), Numerical Optimization, 7.2; Huang, Gallivan & Absil (2015), SIAM J Optim 25:1660 (on manifolds).
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
  const turns = problem.group === "orthogonal";
  const gradientAt = async (t: Dense) => weighted(problem, (await problem.spread(t)).cross);
  let here = start;
  let gradient = await gradientAt(here);
  let value = inner(gradient.data, here.data);
  let steps: Step[] = [];
  let quiet = 0;
  const losses: number[] = [];
  const reach = async (t: Dense): Promise<Arrival> => {
    const there = await gradientAt(t);
    return { t, gradient: there, gain: inner(there.data, t.data) - value };
  };
  for (let i = 0; i < iterations; i++) {
    const tangent = turns ? await tangentAt(linalg, here, gradient) : undefined;
    let arrival: Arrival | undefined;
    if (tangent && steps.length > 0) {
      arrival = await reach(await turned(linalg, here, await ascent(linalg, tangent, steps)));
    }
    if (!arrival || !(arrival.gain >= -noise * constant)) {
      steps = [];
      arrival = await reach(await alignTo(linalg, gradient, problem.group));
    }
    if (tangent) {
      const step = await skewOf(linalg, here, arrival.t);
      const after = await skewOf(linalg, arrival.t, arrival.gradient);
      const change = tangent.skew.map((v, at) => v - after[at]!);
      const curvature = inner(step, change);
      if (curvature > 1e-12 * norm(step) * norm(change)) {
        steps = [...steps.slice(1 - DEPTH), { step, change, curvature }];
      }
    }
    const { gain } = arrival;
    here = arrival.t;
    gradient = arrival.gradient;
    value += gain;
    losses.push(lossOf(constant, value));
    quiet = gain <= tolerance * constant ? quiet + 1 : 0;
    if (quiet >= (turns ? 3 : 1)) {
      return { transform: here, losses, iterations: i + 1, converged: true };
    }
  }
  return { transform: here, losses, iterations, converged: false };
}

/** Where a step leads, and how much g gains by it. */
interface Arrival {
  readonly t: Dense;
  readonly gradient: Dense;
  readonly gain: number;
}

/** A step and how much it changed the gradient, both skew-symmetric `[p, p]`. */
interface Step {
  readonly step: Float64Array;
  readonly change: Float64Array;
  readonly curvature: number;
}

/** At T: the skew part of T^T G, which is the gradient along turns T exp(D), and the eigenvectors of the symmetric part. */
interface Tangent {
  readonly skew: Float64Array;
  readonly values: Float64Array;
  /** As rows. */
  readonly vectors: Dense;
}

async function tangentAt(linalg: Linalg, t: Dense, gradient: Dense): Promise<Tangent> {
  const p = t.nRows;
  const { data } = await linalg.matmul(t, gradient, { transposeA: true });
  const symmetric = new Float64Array(p * p);
  for (let i = 0; i < p; i++) {
    for (let j = 0; j < p; j++) symmetric[i * p + j] = (data[i * p + j]! + data[j * p + i]!) / 2;
  }
  const { values, vectors } = symmetricEigen({ data: symmetric, nRows: p, nColumns: p });
  return { skew: data.map((v, at) => v - symmetric[at]!), values, vectors };
}

/** The skew part of T^T G; of two rotations: of the turn from one to the other. */
async function skewOf(linalg: Linalg, t: Dense, gradient: Dense): Promise<Float64Array> {
  const p = t.nRows;
  const { data } = await linalg.matmul(t, gradient, { transposeA: true });
  return data.map((v, at) => (v - data[(at % p) * p + Math.floor(at / p)]!) / 2);
}

/** The two loops of L-BFGS, between them the solution of P D + D P = 2 A, P the symmetric part. */
async function ascent(
  linalg: Linalg,
  { skew, values, vectors }: Tangent,
  steps: readonly Step[],
): Promise<Float64Array> {
  const q = Float64Array.from(skew);
  const shares = new Float64Array(steps.length);
  for (let k = steps.length - 1; k >= 0; k--) {
    const { step, change, curvature } = steps[k]!;
    shares[k] = inner(step, q) / curvature;
    for (let at = 0; at < q.length; at++) q[at]! -= shares[k]! * change[at]!;
  }
  const p = vectors.nRows;
  const asMatrix = (data: Float64Array): Dense => ({ data, nRows: p, nColumns: p });
  const left = await linalg.matmul(vectors, asMatrix(q));
  const inside = await linalg.matmul(left, vectors, { transposeB: true });
  const least = 1e-10 * Math.abs(values[0]!);
  const scaled = inside.data.map(
    (v, at) => (2 * v) / Math.max(least, values[Math.floor(at / p)]! + values[at % p]!),
  );
  const back = await linalg.matmul(vectors, asMatrix(scaled), { transposeA: true });
  const d = (await linalg.matmul(back, vectors)).data;
  steps.forEach(({ step, change, curvature }, k) => {
    const by = shares[k]! - inner(change, d) / curvature;
    for (let at = 0; at < d.length; at++) d[at]! += by * step[at]!;
  });
  return d;
}

/** The rotation nearest to T (I + D). */
async function turned(linalg: Linalg, t: Dense, d: Float64Array): Promise<Dense> {
  const moved = await linalg.matmul(t, { ...t, data: d });
  return polarFactor({ ...t, data: moved.data.map((v, at) => v + t.data[at]!) }, linalg);
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

/** |a - b T|_F^2. */
export async function residualOf(linalg: Linalg, a: Dense, b: Dense, t: Dense): Promise<number> {
  const { data } = await linalg.matmul(b, t);
  return norm(data.map((v, i) => a.data[i]! - v)) ** 2;
}

/** All matrices of a batch below each other. No copy. */
export function stacked({ data, count, nRows, nColumns }: MatrixBatch): Dense {
  return { data, nRows: count * nRows, nColumns };
}
