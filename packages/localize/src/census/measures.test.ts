import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createRng, DataError, ShapeError } from "@penfield/core";
import { HookedModel } from "@penfield/hooks";
import { matrix, qr } from "@penfield/linalg";
import { pearson } from "@penfield/stats";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { mix } from "./batch.ts";
import { facetsOf } from "./facets.ts";
import { spellingOf, tokenFamilies } from "./families.ts";
import { BatchKeys, createHeavyHitters, HITTERS } from "./heavyHitters.ts";
import {
  adjustedRandIndex,
  balancedKMeans,
  coactivation,
  modularity,
  partitionUnits,
} from "./partition.ts";
import { plantedSource } from "./planted.ts";
import { circularShiftP, positionalInformation } from "./positional.ts";
import { addToSketch, SKETCH_BUCKETS, SKETCH_ERROR, sketchQuantile } from "./quantileSketch.ts";
import { byteScale, toByte } from "./quantize.ts";
import { takeCensus } from "./takeCensus.ts";
import { compareUnits, type UnitBlock } from "./universality.ts";
import { outputRoles, weightStatistics } from "./weightStatistics.ts";

describe("positional information", () => {
  test("an exact indicator of the position holds the whole entropy of the unit", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 19 }), (nOn) => {
        const active = Array.from({ length: 20 }, (_, p) => (p < nOn ? 50 : 0));
        const f = nOn / 20;
        const entropy = -f * Math.log(f) - (1 - f) * Math.log(1 - f);
        const { information } = positionalInformation(active, new Array(20).fill(50));
        expect(information).toBeCloseTo(entropy, 12);
      }),
    );
  });

  test.each([0.5, 0.2, 0.1, 0.03, 0.005])(
    "without information it is 0 within .005, at a rate of %f",
    (rate) => {
      const rng = createRng(4);
      const nDocuments = 10;
      const active = Array.from({ length: 2048 }, () => {
        let count = 0;
        for (let d = 0; d < nDocuments; d++) count += Number(rng.uniform() < rate);
        return count;
      });
      const found = positionalInformation(active, new Array(2048).fill(nDocuments));
      expect(found.millerBias).toBeCloseTo(2047 / (2 * 2048 * nDocuments), 12);
      expect(Math.abs(found.corrected)).toBeLessThan(0.005);
      // As counted it is anything but 0: above the published threshold at common rates.
      if (rate >= 0.1) expect(found.information).toBeGreaterThan(0.05);
    },
  );

  test("silent and always active units hold none; wrong counts are refused", () => {
    expect(positionalInformation([0, 0], [5, 5]).corrected).toBe(0);
    expect(positionalInformation([5, 5], [5, 5]).corrected).toBe(0);
    expect(() => positionalInformation([6], [5])).toThrow(DataError);
    expect(() => positionalInformation([1], [5, 5])).toThrow(ShapeError);
    expect(() => positionalInformation([0], [0])).toThrow(DataError);
  });

  test("circular shifts: a unit of the position stands out, one of the document does not", () => {
    const nDocuments = 40;
    const length = 30;
    const starts = Array.from({ length: nDocuments + 1 }, (_, d) => d * length);
    const place = new Uint8Array(nDocuments * length);
    const document = new Uint8Array(nDocuments * length);
    for (let i = 0; i < place.length; i++) {
      place[i] = Number(i % length < 4);
      document[i] = Number(Math.floor(i / length) % 3 === 0);
    }
    expect(circularShiftP(place, starts)).toBe(0.01);
    expect(circularShiftP(document, starts)).toBe(1);
  });
});

