import { DataError, FormatError, ShapeError } from "@penfield/core";
import { describe, expect, test } from "vitest";
import { evaluateSuite, parseSuite } from "./suite.ts";

const region = (content: string, i: number) => ({ region_number: i + 1, content });
const suite = {
  meta: { name: "number_test", metric: "sum" },
  predictions: [
    { type: "formula", formula: "(2;%match%) < (2;%mismatch%)" },
    { type: "formula", formula: "(*;%match%) = (*;%mismatch%)" },
  ],
  items: [1, 2].map((item_number) => ({
    item_number,
    conditions: [
      { condition_name: "match", regions: ["The keys", "are", ""].map(region) },
      { condition_name: "mismatch", regions: ["The keys", "is", ""].map(region) },
    ],
  })),
};
const text = JSON.stringify(suite);
/** A suite with one thing changed. */
const changed = (change: (copy: typeof suite) => void): string => {
  const copy = structuredClone(suite);
  change(copy);
  return JSON.stringify(copy);
};

describe("parseSuite and evaluateSuite", () => {
  test("read regions and compute predictions per item", () => {
    const task = parseSuite(text, { id: "number_test" });
    expect(task.title).toBe("number test");
    expect(task.items[0]!.conditions[1]).toEqual({
      name: "mismatch",
      regions: ["The keys", "is", ""],
    });
    expect(
      evaluateSuite(task, [
        { match: [4, 1, 0], mismatch: [2, 3, 0] },
        { match: [1, 3, 0], mismatch: [1, 2, 0] },
      ]),
    ).toEqual([
      [true, true],
      [false, false],
    ]);
  });

  test.each([
    ["{", "expected JSON"],
    ["{}", "field predictions"],
    [changed((s) => s.items.pop() && s.items.pop()), "at least one item"],
    [changed((s) => (s.meta.metric = "mean")), 'expected the metric sum, got "mean"'],
    [
      changed((s) => (s.items[1]!.conditions[0]!.regions[1]!.region_number = 5)),
      "expected region 2, got 5",
    ],
    [
      changed((s) => (s.predictions[0]!.formula = "(2;%match%) <")),
      "expected a region, a number or a bracket",
    ],
    [
      changed((s) => (s.predictions[0]!.formula = "(4;%match%) < 1")),
      "asks for region 4 of match, got 3 regions",
    ],
    [
      changed((s) => (s.predictions[0]!.formula = "(1;%other%) < 1")),
      "asks for condition other, got match, mismatch",
    ],
  ])("refuse a broken suite (%#)", (broken, message) => {
    expect(() => parseSuite(broken, { id: "x" })).toThrow(FormatError);
    expect(() => parseSuite(broken, { id: "x" })).toThrow(message);
  });

  test("refuse an item number that is there twice", () => {
    const twice = changed((s) => (s.items[1]!.item_number = 1));
    expect(() => parseSuite(twice, { id: "x" })).toThrow(DataError);
  });

  test("refuse surprisals that do not fit", () => {
    const task = parseSuite(text, { id: "x" });
    const good = { match: [1, 1, 0], mismatch: [1, 1, 0] };
    expect(() => evaluateSuite(task, [good])).toThrow(
      new ShapeError("evaluateSuite: expected surprisals for 2 items, got 1"),
    );
    expect(() => evaluateSuite(task, [good, { match: [1, 1, 0] }])).toThrow(
      "expected 3 surprisals for mismatch, got none",
    );
    expect(() => evaluateSuite(task, [good, { ...good, match: [1, Number.NaN, 0] }])).toThrow(
      DataError,
    );
  });
});
