import type { LongWork } from "@penfield/core";
import { DataError, throwIfAborted } from "@penfield/core";
import type { HookedModel } from "@penfield/hooks";
import { createLinalg, type Linalg, matrix } from "@penfield/linalg";

/** What the weights of the MLP neurons of one layer say, each array `[nUnits]`. */
export interface WeightStatistics {
  readonly layer: number;
  /** Of the model. */
  readonly nLayers: number;
  readonly nUnits: number;
  /** Lengths of the input and output weights, and their cosine. */
  readonly inNorm: Float64Array;
  readonly outNorm: Float64Array;
  readonly cosInOut: Float64Array;
  /** Of the cosines of the output weights with the tokens' directions, over the vocabulary. */
  readonly vocabularyVariance: Float64Array;
  readonly vocabularySkewness: Float64Array;
  readonly vocabularyKurtosis: Float64Array;
  /** Tokens whose scores the unit raises and lowers most, the strongest first, `[nUnits, nTokens]`. */
  readonly nTokens: number;
  readonly topTokens: Int32Array;
  readonly topScores: Float32Array;
  readonly bottomTokens: Int32Array;
  readonly bottomScores: Float32Array;
}

export interface WeightStatisticsOptions extends LongWork {
  /** Tokens kept at either end; default 10. */
  readonly nTokens?: number | undefined;
  readonly linalg?: Linalg | undefined;
}

/**
 * Norms of the neurons' weights, and what they write, read through the unembedding (logit lens): scores w_out W of every token,
 * where W is the unembedding with the final norm's weights folded in and the mean over tokens taken off, and w_out has its mean
 * taken off if that norm is a LayerNorm. Other norms between the neuron and the output are not folded in.
 *
 * @returns One entry for each layer of `layers`, by default all.
 * @throws {ModelError} for a model without an unembedding.
 *
 * Cost: a matrix product [nUnits, d_model] by [d_model, d_vocab] for each layer.
 * Source: the table of neurons of Gurnee et al. (2024), Universal Neurons in GPT2 Language Models; its models have their norms folded and centered
 * in the same way, and the input weights' norm folded too, which is not done here.
 *
 * @example
 * import { HookedModel } from "@penfield/hooks";
 * const model = await HookedModel.fromPretrained("test/fixtures/gpt2", { verify: "none" });
 * const [first] = await weightStatistics(model, { layers: [0], nTokens: 3 });
 * [first.nUnits, first.topTokens.length] // => [96, 288]
 * outputRoles(first, 2).length // => 96
 * await model.dispose();
 */
export async function weightStatistics(
  model: HookedModel,
  {
    layers = Array.from({ length: model.cfg.nLayers }, (_, i) => i),
    ...options
  }: WeightStatisticsOptions & { readonly layers?: readonly number[] | undefined } = {},
): Promise<WeightStatistics[]> {
  const own = options.linalg === undefined;
  const linalg = options.linalg ?? createLinalg();
  try {
    const unembedding = await foldedUnembedding(model);
    const out: WeightStatistics[] = [];
    for (const layer of layers) {
      throwIfAborted(options.signal, "weightStatistics");
      out.push(await layerStatistics(model, layer, unembedding, options.nTokens ?? 10, linalg));
      options.onProgress?.({
        stage: "reading weights",
        done: out.length,
        total: layers.length,
        unit: "layers",
      });
    }
    return out;
  } finally {
    if (own) await linalg.dispose();
  }
}

interface Unembedding {
  /** `[dModel, nTokens]` */
  readonly data: Float32Array;
  readonly dModel: number;
  readonly nTokens: number;
  /** Length of each token's direction. */
  readonly lengths: Float64Array;
  readonly centered: boolean;
}

async function foldedUnembedding(model: HookedModel): Promise<Unembedding> {
  const [unembedding, norm] = await Promise.all([
    model.weights.get("W_U"),
    model.weights.finalNorm(),
  ]);
  const [dModel, nTokens] = unembedding.shape as [number, number];
  const data = new Float32Array(dModel * nTokens);
  const squares = new Float64Array(nTokens);
  for (let i = 0; i < dModel; i++) {
    let mean = 0;
    for (let t = 0; t < nTokens; t++) mean += unembedding.data[i * nTokens + t]! / nTokens;
    for (let t = 0; t < nTokens; t++) {
      const value = norm.weight[i]! * (unembedding.data[i * nTokens + t]! - mean);
      data[i * nTokens + t] = value;
      squares[t]! += value * value;
    }
  }
  return { data, dModel, nTokens, lengths: squares.map(Math.sqrt), centered: norm.kind === "LN" };
}

