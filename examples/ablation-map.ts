// What does each neuron of a layer do for one choice?   npm run -s example -- ablation-map
import { ablationMap } from "@penfield/ablate";
import { HookedModel } from "@penfield/hooks";
import { organismFolder } from "@penfield/organisms";

const model = await HookedModel.fromPretrained(organismFolder("organism-a"), { verify: "none" });
const tokenizer = model.requireTokenizer();
const tokens = [tokenizer.encode("The dogs near the tree", { prependBos: true })];
const [are, is] = [" are", " is"].map((word) => tokenizer.encode(word)[0]!) as [number, number];
const last = tokens[0]!.length - 1;

// All 768 neurons of block 4, each silenced by itself; the blocks before it are computed once.
const { baseline, effects } = await ablationMap(model, tokens, {
  hook: "blocks.4.mlp.hook_post",
  metric: ({ data, shape: [, length, vocabulary] }, rows) =>
    rows.map(({ row }) => {
      const at = (row * length! + last) * vocabulary!;
      return data[at + are]! - data[at + is]!;
    }),
});
console.log(`logit of " are" minus " is": ${baseline[0]!.toFixed(3)}`);
const order = Array.from(effects.keys()).sort(
  (a, b) => Math.abs(effects[b]!) - Math.abs(effects[a]!),
);
for (const unit of order.slice(0, 5))
  console.log(
    `without neuron L4N${unit}: ${effects[unit]! >= 0 ? "+" : ""}${effects[unit]!.toFixed(3)}`,
  );
await model.dispose();
