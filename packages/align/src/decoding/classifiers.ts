import { ArgumentError, createRng, DataError, permutation } from "@penfield/core";
import {
  choleskySolve,
  type Linalg,
  type Matrix,
  matrix,
  symmetricEigen,
  transpose,
} from "@penfield/linalg";
import { columnMeans, subtractRow } from "../regression/columns.ts";
import { minimize } from "./lbfgs.ts";

/** The linear classifiers that there are. */
export type ClassifierName = "ridge" | "svm" | "logistic" | "lda";

/** How a linear classifier is fitted. */
export interface ClassifierOptions {
  /**
   * `svm` (default): one support vector machine per class; `ridge`: regression on +1 and -1; `logistic`: multinomial; `lda`: one
   * covariance for all classes.
   */
  readonly classifier?: ClassifierName | undefined;
  /** The weight of errors against that of |w|^2 / 2, for `svm` and `logistic`. Default 0.01 and 1. */
  readonly cost?: number | undefined;
  /** Of `svm`. Default "squared-hinge". */
  readonly loss?: "hinge" | "squared-hinge" | undefined;
  /** The penalty of `ridge`. Default 1. */
  readonly alpha?: number | undefined;
  /** How far the covariance of `lda` is moved towards its mean variance, 0..1. Default 0.1. */
  readonly shrinkage?: number | undefined;
}

/** What a fitted classifier makes of stimuli: `[nStimuli, nClasses]`, the largest of a row being its choice. */
export type DecisionFunction = (x: Matrix<Float64Array>) => Promise<Matrix<Float64Array>>;

/** What a classifier is fitted to. */
interface Training {
  readonly x: Matrix<Float64Array>;
  /** Of each row, 0..nClasses-1, each at least once. */
  readonly labels: Int32Array;
  readonly nClasses: number;
  /** Before the stimuli's space was taken for that of the units. */
  readonly nUnits: number;
  readonly linalg: Linalg;
}

type Fit = (
  training: Training,
  options: ClassifierOptions,
) => readonly LinearClass[] | Promise<readonly LinearClass[]>;

/** Weights and intercept of one class. */
interface LinearClass {
  readonly weights: Float64Array;
  readonly intercept: number;
}

const fits: Readonly<Record<ClassifierName, Fit>> = {
  ridge: fitRidge,
  svm: fitSvm,
  logistic: fitLogistic,
  lda: fitLda,
};

/** The names, for whoever lists them. */
export const classifierNames: readonly ClassifierName[] = Object.keys(fits) as ClassifierName[];

/**
 * Fits a classifier. With more units than stimuli everything happens in the space that the stimuli span: none of these
 * classifiers ever leaves it.
 */
export async function fitClassifier(
  name: string,
  x: Matrix<Float64Array>,
  labels: Int32Array,
  nClasses: number,
  options: ClassifierOptions,
  linalg: Linalg,
): Promise<DecisionFunction> {
  const { classifier = "svm" } = options;
  const fit = fits[classifier];
  if (fit === undefined) {
    throw new ArgumentError(
      `${name}: expected a classifier of ${classifierNames.join(", ")}, got ${classifier}`,
    );
  }
  const { cost = 1, alpha = 1, shrinkage = 0.1 } = options;
  if (!(cost > 0) || !(alpha > 0) || !(shrinkage >= 0 && shrinkage <= 1)) {
    throw new ArgumentError(
      `${name}: expected cost and alpha above 0 and shrinkage within 0..1, got ${cost}, ${alpha} and ${shrinkage}`,
    );
  }
  const training = { labels, nClasses, nUnits: x.nColumns, linalg };
  if (x.nColumns <= x.nRows) {
    const classes = await fit({ ...training, x }, options);
    return (other) => decide(other, classes, linalg);
  }
  const { values, vectors } = symmetricEigen(await linalg.matmul(x, x, { transposeB: true }));
  const rank = values.filter((value) => value > 1e-13 * values[0]! * x.nRows).length;
  const kept = matrix(vectors.data.slice(0, rank * x.nRows), rank, x.nRows);
  for (let k = 0; k < rank; k++) {
    const scale = 1 / Math.sqrt(values[k]!);
    for (let i = 0; i < x.nRows; i++) kept.data[k * x.nRows + i]! *= scale;
  }
  // Orthonormal directions of units, [p, rank].
  const basis = await linalg.matmul(x, kept, { transposeA: true, transposeB: true });
  const classes = await fit({ ...training, x: await linalg.matmul(x, basis) }, options);
  return async (other) => decide(await linalg.matmul(other, basis), classes, linalg);
}

async function decide(
  x: Matrix<Float64Array>,
  classes: readonly LinearClass[],
  linalg: Linalg,
): Promise<Matrix<Float64Array>> {
  const p = x.nColumns;
  const weights = new Float64Array(classes.length * p);
  classes.forEach((one, c) => {
    weights.set(one.weights, c * p);
  });
  const out = await linalg.matmul(x, matrix(weights, classes.length, p), { transposeB: true });
  for (let i = 0; i < out.data.length; i++) out.data[i]! += classes[i % classes.length]!.intercept;
  return out;
}

