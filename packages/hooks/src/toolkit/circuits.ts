import { ArgumentError, createRng, type Rng, sampleWithoutReplacement } from "@penfield/core";
import type { HookedModel } from "../transformer/model.ts";
import type { Circuit } from "./circuitFile.ts";
import { type CircuitOptions, Knockouts, type Lesion } from "./knockouts.ts";

/** Options of measures over subsets of a circuit's nodes. */
export interface SubsetOptions extends CircuitOptions {
  /** Random subsets, each node in with probability 1/2; default 10. */
  readonly nSubsets?: number | undefined;
  /** Default 0. */
  readonly seed?: number | undefined;
}

/** How far a circuit alone does what the model does. */
export interface Faithfulness {
  /** F(M): nothing is knocked out. */
  readonly model: number;
  /** F(C): all but the circuit is. */
  readonly circuit: number;
  /** F(∅): everything is. */
  readonly empty: number;
  /** |F(M) - F(C)|. */
  readonly gap: number;
  /** (F(C) - F(∅)) / (F(M) - F(∅)): 0 is the empty circuit, 1 the model. */
  readonly normalized: number;
}

/**
 * Faithfulness: what is left of the model's behaviour if everything outside the circuit is knocked out.
 *
 *   gap = |F(M) - F(C)|,   normalized = (F(C) - F(∅)) / (F(M) - F(∅))
 *
 * @throws {DataError} if the circuit belongs to another model file, has no nodes and no `hooks` are given,
 *   or prompts and reference do not fit.
 * @throws {HookPointError} for hooks that do not exist, cannot be written, or have no axis of units.
 * @throws {ArgumentError} for heads, units or positions that do not exist.
 * @throws {InterruptedError} if the signal fires.
 *
 * Cost: 3 rows per prompt (with `resample` 4), and the reference set once.
 * Source: Wang et al. (2022), arXiv 2211.00593, section 4; the normalised form: Hanna et al. (2024),
 * arXiv 2403.17806; Marks et al. (2024), arXiv 2403.19647.
 *
 * @example
 * const model = await HookedModel.fromPretrained("test/fixtures/gpt2");
 * const heads = [0, 1, 2].map((head) => ({ hook: "blocks.1.attn.hook_z", head }));
 * const { gap, normalized } = await faithfulness(model, circuitOf(model, heads), {
 *   tokens: [[5, 9, 7, 3], [6, 9, 7, 3]],
 *   metric: logitDiff({ tokens: 11, incorrectTokens: 12 }),
 *   hooks: ["blocks.1.attn.hook_z"],
 * });
 * [gap, normalized] // => [0, 1]
 * await model.dispose();
 */
export async function faithfulness(
  model: HookedModel,
  circuit: Circuit,
  options: CircuitOptions,
): Promise<Faithfulness> {
  const knockouts = await Knockouts.open(model, circuit, options, "faithfulness");
  const all = knockouts.all;
  const [whole, own, empty] = (await knockouts.measure([
    { kind: "remove", nodes: [] },
    { kind: "keep", nodes: all },
    { kind: "keep", nodes: [] },
  ])) as [number, number, number];
  return {
    model: whole,
    circuit: own,
    empty,
    gap: Math.abs(whole - own),
    normalized: (own - empty) / (whole - empty) + 0,
  };
}

/** One subset K of a circuit's nodes, and what is left without it. */
export interface CompletenessSubset {
  readonly kind: "empty" | "random" | "greedy";
  /** K, as places in the circuit's `nodes`. */
  readonly nodes: readonly number[];
  /** F(C \ K). */
  readonly circuit: number;
  /** F(M \ K). */
  readonly model: number;
  /** |F(C \ K) - F(M \ K)|. */
  readonly gap: number;
}

/**
 * Completeness: a circuit that has all parts falls as the model falls, whichever of its nodes K are
 * taken from both.
 *
 *   gap(K) = |F(C \ K) - F(M \ K)|
 *
 * K is empty, random, and built greedily: at each step the node that makes the gap largest is added.
 * The largest gap found is a lower bound of the true maximum over all subsets.
 *
 * @param options.greedySteps - Default 10, or as many as there are nodes.
 * @param options.nCandidates - Nodes tried at each greedy step, drawn at random; default all that are left.
 * @returns All subsets in the order in which they were tried, and the largest gap.
 * @throws as `faithfulness`.
 *
 * Cost: 2 nPrompts (1 + nSubsets + greedySteps nCandidates) rows.
 * Source: Wang et al. (2022), arXiv 2211.00593, section 4.
 */
