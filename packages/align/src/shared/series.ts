import { DataError, ShapeError, type Tensor } from "@penfield/core";
import type { Matrix } from "@penfield/linalg";

/** What one subject's brain did over time, `[nTimes, nTargets]`; every subject saw and heard the same. */
export type SubjectSeries = Tensor<readonly ["time", "target"]>;

/** A subject's columns about their means, float64. */
export interface Centred {
  readonly x: Matrix<Float64Array>;
  readonly means: Float64Array;
}

/** Refuses subjects that cannot be brought together. */
export function checkSubjects(
  name: string,
  subjects: readonly SubjectSeries[],
  { least = 2, sameTargets }: { least?: number; sameTargets: boolean },
): { readonly nTimes: number; readonly nTargets: number } {
  if (subjects.length < least) {
    throw new ShapeError(`${name}: expected at least ${least} subjects, got ${subjects.length}`);
  }
  const [nTimes, nTargets] = subjects[0]!.shape;
  subjects.forEach(({ data, shape }, s) => {
    if (shape[0] !== nTimes) {
      throw new ShapeError(
        `${name}: expected ${nTimes} samples of every subject, got ${shape[0]} of subject ${s}`,
        { hint: "Cut the recordings to the same stretch of the stimulus." },
      );
    }
    if (shape[1] < 1 || (sameTargets && shape[1] !== nTargets)) {
      throw new ShapeError(
        `${name}: expected ${nTargets} targets of every subject, got ${shape[1]} of subject ${s}`,
        { hint: "Targets that do not correspond can be brought into a shared space with srm." },
      );
    }
    const at = data.findIndex((value) => !Number.isFinite(value));
    if (at >= 0) {
      throw new DataError(
        `${name}: expected finite values, got ${data[at]} of subject ${s} at sample ${Math.floor(at / shape[1])}, target ${at % shape[1]}`,
      );
    }
  });
  if (nTimes < 3) throw new ShapeError(`${name}: expected at least 3 samples, got ${nTimes}`);
  return { nTimes, nTargets };
}

export function centred({ data, shape: [nTimes, nTargets] }: SubjectSeries): Centred {
  const means = new Float64Array(nTargets);
  for (let i = 0; i < data.length; i++) means[i % nTargets]! += data[i]! / nTimes;
  const x = new Float64Array(data.length);
  for (let i = 0; i < x.length; i++) x[i] = data[i]! - means[i % nTargets]!;
  return { x: { data: x, nRows: nTimes, nColumns: nTargets }, means };
}

/** Columns of mean 0 and sum of squares 1; all NaN where a column does not vary. */
export function unitColumns(series: SubjectSeries): Matrix<Float64Array> {
  const { x, means } = centred(series);
  scaleToUnit(x, means);
  return x;
}

/** In place. */
function scaleToUnit(
  { data, nRows, nColumns }: Matrix<Float64Array>,
  means: ArrayLike<number>,
): void {
  const squares = new Float64Array(nColumns);
  for (let i = 0; i < data.length; i++) squares[i % nColumns]! += data[i]! ** 2;
  const scale = squares.map((square, j) =>
    // What rounding leaves of a constant is not variance.
    square > nRows * (nRows * Number.EPSILON * means[j]!) ** 2 ? 1 / Math.sqrt(square) : Number.NaN,
  );
  for (let i = 0; i < data.length; i++) data[i]! *= scale[i % nColumns]!;
}
