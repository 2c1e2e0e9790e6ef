import { type Activations, ArgumentError, ShapeError } from "@penfield/core";
import { checkFolds, contiguousFolds, type Fold } from "../folds.ts";
import type { Precision } from "./arrays.ts";
import { checkFinite } from "./columns.ts";
import type { Responses, RidgeOptions } from "./ridgeCv.ts";
import { type RidgeScore, ridgeScores } from "./scores.ts";

/** Ten powers of ten: wide enough for activations that nobody has scaled. */
const DEFAULT_ALPHAS: readonly number[] = Array.from({ length: 10 }, (_, i) => 10 ** (i - 1));

export interface RidgePlan {
  readonly alphas: readonly number[];
  /** Empty for leave-one-out. */
  readonly folds: readonly Fold[];
  readonly leaveOneOut: boolean;
  readonly score: RidgeScore;
  readonly perTarget: boolean;
  readonly conservative: boolean;
  readonly intercept: boolean;
  readonly targetBatch: number | undefined;
  readonly precision: Precision;
  readonly nStimuli: number;
  readonly nUnits: number;
  readonly nTargets: number;
}

/** Checks what was asked for and fills in the rest. */
export function planRidge(
  x: Activations,
  y: Responses,
  options: RidgeOptions,
  name = "ridgeCv",
): RidgePlan {
  const nTargets = y.shape[1];
  const nUnits = x.shape[1];
  if (x.shape[0] !== y.shape[0]) {
    throw new ShapeError(
      `${name}: expected as many stimuli in x as in y, got ${x.shape[0]} and ${y.shape[0]}`,
      { hint: "Bring them together with matchStimuli first." },
    );
  }
  if (nUnits < 1 || nTargets < 1) {
    throw new ShapeError(
      `${name}: expected at least one unit and one target, got ${nUnits} and ${nTargets}`,
    );
  }
  const single = x.data instanceof Float32Array && y.data instanceof Float32Array;
  const plan = planPenalties(x.shape[0], options, name);
  checkFinite(name, "activations", x.data, nUnits);
  checkFinite(name, "responses", y.data, nTargets);
  const precision = options.precision ?? (single ? "float32" : "float64");
  return { ...plan, precision, nUnits, nTargets };
}

/** The part that does not look at the data. */
export function planPenalties(
  nStimuli: number,
  options: RidgeOptions,
  name: string,
): Omit<RidgePlan, "nUnits" | "nTargets" | "precision"> {
  const {
    alphas = DEFAULT_ALPHAS,
    folds = 5,
    score = "l2",
    perTarget = true,
    conservative = false,
    intercept = true,
    targetBatch,
    precision = "float64",
  } = options;
  if (alphas.length === 0 || alphas.some((alpha) => !(alpha > 0 && Number.isFinite(alpha)))) {
    throw new ArgumentError(
      `${name}: expected alphas above 0, got ${alphas.length === 0 ? "none" : alphas.join(", ")}`,
    );
  }
  if (!Object.hasOwn(ridgeScores, score)) {
    throw new ArgumentError(
      `${name}: expected score ${Object.keys(ridgeScores).join(", ")}, got ${score}`,
    );
  }
  if (precision !== "float32" && precision !== "float64") {
    throw new ArgumentError(`${name}: expected precision float32 or float64, got ${precision}`);
  }
  if (targetBatch !== undefined && (!Number.isInteger(targetBatch) || targetBatch < 1)) {
    throw new ArgumentError(
      `${name}: expected a positive whole number for targetBatch, got ${targetBatch}`,
    );
  }
  const leaveOneOut = folds === "leave-one-out";
  const list = leaveOneOut
    ? []
    : typeof folds === "number"
      ? contiguousFolds(nStimuli, folds)
      : folds;
  if (!leaveOneOut) checkFolds(name, list, nStimuli);
  else if (score !== "l2" || conservative || nStimuli < 3) {
    throw new ArgumentError(
      `${name}: expected score l2, not conservative, and at least 3 stimuli for leave-one-out, got ${score}, ${conservative} and ${nStimuli}`,
    );
  }
  return {
    alphas,
    folds: list,
    leaveOneOut,
    score,
    perTarget,
    conservative,
    intercept,
    targetBatch,
    nStimuli,
  };
}
