import type { Matrix } from "@penfield/linalg";

/** How good predictions of each target are; higher is better. Writes one value per target into `out`. */
export type ScoreFunction = (yTrue: Matrix, yHat: Matrix, out: Float64Array) => void;

/** The name of a score. */
export type RidgeScore = "l2" | "r2" | "correlation";

/** What a ridge model may choose its penalty by, himalaya's three. */
export const ridgeScores: Readonly<Record<RidgeScore, ScoreFunction>> = {
  /** Minus the mean squared error. */
  l2: (yTrue, yHat, out) => {
    const errors = squaredErrors(yTrue, yHat);
    for (let t = 0; t < out.length; t++) out[t] = -errors[t]! / yTrue.nRows;
  },
  /** 1 - SSE / SST; 0 if the target does not vary. */
  r2: (yTrue, yHat, out) => {
    const errors = squaredErrors(yTrue, yHat);
    const { squareTrue } = moments(yTrue, yTrue);
    for (let t = 0; t < out.length; t++) {
      out[t] = squareTrue[t] === 0 ? 0 : 1 - errors[t]! / squareTrue[t]!;
    }
  },
  /** Pearson's r; 0 if either does not vary. */
  correlation: (yTrue, yHat, out) => {
    const { squareTrue, squareHat, products } = moments(yTrue, yHat);
    for (let t = 0; t < out.length; t++) {
      const scale = Math.sqrt(squareTrue[t]!) * Math.sqrt(squareHat[t]!);
      out[t] = scale === 0 ? 0 : products[t]! / scale;
    }
  },
};

/** Sums over rows, [nTargets]; rows are read in order, for they are how the values lie in memory. */
function squaredErrors(yTrue: Matrix, yHat: Matrix): Float64Array {
  const { nRows, nColumns } = yTrue;
  const sums = new Float64Array(nColumns);
  for (let i = 0; i < nRows; i++) {
    const at = i * nColumns;
    for (let t = 0; t < nColumns; t++) {
      const error = yTrue.data[at + t]! - yHat.data[at + t]!;
      sums[t]! += error * error;
    }
  }
  return sums;
}

interface Moments {
  readonly squareTrue: Float64Array;
  readonly squareHat: Float64Array;
  readonly products: Float64Array;
}

/** Sums of squares and products about the means, [nTargets] each. */
function moments(yTrue: Matrix, yHat: Matrix): Moments {
  const { nRows, nColumns } = yTrue;
  const meanTrue = new Float64Array(nColumns);
  const meanHat = new Float64Array(nColumns);
  for (let i = 0; i < nRows; i++) {
    const at = i * nColumns;
    for (let t = 0; t < nColumns; t++) {
      meanTrue[t]! += yTrue.data[at + t]! / nRows;
      meanHat[t]! += yHat.data[at + t]! / nRows;
    }
  }
  const squareTrue = new Float64Array(nColumns);
  const squareHat = new Float64Array(nColumns);
  const products = new Float64Array(nColumns);
  for (let i = 0; i < nRows; i++) {
    const at = i * nColumns;
    for (let t = 0; t < nColumns; t++) {
      const a = yTrue.data[at + t]! - meanTrue[t]!;
      const b = yHat.data[at + t]! - meanHat[t]!;
      squareTrue[t]! += a * a;
      squareHat[t]! += b * b;
      products[t]! += a * b;
    }
  }
  return { squareTrue, squareHat, products };
}
