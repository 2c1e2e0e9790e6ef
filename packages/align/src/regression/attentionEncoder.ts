import {
  ArgumentError,
  createRng,
  type FloatArray,
  type LongWork,
  ShapeError,
  type Tensor,
  tensor,
  throwIfAborted,
} from "@penfield/core";
import type { Linalg } from "@penfield/linalg";
import { checkFinite } from "./columns.ts";
import type { Responses } from "./ridgeCv.ts";
import { withLinalg } from "./ridgeEngine.ts";

/** Tokens or patches of each stimulus, `[nStimuli, nTokens, nUnits]`. */
export type TokenActivations = Tensor<readonly ["stimulus", "token", "unit"]>;

/** How an attention-routed encoder is trained. */
export interface AttentionEncoderOptions extends LongWork {
  /** The group (region of interest) of each target; groups share a query. Default: all in one. */
  readonly groups?: ArrayLike<string | number> | undefined;
  /** Steps of the optimizer, each over all stimuli. Default 500. */
  readonly steps?: number | undefined;
  /** Default 0.03. */
  readonly learningRate?: number | undefined;
  /** Weight of the squared readout in the loss, which is the mean squared error of z-scored targets. Default 1e-3. */
  readonly penalty?: number | undefined;
  /** Default 0. */
  readonly seed?: number | undefined;
  /** Where products are computed. Default: one made for this call. */
  readonly linalg?: Linalg | undefined;
}

/** A trained encoder. */
export interface AttentionEncoder {
  readonly groups: readonly (string | number)[];
  /** The place in `groups` of each target. */
  readonly groupOf: Int32Array;
  /** `[nGroups, nUnits]`, for units that are z-scored. */
  readonly queries: Float64Array;
  /** `[nTargets, nUnits]`. */
  readonly readout: Float64Array;
  readonly bias: Float64Array;
  /** Of units over stimuli and tokens fitted to. */
  readonly unitMeans: Float64Array;
  readonly unitScales: Float64Array;
  /** Mean squared error of z-scored targets, at every step. */
  readonly losses: readonly number[];
}

/** What an encoder expects, and where it looks. */
export interface AttentionPredictions {
  readonly predicted: Responses;
  /** How much each token counts, 1 in sum over tokens, `[nStimuli, nGroups, nTokens]`. */
  readonly routing: Tensor<readonly ["stimulus", "group", "token"]>;
}

/**
 * An encoder that chooses, for every stimulus anew, which tokens or patches drive a group of targets: a learned query per group,
 * compared with every token, and a linear readout of the tokens' average so weighted.
 *
 *   routing_i = softmax_k(q x_ik / sqrt(nUnits)),   yHat_i = w sum_k routing_ik x_ik + b
 *
 * Units are z-scored over stimuli and tokens, targets over stimuli. Trained by Adam on all stimuli at once, from a
 * seed; the loss is not convex, so other seeds may end elsewhere.
 *
 * @param tokens - `[nStimuli, nTokens, nUnits]`, finite.
 * @param y - `[nStimuli, nTargets]`, finite.
 * @throws {ShapeError} if the numbers of stimuli or targets do not fit.
 * @throws {DataError} if a value is not finite.
 * @throws {ArgumentError} if an option is out of range.
 * @throws {InterruptedError} if the signal fires.
 *
 * Cost: per step some 6 nStimuli nTokens nUnits nGroups operations. Score it on stimuli that it was not fitted to.
 * Source: Adeli, Sun & Kriegeskorte (2025), transformer brain encoders; here with one query per group and no positional code.
 * Adam: Kingma & Ba (2015).
 */
