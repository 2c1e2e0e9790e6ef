import { ArgumentError } from "@penfield/core";
import { createLinalg, type Matrix, matrix, symmetricEigen } from "@penfield/linalg";
import type { HookValues } from "../transformer/values.ts";
import { FactoredMatrix, transpose } from "./factored.ts";

/** By which input a later head reads what an earlier one has written. */
export type CompositionMode = "Q" | "K" | "V";

/**
 * A head's name, as reports and papers write it.
 *
 * @example
 * headLabel(9, 6) // => "L9H6"
 */
export function headLabel(layer: number, head: number): string {
  return `L${layer}H${head}`;
}

/**
 * A neuron's name.
 *
 * @example
 * neuronLabel(11, 611) // => "L11N611"
 */
export function neuronLabel(layer: number, neuron: number): string {
  return `L${layer}N${neuron}`;
}

/**
 * How strongly later heads can read what earlier ones write, from the weights alone:
 *
 *   ‖OV₁ R₂‖ / (‖OV₁‖ ‖R₂‖),   R₂ = QK₂ for Q, QK₂ᵀ for K, OV₂ for V; Frobenius norms
 *
 * @param circuits - For each layer the circuits of its heads, in order.
 * @returns `[n_layers, n_heads, n_layers, n_heads]`: earlier head first; 0 where the second is not in a
 *   later layer, and where a head has no weights at all.
 * @throws {ArgumentError} for another mode.
 *
 * Random matrices score about 1 / sqrt(d_model); compare heads with that and each other, not with 1.
 *
 * Cost: for each pair of layers one product of [n_heads d_head, d_model] matrices: the other factors
 * are folded in by the square roots of their Gram matrices.
 * Source: Elhage et al. (2021), "A Mathematical Framework for Transformer Circuits"; the definition
 * and the order of the axes as in TransformerLens' `all_composition_scores`.
 */
export async function scoreComposition(
  mode: CompositionMode,
  circuits: readonly (readonly { OV: FactoredMatrix; QK: FactoredMatrix }[])[],
): Promise<HookValues> {
  if (!["Q", "K", "V"].includes(mode)) {
    throw new ArgumentError(`compositionScores: expected Q, K or V, got ${JSON.stringify(mode)}`);
  }
  const nLayers = circuits.length;
  const nHeads = circuits[0]?.length ?? 0;
  const writers = circuits.map((heads) => stack(heads.map(({ OV }) => foldLeft(OV))));
  const readers = circuits.map((heads) =>
    stack(
      heads.map(({ OV, QK }) =>
        // ‖x‖ = ‖xᵀ‖: the factor that meets the writer comes to stand on the right.
        foldLeft((mode === "V" ? OV : mode === "Q" ? QK : QK.transpose()).transpose()),
      ),
    ),
  );
  const data = new Float32Array((nLayers * nHeads) ** 2);
  const linalg = createLinalg();
  try {
    for (let first = 0; first < nLayers; first++) {
      for (let second = first + 1; second < nLayers; second++) {
        const [writer, reader] = [writers[first]!, readers[second]!];
        const product = await linalg.matmul(writer.rows, reader.rows, { transposeB: true });
        for (let h = 0; h < nHeads; h++) {
          for (let g = 0; g < nHeads; g++) {
            const norms = writer.norms[h]! * reader.norms[g]!;
            const composed = blockNorm(product, writer.starts, h, reader.starts, g);
            const at = ((first * nHeads + h) * nLayers + second) * nHeads + g;
            data[at] = norms === 0 ? 0 : composed / norms;
          }
        }
      }
    }
  } finally {
    await linalg.dispose();
  }
  return { data, shape: [nLayers, nHeads, nLayers, nHeads] };
}

