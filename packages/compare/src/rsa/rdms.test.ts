import { matrix } from "@penfield/linalg";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { combinePartials, rescalePartials } from "./partials.ts";
import {
  categoricalRdm,
  concatRdms,
  condensedRdm,
  meanRdm,
  pairIndex,
  rdmRow,
  rdms,
  squareRdm,
  subsetConditions,
  takeConditions,
  takeRdms,
} from "./rdms.ts";

const NaN_ = Number.NaN;

describe("rdms", () => {
  test("knows the number of conditions", () => {
    const made = rdms([[1, 2, 3, 4, 5, 6]], { names: ["a"], conditions: ["w", "x", "y", "z"] });
    expect(made.nConditions).toBe(4);
    expect(pairIndex(4, 1, 3)).toBe(4);
    expect(squareRdm(rdmRow(made, 0)).data[1 * 4 + 3]).toBe(5);
  });

  test("refuses what is no RDM", () => {
    expect(() => rdms([])).toThrow("expected at least one RDM, got none");
    expect(() => rdms([[1, 2, 3], [1]])).toThrow("expected 3 dissimilarities each, got 1 in RDM 1");
    expect(() => rdms([[1, 2]])).toThrow("for whole n, got 2");
    expect(() => rdms([[1, 2, 3]], { conditions: ["a"] })).toThrow("expected 3 labels");
    expect(() => condensedRdm(matrix(new Float64Array(6), 2, 3))).toThrow("square");
    expect(() => condensedRdm(matrix(Float64Array.of(0, 1, 2, 0), 2, 2))).toThrow("symmetric");
  });

  test("condensed and square forms are each other's inverse", () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 9 }), fc.integer(), (n, seed) => {
        const values = Float64Array.from({ length: (n * (n - 1)) / 2 }, (_, i) =>
          Math.sin(seed + i),
        );
        expect(condensedRdm(squareRdm(values))).toEqual(values);
      }),
    );
  });

  test("takes conditions by descriptor and by index, NaN for a condition with itself", () => {
    const made = rdms([[1, 2, 3, 4, 5, 6]], {
      conditions: ["w", "x", "y", "z"],
      descriptors: { kind: ["a", "b", "a", "b"] },
    });
    const a = subsetConditions(made, ["a"], "kind");
    expect(a.conditions).toEqual(["w", "y"]);
    expect(Array.from(a.data)).toEqual([2]);
    expect(a.descriptors["kind"]).toEqual(["a", "a"]);
    expect(Array.from(takeConditions(made, [3, 0, 3]).data)).toEqual([3, NaN_, 3]);
    expect(() => subsetConditions(made, ["c"], "kind")).toThrow("expected a label of kind");
    expect(() => subsetConditions(made, ["c"], "colour")).toThrow("expected a descriptor");
    expect(() => takeConditions(made, [4])).toThrow("within 0..3");
    expect(() => takeRdms(made, [1])).toThrow("within 0..0");
  });

  test("averages what is there", () => {
    const made = rdms([
      [1, 2, NaN_],
      [3, NaN_, NaN_],
    ]);
    expect(Array.from(meanRdm(made).data)).toEqual([2, 2, NaN_]);
    expect(meanRdm(made, [3, 1]).data[0]).toBe(1.5);
    expect(() => meanRdm(made, [1])).toThrow("expected 2 or 6 weights");
  });

  test("joins RDMs of the same conditions only", () => {
    const a = rdms([[1, 2, 3]], { conditions: ["x", "y", "z"] });
    const b = rdms([[1, 2, 3]], { conditions: ["x", "z", "y"] });
    expect(() => concatRdms([a, b])).toThrow("got y and z at 1");
    expect(() => concatRdms([a, rdms([[1]])])).toThrow("got 3 and 2 of them");
    expect(concatRdms([a, a]).nRdms).toBe(2);
    expect(Array.from(categoricalRdm(["a", "b", "a"]).data)).toEqual([1, 0, 1]);
  });
});

describe("partial RDMs", () => {
  test("are put in place by name", () => {
    const a = rdms([[1, 2, 3]], { conditions: ["c", "a", "b"] });
    const b = rdms([[9]], { conditions: ["b", "d"] });
    const all = combinePartials([a, b], { conditions: ["a", "b", "c", "d"] });
    expect(Array.from(rdmRow(all, 0))).toEqual([3, 1, NaN_, 2, NaN_, NaN_]);
    expect(Array.from(rdmRow(all, 1))).toEqual([NaN_, NaN_, NaN_, NaN_, 9, NaN_]);
    expect(() => combinePartials([b], { conditions: ["b"] })).toThrow("got d");
  });

  test("of one RDM at different scales come out on one scale", () => {
    const truth = [1, 2, 3, 4, 5, 6];
    const made = rdms([
      truth,
      truth.map((v, i) => (i === 2 ? NaN_ : 7 * v)),
      truth.map((v, i) => (i < 2 ? NaN_ : 0.1 * v)),
    ]);
    for (const method of ["evidence", "setsize", "simple"] as const) {
      const { scaled, weights } = rescalePartials(made, { method });
      const ratio = scaled.data.map((v, i) => v / truth[i % 6]!).filter((v) => !Number.isNaN(v));
      for (const r of ratio) expect(r / ratio[0]!).toBeCloseTo(1, 3);
      expect(weights.length).toBe(18);
    }
    expect(() => rescalePartials(rdms([[0, 0, 0]]))).toThrow("other than 0 in RDM 0");
  });
});
