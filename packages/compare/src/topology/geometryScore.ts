import {
  type Activations,
  ArgumentError,
  createRng,
  type LongWork,
  sampleWithoutReplacement,
  throwIfAborted,
} from "@penfield/core";
import type { Linalg } from "@penfield/linalg";
import {
  centred,
  checkWhole,
  dense,
  pairOf,
  squaredDistancesFromGram,
} from "../similarity/pair.ts";
import type { Bar } from "../similarity/persistence.ts";
import { witnessLoops } from "./witnessLoops.ts";

/** How loops are looked for. */
export interface GeometryScoreOptions extends LongWork {
  /** Stimuli that loops are made of, drawn without replacement; all, once, if there are no more. Default 64. */
  readonly landmarks?: number | undefined;
  /**
   * Up to which alpha loops are counted, as a share of the largest distance of a stimulus from a landmark. Default n / 640000, which
   * is 1 / 128 for 5000 stimuli.
   */
  readonly gamma?: number | undefined;
  /** Numbers of loops from 0 to one less than this are told apart. Default 100. */
  readonly most?: number | undefined;
  /** How often landmarks are drawn. Default 100. */
  readonly nDraws?: number | undefined;
  /** Default 0. */
  readonly seed?: number | undefined;
  /** The landmarks of each draw, by row, in place of landmarks, nDraws and seed. */
  readonly draws?: readonly ArrayLike<number>[] | undefined;
}

/**
 * Mean relative living times of loops: for what share of the scales from 0 to alpha_max a cloud of stimuli has 0, 1, 2, ... loops.
 *
 *   RLT(i) = |{alpha in [0, alpha_max]: beta_1(W_alpha(L, X)) = i}| / alpha_max,  alpha_max = gamma max |x - l|
 *
 * W: the witness complex of landmarks L, drawn from the stimuli, with all stimuli as witnesses; beta_1: its loops that are not filled.
 *
 * @param x - `[n, p]`, finite, n >= 3.
 * @param options - Landmarks, scales, draws.
 * @returns `[most]`, the mean over draws; sums to 1, or less where there are `most` loops or more. NaN if all stimuli are alike.
 * @throws {ShapeError} if there are fewer than 3 stimuli.
 * @throws {DataError} if a value is not finite.
 * @throws {ArgumentError} if an option is out of range.
 * @throws {InterruptedError} if the signal fires.
 *
 * Cost: 2 n^2 p operations once, then n landmarks per draw and more with a large gamma; one n x n matrix.
 * Source: Khrulkov & Oseledets (2018), ICML, algorithm 1. Matches their code for the same landmarks (there with replacement).
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const square = activations([[0, 0], [0, 1], [1, 1], [1, 0]]);
 * // Sides are there at once; diagonals, from .414 on, fill the square.
 * (await relativeLivingTimes(linalg, square, { gamma: 1 })).slice(0, 2).map((v) => Math.round(1000 * v) / 1000).join(" ") // => "0.707 0.293"
 */
export async function relativeLivingTimes(
  linalg: Linalg,
  x: Activations,
  options: GeometryScoreOptions = {},
): Promise<Float64Array> {
  const name = "relativeLivingTimes";
  const { data, nRows: n } = dense(name, x, 3);
  const { most = 100, gamma = n / (128 * 5000), signal, onProgress } = options;
  checkWhole(name, "most", most, 1);
  if (!(gamma > 0 && gamma < Infinity)) {
    throw new ArgumentError(`${name}: expected gamma above 0, got ${gamma}`);
  }
  const draws = drawsOf(name, n, options);
  const c = centred({ data, nRows: n, nColumns: x.shape[1] });
  const gram = await linalg.matmul(c, c, { transposeB: true });
  const distances = squaredDistancesFromGram(gram).map(Math.sqrt);
  const mean = new Float64Array(most);
  for (const [done, landmarks] of draws.entries()) {
    throwIfAborted(signal, name);
    if (done % 16 === 0) {
      onProgress?.({ stage: "drawing landmarks", done, total: draws.length, unit: "draw" });
      // Plain arithmetic: signals get through in between.
      await new Promise((resume) => setImmediate(resume));
    }
    const m = landmarks.length;
    const d = new Float64Array(n * m);
    let largest = 0;
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < m; j++) {
        const value = distances[i * n + landmarks[j]!]!;
        d[i * m + j] = value;
        largest = Math.max(largest, value);
      }
    }
    const end = gamma * largest;
    if (!(end > 0)) return mean.fill(Number.NaN);
    const times = livingTimes(witnessLoops(d, m, end), end, most);
    for (let i = 0; i < most; i++) mean[i]! += times[i]! / draws.length;
  }
  return mean;
}

