// A set of heads that does the task by itself, beside random sets of as many.
import {
  type Circuit,
  circuitOf,
  completeness,
  discoverCircuit,
  faithfulness,
  getActName,
  type HookedModel,
  logitDiff,
  minimality,
} from "@penfield/hooks";
import { type Head, headName, otherHeads, spread, zHooks } from "./heads.ts";
import { type NamePrompts, namePrompts } from "./prompts.ts";

export interface CircuitSearch {
  readonly templates: readonly string[];
  /** Another template: does what was found hold there too? */
  readonly transfer: readonly string[];
  readonly bosToken: number;
  readonly nSearch: number;
  readonly nTest: number;
  readonly nSets: number;
  /** Share of the logit difference. */
  readonly threshold: number;
}

export async function circuit(model: HookedModel, options: CircuitSearch) {
  const { nSearch, nTest, nSets, threshold } = options;
  const { nLayers, nHeads = 0 } = model.cfg;
  const draw = (
    templates: readonly string[],
    n: number,
    seed: number,
    avoid: readonly string[] = [],
  ) => namePrompts(model, { templates, n, seed, avoid, heldOut: true, bosToken: options.bosToken });
  const test = draw(options.templates, nTest, 2);
  const search = draw(options.templates, nSearch, 1, test.texts);
  const transfer = draw(options.transfer, nTest, 3);
  const on = (prompts: NamePrompts) => ({
    tokens: prompts.clean,
    reference: prompts.others,
    metric: logitDiff({ tokens: prompts.io, incorrectTokens: prompts.subject }),
  });
  const all = Array.from(
    { length: nLayers * nHeads },
    (_, i): Head => [nLayers - 1 - Math.floor(i / nHeads), i % nHeads],
  );
  const of = (heads: readonly Head[]): Circuit =>
    circuitOf(
      model,
      heads.map(([layer, head]) => ({ hook: getActName("z", layer), head })),
    );
  const hooks = zHooks(model);
  const whole = await faithfulness(model, of(all), on(search));
  const found = await discoverCircuit(model, {
    ...on(search),
    nodes: of(all).nodes,
    threshold: threshold * whole.model,
  });
  const heads = all.filter(([layer, head]) =>
    found.circuit.nodes.some((node) => node.hook === getActName("z", layer) && node.head === head),
  );
  const own = await faithfulness(model, found.circuit, { ...on(test), hooks });
  const elsewhere = await faithfulness(model, found.circuit, { ...on(transfer), hooks });
  const random: number[] = [];
  for (let seed = 0; seed < nSets; seed++) {
    // Any heads, also those of the circuit.
    const set = otherHeads(model, [], { seed, n: heads.length });
    random.push((await faithfulness(model, of(set), { ...on(test), hooks })).normalized);
  }
  const complete = await completeness(model, found.circuit, { ...on(test), hooks, seed: 1 });
  const needed = await minimality(model, found.circuit, { ...on(test), hooks, seed: 1 });
  const sets = spread(random);
  return {
    lines: [
      `Found on ${nSearch} prompts, threshold ${(threshold * whole.model).toFixed(2)}: ${heads.length} of ${all.length} heads: ${heads.map(headName).join(" ")}`,
      `On ${nTest} others: model ${own.model.toFixed(2)}, circuit ${own.circuit.toFixed(2)}, no head ${own.empty.toFixed(2)}; faithfulness ${own.normalized.toFixed(2)}`,
      `${nSets} random sets of ${heads.length}: faithfulness ${sets.mean.toFixed(2)} (largest ${sets.max.toFixed(2)})`,
      `Other template: model ${elsewhere.model.toFixed(2)}, circuit ${elsewhere.circuit.toFixed(2)}, no head ${elsewhere.empty.toFixed(2)}; faithfulness ${elsewhere.normalized.toFixed(2)}`,
      `Completeness: largest gap ${complete.maxGap.toFixed(2)} (${complete.subsets.reduce((a, b) => (b.gap > a.gap ? b : a)).kind} subset)`,
      `Minimality: ${needed.map(({ node, score }) => `${headName(heads[node]!)} ${score.toFixed(2)}`).join(", ")}`,
    ],
    numbers: {
      heads: heads.map(headName),
      own,
      elsewhere,
      random: sets,
      maxGap: complete.maxGap,
      minimality: needed.map(({ node, score }) => [headName(heads[node]!), score]),
    },
  };
}
