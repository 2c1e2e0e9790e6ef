import { type Activations, ArgumentError, ShapeError } from "@penfield/core";
import { type Linalg, nuclearNorm, polarFactor } from "@penfield/linalg";
import { assignment } from "../similarity/assignment.ts";
import {
  centred,
  checkOneOf,
  checkSameStimuli,
  columnMeans,
  type Dense,
  dense,
  inner,
  norm,
  padded,
  pairOf,
} from "../similarity/pair.ts";
import { partialWhitening } from "./whiten.ts";

/** Which changes of the units are no difference: rotations and reflections, or other orders. */
export type ShapeGroup = "orthogonal" | "permutation" | "linear";

export interface ShapeMetricOptions {
  /**
   * 1 (default): units as they are; 0: whitened, so that any linear map is no difference; between: in part.
   * Group "linear" means orthogonal with alpha 0. Permutations take alpha 1 only.
   */
  readonly alpha?: number | undefined;
  /** Default "orthogonal". */
  readonly group?: ShapeGroup | undefined;
  /** Take off the means of units. Default true. */
  readonly center?: boolean | undefined;
  /** Default "angular": in radians, sizes do not matter; "euclidean": Frobenius norm, sizes do. */
  readonly score?: "angular" | "euclidean" | undefined;
}

type Settings = Required<{ [K in keyof ShapeMetricOptions]: NonNullable<ShapeMetricOptions[K]> }>;

/** Representations that were centred and whitened before, for the next time: {@link createShapeMemory}. */
export type ShapeMemory = WeakMap<Activations, Map<string, Promise<PreparedShape>>>;

/**
 * A memory for many calls of {@link shapeDistance} with the same representations (the same objects): each is centred and whitened
 * once. What is no longer used elsewhere is forgotten.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = activations([[1, 0], [0, 1], [-1, -1], [2, 1]]);
 * const memory = createShapeMemory();
 * (await shapeDistance(linalg, x, x, { alpha: 0.5 }, memory)) < 1e-9 // => true
 */
export function createShapeMemory(): ShapeMemory {
  return new WeakMap();
}

function settingsOf(name: string, options: ShapeMetricOptions): Settings {
  const { group = "orthogonal", center = true, score = "angular" } = options;
  const alpha = options.alpha ?? (group === "linear" ? 0 : 1);
  checkOneOf(name, "group", group, ["orthogonal", "permutation", "linear"]);
  checkOneOf(name, "score", score, ["angular", "euclidean"]);
  if (!(alpha >= 0 && alpha <= 1)) {
    throw new ArgumentError(`${name}: expected alpha within 0..1, got ${alpha}`);
  }
  if (group === "permutation" && alpha !== 1) {
    throw new ArgumentError(`${name}: expected alpha 1 with permutations, got ${alpha}`, {
      hint: "Whitening mixes units, after which their order means nothing.",
    });
  }
  if (group === "linear" && alpha !== 0) {
    throw new ArgumentError(`${name}: expected alpha 0 with group "linear", got ${alpha}`);
  }
  return { alpha, group, center, score };
}

/** A representation made ready for comparison: centred and whitened once, used in many pairs. */
interface PreparedShape {
  /** `[n, p]`, centred and whitened. */
  readonly x: Dense;
  readonly means: Float64Array;
  /** `[p, p]`; undefined for alpha = 1. */
  readonly whitening: Dense | undefined;
  /** |x|_F. */
  readonly size: number;
  /** |x|_F before centring and whitening. */
  readonly rawSize: number;
}

async function prepare(
  linalg: Linalg,
  raw: Dense,
  { alpha, center }: Settings,
  nColumns: number,
): Promise<PreparedShape> {
  const means = center ? columnMeans(raw) : new Float64Array(raw.nColumns);
  const x = center ? centred(raw, means) : raw;
  const rawSize = norm(raw.data);
  // Centring leaves rounding where nothing varies, which whitening would make a shape of.
  if (norm(x.data) <= 1e-14 * rawSize) {
    return {
      x: { ...x, data: new Float64Array(x.data.length) },
      means,
      whitening: undefined,
      size: 0,
      rawSize,
    };
  }
  const whitening = await partialWhitening(linalg, x, alpha, { nColumns });
  const ready = whitening ? await linalg.matmul(x, whitening) : x;
  return { x: ready, means, whitening, size: norm(ready.data), rawSize };
}

