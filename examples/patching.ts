// Which places of a model carry a choice?   npm run -s example -- patching
import {
  directLogitAttribution,
  getActPatchAttnHeadOutAllPos,
  getActPatchResidPre,
  HookedModel,
  logitDiff,
} from "@penfield/hooks";
import { organismFolder } from "@penfield/organisms";

const model = await HookedModel.fromPretrained(organismFolder("organism-a"), { verify: "none" });
const tokenizer = model.requireTokenizer();
const encode = (text: string): number[] => tokenizer.encode(text, { prependBos: true });

// Two prompts of one length that differ in one word, and what they should differ in.
const clean = [encode("The boys near the tree")];
const corrupted = [encode("The boy near the tree")];
const [were, was] = [" were", " was"].map((word) => tokenizer.encode(word)[0]!) as [number, number];
const metric = logitDiff({ tokens: were, incorrectTokens: was });

// Run the singular prompt; at one place at a time, patch in the plural prompt's residual stream.
const patched = await getActPatchResidPre(model, { clean, corrupted, metric });
console.log(
  `logit of " were" minus " was": ${patched.clean.toFixed(2)} after "boys", ${patched.corrupted.toFixed(2)} after "boy"`,
);
console.log("how much of it one place restores (0: none, 1: all):");
const words = tokenizer.toStrTokens(clean[0]!).map((word, i) => (i === 0 ? "start" : word.trim()));
console.log(`        ${words.map((word) => word.padStart(8)).join("")}`);
const [nLayers, length] = patched.shape as [number, number];
for (let layer = 0; layer < nLayers; layer++) {
  const row = Array.from({ length }, (_, p) => patched.normalized[layer * length + p]!);
  const cells = row.map((v) => (Math.round(v * 100) / 100 + 0).toFixed(2).padStart(8));
  console.log(`block ${layer} ${cells.join("")}`);
}

const top = (labels: readonly string[], values: ArrayLike<number>): string =>
  labels
    .map((label, i) => [label, values[i]!] as const)
    .sort(([, a], [, b]) => Math.abs(b) - Math.abs(a))
    .slice(0, 5)
    .map(([label, value]) => `${label} ${value.toFixed(2)}`)
    .join(", ");
const heads = await getActPatchAttnHeadOutAllPos(model, { clean, corrupted, metric });
const nHeads = heads.shape[1]!;
const names = Array.from(heads.values, (_, i) => `L${Math.floor(i / nHeads)}H${i % nHeads}`);
console.log(`heads that restore most:       ${top(names, heads.normalized)}`);

const direct = await directLogitAttribution(model, clean, {
  tokens: were,
  incorrectTokens: was,
  unit: "head",
});
console.log(`that write most to the choice: ${top(direct.labels, direct.values)}`);
await model.dispose();
