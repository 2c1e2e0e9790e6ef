// "copy: k d q a =" -> " k d q a": does the trained copying task use induction, where random tokens do not show it?
import { crc32 } from "node:zlib";
import { createRng, permutation, sampleWithoutReplacement } from "@penfield/core";
import { getActName, type HookedModel, type Intervention, meanActivation } from "@penfield/hooks";
import {
  estimate,
  type Head,
  headName,
  mean,
  removal,
  removalCells,
  show,
  topHeads,
  zHooks,
} from "./heads.ts";

const LETTERS = "abcdefghijklmnopqrstuvwxyz";
/** Letters to copy; in the row they stand from `START`, said again from `START + N + 1` (after "="). */
const N = 8;
const START = 3;

export async function copying(
  model: HookedModel,
  { n, nSets, bosToken, k }: { n: number; nSets: number; bosToken: number; k: number },
) {
  const { nHeads = 0 } = model.cfg;
  const [search, test] = [items(model, n, 1, bosToken), items(model, n, 2, bosToken)];
  const scores = await attendsTo(model, search.copied, (i) => i + 1);
  const top = topHeads(scores, nHeads, k);
  // Said again in another order: the letter after the same letter (content) or at the same distance (position)?
  const content = await attendsTo(model, search.shuffled, (i, row) => search.orders[row]![i]! + 1);
  const position = await attendsTo(model, search.shuffled, (i) => i + 1);
  const at = (scores: readonly number[], [layer, head]: Head) => scores[layer * nHeads + head]!;

  const intact = await copyLosses(model, test.copied, []);
  const reference = await meanActivation(model, search.shuffled, zHooks(model), {
    perPosition: true,
  });
  const effect = async (interventions: readonly Intervention[]) =>
    (await copyLosses(model, test.copied, interventions)).map((v, i) => v - intact[i]!);
  const zero = await removal(model, top, { nSets, means: undefined, effect });
  const average = await removal(model, top, { nSets, means: reference, effect });
  return {
    lines: [
      `${n} strings of ${N} letters; loss on the copied letters ${show(estimate(intact), 3)}`,
      "",
      "| head | attention to the letter to come | said again in another order: after the same letter | at the same distance |",
      "|---|---:|---:|---:|",
      ...top.map(
        (h) =>
          `| ${headName(h)} | ${at(scores, h).toFixed(3)} | ${at(content, h).toFixed(3)} | ${at(position, h).toFixed(3)} |`,
      ),
      "",
      `| ${k} heads removed | loss on the copy rises by | ${nSets} random sets: mean (largest) | layer-matched: mean (largest) |`,
      "|---|---:|---:|---:|",
      `| to zero | ${removalCells(zero)} |`,
      `| to the mean | ${removalCells(average)} |`,
    ],
    numbers: {
      intact: estimate(intact),
      top: top.map((h) => ({
        head: headName(h),
        attention: at(scores, h),
        content: at(content, h),
        distance: at(position, h),
      })),
      largestContent: Math.max(...content),
      zero,
      average,
    },
  };
}

interface Items {
  readonly copied: readonly (readonly number[])[];
  /** The same with the second part in another order. */
  readonly shuffled: readonly (readonly number[])[];
  readonly orders: readonly Int32Array[];
}

function items(model: HookedModel, n: number, seed: number, bosToken: number): Items {
  const tokenizer = model.requireTokenizer();
  const rng = createRng(seed);
  const strings: string[][] = [];
  while (strings.length < n) {
    const letters = Array.from(
      sampleWithoutReplacement(LETTERS.length, N, rng),
      (i) => LETTERS[i]!,
    );
    const string = Array.from(permutation(N, rng), (i) => letters[i]!);
    // Left out of the organisms' training.
    if (crc32(`copy ${string.join(" ")}`) % 8 === 0) strings.push(string);
  }
  const orders = strings.map(() => permutation(N, rng));
  const encode = (first: readonly string[], second: readonly string[]): number[] => [
    bosToken,
    ...tokenizer.encode(`copy: ${first.join(" ")} = ${second.join(" ")}`),
  ];
  const copied = strings.map((s) => encode(s, s));
  if (copied.some((row) => row.length !== START + 2 * N + 1))
    throw new Error(`copying: unexpected tokens ${tokenizer.toStrTokens(copied[0]!)}`);
  return {
    copied,
    shuffled: strings.map((s, i) =>
      encode(
        s,
        Array.from(orders[i]!, (j) => s[j]!),
      ),
    ),
    orders,
  };
}

/** Attention from the i-th letter said again to the place `to(i)` of the string, averaged where that exists. */
async function attendsTo(
  model: HookedModel,
  tokens: readonly (readonly number[])[],
  to: (i: number, row: number) => number,
): Promise<number[]> {
  const hooks = Array.from({ length: model.cfg.nLayers }, (_, layer) =>
    getActName("pattern", layer),
  );
  const { cache } = await model.run({ tokens, capture: hooks, head: "none" });
  return hooks.flatMap((hook) => {
    const { data, shape } = cache.get(hook)!;
    const [nRows, nHeads, n] = shape as [number, number, number];
    return Array.from({ length: nHeads }, (_, head) => {
      const seen: number[] = [];
      for (let row = 0; row < nRows; row++) {
        for (let i = 0; i < N; i++) {
          const place = to(i, row);
          if (place < N)
            seen.push(data[((row * nHeads + head) * n + START + N + 1 + i) * n + START + place]!);
        }
      }
      return mean(seen);
    });
  });
}

async function copyLosses(
  model: HookedModel,
  tokens: readonly (readonly number[])[],
  interventions: readonly Intervention[],
): Promise<number[]> {
  const { tokenLogProbs } = await model.run({
    tokens,
    interventions,
    wired: zHooks(model),
    head: "tokenLogProbs",
  });
  const { data, shape } = tokenLogProbs!;
  const n = shape[1]!;
  return tokens.map((_, row) => -mean(data.subarray(row * n + n - N, (row + 1) * n)));
}
