/** The published definitions at their limits: what is just a dead unit, a detector, a positional unit, a universal one, and what just is not. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRng, DataError } from "@penfield/core";
import { matrix, qr } from "@penfield/linalg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { classifyUnits } from "./classify.ts";
import { plantedSource } from "./planted.ts";
import { circularShiftP, positionalInformation } from "./positional.ts";
import { dormancy, dormancyOf, hoyerSparseness } from "./sparseness.ts";
import { type CensusDocument, type CensusOptions, takeCensus } from "./takeCensus.ts";
import { compareUnits, type UnitBlock, universalUnits } from "./universality.ts";
import { outputRoles } from "./weightStatistics.ts";

let root: string;
let nTaken = 0;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "penfield-definitions-"));
});
afterAll(() => rm(root, { recursive: true, force: true }));

/** A census of units that are given as functions of the document's number and the position. */
async function taken(
  units: readonly ((document: number, position: number) => number)[],
  documents: readonly CensusDocument[],
  options: CensusOptions = {},
) {
  let first = 0;
  const source = {
    ...plantedSource({ words: ["a", "b", "c", "d", "e", "f", "g", "h"], units: [] }),
    hooks: [{ name: "h", layer: 0, nUnits: units.length }],
    read: async (rows: readonly (readonly number[])[]) => {
      const values = rows.flatMap((row, d) =>
        row.flatMap((_, p) => units.map((value) => value(first + d, p))),
      );
      first += rows.length;
      return [Float32Array.from(values)];
    },
  };
  return takeCensus(source, documents, join(root, `${nTaken++}`), options);
}

describe("dead units and detectors (Voita et al. 2024)", () => {
  // 100 a, 20 each of b, c, d, e, f; 19 g; 200 h. One token a document, then an h.
  const counts = [100, 20, 20, 20, 20, 20, 19, 0];
  const documents = counts.flatMap((n, token) =>
    Array.from({ length: n }, () => ({ tokens: [token, 7] })),
  );
  const ends = counts.map((_, i) => counts.slice(0, i + 1).reduce((a, b) => a + b, 0));
  /** Active on the first so many of each token's documents. */
  const on =
    (...wanted: readonly number[]) =>
    (document: number, position: number): number => {
      const token = ends.findIndex((end) => document < end);
      const place = document - (ends[token]! - counts[token]!);
      return Number(position === 0 && place < (wanted[token] ?? 0));
    };
  test.each<[string, readonly number[], string | undefined]>([
    ["never active: dead", [], "dead"],
    ["active once: not dead, and no detector", [1], undefined],
    ["95 of 100 occurrences, nothing else", [95], "token-detector"],
    ["94 of 100 occurrences, nothing else", [94], undefined],
    ["95 of 100 occurrences that are 95 of 100 active tokens", [95, 5], "token-detector"],
    ["all occurrences, 19 of 20 active tokens", [0, 1, 0, 0, 0, 0, 19], "token-detector"],
    ["all occurrences, 19 of 21 active tokens", [0, 2, 0, 0, 0, 0, 19], undefined],
    ["five tokens", [0, 20, 20, 20, 20, 20], "token-detector"],
    ["six tokens, each of which is needed", [20, 20, 20, 20, 20, 20, 19], undefined],
    ["a sixth token that 95 % do without", [100, 20, 20, 20, 20, 5], "token-detector"],
  ])("%s", async (_, wanted, expected) => {
    const census = await taken([on(...wanted)], documents);
    const [unit] = await classifyUnits(census);
    const limits = ["dead", "token-detector"] as const;
    expect(limits.find((type) => unit!.types.includes(type))).toBe(expected);
    await census.close();
  });
});

