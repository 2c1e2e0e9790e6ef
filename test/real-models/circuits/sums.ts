// "23+45=": which heads and MLPs carry the first digit of the sum.
import { crc32 } from "node:zlib";
import { createRng } from "@penfield/core";
import {
  genericActivationPatch,
  getActPatchAttnHeadOutAllPos,
  getActPatchMlpOut,
  getActPatchResidPre,
  type HookedModel,
  type Metric,
  prob,
} from "@penfield/hooks";
import { headName, topHeads } from "./heads.ts";

export async function sums(model: HookedModel, { n, bosToken }: { n: number; bosToken: number }) {
  const tokenizer = model.requireTokenizer();
  const rng = createRng(1);
  const seen = new Set<string>();
  /** Two-digit operands with a two-digit sum, left out of the organisms' training. */
  const draw = (): { text: string; sum: number } => {
    for (;;) {
      const [a, b] = [10 + rng.below(80), 10 + rng.below(80)];
      const text = `${a}+${b}=`;
      const key = `+${Math.min(a, b)},${Math.max(a, b)}`;
      if (a + b > 99 || seen.has(text) || crc32(key) % 8 !== 0) continue;
      seen.add(text);
      return { text, sum: a + b };
    }
  };
  const pairs = Array.from({ length: n }, () => {
    const clean = draw();
    let corrupted = draw();
    while (Math.floor(corrupted.sum / 10) === Math.floor(clean.sum / 10)) corrupted = draw();
    return { clean, corrupted };
  });
  const encode = (text: string): number[] => [bosToken, ...tokenizer.encode(text)];
  const digit = (sum: number): number => tokenizer.encode(`0=${String(sum)[0]}`).at(-1)!;
  const right = prob({ tokens: pairs.map(({ clean }) => digit(clean.sum)) });
  const wrong = prob({ tokens: pairs.map(({ corrupted }) => digit(corrupted.sum)) });
  const metric: Metric = (logits, rows) => {
    const other = wrong(logits, rows);
    return right(logits, rows).map((p, i) => p - other[i]!);
  };
  const options = {
    clean: pairs.map(({ clean }) => encode(clean.text)),
    corrupted: pairs.map(({ corrupted }) => encode(corrupted.text)),
    metric,
  };
  const heads = await getActPatchAttnHeadOutAllPos(model, options);
  const mlps = await genericActivationPatch(model, {
    ...options,
    activation: "mlp_out",
    axes: ["layer"],
  });
  const mlpPlaces = await getActPatchMlpOut(model, options);
  const streams = await getActPatchResidPre(model, options);
  const length = streams.shape[1]!;
  const words = tokenizer
    .toStrTokens(options.clean[0]!)
    .map((word, i) => ["start", "a1", "a2", "+", "b1", "b2", "="][i] ?? word);
  const { nHeads = 0, nLayers } = model.cfg;
  const best = topHeads(heads.normalized, nHeads, 5);
  const row = (values: ArrayLike<number>, l: number): string =>
    Array.from({ length }, (_, p) => values[l * length + p]!.toFixed(2)).join(" | ");
  return {
    lines: [
      `${n} pairs of sums; difference of probabilities: clean ${heads.clean.toFixed(3)}, corrupted ${heads.corrupted.toFixed(3)}`,
      `Heads that restore most: ${best.map((h) => `${headName(h)} ${heads.normalized[h[0] * nHeads + h[1]]!.toFixed(2)}`).join(", ")}`,
      `MLPs at all positions: ${[...mlps.normalized].map((v, l) => `${l}: ${v.toFixed(2)}`).join(", ")}`,
      "",
      `| residual stream before block | ${words.join(" | ")} |`,
      `|---|${"---:|".repeat(length)}`,
      ...Array.from({ length: nLayers }, (_, l) => `| ${l} | ${row(streams.normalized, l)} |`),
      "",
      `| MLP | ${words.join(" | ")} |`,
      `|---|${"---:|".repeat(length)}`,
      ...Array.from({ length: nLayers }, (_, l) => `| ${l} | ${row(mlpPlaces.normalized, l)} |`),
    ],
    numbers: {
      clean: heads.clean,
      corrupted: heads.corrupted,
      heads: best.map((h) => [headName(h), heads.normalized[h[0] * nHeads + h[1]]]),
      mlps: [...mlps.normalized],
      streams: [...streams.normalized],
    },
  };
}
