import { type Activations, activations, createRng, tensor } from "@penfield/core";
import { createLinalg, matrix } from "@penfield/linalg";
import { afterAll, describe, expect, test } from "vitest";
import { calcRdm, type RdmMethod } from "./calcRdm.ts";
import { crossnobisRdm, poissonCvRdm } from "./crossValidated.ts";
import { conditionCovariance, noiseCovariance, noisePrecision } from "./noise.ts";
import { unbalancedRdm } from "./unbalanced.ts";

const linalg = createLinalg({ threads: 1 });
afterAll(() => linalg.dispose());

function random(n: number, p: number, seed: number, positive = false): Activations {
  const rng = createRng(seed);
  const value = () => (positive ? Math.floor(6 * rng.uniform()) : rng.normal());
  return tensor(Float64Array.from({ length: n * p }, value), ["stimulus", "unit"], [n, p]);
}

const row = (x: Activations, i: number) =>
  Array.from(x.data.subarray(i * x.shape[1], (i + 1) * x.shape[1]));
const mean = (v: readonly number[]) => v.reduce((s, a) => s + a, 0) / v.length;
const dot = (a: readonly number[], b: readonly number[]) => a.reduce((s, v, i) => s + v * b[i]!, 0);
const centred = (v: readonly number[]) => v.map((a) => a - mean(v));
const cosine = (a: readonly number[], b: readonly number[]) =>
  dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
const rate = (v: readonly number[]) => v.map((a) => (a + 0.1) / 1.1);

/** A positive definite matrix. */
function precisionOf(p: number, seed: number) {
  const a = random(2 * p, p, seed).data;
  const data = new Float64Array(p * p);
  for (let i = 0; i < p; i++) {
    for (let j = 0; j < p; j++) {
      for (let k = 0; k < 2 * p; k++) data[i * p + j]! += (a[k * p + i]! * a[k * p + j]!) / p;
    }
  }
  return matrix(data, p, p);
}

/** The definitions, pair by pair. */
const naive: Record<RdmMethod, (a: number[], b: number[], s: Float64Array) => number> = {
  euclidean: (a, b) => dot(diff(a, b), diff(a, b)) / a.length,
  correlation: (a, b) => 1 - cosine(centred(a), centred(b)),
  cosine: (a, b) => 1 - cosine(a, b),
  mahalanobis: (a, b, s) => quadratic(diff(a, b), s, diff(a, b)) / a.length,
  poisson: (a, b) => {
    const [l, m] = [rate(a), rate(b)];
    return mean(l.map((v, i) => (v - m[i]!) * (Math.log(v) - Math.log(m[i]!))));
  },
};
const diff = (a: readonly number[], b: readonly number[]) => a.map((v, i) => v - b[i]!);
const quadratic = (a: readonly number[], s: Float64Array, b: readonly number[]) =>
  a.reduce((sum, v, i) => sum + v * b.reduce((t, w, j) => t + s[i * b.length + j]! * w, 0), 0);