describe("sketches", () => {
  test("quantiles within the stated error, for any values", () => {
    const value = fc.oneof(
      fc.float({ min: -500, max: 500, noNaN: true }),
      fc.constantFrom(0, -0, 1e-6, -1e-6, 1, 1023),
    );
    fc.assert(
      fc.property(
        fc.array(value, { minLength: 1, maxLength: 60 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (list, q) => {
          const values = Float32Array.from(list);
          const counts = new Uint32Array(SKETCH_BUCKETS);
          addToSketch(values, new Uint32Array(values.buffer), counts);
          const sorted = values.slice().sort();
          const exact = sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)]!;
          const found = sketchQuantile(counts, q, sorted[0]!, sorted.at(-1)!);
          const allowed = SKETCH_ERROR.relative * Math.abs(exact) + SKETCH_ERROR.absolute;
          expect(Math.abs(found - exact)).toBeLessThanOrEqual(allowed);
        },
      ),
      { numRuns: 200 },
    );
  });

  test("bytes: zero exact, the rest within half a step, max / 510 where nothing is negative", () => {
    const side = fc.double({ min: 0, max: 100, noNaN: true });
    fc.assert(
      fc.property(side, side, fc.double({ min: 0, max: 1, noNaN: true }), (low, high, at) => {
        const scale = byteScale(-low, high);
        const back = (v: number) => (toByte(v, scale) - scale.zero) * scale.scale;
        expect(back(0)).toBe(0);
        const value = -low + at * (low + high);
        expect(Math.abs(back(value) - value)).toBeLessThanOrEqual(scale.scale / 2 + 1e-9);
        if (low === 0) expect(scale.scale / 2).toBeLessThanOrEqual(high / 510 + 1e-12);
      }),
    );
  });

  test("frequent keys: counts are never too high and too low by at most what is said", () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(fc.integer({ min: 0, max: 300 }), { minLength: 1, maxLength: 400 }), {
          minLength: 1,
          maxLength: 5,
        }),
        (batches) => {
          const hitters = createHeavyHitters(1);
          const exact = new Map<number, number>();
          for (const keys of batches) {
            const batch = new BatchKeys(Float64Array.from(keys));
            batch.addTo(
              hitters,
              0,
              Int32Array.from(keys, (_, i) => i),
              keys.length,
            );
            for (const key of keys) exact.set(key, (exact.get(key) ?? 0) + 1);
          }
          const used = hitters.used[0]!;
          const counts = new Map(
            Array.from(
              hitters.keys.subarray(0, used),
              (key, i) => [key, hitters.counts[i]!] as const,
            ),
          );
          expect(used <= HITTERS && counts.size === used).toBe(true);
          const lost = hitters.lost[0]!;
          for (const [key, count] of exact) {
            const found = counts.get(key) ?? 0;
            expect(found <= count && count <= found + lost).toBe(true);
          }
          const total = [...exact.values()].reduce((a, b) => a + b, 0);
          expect(lost).toBeLessThanOrEqual(total / (HITTERS + 1));
        },
      ),
      { numRuns: 60 },
    );
  });

  test("priorities look uniform", () => {
    const values = Array.from({ length: 20_000 }, (_, i) => mix(i, 7) / 2 ** 32);
    const mean = values.reduce((a, b) => a + b) / values.length;
    expect(Math.abs(mean - 0.5)).toBeLessThan(0.01);
    expect(new Set(values).size).toBe(values.length);
  });
});

describe("comparing models", () => {
  const n = 3000;
  const rng = createRng(8);
  const normal = (nUnits: number) => Float32Array.from({ length: nUnits * n }, () => rng.normal());
  const block = (name: string, data: Float32Array): UnitBlock => ({
    name,
    nUnits: data.length / n,
    nTokens: n,
    read: async () => data,
  });
  const a = normal(200);
  const b = normal(200);
  // Twenty units of b are noisy copies of units of a, in another order.
  const copies = Array.from({ length: 20 }, (_, i) => [3 * i, 199 - 7 * i] as const);
  for (const [from, to] of copies) {
    for (let t = 0; t < n; t++) b[to * n + t] = 0.3 * b[to * n + t]! + a[from * n + t]!;
  }

  test("planted shared units are found by excess over either rotation, and by each other", async () => {
    const halves = [block("0", a.slice(0, 100 * n)), block("1", a.slice(100 * n))];
    const found = await compareUnits(halves, [block("0", b)]);
    for (const excess of [found.orthogonalExcess, found.gaussianExcess]) {
      const universal = Array.from(excess, (value, i) => (value > 0.5 ? i : -1)).filter(
        (i) => i >= 0,
      );
      expect(universal).toEqual(copies.map(([from]) => from));
    }
    expect(copies.every(([from, to]) => found.match[from] === to)).toBe(true);
    const mutual = new Set(found.rosetta.map((pair) => `${pair.a} ${pair.b}`));
    expect(copies.every(([from, to]) => mutual.has(`${from} ${to}`))).toBe(true);
    const exact = pearson(a.subarray(3 * n, 4 * n), b.subarray(192 * n, 193 * n));
    expect(found.correlation[3]).toBeCloseTo(exact, 5);
  });

  test("the baseline is the comparison with a layer that was rotated value by value", async () => {
    const seed = 5;
    const first = createRng(seed, 92);
    const normals = Float64Array.from({ length: 16 }, () => first.normal());
    const { q } = qr(matrix(normals, 4, 4));
    const turned = new Float32Array(4 * n);
    for (let j = 0; j < 4; j++) {
      for (let i = 0; i < 4; i++) {
        // Of unlike sizes, so that it matters that activations themselves are turned.
        for (let t = 0; t < n; t++)
          turned[j * n + t]! += q.data[4 * j + i]! * (i + 1) * b[i * n + t]!;
      }
    }
    const sized = b.slice(0, 4 * n).map((value, i) => (Math.floor(i / n) + 1) * value);
    const few = block("b", sized);
    const own = [block("a", a.slice(0, 10 * n))];
    const { orthogonalBaseline } = await compareUnits(own, [few], { seed });
    const { correlation } = await compareUnits(own, [block("t", turned)]);
    orthogonalBaseline.forEach((r, i) => {
      expect(r).toBeCloseTo(correlation[i]!, 5);
    });
    await expect(compareUnits([few], [{ ...few, nTokens: 5 }])).rejects.toThrow(DataError);
    await expect(
      compareUnits([{ ...few, corpus: "a" }], [{ ...few, corpus: "b" }]),
    ).rejects.toThrow(/got other documents/);
  });
});

