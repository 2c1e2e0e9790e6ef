import { createRng, tensor } from "@penfield/core";
import { createLinalg, type Matrix, matrix } from "@penfield/linalg";
import { kendallTauA, kendallTauB, pearson, rankData, spearman } from "@penfield/stats";
import { afterAll, describe, expect, test } from "vitest";
import { measures } from "../measures.ts";
import { calcRdm } from "./calcRdm.ts";
import { compareRdms, RDM_COMPARISONS, type RdmComparison } from "./compareRdms.ts";
import { crossnobisRdm } from "./crossValidated.ts";
import { rdmComparisonMeasures, rdmMeasures } from "./measures.ts";
import { noisePrecision } from "./noise.ts";
import { makeRdms, type Rdms, rdmRow, rdms, squareRdm, takeConditions } from "./rdms.ts";

const linalg = createLinalg({ threads: 1 });
afterAll(() => linalg.dispose());

/** RDMs of random patterns, so that Gram matrices are positive definite. */
async function randomRdms(k: number, n: number, seed: number, channels = 3 * n): Promise<Rdms> {
  const rng = createRng(seed);
  const rows: Float64Array[] = [];
  for (let i = 0; i < k; i++) {
    const data = Float64Array.from({ length: n * channels }, () => rng.normal());
    const x = tensor(data, ["stimulus", "unit"], [n, channels]);
    rows.push((await calcRdm(x, { method: "euclidean", linalg })).data);
  }
  return rdms(rows);
}

const one = async (
  x: ArrayLike<number>,
  y: ArrayLike<number>,
  method: RdmComparison,
  options = {},
) => (await compareRdms(rdms([x]), rdms([y]), { method, linalg, ...options })).data[0]!;

/** V = (C Sigma C^T)^2, built; and x^T V^-1 y by elimination. The definition, at a price. */
function denseWhitened(
  x: readonly number[],
  y: readonly number[],
  n: number,
  sigma: (i: number, j: number) => number,
  kept: readonly number[],
): number {
  const pairs: [number, number][] = [];
  for (let i = 0; i < n; i++) for (let j = i + 1; j < n; j++) pairs.push([i, j]);
  const some = kept.map((p) => pairs[p]!);
  const v = some.map(([i, j]) =>
    some.map(([k, l]) => (sigma(i, k) - sigma(i, l) - sigma(j, k) + sigma(j, l)) ** 2),
  );
  const inner = (a: readonly number[], b: readonly number[]) => {
    const z = eliminate(
      v,
      kept.map((p) => b[p]!),
    );
    return kept.reduce((s, p, i) => s + a[p]! * z[i]!, 0);
  };
  return inner(x, y) / Math.sqrt(inner(x, x) * inner(y, y));
}

function eliminate(matrix_: readonly (readonly number[])[], right: readonly number[]): number[] {
  const a = matrix_.map((r, i) => [...r, right[i]!]);
  const n = a.length;
  for (let c = 0; c < n; c++) {
    let pivot = c;
    for (let r = c; r < n; r++) if (Math.abs(a[r]![c]!) > Math.abs(a[pivot]![c]!)) pivot = r;
    [a[c], a[pivot]] = [a[pivot]!, a[c]!];
    for (let r = 0; r < n; r++) {
      if (r === c) continue;
      const f = a[r]![c]! / a[c]![c]!;
      for (let k = c; k <= n; k++) a[r]![k]! -= f * a[c]![k]!;
    }
  }
  return a.map((r, i) => r[n]! / r[i]!);
}