async function layerStatistics(
  model: HookedModel,
  layer: number,
  unembedding: Unembedding,
  nTokens: number,
  linalg: Linalg,
): Promise<WeightStatistics> {
  const [input, output] = await Promise.all([
    model.weights.get("W_in", layer),
    model.weights.get("W_out", layer),
  ]);
  const [nUnits, dModel] = output.shape as [number, number];
  if (dModel !== unembedding.dModel) {
    throw new DataError(
      `weightStatistics: expected output weights of ${unembedding.dModel} coordinates, got ${dModel}`,
    );
  }
  const written = output.data.slice();
  const column = () => new Float64Array(nUnits);
  const [inNorm, outNorm, cosInOut] = [column(), column(), column()];
  for (let u = 0; u < nUnits; u++) {
    let inSquare = 0;
    let outSquare = 0;
    let product = 0;
    let mean = 0;
    for (let i = 0; i < dModel; i++) {
      const a = input.data[i * nUnits + u]!;
      const b = written[u * dModel + i]!;
      inSquare += a * a;
      outSquare += b * b;
      product += a * b;
      mean += b / dModel;
    }
    inNorm[u] = Math.sqrt(inSquare);
    outNorm[u] = Math.sqrt(outSquare);
    cosInOut[u] = product / (Math.sqrt(inSquare * outSquare) || 1);
    if (unembedding.centered) for (let i = 0; i < dModel; i++) written[u * dModel + i]! -= mean;
  }
  const scores = await linalg.matmul(
    matrix(written, nUnits, dModel),
    matrix(unembedding.data, dModel, unembedding.nTokens),
  );
  const statistics: WeightStatistics = {
    layer,
    nLayers: model.cfg.nLayers,
    nUnits,
    inNorm,
    outNorm,
    cosInOut,
    vocabularyVariance: column(),
    vocabularySkewness: column(),
    vocabularyKurtosis: column(),
    nTokens: Math.min(nTokens, unembedding.nTokens),
    topTokens: new Int32Array(nUnits * Math.min(nTokens, unembedding.nTokens)),
    topScores: new Float32Array(nUnits * Math.min(nTokens, unembedding.nTokens)),
    bottomTokens: new Int32Array(nUnits * Math.min(nTokens, unembedding.nTokens)),
    bottomScores: new Float32Array(nUnits * Math.min(nTokens, unembedding.nTokens)),
  };
  const cosines = new Float64Array(unembedding.nTokens);
  for (let u = 0; u < nUnits; u++) {
    const row = scores.data.subarray(u * unembedding.nTokens, (u + 1) * unembedding.nTokens);
    let length = 0;
    for (let i = 0; i < dModel; i++) length += written[u * dModel + i]! ** 2;
    length = Math.sqrt(length);
    for (let t = 0; t < cosines.length; t++) {
      cosines[t] = row[t]! / (length * unembedding.lengths[t]! || 1);
    }
    const { variance, skewness, kurtosis } = shapeOf(cosines);
    statistics.vocabularyVariance[u] = variance;
    statistics.vocabularySkewness[u] = skewness;
    statistics.vocabularyKurtosis[u] = kurtosis;
    const [top, bottom] = [
      strongest(row, statistics.nTokens, 1),
      strongest(row, statistics.nTokens, -1),
    ];
    for (let k = 0; k < statistics.nTokens; k++) {
      const at = u * statistics.nTokens + k;
      statistics.topTokens[at] = top[k]!;
      statistics.topScores[at] = row[top[k]!]!;
      statistics.bottomTokens[at] = bottom[k]!;
      statistics.bottomScores[at] = row[bottom[k]!]!;
    }
  }
  return statistics;
}

/** The places of the n largest values, or with sign -1 of the smallest, the strongest first; of equal ones the earlier. Few are wanted of many: no sort. */
function strongest(values: Float32Array | Float64Array, n: number, sign: 1 | -1): number[] {
  const places: number[] = [];
  for (let i = 0; i < values.length; i++) {
    const value = sign * values[i]!;
    if (places.length === n && !(value > sign * values[places[n - 1]!]!)) continue;
    let at = places.length < n ? places.length : n - 1;
    for (; at > 0 && value > sign * values[places[at - 1]!]!; at--) places[at] = places[at - 1]!;
    places[at] = i;
  }
  return places;
}

function shapeOf(values: Float64Array): { variance: number; skewness: number; kurtosis: number } {
  const n = values.length;
  let mean = 0;
  for (const value of values) mean += value / n;
  let m2 = 0;
  let m3 = 0;
  let m4 = 0;
  for (const value of values) {
    const d = value - mean;
    m2 += (d * d) / n;
    m3 += d ** 3 / n;
    m4 += d ** 4 / n;
  }
  if (m2 === 0) return { variance: 0, skewness: 0, kurtosis: 0 };
  return { variance: m2, skewness: m3 / m2 ** 1.5, kurtosis: m4 / (m2 * m2) };
}

/** What the weights say a neuron does to the output. */
export type OutputRole = "promotes" | "suppresses" | "entropy-candidate";

/**
 * The neurons of a layer that write something clear: those with a vocabulary kurtosis above 10 promote (positive skewness) or suppress
 * a set of tokens; in the last third of the layers, those among the 5 % with the largest output weights and also among the 5 % with the
 * smallest vocabulary variance may set the scale of the final norm, and so the entropy of the prediction, without naming tokens.
 *
 * @returns For each unit its role, or undefined.
 *
 * Source: kurtosis and skewness as Gurnee et al. (2024), section 5; entropy neurons are theirs too, but their thresholds are absolute numbers for
 * GPT-2, and shares of the layer are used here in their place: candidates, to be tried by an intervention.
 */
export function outputRoles(
  statistics: WeightStatistics,
  nLayers: number,
): (OutputRole | undefined)[] {
  const { layer, nUnits, outNorm, vocabularyVariance } = statistics;
  const late = layer >= Math.floor((2 * nLayers) / 3);
  const normFrom = Float64Array.from(outNorm).sort()[Math.floor(0.95 * (nUnits - 1))]!;
  const varianceTo = Float64Array.from(vocabularyVariance).sort()[Math.ceil(0.05 * (nUnits - 1))]!;
  return Array.from({ length: nUnits }, (_, u) => {
    if (statistics.vocabularyKurtosis[u]! > 10) {
      return statistics.vocabularySkewness[u]! > 0 ? "promotes" : "suppresses";
    }
    const heavy = outNorm[u]! >= normFrom && vocabularyVariance[u]! <= varianceTo;
    return late && heavy ? "entropy-candidate" : undefined;
  });
}