describe("partitions", () => {
  const rng = createRng(6);
  const nGroups = 8;
  const nUnits = 96;
  const directions = Array.from({ length: nGroups }, () =>
    Array.from({ length: 20 }, () => rng.normal()),
  );
  const planted = Int32Array.from({ length: nUnits }, (_, u) => (u * 5) % nGroups);
  const rows = matrix(
    Float64Array.from(
      { length: nUnits * 20 },
      (_, i) => directions[planted[Math.floor(i / 20)]!]![i % 20]! + 0.5 * rng.normal(),
    ),
    nUnits,
    20,
  );
  const together = matrix(
    Float64Array.from({ length: nUnits ** 2 }, (_, i) =>
      planted[Math.floor(i / nUnits)] === planted[i % nUnits] ? 10 : 1,
    ),
    nUnits,
    nUnits,
  );

  test("planted blocks come back, equally large, and are modular", async () => {
    const found = await partitionUnits(rows, together, nGroups);
    expect(adjustedRandIndex(found.groups, planted)).toBe(1);
    expect(found.modularity).toBeGreaterThan(0.3);
    expect(Math.abs(found.randomModularity)).toBeLessThan(0.05);
    const uneven = await balancedKMeans(rows, 7);
    const sizes = Array.from({ length: 7 }, (_, g) => uneven.filter((own) => own === g).length);
    expect(sizes.sort().join()).toBe("13,13,14,14,14,14,14");
    await expect(balancedKMeans(rows, 0)).rejects.toThrow(/expected 1 to 96 groups/);
  });

  test("indices by hand", () => {
    expect(adjustedRandIndex([0, 0, 0, 0], [0, 0, 0, 0])).toBe(1);
    // Pairs together: 2 in a, 2 in b, 0 in both of 6: (0 - 2/3) / (2 - 2/3).
    expect(adjustedRandIndex([0, 0, 1, 1], [0, 1, 0, 1])).toBeCloseTo(-0.5, 12);
    expect(modularity(together, new Int32Array(nUnits))).toBeCloseTo(0, 12);
    expect(() => modularity(together, [1])).toThrow(ShapeError);
  });
});

test("facets: a unit of two unrelated words has two, a unit of one has one", async () => {
  const folder = await mkdtemp(join(tmpdir(), "penfield-facets-"));
  const words = Array.from({ length: 80 }, (_, i) => ` w${i}`);
  const rng = createRng(3);
  const documents = Array.from({ length: 200 }, () => ({
    tokens: Array.from({ length: 30 }, () => rng.below(80)),
  }));
  // Words come with company: 7 after 17, 8 after 18.
  for (const { tokens } of documents) {
    for (let i = 1; i < tokens.length; i++)
      if (tokens[i] === 7 || tokens[i] === 8) tokens[i - 1] = tokens[i]! + 10;
  }
  const units = [[7, 8], [7]].map((list) => ({
    name: list.join(),
    active: (w: readonly string[], p: number) => list.some((i) => w[p] === words[i]),
  }));
  const census = await takeCensus(
    plantedSource({ words, units, falseAnswers: 0 }),
    documents,
    join(folder, "c"),
  );
  const two = await facetsOf(census, 0);
  expect(two.facets.map((facet) => facet.words.slice(0, 2).sort().join()).sort()).toEqual([
    "w17,w7",
    "w18,w8",
  ]);
  const one = await facetsOf(census, 1);
  expect(one.facets.length).toBe(1);
  expect(one.facets[0]!.words[0]).toBe("w7");
  // Co-activation by counting.
  const [first, second] = [await census.values(0), await census.values(1)];
  const both = (from: number, to: number) =>
    first.subarray(from, to).filter((value, i) => value > 0 && second[from + i]! > 0).length;
  const all = await coactivation(census, "planted");
  const part = await coactivation(census, "planted", { from: 500, to: 2100 });
  expect(Array.from(all.data)).toEqual([
    first.filter((value) => value > 0).length,
    ...[both(0, first.length), both(0, first.length)],
    second.filter((value) => value > 0).length,
  ]);
  expect(part.data[1]).toBe(both(500, 2100));
  await census.close();
  await rm(folder, { recursive: true });
});

