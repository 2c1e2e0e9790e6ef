import type { Matrix } from "@penfield/linalg";

/** How good predictions of one target are; higher is better. */
export type ScoreFunction = (yTrue: Matrix, yHat: Matrix, out: Float64Array) => void;

/** The name of a score. */
export type RidgeScore = "l2" | "r2" | "correlation";

/** What a ridge model may choose its penalty by, himalaya's three. */
export const ridgeScores: Readonly<Record<RidgeScore, ScoreFunction>> = {
  /** Minus the mean squared error. */
  l2: (yTrue, yHat, out) => {
    overTargets(yTrue, yHat, out, ({ error, n }) => -error / n);
  },
  /** 1 - SSE / SST; 0 if the target does not vary. */
  r2: (yTrue, yHat, out) => {
    overTargets(yTrue, yHat, out, ({ error, squareTrue }) =>
      squareTrue === 0 ? 0 : 1 - error / squareTrue,
    );
  },
  /** Pearson's r; 0 if either does not vary. */
  correlation: (yTrue, yHat, out) => {
    overTargets(yTrue, yHat, out, ({ product, squareTrue, squareHat }) => {
      const scale = Math.sqrt(squareTrue) * Math.sqrt(squareHat);
      return scale === 0 ? 0 : product / scale;
    });
  },
};

interface Sums {
  readonly n: number;
  /** Sum of squared errors. */
  readonly error: number;
  /** Sums of squares and products about the means. */
  readonly squareTrue: number;
  readonly squareHat: number;
  readonly product: number;
}

function overTargets(
  yTrue: Matrix,
  yHat: Matrix,
  out: Float64Array,
  score: (sums: Sums) => number,
): void {
  const { nRows: n, nColumns: nTargets } = yTrue;
  for (let t = 0; t < nTargets; t++) {
    let meanTrue = 0;
    let meanHat = 0;
    for (let i = 0; i < n; i++) {
      meanTrue += yTrue.data[i * nTargets + t]!;
      meanHat += yHat.data[i * nTargets + t]!;
    }
    meanTrue /= n;
    meanHat /= n;
    let error = 0;
    let squareTrue = 0;
    let squareHat = 0;
    let product = 0;
    for (let i = 0; i < n; i++) {
      const a = yTrue.data[i * nTargets + t]!;
      const b = yHat.data[i * nTargets + t]!;
      error += (a - b) ** 2;
      squareTrue += (a - meanTrue) ** 2;
      squareHat += (b - meanHat) ** 2;
      product += (a - meanTrue) * (b - meanHat);
    }
    out[t] = score({ n, error, squareTrue, squareHat, product });
  }
}
