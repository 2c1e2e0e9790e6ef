import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { readNpy, tensor } from "@penfield/core";
import { createLinalg } from "@penfield/linalg";
import { afterAll, describe, expect, test } from "vitest";
import { encodingScore } from "../encodingScore.ts";
import { groupedFolds } from "../folds.ts";
import { predict, type RidgeOptions, ridgeCv } from "./ridgeCv.ts";

const golden = fileURLToPath(new URL("../../../../../shared/golden/encoding/", import.meta.url));
const linalg = createLinalg();
afterAll(() => linalg.dispose());

interface Values {
  readonly data: Float64Array;
  readonly shape: readonly number[];
}
/** The arrays of a case that are used here. */
type Arrays = Partial<
  Record<
    | "X"
    | "Y"
    | "Xt"
    | "alphas"
    | "runs"
    | "best_alphas"
    | "coef"
    | "primal"
    | "cv_scores"
    | "intercept"
    | "pred"
    | "alpha"
    | "best_score"
    | "fold"
    | "r_ridge",
    Values
  >
>;

function load(name: string) {
  const arrays: Arrays = Object.fromEntries(
    readdirSync(`${golden}${name}`).map((file) => {
      const { data, shape } = readNpy(readFileSync(`${golden}${name}/${file}`));
      return [
        file.replace(".npy", ""),
        { data: Float64Array.from(data as ArrayLike<number | bigint>, Number), shape },
      ];
    }),
  );
  const matrixOf = <A extends string>(key: keyof Arrays, second: A) => {
    const { data, shape } = arrays[key]!;
    return tensor(data, ["stimulus", second], [shape[0]!, shape[1]!]);
  };
  return { arrays, matrixOf, alphas: [...(arrays.alphas?.data ?? [])] };
}

/** The largest difference, relative to the size of the array. */
function difference(actual: ArrayLike<number>, expected: Float64Array): number {
  expect(actual.length).toBe(expected.length);
  const scale = Math.max(...expected.map(Math.abs));
  return Math.max(...Array.from(expected, (value, i) => Math.abs(actual[i]! - value))) / scale;
}

const cases: Record<string, RidgeOptions & { tolerance?: number }> = {
  ridgecv_local: {},
  ridgecv_global: { perTarget: false },
  ridgecv_conservative: { conservative: true },
  ridgecv_corr: { score: "correlation" },
  ridgecv_r2: { score: "r2" },
  ridgecv_nointercept: { intercept: false },
  ridgecv_runs: {},
  ridgecv_f32: { tolerance: 1e-3 },
  kernelridgecv_wide: {},
};

describe.skipIf(!existsSync(golden))(
  "against himalaya and sklearn, ../shared/golden (skipped when absent)",
  () => {
    test.each(Object.entries(cases))("%s", async (name, { tolerance = 1e-8, ...options }) => {
      const { arrays, matrixOf, alphas } = load(name);
      const runs = arrays.runs;
      const model = await ridgeCv(matrixOf("X", "unit"), matrixOf("Y", "target"), {
        ...options,
        alphas,
        linalg,
        // Three targets at a time: batches must not show.
        targetBatch: 3,
        ...(runs ? { folds: groupedFolds(runs.data) } : {}),
      });
      const best = arrays.best_alphas!.data;
      model.bestAlphas.forEach((alpha, t) => {
        expect(Math.abs(alpha / best[t]! - 1)).toBeLessThan(tolerance === 1e-8 ? 1e-12 : 1e-5);
      });
      const coef = (arrays.coef ?? arrays.primal)!.data;
      expect(difference(model.coefficients.data, coef)).toBeLessThan(tolerance);
      expect(difference(model.cvScores, arrays.cv_scores!.data)).toBeLessThan(tolerance);
      if (arrays.intercept) {
        // An intercept is a difference of larger numbers; its scale is that of the responses.
        const scale = Math.max(...arrays.Y!.data.map(Math.abs));
        model.intercept.forEach((value, t) => {
          expect(Math.abs(value - arrays.intercept!.data[t]!) / scale).toBeLessThan(tolerance);
        });
      }
      if (arrays.pred) {
        const predicted = await predict(model, matrixOf("Xt", "unit"), { linalg });
        expect(difference(predicted.data, arrays.pred.data)).toBeLessThan(tolerance);
      }
    });

    test.each([
      ["sk_gcv", true],
      ["sk_gcv_shared", false],
    ])("%s: leave-one-out as sklearn's RidgeCV", async (name, perTarget) => {
      const { arrays, matrixOf, alphas } = load(name);
      const model = await ridgeCv(matrixOf("X", "unit"), matrixOf("Y", "target"), {
        alphas,
        perTarget,
        folds: "leave-one-out",
        linalg,
      });
      model.bestAlphas.forEach((alpha, t) => {
        const { data } = arrays.alpha!;
        expect(alpha / data[data.length === 1 ? 0 : t]!).toBeCloseTo(1, 12);
      });
      // sklearn's coefficients are [target, unit].
      const { data, shape } = arrays.coef!;
      const [nTargets, nUnits] = shape as [number, number];
      const turned = Float64Array.from(
        data,
        (_, i) => data[(i % nTargets) * nUnits + Math.floor(i / nTargets)]!,
      );
      expect(difference(model.coefficients.data, turned)).toBeLessThan(1e-8);
      if (arrays.best_score) {
        expect(difference(model.cvScores, arrays.best_score.data)).toBeLessThan(1e-8);
      }
    });

    test("brainscore: ridge with one leave-one-out penalty, Pearson per fold", async () => {
      const { arrays, matrixOf } = load("brainscore");
      const { data: fold } = arrays.fold!;
      const rows = Int32Array.from(fold.keys());
      const { data, shape } = arrays.r_ridge!;
      const [nFolds, nTargets] = shape as [number, number];
      const outerFolds = Array.from({ length: nFolds }, (_, f) => ({
        train: rows.filter((i) => fold[i] !== f),
        test: rows.filter((i) => fold[i] === f),
      }));
      const score = await encodingScore(matrixOf("X", "unit"), matrixOf("Y", "target"), {
        outerFolds,
        innerFolds: "leave-one-out",
        perTarget: false,
        alphas: [1e-3, 1e-2, 0.1, 1, 10, 100, 1000],
        linalg,
      });
      const expected = Float64Array.from({ length: nTargets }, (_, t) => {
        let sum = 0;
        for (let f = 0; f < nFolds; f++) sum += data[f * nTargets + t]!;
        return sum / nFolds;
      });
      // The reference adds 1e-8 to the norms of its correlation.
      expect(difference(score.perTarget, expected)).toBeLessThan(1e-7);
    });

    test("kernelridge_fixed: one penalty, no intercept", async () => {
      const { arrays, matrixOf } = load("kernelridge_fixed");
      const model = await ridgeCv(matrixOf("X", "unit"), matrixOf("Y", "target"), {
        alphas: [10],
        intercept: false,
        linalg,
      });
      // The reference was solved by iteration: its dual coefficients leave a residual of 2e-4.
      const predicted = await predict(model, matrixOf("Xt", "unit"), { linalg });
      expect(difference(predicted.data, arrays.pred!.data)).toBeLessThan(1e-4);
    });
  },
);
