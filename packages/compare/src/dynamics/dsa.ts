import { ArgumentError } from "@penfield/core";
import { eigenvalues, type Linalg, polarFactor } from "@penfield/linalg";
import { angle } from "../shape/shapeMetric.ts";
import { assignment } from "../similarity/assignment.ts";
import { checkOneOf, checkWhole, type Dense, inner, norm } from "../similarity/pair.ts";
import { type DelayDmdOptions, delayDmd, type Trajectories } from "./dmd.ts";

/**
 * The squared 2-Wasserstein distance of the eigenvalues of two operators, as points of the plane with
 * equal weights; the smaller set is filled up with zeros.
 *
 * @param a - `[n, n]`, finite.
 * @param b - `[m, m]`, finite.
 * @returns At least 0. Not the root: as DSA gives it.
 * @throws {ShapeError} if an operator is not square.
 * @throws {DataError} if a value is not finite.
 *
 * Cost: eigenvalues and a linear assignment. Source: Redman et al. (2024); DSA's score_method "wasserstein".
 *
 * @example
 * import { matrix } from "@penfield/linalg";
 * const one = matrix(Float64Array.of(1), 1, 1);
 * eigenvalueDistance(one, matrix(Float64Array.of(3), 1, 1)) // => 4
 */
export function eigenvalueDistance(a: Dense, b: Dense): number {
  const [p, q] = [eigenvalues(a), eigenvalues(b)];
  const n = Math.max(p.real.length, q.real.length);
  if (n === 0) throw new ArgumentError("eigenvalueDistance: expected operators, got 0 x 0");
  const cost = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      const re = (p.real[i] ?? 0) - (q.real[j] ?? 0);
      const im = (p.imaginary[i] ?? 0) - (q.imaginary[j] ?? 0);
      cost[i * n + j] = re * re + im * im;
    }
  }
  return assignment({ data: cost, nRows: n, nColumns: n }).total / n;
}

/** How far operators are apart under the best change of basis. */
export interface OperatorAlignment {
  /** Radians for "angular", the Frobenius norm of the difference for "euclidean". */
  readonly distance: number;
  /** `[n, n]`, orthogonal: b in this basis, C b C^T, is nearest to a. */
  readonly transform: Dense;
  readonly iterations: number;
}

export interface OperatorAlignmentOptions {
  /** Default "angular": operators of any size; "euclidean": operators as they are. */
  readonly score?: "angular" | "euclidean" | undefined;
  /** At most so many per start, and to the top from the best. Default 2000. */
  readonly iterations?: number | undefined;
  /** Stop when no entry of the transformation changes by more than this in a step. Default 1e-9. */
  readonly tolerance?: number | undefined;
}

/**
 * The distance of two operators when orthogonal changes of basis are no difference.
 *
 *   min over C in O(n) of |A - C B C^T|_F,  or of the angle between A and C B C^T
 *
 * Ascends <A, C B C^T> by C <- polar(A C B^T + A^T C B + shift C), with a shift that makes every step one up and momentum, from
 * nine fixed starts in both components of O(n), the best of them to its top: the same numbers every time. It can be a local
 * optimum.
 *
 * @param a - `[n, n]`, finite.
 * @param b - `[n, n]`, finite.
 * @throws {ArgumentError} if sizes differ, or an option is out of range.
 *
 * Cost per iteration: eight products and a polar factor of `[n, n]`; some 1000 iterations for n = 10, 6000 for n = 30.
 * Source: Ostrow, Eisen, Kozachkov & Fiete (2023), NeurIPS, who use Adam on a network through Cayley's map, not reproducible to 1e-6.
 *
 * @example
 * import { createLinalg, matrix } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const a = matrix(Float64Array.of(0.9, 0.2, -0.2, 0.7), 2, 2);
 * const turned = matrix(Float64Array.of(0.7, 0.2, -0.2, 0.9), 2, 2);
 * (await operatorDistance(linalg, a, turned)).distance < 1e-6 // => true
 */
