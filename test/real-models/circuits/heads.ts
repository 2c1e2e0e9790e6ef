// Sets of heads: naming them, drawing others at random, silencing them.
import { createRng, sampleWithoutReplacement } from "@penfield/core";
import {
  getActName,
  type HookedModel,
  type Intervention,
  type MeanActivation,
} from "@penfield/hooks";

/** Layer and place in it. */
export type Head = readonly [layer: number, head: number];

export const headName = ([layer, head]: Head): string => `L${layer}H${head}`;

/** The `k` heads with the highest scores, best first; `scores` is [nLayers, nHeads]. */
export function topHeads(scores: ArrayLike<number>, nHeads: number, k: number): Head[] {
  return Array.from(scores, (score, i) => ({ score, i }))
    .sort((a, b) => b.score - a.score)
    .slice(0, k)
    .map(({ i }) => [Math.floor(i / nHeads), i % nHeads]);
}

/** `n` heads (as many as `heads`), none of them among these; `matched`: as many in each layer. */
export function otherHeads(
  model: HookedModel,
  heads: readonly Head[],
  { seed, matched = false, n = heads.length }: { seed: number; matched?: boolean; n?: number },
): Head[] {
  const { nLayers, nHeads = 0 } = model.cfg;
  const rng = createRng(seed);
  const taken = new Set(heads.map(headName));
  const free = Array.from(
    { length: nLayers * nHeads },
    (_, i): Head => [Math.floor(i / nHeads), i % nHeads],
  ).filter((head) => !taken.has(headName(head)));
  const draw = (from: readonly Head[], k: number): Head[] =>
    Array.from(sampleWithoutReplacement(from.length, k, rng), (i) => from[i]!);
  if (!matched) return draw(free, n);
  return [...new Set(heads.map(([layer]) => layer))].flatMap((layer) =>
    draw(
      free.filter((head) => head[0] === layer),
      heads.filter((head) => head[0] === layer).length,
    ),
  );
}

export const zHooks = (model: HookedModel): string[] =>
  Array.from({ length: model.cfg.nLayers }, (_, layer) => getActName("z", layer));

/** Sets what heads write to zero, or to means (by position if they are). */
export function silence(
  heads: readonly Head[],
  means?: ReadonlyMap<string, MeanActivation>,
): Intervention[] {
  const layers = [...new Set(heads.map(([layer]) => layer))];
  return layers.flatMap((layer): Intervention[] => {
    const hook = getActName("z", layer);
    const place = {
      hook,
      heads: heads.filter((head) => head[0] === layer).map(([, head]) => head),
    };
    const average = means?.get(hook);
    if (!average) return [{ ...place, op: { type: "zero" } }];
    const { values, shape } = average;
    if (shape.length === 1) return [{ ...place, op: { type: "mean", values } }];
    const [length, width] = shape as [number, number];
    return Array.from({ length }, (_, p) => ({
      ...place,
      positions: [p],
      op: { type: "mean" as const, values: values.subarray(p * width, (p + 1) * width) },
    }));
  });
}

/** A mean with its 95 % bootstrap interval. */
export interface Estimate {
  readonly mean: number;
  readonly low: number;
  readonly high: number;
}

export const mean = (values: ArrayLike<number>): number => {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]!;
  return sum / values.length;
};

/** The mean of some prompts' values, its interval over the prompts (percentiles of 2000 bootstrap draws). */
export function estimate(values: ArrayLike<number>): Estimate {
  const rng = createRng(0);
  const n = values.length;
  const draws = Float64Array.from({ length: 2000 }, () =>
    mean(Float64Array.from({ length: n }, () => values[rng.below(n)]!)),
  ).sort();
  return { mean: mean(values), low: draws[50]!, high: draws[1949]! };
}

export const show = ({ mean, low, high }: Estimate, digits = 2): string =>
  `${mean.toFixed(digits)} [${low.toFixed(digits)}, ${high.toFixed(digits)}]`;

/** What an experiment says: lines of Markdown to read, and the numbers to keep. */
export interface Findings {
  readonly lines: readonly string[];
  readonly numbers: object;
}

/** A chosen set of heads beside random ones: by how much silencing it changes a value. */
export interface Removal {
  readonly own: Estimate;
  readonly random: { readonly mean: number; readonly max: number };
  /** As many heads in each layer as the chosen set has. */
  readonly matched: { readonly mean: number; readonly max: number };
}

export const spread = (values: readonly number[]) => ({
  mean: mean(values),
  max: Math.max(...values),
});

/**
 * Silences some heads, then `nSets` random sets of as many others, and as many layer-matched ones.
 *
 * @param effect - What the interventions do, one value per prompt.
 */
export async function removal(
  model: HookedModel,
  heads: readonly Head[],
  options: {
    nSets: number;
    means: ReadonlyMap<string, MeanActivation> | undefined;
    effect: (interventions: readonly Intervention[]) => Promise<readonly number[]>;
  },
): Promise<Removal> {
  const { nSets, means, effect } = options;
  const of = (some: readonly Head[]) => effect(silence(some, means));
  const own = estimate(await of(heads));
  const [random, matched]: [number[], number[]] = [[], []];
  for (let seed = 0; seed < nSets; seed++) {
    random.push(mean(await of(otherHeads(model, heads, { seed }))));
    matched.push(mean(await of(otherHeads(model, heads, { seed, matched: true }))));
  }
  return { own, random: spread(random), matched: spread(matched) };
}

/** Cells of a table: own effect, then both kinds of random sets. */
export const removalCells = ({ own, random, matched }: Removal): string =>
  `${show(own)} | ${random.mean.toFixed(2)} (${random.max.toFixed(2)}) | ${matched.mean.toFixed(2)} (${matched.max.toFixed(2)})`;
