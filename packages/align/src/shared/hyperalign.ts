import {
  ArgumentError,
  type LongWork,
  ShapeError,
  type Tensor,
  tensor,
  throwIfAborted,
} from "@penfield/core";
import {
  type Linalg,
  type Matrix,
  matrix,
  polarFactor,
  qr,
  symmetricEigen,
} from "@penfield/linalg";
import { withLinalg } from "../regression/ridgeEngine.ts";
import { centred, checkSubjects, type SubjectSeries } from "./series.ts";
import type { SharedSpace } from "./srm.ts";

/** The rotation that brings one set of columns nearest to another. */
export interface Procrustes {
  /** Orthogonal, `[nTargetsFrom, nTargetsTo]`. */
  readonly rotation: Tensor<readonly ["target", "target"]>;
  /** The sum of singular values of from^T to: |from R| and |to| in common. */
  readonly scale: number;
}

/**
 * The rotation (or reflection) R with the least |from R - to|^2.
 *
 *   R = U V^T,  from^T to = U diag(s) V^T,  scale = sum(s)
 *
 * @param from - `[nTimes, nTargetsFrom]`, finite; not centered here.
 * @param to - `[nTimes, nTargetsTo]`; with fewer targets, R has orthonormal columns.
 * @param options.linalg - Default: one made for this call.
 * @throws {ShapeError} if the numbers of samples differ. @throws {DataError} if a value is not finite.
 *
 * Cost: one product and one polar factor.
 * Source: Schonemann (1966), Psychometrika 31:1. Matches scipy.linalg.orthogonal_procrustes.
 *
 * @example
 * const from = tensor(Float64Array.of(1, 0, 0, 1, 1, 1), ["time", "target"], [3, 2]);
 * const to = tensor(Float64Array.of(0, 1, -1, 0, -1, 1), ["time", "target"], [3, 2]);
 * Array.from((await orthogonalProcrustes(from, to)).rotation.data, Math.round).join(" ") // => "0 1 -1 0"
 */
export async function orthogonalProcrustes(
  from: SubjectSeries,
  to: SubjectSeries,
  { linalg: given }: { linalg?: Linalg | undefined } = {},
): Promise<Procrustes> {
  checkSubjects("orthogonalProcrustes", [from, to], { sameTargets: false });
  return withLinalg(given, async (linalg) => {
    const cross = await linalg.matmul(float64(from), float64(to), { transposeA: true });
    const { data, nRows, nColumns } = await polarFactor(cross, linalg);
    return {
      rotation: tensor(data, ["target", "target"], [nRows, nColumns]),
      scale: data.reduce((sum, value, i) => sum + value * cross.data[i]!, 0),
    };
  });
}

const float64 = ({ data, shape }: Tensor<readonly [string, string]>): Matrix<Float64Array> =>
  matrix(Float64Array.from(data), shape[0], shape[1]);

/**
 * Hyperalignment: every subject's targets are rotated into one common space, the one that a first subject spans and all
 * then shape.
 *
 *   template = x_1, then the running mean of aligned subjects; then each subject to the mean of the others, and to the mean of all
 *
 * @param subjects - One `[nTimes, nTargets]` each, at least 2, equally many targets; centered here.
 * @param options.nRounds - How often subjects are aligned anew to the mean of the others. Default 1.
 * @param options.reference - The subject whose targets name the dimensions. Default 0.
 * @param options.linalg - Default: one made for this call.
 * @returns `bases` are the rotations (nFeatures = nTargets), `shared` the mean of the aligned subjects.
 * @throws {ShapeError} if sizes do not fit. @throws {DataError} if a value is not finite.
 * @throws {ArgumentError} if an option is out of range. @throws {InterruptedError} if the signal fires.
 *
 * With more targets than samples rotations are not determined; use `srm` with fewer features, or regions.
 *
 * Cost: per round one product [nTargets, nTimes, nTargets] and one polar factor of that size per subject.
 * Source: Haxby et al. (2011), Neuron 72:404.
 *
 * @example
 * const x = Array.from({ length: 30 }, (_, t) => [Math.sin(t), Math.cos(2 * t)]);
 * const subject = (turn) => tensor(Float64Array.from(x.flatMap(([a, b]) => [a * Math.cos(turn) + b * Math.sin(turn), b * Math.cos(turn) - a * Math.sin(turn)])), ["time", "target"], [30, 2]);
 * const space = await hyperalign([subject(0), subject(1), subject(2)]);
 * const aligned = await projectToShared(subject(1), space.bases[1], { means: space.means[1] });
 * Math.abs(aligned.data[5] - space.shared.data[5]) < 1e-9 // => true
 */