/** Two classes share one boundary: the first is the second turned round. */
function perClass(nClasses: number, fit: (c: number) => LinearClass): readonly LinearClass[] {
  if (nClasses > 2) return Array.from({ length: nClasses }, (_, c) => fit(c));
  const second = fit(1);
  return [{ weights: second.weights.map((w) => -w), intercept: -second.intercept }, second];
}

/** As sklearn's RidgeClassifier. */
async function fitRidge(
  { x, labels, nClasses, linalg }: Training,
  { alpha = 1 }: ClassifierOptions,
): Promise<readonly LinearClass[]> {
  const { nRows: n, nColumns: p } = x;
  const means = columnMeans(x);
  const centred = matrix(x.data.slice(), n, p);
  subtractRow(centred, means);
  const shares = Float64Array.from({ length: nClasses }, (_, c) =>
    labels.reduce((sum, label) => sum + (label === c ? 1 : -1) / n, 0),
  );
  const sides = matrix(
    Float64Array.from({ length: n * nClasses }, (_, i) => {
      const c = i % nClasses;
      return (labels[Math.floor(i / nClasses)] === c ? 1 : -1) - shares[c]!;
    }),
    n,
    nClasses,
  );
  const gram = await linalg.matmul(centred, centred, { transposeA: true });
  for (let j = 0; j < p; j++) gram.data[j * p + j]! += alpha;
  const cross = await linalg.matmul(centred, sides, { transposeA: true });
  const solved = choleskySolve(gram, cross);
  return perClass(nClasses, (c) => {
    const weights = Float64Array.from({ length: p }, (_, j) => solved.data[j * nClasses + c]!);
    return {
      weights,
      intercept: weights.reduce((sum, w, j) => sum - w * means[j]!, shares[c]!),
    };
  });
}

/**
 * One machine per class by coordinate descent in the dual, the intercept being the weight of a unit that is always 1 (so that it is
 * penalized too), as in LIBLINEAR and sklearn's LinearSVC.
 *
 *   min |w|^2 / 2 + C sum max(0, 1 - y w x)^q,   q = 1 (hinge) or 2
 *
 * Source: Hsieh et al. (2008), A dual coordinate descent method for large-scale linear SVM, ICML.
 */
function fitSvm(
  { x: { data, nRows: n, nColumns: p }, labels, nClasses }: Training,
  { cost = 0.01, loss = "squared-hinge" }: ClassifierOptions,
): readonly LinearClass[] {
  if (loss !== "hinge" && loss !== "squared-hinge") {
    throw new ArgumentError(`svm: expected loss hinge or squared-hinge, got ${loss}`);
  }
  const [diagonal, upper] =
    loss === "hinge" ? [0, cost] : [1 / (2 * cost), Number.POSITIVE_INFINITY];
  const squares = Float64Array.from({ length: n }, (_, i) => {
    let sum = 1;
    for (let j = 0; j < p; j++) sum += data[i * p + j]! ** 2;
    return sum;
  });
  return perClass(nClasses, (c) => {
    const rng = createRng(c);
    const alpha = new Float64Array(n);
    const w = new Float64Array(p);
    let intercept = 0;
    for (let pass = 0; pass < SVM_PASSES; pass++) {
      let worst = 0;
      for (const i of permutation(n, rng)) {
        const y = labels[i] === c ? 1 : -1;
        const at = i * p;
        let product = intercept;
        for (let j = 0; j < p; j++) product += w[j]! * data[at + j]!;
        const gradient = y * product - 1 + diagonal * alpha[i]!;
        const projected =
          alpha[i] === 0
            ? Math.min(0, gradient)
            : alpha[i]! >= upper
              ? Math.max(0, gradient)
              : gradient;
        worst = Math.max(worst, Math.abs(projected));
        if (projected === 0) continue;
        const next = Math.min(upper, Math.max(0, alpha[i]! - gradient / (squares[i]! + diagonal)));
        const step = (next - alpha[i]!) * y;
        alpha[i] = next;
        intercept += step;
        for (let j = 0; j < p; j++) w[j]! += step * data[at + j]!;
      }
      if (worst < SVM_TOLERANCE) break;
    }
    return { weights: w, intercept };
  });
}

/** Of the projected gradient; LIBLINEAR's default is 0.1, which leaves the order of close decisions open. */
const SVM_TOLERANCE = 1e-7;
const SVM_PASSES = 5000;