/** A fitted alignment of two representations. */
export interface ShapeAlignment {
  /** `[p, m]` and `[q, m]`, m = max(p, q): centred representations times these are aligned. */
  readonly xTransform: Dense;
  readonly yTransform: Dense;
  readonly xMeans: Float64Array;
  readonly yMeans: Float64Array;
  /** For permutations: which unit of y goes with each unit of x, counting units of zeros that fill up the smaller; else undefined. */
  readonly match: Int32Array | undefined;
  readonly score: "angular" | "euclidean";
}

/**
 * Aligns two representations: whitens each in part and finds the rotation (or order of units) of one that
 * brings it nearest to the other. The representation with fewer units is filled up with zeros.
 *
 *   Q = argmin over the group of |X Z_x Q - Y Z_y|_F
 *
 * @param x - `[n, p]`, finite.
 * @param y - `[n, q]`, the same stimuli.
 * @returns Transforms for these and for held-out stimuli: see {@link transformShapes} and {@link scoreShapes}. Where the cross
 *   products do not have full rank (as with n < p) the rotation is not unique: distances of the stimuli fitted to do not depend on the
 *   choice, those of others do.
 * @throws {ShapeError} if the stimuli differ or are fewer than 2.
 * @throws {DataError} if a value is not finite.
 * @throws {ArgumentError} if an option is out of range.
 *
 * Cost: two eigendecompositions if alpha < 1, a product and a polar factor of `[m, m]`, or a linear assignment.
 * Source: Williams, Kunz, Kornblith & Linderman (2021), NeurIPS. Matches netrep's LinearMetric and PermutationMetric.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = activations([[1, 0], [0, 1], [-1, -1], [2, 1]]);
 * const turned = activations([[0, 1], [-1, 0], [1, -1], [-1, 2]]);
 * const fitted = await fitShapeMetric(linalg, x, turned);
 * (await scoreShapes(linalg, fitted, x, turned)) < 1e-9 // => true
 */
export async function fitShapeMetric(
  linalg: Linalg,
  x: Activations,
  y: Activations,
  options: ShapeMetricOptions = {},
): Promise<ShapeAlignment> {
  const settings = settingsOf("fitShapeMetric", options);
  const pair = pairOf("fitShapeMetric", x, y);
  const m = Math.max(pair.x.nColumns, pair.y.nColumns);
  const a = await prepare(linalg, pair.x, settings, m);
  const b = await prepare(linalg, pair.y, settings, m);
  const cross = await linalg.matmul(padded(a.x, m), padded(b.x, m), { transposeA: true });
  const shared = { xMeans: a.means, yMeans: b.means, score: settings.score };
  const yTransform = padded(b.whitening ?? identity(pair.y.nColumns), m);
  const whitening = padded(a.whitening ?? identity(pair.x.nColumns), m);
  if (settings.group === "permutation") {
    const match = assignment(cross, { maximize: true }).columns;
    const moved = new Float64Array(whitening.data.length);
    for (let i = 0; i < whitening.nRows; i++) {
      for (let j = 0; j < m; j++) moved[i * m + match[j]!] = whitening.data[i * m + j]!;
    }
    return { ...shared, xTransform: { ...whitening, data: moved }, yTransform, match };
  }
  const rotation = await polarFactor(cross, linalg);
  const xTransform = await linalg.matmul(whitening, rotation);
  return { ...shared, xTransform, yTransform, match: undefined };
}

function identity(n: number): Dense {
  const data = new Float64Array(n * n);
  for (let i = 0; i < n; i++) data[i * n + i] = 1;
  return { data, nRows: n, nColumns: n };
}

/**
 * Both representations in the space where they are aligned, of the stimuli fitted to or others.
 *
 * @param fitted - From {@link fitShapeMetric}.
 * @param x - `[n, p]`, with the units fitted to.
 * @param y - `[n, q]`.
 * @returns Two `[n, max(p, q)]`.
 * @throws {ShapeError} if the units are not as many as fitted to, or the stimuli differ.
 * @throws {DataError} if a value is not finite.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = activations([[1, 0], [0, 1], [-1, -1], [2, 1]]);
 * const fitted = await fitShapeMetric(linalg, x, x);
 * (await transformShapes(linalg, fitted, x, x)).x.nColumns // => 2
 */
