import { ArgumentError, createRng, permutation, ShapeError } from "@penfield/core";
import { getActName } from "../hookPoint.ts";
import type { TokenRows } from "../transformer/inputs.ts";
import type { HookedModel } from "../transformer/model.ts";

/** The kinds of heads that are known by name. */
export type HeadName = "previous_token_head" | "duplicate_token_head" | "induction_head";

/** A score for each head: `scores` is `[nLayers, nHeads]`, row-major. */
export interface HeadScores {
  readonly scores: Float64Array;
  readonly shape: readonly [number, number];
}

/** How a pattern is compared with the one that is looked for. */
export interface DetectionOptions {
  /** `mul` (default): share of the attention that lies where it should. `abs`: 1 less the distance. */
  readonly errorMeasure?: "mul" | "abs" | undefined;
  /** Leave out attention to the first token. */
  readonly excludeBos?: boolean | undefined;
  /** Leave out attention to the token itself. */
  readonly excludeCurrentToken?: boolean | undefined;
}

/**
 * The attention that a kind of head should show on some tokens: `[dest, src]`, ones and zeros, no
 * source later than its destination.
 *
 * - `previous_token_head`: the token before.
 * - `duplicate_token_head`: earlier tokens that are the same.
 * - `induction_head`: the tokens after earlier ones that are the same: the duplicate pattern moved one
 *   source to the right, nothing at the first.
 *
 * Matches `get_*_detection_pattern` of TransformerLens.
 *
 * @throws {ArgumentError} for another name.
 *
 * @example
 * detectionPattern("induction_head", [7, 8, 7]) // => [0, 0, 0, 0, 0, 0, 0, 1, 0]
 */
export function detectionPattern(name: HeadName, tokens: readonly number[]): Float64Array {
  const n = tokens.length;
  const shows: Record<HeadName, (dest: number, src: number) => boolean> = {
    previous_token_head: (dest, src) => src === dest - 1,
    duplicate_token_head: (dest, src) => src < dest && tokens[src] === tokens[dest],
    induction_head: (dest, src) =>
      src > 0 && src <= dest && tokens[src - 1] === tokens[dest] && src - 1 !== dest,
  };
  if (!Object.hasOwn(shows, name)) {
    throw new ArgumentError(
      `detectHead: expected ${Object.keys(shows).join(", ")}, got ${JSON.stringify(name)}`,
    );
  }
  return Float64Array.from({ length: n * n }, (_, i) =>
    shows[name](Math.floor(i / n), i % n) ? 1 : 0,
  );
}

/**
 * How well one attention pattern fits the one that is looked for.
 *
 *   mul: sum(pattern * detection) / sum(pattern)
 *   abs: 1 - mean(|pattern - detection|) n
 *
 * with the columns of the first token, and the diagonal, set to 0 as asked: in the pattern for `mul`,
 * in the differences for `abs`. `mul` is NaN where nothing of the pattern is left.
 *
 * @param pattern - `[n, n]`, destination by source, row-major.
 * @param detection - `[n, n]`, no source later than its destination.
 * @throws {ShapeError} if sizes differ or `detection` looks ahead.
 * @throws {ArgumentError} for another error measure.
 *
 * Matches `compute_head_attention_similarity_score` of TransformerLens, which rounds `abs` to 3 digits.
 *
 * @example
 * headScore([1, 0, 0.75, 0.25], [0, 0, 1, 0]) // => 0.375
 * headScore([1, 0, 0.75, 0.25], [0, 0, 1, 0], { errorMeasure: "abs" }) // => 0.25
 */
export function headScore(
  pattern: ArrayLike<number>,
  detection: ArrayLike<number>,
  options: DetectionOptions = {},
): number {
  const { errorMeasure = "mul", excludeBos = false, excludeCurrentToken = false } = options;
  const n = Math.round(Math.sqrt(detection.length));
  if (n * n !== detection.length || pattern.length !== detection.length) {
    throw new ShapeError(
      `detectHead: expected two square patterns of one size, got ${pattern.length} and ${detection.length} values`,
    );
  }
  if (errorMeasure !== "mul" && errorMeasure !== "abs") {
    throw new ArgumentError(`detectHead: expected error measure mul or abs, got ${errorMeasure}`);
  }
  let [fits, whole, difference] = [0, 0, 0];
  for (let i = 0; i < n * n; i++) {
    const [dest, src] = [Math.floor(i / n), i % n];
    if (src > dest && detection[i] !== 0) {
      throw new ShapeError(
        `detectHead: expected a detection pattern without later sources, got ${detection[i]} at [${dest}, ${src}]`,
      );
    }
    if ((excludeBos && src === 0) || (excludeCurrentToken && src === dest)) continue;
    fits += pattern[i]! * detection[i]!;
    whole += pattern[i]!;
    difference += Math.abs(pattern[i]! - detection[i]!);
  }
  return errorMeasure === "mul" ? fits / whole : 1 - difference / n;
}

/**
 * Scores every head of a model by how well its attention fits a kind of head.
 *
 * @param tokens - One text or several of any length of at least 2; scores are averaged over them.
 * @param kind - A name, or the pattern itself, `[n, n]` for texts of n tokens.
 * @throws {HookPointError} if the model shows no attention patterns (fused attention).
 * @throws {ShapeError} for texts of fewer than 2 tokens, or a pattern that does not fit them.
 *
 * Cost: one forward pass per text.
 * Source: Olsson et al. (2022), "In-context Learning and Induction Heads"; matches `detect_head` of
 * TransformerLens, which does not hand the options on when it is given several texts.
 *
 * @example
 * const model = await HookedModel.fromPretrained("test/fixtures/gpt2");
 * const { shape } = await detectHead(model, [[5, 9, 7, 5, 9]], "induction_head");
 * shape // => [2, 3]
 * await model.dispose();
 */