describe("calcRdm", () => {
  test("by hand", async () => {
    const x = activations([
      [1, 0, 0],
      [0, 2, 0],
      [1, 1, 4],
    ]);
    const options = { linalg };
    const { data } = await calcRdm(x, { ...options, method: "euclidean" });
    expect(Array.from(data, (v) => Math.round(v * 3 * 1e9) / 1e9)).toEqual([5, 17, 18]);
    expect((await calcRdm(x, { ...options, method: "cosine" })).data[0]).toBe(1);
    expect((await calcRdm(x, options)).data[0]).toBeCloseTo(1.5, 12);
  });

  test.each(Object.keys(naive) as RdmMethod[])("%s equals its definition", async (method) => {
    const x = random(9, 7, 3, method === "poisson");
    const precision = precisionOf(7, 4);
    const got = await calcRdm(x, { method, precision, linalg });
    let at = 0;
    for (let i = 0; i < 9; i++) {
      for (let j = i + 1; j < 9; j++) {
        const expected = naive[method](row(x, i), row(x, j), precision.data);
        expect(got.data[at++]).toBeCloseTo(expected, 10);
      }
    }
  });

  test("averages observations of a condition, conditions ascending, whatever their order", async () => {
    const x = activations([
      [5, 5],
      [0, 0],
      [3, 1],
      [1, 3],
    ]);
    const made = await calcRdm(x, { method: "euclidean", conditions: [10, 2, 9, 9], linalg });
    expect(made.conditions).toEqual([2, 9, 10]);
    expect(Array.from(made.data)).toEqual([4, 25, 9]);
  });

  test("float32 input counts as its float64 values", async () => {
    const x = random(5, 6, 8);
    const single = tensor(Float32Array.from(x.data), ["stimulus", "unit"], [5, 6]);
    const same = tensor(Float64Array.from(single.data), ["stimulus", "unit"], [5, 6]);
    expect((await calcRdm(single, { linalg })).data).toEqual(
      (await calcRdm(same, { linalg })).data,
    );
  });

  test("keeps digits under a large common offset", async () => {
    const x = random(6, 20, 9);
    const shifted = tensor(
      x.data.map((v) => v + 1e6),
      ["stimulus", "unit"],
      [6, 20],
    );
    const a = await calcRdm(x, { method: "euclidean", linalg });
    const b = await calcRdm(shifted, { method: "euclidean", linalg });
    a.data.forEach((v, i) => {
      expect(Math.abs(v - b.data[i]!)).toBeLessThan(1e-8 * v);
    });
  });

  test("flags patterns without variation", async () => {
    const x = activations([
      [0.1, 0.1, 0.1],
      [1, 2, 3],
      [0, 0, 0],
      [3, 1, 2],
    ]);
    const correlation = (await calcRdm(x, { linalg })).data;
    expect(Array.from(correlation, Number.isNaN)).toEqual([true, true, true, true, false, true]);
    const cosines = (await calcRdm(x, { method: "cosine", linalg })).data;
    expect(Array.from(cosines, Number.isNaN)).toEqual([false, true, false, true, false, true]);
  });

  test("refuses what it cannot compute", () => {
    const x = random(4, 3, 1);
    expect(() => calcRdm(x, { method: "manhattan" as never })).toThrow("expected method");
    expect(() => calcRdm(x, { conditions: [1, 2] })).toThrow("for each of 4 observations, got 2");
    expect(() => calcRdm(x, { conditions: [1, 1, 1, 1] })).toThrow("at least 2 conditions, got 1");
    const holes = tensor(
      x.data.map((v, i) => (i === 4 ? Number.NaN : v)),
      ["stimulus", "unit"],
      [4, 3],
    );
    expect(() => calcRdm(holes)).toThrow("got NaN at observation 1, channel 1");
  });

  test("refuses negative counts and other channels", async () => {
    const x = random(4, 3, 1);
    await expect(calcRdm(x, { method: "poisson", linalg })).rejects.toThrow("of at least 0");
    const precision = precisionOf(2, 1);
    await expect(calcRdm(x, { method: "mahalanobis", precision, linalg })).rejects.toThrow(
      "3 x 3 channels, got 2 x 2",
    );
  });
});