export async function trainAttentionEncoder(
  tokens: TokenActivations,
  y: Responses,
  options: AttentionEncoderOptions = {},
): Promise<AttentionEncoder> {
  const name = "trainAttentionEncoder";
  const { steps = 500, learningRate = 0.03, penalty = 1e-3, seed = 0 } = options;
  const { onProgress, signal } = options;
  const [n, nTokens, d] = tokens.shape;
  const nTargets = y.shape[1];
  if (y.shape[0] !== n || n < 2 || nTokens < 1 || d < 1 || nTargets < 1) {
    throw new ShapeError(
      `${name}: expected responses to the same 2 stimuli or more, got [${tokens.shape.join(", ")}] and [${y.shape.join(", ")}]`,
    );
  }
  if (!Number.isInteger(steps) || steps < 1 || !(learningRate > 0) || !(penalty >= 0)) {
    throw new ArgumentError(
      `${name}: expected steps and learningRate above 0 and penalty 0 or more, got ${steps}, ${learningRate} and ${penalty}`,
    );
  }
  checkFinite(name, "activations", tokens.data, d);
  checkFinite(name, "responses", y.data, nTargets);
  const labels = options.groups ?? new Int32Array(nTargets);
  if (labels.length !== nTargets) {
    throw new ShapeError(
      `${name}: expected a group for each of ${nTargets} targets, got ${labels.length}`,
    );
  }
  const groups = [...new Set(Array.from(labels))];
  const groupOf = Int32Array.from({ length: nTargets }, (_, t) => groups.indexOf(labels[t]!));
  const nGroups = groups.length;
  const { means: unitMeans, scales: unitScales } = momentsOf(tokens.data, d);
  const x = scaled(tokens.data, unitMeans, unitScales);
  const { means: yMeans, scales: yScales } = momentsOf(y.data, nTargets);
  const z = scaled(y.data, yMeans, yScales);
  const rng = createRng(seed);
  const queries = Float64Array.from({ length: nGroups * d }, () => 0.1 * rng.normal());
  const readout = Float64Array.from(
    { length: nTargets * d },
    () => (0.1 * rng.normal()) / Math.sqrt(d),
  );
  const adam = [adamFor(queries, learningRate), adamFor(readout, learningRate)];
  const losses: number[] = [];
  return withLinalg(options.linalg, async (linalg) => {
    for (let step = 0; step < steps; step++) {
      throwIfAborted(signal, name);
      const { routing, pooled } = await route(x, n, nTokens, d, queries, nGroups, linalg);
      const readoutGradient = new Float64Array(readout.length);
      const pooledGradient = new Float64Array(pooled.length);
      let loss = 0;
      const by = 2 / (n * nTargets);
      for (let i = 0; i < n; i++) {
        for (let t = 0; t < nTargets; t++) {
          const at = (i * nGroups + groupOf[t]!) * d;
          let error = -z[i * nTargets + t]!;
          for (let u = 0; u < d; u++) error += readout[t * d + u]! * pooled[at + u]!;
          loss += error * error;
          for (let u = 0; u < d; u++) {
            readoutGradient[t * d + u]! += by * error * pooled[at + u]!;
            pooledGradient[at + u]! += by * error * readout[t * d + u]!;
          }
        }
      }
      losses.push(loss / (n * nTargets));
      for (let j = 0; j < readout.length; j++) {
        readoutGradient[j]! += (2 * penalty * readout[j]!) / nTargets;
      }
      const gradient = await queryGradient(
        x,
        { n, nTokens, d, nGroups },
        routing,
        pooledGradient,
        linalg,
      );
      adam[0]!(gradient);
      adam[1]!(readoutGradient);
      onProgress?.({ stage: "training", done: step + 1, total: steps, unit: "steps" });
    }
    const bias = Float64Array.from(yMeans);
    for (let t = 0; t < nTargets; t++) {
      for (let u = 0; u < d; u++) readout[t * d + u]! /= yScales[t]!;
    }
    return { groups, groupOf, queries, readout, bias, unitMeans, unitScales, losses };
  });
}

/**
 * What a trained encoder expects for stimuli, and which tokens it looks at.
 *
 * @throws {ShapeError} if the number of units is another.
 */
export async function predictAttention(
  encoder: AttentionEncoder,
  tokens: TokenActivations,
  { linalg: given }: { linalg?: Linalg | undefined } = {},
): Promise<AttentionPredictions> {
  const [n, nTokens, d] = tokens.shape;
  const { queries, readout, bias, groupOf, unitMeans, unitScales } = encoder;
  if (d !== unitMeans.length) {
    throw new ShapeError(`predictAttention: expected ${unitMeans.length} units, got ${d}`);
  }
  const nGroups = encoder.groups.length;
  const nTargets = groupOf.length;
  return withLinalg(given, async (linalg) => {
    const x = scaled(tokens.data, unitMeans, unitScales);
    const { routing, pooled } = await route(x, n, nTokens, d, queries, nGroups, linalg);
    const out = new Float64Array(n * nTargets);
    for (let i = 0; i < n; i++) {
      for (let t = 0; t < nTargets; t++) {
        let sum = bias[t]!;
        const at = (i * nGroups + groupOf[t]!) * d;
        for (let u = 0; u < d; u++) sum += readout[t * d + u]! * pooled[at + u]!;
        out[i * nTargets + t] = sum;
      }
    }
    return {
      predicted: tensor(out, ["stimulus", "target"], [n, nTargets]),
      routing: tensor(routing, ["stimulus", "group", "token"], [n, nGroups, nTokens]),
    };
  });
}