/** m with ‖a b x‖ = ‖m x‖ for every x: m = sqrt(aᵀa) b, `[rank, nColumns]`. */
function foldLeft({ a, b }: FactoredMatrix): Matrix<Float64Array> {
  const gram = new FactoredMatrix(transpose(a), a).product();
  const { values, vectors } = symmetricEigen(gram);
  const n = gram.nRows;
  // aᵀa = vᵀ diag(values) v with eigenvectors as rows, so that diag(sqrt(values)) v is a root.
  const root = Float64Array.from(
    vectors.data,
    (v, i) => v * Math.sqrt(Math.max(0, values[Math.floor(i / n)]!)),
  );
  return new FactoredMatrix(matrix(root, n, n), b).product();
}

interface Stack {
  readonly rows: Matrix<Float64Array>;
  readonly starts: readonly number[];
  readonly norms: readonly number[];
}

function stack(parts: readonly Matrix<Float64Array>[]): Stack {
  const nColumns = parts[0]?.nColumns ?? 0;
  const starts = [0];
  for (const part of parts) starts.push(starts.at(-1)! + part.nRows);
  const data = new Float64Array(starts.at(-1)! * nColumns);
  parts.forEach((part, i) => {
    data.set(part.data, starts[i]! * nColumns);
  });
  const norms = parts.map((part) => Math.sqrt(part.data.reduce((sum, v) => sum + v * v, 0)));
  return { rows: matrix(data, starts.at(-1)!, nColumns), starts, norms };
}

function blockNorm(
  { data, nColumns }: Matrix,
  rows: readonly number[],
  h: number,
  columns: readonly number[],
  g: number,
): number {
  let sum = 0;
  for (let i = rows[h]!; i < rows[h + 1]!; i++) {
    for (let j = columns[g]!; j < columns[g + 1]!; j++) sum += data[i * nColumns + j]! ** 2;
  }
  return Math.sqrt(sum);
}

/**
 * How much a matrix maps directions to themselves and not to their opposite: the sum of its
 * eigenvalues over the sum of their moduli, from -1 to 1; 0 for a matrix without any.
 *
 *   Σ λ / Σ |λ|
 *
 * The imaginary parts of conjugate pairs cancel.
 *
 * @throws {ShapeError} if the matrix is not square.
 *
 * Source: Elhage et al. (2021), the section on copying and eigenvalues.
 *
 * @example
 * import { matrix } from "@penfield/linalg";
 * const diagonal = matrix(Float64Array.of(3, 0, 0, -1), 2, 2);
 * const one = matrix(Float64Array.of(1, 0, 0, 1), 2, 2);
 * eigenvaluePositivity(new FactoredMatrix(diagonal, one)) // => 0.5
 */
export function eigenvaluePositivity(m: FactoredMatrix): number {
  const { real, imaginary } = m.eigenvalues();
  let [sum, moduli] = [0, 0];
  real.forEach((v, i) => {
    sum += v;
    moduli += Math.hypot(v, imaginary[i]!);
  });
  return moduli === 0 ? 0 : sum / moduli;
}

/**
 * The eigenvalue positivity of W_E OV W_U for each head: near 1, what the head reads of a token adds to
 * the same token's score. That matrix is `[d_vocab, d_vocab]`; its eigenvalues are those of
 * W_O (W_U W_E) W_V, `[d_head, d_head]`.
 *
 * @returns `[n_layers, n_heads]`
 */
export async function scoreCopying(
  circuits: readonly (readonly FactoredMatrix[])[],
  embed: HookValues,
  unembed: HookValues,
): Promise<HookValues> {
  const linalg = createLinalg();
  try {
    const [e, u] = [embed, unembed].map(({ data, shape }) => matrix(data, shape[0]!, shape[1]!));
    const vocabulary = await linalg.matmul(u!, e!);
    const scores: number[] = [];
    for (const { a, b } of circuits.flat()) {
      const composed = new FactoredMatrix(a, await linalg.matmul(b, vocabulary));
      scores.push(eigenvaluePositivity(composed));
    }
    return { data: Float32Array.from(scores), shape: [circuits.length, circuits[0]?.length ?? 0] };
  } finally {
    await linalg.dispose();
  }
}
