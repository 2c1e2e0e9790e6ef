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
const DEPTH = 20;

/** So many steps are taken with one metric. */
const STEPS_PER_METRIC = 10;

/** The sums of a problem in less precision, which is quicker and far from the end precise enough. */
export interface RoughSpread {
  readonly spread: AlternationProblem["spread"];
  /** What gains are off by, as a share of the constant: less of a gain is none, and less of a loss is none. */
  readonly noise: number;
}

/**
 * The same problem for rotations by a quasi-Newton method (L-BFGS in the rotations' tangent space, preconditioned with what one
 * step of alternation takes for the curvature, scaled to what the last step found). A step that gains nothing is replaced by one of
 * alternation, which never loses, and what was learned is given up. For permutations and the identity: alternation.
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
  rough?: RoughSpread,
): Promise<Alternation> {
  const turns = problem.group === "orthogonal";
  let { spread, noise } = rough ?? { spread: problem.spread, noise: 0 };
  const placeAt = async (t: Dense): Promise<Place> => {
    const gradient = weighted(problem, (await spread(t)).cross);
    const skew = turns ? await skewOf(linalg, t, gradient) : undefined;
    return { t, gradient, value: inner(gradient.data, t.data), skew };
  };
  let here = await placeAt(start);
  let metric: Metric | undefined;
  let steps: Step[] = [];
  let quiet = 0;
  const losses: number[] = [];
  for (let i = 0; i < iterations; i++) {
    if (here.skew && i % STEPS_PER_METRIC === 0) metric = await metricAt(linalg, here);
    let there: Place | undefined;
    if (metric && here.skew && steps.length > 0) {
      const move = await ascent(linalg, metric, here.skew, steps);
      there = await placeAt(await turned(linalg, here.t, move));
    }
    if (!there || !(there.value - here.value >= -noise * constant)) {
      steps = [];
      there = await placeAt(await alignTo(linalg, here.gradient, problem.group));
    }
    if (here.skew && there.skew) {
      const step = await skewOf(linalg, here.t, there.t);
      const change = difference(here.skew, there.skew);
      const curvature = inner(step, change);
      if (curvature > 1e-12 * Math.sqrt(inner(step, step) * inner(change, change))) {
        steps = [...steps.slice(1 - DEPTH), { step, change, curvature }];
      }
    }
    const gain = there.value - here.value;
    here = there;
    losses.push(lossOf(constant, here.value));
    quiet = gain <= Math.max(tolerance, noise) * constant ? quiet + 1 : 0;
    if (quiet < (turns ? 3 : 1)) continue;
    if (spread === problem.spread) {
      return { transform: here.t, losses, iterations: i + 1, converged: true };
    }
    ({ spread } = problem);
    noise = 0;
    quiet = 0;
    here = await placeAt(here.t);
  }
  return { transform: here.t, losses, iterations, converged: false };
}

/** A transformation, and what is maximized there. */
interface Place {
  readonly t: Dense;
  readonly gradient: Dense;
  readonly value: number;
  /** Of rotations: the skew part of T^T G, below the diagonal, which is the gradient along turns T exp(D). */
  readonly skew: Float64Array | undefined;
}

/** A step and how much it changed the gradient, both skew-symmetric: what is below the diagonal. */
interface Step {
  readonly step: Float64Array;
  readonly change: Float64Array;
  readonly curvature: number;
}

/** What alternation takes for the curvature along turns: D to (P D + D P) / 2, P the symmetric part of T^T G. */
interface Metric {
  /** Of P, as rows. */
  readonly vectors: Dense;
  /** `[p, p]`: 2 over the sums of two eigenvalues. */
  readonly inverse: Float64Array;
}

async function metricAt(linalg: Linalg, { t, gradient }: Place): Promise<Metric> {
  const p = t.nRows;
  const { data } = await linalg.matmul(t, gradient, { transposeA: true });
  const symmetric = new Float64Array(p * p);
  for (let i = 0; i < p; i++) {
    for (let j = 0; j < p; j++) symmetric[i * p + j] = (data[i * p + j]! + data[j * p + i]!) / 2;
  }
  const { values, vectors } = symmetricEigen({ data: symmetric, nRows: p, nColumns: p });
  const least = 1e-10 * Math.abs(values[0]!);
  const inverse = symmetric;
  for (let i = 0; i < p; i++) {
    for (let j = 0; j < p; j++) inverse[i * p + j] = 2 / Math.max(least, values[i]! + values[j]!);
  }
  return { vectors, inverse };
}

