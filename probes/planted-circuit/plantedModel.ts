import { createRng, type Rng } from "@penfield/core";
import { createTokenizer, type TextTokenizer, wordLevelTokenizer } from "@penfield/hooks";
import {
  encodeModel,
  makeModel,
  makeNode,
  makeTensor,
  makeValueInfo,
  type NodeProto,
  type TensorProto,
} from "@penfield/onnx";

/**
 * A transformer with a circuit that we put there: residual coordinates `planted` carry the number of
 * a sentence's subject from the first block on, and nothing else does. Sentences have a subject;
 * strings of non-words have none. So the coordinates are selective for sentences, agreement is lost
 * without them, and naming the next symbol of a series, which goes through other coordinates, is not.
 */
export interface PlantedModel {
  readonly bytes: Uint8Array;
  readonly tokenizer: TextTokenizer;
  readonly config: Record<string, unknown>;
  readonly nLayers: number;
  readonly dModel: number;
  /** Coordinates of the residual stream that hold the circuit, after every block. */
  readonly planted: readonly number[];
  readonly sentences: readonly string[];
  readonly nonwords: readonly string[];
  /** Agreement: the right verb form against the wrong one. */
  readonly agreement: readonly { id: string; good: string; bad: string }[];
  /** Series of symbols: the next one against another. */
  readonly series: readonly { id: string; prompt: string; good: string; bad: string }[];
}

const N_LAYERS = 4;
const D_MODEL = 160;
const D_MLP = 64;
const PLANTED = 6;

const NOUNS = [
  "dog",
  "cat",
  "bird",
  "king",
  "queen",
  "child",
  "teacher",
  "doctor",
  "farmer",
  "sailor",
];
const VERBS = ["walk", "sing", "sleep", "read", "swim", "laugh"];
const ADJECTIVES = ["old", "young", "tall", "quiet", "happy", "tired"];
const plural = (noun: string): string => (noun === "child" ? "children" : `${noun}s`);
const SYMBOLS = Array.from({ length: 24 }, (_, i) => `s${i}`);

/** Builds the model, its vocabulary, its localizer stimuli and its tasks; equal seeds, equal bytes. */
export function plantedModel(seed: number): PlantedModel {
  const rng = createRng(seed);
  const pick = <T>(list: readonly T[]): T => list[rng.below(list.length)]!;
  const nonsense = Array.from({ length: 40 }, () =>
    Array.from({ length: 3 }, () => pick("bdfgklmnprst".split("")) + pick("aeiou".split(""))).join(
      "",
    ),
  );
  const words = [
    "the",
    "near",
    ...ADJECTIVES,
    ...NOUNS,
    ...NOUNS.map(plural),
    ...VERBS,
    ...VERBS.map((v) => `${v}s`),
  ];
  const vocabulary = [...new Set(["<s>", ...words, ...SYMBOLS, ...nonsense])];
  const idOf = new Map(vocabulary.map((word, id) => [word, id]));

  // Sentences and series.
  const sentence = (i: number): { text: string; verb: string; many: boolean } => {
    const many = i % 2 === 1;
    const noun = pick(NOUNS);
    return {
      text: `the ${pick(ADJECTIVES)} ${pick(ADJECTIVES)} ${many ? plural(noun) : noun}`,
      verb: pick(VERBS),
      many,
    };
  };
  const form = (verb: string, many: boolean): string => (many ? verb : `${verb}s`);
  const sentences = Array.from({ length: 60 }, (_, i) => {
    const { text, verb, many } = sentence(i);
    return `${text} ${form(verb, many)}`;
  });
  const nonwords = Array.from({ length: 60 }, () =>
    Array.from({ length: 5 }, () => pick(nonsense)).join(" "),
  );
  const agreement = Array.from({ length: 60 }, (_, i) => {
    const { text, verb, many } = sentence(i);
    return {
      id: `agreement-${i}`,
      good: `${text} ${form(verb, many)}`,
      bad: `${text} ${form(verb, !many)}`,
    };
  });
  const series = Array.from({ length: 60 }, (_, i) => {
    const start = rng.below(SYMBOLS.length - 5);
    const other = (start + 4 + 1 + rng.below(SYMBOLS.length - 2)) % SYMBOLS.length;
    const next = SYMBOLS[start + 4]!;
    return {
      id: `series-${i}`,
      prompt: SYMBOLS.slice(start, start + 4).join(" "),
      good: ` ${next}`,
      bad: ` ${SYMBOLS[other] === next ? SYMBOLS[(other + 1) % SYMBOLS.length] : SYMBOLS[other]}`,
    };
  });

  const weights = makeWeights(vocabulary, idOf, rng);
  return {
    bytes: encodeModel(makeModel(graphParts(weights, vocabulary.length))),
    tokenizer: createTokenizer(wordLevelTokenizer(vocabulary), {
      bos_token: "<s>",
      pad_token: "<s>",
    }),
    config: { model_type: "planted", max_position_embeddings: 64, num_attention_heads: 1 },
    nLayers: N_LAYERS,
    dModel: D_MODEL,
    planted: weights.planted,
    sentences,
    nonwords,
    agreement,
    series,
  };
}

interface Weights {
  readonly planted: readonly number[];
  readonly embedding: Float32Array;
  readonly unembedding: Float32Array;
  readonly values: Float32Array;
  readonly mlp: readonly { readonly into: Float32Array; readonly out: Float32Array }[];
}

