// Which heads do induction, and what is lost without them.
import { readFile } from "node:fs/promises";
import { createRng, permutation } from "@penfield/core";
import {
  getActName,
  HookedModel,
  type Intervention,
  inductionScore,
  meanActivation,
  repeatedRandomTokens,
} from "@penfield/hooks";
import {
  estimate,
  headName,
  removal,
  removalCells,
  show,
  silence,
  topHeads,
  zHooks,
} from "./heads.ts";
import { words } from "./prompts.ts";

const LENGTH = 50;

export interface InductionOptions {
  /** Heads to remove. */
  readonly k: number;
  readonly nSequences: number;
  /** Random sets of as many other heads, and as many layer-matched ones. */
  readonly nSets: number;
  readonly bosToken: number;
}

export async function induction(model: HookedModel, options: InductionOptions) {
  const { k, nSequences, nSets, bosToken } = options;
  const { nHeads = 0, dVocab = 0 } = model.cfg;
  const sequences = (seed: number) =>
    repeatedRandomTokens({ length: LENGTH, nSequences, seed, bosToken, vocabularySize: dVocab });
  const { scores } = await inductionScore(model, { length: LENGTH, nSequences, seed: 1, bosToken });
  const shuffled = await scoreAtDistance(model, shuffleSecondHalf(sequences(1)));
  const found = topHeads(scores, nHeads, scores.length).filter(([l, h]) => {
    const i = l * nHeads + h;
    return scores[i]! >= 0.3 && shuffled[i]! < 0.1;
  });
  const top = topHeads(scores, nHeads, k);

  // Other sequences than the heads were chosen on.
  const tokens = sequences(2);
  const reference = await meanActivation(model, sequences(3), zHooks(model), {
    perPosition: false,
  });
  const intact = await halfLosses(model, tokens, []);
  const rise = async (half: keyof Losses, interventions: readonly Intervention[]) =>
    (await halfLosses(model, tokens, interventions))[half].map((v, i) => v - intact[half][i]!);
  const without = async (means: typeof reference | undefined) => ({
    second: await removal(model, top, { nSets, means, effect: (some) => rise("second", some) }),
    first: estimate(await rise("first", silence(top, means))),
  });
  const [zero, average] = [await without(undefined), await without(reference)];
  const [first, second] = [estimate(intact.first), estimate(intact.second)];
  const at = (head: readonly [number, number]) => head[0] * nHeads + head[1];
  return {
    lines: [
      `Induction heads (score >= 0.3, shuffled < 0.1): ${found.length} of ${scores.length}`,
      `Highest scores (shuffled second half): ${top.map((h) => `${headName(h)} ${scores[at(h)]!.toFixed(3)} (${shuffled[at(h)]!.toFixed(3)})`).join(", ")}`,
      `Largest score with the second half shuffled, any head: ${Math.max(...shuffled).toFixed(3)}`,
      `Loss, intact: first half ${show(first)}, second half ${show(second)}`,
      "",
      `| ${k} heads removed | second half rises by | ${nSets} random sets: mean (largest) | layer-matched: mean (largest) | first half rises by |`,
      "|---|---:|---:|---:|---:|",
      `| to zero | ${removalCells(zero.second)} | ${show(zero.first)} |`,
      `| to the mean | ${removalCells(average.second)} | ${show(average.first)} |`,
    ],
    numbers: {
      found: found.map(headName),
      top: top.map((h) => [headName(h), scores[at(h)], shuffled[at(h)]]),
      largestShuffled: Math.max(...shuffled),
      first,
      second,
      zero,
      average,
    },
  };
}

/** The same on common words that are said twice, for models to which random tokens are strange. */
export async function inductionOnWords(
  model: HookedModel,
  { nSequences, bosToken }: { nSequences: number; bosToken: number },
) {
  const rng = createRng(4);
  const ids = words.map((word) => model.requireTokenizer().encode(` ${word}`)[0]!);
  const tokens = Array.from({ length: nSequences }, () => {
    const half = Array.from(permutation(ids.length, rng), (i) => ids[i]!).slice(0, LENGTH);
    return [bosToken, ...half, ...half];
  });
  const { first, second } = await halfLosses(model, tokens, []);
  return {
    largest: Math.max(...(await scoreAtDistance(model, tokens))),
    first: estimate(first),
    second: estimate(second),
  };
}

/** The same measure on a model whose matrices have their entries shuffled: same shape, nothing learnt. */
export async function untrainedInduction(
  path: string,
  options: { config: Record<string, unknown>; nSequences: number; bosToken: number },
): Promise<number> {
  const model = await HookedModel.fromBytes(await readFile(path), {
    name: "shuffled",
    config: options.config,
    untrained: 1,
  });
  try {
    const { scores } = await inductionScore(model, {
      length: LENGTH,
      nSequences: options.nSequences,
      seed: 1,
      bosToken: options.bosToken,
    });
    return Math.max(...scores);
  } finally {
    await model.dispose();
  }
}

interface Losses {
  readonly first: readonly number[];
  readonly second: readonly number[];
}

/** Mean loss in nats of each sequence, by half; the first token of either half is left out. */
async function halfLosses(
  model: HookedModel,
  tokens: readonly (readonly number[])[],
  interventions: readonly Intervention[],
): Promise<Losses> {
  const { tokenLogProbs } = await model.run({
    tokens,
    interventions,
    wired: zHooks(model),
    head: "tokenLogProbs",
  });
  const { data, shape } = tokenLogProbs!;
  const n = shape[1]!;
  const start = n - LENGTH;
  const lossOf = (row: number, from: number, to: number): number => {
    let sum = 0;
    for (let p = from; p < to; p++) sum -= data[row * n + p]!;
    return sum / (to - from);
  };
  return {
    first: tokens.map((_, row) => lossOf(row, n - 2 * LENGTH + 1, start)),
    second: tokens.map((_, row) => lossOf(row, start + 1, n)),
  };
}

function shuffleSecondHalf(tokens: readonly (readonly number[])[]): number[][] {
  const rng = createRng(7);
  return tokens.map((row) => {
    const half = row.slice(-LENGTH);
    return [...row.slice(0, -LENGTH), ...Array.from(permutation(LENGTH, rng), (i) => half[i]!)];
  });
}

/** Attention of the second half to `LENGTH - 1` places before, averaged: what `inductionScore` reads. */
async function scoreAtDistance(
  model: HookedModel,
  tokens: readonly (readonly number[])[],
): Promise<number[]> {
  const hooks = Array.from({ length: model.cfg.nLayers }, (_, layer) =>
    getActName("pattern", layer),
  );
  const { cache } = await model.run({ tokens, capture: hooks, head: "none" });
  return hooks.flatMap((hook) => {
    const { data, shape } = cache.get(hook)!;
    const [nRows, nHeads, n] = shape as [number, number, number];
    return Array.from({ length: nHeads }, (_, head) => {
      let sum = 0;
      for (let row = 0; row < nRows; row++) {
        for (let p = n - LENGTH; p < n; p++) {
          sum += data[((row * nHeads + head) * n + p) * n + p - LENGTH + 1]!;
        }
      }
      return sum / (nRows * LENGTH);
    });
  });
}
