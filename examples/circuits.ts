// Which heads name the one who was not yet mentioned again?   npm run -s example -- circuits
import {
  circuitOf,
  faithfulness,
  getActName,
  HookedModel,
  logitDiff,
  pathPatchSweep,
} from "@penfield/hooks";
import { organismFolder } from "@penfield/organisms";

const model = await HookedModel.fromPretrained(organismFolder("organism-b"), { verify: "none" });
const tokenizer = model.requireTokenizer();
const pairs = [
  ["Anna", "John"],
  ["Peter", "Mary"],
  ["Lucy", "Tom"],
  ["Henry", "Alice"],
] as const;
const prompt = (a: string, b: string, giver: string): number[] =>
  tokenizer.encode(`Then ${a} and ${b} went to the mill. ${giver} sold a shoe to`, {
    prependBos: true,
  });
const id = (name: string): number => tokenizer.encode(` ${name}`)[0]!;

// Once the first gives, once the second: the answer is the other one.
const clean = pairs.map(([a, b]) => prompt(a, b, b));
const corrupted = pairs.map(([a, b]) => prompt(a, b, a));
const metric = logitDiff({
  tokens: pairs.map(([a]) => id(a)),
  incorrectTokens: pairs.map(([, b]) => id(b)),
});

// Path patching: the effect of each head's output on the scores, past all other heads.
const receivers = [{ component: "resid_post" }] as const;
const direct = await pathPatchSweep(model, { clean, corrupted, metric, receivers });
const nHeads = direct.shape[1]!;
const heads = Array.from(direct.effects, (effect, i) => ({
  layer: Math.floor(i / nHeads),
  head: i % nHeads,
  effect,
}))
  .sort((a, b) => a.effect - b.effect)
  .slice(0, 4);
console.log(
  `difference of logits: ${direct.clean.toFixed(2)}, with the other giver ${direct.corrupted.toFixed(2)}`,
);

// Where they look from the last token: at the name said once, or at the second mention of the other.
const patterns = heads.map(({ layer }) => getActName("pattern", layer));
const { cache } = await model.run({ tokens: clean, capture: patterns, head: "none" });
for (const [i, { layer, head, effect }] of heads.entries()) {
  const { data, shape } = cache.get(patterns[i]!)!;
  const n = shape[3]!;
  const to = (position: number): string =>
    data[(head * n + n - 1) * n + position]!.toFixed(2); /* of the first prompt */
  console.log(
    `L${layer}H${head}: direct effect ${effect.toFixed(2)}, looks at "Anna" ${to(2)}, at the second "John" ${to(clean[0]!.lastIndexOf(id("John")))}`,
  );
}

// All other heads silenced, to their means over both kinds of prompts.
const nodes = heads.map(({ layer, head }) => ({ hook: getActName("z", layer), head }));
const { normalized } = await faithfulness(model, circuitOf(model, nodes), {
  tokens: clean,
  reference: [...clean, ...corrupted],
  metric,
});
console.log(`these ${heads.length} heads alone keep ${(100 * normalized).toFixed(0)} %`);
await model.dispose();