export async function transformShapes(
  linalg: Linalg,
  fitted: ShapeAlignment,
  x: Activations,
  y: Activations,
): Promise<{ readonly x: Dense; readonly y: Dense }> {
  const pair = pairOf("transformShapes", x, y, 1);
  const [p, q] = [fitted.xTransform.nRows, fitted.yTransform.nRows];
  if (pair.x.nColumns !== p || pair.y.nColumns !== q) {
    throw new ShapeError(
      `transformShapes: expected ${p} and ${q} units as fitted to, got ${pair.x.nColumns} and ${pair.y.nColumns}`,
    );
  }
  return {
    x: await linalg.matmul(centred(pair.x, fitted.xMeans), fitted.xTransform),
    y: await linalg.matmul(centred(pair.y, fitted.yMeans), fitted.yTransform),
  };
}

/**
 * The distance of two representations under a fitted alignment.
 *
 * @returns Radians (0..pi) or, for "euclidean", the Frobenius norm of the difference; NaN for an angle with a representation
 *   that is all zeros.
 * @throws As {@link transformShapes}.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = activations([[1, 0], [0, 1], [-1, -1], [2, 1]]);
 * const fitted = await fitShapeMetric(linalg, x, x, { score: "euclidean" });
 * (await scoreShapes(linalg, fitted, x, x)) < 1e-9 // => true
 */
export async function scoreShapes(
  linalg: Linalg,
  fitted: ShapeAlignment,
  x: Activations,
  y: Activations,
): Promise<number> {
  const { x: a, y: b } = await transformShapes(linalg, fitted, x, y);
  if (fitted.score === "euclidean") return norm(difference(a.data, b.data));
  return angle(a.data, b.data);
}

function difference(a: Float64Array, b: Float64Array): Float64Array {
  return a.map((v, i) => v - b[i]!);
}

/** The angle between two arrays; small ones from the chord, whose digits the cosine loses. */
export function angle(a: Float64Array, b: Float64Array): number {
  const [p, q] = [norm(a), norm(b)];
  if (p === 0 || q === 0) return Number.NaN;
  const cosine = inner(a, b) / p / q;
  if (Math.abs(cosine) < 0.9) return Math.acos(cosine);
  const sign = Math.sign(cosine);
  const chord = norm(a.map((v, i) => v / p - (sign * b[i]!) / q));
  const small = 2 * Math.asin(Math.min(1, chord / 2));
  return sign > 0 ? small : Math.PI - small;
}

/**
 * The shape distance of two representations of the same stimuli: how far apart are they when all
 * rotations (or linear maps, or orders) of units are no difference?
 *
 *   angular:   arccos(<X_w Q, Y_w> / (|X_w|_F |Y_w|_F)),  euclidean: |X_w Q - Y_w|_F,  minimized over Q
 *
 * A metric on the equivalence classes. alpha = 1: Procrustes; alpha = 0: canonical correlations.
 *
 * @param x - `[n, p]`, finite. Angles saturate as n falls below p: with n <= p and alpha = 0 all are 0.
 * @param y - `[n, q]`, the same stimuli.
 * @param memory - From {@link createShapeMemory}, where representations come again. They must not change in between.
 * @returns At least 0. An angle with a representation that does not vary is NaN.
 * @throws As {@link fitShapeMetric}.
 *
 * Cost: as {@link fitShapeMetric}, but for rotations only the singular values of the cross products are needed.
 * Source: Williams, Kunz, Kornblith & Linderman (2021), NeurIPS.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = activations([[1, 0], [0, 1], [-1, -1], [2, 1]]);
 * const twice = activations([[2, 0], [0, 2], [-2, -2], [4, 2]]);
 * (await shapeDistance(linalg, x, twice)) < 1e-9 // => true
 */
export async function shapeDistance(
  linalg: Linalg,
  x: Activations,
  y: Activations,
  options: ShapeMetricOptions = {},
  memory: ShapeMemory = createShapeMemory(),
): Promise<number> {
  const name = "shapeDistance";
  const settings = settingsOf(name, options);
  checkSameStimuli(name, x, y);
  const m = Math.max(x.shape[1], y.shape[1]);
  const a = await remembered(name, linalg, x, settings, m, memory);
  const b = await remembered(name, linalg, y, settings, m, memory);
  return preparedDistance(linalg, a, b, settings);
}