describe("positional units (Voita et al. 2024)", () => {
  const length = 20;
  const nDocuments = 400;
  const documents = Array.from({ length: nDocuments }, () => ({
    tokens: new Array<number>(length).fill(0),
  }));
  /** Active in `high` documents at the first half of the positions, in `low` at the others; not always in the same ones. */
  const halves = (high: number, low: number) => (d: number, p: number) =>
    Number((d * 141 + p * 37) % nDocuments < (p < length / 2 ? high : low));
  const informationOf = (high: number, low: number) =>
    positionalInformation(
      Array.from({ length }, (_, p) => (p < length / 2 ? high : low)),
      new Array<number>(length).fill(nDocuments),
    );

  test("above 0.05 nats with the bias taken off, and not at or below", async () => {
    let high = 100;
    while (informationOf(high, 100).corrected <= 0.05) high++;
    const [above, below] = [informationOf(high, 100), informationOf(high - 1, 100)];
    // By hand, from the definition: log 2-like terms of the two halves.
    const [f, g] = [(high + 100) / (2 * nDocuments), [high / nDocuments, 100 / nDocuments]];
    const byHand = g.reduce(
      (sum, p) => sum + 0.5 * (p * Math.log(p / f) + (1 - p) * Math.log((1 - p) / (1 - f))),
      0,
    );
    expect(above.information).toBeCloseTo(byHand, 12);
    // One document more or less is the limit; and the one below would pass without the correction.
    expect([above.corrected > 0.05, below.corrected > 0.05]).toEqual([true, false]);
    expect(below.information).toBeGreaterThan(0.05);
    const census = await taken([halves(high, 100), halves(high - 1, 100)], documents, {
      maxTokens: length,
    });
    const found = await classifyUnits(census);
    expect(found.map(({ types }) => types.includes("positional"))).toEqual([true, false]);
    expect(found.map(({ positional }) => positional.p)).toEqual([0.01, undefined]);
    expect(found[0]!.positional.corrected).toBeCloseTo(above.corrected, 12);
    await census.close();
  });

  test("in few documents, what is counted passes the limit by chance alone; what is corrected does not", async () => {
    const rng = createRng(3);
    const few = Array.from({ length: 5 }, () => ({ tokens: new Array<number>(128).fill(0) }));
    const census = await taken(
      [0.5, 0.3, 0.2].map((rate) => () => Number(rng.uniform() < rate)),
      few,
      {
        maxTokens: 128,
      },
    );
    for (const { positional, types } of await classifyUnits(census)) {
      expect(positional.information).toBeGreaterThan(0.05);
      expect(Math.abs(positional.corrected)).toBeLessThan(0.05);
      expect(types).not.toContain("positional");
    }
    await census.close();
  });

  test("without kept values nothing can be shifted: no p, and no type without a test", async () => {
    const census = await taken([(_, p) => Number(p < 4)], documents, { keepShare: 0 });
    const [unit] = await classifyUnits(census);
    expect(unit!.positional.corrected).toBeGreaterThan(0.4);
    expect(unit!.positional.p).toBeUndefined();
    expect(unit!.types).not.toContain("positional");
    expect(() => circularShiftP(new Uint8Array(0), [0])).toThrow(DataError);
    await census.close();
  });

  test("256 positions, 4000 sequences: a range of positions holds its entropy, others at most .0002", () => {
    const nTokens = new Array<number>(256).fill(4000);
    const range = Array.from(nTokens, (n, p) => (p >= 40 && p < 74 ? n : 0));
    const f = 34 / 256;
    const { information, corrected } = positionalInformation(range, nTokens);
    expect(information).toBeCloseTo(-f * Math.log(f) - (1 - f) * Math.log(1 - f), 12);
    expect(corrected).toBeCloseTo(information, 3);
    const rng = createRng(9);
    for (const rate of [0.3, 0.05]) {
      // A binomial count by its normal limit: 4000 draws for each of 256 positions would be slow.
      const spread = Math.sqrt(4000 * rate * (1 - rate));
      const noise = Array.from(nTokens, () => Math.round(4000 * rate + spread * rng.normal()));
      const found = positionalInformation(noise, nTokens);
      expect(found.information).toBeLessThan(2e-4);
      expect(Math.abs(found.corrected)).toBeLessThan(4e-5);
    }
  });
});

