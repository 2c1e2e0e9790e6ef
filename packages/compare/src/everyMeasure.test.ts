import {
  type Activations,
  createRng,
  DataError,
  PenfieldError,
  permutation,
  ShapeError,
  takeRows,
  tensor,
} from "@penfield/core";
import { createLinalg, qr } from "@penfield/linalg";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import type { Trajectories } from "./dynamics/dmd.ts";
import { compareRdmPair, compareTrajectories, compareTrials } from "./flagged.ts";
import { measures } from "./measures.ts";
import type { Invariance, MeasureInfo, MeasureKind } from "./registry.ts";
import { calcRdm } from "./rsa/calcRdm.ts";
import { crossnobisRdm, poissonCvRdm } from "./rsa/crossValidated.ts";
import { rdmComparisonMeasures, rdmMeasures } from "./rsa/measures.ts";
import { noisePrecision } from "./rsa/noise.ts";
import { type Rdms, rdms } from "./rsa/rdms.ts";
import { compareActivations, representationMeasures } from "./similarity/measures.ts";
import type { Trials } from "./stochastic/gaussian.ts";
import { dynamicsMeasures, stochasticMeasures } from "./stochastic/measures.ts";

/*
 * What the registry says of its measures, and what they do with what they cannot do: for every entry, so that a new one
 * is held to it without a test of its own.
 */

const linalg = createLinalg({ threads: 1 });
afterAll(() => linalg.dispose());

const rng = createRng(11);
const N = 12;
type Fill = (i: number, j: number) => number;
const noise: Fill = () => rng.normal();

const matrix = (n: number, p: number, fill: Fill = noise): Activations =>
  tensor(
    Float64Array.from({ length: n * p }, (_, at) => fill(Math.floor(at / p), at % p)),
    ["stimulus", "unit"],
    [n, p],
  );
const repeated = (n: number, r: number, p: number, fill: Fill = noise): Trials => ({
  data: Float64Array.from({ length: n * r * p }, (_, at) => fill(Math.floor(at / (r * p)), at % p)),
  nStimuli: n,
  nRepeats: r,
  nUnits: p,
});
const path = (times: number, p: number, fill: Fill = noise): Trajectories => ({
  data: Float64Array.from({ length: times * p }, (_, at) => fill(Math.floor(at / p), at % p)),
  nTrials: 1,
  nTimes: times,
  nUnits: p,
});
const rdm = (n: number, fill: (pair: number) => number = () => rng.uniform()): Rdms =>
  rdms([Float64Array.from({ length: (n * (n - 1)) / 2 }, (_, pair) => fill(pair))]);

/** An RDM of Gram matrices of full rank, as the Riemannian comparison needs. */
const smoothRdm = async (n: number): Promise<Rdms> =>
  calcRdm(matrix(n, 3 * n), { method: "euclidean", linalg });

/** What came of it: an error's class, or the value and whether anything was said about it. */
interface Outcome {
  readonly error?: PenfieldError;
  readonly value: number;
  readonly warnings: readonly string[];
}

async function outcome(
  work: () => Promise<{ value: number; warnings: readonly string[] }>,
): Promise<Outcome> {
  try {
    return await work();
  } catch (error) {
    // Anything else is a defect.
    if (!(error instanceof PenfieldError)) throw error;
    return { error, value: Number.NaN, warnings: [] };
  }
}

/** An error, NaN that is explained, or a number with a note. */
function expectNotSilent({ error, value, warnings }: Outcome): void {
  if (error) return;
  expect(warnings.length, `a number, ${value}, without a word`).toBeGreaterThan(0);
  if (Number.isNaN(value)) expect(warnings.join("\n")).toMatch(/not defined/);
  else expect(Number.isFinite(value)).toBe(true);
}

function expectVariationRule({ withoutVariation }: MeasureInfo, found: Outcome): void {
  expect(found.error).toBeUndefined();
  expect(Number.isNaN(found.value)).toBe(withoutVariation === "undefined");
  expectNotSilent(found);
}