/** Attention of every group, `[n, nGroups, nTokens]`, and the tokens' average by it, `[n, nGroups, d]`. */
async function route(
  x: Float64Array,
  n: number,
  nTokens: number,
  d: number,
  queries: Float64Array,
  nGroups: number,
  linalg: Linalg,
): Promise<{ routing: Float64Array; pooled: Float64Array }> {
  const { data } = await linalg.matmul(
    { data: x, nRows: n * nTokens, nColumns: d },
    { data: queries, nRows: nGroups, nColumns: d },
    { transposeB: true },
  ); // [n nTokens, nGroups]
  const routing = new Float64Array(n * nGroups * nTokens);
  for (let i = 0; i < n; i++) {
    for (let g = 0; g < nGroups; g++) {
      const at = (i * nGroups + g) * nTokens;
      let most = Number.NEGATIVE_INFINITY;
      for (let k = 0; k < nTokens; k++) {
        routing[at + k] = data[(i * nTokens + k) * nGroups + g]! / Math.sqrt(d);
        most = Math.max(most, routing[at + k]!);
      }
      let sum = 0;
      for (let k = 0; k < nTokens; k++) {
        routing[at + k] = Math.exp(routing[at + k]! - most);
        sum += routing[at + k]!;
      }
      for (let k = 0; k < nTokens; k++) routing[at + k]! /= sum;
    }
  }
  const pooled = await linalg.batchMatmul(
    { data: routing, count: n, nRows: nGroups, nColumns: nTokens },
    { data: x, count: n, nRows: nTokens, nColumns: d },
  );
  return { routing, pooled: pooled.data };
}

/** The loss's gradient through the softmax. */
async function queryGradient(
  x: Float64Array,
  { n, nTokens, d, nGroups }: { n: number; nTokens: number; d: number; nGroups: number },
  routing: Float64Array,
  pooledGradient: Float64Array,
  linalg: Linalg,
): Promise<Float64Array> {
  const { data: byToken } = await linalg.batchMatmul(
    { data: pooledGradient, count: n, nRows: nGroups, nColumns: d },
    { data: x, count: n, nRows: nTokens, nColumns: d },
    { transposeB: true },
  ); // [n, nGroups, nTokens]
  const logits = new Float64Array(n * nTokens * nGroups);
  for (let i = 0; i < n; i++) {
    for (let g = 0; g < nGroups; g++) {
      const at = (i * nGroups + g) * nTokens;
      let mean = 0;
      for (let k = 0; k < nTokens; k++) mean += routing[at + k]! * byToken[at + k]!;
      for (let k = 0; k < nTokens; k++) {
        logits[(i * nTokens + k) * nGroups + g] =
          (routing[at + k]! * (byToken[at + k]! - mean)) / Math.sqrt(d);
      }
    }
  }
  const { data } = await linalg.matmul(
    { data: logits, nRows: n * nTokens, nColumns: nGroups },
    { data: x, nRows: n * nTokens, nColumns: d },
    { transposeA: true },
  );
  return data;
}

/** Steps of Adam over some weights, in place. */
function adamFor(weights: Float64Array, rate: number): (gradient: Float64Array) => void {
  const [beta1, beta2, epsilon] = [0.9, 0.999, 1e-8];
  const first = new Float64Array(weights.length);
  const second = new Float64Array(weights.length);
  let step = 0;
  return (gradient) => {
    step++;
    for (let j = 0; j < weights.length; j++) {
      const g = gradient[j]!;
      first[j] = beta1 * first[j]! + (1 - beta1) * g;
      second[j] = beta2 * second[j]! + (1 - beta2) * g * g;
      const mean = first[j]! / (1 - beta1 ** step);
      const square = second[j]! / (1 - beta2 ** step);
      weights[j]! -= (rate * mean) / (Math.sqrt(square) + epsilon);
    }
  };
}

function momentsOf(data: FloatArray, width: number): { means: Float64Array; scales: Float64Array } {
  const count = data.length / width;
  const means = new Float64Array(width);
  const scales = new Float64Array(width);
  for (let i = 0; i < data.length; i++) means[i % width]! += data[i]! / count;
  for (let i = 0; i < data.length; i++) scales[i % width]! += (data[i]! - means[i % width]!) ** 2;
  for (let j = 0; j < width; j++) scales[j] = 1 / (Math.sqrt(scales[j]! / count) || 1);
  return { means, scales };
}

function scaled(data: FloatArray, means: Float64Array, scales: Float64Array): Float64Array {
  const width = means.length;
  return Float64Array.from(data, (value, i) => (value - means[i % width]!) * scales[i % width]!);
}