/** As sklearn's LogisticRegression: C times the summed loss plus |W|^2 / 2, intercepts free; two classes have one vector. */
function fitLogistic(
  { x: { data, nRows: n, nColumns: p }, labels, nClasses }: Training,
  { cost = 1 }: ClassifierOptions,
): readonly LinearClass[] {
  const k = nClasses === 2 ? 1 : nClasses;
  const width = p + 1;
  const scores = new Float64Array(nClasses);
  const objective = (at: Float64Array, gradient: Float64Array): number => {
    let value = 0;
    for (let c = 0; c < k; c++) {
      for (let j = 0; j < p; j++) {
        value += at[c * width + j]! ** 2 / 2;
        gradient[c * width + j] = at[c * width + j]!;
      }
      gradient[c * width + p] = 0;
    }
    for (let i = 0; i < n; i++) {
      scores.fill(0);
      for (let c = 0; c < k; c++) {
        let score = at[c * width + p]!;
        for (let j = 0; j < p; j++) score += at[c * width + j]! * data[i * p + j]!;
        // Of two classes the first one's score is 0.
        scores[k === 1 ? 1 : c] = score;
      }
      const most = scores.reduce((a, b) => Math.max(a, b));
      let sum = 0;
      for (const score of scores) sum += Math.exp(score - most);
      value += cost * (Math.log(sum) - (scores[labels[i]!]! - most));
      for (let c = 0; c < k; c++) {
        const which = k === 1 ? 1 : c;
        const excess =
          cost * (Math.exp(scores[which]! - most) / sum - (labels[i] === which ? 1 : 0));
        for (let j = 0; j < p; j++) gradient[c * width + j]! += excess * data[i * p + j]!;
        gradient[c * width + p]! += excess;
      }
    }
    return value;
  };
  const { at, converged } = minimize(objective, new Float64Array(k * width), {
    tolerance: 1e-6 * Math.max(1, cost),
    maxIterations: 5000,
  });
  if (!converged) {
    throw new DataError("logistic: expected to converge in 5000 steps, got no further", {
      hint: "Standardize the units, or lower the cost.",
    });
  }
  return perClass(nClasses, (c) => {
    const from = (k === 1 ? 0 : c) * width;
    return { weights: at.slice(from, from + p), intercept: at[from + p]! };
  });
}

/**
 * As sklearn's LinearDiscriminantAnalysis(solver="lsqr", shrinkage): class covariances weighted by their shares, moved towards
 * a sphere over all units. Means lie in the space of the stimuli, so nothing is lost by staying there.
 */
async function fitLda(
  { x, labels, nClasses, nUnits, linalg }: Training,
  { shrinkage = 0.1 }: ClassifierOptions,
): Promise<readonly LinearClass[]> {
  const { nRows: n, nColumns: p } = x;
  const counts = new Float64Array(nClasses);
  for (const label of labels) counts[label]!++;
  const means = matrix(new Float64Array(nClasses * p), nClasses, p);
  for (let i = 0; i < x.data.length; i++) {
    const c = labels[Math.floor(i / p)]!;
    means.data[c * p + (i % p)]! += x.data[i]! / counts[c]!;
  }
  const within = matrix(
    x.data.map((value, i) => value - means.data[labels[Math.floor(i / p)]! * p + (i % p)]!),
    n,
    p,
  );
  const covariance = await linalg.matmul(within, within, { transposeA: true });
  let trace = 0;
  for (let j = 0; j < p; j++) trace += covariance.data[j * p + j]! / n;
  for (let i = 0; i < covariance.data.length; i++) covariance.data[i]! *= (1 - shrinkage) / n;
  for (let j = 0; j < p; j++) covariance.data[j * p + j]! += (shrinkage * trace) / nUnits;
  const solved =
    shrinkage > 0 && trace > 0
      ? choleskySolve(covariance, transpose(means))
      : leastNorm(covariance, transpose(means));
  return Array.from({ length: nClasses }, (_, c) => {
    const weights = Float64Array.from({ length: p }, (_v, j) => solved.data[j * nClasses + c]!);
    const half = weights.reduce((sum, w, j) => sum + (w * means.data[c * p + j]!) / 2, 0);
    return { weights, intercept: Math.log(counts[c]! / n) - half };
  });
}

/** The solution of least norm: directions without variance are left out. */
function leastNorm(a: Matrix<Float64Array>, b: Matrix<Float64Array>): Matrix<Float64Array> {
  const { values, vectors } = symmetricEigen(a);
  const p = a.nRows;
  const m = b.nColumns;
  const out = new Float64Array(p * m);
  for (let k = 0; k < p; k++) {
    if (!(values[k]! > values[0]! * p * Number.EPSILON)) continue;
    const v = vectors.data.subarray(k * p, (k + 1) * p);
    for (let c = 0; c < m; c++) {
      let along = 0;
      for (let j = 0; j < p; j++) along += v[j]! * b.data[j * m + c]!;
      for (let j = 0; j < p; j++) out[j * m + c]! += (along / values[k]!) * v[j]!;
    }
  }
  return matrix(out, p, m);
}