describe("bad input to every measure of two representations", () => {
  describe.each(representationMeasures.map((m) => [m.name, m] as const))("%s", (name, measure) => {
    const of = (x: Activations, y: Activations) =>
      outcome(() => compareActivations(linalg, name, x, y));

    test("fewer than 3 stimuli, other stimuli, no units: a ShapeError", async () => {
      for (const n of [0, 1, 2]) {
        expect((await of(matrix(n, 3), matrix(n, 2))).error, `${n}`).toBeInstanceOf(ShapeError);
      }
      expect((await of(matrix(N, 3), matrix(N + 1, 3))).error).toBeInstanceOf(ShapeError);
      expect((await of(matrix(N, 0), matrix(N, 3))).error).toBeInstanceOf(ShapeError);
      expect((await of(matrix(N, 3), matrix(N, 0))).error).toBeInstanceOf(ShapeError);
    });

    test("NaN and infinities: a DataError, also beside what does not vary", async () => {
      for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
        const x = matrix(N, 3, (i, j) => (i === 4 && j === 1 ? bad : rng.normal()));
        expect((await of(x, matrix(N, 3))).error).toBeInstanceOf(DataError);
        expect((await of(matrix(N, 3), x)).error).toBeInstanceOf(DataError);
        expect(
          (
            await of(
              matrix(N, 3, () => 1),
              x,
            )
          ).error,
        ).toBeInstanceOf(DataError);
      }
    });

    test("stimuli that are all alike: NaN or the number that is claimed, never silent", async () => {
      const alike = matrix(N, 3, (_, j) => j + 0.1);
      expectVariationRule(measure, await of(alike, matrix(N, 3)));
      expectVariationRule(measure, await of(matrix(N, 3), alike));
      expectVariationRule(
        measure,
        await of(
          alike,
          matrix(N, 2, (_, j) => 2 - j),
        ),
      );
      for (const [x, y] of [
        [matrix(N, 3, () => 0), matrix(N, 3)],
        [matrix(N, 3), matrix(N, 3, () => 0)],
        [matrix(N, 3, () => 0), matrix(N, 3, () => 0)],
      ] as const) {
        expectNotSilent(await of(x, y));
      }
    });

    test("one pattern of zeros, and ties: a number that is finite or explained", async () => {
      const zero = await of(
        matrix(N, 3, (i) => (i === 4 ? 0 : rng.normal())),
        matrix(N, 3),
      );
      expectNotSilent(zero);
      const tied = await of(
        matrix(N, 3, (i, j) => (i * (j + 2)) % 3),
        matrix(N, 2, (i) => i % 2),
      );
      expect(tied.error).toBeUndefined();
      if (Number.isNaN(tied.value)) expectNotSilent(tied);
      if (measure.family === "neighbours") {
        expect(tied.warnings.join("\n")).toMatch(
          /12 of 12 patterns (in the direction of|equal to) another/,
        );
      }
    });

    test("fewer stimuli than units: said, where it matters", async () => {
      const [n, p] = [6, 15];
      const found = await of(matrix(n, p), matrix(n, p));
      if (measure.minSample(p) > n) {
        expect(found.warnings.join("\n")).toContain(`${n} stimuli are fewer than the`);
        expect(found.warnings.join("\n")).toContain(measure.minSampleRule);
      } else expect(found.warnings).toEqual([]);
    });

    test("numbers whose squares no float64 holds: as of usual size, or not silent", async () => {
      const [x, y] = [matrix(N, 3), matrix(N, 3)];
      const usual = await of(x, y);
      for (const scale of [1e-200, 1e200]) {
        const found = await of(
          matrix(N, 3, (i, j) => x.data[i * 3 + j]! * scale),
          y,
        );
        if (measure.invariances.includes("scaling")) {
          expect(Math.abs(found.value - usual.value), `${scale}`).toBeLessThan(
            1e-6 * Math.max(1, Math.abs(usual.value)),
          );
        } else if (Number.isNaN(found.value)) expectNotSilent(found);
        else expect(Number.isFinite(found.value)).toBe(true);
      }
    });
  });

  test("an unbiased HSIC that is not positive: NaN, and said", async () => {
    // Four stimuli that have nothing off the diagonal but what the estimator takes away.
    const x = matrix(4, 4, (i, j) => (i === j ? 1 : 0));
    for (const name of ["linear-cka-unbiased", "rbf-cka-unbiased", "lange-cka"]) {
      const found = await outcome(() => compareActivations(linalg, name, x, matrix(4, 4)));
      if (name !== "lange-cka") expect(found.value, name).toBeNaN();
      expectNotSilent(found);
    }
  });
});