describe("crossnobisRdm", () => {
  const conditions = [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 2];
  const runs = [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 3];
  const x = random(13, 5, 21);

  const meanWhere = (keep: (i: number) => boolean): number[] => {
    const rows = conditions.flatMap((_, i) => (keep(i) ? [row(x, i)] : []));
    return rows[0]!.map((_, j) => mean(rows.map((r) => r[j]!)));
  };

  test("equals its definition with one precision", async () => {
    const precision = precisionOf(5, 2);
    const got = await crossnobisRdm(x, { conditions, runs, precision, linalg });
    let at = 0;
    for (let a = 0; a < 3; a++) {
      for (let b = a + 1; b < 3; b++) {
        const folds = [0, 1, 2, 3].map((f) => {
          const side = (c: number, inRun: boolean) =>
            meanWhere((i) => conditions[i] === c && (runs[i] === f) === inRun);
          const test_ = diff(side(a, true), side(b, true));
          const train = diff(side(a, false), side(b, false));
          return quadratic(train, precision.data, test_) / 5;
        });
        expect(got.data[at++]).toBeCloseTo(mean(folds), 12);
      }
    }
  });

  test("with equal precisions per run is the mean over pairs of runs", async () => {
    const precision = precisionOf(5, 2);
    const many = await crossnobisRdm(x, {
      conditions,
      runs,
      precision: [precision, precision, precision, precision],
      linalg,
    });
    let at = 0;
    for (let a = 0; a < 3; a++) {
      for (let b = a + 1; b < 3; b++) {
        const d = [0, 1, 2, 3].map((f) =>
          diff(
            meanWhere((i) => conditions[i] === a && runs[i] === f),
            meanWhere((i) => conditions[i] === b && runs[i] === f),
          ),
        );
        const pairs = d.flatMap((u, f) =>
          d.slice(f + 1).map((v) => quadratic(u, precision.data, v) / 5),
        );
        expect(many.data[at++]).toBeCloseTo(mean(pairs), 9);
      }
    }
  });

  test("of pure noise is around zero, while the plain distance is not", async () => {
    const n = 40;
    const noise = random(4 * n, 50, 33);
    const cv = {
      conditions: Array.from({ length: 4 * n }, (_, i) => i % n),
      runs: Array.from({ length: 4 * n }, (_, i) => Math.floor(i / n)),
      linalg,
    };
    const crossed = await crossnobisRdm(noise, cv);
    const plain = await calcRdm(noise, { method: "euclidean", conditions: cv.conditions, linalg });
    expect(Math.abs(mean(Array.from(crossed.data)))).toBeLessThan(0.02);
    expect(mean(Array.from(plain.data))).toBeGreaterThan(0.4);
    expect(crossed.data.some((v) => v < 0)).toBe(true);
  });

  test("without runs takes the k-th observation of each condition", async () => {
    const y = random(6, 4, 5);
    const named = await crossnobisRdm(y, {
      conditions: [0, 1, 2, 0, 1, 2],
      runs: [0, 0, 0, 1, 1, 1],
      linalg,
    });
    const unnamed = await crossnobisRdm(y, { conditions: [0, 1, 2, 0, 1, 2], linalg });
    expect(unnamed.data).toEqual(named.data);
    expect(() => crossnobisRdm(x, { conditions })).toThrow("equally many observations");
  });

  test("refuses runs without a condition, a single run, and other precisions", () => {
    expect(() =>
      crossnobisRdm(random(3, 2, 1), { conditions: [0, 1, 0], runs: [0, 0, 1] }),
    ).toThrow("got none of 1 in run 1");
    expect(() => crossnobisRdm(random(2, 2, 1), { conditions: [0, 1], runs: [0, 0] })).toThrow(
      "at least 2 runs, got 1",
    );
    const precision = [precisionOf(5, 1)];
    expect(() => crossnobisRdm(x, { conditions, runs, precision })).toThrow(
      "one precision per run (4), got 1",
    );
  });
});

describe("poissonCvRdm", () => {
  test("is the mean over runs; the reference keeps the last", async () => {
    const x = random(6, 4, 77, true);
    const cv = { conditions: [0, 1, 0, 1, 0, 1], runs: [0, 0, 1, 1, 2, 2], linalg };
    const folds = [0, 1, 2].map((f) => {
      const side = (c: number, inRun: boolean) => {
        const rows = [0, 1, 2, 3, 4, 5].filter(
          (i) => cv.conditions[i] === c && (cv.runs[i] === f) === inRun,
        );
        return rate(row(x, rows[0]!).map((_, j) => mean(rows.map((i) => row(x, i)[j]!))));
      };
      const train = diff(side(0, false), side(1, false));
      const logs = diff(side(0, true).map(Math.log), side(1, true).map(Math.log));
      return dot(train, logs) / 4;
    });
    expect((await poissonCvRdm(x, cv)).data[0]).toBeCloseTo(mean(folds), 12);
    const last = await poissonCvRdm(x, { ...cv, compat: "rsatoolbox" });
    expect(last.data[0]).toBeCloseTo(folds[2]!, 12);
    expect(() => poissonCvRdm(x, { ...cv, compat: "other" as never })).toThrow("expected compat");
  });
});

