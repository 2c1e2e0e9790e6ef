import { mkdtemp, readdir, readFile, rm, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  createRng,
  DataError,
  FileError,
  FormatError,
  InterruptedError,
  sha256,
} from "@penfield/core";
import { HookedModel } from "@penfield/hooks";
import { mean } from "@penfield/stats";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openCensus } from "./census.ts";
import { classifyUnits } from "./classify.ts";
import { type PlantedUnit, plantedSource } from "./planted.ts";
import { modelSource, type UnitSource } from "./source.ts";
import { type CensusDocument, takeCensus } from "./takeCensus.ts";

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "penfield-census-"));
});
afterEach(() => rm(root, { recursive: true, force: true }));

/** Values drawn by place, so that every document has its own: 3 + 4 units at two hooks. */
const randomSource = (over: Partial<UnitSource> = {}): UnitSource => ({
  name: "random",
  sha256: "0",
  hooks: [
    { name: "blocks.0.mlp.hook_post", layer: 0, nUnits: 3 },
    { name: "blocks.1.mlp.hook_post", layer: 1, nUnits: 4 },
  ],
  vocabularySize: 12,
  maxTokens: 40,
  read: async (documents) =>
    [3, 4].map((nUnits, h) => {
      const parts = documents.map((tokens) => {
        const rng = createRng(tokens.reduce((a, b) => (a * 31 + b) % 1e9, h));
        return Array.from({ length: tokens.length * nUnits }, (_, i) =>
          i % nUnits === 1 ? Math.max(0, rng.normal()) : 5 * rng.normal() + 1,
        );
      });
      return Float32Array.from(parts.flat());
    }),
  ...over,
});

const randomDocuments = (n: number, seed = 1): CensusDocument[] => {
  const rng = createRng(seed);
  return Array.from({ length: n }, () => ({
    tokens: Array.from({ length: 1 + rng.below(40) }, () => rng.below(12)),
  }));
};

const hashes = async (folder: string) =>
  Object.fromEntries(
    await Promise.all(
      (await readdir(folder)).sort().map(async (name) => {
        return [name, sha256(await readFile(join(folder, name)))] as const;
      }),
    ),
  );

/** All values of a source, `[unit][token]`, documents one after the other. */
const columnsOf = async (source: UnitSource, documents: readonly CensusDocument[]) => {
  const blocks = await source.read(documents.map(({ tokens }) => tokens));
  return source.hooks.flatMap(({ nUnits }, h) =>
    Array.from({ length: nUnits }, (_, u) =>
      Array.from(blocks[h]!.filter((_, i) => i % nUnits === u)),
    ),
  );
};

