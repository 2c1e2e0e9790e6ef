// Read and change a model's activations.   npm run -s example -- hooks
import { HookedModel } from "@penfield/hooks";
import { organismFolder } from "@penfield/organisms";

const model = await HookedModel.fromPretrained(organismFolder("organism-a"));
console.log("with nothing done to it:", model.identity);

const tokenizer = model.requireTokenizer();
const text = "The children who saw the old man";
const tokens = [tokenizer.encode(text, { prependBos: true })];

// The five likeliest next tokens, before and after silencing.
const vocabulary = model.cfg.dVocab!;
const likeliest = ({ data }: { data: Float32Array }): string => {
  const last = data.subarray(data.length - vocabulary);
  const order = Array.from(last.keys()).sort((a, b) => last[b]! - last[a]!);
  return order
    .slice(0, 5)
    .map((id) => JSON.stringify(tokenizer.decode([id])))
    .join(" ");
};
const { logits, cache } = await model.runWithCache(tokens, {
  namesFilter: "blocks.*.hook_resid_post",
});
console.log(
  "residual stream:",
  [...cache].map(([name, { shape }]) => `${name} [${shape.join(", ")}]`).join("; "),
);
console.log("plain:          ", likeliest(logits));
const ablated = await model.runWithInterventions(tokens, [
  { hook: "blocks.4.attn.hook_z", op: { type: "zero" }, heads: [2] },
  { hook: "blocks.3.mlp.hook_post", op: { type: "zero" }, units: [17, 40] },
]);
console.log("ablated:        ", likeliest(ablated));
await model.dispose();