export async function hyperalign(
  subjects: readonly SubjectSeries[],
  {
    nRounds = 1,
    reference = 0,
    linalg: given,
    onProgress,
    signal,
  }: {
    nRounds?: number | undefined;
    reference?: number | undefined;
    linalg?: Linalg | undefined;
  } & LongWork = {},
): Promise<SharedSpace> {
  const name = "hyperalign";
  checkSubjects(name, subjects, { sameTargets: true });
  if (!Number.isInteger(nRounds) || nRounds < 0) {
    throw new ArgumentError(`${name}: expected a whole number of rounds, got ${nRounds}`);
  }
  if (!(Number.isInteger(reference) && reference >= 0 && reference < subjects.length)) {
    throw new ArgumentError(
      `${name}: expected a reference within 0..${subjects.length - 1}, got ${reference}`,
    );
  }
  return withLinalg(given, async (linalg) => {
    const parts = subjects.map(centred);
    const align = async (s: number, template: Matrix<Float64Array>) => {
      throwIfAborted(signal, name);
      const cross = await linalg.matmul(parts[s]!.x, template, { transposeA: true });
      const rotation = await polarFactor(cross, linalg);
      return { rotation, x: await linalg.matmul(parts[s]!.x, rotation) };
    };
    const aligned = parts.map(({ x }) => x);
    const template = matrix(
      parts[reference]!.x.data.slice(),
      parts[reference]!.x.nRows,
      parts[reference]!.x.nColumns,
    );
    let count = 1;
    for (const s of parts.keys()) {
      if (s === reference) continue;
      const { x } = await align(s, template);
      aligned[s] = x;
      count++;
      for (let i = 0; i < x.data.length; i++) {
        template.data[i]! += (x.data[i]! - template.data[i]!) / count;
      }
    }
    for (let round = 0; round < nRounds; round++) {
      const sum = meanOf(aligned);
      for (const s of parts.keys()) {
        const own = aligned[s]!.data;
        const n = parts.length;
        const others = sum.data.map((value, i) => (value * n - own[i]!) / (n - 1));
        aligned[s] = (await align(s, matrix(others, sum.nRows, sum.nColumns))).x;
      }
      onProgress?.({ stage: "aligning", done: round + 1, total: nRounds + 1, unit: "rounds" });
    }
    const common = meanOf(aligned);
    const bases: Matrix<Float64Array>[] = [];
    for (const s of parts.keys()) {
      const { rotation, x } = await align(s, common);
      bases.push(rotation);
      aligned[s] = x;
    }
    onProgress?.({ stage: "aligning", done: nRounds + 1, total: nRounds + 1, unit: "rounds" });
    const shared = meanOf(aligned);
    return {
      bases: bases.map((b) => tensor(b.data, ["target", "feature"], [b.nRows, b.nColumns])),
      shared: tensor(shared.data, ["time", "feature"], [shared.nRows, shared.nColumns]),
      means: parts.map(({ means }) => means),
    };
  });
}

function meanOf(parts: readonly Matrix<Float64Array>[]): Matrix<Float64Array> {
  const { nRows, nColumns } = parts[0]!;
  const out = new Float64Array(nRows * nColumns);
  for (const { data } of parts) {
    for (let i = 0; i < out.length; i++) out[i]! += data[i]! / parts.length;
  }
  return { data: out, nRows, nColumns };
}

/** How a subject's targets become features of a shared space. */
export interface SubjectMap {
  /** `[nTargets, nFeatures]`. */
  readonly basis: Tensor<readonly ["target", "feature"]>;
  /** Taken away from each target first, [nTargets]. */
  readonly means: Float64Array;
}

