import { createRng, InterruptedError } from "@penfield/core";
import { createLinalg } from "@penfield/linalg";
import { afterAll, describe, expect, test } from "vitest";
import { compareGroups } from "./compareGroups.ts";
import { bootstrapCrossValidation } from "./crossValidate.ts";
import { bootstrapModels, dualBootstrap } from "./evaluate.ts";
import type { Evaluation } from "./evaluation.ts";
import { callKey, keptNumbers, type PartStore } from "./kept.ts";
import { fixedModels, type RdmModel } from "./models.ts";
import { noiseCeilingTest, rdmPermutationTest } from "./permutationTest.ts";
import { type Rdms, rdms } from "./rdms.ts";

const linalg = createLinalg({ threads: 1 });
afterAll(() => linalg.dispose());

const random = (nRdms: number, n: number, seed: number): Rdms => {
  const rng = createRng(seed);
  return rdms(
    Array.from({ length: nRdms }, () =>
      Float64Array.from({ length: (n * (n - 1)) / 2 }, () => rng.uniform()),
    ),
  );
};
const data = random(5, 9, 1);
const layers = random(3, 9, 2);
const models = fixedModels(layers);
const mixture: RdmModel = { name: "mixture", kind: "weighted", rdms: layers };

/** A store as of files: what is put is text. */
function store(): PartStore & { readonly parts: Map<string, string>; found: number } {
  const parts = new Map<string, string>();
  return {
    parts,
    found: 0,
    async getJson(key) {
      const text = parts.get(key);
      if (text !== undefined) this.found++;
      return text === undefined ? undefined : JSON.parse(text);
    },
    async putJson(key, value) {
      parts.set(key, JSON.stringify(value));
    },
  };
}

const works: readonly (readonly [
  string,
  (options: {
    keep?: PartStore;
    signal?: AbortSignal;
    onProgress?: () => void;
    seed?: number;
  }) => Promise<unknown>,
])[] = [
  ["bootstrapModels", (o) => bootstrapModels(models, data, { ...o, linalg, nDraws: 200 })],
  [
    "bootstrapModels by whitened correlation",
    (o) =>
      bootstrapModels(models, data, {
        ...o,
        linalg,
        nDraws: 200,
        method: "whitened-pearson",
        over: "conditions",
      }),
  ],
  [
    "dualBootstrap",
    (o) => dualBootstrap(models, data, { ...o, linalg, nDraws: 100, method: "rho-a" }),
  ],
  [
    "bootstrapCrossValidation",
    (o) => bootstrapCrossValidation([...models, mixture], data, { ...o, linalg, nDraws: 12 }),
  ],
  ["rdmPermutationTest", (o) => rdmPermutationTest(layers, data, { ...o, linalg, nDraws: 200 })],
  [
    "rdmPermutationTest by Bures",
    (o) => rdmPermutationTest(layers, data, { ...o, linalg, nDraws: 130, method: "bures" }),
  ],
  ["noiseCeilingTest", (o) => noiseCeilingTest(data, { ...o, linalg, nDraws: 130 })],
  [
    "compareGroups",
    (o) =>
      compareGroups(models, data, random(4, 9, 8), {
        ...o,
        linalg,
        nDraws: 130,
        overConditions: true,
      }),
  ],
];

/** Bits, so that NaN counts too. */
const bits = (result: unknown): string =>
  JSON.stringify(result, (_, value: unknown) =>
    value instanceof Float64Array ? Buffer.from(value.buffer).toString("hex") : value,
  );

describe.each(works)("%s", (_, work) => {
  test("stopped halfway and called again it goes on, to the same bits", async () => {
    const whole = bits(await work({}));
    const keep = store();
    const stop = new AbortController();
    let calls = 0;
    const halfway = work({
      keep,
      signal: stop.signal,
      onProgress: () => {
        if (++calls === 2) stop.abort();
      },
    });
    await expect(halfway).rejects.toThrow(InterruptedError);
    const done = keep.parts.size;
    expect(done).toBeGreaterThan(0);
    expect(bits(await work({ keep }))).toBe(whole);
    expect(keep.found).toBe(done);
    expect(keep.parts.size).toBeGreaterThan(done);
    // Another seed is another call: it finds nothing.
    const { found } = keep;
    expect(bits(await work({ keep, seed: 5 }))).not.toBe(whole);
    expect(keep.found).toBe(found);
  });
});

test("parts of other data, or cut off, are not taken", async () => {
  const keep = store();
  const whole = bits(await bootstrapModels(models, data, { linalg, nDraws: 20, keep }));
  const other = (await bootstrapModels(models, random(5, 9, 7), {
    linalg,
    nDraws: 20,
    keep,
  })) as Evaluation;
  expect([keep.found, bits(other) === whole]).toEqual([0, false]);
  for (const key of keep.parts.keys()) keep.parts.set(key, JSON.stringify("AAAA"));
  expect(bits(await bootstrapModels(models, data, { linalg, nDraws: 20, keep }))).toBe(whole);
});

test("numbers are kept bit by bit; keys tell inputs apart", async () => {
  const keep = store();
  const odd = Float64Array.of(Number.NaN, -0, Infinity, 5e-324, 0.1);
  await keptNumbers(keep, "a", 5, async () => odd);
  const again = await keptNumbers(keep, "a", 5, async () => {
    throw new Error("computed again");
  });
  expect(Buffer.from(again.buffer)).toEqual(Buffer.from(odd.buffer));
  const keys = [
    callKey("a", [[1, 2]]),
    callKey("b", [[1, 2]]),
    callKey("a", [[1], [2]]),
    callKey("a", [Float64Array.of(1, 2)]),
    callKey("a", [Float64Array.of(1, 3)]),
    callKey("a", [Number.NaN]),
    callKey("a", [Number.POSITIVE_INFINITY]),
    callKey("a", [{ x: Float64Array.of(1, 2) }]),
  ];
  expect(new Set(keys).size).toBe(keys.length);
});
