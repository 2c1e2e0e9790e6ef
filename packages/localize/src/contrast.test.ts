import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { createRng, DataError, readNpy, ShapeError, tensor } from "@penfield/core";
import { benjaminiHochberg, cohenD, welchT } from "@penfield/stats";
import { describe, expect, test } from "vitest";
import { contrast, flatten, type LayerActivations, unitMap } from "./contrast.ts";
import { leastSelective } from "./controls.ts";
import { selectUnits } from "./select.ts";
import { intersect, toMask, unitSet } from "./unitSet.ts";

const shared = fileURLToPath(
  new URL("../../../../shared/golden/encoding/localizer/", import.meta.url),
);

const activations = (
  shape: readonly [number, number, number],
  value: (stimulus: number, index: number) => number,
): LayerActivations => {
  const [n, nLayers, nUnits] = shape;
  const all = nLayers * nUnits;
  return tensor(
    Float32Array.from({ length: n * all }, (_, i) => value(Math.floor(i / all), i % all)),
    ["stimulus", "layer", "unit"],
    shape,
  );
};

describe("planted units (12 layers of 256, 100 stimuli of each kind, d = 1.5)", () => {
  const rng = createRng(2026);
  const planted = unitSet(
    12,
    256,
    Array.from({ length: 31 }, (_, i) => 97 * i + 5),
  );
  const mask = toMask(planted);
  const noise = () => rng.normal();
  const found = (shift: number, magnitude: boolean, background = 0): number => {
    const positive = activations([100, 12, 256], (_, i) => background + noise() + shift * mask[i]!);
    const negative = activations([100, 12, 256], () => background + noise());
    const { t } = contrast(positive, negative, { magnitude });
    return intersect(selectUnits(t, { k: 31 }), planted).indices.length;
  };

  test("all 31 are found when they shift up", () => {
    expect(found(1.5, false)).toBe(31);
    expect(found(4, true)).toBe(31);
    expect(found(1.5, true, 5)).toBe(31);
  });

  test("none are found by the signed contrast when they shift down, all by magnitude", () => {
    expect(found(-4, false)).toBe(0);
    expect(found(-4, true)).toBe(31);
  });
});

describe("contrast", () => {
  const rng = createRng(1);
  const positive = activations([9, 3, 4], () => rng.normal());
  const negative = activations([7, 3, 4], () => rng.normal() + 0.5);

  test("is Welch's t, Cohen's d and FDR over all units of all layers", () => {
    const result = contrast(positive, negative, { magnitude: false });
    const { t, df, p } = welchT(flatten(positive), flatten(negative));
    expect(result.t.data).toEqual(t);
    expect(result.df.data).toEqual(df);
    expect(result.p.data).toEqual(p);
    expect(result.q.data).toEqual(benjaminiHochberg(p));
    expect(result.d.data).toEqual(cohenD(flatten(positive), flatten(negative)));
    expect(result.t.shape).toEqual([3, 4]);
    expect(result).toMatchObject({ nPositive: 9, nNegative: 7, nConstant: 0, magnitude: false });
  });

  test("turns its sign with the conditions", () => {
    const one = contrast(positive, negative).t.data;
    const other = contrast(negative, positive).t.data;
    one.forEach((t, i) => {
      expect(other[i]).toBe(-t);
    });
  });

  test("counts units that never vary", () => {
    const half = (x: number) => activations([3, 1, 2], (s, i) => (i === 0 ? 0.1 : s + x));
    const result = contrast(half(0), half(1));
    expect(result.nConstant).toBe(1);
    expect(result.t.data[0]).toBeNaN();
    expect(result.p.data[0]).toBe(1);
    expect(result.q.data[0]).toBe(1);
  });

  test("says what it cannot take", () => {
    const one = activations([1, 3, 4], () => 1);
    expect(() => contrast(positive, one)).toThrow(ShapeError);
    expect(() => contrast(positive, one)).toThrow(
      "contrast: expected at least 2 stimuli of each kind and 1 unit, got 9 and 1 stimuli, 3 x 4 units",
    );
    expect(() =>
      contrast(
        positive,
        activations([5, 4, 3], () => 1),
      ),
    ).toThrow("contrast: expected the same layers and units, got 3 x 4 and 4 x 3");
    expect(() =>
      contrast(
        positive,
        activations([5, 3, 4], () => Number.NaN),
      ),
    ).toThrow(DataError);
    expect(() => unitMap(new Float64Array(3), 2, 2)).toThrow(ShapeError);
  });
});

describe.skipIf(!existsSync(shared))("reference localizer (needs ../shared/golden)", () => {
  const array = (name: string) => readNpy(readFileSync(`${shared}${name}.npy`), name);
  const values = (name: string) => array(name).data as Float64Array;
  const stimuli = (name: string) => {
    const { data, shape } = array(name);
    return tensor(
      data as Float64Array,
      ["stimulus", "layer", "unit"],
      shape as unknown as [number, number, number],
    );
  };
  const near = (got: ArrayLike<number>, name: string) => {
    values(name).forEach((expected, i) => {
      expect(Math.abs(got[i]! - expected), `${name}[${i}]`).toBeLessThanOrEqual(
        1e-10 * Math.abs(expected),
      );
    });
  };
  const mask = (name: string) => Array.from(values(name));

  test.each([
    ["abs", true],
    ["raw", false],
  ] as const)("t, p and mask of %s activations", (name, magnitude) => {
    const { t, p } = contrast(stimuli("positive"), stimuli("negative"), { magnitude });
    near(t.data, `t_${name}`);
    near(p.data, `p_${name}`);
    expect(Array.from(toMask(selectUnits(t, { k: 6 })))).toEqual(mask(`mask_${name}`));
    expect(Array.from(toMask(selectUnits(t, { percent: 5 })))).toEqual(mask(`mask_${name}`));
  });

  test("q, d and the least selective units", () => {
    const { t, q, d } = contrast(stimuli("positive"), stimuli("negative"));
    near(q.data, "p_abs_bh");
    near(d.data, "cohen_d_abs");
    expect(Array.from(toMask(leastSelective(t, 6)))).toEqual(mask("mask_bottom_abs"));
  });
});