/**
 * Brings a subject that was not there into a shared space, from the samples at which the shared response is known (the same
 * stimuli).
 *
 * @param series - The new subject, `[nTimes, nTargets]`, finite.
 * @param shared - `[nTimes, nFeatures]` at the same samples: rows of `shared` of {@link srm} or {@link hyperalign}.
 * @param options.method - `rotation` (default): orthonormal columns, nothing to tune, for few samples; needs as many targets as
 *   features. `ridge`: any linear map, its penalty chosen by generalized cross-validation, for targets of unequal use.
 * @param options.linalg - Default: one made for this call.
 * @throws {ShapeError} if sizes do not fit. @throws {DataError} if a value is not finite.
 * @throws {ArgumentError} if the method is unknown.
 *
 * Cost: one polar factor [nTargets, nFeatures], or one eigendecomposition of min(nTimes, nTargets).
 * Source: rotation: Chen et al. (2015), NIPS; ridge: the subject layer of Scotti et al. (2024), MindEye2, ICML.
 *
 * @example
 * const shared = tensor(Float64Array.from({ length: 20 }, (_, t) => Math.sin(t)), ["time", "feature"], [20, 1]);
 * const series = tensor(Float64Array.from({ length: 40 }, (_, i) => (i % 2 ? 3 : 1) * Math.sin(Math.floor(i / 2))), ["time", "target"], [20, 2]);
 * const { basis } = await alignSubject(series, shared);
 * Array.from(basis.data, (v) => v.toFixed(3)).join(" ") // => "0.316 0.949"
 */
export async function alignSubject(
  series: SubjectSeries,
  shared: Tensor<readonly ["time", "feature"]>,
  {
    method = "rotation",
    linalg: given,
  }: { method?: "rotation" | "ridge" | undefined; linalg?: Linalg | undefined } = {},
): Promise<SubjectMap> {
  const name = "alignSubject";
  if (method !== "rotation" && method !== "ridge") {
    throw new ArgumentError(`${name}: expected method rotation or ridge, got ${method}`);
  }
  checkSubjects(name, [series], { least: 1, sameTargets: false });
  const [nTimes, k] = shared.shape;
  if (series.shape[0] !== nTimes || (method === "rotation" && k > series.shape[1])) {
    throw new ShapeError(
      `${name}: expected ${nTimes} samples of at least ${method === "rotation" ? k : 1} targets, got [${series.shape.join(", ")}]`,
    );
  }
  const { x, means } = centred(series);
  return withLinalg(given, async (linalg) => {
    const map =
      method === "rotation"
        ? await polarFactor(await linalg.matmul(x, float64(shared), { transposeA: true }), linalg)
        : await generalizedRidge(x, float64(shared), linalg);
    return {
      basis: tensor(map.data, ["target", "feature"], [map.nRows, map.nColumns]),
      means,
    };
  });
}

const ALPHAS: readonly number[] = Array.from({ length: 25 }, (_, i) => 10 ** (i / 2 - 6));

/** Ridge of y on centered x with the penalty of the least generalized cross-validation error, as a share of the mean eigenvalue. */
async function generalizedRidge(
  x: Matrix<Float64Array>,
  y: Matrix<Float64Array>,
  linalg: Linalg,
): Promise<Matrix<Float64Array>> {
  const n = x.nRows;
  const { values, vectors } = symmetricEigen(await linalg.matmul(x, x, { transposeB: true }));
  const rotated = await linalg.matmul(vectors, y); // [n, k]
  const k = y.nColumns;
  const mean = values.reduce((sum, value) => sum + Math.max(0, value), 0) / n || 1;
  const errorAt = (alpha: number): number => {
    let degrees = 0;
    let error = 0;
    for (let i = 0; i < n; i++) {
      const left = alpha / (Math.max(0, values[i]!) + alpha);
      degrees += left;
      for (let f = 0; f < k; f++) error += (left * rotated.data[i * k + f]!) ** 2;
    }
    return error / degrees ** 2;
  };
  const best = ALPHAS.map((share) => share * mean).reduce((a, b) =>
    errorAt(b) < errorAt(a) ? b : a,
  );
  const dual = rotated.data.map(
    (value, i) => value / (Math.max(0, values[Math.floor(i / k)]!) + best),
  );
  const weights = await linalg.matmul(vectors, matrix(dual, n, k), { transposeA: true });
  return linalg.matmul(x, weights, { transposeA: true });
}

