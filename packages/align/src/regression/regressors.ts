import type { Activations, LongWork } from "@penfield/core";
import type { Linalg } from "@penfield/linalg";
import { leastSquares, principalComponentRegression } from "./leastSquares.ts";
import { nearestUnit } from "./nearestUnit.ts";
import { partialLeastSquares } from "./partialLeastSquares.ts";
import {
  type LinearModel,
  predict,
  type Responses,
  type RidgeOptions,
  ridgeCv,
  ridgePredictions,
} from "./ridgeCv.ts";

/** What regressors may be told; each takes what it knows. */
export interface RegressorOptions extends RidgeOptions {
  /** Of partial least squares and principal component regression. */
  readonly components?: number | undefined;
}

/** Fits a linear map from units to targets. */
export type Regressor = (
  x: Activations,
  y: Responses,
  options?: RegressorOptions,
) => Promise<LinearModel>;

/** The name of a regressor. */
export type RegressorName =
  | "ridge"
  | "least-squares"
  | "principal-components"
  | "partial-least-squares"
  | "nearest-unit";

/** Every linear map by name, so that scores, permutation tests and identification can take any of them. */
export const regressors: Readonly<Record<RegressorName, Regressor>> = {
  /** `ridgeCv`: a penalty per target, chosen by cross-validation. */
  ridge: ridgeCv,
  /** `leastSquares`: no penalty, least norm. */
  "least-squares": (x, y, options) => leastSquares(x, y, options),
  /** `principalComponentRegression`. */
  "principal-components": (x, y, options) => principalComponentRegression(x, y, options),
  /** `partialLeastSquares`. */
  "partial-least-squares": (x, y, options) => partialLeastSquares(x, y, options),
  /** `nearestUnit`: one unit per target. */
  "nearest-unit": (x, y, options) => nearestUnit(x, y, { linalg: options?.linalg }),
};

/**
 * A regressor in the form that `encodingScore` takes: fitted to some stimuli, asked about others. Ridge makes no coefficients
 * on the way.
 *
 * @param name - One of `regressors`.
 * @param options - What the regressor is told.
 *
 * @example
 * const x = activations([[1], [2], [4], [3], [5], [7]]);
 * const y = tensor(Float64Array.of(3, 5, 9, 7, 11, 15), ["stimulus", "target"], [6, 1]);
 * const predictor = heldOutPredictor("least-squares");
 * (await predictor(x, y, activations([[10]]), {})).data[0].toFixed(1) // => "21.0"
 */
export function heldOutPredictor(
  name: RegressorName,
  options: RegressorOptions = {},
): (
  x: Activations,
  y: Responses,
  held: Activations,
  context: LongWork & {
    readonly innerFolds?: RidgeOptions["folds"];
    readonly linalg?: Linalg | undefined;
  },
) => Promise<Responses> {
  return async (x, y, held, { innerFolds, linalg, signal, onProgress }) => {
    const told = { folds: innerFolds, ...options, linalg, signal, onProgress };
    if (name === "ridge") return ridgePredictions(x, y, held, told);
    return predict(await regressors[name](x, y, told), held, { linalg });
  };
}