describe("sparseness and dormancy", () => {
  test("Hoyer: ten of fifty active and nearly equal .663; equal .644; one 1; all 0", () => {
    // Five of 9 and five of 16: mean 12.5, mean square 168.5; (sqrt 50 - sqrt 10 (12.5 / sqrt 168.5)) / (sqrt 50 - 1).
    const nearly = Array.from({ length: 50 }, (_, i) => (i < 5 ? 9 : i < 10 ? 16 : 0));
    const byHand =
      (Math.sqrt(50) - (Math.sqrt(10) * 12.5) / Math.sqrt(168.5)) / (Math.sqrt(50) - 1);
    expect(hoyerSparseness(nearly)).toBeCloseTo(byHand, 12);
    expect(hoyerSparseness(nearly).toFixed(3)).toBe("0.663");
    const equal = nearly.map((value) => Math.sign(value));
    expect(hoyerSparseness(equal).toFixed(3)).toBe("0.644");
    expect(hoyerSparseness(Array.from({ length: 50 }, (_, i) => Number(i === 7)))).toBe(1);
    expect(hoyerSparseness(new Array(50).fill(-2))).toBeCloseTo(0, 12);
    expect(hoyerSparseness([0, 0, 0])).toBe(0);
    expect(() => hoyerSparseness([1])).toThrow(DataError);
  });

  test("a census says the same of a unit as its values do", async () => {
    const rng = createRng(4);
    const values = Array.from({ length: 300 }, () => (rng.uniform() < 0.2 ? rng.uniform() : 0));
    const census = await taken([(_, p) => values[p]!], [{ tokens: new Array(300).fill(0) }]);
    const { hoyer } = await census.statistics(0);
    expect(hoyer).toBeCloseTo(hoyerSparseness(Float32Array.from(values)), 6);
    await census.close();
  });

  test("dormant: forty silent of fifty are 0.8 exactly; at tau and just above it", () => {
    const silent = Array.from({ length: 50 }, (_, i) => (i < 40 ? 0 : 1 + i / 50));
    expect(dormancy(silent).ratio).toBe(0.8);
    // Scores are mean |h| over the layer's mean, which is 1 here: 0.025 is dormant, 0.026 is not.
    expect(dormancy([0.025, 1.975]).ratio).toBe(0.5);
    expect(dormancy([0.026, 1.974]).ratio).toBe(0);
    expect(dormancy([0.026, 1.974], { tau: 0.1 }).ratio).toBe(0.5);
    expect(dormancy([0, 0]).ratio).toBe(1);
    expect(() => dormancy([])).toThrow(DataError);
    // Of signed activations the size counts.
    const data = Float32Array.of(-1, 0, 1, 0);
    const signed = { data, axes: ["stimulus", "unit"], shape: [2, 2] } as const;
    expect(dormancyOf(signed).ratio).toBe(0.5);
  });
});

describe("universality (Gurnee et al. 2024)", () => {
  // 200 units in each model, 20 of them shared, in another order. Rows of a Fourier basis: every correlation is known without sampling.
  const n = 1024;
  const basis = (k: number, t: number) => {
    const angle = (2 * Math.PI * (1 + (k >> 1)) * t) / n;
    return Math.SQRT2 * (k % 2 === 0 ? Math.cos(angle) : Math.sin(angle));
  };
  const shared = Array.from({ length: 20 }, (_, i) => [9 * i + 3, (7 * i + 50) % 200] as const);
  const R = 0.85;
  const block = (value: (unit: number, t: number) => number): UnitBlock => ({
    name: "layer",
    nUnits: 200,
    nTokens: n,
    read: async () =>
      Float32Array.from({ length: 200 * n }, (_, i) => value(Math.floor(i / n), i % n)),
  });
  const partner = new Map(shared.map(([a, b]) => [b, a]));
  const a = block(basis);
  const b = block((unit, t) => {
    const own = basis(200 + unit, t);
    const from = partner.get(unit);
    return from === undefined ? own : R * basis(from, t) + Math.sqrt(1 - R * R) * own;
  });

  test("excess .686 on the shared units, 0 on the others; a tenth is universal", async () => {
    const seed = 2;
    const found = await compareUnits([a], [b], { seed });
    // A rotated unit is sum_k Q[j][k] b_k, of variance 1: its correlation with a_i is R Q[j][partner of i].
    const rows = (stream: number) => {
      const rng = createRng(seed, stream);
      return Float64Array.from({ length: 200 * 200 }, () => rng.normal());
    };
    const gaussian = rows(91);
    for (let j = 0; j < 200; j++) {
      const row = gaussian.subarray(200 * j, 200 * (j + 1));
      const size = Math.sqrt(row.reduce((sum, value) => sum + value * value, 0));
      row.forEach((value, k) => {
        row[k] = value / size;
      });
    }
    const orthogonal = qr(matrix(rows(92), 200, 200)).q.data;
    for (const [excess, rotation] of [
      [found.gaussianExcess, gaussian],
      [found.orthogonalExcess, orthogonal],
    ] as const) {
      const planted = shared.map(([i, k]) => {
        const best = Math.max(...Array.from({ length: 200 }, (_, j) => rotation[200 * j + k]!));
        expect(excess[i]!).toBeCloseTo(R - R * best, 5);
        return excess[i]!;
      });
      // R (1 - the largest of 200 normals over sqrt 200) = .85 (1 - 2.746 / 14.14) = .685, with a standard error of .006.
      const mean = planted.reduce((sum, value) => sum + value, 0) / 20;
      expect(Math.abs(mean - 0.686)).toBeLessThan(0.02);
      const others = Array.from(excess).filter((_, i) => !shared.some(([own]) => own === i));
      expect(Math.max(...others.map(Math.abs))).toBeLessThan(1e-4);
      expect(excess.filter((value) => value > 0.5).length / 200).toBe(0.1);
    }
    expect(found.rosetta.filter(({ r }) => r > 0.5).map((pair) => [pair.a, pair.b])).toEqual(
      shared.map(([i, k]) => [i, k]),
    );
  });

  test("over several models: the mean excess, and matches in all of them", async () => {
    // A third model has the first ten of the shared units.
    const few = new Map(shared.slice(0, 10).map(([i, k]) => [k, i]));
    const third = block((unit, t) => {
      const from = few.get(unit);
      const own = basis(400 + unit, t);
      return from === undefined ? own : R * basis(from, t) + Math.sqrt(1 - R * R) * own;
    });
    const comparisons = [await compareUnits([a], [b]), await compareUnits([a], [third])];
    const found = universalUnits(comparisons);
    const first = shared.slice(0, 10).map(([i]) => i);
    expect(found.universal).toEqual(first);
    const real = comparisons.map(({ rosetta }) => rosetta.filter(({ r }) => r > 0.5));
    expect(
      universalUnits(comparisons.map((own, i) => ({ ...own, rosetta: real[i]! }))).rosetta,
    ).toEqual(first);
    const [one, two] = comparisons.map(({ gaussianExcess }) => gaussianExcess[12]!);
    const { excess } = universalUnits(comparisons, { rotation: "gaussian" });
    expect(excess[12]).toBeCloseTo((one! + two!) / 2, 12);
    expect(universalUnits(comparisons, { above: 0.2 }).universal.length).toBe(20);
    expect(() => universalUnits([])).toThrow(DataError);
  });

  test("a constant unit correlates 0 with everything, and is nobody's match", async () => {
    const still = { ...a, nUnits: 2, read: async () => new Float32Array(2 * n).fill(3) };
    const found = await compareUnits([still], [b]);
    expect(Array.from(found.correlation)).toEqual([0, 0]);
    expect(found.rosetta).toEqual([]);
  });
});

