import { type Activations, ShapeError, type Tensor, takeRows, tensor } from "@penfield/core";
import { choleskySolve, createLinalg, matrix } from "@penfield/linalg";
import { checkFolds, contiguousFolds, type Fold } from "../folds.ts";
import { type Responses, type RidgeOptions, ridgePredictions } from "./ridgeCv.ts";
import { checkShapes } from "./scoreSplits.ts";

/** Weights of each space, not negative and 1 in sum. */
export type StackingWeights = Tensor<readonly ["target", "space"]>;

/**
 * How to average the predictions of several models, for each target on its own.
 *
 *   weights = argmin_w |sum_k w_k (y - p_k)|^2,   w_k >= 0,   sum_k w_k = 1
 *
 * @param measured - `[nStimuli, nTargets]`.
 * @param predicted - Of each model, for stimuli that it was not fitted to.
 * @returns `[nTargets, nSpaces]`. Of models that err alike the first is taken.
 * @throws {ShapeError} if shapes differ.
 *
 * Cost: nStimuli nTargets nSpaces^2 operations, and a few systems of at most nSpaces equations per target.
 * Source: Wolpert (1992); Breiman (1996), Machine Learning 24; for encoding models Lin et al. (2024).
 *
 * @example
 * const y = tensor(Float64Array.of(0, 0), ["stimulus", "target"], [2, 1]);
 * const high = tensor(Float64Array.of(1, 1), ["stimulus", "target"], [2, 1]);
 * const low = tensor(Float64Array.of(-3, -3), ["stimulus", "target"], [2, 1]);
 * Array.from(stackingWeights(y, [high, low]).data).map((w) => w.toFixed(2)).join(" ") // => "0.75 0.25"
 */
export function stackingWeights(
  measured: Responses,
  predicted: readonly Responses[],
): StackingWeights {
  checkShapes("stackingWeights", measured, predicted);
  const [n, nTargets] = measured.shape;
  const count = predicted.length;
  const out = new Float64Array(nTargets * count);
  const errors = new Float64Array(count);
  for (let t = 0; t < nTargets; t++) {
    const gram = new Float64Array(count * count);
    for (let i = 0; i < n; i++) {
      const at = i * nTargets + t;
      for (let k = 0; k < count; k++) {
        errors[k] = measured.data[at]! - predicted[k]!.data[at]!;
        for (let j = 0; j <= k; j++) gram[k * count + j]! += errors[k]! * errors[j]!;
      }
    }
    for (let k = 0; k < count; k++) {
      for (let j = 0; j < k; j++) gram[j * count + k] = gram[k * count + j]!;
    }
    out.set(simplexMinimum(gram, count), t * count);
  }
  return tensor(out, ["target", "space"], [nTargets, count]);
}

/** argmin w^T G w over the simplex, by an active set: the face that the minimum lies on is found vertex by vertex. */
function simplexMinimum(gram: Float64Array, n: number): Float64Array {
  const w = new Float64Array(n);
  let first = 0;
  for (let k = 1; k < n; k++) if (gram[k * n + k]! < gram[first * n + first]!) first = k;
  w[first] = 1;
  const scale = gram.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  if (scale === 0) return w;
  let active = [first];
  for (let step = 0; step < 10 * n; step++) {
    const gradient = Float64Array.from({ length: n }, (_, k) => {
      let sum = 0;
      for (const j of active) sum += gram[k * n + j]! * w[j]!;
      return sum;
    });
    const value = active.reduce((sum, k) => sum + w[k]! * gradient[k]!, 0);
    const outside = w.map((_, k) => (active.includes(k) ? Number.POSITIVE_INFINITY : gradient[k]!));
    const enter = outside.indexOf(Math.min(...outside));
    if (active.length === n || !(outside[enter]! < value - 1e-13 * scale)) break;
    active.push(enter);
    // Towards the minimum on the plane of the active vertices, as far as no weight becomes negative.
    for (;;) {
      const aim = planeMinimum(gram, n, active, scale);
      const blocked = active.filter((_, at) => aim[at]! <= 0);
      if (blocked.length === 0) {
        active.forEach((k, at) => {
          w[k] = aim[at]!;
        });
        break;
      }
      let share = 1;
      let leaves = enter;
      active.forEach((k, at) => {
        if (aim[at]! > 0) return;
        const own = w[k]! / (w[k]! - aim[at]!);
        if (own <= share) {
          share = own;
          leaves = k;
        }
      });
      active.forEach((k, at) => {
        w[k]! += share * (aim[at]! - w[k]!);
      });
      w[leaves] = 0;
      active = active.filter((k) => k !== leaves);
      if (active.length === 1) {
        w[active[0]!] = 1;
        break;
      }
    }
  }
  return w;
}

