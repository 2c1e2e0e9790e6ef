import { ArgumentError, ModelError, type Rng } from "@penfield/core";

/** How the next token is drawn. Without a temperature the likeliest is taken (greedy). */
export interface SamplingOptions {
  /**
   * Scores are divided by it before they become probabilities: below 1 sharper, above 1 flatter.
   * 0 (default): no drawing, the likeliest token; of equals the first of the vocabulary.
   */
  readonly temperature?: number | undefined;
  /** Draw among so many of the likeliest tokens; default all. */
  readonly topK?: number | undefined;
  /** Draw among the fewest likeliest tokens that have this probability together; default 1, all. */
  readonly topP?: number | undefined;
}

/** Tokens that can be drawn, and their probabilities, which sum to 1. */
export interface NextTokens {
  readonly tokens: readonly number[];
  readonly probs: readonly number[];
}

/** @throws {ArgumentError} for settings that no drawing can follow. */
export function checkSampling(
  { temperature = 0, topK, topP }: SamplingOptions,
  name: string,
): void {
  if (!(Number.isFinite(temperature) && temperature >= 0)) {
    throw new ArgumentError(`${name}: expected a temperature of at least 0, got ${temperature}`);
  }
  if (topK !== undefined && !(Number.isInteger(topK) && topK >= 1)) {
    throw new ArgumentError(`${name}: expected topK of at least 1 token, got ${topK}`);
  }
  if (topP !== undefined && !(topP > 0 && topP <= 1)) {
    throw new ArgumentError(`${name}: expected topP above 0 and at most 1, got ${topP}`);
  }
  if (temperature === 0 && (topK !== undefined || topP !== undefined)) {
    throw new ArgumentError(
      `${name}: expected a temperature with ${topK === undefined ? "topP" : "topK"}, got none`,
      { hint: "Without one the likeliest token is taken; give temperature: 1 to draw." },
    );
  }
}

/**
 * The distribution that the next token is drawn from.
 *
 *   p(t) = exp(x(t) / temperature) / sum over the kept tokens
 *
 * First the `topK` likeliest tokens are kept; of these, the fewest likeliest that have `topP` of the
 * probability that is left. Equal scores are in the order of the vocabulary. At least one token is kept.
 *
 * @param scores - Logits over the vocabulary.
 * @returns Likeliest first where `topK` or `topP` is given, else in the order of the vocabulary; the
 *   likeliest alone if the temperature is 0. float64.
 * @throws {ArgumentError} for settings outside their ranges.
 * @throws {ModelError} if a score is not a number.
 *
 * Cost: O(V), with topK or topP O(V log V).
 * Source: Fan et al. (2018), arXiv 1805.04833 (top-k); Holtzman et al. (2020), arXiv 1904.09751 (top-p). Same order
 * and rules as transformers' TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper.
 *
 * @example
 * const { tokens, probs } = nextTokens(Float32Array.from([0, 2, 2, 1]), { temperature: 1, topK: 2 });
 * tokens // => [1, 2]
 * probs // => [0.5, 0.5]
 */
export function nextTokens(scores: Float32Array, options: SamplingOptions = {}): NextTokens {
  checkSampling(options, "nextTokens");
  const { temperature = 0, topK, topP } = options;
  const best = likeliest(scores);
  if (temperature === 0) return { tokens: [best], probs: [1] };
  const max = scores[best]!;
  const weightOf = (token: number): number => Math.exp((scores[token]! - max) / temperature);
  let tokens = Array.from(scores.keys());
  if (topK !== undefined || topP !== undefined) {
    tokens.sort((a, b) => scores[b]! - scores[a]! || a - b);
    tokens = tokens.slice(0, topK);
  }
  let weights = tokens.map(weightOf);
  if (topP !== undefined) {
    const enough = topP * sumOf(weights);
    let sum = 0;
    const last = weights.findIndex((w) => {
      sum += w;
      return sum >= enough;
    });
    if (last >= 0) weights = weights.slice(0, last + 1);
    tokens = tokens.slice(0, weights.length);
  }
  const whole = sumOf(weights);
  return { tokens, probs: weights.map((w) => w / whole) };
}

/** One of the tokens; takes one uniform number of `rng` unless there is only one. */
export function drawToken({ tokens, probs }: NextTokens, rng: Rng): number {
  if (tokens.length === 1) return tokens[0]!;
  const place = rng.uniform();
  let sum = 0;
  for (const [i, p] of probs.entries()) {
    sum += p;
    if (place < sum) return tokens[i]!;
  }
  // Rounding may leave the sum a little below 1.
  return tokens[probs.findLastIndex((p) => p > 0)]!;
}

/** Log-probability of a token and entropy of all, in nats, of the scores as they are. */
export function tokenStatistics(
  scores: Float32Array,
  token: number,
): { logProb: number; entropy: number } {
  const max = scores[likeliest(scores)]!;
  let sum = 0;
  for (const x of scores) sum += Math.exp(x - max);
  const whole = max + Math.log(sum);
  let entropy = 0;
  for (const x of scores) {
    const p = Math.exp(x - whole);
    if (p > 0) entropy -= p * (x - whole);
  }
  return { logProb: scores[token]! - whole, entropy };
}

function likeliest(scores: Float32Array): number {
  let best = 0;
  for (let i = 0; i < scores.length; i++) {
    const score = scores[i]!;
    if (Number.isNaN(score)) {
      throw new ModelError(`nextTokens: expected scores that are numbers, got NaN for token ${i}`, {
        hint: "An intervention may have driven the model out of the range of its numbers.",
      });
    }
    if (score > scores[best]!) best = i;
  }
  return best;
}

const sumOf = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