function drawsOf(
  name: string,
  n: number,
  { landmarks = 64, nDraws = 100, seed = 0, draws }: GeometryScoreOptions,
): readonly ArrayLike<number>[] {
  if (draws) {
    if (draws.length === 0) throw new ArgumentError(`${name}: expected draws, got none`);
    for (const draw of draws) {
      const bad = Array.from(draw).find((row) => !(Number.isInteger(row) && row >= 0 && row < n));
      if (bad !== undefined || draw.length < 3) {
        throw new ArgumentError(
          `${name}: expected draws of at least 3 rows within 0..${n - 1}, got ${bad ?? draw.length}`,
        );
      }
    }
    return draws;
  }
  checkWhole(name, "landmarks", landmarks, 3);
  checkWhole(name, "nDraws", nDraws, 1);
  if (n <= landmarks) return [Array.from({ length: n }, (_, i) => i)];
  const rng = createRng(seed);
  return Array.from({ length: nDraws }, () => sampleWithoutReplacement(n, landmarks, rng));
}

/** How long each number of loops lasts, as shares of 0..end. */
function livingTimes(bars: readonly Bar[], end: number, most: number): Float64Array {
  const changes = bars
    .flatMap(({ birth, death }) => [
      { at: birth, by: 1 },
      { at: death, by: -1 },
    ])
    .sort((a, b) => a.at - b.at);
  const times = new Float64Array(most);
  let loops = 0;
  let from = 0;
  for (const { at, by } of [...changes, { at: end, by: 0 }]) {
    if (loops < most) times[loops]! += (at - from) / end;
    loops += by;
    from = at;
  }
  return times;
}

/**
 * Geometry score: do two clouds of stimuli have as many loops for as long? Stimuli need not correspond.
 *
 *   GS = sum_i (MRLT_x(i) - MRLT_y(i))^2,  MRLT: {@link relativeLivingTimes}
 *
 * @param x - `[n, p]`, finite, n >= 3.
 * @param y - `[n, q]`, the same stimuli.
 * @param options - As {@link relativeLivingTimes}. Landmarks are the same stimuli in both, so that a representation has 0 from itself.
 * @returns 0 to 2. Equal living times may come of different representations. NaN if all stimuli are alike in one.
 * @throws {ShapeError} if the stimuli differ or are fewer than 3.
 * @throws As {@link relativeLivingTimes}.
 *
 * Cost: twice that of {@link relativeLivingTimes}.
 * Source: Khrulkov & Oseledets (2018), ICML, algorithm 2. ReSi's GeometryScore, whose landmarks are unseeded, with replacement, and
 * others for x than for y.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = activations([[0, 0], [0, 1], [1, 1], [1, 0]]);
 * await geometryScore(linalg, x, x) // => 0
 */
export async function geometryScore(
  linalg: Linalg,
  x: Activations,
  y: Activations,
  options: GeometryScoreOptions = {},
): Promise<number> {
  pairOf("geometryScore", x, y, 3);
  const [a, b] = [
    await relativeLivingTimes(linalg, x, options),
    await relativeLivingTimes(linalg, y, options),
  ];
  return a.reduce((sum, v, i) => sum + (v - b[i]!) ** 2, 0);
}