/**
 * A subject's series in a shared space.
 *
 *   z = (x - means) basis
 *
 * @param series - `[nTimes, nTargets]`; other samples than the basis was fitted to.
 * @param basis - `[nTargets, nFeatures]`, from {@link srm}, {@link hyperalign} or {@link alignSubject}.
 * @param options.means - What the fit took away from each target. Default: nothing.
 * @param options.linalg - Default: one made for this call.
 * @returns `[nTimes, nFeatures]`.
 * @throws {ShapeError} if the number of targets is another.
 *
 * @example
 * const series = tensor(Float64Array.of(1, 2, 3, 4), ["time", "target"], [2, 2]);
 * const basis = tensor(Float64Array.of(0, 1), ["target", "feature"], [2, 1]);
 * Array.from((await projectToShared(series, basis)).data) // => [2, 4]
 */
export async function projectToShared(
  series: SubjectSeries,
  basis: Tensor<readonly ["target", "feature"]>,
  {
    means,
    linalg: given,
  }: { means?: ArrayLike<number> | undefined; linalg?: Linalg | undefined } = {},
): Promise<Tensor<readonly ["time", "feature"]>> {
  const [nTimes, nTargets] = series.shape;
  if (basis.shape[0] !== nTargets || (means !== undefined && means.length !== nTargets)) {
    throw new ShapeError(
      `projectToShared: expected ${basis.shape[0]} targets, got ${nTargets} (and ${means?.length ?? "no"} means)`,
    );
  }
  return withLinalg(given, async (linalg) => {
    const x = float64(series);
    if (means) for (let i = 0; i < x.data.length; i++) x.data[i]! -= means[i % nTargets]!;
    const { data, nColumns } = await linalg.matmul(x, float64(basis));
    return tensor(data, ["time", "feature"], [nTimes, nColumns]);
  });
}

/** How often stretches of one subject are found in the others. */
export interface SegmentMatching {
  /** The share of stretches found, mean over subjects. */
  readonly accuracy: number;
  /** [nSubjects]. */
  readonly perSubject: Float64Array;
  /** What guessing gives: the mean of 1 / candidates. */
  readonly chance: number;
  readonly nSegments: number;
}

/**
 * Time segment matching: each stretch of a subject left out is looked for in the mean of the others. It is found if its
 * correlation with the same stretch is the highest of all stretches that do not overlap with it.
 *
 * @param subjects - In a shared space, `[nTimes, nFeatures]` each, at least 2. Fit the space on other samples.
 * @param options.length - Samples in a stretch. Default 10.
 * @param options.linalg - Default: one made for this call.
 * @returns Stretches begin at every sample.
 * @throws {ShapeError} if sizes do not fit, or there are not two stretches apart. @throws {DataError} if a value is not finite.
 *
 * Cost: one product [nSegments, length nFeatures, nSegments] per subject.
 * Source: Haxby et al. (2011), Neuron 72:404; Chen et al. (2015), NIPS.
 *
 * @example
 * const rng = createRng(4);
 * const common = Array.from({ length: 80 }, () => rng.normal());
 * const subject = () => tensor(Float64Array.from(common, (v) => v + 0.1 * rng.normal()), ["time", "feature"], [40, 2]);
 * (await timeSegmentMatching([subject(), subject(), subject()], { length: 5 })).accuracy // => 1
 */
