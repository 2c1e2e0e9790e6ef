import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { createRng } from "@penfield/core";
import { CENSUS_VERSION, censusFiles, unitColumns } from "@penfield/localize/census-reader";

const VOCABULARY = 32_000;
const N_DOCUMENTS = 4000;
const DOCUMENT = 250;
const BARS = 256;
const POSITION_BINS = 128;
const NGRAMS = 64;
const CONTEXTS = { top: 20, sampled: 50, nearMiss: 10, random: 10 };
const CONTEXT_BYTES = 48;
const UNITS_PER_LAYER = 4000;
/** Units written at once. */
const BLOCK = 500;

const consonants = "bcdfghklmnprstvz";
const vowels = "aeiou";

/** A made-up word for a token: what readers search for. */
export function wordOf(token: number): string {
  let word = token % 3 === 0 ? "" : " ";
  for (let rest = token + 300; rest > 0; rest = Math.floor(rest / 80)) {
    word += consonants[rest % 16]! + vowels[Math.floor(rest / 16) % 5]!;
  }
  return word;
}

/**
 * Writes the files of a census of so many units, in the sizes that a real one has: contexts, n-grams, histograms, positions, and all four
 * kinds of notes. Values are drawn at random: it is for measuring a viewer, and says nothing of any model.
 */