describe("unbalancedRdm", () => {
  const holes = (seed: number, positive: boolean): Activations => {
    const x = random(8, 6, seed, positive);
    const rng = createRng(seed + 1);
    return tensor(
      x.data.map((v) => (rng.uniform() < 0.15 ? Number.NaN : v)),
      ["stimulus", "unit"],
      [8, 6],
    );
  };
  const conditions = [0, 0, 1, 1, 1, 2, 2, 0];
  const runs = [0, 1, 0, 1, 2, 1, 2, 2];

  test.each([
    ["euclidean", false],
    ["euclidean", true],
    ["correlation", false],
    ["mahalanobis", true],
    ["poisson", false],
    ["poisson", true],
  ] as const)(
    "%s equals its definition with missing values (runs: %s)",
    async (method, crossed) => {
      const x = holes(11, method === "poisson");
      const precision = precisionOf(6, 12);
      const pair = (i: number, j: number): [number, number] => {
        const both = [0, 1, 2, 3, 4, 5].filter(
          (c) => ![row(x, i)[c], row(x, j)[c]].some(Number.isNaN),
        );
        const a = both.map((c) => row(x, i)[c]!);
        const b = both.map((c) => row(x, j)[c]!);
        const n = both.length;
        if (method === "euclidean") return [dot(a, b), n];
        if (method === "correlation") return [(cosine(centred(a), centred(b)) * n) / 2, n];
        if (method === "poisson") {
          const [l, m] = [rate(a), rate(b)];
          return [-dot(diff(l, m), diff(l.map(Math.log), m.map(Math.log))) / 2, n];
        }
        const cut = Float64Array.from(
          both.flatMap((c) => both.map((d) => precision.data[c * 6 + d]!)),
        );
        return [quadratic(a, cut, b), n];
      };
      for (const weighting of ["number", "equal"] as const) {
        const sums = new Map<string, [number, number]>();
        for (let i = 0; i < 8; i++) {
          for (let j = i; j < 8; j++) {
            if (crossed && runs[i] === runs[j]) continue;
            const [s, w] = pair(i, j);
            const share = i === j ? 0.5 : 1;
            const key = [conditions[i]!, conditions[j]!].sort().join();
            const [value, weight] = sums.get(key) ?? [0, 0];
            const equal = weighting === "equal";
            sums.set(key, [
              value + (share * s) / (equal ? w : 1),
              weight + share * (equal ? 1 : w),
            ]);
          }
        }
        const s = (a: number, b: number) => {
          const [value, weight] = sums.get([a, b].sort().join())!;
          return value / weight;
        };
        const expected = [
          [0, 1],
          [0, 2],
          [1, 2],
        ].map(([a, b]) => s(a!, a!) + s(b!, b!) - 2 * s(a!, b!));
        const got = await unbalancedRdm(x, {
          method,
          conditions,
          runs: crossed ? runs : undefined,
          precision,
          weighting,
          linalg,
        });
        got.data.forEach((v, i) => {
          expect(v).toBeCloseTo(expected[i]!, 9);
        });
      }
    },
  );

  test("of complete single observations equals calcRdm", async () => {
    const x = random(6, 5, 2);
    for (const method of ["euclidean", "correlation"] as const) {
      const a = await calcRdm(x, { method, linalg });
      const b = await unbalancedRdm(x, { method, conditions: [0, 1, 2, 3, 4, 5], linalg });
      a.data.forEach((v, i) => {
        expect(b.data[i]).toBeCloseTo(v, 12);
      });
    }
  });

  test("flags pairs with nothing to compare and refuses infinities", async () => {
    const x = activations([
      [1, Number.NaN],
      [Number.NaN, 1],
      [1, 1],
    ]);
    const made = await unbalancedRdm(x, { conditions: [0, 1, 2], linalg });
    expect(Array.from(made.data, Number.isNaN)).toEqual([true, false, false]);
    const infinite = activations([[1], [Number.POSITIVE_INFINITY]]);
    expect(() => unbalancedRdm(infinite, { conditions: [0, 1] })).toThrow("finite values or NaN");
    expect(() => unbalancedRdm(x, { conditions: [0, 0, 0] })).toThrow("at least 2 conditions");
    expect(() => unbalancedRdm(x, { conditions: [0, 1, 2], weighting: "x" as never })).toThrow(
      "weighting",
    );
  });
});