test("roles: kurtosis above 10 promotes or suppresses; late, heavy and even units may set the entropy", () => {
  const nUnits = 100;
  const column = (value: (unit: number) => number) =>
    Float64Array.from({ length: nUnits }, (_, u) => value(u));
  const statistics = {
    nLayers: 6,
    nUnits,
    inNorm: column(() => 1),
    outNorm: column((u) => (u === 5 || u === 6 ? 9 : 1 + u / 1000)),
    cosInOut: column(() => 0),
    vocabularyVariance: column((u) => (u === 5 || u === 7 ? 1e-6 : 0.01 + u / 1e4)),
    vocabularySkewness: column((u) => (u === 1 ? -1 : 1)),
    vocabularyKurtosis: column((u) => (u < 2 ? 10.01 : u === 2 ? 10 : 3)),
    nTokens: 0,
    topTokens: new Int32Array(0),
    topScores: new Float32Array(0),
    bottomTokens: new Int32Array(0),
    bottomScores: new Float32Array(0),
  };
  const late = outputRoles({ ...statistics, layer: 4 }, 6);
  expect(late.slice(0, 8)).toEqual([
    ...["promotes", "suppresses", undefined, undefined, undefined],
    // Heavy alone, or even alone, is no candidate.
    ...["entropy-candidate", undefined, undefined],
  ]);
  expect(outputRoles({ ...statistics, layer: 3 }, 6)).not.toContain("entropy-candidate");
});

test.each([1, 4, 7, 23, 50])(
  "quantile bins of %i sampled contexts are equally large to within one",
  async (nActive) => {
    const census = await taken(
      [(d) => (d < nActive ? 1 + d : 0)],
      Array.from({ length: 60 }, () => ({ tokens: [0] })),
    );
    const { sampled } = await census.contexts(0);
    expect(sampled.length).toBe(nActive);
    const sizes = [0, 1, 2, 3, 4].map((bin) => sampled.filter((own) => own.bin === bin).length);
    expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
    const inOrder = [...sampled].sort((a, b) => a.value - b.value).map(({ bin }) => bin);
    expect(inOrder).toEqual([...inOrder].sort());
    await census.close();
  },
);