describe("compareRdms", () => {
  test("by hand", async () => {
    expect(await one([1, 2, 3], [2, 4, 6], "cosine")).toBeCloseTo(1, 14);
    expect(await one([1, 0, 0], [0, 1, 0], "cosine")).toBe(0);
    expect(await one([1, 2, 3], [1, 3, 2], "spearman")).toBeCloseTo(0.5, 14);
    expect(await one([1, 2, 3], [1, 3, 2], "tau-a")).toBeCloseTo(1 / 3, 14);
    // Two of three pairs are tied in the second: Spearman gives .866, rho-a no more than ties leave.
    expect(await one([1, 2, 3], [1, 2, 2], "spearman")).toBeCloseTo(Math.sqrt(3) / 2, 14);
    expect(await one([1, 2, 3], [1, 2, 2], "rho-a")).toBeCloseTo(0.75, 14);
  });

  test("equals the definitions, with missing pairs and ties", async () => {
    const rng = createRng(5);
    const values = (ties: boolean) =>
      Array.from({ length: 15 }, () => (ties ? Math.floor(4 * rng.uniform()) : rng.normal()));
    for (const ties of [false, true]) {
      const [x, y] = [values(ties), values(ties)];
      const kept = Array.from({ length: 15 }, (_, i) => i).filter((i) => i !== 3 && i !== 9);
      const [u, v] = [kept.map((i) => x[i]!), kept.map((i) => y[i]!)];
      x[3] = Number.NaN;
      y[9] = Number.NaN;
      expect(await one(x, y, "pearson")).toBeCloseTo(pearson(u, v), 12);
      expect(await one(x, y, "spearman")).toBeCloseTo(spearman(u, v), 12);
      expect(await one(x, y, "tau-a")).toBeCloseTo(kendallTauA(u, v), 12);
      expect(await one(x, y, "tau-b")).toBeCloseTo(kendallTauB(u, v), 12);
      const [r, s] = [rankData(u), rankData(v)];
      const sum = r.reduce((t, a, i) => t + (a - 7) * (s[i]! - 7), 0);
      expect(await one(x, y, "rho-a")).toBeCloseTo((12 * sum) / (13 ** 3 - 13), 12);
    }
  });

  test("whitened comparisons equal the dense solution, for every sigmaK and with missing pairs", async () => {
    const n = 6;
    const rng = createRng(9);
    const values = () => Array.from({ length: 15 }, () => rng.uniform());
    const variances = Array.from({ length: n }, () => 0.5 + rng.uniform());
    const a = Array.from({ length: n * n }, () => rng.normal());
    const full = matrix(
      Float64Array.from({ length: n * n }, (_, at) => {
        const [i, j] = [Math.floor(at / n), at % n];
        const shared = a.reduce((s, _v, k) => (k < n ? s + a[i * n + k]! * a[j * n + k]! : s), 0);
        return shared / n + (i === j ? 0.3 : 0);
      }),
      n,
      n,
    );
    const kinds: [number[] | Matrix | undefined, (i: number, j: number) => number][] = [
      [undefined, (i, j) => Number(i === j)],
      [variances, (i, j) => (i === j ? variances[i]! : 0)],
      [full, (i, j) => full.data[i * n + j]!],
    ];
    for (const [sigmaK, sigma] of kinds) {
      for (const missing of [[], [4], [0, 7, 13]]) {
        const [x, y] = [values(), values()];
        const kept = x.flatMap((_, p) => (missing.includes(p) ? [] : [p]));
        const less = (v: readonly number[]) => {
          const mean = kept.reduce((s, p) => s + v[p]!, 0) / kept.length;
          return v.map((d) => d - mean);
        };
        const cosine = denseWhitened(x, y, n, sigma, kept);
        const correlation = denseWhitened(less(x), less(y), n, sigma, kept);
        for (const p of missing) x[p] = Number.NaN;
        expect(await one(x, y, "whitened-cosine", { sigmaK })).toBeCloseTo(cosine, 9);
        expect(await one(x, y, "whitened-pearson", { sigmaK })).toBeCloseTo(correlation, 9);
      }
    }
  });

  test("bures of I and 4 I, and of a matrix with itself", async () => {
    // Patterns at the corners of a simplex: the Gram matrix is half the centring matrix.
    const d = new Float64Array(6).fill(1);
    expect(await one(d, d, "bures")).toBeCloseTo(1, 7);
    expect(await one(d, d, "bures-metric")).toBeCloseTo(0, 7);
    // tr A = 1.5, tr 4A = 6, and sqrt(A 4A) = 2A: 1.5 + 6 - 2 (3) = 1.5
    const four = d.map((v) => 4 * v);
    expect(await one(d, four, "bures-metric")).toBeCloseTo(1.5, 7);
    expect(await one(d, four, "bures")).toBeCloseTo(1, 7);
  });

  test("neg-riemannian is 0 for what noise and scale explain", async () => {
    const a = await randomRdms(1, 6, 1);
    const noisy = a.data.map((v) => 3 * v + 1.4);
    expect(await one(a.data, noisy, "neg-riemannian")).toBeCloseTo(0, 6);
    const other = await randomRdms(1, 6, 2);
    expect(await one(other.data, noisy, "neg-riemannian")).toBeLessThan(-0.05);
  });

  test("flags what is not defined", async () => {
    const zero = [0, 0, 0, 0, 0, 0];
    const flat = [0.1, 0.1, 0.1, 0.1, 0.1, 0.1];
    const x = [1, 2, 3, 4, 5, 7];
    const undefined_: RdmComparison[] = [
      "cosine",
      "pearson",
      "spearman",
      "tau-b",
      "whitened-cosine",
      "bures",
    ];
    for (const method of undefined_) expect(await one(zero, x, method)).toBeNaN();
    for (const method of ["pearson", "spearman", "tau-b", "whitened-pearson"] as const) {
      expect(await one(flat, x, method)).toBeNaN();
      if (method !== "tau-b") expect(await one(flat, x, method, { compat: "rsatoolbox" })).toBe(0);
    }
    expect(await one(flat, x, "tau-a")).toBe(0);
    expect(await one(flat, x, "rho-a")).toBe(0);
    expect(await one(x, zero, "neg-riemannian")).toBeNaN();
  });

  test("a zero RDM leaves the others as they are; the reference mixes them up", async () => {
    const a = rdms([
      [1, 2, 3],
      [0, 0, 0],
      [3, 1, 1],
    ]);
    const r = 8 / Math.sqrt(14 * 11);
    const { data } = await compareRdms(a, a, { method: "cosine", linalg });
    [1, Number.NaN, r, Number.NaN, Number.NaN, Number.NaN, r, Number.NaN, 1].forEach((v, i) => {
      if (Number.isNaN(v)) expect(data[i]).toBeNaN();
      else expect(data[i]).toBeCloseTo(v, 14);
    });
    const compat = await compareRdms(a, a, { method: "cosine", compat: "rsatoolbox", linalg });
    // numpy.putmask repeats [1, r, r, 1] over all nine places and keeps those of the mask.
    [1, 0, r, 0, 0, 0, r, 0, 1].forEach((v, i) => {
      expect(compat.data[i]).toBeCloseTo([1, r, r, 1, 1, r, r, 1, 1][i]! * Number(v !== 0), 14);
    });
  });

  test("refuses what it cannot compare", async () => {
    const a = rdms([[1, 2, 3]]);
    expect(() => compareRdms(a, rdms([[1, 2, 3, 4, 5, 6]]))).toThrow("got 3 and 4 of them");
    expect(() => compareRdms(rdms([[1]]), rdms([[2]]))).toThrow("at least 3 conditions, got 2");
    expect(() => compareRdms(a, a, { method: "kendall" as never })).toThrow("expected method");
    const none = rdms([[Number.NaN, Number.NaN, 1]]);
    expect(() => compareRdms(none, rdms([[1, 2, Number.NaN]]))).toThrow(
      "that all RDMs have, got none",
    );
    const options = { linalg, method: "bures" } as const;
    await expect(compareRdms(none, a, options)).rejects.toThrow("expected all pairs of conditions");
    const sigma = { linalg, method: "whitened-cosine" } as const;
    await expect(compareRdms(a, a, { ...sigma, sigmaK: [1, 1] })).rejects.toThrow(
      "of 3 conditions, got 2",
    );
    const singular = matrix(new Float64Array(9).fill(1), 3, 3);
    await expect(compareRdms(a, a, { ...sigma, sigmaK: singular })).rejects.toThrow(
      "positive definite",
    );
  });
});