describe("bad input to every measure of repeated responses", () => {
  describe.each(stochasticMeasures.map((m) => [m.name, m] as const))("%s", (name, measure) => {
    const of = (x: Trials, y: Trials) => outcome(() => compareTrials(linalg, name, x, y));

    test("one trial, fewer than 3 stimuli, other stimuli or units: a ShapeError", async () => {
      for (const [x, y] of [
        [repeated(5, 1, 2), repeated(5, 1, 2)],
        [repeated(2, 6, 2), repeated(2, 6, 2)],
        [repeated(5, 6, 2), repeated(6, 6, 2)],
        [repeated(5, 6, 2), repeated(5, 6, 3)],
        [{ ...repeated(5, 6, 2), nUnits: 3 }, repeated(5, 6, 2)],
      ] as const) {
        expect((await of(x, y)).error).toBeInstanceOf(ShapeError);
      }
    });

    test("NaN: a DataError", async () => {
      const x = repeated(5, 6, 2, (i, j) => (i === 2 && j === 1 ? Number.NaN : rng.normal()));
      expect((await of(x, repeated(5, 6, 2))).error).toBeInstanceOf(DataError);
    });

    test("trials that are all alike: what is claimed; too few repeats: said", async () => {
      const [alike, other] = [repeated(5, 6, 2, () => 1), repeated(5, 6, 2)];
      expect(measure.withoutVariation).toBe("defined");
      for (const [x, y] of [
        [alike, other],
        [other, alike],
        [alike, repeated(5, 6, 2, () => 2)],
      ] as const) {
        const { error, value } = await of(x, y);
        expect([error, value >= 0]).toEqual([undefined, true]);
      }
      const few = await of(repeated(5, 2, 4), repeated(5, 2, 4));
      expect(few.warnings.join("\n")).toMatch(/2 repeats are fewer than the/);
    });
  });
});

describe("bad input to every measure of trajectories", () => {
  describe.each(dynamicsMeasures.map((m) => [m.name, m] as const))("%s", (name, measure) => {
    const of = (x: Trajectories, y: Trajectories) =>
      outcome(() => compareTrajectories(linalg, name, x, y));

    test("two times: a ShapeError; NaN and zeros: a DataError", async () => {
      expect((await of(path(2, 2), path(2, 2))).error).toBeInstanceOf(ShapeError);
      const bad = path(20, 2, (i) => (i === 3 ? Number.NaN : rng.normal()));
      expect((await of(bad, path(20, 2))).error).toBeInstanceOf(DataError);
      expect(
        (
          await of(
            path(20, 2, () => 0),
            path(20, 2),
          )
        ).error,
      ).toBeInstanceOf(DataError);
    });

    test("a state that stays: what is claimed; too few times: said", async () => {
      expect(measure.withoutVariation).toBe("defined");
      const stays = path(20, 2, () => 1);
      expect((await of(stays, stays)).value).toBeLessThan(1e-6);
      const few = await of(path(4, 6), path(4, 6));
      expect(few.warnings.join("\n")).toMatch(/4 times are fewer than the/);
    });

    test("other units: compared, or refused", async () => {
      const { error, value } = await of(path(20, 2), path(20, 3));
      if (error) expect(error.hint).toMatch(/\w/);
      else expect(value).toBeGreaterThan(0);
    });
  });
});