export async function timeSegmentMatching(
  subjects: readonly Tensor<readonly ["time", "feature"]>[],
  { length = 10, linalg: given }: { length?: number | undefined; linalg?: Linalg | undefined } = {},
): Promise<SegmentMatching> {
  const name = "timeSegmentMatching";
  const series = subjects.map(({ data, shape }) => tensor(data, ["time", "target"], shape));
  const { nTimes, nTargets: k } = checkSubjects(name, series, { sameTargets: true });
  if (!Number.isInteger(length) || length < 1 || 2 * length > nTimes) {
    throw new ShapeError(
      `${name}: expected stretches of 1..${Math.floor(nTimes / 2)} samples, got ${length}`,
    );
  }
  const parts = series.map((one) => centred(one).x);
  const nSegments = nTimes - length + 1;
  const total = meanOf(parts);
  let chance = 0;
  for (let i = 0; i < nSegments; i++) {
    const overlapping = Math.min(i + length - 1, nSegments - 1) - Math.max(0, i - length + 1);
    chance += 1 / (nSegments - overlapping) / nSegments;
  }
  return withLinalg(given, async (linalg) => {
    const perSubject = new Float64Array(parts.length);
    for (const [s, part] of parts.entries()) {
      const n = parts.length;
      const others = total.data.map((value, i) => (value * n - part.data[i]!) / (n - 1));
      const r = await linalg.matmul(
        segments(part.data, k, length, nSegments),
        segments(others, k, length, nSegments),
        { transposeB: true },
      );
      let found = 0;
      for (let i = 0; i < nSegments; i++) {
        const own = r.data[i * nSegments + i]!;
        let best = true;
        for (let j = 0; j < nSegments && best; j++) {
          if (Math.abs(i - j) >= length && r.data[i * nSegments + j]! >= own) best = false;
        }
        if (best) found++;
      }
      perSubject[s] = found / nSegments;
    }
    return {
      accuracy: perSubject.reduce((sum, value) => sum + value, 0) / perSubject.length,
      perSubject,
      chance,
      nSegments,
    };
  });
}

/** Stretches as rows of mean 0 and length 1, so that products are correlations. */
function segments(
  data: Float64Array,
  k: number,
  length: number,
  nSegments: number,
): Matrix<Float64Array> {
  const width = length * k;
  const out = new Float64Array(nSegments * width);
  for (let i = 0; i < nSegments; i++) {
    const row = out.subarray(i * width, (i + 1) * width);
    row.set(data.subarray(i * k, i * k + width));
    const mean = row.reduce((sum, value) => sum + value, 0) / width;
    let square = 0;
    for (let j = 0; j < width; j++) {
      row[j]! -= mean;
      square += row[j]! ** 2;
    }
    const scale = square > 0 ? 1 / Math.sqrt(square) : 0;
    for (let j = 0; j < width; j++) row[j]! *= scale;
  }
  return matrix(out, nSegments, width);
}

/** How far embeddings of the same stimuli are linear images of each other. */
export interface EmbeddingConsistency {
  /** R2 of the embedding of the column from that of the row, `[nEmbeddings, nEmbeddings]`; 1 on the diagonal. */
  readonly r2: Tensor<readonly ["from", "to"]>;
  /** Over pairs of different embeddings. */
  readonly mean: number;
}

/**
 * The consistency of embeddings: R2 of a linear regression from each to each other one, the mean over dimensions.
 *
 * @param embeddings - At least 2, `[nStimuli, nFeatures]` each, of the same stimuli (or bins of a label) in the same order.
 * @param options.nFolds - 1 (default): R2 of the fit itself, as CEBRA reports it; with few stimuli it is above 0 for unrelated
 *   embeddings (nFeatures / nStimuli). More: R2 on held-out contiguous folds.
 * @throws {ShapeError} if sizes do not fit. @throws {DataError} if a value is not finite.
 * @throws {ArgumentError} if nFolds is out of range.
 *
 * Cost: one QR decomposition per embedding and fold.
 * Source: Schneider, Lee & Mathis (2023), Nature 617:360 (CEBRA's consistency, as R2 of sklearn's LinearRegression.score).
 *
 * @example
 * const a = tensor(Float64Array.from({ length: 20 }, (_, i) => Math.sin(i * i)), ["stimulus", "feature"], [10, 2]);
 * const b = { ...a, data: a.data.map((_, i) => 3 * a.data[i - (i % 2)] - a.data[i - (i % 2) + 1] * (i % 2) + 1) };
 * embeddingConsistency([a, b]).mean.toFixed(6) // => "1.000000"
 */