function makeWeights(
  vocabulary: readonly string[],
  idOf: ReadonlyMap<string, number>,
  rng: Rng,
): Weights {
  const d = D_MODEL;
  // Coordinate 0 holds a noun's number in the embedding; the planted ones start empty.
  const planted = Array.from({ length: PLANTED }, (_, i) => 20 + 23 * i);
  const special = new Set([0, ...planted]);
  const free = Array.from({ length: d }, (_, i) => i).filter((i) => !special.has(i));
  const embedding = new Float32Array(vocabulary.length * d);
  vocabulary.forEach((_, id) => {
    for (const i of free) embedding[id * d + i] = rng.normal();
    // The circuit does not have its coordinates to itself: every token writes some noise there.
    for (const i of planted) embedding[id * d + i] = 0.8 * rng.normal();
  });
  for (const noun of NOUNS) {
    embedding[idOf.get(noun)! * d] = 1;
    embedding[idOf.get(plural(noun))! * d] = -1;
  }
  // One head that looks at all tokens alike moves the noun's number into the planted coordinates.
  const values = new Float32Array(d * d);
  for (const i of planted) values[i] = 20;
  // Verb forms read the planted coordinates; symbols read what the symbol before them left behind.
  const vocab = vocabulary.length;
  const unembedding = new Float32Array(d * vocab);
  for (const verb of VERBS) {
    for (const i of planted) {
      unembedding[i * vocab + idOf.get(`${verb}s`)!] = 0.2;
      unembedding[i * vocab + idOf.get(verb)!] = -0.2;
    }
  }
  for (let s = 1; s < SYMBOLS.length; s++) {
    const before = idOf.get(SYMBOLS[s - 1]!)!;
    for (const i of free) {
      unembedding[i * vocab + idOf.get(SYMBOLS[s]!)!] = embedding[before * d + i]! / 10;
    }
  }
  // Small random MLPs: a background that every real model has.
  const mlp = Array.from({ length: N_LAYERS }, () => ({
    into: Float32Array.from({ length: d * D_MLP }, () => rng.normal() / Math.sqrt(d)),
    out: Float32Array.from({ length: D_MLP * d }, () => (0.05 * rng.normal()) / Math.sqrt(D_MLP)),
  }));
  return { planted, embedding, unembedding, values, mlp };
}

function graphParts(weights: Weights, nVocabulary: number) {
  const nodes: NodeProto[] = [];
  const initializers: TensorProto[] = [];
  const d = D_MODEL;
  const weight = (name: string, dims: number[], data: Float32Array): string => {
    initializers.push(makeTensor(name, "float32", dims, data));
    return name;
  };
  const constant = (
    name: string,
    type: "int64" | "float32",
    dims: number[],
    data: number[],
  ): string => {
    initializers.push(makeTensor(name, type, dims, data));
    return name;
  };
  const step = (op: string, inputs: string[], output: string, attributes = {}): string => {
    nodes.push(makeNode(op, inputs, [output], attributes));
    return output;
  };
  let stream = step(
    "Gather",
    [weight("embedding", [nVocabulary, d], weights.embedding), "input_ids"],
    "embedded",
  );
  // -1e9 above the diagonal: no token sees those after it.
  const shape = step("Shape", ["input_ids"], "shape");
  const length = step("Gather", [shape, constant("one", "int64", [1], [1])], "length");
  const square = step("Concat", [length, length], "square", { axis: 0n });
  const full = step("Expand", [constant("never", "float32", [1], [-1e9]), square], "full");
  const mask = step("Trilu", [full, constant("above", "int64", [], [1])], "mask", { upper: 1n });
  const identity = Float32Array.from({ length: d * d }, (_, i) => (i % (d + 1) === 0 ? 1 : 0));
  const nothing = new Float32Array(d * d);
  for (let l = 0; l < N_LAYERS; l++) {
    const at = (name: string): string => `blocks.${l}.${name}`;
    const query = step("MatMul", [stream, weight(at("W_Q"), [d, d], nothing)], at("q"));
    const key = step("MatMul", [stream, weight(at("W_K"), [d, d], nothing)], at("k"));
    const value = step(
      "MatMul",
      [stream, weight(at("W_V"), [d, d], l === 0 ? weights.values : nothing)],
      at("v"),
    );
    const turned = step("Transpose", [key], at("kT"), { perm: [0n, 2n, 1n] });
    const scores = step("Add", [step("MatMul", [query, turned], at("qk")), mask], at("scores"));
    const pattern = step("Softmax", [scores], at("pattern"), { axis: -1n });
    const z = step("MatMul", [pattern, value], at("z"));
    const attention = step("MatMul", [z, weight(at("W_O"), [d, d], identity)], at("attn_out"));
    stream = step("Add", [stream, attention], at("mid"));
    const { into, out } = weights.mlp[l]!;
    const pre = step("MatMul", [stream, weight(at("W_in"), [d, D_MLP], into)], at("pre"));
    const post = step("Relu", [pre], at("post"));
    const mlp = step("MatMul", [post, weight(at("W_out"), [D_MLP, d], out)], at("mlp_out"));
    stream = step("Add", [stream, mlp], at("out"));
  }
  step("MatMul", [stream, weight("unembedding", [d, nVocabulary], weights.unembedding)], "logits");
  return {
    nodes,
    initializers,
    inputs: [makeValueInfo("input_ids", "int64", ["batch", "pos"])],
    outputs: [makeValueInfo("logits", "float32", ["batch", "pos", nVocabulary])],
  };
}