describe("bad input to every comparison of RDMs", () => {
  describe.each(rdmComparisonMeasures.map((m) => [m.name, m] as const))("%s", (name, measure) => {
    const of = (x: Rdms, y: Rdms) => outcome(() => compareRdmPair(linalg, name, x, y));

    test("fewer than 3 conditions: a DataError; other conditions: a ShapeError", async () => {
      expect((await of(rdm(2), rdm(2))).error).toBeInstanceOf(DataError);
      expect((await of(rdm(6), rdm(5))).error).toBeInstanceOf(ShapeError);
      expect((await of(rdm(5), rdm(6))).error).toBeInstanceOf(ShapeError);
    });

    test("an RDM that is constant or all zero: what is claimed, never silent", async () => {
      const constant = rdm(6, () => 2);
      expectVariationRule(measure, await of(constant, await smoothRdm(6)));
      for (const [x, y] of [
        [rdm(6, () => 0), rdm(6)],
        [rdm(6), rdm(6, () => 0)],
        [rdm(6, () => 0), rdm(6, () => 0)],
      ] as const) {
        expectNotSilent(await of(x, y));
      }
    });

    test("pairs that are not there: left out and counted, or refused; without any left, NaN", async () => {
      expectNotSilent(
        await of(
          rdm(6, (i) => (i === 2 ? Number.NaN : rng.uniform())),
          rdm(6),
        ),
      );
      const none = await of(
        rdm(6, () => Number.NaN),
        rdm(6),
      );
      expect([none.error, none.value]).toEqual([undefined, Number.NaN]);
      expectNotSilent(none);
    });

    test("ties, infinities and negative dissimilarities: no infinity, no impossible number", async () => {
      const range = measure.larger === "less alike" ? [-1e-6, 1e6] : [-1 - 1e-9, 1 + 1e-9];
      for (const x of [
        rdm(6, (i) => i % 2),
        rdm(6, (i) => (i === 3 ? Number.POSITIVE_INFINITY : i)),
        rdm(6, () => rng.normal()),
        rdm(6, () => -rng.uniform()),
      ]) {
        for (const y of [rdm(6), rdm(6, (i) => i % 3), rdm(6, () => -rng.uniform())]) {
          const found = await of(x, y);
          if (found.error || Number.isNaN(found.value)) expectNotSilent(found);
          else if (name !== "rdm-neg-riemannian") {
            expect(found.value).toBeGreaterThanOrEqual(range[0]!);
            expect(found.value).toBeLessThanOrEqual(range[1]!);
          }
        }
      }
    });
  });
});

/** R runs of n conditions, as observations. */
const R = 6;
const conditionsOf = (n: number) => Array.from({ length: n * R }, (_, i) => i % n);
const runsOf = (n: number) => Array.from({ length: n * R }, (_, i) => Math.floor(i / n));

/** An RDM of n conditions by its name in the registry. */
async function rdmOf(name: string, x: Activations, n: number): Promise<Float64Array> {
  const [conditions, runs] = [conditionsOf(n), runsOf(n)];
  const whitened = name === "mahalanobis" || name === "crossnobis";
  const precision = whitened
    ? await noisePrecision(x, { method: "full", conditions, linalg })
    : undefined;
  const shared = { conditions, linalg, ...(precision ? { precision } : {}) };
  if (name === "crossnobis") return (await crossnobisRdm(x, { ...shared, runs })).data;
  if (name === "poisson-cv") return (await poissonCvRdm(x, { conditions, runs, linalg })).data;
  return (await calcRdm(x, { ...shared, method: name as "euclidean" })).data;
}