export async function detectHead(
  model: HookedModel,
  tokens: TokenRows,
  kind: HeadName | ArrayLike<number>,
  options: DetectionOptions = {},
): Promise<HeadScores> {
  const { nLayers } = model.cfg;
  const hooks = patternHooks(model);
  const sums: number[] = [];
  let nHeads = 0;
  for (const row of tokens) {
    if (row.length < 2) {
      throw new ShapeError(`detectHead: expected texts of at least 2 tokens, got ${row.length}`);
    }
    const detection = typeof kind === "string" ? detectionPattern(kind, row) : kind;
    const { cache } = await model.run({ tokens: [row], capture: hooks, head: "none" });
    hooks.forEach((hook, layer) => {
      const { data, shape } = cache.get(hook)!;
      nHeads = shape[1]!;
      const size = row.length ** 2;
      for (let head = 0; head < nHeads; head++) {
        const pattern = data.subarray(head * size, (head + 1) * size);
        const at = layer * nHeads + head;
        sums[at] = (sums[at] ?? 0) + headScore(pattern, detection, options) / tokens.length;
      }
    });
  }
  return { scores: Float64Array.from(sums), shape: [nLayers, nHeads] };
}

function patternHooks(model: HookedModel): string[] {
  return Array.from(
    { length: model.cfg.nLayers },
    (_, l) => model.hookPoint(getActName("pattern", l)).name,
  );
}

/** How random tokens that are said twice are drawn. */
export interface RepeatedTokensOptions {
  /** Tokens in one half; default 50. */
  readonly length?: number | undefined;
  /** Default 10. */
  readonly nSequences?: number | undefined;
  /** Default 0. */
  readonly seed?: number | undefined;
  /** Goes before each sequence and is not drawn; none by default. */
  readonly bosToken?: number | undefined;
  /** Tokens are drawn from 0 to this; default all of the model's. */
  readonly vocabularySize?: number | undefined;
}

/**
 * Sequences of random tokens, each said twice: `[bos, r1 … rn, r1 … rn]`. Within a half no token
 * occurs twice.
 *
 * @throws {ArgumentError} if the vocabulary has fewer tokens than a half.
 *
 * @example
 * const [row] = repeatedRandomTokens({ length: 3, nSequences: 1, bosToken: 0, vocabularySize: 9 });
 * row.length // => 7
 * row.slice(1, 4).every((token, i) => token === row[4 + i]) // => true
 */
export function repeatedRandomTokens(
  options: RepeatedTokensOptions & { readonly vocabularySize: number },
): number[][] {
  const { length = 50, nSequences = 10, seed = 0, bosToken, vocabularySize } = options;
  const drawn = vocabularySize - (bosToken !== undefined && bosToken < vocabularySize ? 1 : 0);
  if (!Number.isInteger(length) || length < 2 || length > drawn) {
    throw new ArgumentError(
      `repeatedRandomTokens: expected halves of 2 to ${drawn} tokens, got ${length}`,
    );
  }
  if (!Number.isInteger(nSequences) || nSequences < 1) {
    throw new ArgumentError(
      `repeatedRandomTokens: expected at least 1 sequence, got ${nSequences}`,
    );
  }
  const rng = createRng(seed);
  return Array.from({ length: nSequences }, () => {
    const half = Array.from(permutation(vocabularySize, rng))
      .filter((token) => token !== bosToken)
      .slice(0, length);
    return [...(bosToken === undefined ? [] : [bosToken]), ...half, ...half];
  });
}

/**
 * How much each head does induction: on random tokens that are said twice, its attention from each
 * token of the second half to the token after that token's first occurrence, averaged.
 *
 *   score = mean over p in the second half of pattern[p, p - length + 1]
 *
 * @returns A score from 0 to 1 for each head.
 * @throws {HookPointError} if the model shows no attention patterns (fused attention).
 *
 * Cost: nSequences forward passes of 2 length tokens, in one run.
 * Source: Olsson et al. (2022). TransformerLens' demos average the whole diagonal, which has one
 * place more: the last token of the first half.
 *
 * @example
 * const model = await HookedModel.fromPretrained("test/fixtures/gpt2");
 * const { scores, shape } = await inductionScore(model, { length: 10, nSequences: 2 });
 * shape // => [2, 3]
 * scores.every((score) => score >= 0 && score <= 1) // => true
 * await model.dispose();
 */
export async function inductionScore(
  model: HookedModel,
  options: RepeatedTokensOptions = {},
): Promise<HeadScores> {
  const { length = 50, vocabularySize = model.cfg.dVocab ?? 0 } = options;
  const tokens = repeatedRandomTokens({ ...options, vocabularySize });
  const hooks = patternHooks(model);
  const { cache } = await model.run({ tokens, capture: hooks, head: "none" });
  const scores: number[] = [];
  const start = tokens[0]!.length - length;
  for (const hook of hooks) {
    const { data, shape } = cache.get(hook)!;
    const [nRows, nHeads, nDest, nSrc] = shape as [number, number, number, number];
    for (let head = 0; head < nHeads; head++) {
      let sum = 0;
      for (let row = 0; row < nRows; row++) {
        for (let p = start; p < nDest; p++) {
          sum += data[((row * nHeads + head) * nDest + p) * nSrc + p - length + 1]!;
        }
      }
      scores.push(sum / (nRows * length));
    }
  }
  return {
    scores: Float64Array.from(scores),
    shape: [hooks.length, scores.length / hooks.length],
  };
}