export function embeddingConsistency(
  embeddings: readonly Tensor<readonly [string, string]>[],
  { nFolds = 1 }: { nFolds?: number } = {},
): EmbeddingConsistency {
  const name = "embeddingConsistency";
  const series = embeddings.map(({ data, shape }) => tensor(data, ["time", "target"], shape));
  const { nTimes: n } = checkSubjects(name, series, { sameTargets: false });
  if (!Number.isInteger(nFolds) || nFolds < 1 || nFolds > n / 2) {
    throw new ArgumentError(
      `${name}: expected 1..${Math.floor(n / 2)} folds of ${n} stimuli, got ${nFolds}`,
    );
  }
  const m = embeddings.length;
  const r2 = new Float64Array(m * m);
  for (const [i, from] of series.entries()) {
    const errors = series.map(({ shape }) => new Float64Array(shape[1]));
    for (let fold = 0; fold < nFolds; fold++) {
      const held = (row: number): boolean => nFolds > 1 && Math.floor((row * nFolds) / n) === fold;
      const rows = Array.from({ length: n }, (_, row) => row);
      const train = rows.filter((row) => !held(row));
      const test = nFolds === 1 ? rows : rows.filter(held);
      for (const [j, to] of series.entries()) {
        if (i !== j) addErrors(from, to, train, test, errors[j]!);
      }
    }
    for (const [j, to] of series.entries()) {
      const { x } = centred(to);
      const k = to.shape[1];
      const squares = new Float64Array(k);
      for (let e = 0; e < x.data.length; e++) squares[e % k]! += x.data[e]! ** 2;
      const shares = squares.map((square, t) => (square === 0 ? 0 : 1 - errors[j]![t]! / square));
      r2[i * m + j] = i === j ? 1 : shares.reduce((sum, value) => sum + value, 0) / k;
    }
  }
  let sum = 0;
  r2.forEach((value, i) => {
    if (i % (m + 1) !== 0) sum += value;
  });
  return { r2: tensor(r2, ["from", "to"], [m, m]), mean: sum / (m * (m - 1)) };
}

/** Adds the squared errors of held-out rows to each dimension of `to`. */
function addErrors(
  from: SubjectSeries,
  to: SubjectSeries,
  train: readonly number[],
  test: readonly number[],
  errors: Float64Array,
): void {
  const [p, k] = [from.shape[1], to.shape[1]];
  // Scaled columns and a one for the intercept.
  const scale = new Float64Array(p);
  for (const row of train) {
    for (let j = 0; j < p; j++) scale[j]! = Math.max(scale[j]!, Math.abs(from.data[row * p + j]!));
  }
  const design = (rows: readonly number[]): Float64Array =>
    Float64Array.from({ length: rows.length * (p + 1) }, (_, i) => {
      const j = i % (p + 1);
      if (j === 0) return 1;
      return from.data[rows[Math.floor(i / (p + 1))]! * p + j - 1]! / (scale[j - 1]! || 1);
    });
  const { q, r } = qr(matrix(design(train), train.length, p + 1));
  const width = q.nColumns;
  const held = design(test);
  for (let t = 0; t < k; t++) {
    const projected = Float64Array.from({ length: width }, (_, c) =>
      train.reduce((sum, row, i) => sum + q.data[i * width + c]! * to.data[row * k + t]!, 0),
    );
    const w = new Float64Array(p + 1);
    for (let c = width - 1; c >= 0; c--) {
      const pivot = r.data[c * (p + 1) + c]!;
      let value = projected[c]!;
      for (let j = c + 1; j < width; j++) value -= r.data[c * (p + 1) + j]! * w[j]!;
      // A column that depends on earlier ones adds nothing.
      w[c] = pivot > 1e-12 * train.length ? value / pivot : 0;
    }
    test.forEach((row, i) => {
      let predicted = 0;
      for (let c = 0; c <= p; c++) predicted += held[i * (p + 1) + c]! * w[c]!;
      errors[t]! += (to.data[row * k + t]! - predicted) ** 2;
    });
  }
}