describe("bad input to every RDM", () => {
  const positive: Fill = () => 1 + rng.uniform();

  describe.each(rdmMeasures.map((m) => [m.name, m] as const))("%s", (name) => {
    const of = (x: Activations, n: number) =>
      rdmOf(name, x, n).catch((error: unknown) => error as PenfieldError);

    test("one condition, NaN: a DataError; two conditions: one dissimilarity", async () => {
      expect(await of(matrix(R, 3, positive), 1)).toBeInstanceOf(DataError);
      const bad = matrix(5 * R, 3, (i) => (i === 7 ? Number.NaN : 1 + rng.uniform()));
      expect(await of(bad, 5)).toBeInstanceOf(DataError);
      expect(await of(matrix(2 * R, 3, positive), 2)).toHaveLength(1);
    });

    test("a pattern of zeros or of one value: its pairs are NaN, or a distance", async () => {
      const base = matrix(5 * R, 3, positive);
      for (const value of [0, 2]) {
        const x = matrix(5 * R, 3, (i, j) => (i % 5 === 1 ? value : base.data[i * 3 + j]!));
        const found = (await of(x, 5)) as Float64Array;
        const nNaN = found.filter(Number.isNaN).length;
        const undefinedHere = name === "correlation" || (name === "cosine" && value === 0);
        expect(nNaN).toBe(undefinedHere ? 4 : 0);
      }
    });

    test("patterns that are all alike: zeros, NaN or a DataError", async () => {
      const found = await of(
        matrix(5 * R, 3, (_, j) => 1 + j),
        5,
      );
      if (!(found instanceof DataError)) {
        expect([...(found as Float64Array)].every((v) => Math.abs(v) < 1e-12)).toBe(true);
      }
      const zeros = await of(
        matrix(5 * R, 3, () => 0),
        5,
      );
      if (!(zeros instanceof DataError)) {
        expect([...(zeros as Float64Array)].every((v) => v === 0 || Number.isNaN(v))).toBe(true);
      }
    });

    test("fewer observations than channels: refused where a covariance is inverted", async () => {
      const found = await of(matrix(3 * R, 40, positive), 3);
      const inverted = name === "mahalanobis" || name === "crossnobis";
      if (inverted) expect((found as PenfieldError).message).toMatch(/can be inverted/);
      else expect(found).toHaveLength(3);
    });
  });
});

test("every kind of measure has its bad input above", () => {
  const kinds: readonly MeasureKind[] = [
    "rdm",
    "rdm-comparison",
    "representation",
    "stochastic",
    "dynamics",
  ];
  expect(new Set(measures.map(({ kind }) => kind))).toEqual(new Set(kinds));
});

/** Units (the last axis) mixed by a matrix. */
function mixed(data: Float64Array, p: number, by: ArrayLike<number>): Float64Array {
  const out = new Float64Array(data.length);
  for (let at = 0; at < data.length; at += p) {
    for (let j = 0; j < p; j++) {
      for (let k = 0; k < p; k++) out[at + j]! += data[at + k]! * by[k * p + j]!;
    }
  }
  return out;
}

const turn = (p: number): Float64Array =>
  qr({ data: matrix(p, p).data as Float64Array, nRows: p, nColumns: p }).q.data;
const exchange = (p: number): Float64Array =>
  Float64Array.from({ length: p * p }, (_, at) => Number(at % p === (Math.floor(at / p) + 1) % p));

/** The same stimuli (blocks of a first axis) in another order. */
function inOrder(data: Float64Array, order: ArrayLike<number>): Float64Array {
  const size = data.length / order.length;
  return Float64Array.from(
    { length: data.length },
    (_, at) => data[order[Math.floor(at / size)]! * size + (at % size)]!,
  );
}

/** Changes of the values of units, by the name of the invariance that a measure may claim. */
const changes: Partial<Record<Invariance, (data: Float64Array, p: number) => Float64Array>> = {
  translation: (data, p) => data.map((v, at) => v + 2 + (at % p)),
  scaling: (data) => data.map((v) => 3.5 * v),
  permutation: (data, p) => mixed(data, p, exchange(p)),
  rotation: (data, p) => mixed(data, p, turn(p)),
};

