import { type Activations, ArgumentError, ShapeError, takeColumns, tensor } from "@penfield/core";
import {
  type EncodingOptions,
  type EncodingScore,
  encodingScore,
  type HeldOutPredictor,
} from "../encodingScore.ts";
import { predict, type Responses, ridgeCv } from "../regression/ridgeCv.ts";
import { describeFolds } from "./describeFolds.ts";

/**
 * Features that know only which stimuli are neighbours: each stimulus has a unit of its own, blurred over those
 * beside it in its group.
 *
 *   x_ij = sum of Gaussian weights (standard deviation `width`, cut at 4 of them) that fall on j around i,
 *
 * reflected at both ends of the group; 0 between groups.
 *
 * @param groups - A label per stimulus, in the order in which they were shown: story, passage, run. Stimuli of a
 *   group need not stand together.
 * @param options.width - In stimuli, from 0 (no blur).
 * @returns `[nStimuli, nStimuli]`.
 * @throws {ArgumentError} if the width is negative.
 *
 * Source: OASM, Hadidi et al. (2025), bioRxiv 2025.03.09.642245, as in Brain-Score (scipy.ndimage.gaussian_filter1d
 * of an identity within each block); Feghhi et al. (2024).
 *
 * @example
 * autocorrelationFeatures(["a", "a", "b"], { width: 0 }).data.join("") // => "100010001"
 */
export function autocorrelationFeatures(
  groups: ArrayLike<string | number>,
  { width }: { width: number },
): Activations {
  if (!(width >= 0 && Number.isFinite(width))) {
    throw new ArgumentError(`autocorrelationFeatures: expected a width from 0, got ${width}`);
  }
  const n = groups.length;
  const members = new Map<string | number, number[]>();
  for (let i = 0; i < n; i++) {
    const group = members.get(groups[i]!);
    if (group) group.push(i);
    else members.set(groups[i]!, [i]);
  }
  const reach = Math.floor(4 * width + 0.5);
  const weights = Float64Array.from({ length: 2 * reach + 1 }, (_, k) =>
    width === 0 ? 1 : Math.exp(-0.5 * ((k - reach) / width) ** 2),
  );
  const sum = weights.reduce((total, weight) => total + weight, 0);
  const data = new Float64Array(n * n);
  for (const group of members.values()) {
    const size = group.length;
    group.forEach((row, p) => {
      for (let k = -reach; k <= reach; k++) {
        const column = group[reflected(p + k, size)]!;
        data[row * n + column]! += weights[k + reach]! / sum;
      }
    });
  }
  return tensor(data, ["stimulus", "unit"], [n, n]);
}

/** A place beyond the ends mirrored back: ... 1 0 | 0 1 2 | 2 1 ... */
function reflected(at: number, size: number): number {
  const inPeriod = ((at % (2 * size)) + 2 * size) % (2 * size);
  return inPeriod < size ? inPeriod : 2 * size - 1 - inPeriod;
}

/** How the floor is fitted; as the encoding model that it is a floor for. */
export interface AutocorrelationOptions
  extends Omit<EncodingOptions, "regressor" | "floors" | "standardize"> {
  /** Which stimuli are neighbours. Default: `groups`, or else all in one series. */
  readonly series?: ArrayLike<string | number> | undefined;
  /** Standard deviations of the blur to choose from, in stimuli. Default 0.5, 1, 2, 4. */
  readonly widths?: readonly number[] | undefined;
}

/** What neighbourhood alone predicts. */
export interface AutocorrelationFloor extends EncodingScore {
  /** The width chosen in each outer fold, inside its training set. */
  readonly chosenWidths: readonly number[];
}

/**
 * How well neighbourhood alone predicts a recording: the score of a model that has read nothing. Where this floor is
 * high, the folds let a model copy from neighbours; where a model is no better, it need not have done anything else.
 *
 * In each outer fold the width and the penalties are chosen inside the training set: by contiguous or grouped folds
 * as `encodingScore` makes them, or, where the outer folds are shuffled, by leave-one-out, since blocks inside would
 * never show a use of neighbours.
 *
 * @param y - Responses, `[nStimuli, nTargets]`, in the order in which stimuli were shown.
 * @param options - As for the model's own score: the same folds, groups and targets.
 * @returns As `encodingScore`, and the widths.
 * @throws {ShapeError} if `series` or `groups` have not one label per stimulus.
 * @throws {ArgumentError} if an option is out of range.
 *
 * Cost: nWidths times that of `encodingScore` with nStimuli units.
 *
 * @example
 * const y = tensor(Float64Array.from({ length: 40 }, (_, i) => Math.sin(i / 3)), ["stimulus", "target"], [40, 1]);
 * (await autocorrelationFloor(y, { split: "shuffled" })).median > 0.9 // => true
 */
export async function autocorrelationFloor(
  y: Responses,
  options: AutocorrelationOptions = {},
): Promise<AutocorrelationFloor> {
  const { series, widths = [0.5, 1, 2, 4], ...encoding } = options;
  const n = y.shape[0];
  const labels = series ?? encoding.groups ?? new Array<number>(n).fill(0);
  if (labels.length !== n) {
    throw new ShapeError(
      `autocorrelationFloor: expected ${n} labels, one per stimulus, got ${labels.length}`,
    );
  }
  if (widths.length === 0) {
    throw new ArgumentError("autocorrelationFloor: expected widths to choose from, got none");
  }
  const blocks = widths.map((width) => autocorrelationFeatures(labels, { width }));
  const all = new Float64Array(n * n * widths.length);
  blocks.forEach(({ data }, w) => {
    for (let i = 0; i < n; i++) {
      all.set(data.subarray(i * n, (i + 1) * n), (i * widths.length + w) * n);
    }
  });
  const chosenWidths: number[] = [];
  const columnsOf = (w: number) => Int32Array.from({ length: n }, (_, j) => w * n + j);
  const regressor: HeldOutPredictor = async (
    x,
    responses,
    held,
    { innerFolds, linalg, signal },
  ) => {
    let best: { w: number; score: number; held: Responses } | undefined;
    for (const w of widths.keys()) {
      const own = takeColumns(x, columnsOf(w));
      const model = await ridgeCv(own, responses, {
        ...encoding,
        onProgress: undefined,
        folds: innerFolds,
        linalg,
        signal,
      });
      const score = model.cvScores.reduce((sum, value) => sum + value, 0);
      if (best !== undefined && !(score > best.score)) continue;
      best = { w, score, held: await predict(model, takeColumns(held, columnsOf(w)), { linalg }) };
    }
    chosenWidths.push(widths[best!.w]!);
    return best!.held;
  };
  const score = await encodingScore(tensor(all, ["stimulus", "unit"], [n, n * widths.length]), y, {
    ...encoding,
    innerFolds: encoding.innerFolds ?? innerFoldsFor(encoding, n),
    regressor,
  });
  return { ...score, chosenWidths };
}

/** Blocks, or single stimuli where the outer folds hold out single stimuli too. */
function innerFoldsFor(
  { outerFolds, split, groups }: EncodingOptions,
  n: number,
): "leave-one-out" | 5 {
  const given = outerFolds !== undefined && typeof outerFolds !== "number";
  if (!given) return split === "shuffled" ? "leave-one-out" : 5;
  const { kind } = describeFolds(outerFolds, { nStimuli: n, groups });
  return kind === "shuffled" ? "leave-one-out" : 5;
}
