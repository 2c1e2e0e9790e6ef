// At which layer does an answer become the likeliest token?
import {
  entropy,
  type HookedModel,
  logitLens,
  runWithActivationCache,
  topK,
} from "@penfield/hooks";

const FACTS = [
  ["The capital of France is", " Paris"],
  ["The capital of Italy is", " Rome"],
  ["The capital of Germany is", " Berlin"],
  ["The capital of Russia is", " Moscow"],
  ["The Eiffel Tower is located in the city of", " Paris"],
  ["The Colosseum is located in the city of", " Rome"],
  ["The Great Wall is located in the country of", " China"],
  ["The largest planet in the solar system is", " Jupiter"],
  ["The chemical formula of water is", " H"],
  ["The opposite of hot is", " cold"],
  ["Romeo and Juliet was written by William", " Shakespeare"],
  ["The first president of the United States was George", " Washington"],
] as const;

export async function lens(model: HookedModel, { bosToken }: { bosToken: number }) {
  const tokenizer = model.requireTokenizer();
  const { nLayers, dVocab = 0 } = model.cfg;
  const lines = [
    `Uniform scores would have an entropy of ${Math.log(dVocab).toFixed(2)}.`,
    "",
    "| prompt | answer | rank in the model | likeliest from layer | among ten from layer | layer 0: likeliest (probability) | entropy | with the norm frozen |",
    "|---|---|---:|---:|---:|---|---:|---:|",
  ];
  const facts: {
    prompt: string;
    rank: number;
    first: number | null;
    ten: number | null;
    echo: boolean;
    probability: number;
    entropy: number;
    frozen: number;
  }[] = [];
  for (const [prompt, answer] of FACTS) {
    const tokens = [bosToken, ...tokenizer.encode(prompt)];
    const [wanted] = tokenizer.encode(answer);
    const { logits } = await logitLens(model, [tokens], { position: -1 });
    const layers = { data: logits.data, shape: [logits.shape[0]!, 1, dVocab] };
    const ranks = Array.from({ length: nLayers + 1 }, (_, l) => {
      const scores = layers.data.subarray(l * dVocab, (l + 1) * dVocab);
      return scores.reduce((rank, x) => (x > scores[wanted!]! ? rank + 1 : rank), 1);
    });
    /** The first layer from which the rank stays so low to the end. */
    const from = (most: number): number | null => {
      const late = [...ranks].reverse().findIndex((rank) => rank > most);
      const layer = late === -1 ? 0 : ranks.length - late;
      return layer === ranks.length ? null : layer;
    };
    const [first] = topK(layers, { k: 1 })[0]!;
    const [spread] = entropy()(layers, [{ row: 0, prompt: 0 }]) as [number];
    // A norm without bias that is frozen at its value in the run scales the scores of layer 0.
    const ratio = await scaleOf(model, tokens);
    const scaled = {
      data: layers.data.slice(0, dVocab).map((x) => x * ratio),
      shape: [1, 1, dVocab],
    };
    const [frozen] = entropy()(scaled, [{ row: 0, prompt: 0 }]) as [number];
    const word = tokenizer.toStrTokens([first!.token])[0]!;
    lines.push(
      `| ${prompt} | ${answer.trim()} | ${ranks.at(-1)} | ${from(1) ?? "never"} | ${from(10) ?? "never"} | ${word.trim()} (${first!.prob.toFixed(3)}) | ${spread.toFixed(2)} | ${frozen.toFixed(2)} |`,
    );
    facts.push({
      prompt,
      rank: ranks.at(-1)!,
      first: from(1),
      ten: from(10),
      echo: first!.token === tokens.at(-1),
      probability: first!.prob,
      entropy: spread,
      frozen,
    });
  }
  return { lines, numbers: { nLayers, uniform: Math.log(dVocab), facts } };
}

/** Root mean square of the last token's stream at layer 0, over that at the end. */
async function scaleOf(model: HookedModel, tokens: readonly number[]): Promise<number> {
  const { epsilon } = await model.weights.finalNorm();
  const { cache } = await runWithActivationCache(model, [tokens], {
    namesFilter: ["blocks.*.hook_resid_*"],
  });
  const { values } = cache.accumulatedResid();
  const [nLayers, , length, size] = values.shape as [number, number, number, number];
  const scale = (layer: number): number => {
    const start = (layer * length + length - 1) * size;
    const x = values.data.subarray(start, start + size);
    return Math.sqrt(x.reduce((sum, v) => sum + v * v, 0) / size + epsilon);
  };
  return scale(0) / scale(nLayers - 1);
}