/** The weights of sum 1 that minimize w^T G w over some vertices; a little is added where G is singular. */
function planeMinimum(
  gram: Float64Array,
  n: number,
  active: readonly number[],
  scale: number,
): Float64Array {
  const m = active.length;
  const part = new Float64Array(m * m);
  active.forEach((k, i) => {
    active.forEach((j, at) => {
      part[i * m + at] = gram[k * n + j]!;
    });
    part[i * m + i]! += 1e-12 * scale;
  });
  const { data } = choleskySolve(matrix(part, m, m), matrix(new Float64Array(m).fill(1), m, 1));
  const sum = data.reduce((a, b) => a + b, 0);
  return data.map((value) => value / sum);
}

/** How a stacked model is fitted. */
export interface StackedOptions extends Omit<RidgeOptions, "folds"> {
  /** How many contiguous folds give the predictions that weights are found from, or the folds themselves. Default 5. */
  readonly folds?: number | readonly Fold[] | undefined;
  /** How many contiguous folds choose penalties inside the training stimuli of each. Default 5. */
  readonly innerFolds?: number | undefined;
}

/** What a stacked model expects. */
export interface StackedPredictions {
  /** `[nHeld, nTargets]`. */
  readonly predicted: Responses;
  readonly weights: StackingWeights;
  /** What the model of each space expects by itself. */
  readonly parts: readonly Responses[];
}

/**
 * Stacked regression: one ridge model per feature space, averaged with weights per target that minimize the error of
 * cross-validated predictions.
 *
 * @param spaces - Activations of each space, `[nStimuli, nUnits_k]`, of the same stimuli.
 * @param y - Responses, `[nStimuli, nTargets]`.
 * @param held - The same spaces for other stimuli.
 * @param options - As `ridgeCv`'s.
 * @throws {ShapeError} if sizes differ.
 * @throws {DataError} if a value is not finite.
 * @throws {ArgumentError} if an option is out of range.
 * @throws {InterruptedError} if the signal fires.
 *
 * Cost: (folds + 1) times that of `ridgeCv` for each space.
 * Source: Breiman (1996); Lin et al. (2024), stacked regressions for encoding models.
 */
export async function stackedRidge(
  spaces: readonly Activations[],
  y: Responses,
  held: readonly Activations[],
  options: StackedOptions = {},
): Promise<StackedPredictions> {
  const name = "stackedRidge";
  const [nStimuli, nTargets] = y.shape;
  if (spaces.length === 0 || spaces.length !== held.length) {
    throw new ShapeError(
      `${name}: expected the same spaces fitted to and held, got ${spaces.length} and ${held.length}`,
    );
  }
  const { folds = 5, innerFolds = 5, onProgress } = options;
  const outer = typeof folds === "number" ? contiguousFolds(nStimuli, folds) : folds;
  checkFolds(name, outer, nStimuli);
  const own = options.linalg === undefined;
  const linalg = options.linalg ?? createLinalg();
  const inner = { ...options, folds: innerFolds, linalg, onProgress: undefined };
  try {
    const tested = Int32Array.from(outer.flatMap(({ test }) => [...test]));
    const aside: Responses[] = [];
    const parts: Responses[] = [];
    for (const [k, space] of spaces.entries()) {
      const rows = new Float64Array(tested.length * nTargets);
      let at = 0;
      for (const { train, test } of outer) {
        const predicted = await ridgePredictions(
          takeRows(space, train),
          takeRows(y, train),
          takeRows(space, test),
          inner,
        );
        rows.set(predicted.data, at);
        at += predicted.data.length;
      }
      aside.push(tensor(rows, ["stimulus", "target"], [tested.length, nTargets]));
      parts.push(await ridgePredictions(space, y, held[k]!, inner));
      onProgress?.({ stage: "fitting", done: k + 1, total: spaces.length, unit: "spaces" });
    }
    const weights = stackingWeights(takeRows(y, tested), aside);
    const nHeld = parts[0]!.shape[0];
    const data = new Float64Array(nHeld * nTargets);
    parts.forEach((part, k) => {
      for (let i = 0; i < data.length; i++) {
        data[i]! += weights.data[(i % nTargets) * parts.length + k]! * part.data[i]!;
      }
    });
    return { predicted: tensor(data, ["stimulus", "target"], [nHeld, nTargets]), weights, parts };
  } finally {
    if (own) await linalg.dispose();
  }
}
