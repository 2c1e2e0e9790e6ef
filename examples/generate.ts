// What does a steered model write?   npm run -s example -- generate
import { type GenerationIntervention, generate, HookedModel, logitDiff } from "@penfield/hooks";
import { organismFolder } from "@penfield/organisms";

const model = await HookedModel.fromPretrained(organismFolder("organism-a"), { verify: "none" });
const tokenizer = model.requireTokenizer();
const hook = "blocks.1.hook_resid_post";

// What plural nouns have in common, and singular ones have not.
const nouns = ["farmer", "king", "doctor", "sailor", "teacher", "writer"];
const meanOf = async (texts: readonly string[]): Promise<number[]> => {
  const tokens = texts.map((text) => tokenizer.encode(text, { prependBos: true }));
  const { cache } = await model.run({ tokens, capture: [hook], reduce: "last", head: "none" });
  const { data } = cache.get(hook)!;
  return Array.from({ length: model.cfg.dModel }, (_, unit) =>
    texts.reduce((sum, _, row) => sum + data[row * model.cfg.dModel + unit]! / texts.length, 0),
  );
};
const plural = await meanOf(nouns.map((noun) => `The ${noun}s`));
const singular = await meanOf(nouns.map((noun) => `The ${noun}`));
const direction = plural.map((x, unit) => x - singular[unit]!);

// The direction is added where the noun stands (0 is the beginning of the text), or at new words only.
const [are, is] = [" are", " is"].map((word) => tokenizer.encode(word)[0]!) as [number, number];
const steer = (factor: number): GenerationIntervention => ({
  hook,
  op: { type: "add", value: direction.map((x) => factor * x) },
});
const conditions: [string, GenerationIntervention[]][] = [
  ["as it is", []],
  ["plural at the noun", [{ ...steer(1), positions: [2] }]],
  ["twice as strong", [{ ...steer(2), positions: [2] }]],
  ["at new words only", [{ ...steer(1), when: "steps" }]],
];
const prompts = ["The boy", "The soldier"];
for (const [name, interventions] of conditions) {
  const { rows } = await generate(model, prompts, {
    prependBos: true,
    maxNewTokens: 10,
    interventions,
    metric: logitDiff({ tokens: are, incorrectTokens: is }),
  });
  console.log(`${name}:`);
  rows.forEach(({ text, metric }, row) => {
    const score = metric![0]!.toFixed(1).padStart(5);
    console.log(`  logit of "are" minus "is" ${score}   ${prompts[row]}${text}`);
  });
}

// Drawn instead of taken: the same prompt twice, each with its own random numbers.
const { rows } = await generate(model, ["The boys", "The boys"], {
  prependBos: true,
  maxNewTokens: 12,
  temperature: 0.8,
  topP: 0.9,
  seed: 1,
});
console.log("drawn:");
for (const { text, logProbs } of rows) {
  const perToken = Math.exp(logProbs.reduce((a, b) => a + b) / logProbs.length);
  console.log(`  The boys${text}   (${perToken.toFixed(2)} per token)`);
}
await model.dispose();
