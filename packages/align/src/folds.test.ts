import { ArgumentError } from "@penfield/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  checkFolds,
  contiguousFolds,
  type Fold,
  groupedFolds,
  shuffledFolds,
  sklearnGroupFolds,
  sklearnShuffleSplits,
  stratifiedFolds,
} from "./folds.ts";

const tests = (folds: readonly Fold[]) => folds.map(({ test }) => [...test]);
/** Every stimulus is held out once, and fitted to in all other folds. */
function expectPartition(folds: readonly Fold[], n: number): void {
  const all = Array.from({ length: n }, (_, i) => i);
  expect(
    tests(folds)
      .flat()
      .sort((a, b) => a - b),
  ).toEqual(all);
  for (const { train, test } of folds) {
    expect([...train, ...test].sort((a, b) => a - b)).toEqual(all);
  }
}

describe("contiguousFolds", () => {
  test("equal sklearn's KFold", () => {
    expect(tests(contiguousFolds(7, 3))).toEqual([
      [0, 1, 2],
      [3, 4],
      [5, 6],
    ]);
  });

  test("are blocks that partition the stimuli", () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 60 }), fc.nat(), (n, pick) => {
        const k = 2 + (pick % (n - 1));
        const folds = contiguousFolds(n, k);
        expectPartition(folds, n);
        for (const { test } of folds) expect(test.at(-1)! - test[0]! + 1).toBe(test.length);
      }),
    );
  });

  test.each([
    [5, 1],
    [5, 6],
    [5, 2.5],
  ])("refuse %d stimuli in %d folds", (n, k) => {
    expect(() => contiguousFolds(n, k)).toThrow(ArgumentError);
  });
});

describe("groupedFolds", () => {
  test("leave one group out by default", () => {
    expect(tests(groupedFolds([3, 3, 1, 2, 1]))).toEqual([[0, 1], [2, 4], [3]]);
  });

  test("keep groups together and partition the stimuli", () => {
    const labels = fc.array(fc.integer({ min: 0, max: 6 }), { minLength: 2, maxLength: 40 });
    fc.assert(
      fc.property(labels, fc.nat(), (groups, pick) => {
        const nGroups = new Set(groups).size;
        fc.pre(nGroups >= 2);
        const folds = groupedFolds(groups, 2 + (pick % (nGroups - 1)));
        expectPartition(folds, groups.length);
        for (const { train, test } of folds) {
          const held = new Set(Array.from(test, (i) => groups[i]));
          expect(Array.from(train, (i) => groups[i]).some((g) => held.has(g))).toBe(false);
        }
      }),
    );
  });

  test("refuse one group and more folds than groups", () => {
    expect(() => groupedFolds(["a", "a"])).toThrow(ArgumentError);
    expect(() => groupedFolds(["a", "b"], 3)).toThrow(
      "groupedFolds: expected 2..2 folds of 2 groups, got 3",
    );
  });
});

test.each([
  [[], "expected at least one fold, got none"],
  [[{ train: [0], test: [1] }], "got 1 and 1"],
  [[{ train: [0, 1], test: [] }], "got 2 and 0"],
  [[{ train: [0, 9], test: [1] }], "expected stimuli within 0..3 in fold 0, got 9"],
  [[{ train: [0, 1], test: [1] }], "got 1 in both"],
])("checkFolds refuses folds that do not fit (%#)", (folds, message) => {
  const made = folds.map(({ train, test }) => ({
    train: Int32Array.from(train),
    test: Int32Array.from(test),
  }));
  expect(() => checkFolds("f", made, 4)).toThrow(ArgumentError);
  expect(() => checkFolds("f", made, 4)).toThrow(message);
});

describe("folds as scikit-learn 1.9.1 makes them", () => {
  test("ShuffleSplit(10, train_size=0.9, random_state=1) of 23", () => {
    const [first, second] = sklearnShuffleSplits(23);
    expect([...first!.test]).toEqual([20, 17, 3]);
    expect([...second!.test]).toEqual([12, 8, 2]);
    expect([...second!.train.slice(0, 5)]).toEqual([20, 3, 5, 16, 11]);
    expect(() => sklearnShuffleSplits(1)).toThrow(ArgumentError);
  });

  test("GroupKFold(3, shuffle=True, random_state=1234) of 8 stories", () => {
    const groups = Array.from({ length: 24 }, (_, i) => `s${Math.floor(i / 3)}`);
    expect(tests(sklearnGroupFolds(groups, 3))).toEqual([
      [3, 4, 5, 6, 7, 8, 18, 19, 20],
      [0, 1, 2, 12, 13, 14, 15, 16, 17],
      [9, 10, 11, 21, 22, 23],
    ]);
    expect(() => sklearnGroupFolds(groups, 9)).toThrow(ArgumentError);
  });

  test("StratifiedKFold(3)", () => {
    expect(tests(stratifiedFolds([0, 1, 1, 0, 2, 2, 1, 0, 0, 2, 1, 1, 0], 3))).toEqual([
      [0, 1, 2, 3, 4],
      [5, 6, 7, 8],
      [9, 10, 11, 12],
    ]);
    expect(tests(stratifiedFolds(["b", "a", "a", "b", "b", "a", "b"], 2))).toEqual([
      [0, 1, 2, 3],
      [4, 5, 6],
    ]);
    expect(() => stratifiedFolds([0, 0, 1], 2)).toThrow("got 1 of 1");
  });

  test("shuffled folds partition the stimuli", () => {
    expectPartition(shuffledFolds(17, 4, 3), 17);
    expect(tests(shuffledFolds(17, 4, 3))).not.toEqual(tests(contiguousFolds(17, 4)));
  });
});
