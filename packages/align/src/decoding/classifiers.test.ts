import { readFileSync } from "node:fs";
import {
  ArgumentError,
  activations,
  createRng,
  DataError,
  InterruptedError,
  ShapeError,
  tensor,
} from "@penfield/core";
import { createLinalg, matrix } from "@penfield/linalg";
import { areaUnderRoc } from "@penfield/stats";
import { afterAll, describe, expect, test } from "vitest";
import { classificationScore } from "./classificationScore.ts";
import { type ClassifierOptions, classifierNames, fitClassifier } from "./classifiers.ts";

const linalg = createLinalg();
afterAll(() => linalg.dispose());

interface Golden {
  readonly cases: readonly {
    readonly shape: readonly [number, number, number];
    readonly x: readonly number[];
    readonly held: readonly number[];
    readonly decisions: Readonly<Record<string, readonly number[]>>;
  }[];
}
const golden = JSON.parse(
  readFileSync(new URL("../../../../test/golden/classifiers.json", import.meta.url), "utf8"),
) as Golden;

const options: Record<string, ClassifierOptions> = {
  svm: { classifier: "svm", cost: 0.05 },
  "svm-hinge": { classifier: "svm", cost: 0.05, loss: "hinge" },
  ridge: { classifier: "ridge", alpha: 2 },
  logistic: { classifier: "logistic", cost: 0.5 },
  lda: { classifier: "lda", shrinkage: 0.2 },
};

describe.each(golden.cases.map((c) => [c.shape.join(" x "), c] as const))(
  "decisions as scikit-learn's (make_classifiers.py): %s classes",
  (_, { shape: [n, p, k], x, held, decisions }) => {
    test.each(Object.keys(options))("%s", async (name) => {
      const decide = await fitClassifier(
        "test",
        matrix(Float64Array.from(x), n, p),
        Int32Array.from({ length: n }, (__, i) => i % k),
        k,
        options[name]!,
        linalg,
      );
      const { data } = await decide(matrix(Float64Array.from(held), 6, p));
      // Of two classes scikit-learn gives the second one's decision; lda's is the difference of both.
      const ours =
        k > 2
          ? [...data]
          : Array.from({ length: 6 }, (__, i) =>
              name === "lda" ? data[2 * i + 1]! - data[2 * i]! : data[2 * i + 1]!,
            );
      const theirs = decisions[name]!;
      // Scores of several classes in logistic regression are free up to a constant per stimulus.
      const tolerance = name === "logistic" ? 2e-5 : 1e-6;
      theirs.forEach((value, i) => {
        expect(Math.abs(ours[i]! - value)).toBeLessThan(tolerance * (1 + Math.abs(value)));
      });
    });
  },
);

describe("classificationScore", () => {
  const runs = Array.from({ length: 48 }, (_, i) => Math.floor(i / 8));
  const labels = Array.from({ length: 48 }, (_, i) => `c${i % 4}`);
  const data = (strength: number, p = 60) => {
    const rng = createRng(2);
    const patterns = Array.from({ length: 4 * p }, () => rng.normal());
    return tensor(
      Float64Array.from(
        { length: 48 * p },
        (_, i) => strength * patterns[(Math.floor(i / p) % 4) * p + (i % p)]! + rng.normal(),
      ),
      ["stimulus", "target"],
      [48, p],
    );
  };

  test.each(classifierNames)("%s finds planted patterns, not noise", async (classifier) => {
    const score = await classificationScore(data(0.6), labels, {
      classifier,
      groups: runs,
      linalg,
    });
    expect(score.accuracy).toBeGreaterThan(0.6);
    expect(score.perFold.length).toBe(6);
    expect(Array.from(score.confusion.data).reduce((a, b) => a + b)).toBe(48);
    expect(score.classes).toEqual(["c0", "c1", "c2", "c3"]);
    expect(score.interval.low).toBeGreaterThan(0.25);
    const noise = await classificationScore(data(0), labels, { classifier, groups: runs, linalg });
    expect(noise.accuracy).toBeLessThan(0.5);
  });

  test("p by shuffling labels within runs", async () => {
    const run = (strength: number) =>
      classificationScore(data(strength, 12), labels, {
        classifier: "ridge",
        groups: runs,
        nDraws: 39,
        linalg,
      });
    expect((await run(1)).p).toBe(0.025);
    expect((await run(0)).p).toBeGreaterThan(0.05);
  });

  test("does not depend on scale or offset of a unit when standardized", async () => {
    const x = data(0.5, 10);
    const stretched = { ...x, data: x.data.map((v, i) => v * 10 ** (i % 5) + (i % 10)) };
    const a = await classificationScore(x, labels, { groups: runs, standardize: true, linalg });
    const b = await classificationScore(stretched, labels, {
      groups: runs,
      standardize: true,
      linalg,
    });
    expect([...b.predictions]).toEqual([...a.predictions]);
  });

  test("two classes have an area under the curve", async () => {
    const two = labels.map((_, i) => i % 2);
    const x = tensor(
      Float64Array.from({ length: 96 }, (_, i) => ((i >> 1) % 2 ? 3 : 0) + Math.sin(i * i)),
      ["stimulus", "target"],
      [48, 2],
    );
    expect((await classificationScore(x, two, { linalg })).areaUnderRoc).toBe(1);
    expect(areaUnderRoc([1, 1], [0, 1])).toBe(0.5);
    expect(areaUnderRoc([1, 2], [1, 1])).toBeNaN();
    expect(() => areaUnderRoc([1], [1, 0])).toThrow(ShapeError);
  });

  test("refuses what does not fit", async () => {
    const x = data(1, 3);
    const run = (o: object, y: readonly (string | number)[] = labels) =>
      classificationScore(x, y, { linalg, ...o });
    await expect(run({}, labels.slice(1))).rejects.toThrow(ShapeError);
    await expect(
      run(
        {},
        labels.map(() => "a"),
      ),
    ).rejects.toThrow("expected at least 2 classes, got 1");
    await expect(run({ classifier: "tree" })).rejects.toThrow(ArgumentError);
    await expect(run({ cost: 0 })).rejects.toThrow(ArgumentError);
    await expect(run({ classifier: "svm", loss: "log" })).rejects.toThrow(ArgumentError);
    await expect(run({ groups: labels })).rejects.toThrow(
      "expected every class among the stimuli fitted to",
    );
    await expect(run({ signal: AbortSignal.abort() })).rejects.toThrow(InterruptedError);
    await expect(classificationScore(activations([[1], [Number.NaN]]), ["a", "b"])).rejects.toThrow(
      DataError,
    );
  });
});
