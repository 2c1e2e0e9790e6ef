// How alike are two models, layer by layer?   npm run -s example -- compare
import {
  calcRdm,
  categoricalRdm,
  compareActivations,
  compareRdms,
  rdmPermutationTest,
  shapeDistances,
} from "@penfield/compare";
import { type Activations, createRng, permutation, takeRows, tensor } from "@penfield/core";
import { HookedModel } from "@penfield/hooks";
import { createLinalg } from "@penfield/linalg";
import { type OrganismName, organismFolder } from "@penfield/organisms";

// Twelve animals and twelve tools in the same sentence.
const animals = "dog cat horse cow sheep goat fox bear hen duck wolf mouse".split(" ");
const tools = "hammer saw axe spade knife fork spoon needle brush broom plough key".split(" ");
const words = [...animals, ...tools];
const texts = words.map((word) => `The man saw the ${word}`);

/** The residual stream after every block at the last word, [nTexts, dModel] each. */
async function layersOf(name: OrganismName): Promise<Activations[]> {
  const model = await HookedModel.fromPretrained(organismFolder(name), { verify: "none" });
  const tokenizer = model.requireTokenizer();
  const hooks = Array.from({ length: model.cfg.nLayers }, (_, i) => `blocks.${i}.hook_resid_post`);
  const layers = hooks.map(() => new Float32Array(texts.length * model.cfg.dModel));
  for (const [row, text] of texts.entries()) {
    const tokens = [tokenizer.encode(text)];
    // The last token is taken inside the runtime: nothing else leaves it.
    const { cache } = await model.run({ tokens, capture: hooks, head: "none", reduce: "last" });
    hooks.forEach((hook, layer) => {
      layers[layer]!.set(cache.get(hook)!.data as Float32Array, row * model.cfg.dModel);
    });
  }
  const { dModel } = model.cfg;
  await model.dispose();
  return layers.map((data) => tensor(data, ["stimulus", "unit"], [texts.length, dModel]));
}

const linalg = createLinalg();
const [a, b] = [await layersOf("organism-a"), await layersOf("organism-b")];

const name = "linear-cka-unbiased";
console.log(`${name} of organism-a (rows) and organism-b (columns):`);
for (const x of a) {
  const row: string[] = [];
  for (const y of b) row.push((await compareActivations(linalg, name, x, y)).value.toFixed(2));
  console.log(row.map((cell) => cell.padStart(6)).join(""));
}

// A value says something beside what it is when stimuli are paired at random.
const order = permutation(texts.length, createRng(1));
const shuffled = await compareActivations(linalg, name, a.at(-1)!, takeRows(b.at(-1)!, order));
console.log(`last layers, words shuffled: ${shuffled.value.toFixed(2)}`);

// A distance with a triangle inequality, for all layers of both models at once.
const distances = await shapeDistances(linalg, [...a, ...b]);
const n = distances.nRows;
const nearest = a.map((_, i) => {
  const row = Array.from({ length: b.length }, (_, j) => distances.data[i * n + a.length + j]!);
  return row.indexOf(Math.min(...row));
});
console.log(`nearest layer of organism-b to each of organism-a, by shape: ${nearest.join(" ")}`);

// Does a layer tell animals from tools? Its RDM beside a model RDM, against conditions in random order.
const kinds = words.map((_, i) => (i < animals.length ? "animal" : "tool"));
const model = categoricalRdm(kinds);
for (const layer of [0, a.length - 1]) {
  const rdm = await calcRdm(a[layer]!, { method: "correlation", linalg });
  const { data } = await compareRdms(model, rdm, { method: "rho-a", linalg });
  const { p } = await rdmPermutationTest(model, rdm, { method: "rho-a", nDraws: 999, linalg });
  console.log(
    `animals and tools in layer ${layer}: rho-a ${data[0]!.toFixed(2)}, p ${p[0]!.toFixed(3)}`,
  );
}
await linalg.dispose();