describe("what is counted", () => {
  const documents = randomDocuments(200);
  const source = randomSource();

  test("statistics equal those of all values at once", async () => {
    const census = await takeCensus(source, documents, join(root, "c"), { batchTokens: 200 });
    const columns = await columnsOf(source, documents);
    expect(census.meta.nTokens).toBe(columns[0]!.length);
    for (const [unit, values] of columns.entries()) {
      const n = values.length;
      const m = mean(values);
      const power = (k: number) => values.reduce((sum, v) => sum + (v - m) ** k, 0) / n;
      const active = values.filter((v) => v > 0);
      const found = await census.statistics(unit);
      // float32 columns: 24 bits.
      const near = (value: number, expected: number) =>
        expect(Math.abs(value - expected)).toBeLessThan(1e-6 * Math.max(1, Math.abs(expected)));
      near(found.mean, m);
      near(found.variance, power(2));
      near(found.skewness, power(3) / power(2) ** 1.5);
      near(found.kurtosis, power(4) / power(2) ** 2);
      expect(found.min).toBe(values.reduce((a, b) => Math.min(a, b)));
      expect(found.max).toBe(values.reduce((a, b) => Math.max(a, b)));
      near(found.frequency, active.length / n);
      near(found.meanActive, mean(active));
      near(found.meanAbs, mean(values.map(Math.abs)));
      expect((await census.activeCounts())[unit]).toBe(active.length);
      const sorted = Float64Array.from(values).sort();
      const { relative, absolute } = census.meta.quantileError;
      for (const level of [0.01, 0.25, 0.5, 0.9, 0.99] as const) {
        const exact = sorted[Math.max(0, Math.ceil(level * n) - 1)]!;
        const error = Math.abs(found[`q${level}`] - exact);
        expect(error).toBeLessThanOrEqual(relative * Math.abs(exact) + absolute);
      }
      const bars = new Array(256).fill(0);
      for (const v of values) bars[Math.min(255, Math.max(0, Math.floor(((v + 10) * 256) / 25)))]++;
      expect(Array.from(await census.histogram(unit))).toEqual(bars);
    }
    await census.close();
  });

  test("tokens, pairs, triples, positions", async () => {
    const census = await takeCensus(source, documents, join(root, "c"), { batchTokens: 300 });
    const unit = 4;
    const values = (await columnsOf(source, documents))[unit]!;
    const wanted: Record<string, Map<string, number>> = {};
    const positions = new Array(census.meta.nPositionBins).fill(0);
    let at = 0;
    for (const { tokens } of documents) {
      for (const [i, token] of tokens.entries()) {
        if (values[at++]! <= 0) continue;
        positions[Math.floor(i / census.meta.positionsPerBin)]++;
        const add = (kind: string, key: (number | undefined)[]) => {
          if (key.includes(undefined)) return;
          wanted[kind] ??= new Map();
          wanted[kind].set(key.join(), (wanted[kind].get(key.join()) ?? 0) + 1);
        };
        add("token", [token]);
        add("previous", [tokens[i - 1]]);
        add("bigram", [tokens[i - 1], token]);
        add("trigram", [tokens[i - 2], tokens[i - 1], token]);
      }
    }
    for (const kind of ["token", "previous"] as const) {
      const { ngrams, lost } = await census.ngrams(unit, kind);
      expect(lost).toBe(0);
      expect(Object.fromEntries(ngrams.map((n) => [n.tokens.join(), n.count]))).toEqual(
        Object.fromEntries(wanted[kind]!),
      );
    }
    for (const kind of ["bigram", "trigram"] as const) {
      const { ngrams, lost } = await census.ngrams(unit, kind);
      expect(lost).toBeGreaterThan(0);
      const counts = new Map(ngrams.map((n) => [n.tokens.join(), n.count]));
      for (const [key, exact] of wanted[kind]!) {
        const count = counts.get(key) ?? 0;
        expect(count <= exact && exact <= count + lost, `${kind} ${key}`).toBe(true);
      }
    }
    expect(Array.from((await census.positions(unit)).nActive)).toEqual(positions);
    await census.close();
  });

  test("contexts: the best of each document, a sample, near misses, random places", async () => {
    const census = await takeCensus(source, documents, join(root, "c"), { batchTokens: 300 });
    const starts = await census.documentStarts();
    for (const unit of [1, 4]) {
      const values = (await columnsOf(source, documents))[unit]!;
      const best = documents
        .map((_, d) => Math.max(...values.slice(starts[d]!, starts[d + 1]!)))
        .filter((v) => v > 0)
        .sort((a, b) => b - a);
      const { top, sampled, nearMiss, random } = await census.contexts(unit);
      expect(top.map(({ value }) => value)).toEqual(best.slice(0, 20));
      expect([sampled.length, random.length]).toEqual([50, 10]);
      for (const { start, peak, value, values: own, error } of [...top, ...sampled, ...random]) {
        expect(value).toBe(values[start + peak]);
        own.forEach((v, i) => {
          const exact = values[start + i]!;
          expect(Math.abs(v - exact)).toBeLessThanOrEqual(error * (1 + 1e-6));
          if (exact === 0) expect(v).toBe(0);
        });
        if (unit === 1) expect(error).toBeLessThanOrEqual((Math.max(...own) / 510) * (1 + 1e-6));
        const document = starts.findLastIndex((s) => s <= start);
        expect(start + own.length).toBeLessThanOrEqual(starts[document + 1]!);
      }
      // Quantile bins: equally many, higher bins higher.
      const perBin = [0, 1, 2, 3, 4].map((b) => sampled.filter(({ bin }) => bin === b));
      for (const bin of perBin) expect(bin.length).toBe(10);
      for (let b = 1; b < 5; b++) {
        expect(Math.min(...perBin[b]!.map((c) => c.value))).toBeGreaterThanOrEqual(
          Math.max(...perBin[b - 1]!.map((c) => c.value)),
        );
      }
      expect(nearMiss.length).toBe(10);
      expect(nearMiss.every(({ value }) => value <= 0)).toBe(true);
    }
    await census.close();
  });

  test("kept values: all documents, or a share of them", async () => {
    const columns = await columnsOf(source, documents);
    const whole = await takeCensus(source, documents, join(root, "c"), { batchTokens: 300 });
    const part = await takeCensus(source, documents, join(root, "d"), { keepShare: 0.5 });
    expect(whole.meta.nKeptTokens).toBe(whole.meta.nTokens);
    // The batches of the two are unlike; the documents are the same.
    expect(whole.meta.corpusSha256).toBe(part.meta.corpusSha256);
    const share = part.meta.nKeptTokens / part.meta.nTokens;
    expect(share > 0.35 && share < 0.65).toBe(true);
    for (const census of [whole, part]) {
      const { places, positions, documents: of } = await census.keptTokens();
      const starts = await census.documentStarts();
      for (const unit of [1, 5]) {
        const values = await census.values(unit);
        const wrong = values.findIndex((v, i) => {
          const exact = columns[unit]![places[i]!]!;
          const misplaced = starts[of[i]!]! + positions[i]! !== places[i];
          return misplaced || Math.abs(v - exact) > 0.15 || v > 0 !== exact > 0;
        });
        expect(wrong).toBe(-1);
        const block = await census.block(unit, 1, { from: 7, to: 90 });
        expect(block).toEqual(values.slice(7, 90));
      }
      await census.close();
    }
  });

  test("a beginning-of-text token is left out, and only there", async () => {
    const marked = randomSource({ bosId: 0 });
    const census = await takeCensus(marked, [{ tokens: [0, 3, 0, 5] }], join(root, "c"));
    expect(Array.from(await census.tokens())).toEqual([3, 0, 5]);
    const values = (await columnsOf(marked, [{ tokens: [0, 3, 0, 5] }]))[2]!;
    expect((await census.statistics(2)).min).toBe(Math.min(...values.slice(1)));
    await census.close();
  });
});