function remembered(
  name: string,
  linalg: Linalg,
  x: Activations,
  settings: Settings,
  m: number,
  memory: ShapeMemory,
): Promise<PreparedShape> {
  const { alpha, center } = settings;
  const known = memory.get(x) ?? new Map<string, Promise<PreparedShape>>();
  memory.set(x, known);
  // With whitening the scale depends on the size of the larger partner, so sizes are part of the key.
  const key = alpha === 1 ? `${center}` : `${center} ${alpha} ${m}`;
  let found = known.get(key);
  if (!found) {
    found = prepare(linalg, dense(name, x), settings, m);
    known.set(key, found);
  }
  return found;
}

/** Below this 1 - cosine, differences of large numbers leave too few digits, and the rotation is made. */
const NEAR = 1e-4;

async function preparedDistance(
  linalg: Linalg,
  a: PreparedShape,
  b: PreparedShape,
  { group, score }: Settings,
): Promise<number> {
  const [p, q] = [a.size, b.size];
  if (p === 0 || q === 0) return score === "euclidean" ? Math.max(p, q) : Number.NaN;
  if (group === "permutation") return permutedDistance(linalg, a.x, b.x, score);
  const cross = await linalg.matmul(a.x, b.x, { transposeA: true });
  const aligned = await nuclearNorm(cross, linalg);
  const cosine = aligned / p / q;
  if (1 - cosine < NEAR) {
    const m = Math.max(a.x.nColumns, b.x.nColumns);
    const rotation = await polarFactor(
      await linalg.matmul(padded(a.x, m), padded(b.x, m), { transposeA: true }),
      linalg,
    );
    const turned = (await linalg.matmul(padded(a.x, m), rotation)).data;
    const target = padded(b.x, m).data;
    return score === "euclidean" ? norm(difference(turned, target)) : angle(turned, target);
  }
  if (score === "angular") return Math.acos(Math.min(1, cosine));
  return Math.sqrt(Math.max(0, p * p + q * q - 2 * aligned));
}

async function permutedDistance(
  linalg: Linalg,
  a: Dense,
  b: Dense,
  score: "angular" | "euclidean",
): Promise<number> {
  const m = Math.max(a.nColumns, b.nColumns);
  const [x, y] = [padded(a, m), padded(b, m)];
  const cross = await linalg.matmul(x, y, { transposeA: true });
  const { columns } = assignment(cross, { maximize: true });
  const moved = new Float64Array(y.data.length);
  for (let i = 0; i < y.nRows; i++) {
    for (let j = 0; j < m; j++) moved[i * m + columns[j]!] = x.data[i * m + j]!;
  }
  return score === "euclidean" ? norm(difference(moved, y.data)) : angle(moved, y.data);
}

/**
 * Shape distances of all pairs of networks. Each is centred and whitened once.
 *
 * @param networks - Activations of the same stimuli, `[n, p_k]` each.
 * @returns `[k, k]`, symmetric, zeros on the diagonal, row-major. Pairs of unequal numbers of units are compared as
 *   {@link shapeDistance} compares them.
 * @throws As {@link shapeDistance}.
 *
 * Cost: k preparations and k (k - 1) / 2 products and singular values; memory: the prepared networks.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = activations([[1, 0], [0, 1], [-1, -1], [2, 1]]);
 * (await shapeDistances(linalg, [x, x])).data.every((d) => d < 1e-9) // => true
 */
export async function shapeDistances(
  linalg: Linalg,
  networks: readonly Activations[],
  options: ShapeMetricOptions & {
    /** Called after each pair with how many of how many are done. */
    readonly onPair?: ((done: number, of: number) => void) | undefined;
  } = {},
): Promise<Dense> {
  const settings = settingsOf("shapeDistances", options);
  const k = networks.length;
  for (const x of networks) checkSameStimuli("shapeDistances", networks[0]!, x);
  const memory = createShapeMemory();
  const at = (x: Activations, m: number): Promise<PreparedShape> =>
    remembered("shapeDistances", linalg, x, settings, m, memory);
  const data = new Float64Array(k * k);
  let done = 0;
  for (let i = 0; i < k; i++) {
    for (let j = i + 1; j < k; j++) {
      const [x, y] = [networks[i]!, networks[j]!];
      const m = Math.max(x.shape[1], y.shape[1]);
      const d = await preparedDistance(linalg, await at(x, m), await at(y, m), settings);
      data[i * k + j] = d;
      data[j * k + i] = d;
      options.onPair?.(++done, (k * (k - 1)) / 2);
    }
  }
  return { data, nRows: k, nColumns: k };
}
