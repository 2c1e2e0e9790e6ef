import { createRng, ModelError, permutation } from "@penfield/core";
import { elementType, type ModelProto, type TensorProto } from "./proto.ts";

/** Operators whose constant inputs are learned matrices. */
const LEARNED = new Set([
  ...[
    "MatMul",
    "Gemm",
    "Conv",
    "Gather",
    "Attention",
    "QAttention",
    "MatMulInteger",
    "QLinearMatMul",
  ],
  ...["MatMulNBits", "DynamicQuantizeMatMul", "GatherBlockQuantized", "EmbedLayerNormalization"],
  ...["FusedMatMul", "MoE", "QMoE", "ConvTranspose"],
]);
/** Operators that hand a weight on. */
const PASSING = new Set([
  "Transpose",
  "DequantizeLinear",
  "Cast",
  "Identity",
  "Reshape",
  "QuantizeLinear",
]);

/**
 * The same model with nothing learned: the entries of every weight matrix in another, random order. Sizes, the
 * distribution of each matrix's entries, norms and biases stay; what matrices do is gone. This is the floor
 * "untrained weights" for models whose training code is not at hand.
 *
 * Changed are constants with two or more axes that reach a product, a convolution, a look-up or an attention, directly
 * or through transposition and dequantisation; of quantised ones the codes. The order depends on the seed
 * and on the place of the matrix in the file.
 *
 * @param model - Changed in place; its weights must be in the file itself.
 * @param seed - Default 0.
 * @returns How many matrices were changed.
 * @throws {ModelError} if weights lie in other files, or nothing is to be changed.
 *
 * Cost: one pass over the weights, and their size in memory.
 * Source: a permutation keeps initialisation scales that a redraw would have to guess; untrained models as controls: Schrimpf et
 * al. (2021), PNAS 118:e2105646118.
 */
export function shuffleWeights(model: ModelProto, seed = 0): number {
  const graph = model.graph!;
  const reached = new Set<string>();
  // Backwards, so that what a passing operator reads is reached through what reads it.
  const producers = new Map(
    graph.node.flatMap((node) => node.output.map((name) => [name, node] as const)),
  );
  const stack = graph.node.filter((node) => LEARNED.has(node.opType)).flatMap((node) => node.input);
  while (stack.length > 0) {
    const name = stack.pop()!;
    if (reached.has(name)) continue;
    reached.add(name);
    const from = producers.get(name);
    if (from && PASSING.has(from.opType) && from.input[0]) stack.push(from.input[0]);
  }
  const rng = createRng(seed);
  let changed = 0;
  for (const tensor of graph.initializer) {
    if (tensor.dims.length < 2 || !reached.has(tensor.name) || !WEIGHT_TYPES.has(tensor.dataType))
      continue;
    if (tensor.externalData.length > 0) {
      throw new ModelError(
        `shuffleWeights: expected the weights in the file itself, got ${tensor.name} in another`,
        { hint: "Save the model as one file first, or give --no-floors." },
      );
    }
    shuffle(tensor, rng);
    changed++;
  }
  if (changed === 0) {
    throw new ModelError("shuffleWeights: expected weight matrices, got none");
  }
  return changed;
}

const WEIGHT_TYPES: ReadonlySet<number> = new Set([
  elementType.float32,
  elementType.float16,
  elementType.bfloat16,
  elementType.float64,
  elementType.int8,
  elementType.uint8,
]);

function shuffle(tensor: TensorProto, rng: ReturnType<typeof createRng>): void {
  if (tensor.floatData.length > 0) {
    const values = tensor.floatData;
    tensor.floatData = Array.from(permutation(values.length, rng), (i) => values[i]!);
    return;
  }
  const n = tensor.dims.reduce((product, size) => product * Number(size), 1);
  const bytes = tensor.rawData.slice();
  const size = bytes.length / n;
  const Values =
    size === 8 ? Float64Array : size === 4 ? Uint32Array : size === 2 ? Uint16Array : Uint8Array;
  const values = new Values(bytes.buffer, 0, bytes.length / Values.BYTES_PER_ELEMENT);
  const out = new Values(values.length);
  permutation(values.length, rng).forEach((from, i) => {
    out[i] = values[from]!;
  });
  tensor.rawData = new Uint8Array(out.buffer);
}