export async function operatorDistance(
  linalg: Linalg,
  a: Dense,
  b: Dense,
  { score = "angular", iterations = 2000, tolerance = 1e-9 }: OperatorAlignmentOptions = {},
): Promise<OperatorAlignment> {
  const name = "operatorDistance";
  checkOneOf(name, "score", score, ["angular", "euclidean"]);
  checkWhole(name, "iterations", iterations, 1);
  const n = a.nRows;
  if (n === 0 || a.nColumns !== n || b.nRows !== n || b.nColumns !== n) {
    throw new ArgumentError(
      `${name}: expected square operators of one size, got ${a.nRows} x ${a.nColumns} and ${b.nRows} x ${b.nColumns}`,
      { hint: "Use eigenvalueDistance for operators of different sizes." },
    );
  }
  const [p, q] = [norm(a.data), norm(b.data)];
  const unit = (m: Dense, size: number): Dense => ({
    ...m,
    data: m.data.map((v) => (size === 0 ? 0 : v / size)),
  });
  const [x, y] = [unit(a, p), unit(b, q)];
  let best: { transform: Dense; value: number } | undefined;
  let steps = 0;
  for (const start of starts(n)) {
    const found = await ascend(linalg, x, y, start, { iterations, tolerance, enough: ROUGH });
    steps += found.steps;
    if (!best || found.value > best.value + ROUGH) best = found;
  }
  // Only the best is climbed to its top.
  const top = await ascend(linalg, x, y, best!.transform, { iterations, tolerance, enough: 1e-15 });
  steps += top.steps;
  const { transform } = top;
  const turned = await conjugated(linalg, b, transform);
  const distance =
    score === "angular"
      ? angle(a.data, turned.data)
      : norm(a.data.map((v, i) => v - turned.data[i]!));
  return { distance, transform, iterations: steps };
}

async function conjugated(linalg: Linalg, b: Dense, c: Dense): Promise<Dense> {
  return linalg.matmul(await linalg.matmul(c, b), c, { transposeB: true });
}

/** So many steps without a gain worth having end an ascent. */
const PATIENCE = 10;
/** What is gain enough while it is open which start is the best; values are cosines. */
const ROUGH = 1e-8;

/**
 * Steps C <- polar(gradient at Z + 2 shift Z) from Z, which is C carried on in the direction of the last step (Nesterov), unless
 * that was a step down: then it is repeated from C itself, which never loses once the shift is large enough.
 */
async function ascend(
  linalg: Linalg,
  a: Dense,
  b: Dense,
  start: Dense,
  { iterations, tolerance, enough }: { iterations: number; tolerance: number; enough: number },
): Promise<{ transform: Dense; value: number; steps: number }> {
  let c = start;
  let here = await stepsOf(linalg, a, b, c);
  let before = c;
  let momentum = 0;
  // <A, C B C^T> + shift |C|^2 is convex in C from |A| |B| on, which is at most 1 here; less is tried first.
  let shift = 0.25;
  let idle = 0;
  for (let step = 0; step < iterations; step++) {
    const weight = momentum / (momentum + 3);
    const z = { ...c, data: c.data.map((v, i) => v + weight * (v - before.data[i]!)) };
    const { gradient } = momentum === 0 ? here : await stepsOf(linalg, a, b, z);
    const uphill = gradient.map((v, i) => v + 2 * shift * z.data[i]!);
    const next = await polarFactor({ ...c, data: uphill }, linalg);
    const there = await stepsOf(linalg, a, b, next);
    const gain = there.value - here.value;
    if (gain < 0 && momentum > 0) {
      momentum = 0;
      continue;
    }
    if (gain < -1e-15 && shift < 1) {
      shift = Math.min(1, 2 * shift);
      continue;
    }
    let change = 0;
    for (let i = 0; i < next.data.length; i++) {
      change = Math.max(change, Math.abs(next.data[i]! - c.data[i]!));
    }
    before = c;
    c = next;
    here = there;
    momentum++;
    // Where operators commute with turns, C may drift for ever at one value.
    idle = gain > enough ? 0 : idle + 1;
    if (change < tolerance || idle >= PATIENCE) {
      return { transform: c, value: here.value, steps: step + 1 };
    }
  }
  return { transform: c, value: here.value, steps: iterations };
}

