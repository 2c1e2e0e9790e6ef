import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { DataError, InterruptedError, TokenizerError } from "@penfield/core";
import { createTokenizer, HookedModel, wordLevelTokenizer } from "@penfield/hooks";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readUnits, type UnitKind, unitHook, unitKinds } from "./index.ts";
import { batchesByLength } from "./readUnits.ts";

const fixture = (file: string): Buffer =>
  readFileSync(fileURLToPath(new URL(`../../../test/fixtures/gpt2/${file}`, import.meta.url)));
const vocabulary = ["<s>", ...Array.from({ length: 90 }, (_, i) => `w${i}`)];
const tokenizer = createTokenizer(wordLevelTokenizer(vocabulary), { bos_token: "<s>" });
const text = (n: number, from: number): string =>
  Array.from({ length: n }, (_, i) => `w${(from + 7 * i) % 90}`).join(" ");
const texts = [text(5, 1), text(1, 2), text(9, 3), text(5, 4), text(2, 5), text(14, 6)];

let model: HookedModel;
beforeAll(async () => {
  model = await HookedModel.fromBytes(fixture("model.onnx"), {
    config: JSON.parse(fixture("config.json").toString()),
    tokenizer,
    verify: "none",
    threads: 1,
  });
});
afterAll(() => model.dispose());

/** Each text in a run of its own, pooled in float64. */
async function naive(
  list: readonly string[],
  units: UnitKind,
  pooling: "last-token" | "mean",
  encoding: { maxTokens?: number; prependBos?: boolean } = {},
): Promise<number[]> {
  const result: number[] = [];
  for (const one of list) {
    const ids = tokenizer.encode(one, encoding);
    const names = Array.from({ length: model.cfg.nLayers }, (_, layer) => unitHook(units, layer));
    const { cache } = await model.run({ tokens: [ids], capture: names, head: "none" });
    for (const name of names) {
      const { data, shape } = cache.get(name)!;
      const width = shape[2]!;
      const perToken = ids.map((_, pos) => {
        const values = Array.from(data.subarray(pos * width, (pos + 1) * width));
        if (units !== "heads") return values;
        const size = width / model.cfg.nHeads!;
        return Array.from({ length: model.cfg.nHeads! }, (_, h) =>
          Math.hypot(...values.slice(h * size, (h + 1) * size)),
        );
      });
      const chosen = pooling === "mean" ? perToken : perToken.slice(-1);
      result.push(
        ...perToken[0]!.map((_, u) => chosen.reduce((sum, v) => sum + v[u]!, 0) / chosen.length),
      );
    }
  }
  return result;
}
const worst = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  expect(a.length).toBe(b.length);
  let max = 0;
  for (let i = 0; i < a.length; i++) max = Math.max(max, Math.abs(a[i]! - b[i]!));
  return max;
};
// Values are of order 1; rows of a batch may be multiplied in another order than a row alone.
const TOLERANCE = 1e-6;

describe("readUnits", () => {
  test.each(
    unitKinds.flatMap((units) => (["last-token", "mean"] as const).map((p) => [units, p] as const)),
  )("%s, %s: equals each text run alone", async (units, pooling) => {
    const { data, shape, axes } = await readUnits(model, texts, {
      units,
      pooling,
      batchTokens: 20,
    });
    expect(axes).toEqual(["stimulus", "layer", "unit"]);
    const nUnits = { resid: 24, mlp: model.cfg.dMlp!, heads: 3 }[units];
    expect(shape).toEqual([texts.length, 2, nUnits]);
    expect(worst(data, await naive(texts, units, pooling))).toBeLessThan(TOLERANCE);
  });

  test("by default: the residual stream at the last token", async () => {
    const plain = await readUnits(model, texts);
    const said = await readUnits(model, texts, { units: "resid", pooling: "last-token" });
    expect(plain.data).toEqual(said.data);
  });

  test("only the first tokens, with or without the beginning-of-text token", async () => {
    for (const encoding of [
      { maxTokens: 3 },
      { prependBos: true },
      { prependBos: true, maxTokens: 3 },
    ]) {
      const { data } = await readUnits(model, texts, encoding);
      expect(worst(data, await naive(texts, "resid", "last-token", encoding))).toBeLessThan(
        TOLERANCE,
      );
    }
    // A text of one token is at its limit already.
    const short = await readUnits(model, [texts[1]!], { maxTokens: 1 });
    expect(short.data).toEqual((await readUnits(model, [texts[1]!])).data);
  });

  test("neither the order of the texts nor the size of batches matters", async () => {
    const { data } = await readUnits(model, texts);
    const size = data.length / texts.length;
    const order = [4, 2, 5, 0, 3, 1];
    for (const batchTokens of [1, 15, 4096]) {
      const other = await readUnits(
        model,
        order.map((i) => texts[i]!),
        { batchTokens },
      );
      order.forEach((i, place) => {
        const one = data.subarray(i * size, (i + 1) * size);
        expect(
          worst(one, other.data.subarray(place * size, (place + 1) * size)),
        ).toBeLessThanOrEqual(TOLERANCE);
      });
    }
  });

  test("progress counts texts", async () => {
    const seen: number[] = [];
    await readUnits(model, texts, { batchTokens: 12, onProgress: ({ done }) => seen.push(done) });
    expect(seen.at(-1)).toBe(texts.length);
    expect(seen.length).toBeGreaterThan(2);
  });

  test("texts that cannot be read are named, unless a limit shortens them", async () => {
    const long = readUnits(model, ["w1", text(33, 1)]);
    await expect(long).rejects.toThrow(DataError);
    await expect(long).rejects.toThrow(/expected 1 to 32 tokens, got 33 for "w1 w8 w15/);
    expect((await readUnits(model, [text(33, 1)], { maxTokens: 12 })).shape[0]).toBe(1);
    await expect(readUnits(model, ["w1", ""])).rejects.toThrow(/got 0 for ""/);
    await expect(readUnits(model, ["w1"], { maxTokens: 0 })).rejects.toThrow(DataError);
  });

  test("an interruption, and a model without a tokenizer", async () => {
    const stopped = readUnits(model, texts, { signal: AbortSignal.abort() });
    await expect(stopped).rejects.toThrow(InterruptedError);
    const bare = await HookedModel.fromBytes(fixture("model.onnx"), { verify: "none" });
    await expect(readUnits(bare, texts)).rejects.toThrow(TokenizerError);
    await bare.dispose();
  });
});

describe("batchesByLength", () => {
  test("by hand", () => {
    const rows = [3, 1, 3, 2, 9].map((n) => Array<number>(n).fill(0));
    expect(batchesByLength(rows, 6)).toEqual([[1, 3], [0, 2], [4]]);
    expect(batchesByLength(rows, 1)).toEqual([[1], [3], [0], [2], [4]]);
    expect(batchesByLength([], 6)).toEqual([]);
  });

  test("every row is in one batch, and no batch of several is larger than allowed", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 20 }), { maxLength: 30 }),
        fc.integer({ min: 1, max: 100 }),
        (lengths, most) => {
          const rows = lengths.map((n) => Array<number>(n).fill(0));
          const batches = batchesByLength(rows, most);
          expect(batches.flat().sort((a, b) => a - b)).toEqual(lengths.map((_, i) => i));
          for (const batch of batches) {
            const longest = Math.max(...batch.map((i) => lengths[i]!));
            if (batch.length > 1) expect(batch.length * longest).toBeLessThanOrEqual(most);
          }
        },
      ),
    );
  });
});