export function writeSyntheticCensus(folder: string, nUnits: number): void {
  mkdirSync(folder, { recursive: true });
  const rng = createRng(11);
  const nTokens = N_DOCUMENTS * DOCUMENT;
  const path = (name: keyof typeof censusFiles): string => join(folder, censusFiles[name]);
  const write = (name: keyof typeof censusFiles, data: NodeJS.ArrayBufferView | string): void =>
    writeFileSync(path(name), data);
  const tokens = Uint32Array.from({ length: nTokens }, () =>
    Math.floor(rng.uniform() ** 3 * VOCABULARY),
  );
  write("tokens", tokens);
  write(
    "starts",
    Uint32Array.from({ length: N_DOCUMENTS + 1 }, (_, d) => d * DOCUMENT),
  );
  write(
    "documents",
    Array.from({ length: N_DOCUMENTS }, (_, d) => `{"id":"document-${d}"}\n`).join(""),
  );
  write("kept", new Uint32Array(0));
  write("segments", new Uint32Array(0));
  write("values", new Uint8Array(0));
  write("scales", new Float32Array(0));
  write(
    "vocabulary",
    JSON.stringify(Array.from({ length: VOCABULARY }, (_, token) => wordOf(token))),
  );
  const counts = new Uint32Array(VOCABULARY);
  for (const token of tokens) counts[token]!++;
  write("tokenCounts", counts);
  write("previousCounts", counts);
  write("positionTokens", new Float64Array(POSITION_BINS).fill(nTokens / POSITION_BINS));
  write(
    "units",
    Float32Array.from({ length: unitColumns.length * nUnits }, (_, i) => {
      const name = unitColumns[Math.floor(i / nUnits)]!;
      const draw = rng.uniform();
      if (name === "frequency" || name === "hoyer" || name === "documentShare") return draw ** 3;
      return name === "max" ? 1 + 8 * draw : name === "min" ? -draw : 5 * draw;
    }),
  );
  write(
    "active",
    Float64Array.from({ length: nUnits }, () => 100 + rng.below(100_000)),
  );

  const perUnit = Object.values(CONTEXTS).reduce((sum, n) => sum + n, 0);
  const open = (name: keyof typeof censusFiles): number => openSync(path(name), "w");
  const names = [
    "histogram",
    "positionActive",
    "positionMean",
    "ngramKeys",
    "ngramCounts",
    "ngramLost",
    "contexts",
  ] as const;
  const handles = Object.fromEntries(names.map((name) => [name, open(name)])) as Record<
    (typeof names)[number],
    number
  >;
  const notes = Object.fromEntries(
    (["descriptions", "classes", "weights", "neighbours"] as const).map((kind) => [
      kind,
      openSync(join(folder, `${kind}.jsonl`), "w"),
    ]),
  ) as Record<"descriptions" | "classes" | "weights" | "neighbours", number>;
  for (let first = 0; first < nUnits; first += BLOCK) {
    const n = Math.min(BLOCK, nUnits - first);
    writeSync(
      handles.histogram,
      Uint32Array.from({ length: n * BARS }, (_, i) =>
        Math.floor(1e5 * Math.exp(-(((i % BARS) - 100) ** 2) / 800)),
      ),
    );
    writeSync(
      handles.positionActive,
      Uint32Array.from({ length: n * POSITION_BINS }, () => rng.below(2000)),
    );
    writeSync(
      handles.positionMean,
      Float32Array.from({ length: n * POSITION_BINS }, () => rng.uniform()),
    );
    writeSync(
      handles.ngramKeys,
      Float64Array.from({ length: n * 3 * NGRAMS }, (_, i) => {
        const token = Math.floor(rng.uniform() ** 2 * VOCABULARY);
        return Math.floor(i / NGRAMS) % 3 === 2 ? token * VOCABULARY + token : token;
      }),
    );
    writeSync(
      handles.ngramCounts,
      Uint32Array.from({ length: n * 3 * NGRAMS }, (_, i) => 2000 - 20 * (i % NGRAMS)),
    );
    writeSync(handles.ngramLost, new Uint32Array(3 * n));
    const contexts = new Uint8Array(n * perUnit * CONTEXT_BYTES);
    const view = new DataView(contexts.buffer);
    for (let c = 0; c < n * perUnit; c++) {
      const at = c * CONTEXT_BYTES;
      const kind = c % perUnit;
      view.setUint32(at, rng.below(N_DOCUMENTS) * DOCUMENT + rng.below(DOCUMENT - 32), true);
      view.setFloat32(at + 4, 9 - kind / 20, true);
      view.setFloat32(at + 8, 0.03, true);
      contexts[at + 13] = 21;
      contexts[at + 14] = 32;
      contexts[at + 15] = kind >= 20 && kind < 70 ? 4 - Math.floor((kind - 20) / 10) : 0;
      // Dense units: half of the tokens are marked, which is what makes pages large.
      for (let i = 0; i < 32; i++) contexts[at + 16 + i] = rng.uniform() < 0.5 ? rng.below(255) : 0;
      contexts[at + 16 + 21] = 250;
    }
    writeSync(handles.contexts, contexts);
    const lines = { descriptions: "", classes: "", weights: "", neighbours: "" };
    for (let unit = first; unit < first + n; unit++) {
      const [a, b, c] = [0, 1, 2].map(() =>
        wordOf(Math.floor(rng.uniform() ** 2 * VOCABULARY)).trim(),
      ) as [string, string, string];
      const r = rng.uniform();
      const place = {
        unit,
        hook: `blocks.${Math.floor(unit / UNITS_PER_LAYER)}.mlp.hook_post`,
        index: unit % UNITS_PER_LAYER,
      };
      const places = Array.from({ length: 5 }, () => ({
        document: rng.below(N_DOCUMENTS),
        position: rng.below(DOCUMENT),
      }));
      lines.descriptions += `${JSON.stringify({
        ...place,
        sentence:
          r < 0.3
            ? "no reliable description"
            : `active on '${a}' or '${b}', but not in documents with '${c}'`,
        ...(r < 0.3 && { refusal: "held-out correlation below the limit" }),
        rule: {
          type: "and",
          rules: [
            { type: "word", offset: 0, words: [a, b] },
            { type: "not", rule: { type: "topic", words: [c], atLeast: 1 } },
          ],
        },
        r,
        scores: {
          r,
          rLow: r - 0.1,
          rHigh: r + 0.1,
          r2: r ** 2,
          precision: 0.9,
          recall: 0.3,
          f1: 0.45,
          detectionAuroc: 0.7,
          fuzzingAuroc: 0.7,
          specificityRank: 1,
          nCompared: 99,
          falsePositives: places,
          falseNegatives: places,
          nTokens: 6713,
          nActive: 503,
          nRule: 137,
        },
        otherRuleR: 0.05,
      })}\n`;
      const type = (["token-detector", "positional", "dead", "unigram-family"] as const)[
        rng.below(12)
      ];
      const empty = { covered: [], share: 0 };
      lines.classes += `${JSON.stringify({ unit, types: type ? [type] : [], ...(type && { primary: type }), nActive: 500, frequency: 0.01, dormancy: 1, hoyer: 0.5, coverage: { token: empty, previous: empty, bigram: empty }, families: Array.from({ length: 5 }, () => ({ kind: "unigram", name: a, offset: 0, varianceReduction: 0.1234567890123, higher: true })), more: "x".repeat(1000) })}\n`;
      const list = Array.from({ length: 10 }, () => [rng.below(VOCABULARY), 0.123456789]);
      lines.weights += `${JSON.stringify({ unit, inNorm: 1, outNorm: 1, cosInOut: 0, vocabularyVariance: 0.01, vocabularySkewness: 0.1, vocabularyKurtosis: 3, role: null, top: list, bottom: list })}\n`;
      lines.neighbours += `${JSON.stringify({ unit, neighbours: Array.from({ length: 5 }, () => ({ by: "activation", unit: rng.below(nUnits), r: 0.5 })) })}\n`;
    }
    for (const [kind, text] of Object.entries(lines))
      writeSync(notes[kind as keyof typeof notes], text);
  }
  for (const handle of [...Object.values(handles), ...Object.values(notes)]) closeSync(handle);
  writeFileSync(
    join(folder, "meta.json"),
    JSON.stringify({
      ...{ format: "penfield-census", version: CENSUS_VERSION },
      model: { name: "synthetic", sha256: "0".repeat(64) },
      hooks: Array.from({ length: Math.ceil(nUnits / UNITS_PER_LAYER) }, (_, layer) => ({
        name: `blocks.${layer}.mlp.hook_post`,
        layer,
        nUnits: Math.min(UNITS_PER_LAYER, nUnits - layer * UNITS_PER_LAYER),
        firstUnit: layer * UNITS_PER_LAYER,
        threshold: 0,
        histogram: [-10, 15],
      })),
      ...{ nUnits, nDocuments: N_DOCUMENTS, nTokens, nKeptTokens: 0, corpusSha256: "0".repeat(64) },
      ...{ vocabularySize: VOCABULARY, columns: unitColumns, histogramBars: BARS },
      ...{ nPositionBins: POSITION_BINS, positionsPerBin: 2, contexts: CONTEXTS },
      ...{ contextBytes: CONTEXT_BYTES, window: 32, nBins: 5 },
      ...{ ngramKinds: ["token", "previous", "bigram"], ngramsPerKind: NGRAMS },
      ...{ quantileError: { relative: 1 / 32, absolute: 1e-4 }, seed: 0, keepShare: 0 },
      ...{ batchTokens: 4096, activeMeans: "value > threshold" },
    }),
  );
}