export async function completeness(
  model: HookedModel,
  circuit: Circuit,
  options: SubsetOptions & {
    readonly greedySteps?: number | undefined;
    readonly nCandidates?: number | undefined;
  },
): Promise<{ readonly subsets: readonly CompletenessSubset[]; readonly maxGap: number }> {
  const name = "completeness";
  const n = circuit.nodes.length;
  const { nSubsets = 10, seed = 0, nCandidates = Math.max(1, n), onProgress } = options;
  const { greedySteps = Math.min(10, n) } = options;
  checkCounts({ nSubsets, greedySteps }, 0, name);
  checkCounts({ nCandidates }, 1, name);
  const rng = createRng(seed);
  const knockouts = await Knockouts.open(model, circuit, options, name);
  const random = Array.from({ length: nSubsets }, () => randomSubset(n, rng));
  const steps = Math.min(greedySteps, n);
  const triesAt = (step: number): number => Math.min(nCandidates, n - step);
  const total =
    1 + nSubsets + Array.from({ length: steps }, (_, s) => triesAt(s)).reduce((a, b) => a + b, 0);
  let done = 0;
  const gaps = async (
    kind: CompletenessSubset["kind"],
    sets: readonly (readonly number[])[],
  ): Promise<CompletenessSubset[]> => {
    const values = await knockouts.measure(
      sets.flatMap((nodes): Lesion[] => [
        { kind: "keep", nodes: knockouts.without(nodes) },
        { kind: "remove", nodes },
      ]),
    );
    done += sets.length;
    onProgress?.({ stage: "testing completeness", done, total, unit: "subsets" });
    return sets.map((nodes, i) => {
      const [own, whole] = [values[2 * i]!, values[2 * i + 1]!];
      return { kind, nodes, circuit: own, model: whole, gap: Math.abs(own - whole) };
    });
  };
  const subsets = [...(await gaps("empty", [[]])), ...(await gaps("random", random))];
  let chosen: readonly number[] = [];
  for (let step = 0; step < steps; step++) {
    const left = knockouts.without(chosen);
    const tried = sampleWithoutReplacement(left.length, triesAt(step), rng);
    const sets = Array.from(tried, (i) => [...chosen, left[i]!].sort((a, b) => a - b));
    const found = await gaps("greedy", sets);
    const best = found.reduce((a, b) => (b.gap > a.gap ? b : a));
    chosen = best.nodes;
    subsets.push(best);
  }
  return { subsets, maxGap: Math.max(...subsets.map((s) => s.gap)) };
}

/** How much one node matters to its circuit. */
export interface NodeMinimality {
  /** Its place in the circuit's `nodes`. */
  readonly node: number;
  /** Largest |F(C \ (K ∪ {v})) - F(C \ K)| over the subsets tried. */
  readonly score: number;
  /** The K that it was found with. */
  readonly subset: readonly number[];
  /** `score` / |F(M)|, as Wang et al. draw it. */
  readonly relative: number;
}

/**
 * Minimality: every node v of a circuit without superfluous parts changes its behaviour, at least where
 * some others K are missing too (backup heads hide each other).
 *
 *   score(v) = max over K of |F(C \ (K ∪ {v})) - F(C \ K)|
 *
 * K is empty, random, and what you give; the scores are lower bounds of the maximum over all subsets.
 *
 * @param options.subsets - Further subsets K, as places in the circuit's `nodes`: usually the nodes of
 *   one class.
 * @throws as `faithfulness`.
 *
 * Cost: up to nPrompts (1 + nodes) (1 + nSubsets + subsets) rows.
 * Source: Wang et al. (2022), arXiv 2211.00593, section 4.
 */
export async function minimality(
  model: HookedModel,
  circuit: Circuit,
  options: SubsetOptions & { readonly subsets?: readonly (readonly number[])[] | undefined },
): Promise<readonly NodeMinimality[]> {
  const name = "minimality";
  const n = circuit.nodes.length;
  const { nSubsets = 10, seed = 0, subsets = [], onProgress } = options;
  checkCounts({ nSubsets }, 0, name);
  const outside = subsets.flat().find((i) => !Number.isInteger(i) || i < 0 || i >= n);
  if (outside !== undefined) {
    throw new ArgumentError(`${name}: expected subsets of nodes 0..${n - 1}, got ${outside}`);
  }
  const rng = createRng(seed);
  const knockouts = await Knockouts.open(model, circuit, options, name);
  const tried = [[], ...subsets, ...Array.from({ length: nSubsets }, () => randomSubset(n, rng))];
  const [whole] = (await knockouts.measure([{ kind: "remove", nodes: [] }])) as [number];
  const results: NodeMinimality[] = [];
  for (let node = 0; node < n; node++) {
    const sets = tried.map((set) => set.filter((other) => other !== node));
    const values = await knockouts.measure(
      sets.flatMap((set): Lesion[] => [
        { kind: "keep", nodes: knockouts.without([...set, node]) },
        { kind: "keep", nodes: knockouts.without(set) },
      ]),
    );
    const scores = sets.map((_, i) => Math.abs(values[2 * i]! - values[2 * i + 1]!));
    const score = Math.max(...scores);
    const subset = [...new Set(sets[scores.indexOf(score)] ?? [])].sort((a, b) => a - b);
    results.push({ node, score, subset, relative: score / Math.abs(whole) });
    onProgress?.({ stage: "testing minimality", done: node + 1, total: n, unit: "nodes" });
  }
  return results;
}

function randomSubset(n: number, rng: Rng): number[] {
  return Array.from({ length: n }, (_, i) => i).filter(() => rng.uniform() < 0.5);
}

function checkCounts(counts: Record<string, number>, least: number, name: string): void {
  for (const [what, count] of Object.entries(counts)) {
    if (!Number.isInteger(count) || count < least) {
      throw new ArgumentError(
        `${name}: expected ${what} to be a whole number from ${least}, got ${count}`,
      );
    }
  }
}