describe("claims of measures of repeated responses and trajectories", () => {
  const P = 3;
  /** Trials with a shape of their own, so that alignments have one best. */
  const responses = (seed: number, network = 0, apart = 3): Trials => {
    const n = 6;
    const shared = createRng(seed);
    const own = createRng(seed + 1000 * network);
    const means = Float64Array.from(
      { length: n * P },
      () => 3 * shared.normal() + apart * own.normal(),
    );
    return {
      data: Float64Array.from({ length: n * 8 * P }, (_, at) => {
        return (
          means[Math.floor(at / (8 * P)) * P + (at % P)]! + (1 + (at % P)) * 0.4 * own.normal()
        );
      }),
      nStimuli: n,
      nRepeats: 8,
      nUnits: P,
    };
  };
  const walk = (seed: number): Trajectories => {
    const own = createRng(seed);
    const data = Float64Array.from({ length: 60 * 2 }, () => 0.3 * own.normal());
    const [c, s] = [0.95 * Math.cos(0.3 + seed / 10), 0.95 * Math.sin(0.3 + seed / 10)];
    data[0] = data[1] = 1;
    for (let t = 2; t < data.length; t += 2) {
      const [x, y] = [data[t - 2]!, data[t - 1]!];
      data[t]! += c * x - s * y;
      data[t + 1]! += 0.7 * s * x + c * y;
    }
    return { data, nTrials: 1, nTimes: 60, nUnits: 2 };
  };

  describe.each(stochasticMeasures.map((m) => [m.name, m] as const))("%s", (_, measure) => {
    test("is invariant as it says, and not otherwise", async () => {
      const [x, y] = [responses(1), responses(2, 1)];
      const before = await measure.compute(linalg, x, y);
      expect(before).toBeGreaterThan(0);
      for (const [change, apply] of Object.entries(changes)) {
        const claimed = measure.invariances.includes(change as Invariance);
        const after = await measure.compute(linalg, { ...x, data: apply(x.data, P) }, y);
        expect([change, Math.abs(after - before) < 1e-3 * before]).toEqual([change, claimed]);
      }
      const order = permutation(6, createRng(4));
      const shuffled = await measure.compute(
        linalg,
        { ...x, data: inOrder(x.data, order) },
        { ...y, data: inOrder(y.data, order) },
      );
      expect(measure.invariances).toContain("stimulus-order");
      expect(Math.abs(shuffled - before)).toBeLessThan(1e-3 * before);
    });

    test("is symmetric, 0 for equals, and keeps the triangle inequality if it is a metric", async () => {
      // The last two are of networks that differ by less than their noise.
      for (const [seed, apart] of [
        [10, 3],
        [20, 3],
        [30, 0.1],
        [40, 0],
      ] as const) {
        const [a, b, c] = [0, 1, 2].map((k) => responses(seed, k, apart)) as [
          Trials,
          Trials,
          Trials,
        ];
        const d = (x: Trials, y: Trials) => measure.compute(linalg, x, y);
        const [ab, ba, bc, ac] = [await d(a, b), await d(b, a), await d(b, c), await d(a, c)];
        expect(await d(a, a)).toBeLessThan(1e-3);
        expect(Math.abs(ab - ba)).toBeLessThanOrEqual(1e-3 * ab);
        if (!measure.metric) continue;
        expect(ac).toBeLessThanOrEqual((ab + bc) * (1 + 1e-3));
        expect(ab).toBeLessThanOrEqual((ac + bc) * (1 + 1e-3));
      }
    });
  });

  describe.each(dynamicsMeasures.map((m) => [m.name, m] as const))("%s", (_, measure) => {
    test("is invariant as it says, and not otherwise", async () => {
      const [x, y] = [walk(1), walk(4)];
      const before = await measure.compute(linalg, x, y);
      for (const [change, apply] of Object.entries(changes)) {
        const claimed = measure.invariances.includes(change as Invariance);
        const after = await measure.compute(linalg, { ...x, data: apply(x.data, 2) }, y);
        expect([change, Math.abs(after - before) < 1e-5]).toEqual([change, claimed]);
      }
    });

    test("is symmetric, and keeps the triangle inequality if it is a metric", async () => {
      const [a, b, c] = [walk(1), walk(4), walk(7)];
      const d = (x: Trajectories, y: Trajectories) => measure.compute(linalg, x, y);
      const [ab, ba, bc, ac] = [await d(a, b), await d(b, a), await d(b, c), await d(a, c)];
      expect(await d(a, a)).toBeLessThan(1e-5);
      expect(Math.abs(ab - ba)).toBeLessThan(1e-6);
      if (!measure.metric) return;
      expect(ac).toBeLessThanOrEqual(ab + bc + 1e-6);
      expect(ab).toBeLessThanOrEqual(ac + bc + 1e-6);
    });
  });
});

