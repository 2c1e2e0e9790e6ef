import { ArgumentError, ShapeError } from "@penfield/core";
import type { HookValues } from "../transformer/values.ts";

/** A row of a run, and the prompt that it carries: sweeps run each prompt many times in one batch. */
export interface MetricRow {
  readonly row: number;
  readonly prompt: number;
}

/** A number for each row asked for, from scores `[row, pos, d_vocab]`. */
export type Metric = (logits: HookValues, rows: readonly MetricRow[]) => number[];

/** One position for all prompts, or one per prompt; negative ones count from the end; default the last. */
export interface MetricPlace {
  readonly position?: number | readonly number[] | undefined;
}

/** One token for all prompts, or one per prompt. */
export type Answer = number | readonly number[];

/**
 * Logit of the right answer less logit of the wrong one.
 *
 * @throws {ArgumentError} when it is applied, for tokens or positions that do not exist.
 *
 * @example
 * const logits = { data: Float32Array.from([0, 3, 1]), shape: [1, 1, 3] };
 * logitDiff({ tokens: 1, incorrectTokens: 2 })(logits, [{ row: 0, prompt: 0 }]) // => [2]
 */
export function logitDiff(
  options: { readonly tokens: Answer; readonly incorrectTokens: Answer } & MetricPlace,
): Metric {
  return eachRow(options, "logitDiff", (scores, prompt) => {
    const right = scores[answerOf(options.tokens, prompt, scores, "logitDiff")]!;
    return right - scores[answerOf(options.incorrectTokens, prompt, scores, "logitDiff")]!;
  });
}

/** Log-probability of a token: x[t] - log sum exp(x), natural logarithm, in float64. */
export function logProb(options: { readonly tokens: Answer } & MetricPlace): Metric {
  return eachRow(options, "logProb", (scores, prompt) => {
    const token = answerOf(options.tokens, prompt, scores, "logProb");
    return scores[token]! - logSumExp(scores);
  });
}

/** Probability of a token. */
export function prob(options: { readonly tokens: Answer } & MetricPlace): Metric {
  const logs = logProb(options);
  return (logits, rows) => logs(logits, rows).map(Math.exp);
}

/**
 * Mean negative log-probability (nats) that the model gives to each next token of the prompts
 * themselves; the first token is not predicted.
 *
 *   loss = -1 / (n - 1) sum over p >= 1 of log P(token p | tokens before p)
 *
 * @param options.tokens - The prompts, as they were run.
 */
export function loss({ tokens }: { readonly tokens: readonly (readonly number[])[] }): Metric {
  return (logits, rows) =>
    rows.map(({ row, prompt }) => {
      const ids = tokens[prompt];
      if (!ids || ids.length < 2) {
        throw new ArgumentError(
          `loss: expected at least 2 tokens for prompt ${prompt}, got ${ids?.length ?? "none"}`,
        );
      }
      let sum = 0;
      for (let p = 1; p < ids.length; p++) {
        const scores = scoresAt(logits, row, p - 1, "loss");
        sum += logSumExp(scores) - scores[answerOf(ids[p]!, prompt, scores, "loss")]!;
      }
      return sum / (ids.length - 1);
    });
}

/** exp of `loss`. */
export function perplexity(options: { readonly tokens: readonly (readonly number[])[] }): Metric {
  const inner = loss(options);
  return (logits, rows) => inner(logits, rows).map(Math.exp);
}

/** Entropy of the next token in nats: -sum p log p; 0 to log(d_vocab). */
export function entropy(options: MetricPlace = {}): Metric {
  return eachRow(options, "entropy", (scores) => {
    const whole = logSumExp(scores);
    let sum = 0;
    for (const x of scores) {
      const p = Math.exp(x - whole);
      if (p > 0) sum -= p * (x - whole);
    }
    return sum;
  });
}

/**
 * Kullback-Leibler divergence of the next token from a reference run, in nats.
 *
 *   KL(P || Q) = sum P (log P - log Q), P the reference
 *
 * @param options.reference - Scores `[prompt, pos, d_vocab]` of the reference run.
 */