/** The metric's inverse of skew-symmetric matrices: in the basis of its eigenvectors a product entry by entry. */
async function solved(
  linalg: Linalg,
  { vectors, inverse }: Metric,
  list: readonly Float64Array[],
): Promise<readonly Float64Array[]> {
  const p = vectors.nRows;
  const size = p * p;
  const stack = { nRows: list.length * p, nColumns: p };
  const inside = new Float64Array(list.length * size);
  list.forEach((part, k) => {
    inside.set(wholeSkew(part, p), k * size);
  });
  // V A V^T = -(A V^T)^T V^T for a skew A: one product serves all, below each other.
  const times = async (data: Float64Array, transposeB: boolean): Promise<Float64Array> =>
    (await linalg.matmul({ ...stack, data }, vectors, { transposeB })).data;
  const turn = async (data: Float64Array, transposeB: boolean): Promise<Float64Array> =>
    times(minusTransposed(await times(data, transposeB), p), transposeB);
  const scaled = await turn(inside, true);
  for (let k = 0; k < list.length; k++) {
    for (let at = 0; at < size; at++) scaled[k * size + at]! *= inverse[at]!;
  }
  const back = await turn(scaled, false);
  return list.map((_, k) => skewPart(back.subarray(k * size, (k + 1) * size), p));
}

/** Of every `[p, p]` in a row. */
function minusTransposed(data: Float64Array, p: number): Float64Array {
  const out = new Float64Array(data.length);
  for (let from = 0; from < data.length; from += p * p) {
    for (let i = 0; i < p; i++) {
      for (let j = 0; j < p; j++) out[from + j * p + i] = -data[from + i * p + j]!;
    }
  }
  return out;
}

/** (A - A^T) / 2, below the diagonal. */
function skewPart(data: Float64Array, p: number): Float64Array {
  const out = new Float64Array((p * (p - 1)) / 2);
  let at = 0;
  for (let i = 1; i < p; i++) {
    for (let j = 0; j < i; j++) out[at++] = (data[i * p + j]! - data[j * p + i]!) / 2;
  }
  return out;
}

/** The matrix that has these values below the diagonal. */
function wholeSkew(below: Float64Array, p: number): Float64Array {
  const out = new Float64Array(p * p);
  let at = 0;
  for (let i = 1; i < p; i++) {
    for (let j = 0; j < i; j++, at++) {
      out[i * p + j] = below[at]!;
      out[j * p + i] = -below[at]!;
    }
  }
  return out;
}

function difference(a: Float64Array, b: Float64Array): Float64Array {
  const out = new Float64Array(a.length);
  for (let at = 0; at < a.length; at++) out[at] = a[at]! - b[at]!;
  return out;
}

/** The skew part of T^T G; of two rotations: of the turn from one to the other. Below the diagonal. */
async function skewOf(linalg: Linalg, t: Dense, gradient: Dense): Promise<Float64Array> {
  return skewPart((await linalg.matmul(t, gradient, { transposeA: true })).data, t.nRows);
}

/** The two loops of L-BFGS, between them the metric's inverse, by as much as it was off for the last step. */
async function ascent(
  linalg: Linalg,
  metric: Metric,
  skew: Float64Array,
  steps: readonly Step[],
): Promise<Float64Array> {
  const q = Float64Array.from(skew);
  const shares = new Float64Array(steps.length);
  for (let k = steps.length - 1; k >= 0; k--) {
    const { step, change, curvature } = steps[k]!;
    shares[k] = inner(step, q) / curvature;
    addTimes(q, -shares[k]!, change);
  }
  const last = steps.at(-1)!;
  const [solution, ofLast] = await solved(linalg, metric, [q, last.change]);
  const scale = last.curvature / inner(last.change, ofLast!);
  const d = solution!.map((v) => v * scale);
  for (const [k, { step, change, curvature }] of steps.entries()) {
    addTimes(d, shares[k]! - inner(change, d) / curvature, step);
  }
  return d;
}

/** a += by b. */
function addTimes(a: Float64Array, by: number, b: Float64Array): void {
  for (let at = 0; at < a.length; at++) a[at]! += by * b[at]!;
}

/** Singular values of I + D lie together: over |I|_F^(1/2) they are about this for 100 units. */
const TURN_REACH = 0.3;

/** The rotation nearest to T (I + D), D by what is below its diagonal. */
async function turned(linalg: Linalg, t: Dense, d: Float64Array): Promise<Dense> {
  const { data } = await linalg.matmul(t, { ...t, data: wholeSkew(d, t.nRows) });
  addTimes(data, 1, t.data);
  return polarFactor({ ...t, data }, linalg, { reach: TURN_REACH });
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
