import { ArgumentError, ShapeError } from "@penfield/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  difference,
  fromMask,
  intersect,
  jaccard,
  perLayerCounts,
  toMask,
  type UnitSet,
  union,
  unitSet,
  unitsByLayer,
} from "./unitSet.ts";

const sets = fc
  .array(fc.integer({ min: 0, max: 29 }))
  .map((indices): UnitSet => unitSet(3, 10, indices));
const list = (units: UnitSet): number[] => Array.from(units.indices);

describe("unit sets", () => {
  test("are ascending and hold each unit once", () => {
    expect(list(unitSet(2, 4, [7, 0, 3, 7]))).toEqual([0, 3, 7]);
    expect(list(unitSet(2, 4, []))).toEqual([]);
  });

  test("agree with JavaScript's own sets", () => {
    fc.assert(
      fc.property(sets, sets, (a, b) => {
        const inB = new Set(b.indices);
        expect(list(union(a, b))).toEqual(
          [...new Set([...a.indices, ...b.indices])].sort((x, y) => x - y),
        );
        expect(list(intersect(a, b))).toEqual(list(a).filter((i) => inB.has(i)));
        expect(list(difference(a, b))).toEqual(list(a).filter((i) => !inB.has(i)));
        const either = union(a, b).indices.length;
        expect(jaccard(a, b)).toBe(either === 0 ? 1 : intersect(a, b).indices.length / either);
      }),
    );
  });

  test("come back from masks and layers", () => {
    fc.assert(
      fc.property(sets, (a) => {
        expect(fromMask(toMask(a), 3, 10)).toEqual(a);
        const layers = unitsByLayer(a);
        expect(layers.map((units) => units.length)).toEqual(Array.from(perLayerCounts(a)));
        expect(layers.flatMap((units, layer) => units.map((u) => layer * 10 + u))).toEqual(list(a));
      }),
    );
  });

  test("say what they cannot take", () => {
    expect(() => unitSet(2, 4, [8])).toThrow(ArgumentError);
    expect(() => unitSet(2, 4, [8])).toThrow("unitSet: expected indices within 0..7, got 8");
    expect(() => unitSet(2, 4, [0.5])).toThrow("got 0.5");
    expect(() => unitSet(2, 4, [Number.NaN])).toThrow("got NaN");
    expect(() => unitSet(0, 4, [])).toThrow(
      "unitSet: expected whole positive numbers of layers and units, got 0 and 4",
    );
    expect(() => fromMask([1, 0], 2, 2)).toThrow("fromMask: expected 2 x 2 = 4 values, got 2");
    expect(() => jaccard(unitSet(2, 4, []), unitSet(4, 2, []))).toThrow(ShapeError);
    expect(() => jaccard(unitSet(2, 4, []), unitSet(4, 2, []))).toThrow(
      "jaccard: expected sets of the same model, got 2 x 4 and 4 x 2 units",
    );
  });
});