describe("stopping and going on", () => {
  const documents = randomDocuments(120, 3);
  const options = { batchTokens: 100, checkpointDocuments: 10, keepShare: 0.5 };

  test("the same bytes after a stop at any place, from an iterable", async () => {
    await (await takeCensus(randomSource(), documents, join(root, "whole"), options)).close();
    const expected = await hashes(join(root, "whole"));
    for (const stopAfter of [0, 11, 12, 13]) {
      const folder = join(root, `stop-${stopAfter}`);
      let nRuns = 0;
      const failing = randomSource();
      const stopped = randomSource({
        read: (d) => {
          if (nRuns++ > stopAfter) throw new Error("killed");
          return failing.read(d);
        },
      });
      await expect(takeCensus(stopped, documents, folder, options)).rejects.toThrow("killed");
      async function* oneByOne() {
        yield* documents;
      }
      const census = await takeCensus(randomSource(), oneByOne(), folder, {
        ...options,
        resume: true,
      });
      expect(await hashes(folder)).toEqual(expected);
      await census.close();
      // Once more, and nothing is done: the source would fail.
      const finished = await takeCensus(stopped, documents, folder, { ...options, resume: true });
      expect(finished.nUnits).toBe(7);
      await finished.close();
    }
  });

  test("an abort keeps the last checkpoint; other documents or options are refused", async () => {
    const folder = join(root, "c");
    const stop = new AbortController();
    const onProgress = ({ done }: { done: number }) => {
      if (done > 60) stop.abort();
    };
    const aborted = takeCensus(randomSource(), documents, folder, {
      ...options,
      onProgress,
      signal: stop.signal,
    });
    await expect(aborted).rejects.toThrow(InterruptedError);
    await expect(openCensus(folder)).rejects.toThrow(FileError);
    await expect(takeCensus(randomSource(), documents, folder, options)).rejects.toThrow(
      /expected no such folder/,
    );
    const again = { ...options, resume: true };
    await expect(
      takeCensus(randomSource(), documents, folder, { ...again, seed: 9 }),
    ).rejects.toThrow(/expected a census of this model and these options/);
    const others = [{ tokens: [1] }, ...documents.slice(1)];
    await expect(takeCensus(randomSource(), others, folder, again)).rejects.toThrow(
      /expected the documents that the census was begun with/,
    );
    await expect(takeCensus(randomSource(), documents.slice(0, 5), folder, again)).rejects.toThrow(
      /expected the \d+ documents of the checkpoint/,
    );
    await (await takeCensus(randomSource(), documents, folder, again)).close();
  });
});

describe("errors", () => {
  const take = (documents: CensusDocument[], source = randomSource(), options = {}) =>
    takeCensus(source, documents, join(root, "c"), options);

  test("documents and values; the folder is free for another try", async () => {
    await expect(take([])).rejects.toThrow(DataError);
    await expect(take([{ id: "x", tokens: [] }])).rejects.toThrow(/x: expected 1 to 40 tokens/);
    await expect(take([{ tokens: [12] }])).rejects.toThrow(/expected tokens within 0..11, got 12/);
    const long = { tokens: new Array(100).fill(1) };
    await expect(take([long])).rejects.toThrow(/expected 1 to 40 tokens, got 100/);
    const census = await take([long], randomSource(), { longDocuments: "split" });
    expect(await census.documentIds()).toEqual(["0#0", "0#1", "0#2"]);
    await census.close();
    await rm(join(root, "c"), { recursive: true });
    const broken = randomSource({
      read: async () => [new Float32Array(3).fill(Number.NaN), new Float32Array(4)],
    });
    await expect(take([{ tokens: [1] }], broken)).rejects.toThrow(
      /expected finite values, got NaN/,
    );
  });

  test("files", async () => {
    const census = await take([{ tokens: [1, 2, 3] }]);
    await expect(census.values(7)).rejects.toThrow(/expected a unit within 0..6/);
    await census.close();
    await truncate(join(root, "c", "histogram.u32"), 100);
    await expect(openCensus(join(root, "c"))).rejects.toThrow(FormatError);
  });
});