/** <A, C B C^T>, and its gradient. */
async function stepsOf(
  linalg: Linalg,
  a: Dense,
  b: Dense,
  c: Dense,
): Promise<{ value: number; gradient: Float64Array }> {
  const left = await linalg.matmul(await linalg.matmul(a, c), b, { transposeB: true });
  const right = await linalg.matmul(await linalg.matmul(a, c, { transposeA: true }), b);
  return {
    value: inner(left.data, c.data),
    gradient: left.data.map((v, i) => v + right.data[i]!),
  };
}

/** The identity, a swap of the first two directions, and turns of neighbouring directions, with one sign changed or not. */
function starts(n: number): Dense[] {
  const out: Dense[] = [];
  for (const turn of [0, 0.7, -0.7, 1.4]) {
    for (const flip of [1, -1]) {
      const data = new Float64Array(n * n);
      for (let i = 0; i < n; i++) data[i * n + i] = 1;
      for (let i = 0; i + 1 < n; i++) rotateRows(data, n, i, turn);
      for (let j = 0; j < n; j++) data[j]! *= flip;
      out.push({ data, nRows: n, nColumns: n });
    }
  }
  if (n > 1) {
    const data = new Float64Array(n * n);
    for (let i = 0; i < n; i++) data[i * n + (i === 0 ? 1 : i === 1 ? 0 : i)] = 1;
    out.push({ data, nRows: n, nColumns: n });
  }
  return out;
}

function rotateRows(data: Float64Array, n: number, i: number, turn: number): void {
  const [c, s] = [Math.cos(turn), Math.sin(turn)];
  for (let j = 0; j < n; j++) {
    const [x, y] = [data[i * n + j]!, data[(i + 1) * n + j]!];
    data[i * n + j] = c * x - s * y;
    data[(i + 1) * n + j] = s * x + c * y;
  }
}

export interface DsaOptions extends DelayDmdOptions, Omit<OperatorAlignmentOptions, "score"> {
  /** "angular" (default) or "euclidean" over changes of basis, or "wasserstein" over eigenvalues. */
  readonly score?: "angular" | "euclidean" | "wasserstein" | undefined;
}

/**
 * Dynamical similarity analysis: do two systems move by the same rules, whatever coordinates they are
 * seen in?
 *
 * Linear models of the delayed trajectories ({@link delayDmd}) are compared up to a change of basis
 * ({@link operatorDistance}) or by their eigenvalues ({@link eigenvalueDistance}).
 *
 * @param x - `[nTrials, nTimes, nUnits]`, finite.
 * @param y - Trials, times and units may be others. With other ranks only "wasserstein" is defined.
 * @throws As {@link delayDmd} and {@link operatorDistance}.
 *
 * Cost: two singular value decompositions and the alignment. Source: Ostrow, Eisen, Kozachkov & Fiete (2023), NeurIPS.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const decay = (rate) => ({ data: Float64Array.from({ length: 9 }, (_, t) => rate ** t), nTrials: 1, nTimes: 9, nUnits: 1 });
 * (await dsa(linalg, decay(0.5), decay(0.7), { score: "wasserstein", lambda: 0 })).toFixed(9) // => "0.040000000"
 */
export async function dsa(
  linalg: Linalg,
  x: Trajectories,
  y: Trajectories,
  { score = "angular", iterations, tolerance, ...options }: DsaOptions = {},
): Promise<number> {
  checkOneOf("dsa", "score", score, ["angular", "euclidean", "wasserstein"]);
  const [a, b] = [await delayDmd(linalg, x, options), await delayDmd(linalg, y, options)];
  if (score === "wasserstein") return eigenvalueDistance(a.operator, b.operator);
  const found = await operatorDistance(linalg, a.operator, b.operator, {
    score,
    iterations,
    tolerance,
  });
  return found.distance;
}