/** The changes of a dissimilarity that a comparison claims not to see. */
const changes: Record<string, (d: Float64Array) => Float64Array> = {
  translation: (d) => d.map((v) => v + 0.7),
  scaling: (d) => d.map((v) => 2.5 * v),
  monotone: (d) => d.map((v) => Math.exp(v)),
};

describe("what the registry claims of comparisons", () => {
  test.each(rdmComparisonMeasures.map((m) => [m.name, m] as const))("%s", async (name, measure) => {
    const method = name.slice("rdm-".length) as RdmComparison;
    const n = 7;
    const a = await randomRdms(1, n, 3);
    const b = await randomRdms(1, n, 4);
    const value = await one(a.data, b.data, method);
    for (const [change, apply] of Object.entries(changes)) {
      const changed = await one(apply(a.data), b.data, method);
      const same = Math.abs(changed - value) < 1e-6;
      expect([change, same]).toEqual([change, measure.invariances.includes(change as never)]);
    }
    const order = [3, 0, 6, 2, 5, 1, 4];
    const shuffled = await one(
      takeConditions(a, order).data,
      takeConditions(b, order).data,
      method,
    );
    expect(shuffled).toBeCloseTo(value, 6);
    const swapped = await one(b.data, a.data, method);
    expect(Math.abs(swapped - value) < 1e-7).toBe(measure.symmetric);
    const own = await one(a.data, a.data, method);
    expect(measure.larger === "more alike" ? own > value : own < value).toBe(true);
  });

  test("the root of bures-metric satisfies the triangle inequality", async () => {
    const all = await randomRdms(6, 5, 8);
    const { data } = await compareRdms(all, all, { method: "bures-metric", linalg });
    const d = data.map((v) => Math.sqrt(Math.max(0, v)));
    for (let i = 0; i < 6; i++) {
      for (let j = 0; j < 6; j++) {
        for (let k = 0; k < 6; k++) {
          expect(d[i * 6 + k]!).toBeLessThanOrEqual(d[i * 6 + j]! + d[j * 6 + k]! + 1e-6);
        }
      }
    }
  });

  test("every comparison and every RDM has one entry, and names are unique within a kind", () => {
    expect(rdmComparisonMeasures.map((m) => m.name)).toEqual(
      RDM_COMPARISONS.map((m) => `rdm-${m}`),
    );
    const names = measures.map((m) => `${m.kind} ${m.name}`);
    expect(new Set(names).size).toBe(names.length);
    for (const m of measures) expect(m.minSample(10)).toBeGreaterThan(0);
  });
});

