import { fileURLToPath } from "node:url";
import { HookPointError } from "@penfield/core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { HookedModel, type HookValues } from "../index.ts";
import { oneHeadModel } from "./testOneHead.ts";

const fixture = (name: string): string =>
  fileURLToPath(new URL(`../../../../test/fixtures/${name}`, import.meta.url));
const TOKENS = [
  [5, 9, 7, 3, 11],
  [2, 4, 6, 8, 10],
];
const maxDifference = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Array.from(a).reduce((max, v, i) => Math.max(max, Math.abs(v - b[i]!)), 0);

/** z[b, p, h, :] = sum over s of pattern[b, h, p, s] v[b, s, h's group, :], one loop per axis. */
function mix(pattern: HookValues, v: HookValues): Float32Array {
  const [nRows, nHeads, length] = pattern.shape as [number, number, number];
  const [, , nValueHeads, dHead] = v.shape as [number, number, number, number];
  const z = new Float32Array(nRows * length * nHeads * dHead);
  for (let b = 0; b < nRows; b++)
    for (let p = 0; p < length; p++)
      for (let h = 0; h < nHeads; h++)
        for (let d = 0; d < dHead; d++) {
          const group = Math.floor(h / (nHeads / nValueHeads));
          let sum = 0;
          for (let s = 0; s < length; s++)
            sum +=
              pattern.data[((b * nHeads + h) * length + p) * length + s]! *
              v.data[((b * length + s) * nValueHeads + group) * dHead + d]!;
          z[((b * length + p) * nHeads + h) * dHead + d] = sum;
        }
  return z;
}

describe.each(["gpt2", "llama", "neox", "gemma2"])(
  "queries, keys, values, patterns: %s",
  (name) => {
    let model: HookedModel;
    beforeAll(async () => {
      model = await HookedModel.fromPretrained(fixture(name), { threads: 1, verify: "none" });
    });
    afterAll(() => model.dispose());

    test("have TransformerLens' axes; keys and values as many heads as the model has of them", async () => {
      const { cache } = await model.runWithCache(TOKENS, { namesFilter: "blocks.0.attn.hook_*" });
      const { nHeads, nKeyValueHeads, dHead } = model.cfg;
      const shape = (kind: string) => cache.get(`blocks.0.attn.hook_${kind}`)!.shape;
      expect(shape("q")).toEqual([2, 5, nHeads, dHead]);
      expect(shape("k")).toEqual([2, 5, nKeyValueHeads, dHead]);
      expect(shape("v")).toEqual([2, 5, nKeyValueHeads, dHead]);
      expect(shape("pattern")).toEqual([2, nHeads, 5, 5]);
      expect(model.hookPoint("blocks.1.attn.v.hook_out").axes).toEqual([
        ...["batch", "pos", "head_index", "d_head"],
      ]);
    });

    test("z = pattern @ v", async () => {
      const { cache } = await model.runWithCache(TOKENS, { namesFilter: "blocks.*.attn.hook_*" });
      for (const layer of [0, 1]) {
        const at = (kind: string) => cache.get(`blocks.${layer}.attn.hook_${kind}`)!;
        expect(maxDifference(mix(at("pattern"), at("v")), at("z").data)).toBeLessThan(1e-5);
      }
    });

    test("silencing a head's pattern is silencing its z; a row takes another row's pattern", async () => {
      const hook = (kind: string) => `blocks.0.attn.hook_${kind}`;
      const zero = { type: "zero" } as const;
      const a = await model.runWithInterventions(TOKENS, [
        { hook: hook("pattern"), op: zero, heads: [1] },
      ]);
      const b = await model.runWithInterventions(TOKENS, [
        { hook: hook("z"), op: zero, heads: [1] },
      ]);
      expect(maxDifference(a.data, b.data)).toBeLessThan(1e-6);
      const capture = [hook("pattern")];
      const clean = await model.run({ tokens: TOKENS, capture });
      const patched = await model.run({
        tokens: TOKENS,
        capture,
        interventions: [
          {
            hook: hook("pattern"),
            op: { type: "patch", source: [0, 0] },
            heads: [2],
            positions: [3],
          },
        ],
      });
      const before = clean.cache.get(hook("pattern"))!;
      const after = patched.cache.get(hook("pattern"))!;
      const [, nHeads, length] = before.shape as [number, number, number];
      const want = before.data.slice();
      const from = (row: number) => ((row * nHeads + 2) * length + 3) * length;
      want.set(before.data.subarray(from(0), from(0) + length), from(1));
      expect(after.data).toEqual(want);
    });

    test("a source is taken out of one head's sight with units", async () => {
      const hook = "blocks.1.attn.hook_pattern";
      const { cache } = await model.run({
        tokens: TOKENS,
        capture: [hook],
        interventions: [{ hook, op: { type: "zero" }, heads: [0], units: [1], rows: [1] }],
      });
      const plain = (await model.run({ tokens: TOKENS, capture: [hook] })).cache.get(hook)!;
      const { data, shape } = cache.get(hook)!;
      const [, nHeads, length] = shape as [number, number, number];
      const want = plain.data.map((v, i) => {
        const [source, head, row] = [i % length, Math.floor(i / length ** 2) % nHeads, i];
        return source === 1 && head === 0 && row >= nHeads * length ** 2 ? 0 : v;
      });
      expect(data).toEqual(want);
    });

    test("changing queries, keys or values at one head changes what comes after, and only there", async () => {
      for (const kind of ["q", "k", "v"]) {
        const hook = `blocks.1.attn.hook_${kind}`;
        const z = "blocks.1.attn.hook_z";
        const interventions = [
          { hook, op: { type: "scale", factor: -2 }, heads: [0], positions: [2], rows: [1] },
        ] as const;
        const plain = (await model.run({ tokens: TOKENS, capture: [z] })).cache.get(z)!;
        const { cache } = await model.run({ tokens: TOKENS, capture: [z], interventions });
        const changed = new Set<string>();
        const { nHeads = 0, dHead = 0, nKeyValueHeads = 0 } = model.cfg;
        cache.get(z)!.data.forEach((v, i) => {
          if (v === plain.data[i]) return;
          const head = Math.floor(i / dHead) % nHeads;
          const position = Math.floor(i / (nHeads * dHead)) % 5;
          changed.add(`${Math.floor(i / (nHeads * dHead * 5))} ${position} ${head}`);
        });
        const group =
          kind === "q" ? [0] : Array.from({ length: nHeads / nKeyValueHeads }, (_, h) => h);
        const positions = kind === "q" ? [2] : [2, 3, 4];
        const want = positions.flatMap((p) => group.map((h) => `1 ${p} ${h}`));
        expect([...changed].sort(), kind).toEqual(want.sort());
      }
    });
  },
);