describe("planted units", () => {
  const words = Array.from({ length: 60 }, (_, i) => `${"abcdefghij"[i % 10]}${i}`);
  const units: PlantedUnit[] = [
    { name: "dead", active: { noise: 0 } },
    ...Array.from(
      { length: 4 },
      (_, i): PlantedUnit => ({
        name: "token-detector",
        active: (w, p) => [words[i], words[i + 20]].includes(w[p]!),
      }),
    ),
    ...Array.from(
      { length: 4 },
      (_, i): PlantedUnit => ({
        name: "previous-token-detector",
        active: (w, p) => w[p - 1] === words[3 * i],
      }),
    ),
    ...Array.from(
      { length: 4 },
      (_, i): PlantedUnit => ({
        name: "bigram-detector",
        active: (w, p) => w[p - 1] === words[i] && w[p] === words[i + 1],
      }),
    ),
    ...[2, 10, 20].map(
      (from): PlantedUnit => ({ name: "positional", active: (_, p) => p >= from && p < from + 6 }),
    ),
    ...["a", "e", "g"].map(
      (letter): PlantedUnit => ({
        name: "alphabet-family",
        active: (w, p) => w[p]!.startsWith(letter),
      }),
    ),
    ...[0.02, 0.1, 0.3].map((noise): PlantedUnit => ({ name: "none", active: { noise } })),
  ];

  test("are sorted as planted", async () => {
    const rng = createRng(5);
    // Words come in pairs more often than by chance, so that there are pairs to detect.
    const documents = Array.from({ length: 700 }, () => {
      const tokens: number[] = [];
      for (let i = 0; i < 40; i++) {
        const last = tokens.at(-1);
        tokens.push(
          last !== undefined && last < 10 && rng.uniform() < 0.4 ? last + 1 : rng.below(60),
        );
      }
      return { tokens };
    });
    const source = plantedSource({ words, units, misses: 0.02, falseAnswers: 0.0002 });
    const census = await takeCensus(source, documents, join(root, "c"));
    const found = await classifyUnits(census);
    expect(found.map(({ primary = "none" }) => primary)).toEqual(units.map(({ name }) => name));
    expect(found[1]!.coverage.token!.covered.map(({ tokens }) => tokens[0]).sort()).toEqual([
      0, 20,
    ]);
    expect(
      found.filter(({ types }) => types.includes("dormant")).map(({ unit }) => unit),
    ).toContain(0);
    await census.close();
  }, 20_000);
});

test("a real model: neurons and heads, as the model itself gives them", async () => {
  const gpt2 = fileURLToPath(new URL("../../../../test/fixtures/gpt2", import.meta.url));
  const model = await HookedModel.fromPretrained(gpt2, { threads: 1, verify: "none" });
  const rng = createRng(2);
  const documents = Array.from({ length: 30 }, () => ({
    tokens: Array.from({ length: 2 + rng.below(20) }, () => rng.below(96)),
  }));
  const source = modelSource(model, { hooks: ["blocks.*.mlp.hook_post", "blocks.1.attn.hook_z"] });
  expect(source.hooks.map(({ nUnits }) => nUnits)).toEqual(expect.arrayContaining([96, 96, 3]));
  const census = await takeCensus(source, documents, join(root, "c"));
  const { cache } = await model.run({
    tokens: [documents[4]!.tokens],
    capture: ["blocks.1.attn.hook_z", "blocks.0.mlp.hook_post"],
  });
  const starts = await census.documentStarts();
  const row = starts[4]! + 1;
  const head = await census.values(census.unitAt("blocks.1.attn.hook_z", 2));
  const z = cache.get("blocks.1.attn.hook_z")!.data.subarray(24 + 16, 24 + 24);
  const bos = source.bosId === documents[4]!.tokens[0] ? 1 : 0;
  expect(bos).toBe(0);
  expect(head[row]).toBeCloseTo(Math.hypot(...z), 2);
  const neuron = await census.values(census.unitAt("blocks.0.mlp.hook_post", 17));
  expect(neuron[row]).toBeCloseTo(cache.get("blocks.0.mlp.hook_post")!.data[96 + 17]!, 2);
  expect(() => modelSource(model, { hooks: "blocks.0.attn.hook_pattern" })).toThrow(/axes/);
  expect(() => modelSource(model, { hooks: "nothing" })).toThrow(/expected a hook point, got none/);
  await census.close();
  await model.dispose();
});