describe("what the registry claims of RDMs", () => {
  const n = 6;
  const p = 5;
  const nRuns = 8;
  const rng = createRng(14);
  const data = Float64Array.from({ length: n * nRuns * p }, () => 1 + 4 * rng.uniform());
  const x = matrix(data, n * nRuns, p);
  const conditions = Array.from({ length: n * nRuns }, (_, i) => i % n);
  const runs = Array.from({ length: n * nRuns }, (_, i) => Math.floor(i / n));
  const compute: Record<string, (x: Matrix<Float64Array>) => Promise<Rdms>> = {};
  const asTensor = (m: Matrix<Float64Array>) =>
    tensor(m.data, ["stimulus", "unit"], [m.nRows, m.nColumns]);
  const precisionOf = (m: Matrix<Float64Array>) =>
    noisePrecision(asTensor(m), { method: "full", conditions, linalg });
  for (const method of ["euclidean", "correlation", "cosine", "poisson"] as const) {
    compute[method] = (m) => calcRdm(asTensor(m), { method, conditions, linalg });
  }
  compute["mahalanobis"] = async (m) =>
    calcRdm(asTensor(m), {
      method: "mahalanobis",
      conditions,
      precision: await precisionOf(m),
      linalg,
    });
  compute["crossnobis"] = async (m) =>
    crossnobisRdm(asTensor(m), { conditions, runs, precision: await precisionOf(m), linalg });

  const map = (by: Float64Array) => linalg.matmul(x, matrix(by, p, p));
  const turn = Float64Array.from({ length: p * p }, (_, i) => (i % (p + 1) === 0 ? 1 : 0));
  [turn[0], turn[1], turn[p], turn[p + 1]] = [0.6, 0.8, -0.8, 0.6];
  const skew = Float64Array.from({ length: p * p }, (_, i) =>
    i % (p + 1) === 0 ? 1 + i / 10 : 0.2,
  );
  const units: Record<string, () => Promise<Matrix<Float64Array>>> = {
    translation: async () =>
      matrix(
        x.data.map((v, i) => v + (i % p)),
        x.nRows,
        p,
      ),
    scaling: async () =>
      matrix(
        x.data.map((v) => 3 * v),
        x.nRows,
        p,
      ),
    permutation: () =>
      map(
        Float64Array.from({ length: p * p }, (_, i) =>
          Number(i % p === (Math.floor(i / p) + 1) % p),
        ),
      ),
    rotation: () => map(turn),
    linear: () => map(skew),
  };

  test.each(rdmMeasures.filter((m) => m.name in compute).map((m) => [m.name, m] as const))(
    "%s",
    async (name, { invariances }) => {
      const before = (await compute[name]!(x)).data;
      for (const [change, apply] of Object.entries(units)) {
        // A linear map may be a scaling, a permutation or a rotation.
        const claimed =
          invariances.includes(change as never) ||
          (invariances.includes("linear") && change !== "translation");
        const changed = await apply();
        if (name === "poisson" && changed.data.some((v) => v < 0)) continue;
        const after = (await compute[name]!(changed)).data;
        const same = before.every(
          (v, i) => Math.abs(v - after[i]!) < 1e-8 * Math.max(1, Math.abs(v)),
        );
        expect([change, same]).toEqual([change, claimed]);
      }
      const square = squareRdm(before);
      expect(square.data[1]).toBe(square.data[n]);
      expect(makeRdms(before, 1).nConditions).toBe(n);
      expect(rdmRow(makeRdms(before, 1), 0)).toEqual(before);
    },
  );
});