describe("noise", () => {
  const conditions = [0, 0, 0, 1, 1, 1, 2, 2, 2, 2];
  const x = random(10, 4, 41);

  /** Outer products one observation at a time, as the estimators are defined. */
  function naiveShrinkage(method: "shrinkage_eye" | "shrinkage_diag"): number[] {
    const residuals = conditions.map((c, i) => {
      const own = conditions.flatMap((d, k) => (d === c ? [row(x, k)] : []));
      return row(x, i).map((v, j) => v - mean(own.map((r) => r[j]!)));
    });
    const n = 10;
    const p = 4;
    const dof = 7;
    const products = residuals.map((r) => r.flatMap((a) => r.map((b) => a * b)));
    const sum = products[0]!.map((_, i) => products.reduce((s, o) => s + o[i]!, 0));
    const squares = products[0]!.map((_, i) => products.reduce((s, o) => s + o[i]! ** 2, 0));
    const isOwn = (i: number) => i % (p + 1) === 0;
    if (method === "shrinkage_eye") {
      const s = sum.map((v) => v / n);
      const m = s.filter((_, i) => isOwn(i)).reduce((a, b) => a + b, 0) / p;
      const d2 = s.reduce((t, v, i) => t + (v - (isOwn(i) ? m : 0)) ** 2, 0);
      const b2 = Math.min(d2, squares.reduce((t, v, i) => t + v / n - s[i]! ** 2, 0) / n);
      return s.map((v, i) => (((b2 / d2) * (isOwn(i) ? m : 0) + ((d2 - b2) / d2) * v) * n) / dof);
    }
    const s = sum.map((v) => v / dof);
    const scale = (i: number) => s[Math.floor(i / p) * (p + 1)]! * s[(i % p) * (p + 1)]!;
    const means = sum.map((v, i) => v / Math.sqrt(scale(i)) / (n - 1));
    const variance = squares.map(
      (v, i) => (n / dof ** 2) * (v / scale(i) / (n - 1) - means[i]! ** 2),
    );
    const off = (v: number[]) => v.filter((_, i) => !isOwn(i)).reduce((a, b) => a + b, 0);
    const lambda = Math.max(0, Math.min(1, off(variance) / off(means.map((v) => v * v))));
    return s.map((v, i) => (isOwn(i) ? v : v * (1 - lambda)));
  }

  test.each(["shrinkage_eye", "shrinkage_diag"] as const)(
    "%s equals its definition",
    async (method) => {
      const got = await noiseCovariance(x, { method, conditions, linalg });
      naiveShrinkage(method).forEach((v, i) => {
        expect(got.data[i]).toBeCloseTo(v, 12);
      });
    },
  );

  test("precision is the inverse", async () => {
    for (const method of ["full", "diag", "shrinkage_eye", "shrinkage_diag"] as const) {
      const covariance = await noiseCovariance(x, { method, conditions, linalg });
      const precision = await noisePrecision(x, { method, conditions, linalg });
      const { data } = await linalg.matmul(covariance, precision);
      data.forEach((v, i) => {
        expect(v).toBeCloseTo(i % 5 === 0 ? 1 : 0, 10);
      });
    }
  });

  test("refuses no degrees of freedom, constant channels and singular estimates", async () => {
    expect(() => noiseCovariance(x, { conditions: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] })).toThrow(
      "degrees of freedom above 0, got 0",
    );
    const flat = tensor(
      x.data.map((v, i) => (i % 4 === 2 ? 1 : v)),
      ["stimulus", "unit"],
      [10, 4],
    );
    await expect(noiseCovariance(flat, { linalg })).rejects.toThrow("to vary, got none in 2");
    await expect(noisePrecision(random(3, 5, 1), { method: "full", linalg })).rejects.toThrow(
      "of 5 channels that can be inverted, got a singular one from 3 observations",
    );
    expect(() => noiseCovariance(x, { method: "ledoit" as never })).toThrow("expected method");
  });

  test("conditionCovariance of independent noise is its variance", async () => {
    const n = 5;
    const nRuns = 40;
    const y = random(n * nRuns, 30, 51);
    const sigma = await conditionCovariance(y, {
      conditions: Array.from({ length: n * nRuns }, (_, i) => i % n),
      runs: Array.from({ length: n * nRuns }, (_, i) => Math.floor(i / n)),
      linalg,
    });
    sigma.data.forEach((v, i) => {
      expect(Math.abs(v - (i % (n + 1) === 0 ? 1 : 0))).toBeLessThan(0.12);
    });
  });
});