describe("claims of RDMs and of comparisons", () => {
  test.each(rdmMeasures.map((m) => [m.name, m] as const))(
    "%s: other orders of conditions move its entries, and nothing else",
    async (name, measure) => {
      const n = 6;
      const x = matrix(n * R, 4, () => 1 + 4 * rng.uniform());
      const before = await rdmOf(name, x, n);
      const order = permutation(n, createRng(3));
      const rows = Array.from({ length: n * R }, (_, i) => Math.floor(i / n) * n + order[i % n]!);
      const after = await rdmOf(name, takeRows(x, rows), n);
      const place = (i: number, j: number): number => {
        const [a, b] = i < j ? [i, j] : [j, i];
        return a * n - (a * (a + 1)) / 2 + b - a - 1;
      };
      expect(measure.invariances).toContain("stimulus-order");
      for (let i = 0; i < n; i++) {
        for (let j = i + 1; j < n; j++) {
          const was = before[place(order[i]!, order[j]!)]!;
          expect(Math.abs(after[place(i, j)]! - was)).toBeLessThan(
            1e-9 * Math.max(1, Math.abs(was)),
          );
        }
      }
      if (name === "poisson-cv") {
        const mixedUnits = { ...x, data: mixed(x.data as Float64Array, 4, exchange(4)) };
        const again = await rdmOf(name, mixedUnits, n);
        again.forEach((v, i) => {
          expect(v).toBeCloseTo(before[i]!, 10);
        });
      }
    },
  );

  test("none is called a metric: one that were would need its axioms tested here", () => {
    expect([...rdmComparisonMeasures, ...rdmMeasures].filter((m) => m.metric)).toEqual([]);
  });
});

describe("every measure of two representations that is called a metric", () => {
  test.each(representationMeasures.filter((m) => m.metric).map((m) => [m.name, m] as const))(
    "%s: the triangle inequality, among near and far, wide and narrow",
    async (_, measure) => {
      await fc.assert(
        fc.asyncProperty(fc.nat(1e6), fc.integer({ min: 4, max: 9 }), async (seed, n) => {
          const own = createRng(seed);
          const p = 2 + own.below(5);
          const fill = () => own.normal();
          const a = matrix(n, p, fill);
          const b = matrix(n, p, (i, j) => a.data[i * p + j]! + 0.1 * own.normal());
          const c = matrix(n, 2 + own.below(5), fill);
          const d = (x: Activations, y: Activations) => measure.compute(linalg, x, y);
          const [ab, bc, ac, ba] = [await d(a, b), await d(b, c), await d(a, c), await d(b, a)];
          expect(ab).toBeGreaterThanOrEqual(0);
          expect(ab).toBeCloseTo(ba, 7);
          expect(ac).toBeLessThanOrEqual(ab + bc + 1e-7);
          expect(bc).toBeLessThanOrEqual(ab + ac + 1e-7);
          expect(ab).toBeLessThanOrEqual(ac + bc + 1e-7);
        }),
        { numRuns: 15 },
      );
    },
  );
});