export function klDivergence(options: { readonly reference: HookValues } & MetricPlace): Metric {
  const { reference } = options;
  return eachRow(options, "klDivergence", (scores, prompt, position) => {
    const base = scoresAt(reference, prompt, position, "klDivergence");
    if (base.length !== scores.length) {
      throw new ShapeError(
        `klDivergence: expected a reference over ${scores.length} tokens, got ${base.length}`,
      );
    }
    const [whole, baseWhole] = [logSumExp(scores), logSumExp(base)];
    let sum = 0;
    base.forEach((x, i) => {
      const p = Math.exp(x - baseWhole);
      if (p > 0) sum += p * (x - baseWhole - (scores[i]! - whole));
    });
    return Math.max(0, sum);
  });
}

/** A token among the likeliest. */
export interface RankedToken {
  readonly token: number;
  readonly logit: number;
  readonly prob: number;
}

/**
 * The likeliest next tokens of each row, likeliest first; equal scores in the order of the vocabulary.
 *
 * @param options.k - How many; default 10.
 *
 * @example
 * const logits = { data: Float32Array.from([0, 3, 1]), shape: [1, 1, 3] };
 * topK(logits, { k: 2 })[0].map(({ token }) => token) // => [1, 2]
 */
export function topK(
  logits: HookValues,
  { k = 10, position }: { readonly k?: number } & MetricPlace = {},
): RankedToken[][] {
  if (!Number.isInteger(k) || k < 1) {
    throw new ArgumentError(`topK: expected at least 1 token, got ${k}`);
  }
  return Array.from({ length: logits.shape[0]! }, (_, row) => {
    const scores = scoresAt(logits, row, placeOf(position, row, logits, "topK"), "topK");
    const whole = logSumExp(scores);
    return Array.from(scores.keys())
      .sort((a, b) => scores[b]! - scores[a]! || a - b)
      .slice(0, k)
      .map((token) => ({ token, logit: scores[token]!, prob: Math.exp(scores[token]! - whole) }));
  });
}

/** All metrics that give one number per row, by name. */
export const metrics: {
  readonly logitDiff: typeof logitDiff;
  readonly prob: typeof prob;
  readonly logProb: typeof logProb;
  readonly loss: typeof loss;
  readonly perplexity: typeof perplexity;
  readonly entropy: typeof entropy;
  readonly klDivergence: typeof klDivergence;
} = { logitDiff, prob, logProb, loss, perplexity, entropy, klDivergence };

function eachRow(
  { position }: MetricPlace,
  name: string,
  measure: (scores: Float32Array, prompt: number, position: number) => number,
): Metric {
  return (logits, rows) =>
    rows.map(({ row, prompt }) => {
      const place = placeOf(position, prompt, logits, name);
      return measure(scoresAt(logits, row, place, name), prompt, place);
    });
}

function placeOf(
  position: MetricPlace["position"],
  prompt: number,
  { shape }: HookValues,
  name: string,
): number {
  const length = shape[1]!;
  const wanted = typeof position === "object" ? position[prompt] : (position ?? -1);
  const place = wanted !== undefined && wanted < 0 ? length + wanted : wanted;
  if (place === undefined || !Number.isInteger(place) || place < 0 || place >= length) {
    throw new ArgumentError(
      `${name}: expected a position within 0..${length - 1} for prompt ${prompt}, got ${wanted}`,
    );
  }
  return place;
}

function scoresAt(
  { data, shape }: HookValues,
  row: number,
  place: number,
  name: string,
): Float32Array {
  const [nRows, length, size] = shape as [number, number, number];
  if (shape.length !== 3 || row >= nRows || place >= length) {
    throw new ShapeError(
      `${name}: expected scores [row, pos, vocabulary] with row ${row} and position ${place}, got [${shape.join(", ")}]`,
    );
  }
  const start = (row * length + place) * size;
  return data.subarray(start, start + size);
}

function answerOf(answer: Answer, prompt: number, scores: Float32Array, name: string): number {
  const token = typeof answer === "number" ? answer : answer[prompt];
  if (token !== undefined && Number.isInteger(token) && token >= 0 && token < scores.length) {
    return token;
  }
  throw new ArgumentError(
    `${name}: expected a token within 0..${scores.length - 1} for prompt ${prompt}, got ${token}`,
  );
}

function logSumExp(scores: Float32Array): number {
  let max = Number.NEGATIVE_INFINITY;
  for (const x of scores) if (x > max) max = x;
  let sum = 0;
  for (const x of scores) sum += Math.exp(x - max);
  return max + Math.log(sum);
}