describe("GPT-2: no rotation stands between queries and scores", () => {
  test("scores = q k / sqrt(d_head) where the source is not later", async () => {
    const model = await HookedModel.fromPretrained(fixture("gpt2"), { threads: 1, verify: "none" });
    const { cache } = await model.runWithCache(TOKENS, { namesFilter: "blocks.0.attn.hook_*" });
    const [q, k, scores] = ["q", "k", "attn_scores"].map(
      (kind) => cache.get(`blocks.0.attn.hook_${kind}`)!,
    ) as [HookValues, HookValues, HookValues];
    const [, length, nHeads, dHead] = q.shape as [number, number, number, number];
    for (let h = 0; h < nHeads; h++)
      for (let p = 0; p < length; p++)
        for (let s = 0; s <= p; s++) {
          let dot = 0;
          for (let d = 0; d < dHead; d++)
            dot += q.data[(p * nHeads + h) * dHead + d]! * k.data[(s * nHeads + h) * dHead + d]!;
          const want = dot / Math.sqrt(dHead);
          const got = scores.data[(h * length + p) * length + s]!;
          expect(Math.abs(got - want)).toBeLessThan(1e-5 * Math.max(1, Math.abs(want)));
        }
    await model.dispose();
  });

  test("places outside a head, and starting at a hook with heads, are refused", async () => {
    const model = await HookedModel.fromPretrained(fixture("gpt2"), { threads: 1, verify: "none" });
    const hook = "blocks.0.attn.hook_q";
    const lesion = (more: object) =>
      model.runWithInterventions(TOKENS, [{ hook, op: { type: "zero" }, ...more }]);
    await expect(lesion({ heads: [3] })).rejects.toThrow(/heads within 0..2, got 3/);
    await expect(lesion({ units: [8] })).rejects.toThrow(/units within 0..7, got 8/);
    const values = (await model.run({ tokens: TOKENS, capture: [hook] })).cache.get(hook)!;
    await expect(model.run({ tokens: TOKENS, from: { hook, values } })).rejects.toThrow(
      /expected a hook point with axes batch, pos and units/,
    );
    await model.dispose();
  });
});

test("attention without an axis of heads: patterns are read only, and say why", async () => {
  const model = await HookedModel.fromBytes(oneHeadModel(12), { threads: 1 });
  expect(model.listHooks("*.attn.hook_q")).toEqual([]);
  const lesion = model.runWithInterventions(TOKENS, [
    { hook: "blocks.0.attn.hook_pattern", op: { type: "zero" } },
  ]);
  await expect(lesion).rejects.toThrow(HookPointError);
  await expect(lesion).rejects.toThrow(/expected a writable hook point, .*axes of their own/);
  await model.dispose();
});