test("weights: the same as a plain loop over the unembedding", async () => {
  const gpt2 = fileURLToPath(new URL("../../../../test/fixtures/gpt2", import.meta.url));
  const model = await HookedModel.fromPretrained(gpt2, { threads: 1, verify: "none" });
  const [, second] = await weightStatistics(model, { nTokens: 3 });
  const [wIn, wOut, wU, norm] = await Promise.all([
    model.weights.get("W_in", 1),
    model.weights.get("W_out", 1),
    model.weights.get("W_U"),
    model.weights.finalNorm(),
  ]);
  const [nUnits, dModel] = wOut.shape as [number, number];
  const nTokens = wU.shape[1]!;
  const unit = 41;
  const own = Array.from(wOut.data.subarray(unit * dModel, (unit + 1) * dModel));
  const read = own.map((_, i) => wIn.data[i * nUnits + unit]!);
  const dot = (x: readonly number[], y: readonly number[]) =>
    x.reduce((s, v, i) => s + v * y[i]!, 0);
  expect(second!.inNorm[unit]).toBeCloseTo(Math.sqrt(dot(read, read)), 5);
  expect(second!.cosInOut[unit]).toBeCloseTo(
    dot(read, own) / Math.sqrt(dot(read, read) * dot(own, own)),
    5,
  );
  const mean = own.reduce((a, b) => a + b) / dModel;
  const written = own.map((v) => v - mean);
  const token = (t: number) => {
    return written.map((_, i) => {
      const row = wU.data.subarray(i * nTokens, (i + 1) * nTokens);
      return norm.weight[i]! * (row[t]! - row.reduce((a, b) => a + b) / nTokens);
    });
  };
  const scores = Array.from({ length: nTokens }, (_, t) => dot(written, token(t)));
  const order = scores.map((_, t) => t).sort((x, y) => scores[y]! - scores[x]!);
  expect(Array.from(second!.topTokens.subarray(unit * 3, unit * 3 + 3))).toEqual(order.slice(0, 3));
  expect(Array.from(second!.bottomTokens.subarray(unit * 3, unit * 3 + 3))).toEqual(
    order.slice(-3).reverse(),
  );
  expect(second!.topScores[unit * 3]).toBeCloseTo(scores[order[0]!]!, 4);
  const cosines = scores.map(
    (s, t) => s / Math.sqrt(dot(written, written) * dot(token(t), token(t))),
  );
  const center = cosines.reduce((a, b) => a + b) / nTokens;
  const moment = (k: number) => cosines.reduce((s, c) => s + (c - center) ** k, 0) / nTokens;
  expect(second!.vocabularyKurtosis[unit]).toBeCloseTo(moment(4) / moment(2) ** 2, 3);
  expect(second!.vocabularySkewness[unit]).toBeCloseTo(moment(3) / moment(2) ** 1.5, 3);
  const roles = outputRoles(
    {
      ...second!,
      vocabularyKurtosis: Float64Array.from({ length: nUnits }, (_, u) => (u < 2 ? 11 : 3)),
      vocabularySkewness: Float64Array.from({ length: nUnits }, (_, u) => (u === 0 ? 1 : -1)),
    },
    2,
  );
  expect(roles.slice(0, 2)).toEqual(["promotes", "suppresses"]);
  await model.dispose();
});

test("families: what a token belongs to", () => {
  const of = (token: string) =>
    tokenFamilies.filter(({ has }) => has(token)).map(({ name }) => name);
  expect(of(" The")).toEqual(["letter-t", "leading-space", "capitalized", "articles"]);
  expect(of("ing")).toContain("ending-ing");
  expect(of("\n")).toEqual(expect.arrayContaining(["white", "newline"]));
  expect(of(" 12")).toContain("digits");
  expect(new Set(tokenFamilies.map(({ name }) => name)).size).toBe(tokenFamilies.length);
  expect(spellingOf(" The")).toBe("the");
});
