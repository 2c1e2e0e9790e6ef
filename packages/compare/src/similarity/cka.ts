import { type Activations, ArgumentError } from "@penfield/core";
import type { Linalg } from "@penfield/linalg";
import {
  centred,
  checkOneOf,
  checkWhole,
  columnMeans,
  type Dense,
  inner,
  norm,
  pairOf,
} from "./pair.ts";

/**
 * How the Hilbert-Schmidt independence criterion is estimated: `biased` (Gretton 2005), `unbiased` (Song 2012),
 * or `debiased`: the unbiased one from features instead of kernels (Kornblith 2019), equal to it for linear kernels.
 */
export type HsicEstimator = "biased" | "unbiased" | "debiased";

/** What compares two stimuli. */
export type Kernel =
  | { readonly type: "linear" }
  /**
   * exp(-d^2 / (2 scale^2 m)), d the Euclidean distance and m the median of all n^2 squared distances (the
   * n zeros of the diagonal among them, as in Kornblith 2019), or `bandwidth`^2 instead of scale^2 m if given.
   */
  | {
      readonly type: "rbf";
      readonly scale?: number | undefined;
      readonly bandwidth?: number | undefined;
    };

export interface CkaOptions {
  /** Default "biased". */
  readonly estimator?: HsicEstimator | undefined;
  /** Default linear. */
  readonly kernel?: Kernel | undefined;
  /** Kernels of stimuli, `[n, n]`, or covariances of units, `[p, q]`; linear kernels only. Default: what is cheaper. */
  readonly form?: "auto" | "gram" | "feature" | undefined;
  /** Take off the mean of every unit (linear) or centre the kernels. Default true; false only for `biased`. */
  readonly center?: boolean | undefined;
  /** Added to the denominator, as in the code of Huh et al. (2024), who add 1e-6. Default 0. */
  readonly denominatorOffset?: number | undefined;
  /** RBF kernels larger than this are made and used in tiles; linear ones always are, no larger than this. Default 1 GiB. */
  readonly maxKernelBytes?: number | undefined;
}

/** HSIC of x with y, and of each with itself. */
export interface HsicParts {
  readonly xy: number;
  readonly xx: number;
  readonly yy: number;
}

const GIGABYTE = 2 ** 30;

/**
 * Centered kernel alignment: how alike are two representations in which stimuli they put near each
 * other?
 *
 *   CKA = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L))
 *   biased:   HSIC = <H K H, H L H>,  H = I - 1 1^T / n                  (linear: |X^T Y|_F^2, columns centred)
 *   unbiased: HSIC = [tr(K L) + 1^T K 1 1^T L 1 / ((n-1)(n-2)) - 2 / (n-2) 1^T K L 1] / (n (n-3)), diagonals zero
 *
 * Without structure in common, the biased value grows with p / n and is no evidence of likeness when there are
 * fewer stimuli than units; the unbiased one is about 0 then, and may be negative.
 *
 * @param x - `[n, p]`, finite; n >= 2, for `unbiased` n >= 4.
 * @param y - `[n, q]`, the same stimuli.
 * @returns 0 to 1 if biased. NaN if a representation does not vary over stimuli, or if an unbiased HSIC of one
 *   with itself is not positive (possible with few stimuli: there is nothing to normalize by).
 * @throws {ShapeError} if the stimuli differ or are too few.
 * @throws {DataError} if a value is not finite.
 * @throws {ArgumentError} if an option is unknown, or the form does not fit the kernel or estimator.
 *
 * Cost: feature form n (p^2 + q^2 + 2 p q) operations; Gram form n^2 (p + q), twice that for RBF. Memory: 640 centred units (feature
 * form) or 2048 stimuli (Gram form); RBF kernels two n x n, or tiles.
 * Source: Kornblith et al. (2019), ICML; Song et al. (2012), JMLR 13; Gretton et al. (2005). Matches the authors' notebook.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = activations([[1, 0], [0, 1], [-1, -1], [2, 1], [0, 3]]);
 * (await cka(linalg, x, x)).toFixed(9) // => "1.000000000"
 */
export async function cka(
  linalg: Linalg,
  x: Activations,
  y: Activations,
  options: CkaOptions = {},
): Promise<number> {
  return ckaFromParts(await hsicParts(linalg, x, y, options, "cka"), options.denominatorOffset);
}

/** The ratio; NaN where it is not defined. */
function ckaFromParts({ xy, xx, yy }: HsicParts, offset = 0): number {
  if (!(xx > 0 && yy > 0)) return Number.NaN;
  const ratio = xy / (Math.sqrt(xx) * Math.sqrt(yy) + offset);
  return Number.isFinite(ratio) ? ratio : Number.NaN;
}

/**
 * The three Hilbert-Schmidt independence criteria that {@link cka} is made of. `biased` ones are not
 * divided by (n - 1)^2; `unbiased` ones are Song's, divided by n (n - 3).
 *
 * @throws As {@link cka}.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = activations([[1], [-1]]);
 * (await hsic(linalg, x, x)).xy // => 4
 */
export async function hsic(
  linalg: Linalg,
  x: Activations,
  y: Activations,
  options: CkaOptions = {},
): Promise<HsicParts> {
  return hsicParts(linalg, x, y, options, "hsic");
}

async function hsicParts(
  linalg: Linalg,
  x: Activations,
  y: Activations,
  options: CkaOptions,
  name: string,
): Promise<HsicParts> {
  const { estimator = "biased", kernel = { type: "linear" }, center = true } = options;
  checkOneOf(name, "estimator", estimator, ["biased", "unbiased", "debiased"]);
  checkOneOf(name, "kernel", kernel.type, ["linear", "rbf"]);
  const { form = "auto" } = options;
  checkOneOf(name, "form", form, ["auto", "gram", "feature"]);
  if (!center && estimator !== "biased") {
    throw new ArgumentError(`${name}: expected center true with ${estimator}, got false`);
  }
  if (kernel.type === "rbf" && (form === "feature" || estimator === "debiased")) {
    throw new ArgumentError(
      `${name}: expected the Gram form for an RBF kernel, got the feature form`,
      { hint: "Use estimator unbiased: it is the same number for linear kernels." },
    );
  }
  const pair = pairOf(name, x, y, estimator === "biased" ? 2 : 4);
  const { n } = pair;
  if (center && (isConstant(pair.x) || isConstant(pair.y))) {
    return { xy: 0, xx: isConstant(pair.x) ? 0 : 1, yy: isConstant(pair.y) ? 0 : 1 };
  }
  const linear = kernel.type === "linear";
  const [p, q] = [pair.x.nColumns, pair.y.nColumns];
  const featureIsCheaper = p * p + q * q + p * q < n * (p + q);
  const byFeatures =
    linear &&
    (form === "feature" || estimator === "debiased" || (form === "auto" && featureIsCheaper));
  const maxBytes = options.maxKernelBytes ?? GIGABYTE;
  // Unbiased estimates do not change with the means of units, which would only cost digits.
  const later = (): [CentredLater, CentredLater] => [
    centredLater(pair.x, center),
    centredLater(pair.y, center),
  ];
  if (byFeatures) return featureParts(linalg, ...later(), estimator !== "biased");
  const sums =
    kernel.type === "linear"
      ? await linearKernelSums(linalg, ...later(), maxBytes)
      : await kernelSums(linalg, pair.x, pair.y, kernel, maxBytes);
  if (estimator !== "biased") return unbiasedParts(sums, n);
  return center ? biasedParts(sums, n) : { xy: sums.xy, xx: sums.xx, yy: sums.yy };
}

/** Do all stimuli have the same pattern? */
function isConstant({ data, nRows, nColumns }: Dense): boolean {
  for (let i = 1; i < nRows; i++) {
    for (let j = 0; j < nColumns; j++) if (data[i * nColumns + j] !== data[j]) return false;
  }
  return true;
}

/** A matrix whose columns' means are taken off where it is used, tile by tile. */
interface CentredLater extends Dense {
  readonly means: Float64Array;
}

function centredLater(x: Dense, center: boolean): CentredLater {
  return { ...x, means: center ? columnMeans(x) : new Float64Array(x.nColumns) };
}

async function featureParts(
  linalg: Linalg,
  x: CentredLater,
  y: CentredLater,
  unbiased: boolean,
): Promise<HsicParts> {
  const n = x.nRows;
  const squares = unbiased ? ([rowSquaresOf(x), rowSquaresOf(y)] as const) : undefined;
  const size = n * Math.min(FEATURES, Math.max(x.nColumns, y.nColumns));
  const room = [new Float64Array(size), new Float64Array(size)] as const;
  const part = async (a: CentredLater, b: CentredLater, i: 0 | 1, j: 0 | 1): Promise<number> => {
    const biased = await squaredCross(linalg, a, b, room);
    if (!squares) return biased;
    const [as, bs] = [squares[i], squares[j]];
    const corrected =
      biased - (n / (n - 2)) * inner(as, bs) + (total(as) * total(bs)) / ((n - 1) * (n - 2));
    return corrected / (n * (n - 3));
  };
  return { xy: await part(x, y, 0, 1), xx: await part(x, x, 0, 0), yy: await part(y, y, 1, 1) };
}

/** So many units are centred and multiplied at a time: no copy of all is made, nor what lies below the diagonal. */
const FEATURES = 320;

/** |A^T B|_F^2. */
async function squaredCross(
  linalg: Linalg,
  a: CentredLater,
  b: CentredLater,
  [roomA, roomB]: readonly [Float64Array, Float64Array],
): Promise<number> {
  let sum = 0;
  for (let i = 0; i < a.nColumns; i += FEATURES) {
    const left = centredUnits(a, i, roomA);
    for (let j = a === b ? i : 0; j < b.nColumns; j += FEATURES) {
      const diagonal = a === b && j === i;
      const right = diagonal ? left : centredUnits(b, j, roomB);
      const { data } = await linalg.matmul(left, right, { transposeA: true });
      sum += (a === b && !diagonal ? 2 : 1) * inner(data, data);
    }
  }
  return sum;
}

function centredUnits(
  { data, nRows, nColumns, means }: CentredLater,
  from: number,
  to: Float64Array,
): Dense {
  const width = Math.min(FEATURES, nColumns - from);
  for (let i = 0; i < nRows; i++) {
    const at = i * nColumns + from;
    for (let j = 0; j < width; j++) to[i * width + j] = data[at + j]! - means[from + j]!;
  }
  return { data: to.subarray(0, nRows * width), nRows, nColumns: width };
}

function rowSquaresOf({ data, nRows, nColumns, means }: CentredLater): Float64Array {
  return Float64Array.from({ length: nRows }, (_, i) => {
    let sum = 0;
    for (let j = 0; j < nColumns; j++) {
      const value = data[i * nColumns + j]! - means[j]!;
      sum += value * value;
    }
    return sum;
  });
}

function rowSquares({ data, nRows, nColumns }: Dense): Float64Array {
  return Float64Array.from({ length: nRows }, (_, i) => {
    const row = data.subarray(i * nColumns, (i + 1) * nColumns);
    return inner(row, row);
  });
}

/** What all estimators need of two kernels. */
interface KernelSums {
  /** Sums of products of entries, diagonals included. */
  xy: number;
  xx: number;
  yy: number;
  readonly xRows: Float64Array;
  readonly yRows: Float64Array;
  readonly xDiagonal: Float64Array;
  readonly yDiagonal: Float64Array;
}

/** Gives rows `from` to `to` of a kernel, `[to - from, n]`. */
type KernelRows = (from: number, to: number) => Promise<Float64Array>;

async function kernelSums(
  linalg: Linalg,
  x: Dense,
  y: Dense,
  kernel: Extract<Kernel, { type: "rbf" }>,
  maxBytes: number,
): Promise<KernelSums> {
  const n = x.nRows;
  const step = tileRows(n, maxBytes);
  const xKernel = await rbfRows(linalg, x, kernel, step);
  const yKernel = await rbfRows(linalg, y, kernel, step);
  const sums = noSums(n);
  for (let from = 0; from < n; from += step) {
    const to = Math.min(n, from + step);
    const [k, l] = [await xKernel(from, to), await yKernel(from, to)];
    sums.xy += inner(k, l);
    sums.xx += inner(k, k);
    sums.yy += inner(l, l);
    for (let i = from; i < to; i++) {
      const at = (i - from) * n;
      for (let j = 0; j < n; j++) {
        sums.xRows[i]! += k[at + j]!;
        sums.yRows[i]! += l[at + j]!;
      }
      sums.xDiagonal[i] = k[at + i]!;
      sums.yDiagonal[i] = l[at + i]!;
    }
  }
  return sums;
}

function noSums(n: number): KernelSums {
  return {
    xy: 0,
    xx: 0,
    yy: 0,
    xRows: new Float64Array(n),
    yRows: new Float64Array(n),
    xDiagonal: new Float64Array(n),
    yDiagonal: new Float64Array(n),
  };
}

/** So many stimuli are centred and multiplied at a time. */
const STIMULI = 512;

/** Linear kernels in blocks on and above the diagonal, none of them kept. */
async function linearKernelSums(
  linalg: Linalg,
  x: CentredLater,
  y: CentredLater,
  maxBytes: number,
): Promise<KernelSums> {
  const n = x.nRows;
  const step = Math.max(1, Math.min(n, STIMULI, Math.floor(Math.sqrt(maxBytes / 8))));
  const sums = noSums(n);
  const room = [x, x, y, y].map(({ nColumns }) => new Float64Array(step * nColumns));
  for (let i = 0; i < n; i += step) {
    const xLeft = centredStimuli(x, i, step, room[0]!);
    const yLeft = centredStimuli(y, i, step, room[2]!);
    for (let j = i; j < n; j += step) {
      const xRight = i === j ? xLeft : centredStimuli(x, j, step, room[1]!);
      const yRight = i === j ? yLeft : centredStimuli(y, j, step, room[3]!);
      const k = (await linalg.matmul(xLeft, xRight, { transposeB: true })).data;
      const l = (await linalg.matmul(yLeft, yRight, { transposeB: true })).data;
      const times = i === j ? 1 : 2;
      sums.xy += times * inner(k, l);
      sums.xx += times * inner(k, k);
      sums.yy += times * inner(l, l);
      addBlock(k, xLeft.nRows, i, j, sums.xRows, sums.xDiagonal);
      addBlock(l, yLeft.nRows, i, j, sums.yRows, sums.yDiagonal);
    }
  }
  return sums;
}

/** A block's share of the sums of rows (its mirror image below the diagonal too) and of the diagonal. */
function addBlock(
  block: Float64Array,
  nRows: number,
  top: number,
  left: number,
  rows: Float64Array,
  diagonal: Float64Array,
): void {
  const nColumns = block.length / nRows;
  for (let i = 0; i < nRows; i++) {
    let sum = 0;
    for (let j = 0; j < nColumns; j++) {
      const value = block[i * nColumns + j]!;
      sum += value;
      if (left > top) rows[left + j]! += value;
    }
    rows[top + i]! += sum;
    if (left === top) diagonal[top + i] = block[i * nColumns + i]!;
  }
}

function centredStimuli(
  { data, nRows, nColumns, means }: CentredLater,
  from: number,
  step: number,
  to: Float64Array,
): Dense {
  const count = Math.min(step, nRows - from);
  for (let i = 0; i < count; i++) {
    const at = (from + i) * nColumns;
    for (let j = 0; j < nColumns; j++) to[i * nColumns + j] = data[at + j]! - means[j]!;
  }
  return { data: to.subarray(0, count * nColumns), nRows: count, nColumns };
}

function tileRows(n: number, maxBytes: number): number {
  return Math.max(1, Math.min(n, Math.floor(maxBytes / (8 * n))));
}

/** The RBF kernel minus 1: constants do not matter after centring, and small distances keep their digits. */
async function rbfRows(
  linalg: Linalg,
  x: Dense,
  { scale = 1, bandwidth }: Extract<Kernel, { type: "rbf" }>,
  step: number,
): Promise<KernelRows> {
  for (const [option, value] of Object.entries({ scale, bandwidth: bandwidth ?? 1 })) {
    if (!(value > 0 && Number.isFinite(value))) {
      throw new ArgumentError(`cka: expected ${option} above 0, got ${value}`);
    }
  }
  const n = x.nRows;
  const a = centred(x);
  const squares = rowSquares(a);
  const distances: KernelRows = async (from, to) => {
    const part = {
      data: a.data.slice(from * a.nColumns, to * a.nColumns),
      nRows: to - from,
      nColumns: a.nColumns,
    };
    const { data } = await linalg.matmul(part, a, { transposeB: true });
    for (let i = from; i < to; i++) {
      const at = (i - from) * n;
      for (let j = 0; j < n; j++) {
        data[at + j] = i === j ? 0 : Math.max(0, squares[i]! + squares[j]! - 2 * data[at + j]!);
      }
    }
    return data;
  };
  const kept = step >= n ? await keptRows(distances, n) : undefined;
  const tiles = kept ? async () => kept : distances;
  const median = bandwidth === undefined ? await medianOfTiles(tiles, n, step) : 0;
  const width = bandwidth === undefined ? scale * scale * median : bandwidth * bandwidth;
  return async (from, to) => {
    const data = await tiles(from, to);
    for (let i = 0; i < data.length; i++) {
      // More than half of the stimuli alike: the median is 0, and so is the width.
      data[i] = width === 0 ? (data[i] === 0 ? 0 : -1) : Math.expm1(-data[i]! / (2 * width));
    }
    return data;
  };
}

/** All rows, made a tile at a time, so that there is never a second copy of them. */
async function keptRows(rows: KernelRows, n: number): Promise<Float64Array> {
  const all = new Float64Array(n * n);
  for (let from = 0; from < n; from += STIMULI) {
    all.set(await rows(from, Math.min(n, from + STIMULI)), from * n);
  }
  return all;
}

/** The median of n^2 values that come in tiles, exactly: by counting in bins that get narrower. */
async function medianOfTiles(tiles: KernelRows, n: number, step: number): Promise<number> {
  const total = n * n;
  const lower = await orderStatistic(tiles, n, step, Math.floor((total - 1) / 2));
  if (total % 2 === 1) return lower;
  return (lower + (await orderStatistic(tiles, n, step, total / 2))) / 2;
}

const BINS = 1 << 16;

async function orderStatistic(
  tiles: KernelRows,
  n: number,
  step: number,
  rank: number,
): Promise<number> {
  let low = 0;
  let high = 0;
  for (let from = 0; from < n; from += step) {
    for (const d of await tiles(from, Math.min(n, from + step))) high = Math.max(high, d);
  }
  let below = 0;
  for (;;) {
    const width = (high - low) / BINS;
    const counts = new Float64Array(BINS);
    const inside: number[] = [];
    let nInside = 0;
    for (let from = 0; from < n; from += step) {
      for (const d of await tiles(from, Math.min(n, from + step))) {
        if (d < low || d > high) continue;
        nInside++;
        if (inside.length <= MANY) inside.push(d);
        counts[width > 0 ? Math.min(BINS - 1, Math.floor((d - low) / width)) : 0]!++;
      }
    }
    if (nInside <= MANY) return Float64Array.from(inside).sort()[rank - below]!;
    let bin = 0;
    while (below + counts[bin]! <= rank) below += counts[bin++]!;
    const [from, to] = [low + bin * width, low + (bin + 1) * width];
    if (!(to > from) || width === 0 || to - from <= Number.EPSILON * high) return from;
    // Edges are recomputed in rounding; values on them belong to where comparison puts them.
    below = await countBelow(tiles, n, step, from);
    [low, high] = [from, to];
  }
}

const MANY = 1_000_000;

async function countBelow(
  tiles: KernelRows,
  n: number,
  step: number,
  edge: number,
): Promise<number> {
  let count = 0;
  for (let from = 0; from < n; from += step) {
    for (const d of await tiles(from, Math.min(n, from + step))) if (d < edge) count++;
  }
  return count;
}

function biasedParts(s: KernelSums, n: number): HsicParts {
  const part = (sum: number, a: Float64Array, b: Float64Array): number =>
    sum - (2 / n) * inner(a, b) + (total(a) * total(b)) / (n * n);
  const parts = {
    xy: part(s.xy, s.xRows, s.yRows),
    xx: part(s.xx, s.xRows, s.xRows),
    yy: part(s.yy, s.yRows, s.yRows),
  };
  // What centring leaves of a kernel without structure is rounding.
  return {
    xy: parts.xy,
    xx: parts.xx > 1e-28 * s.xx ? parts.xx : 0,
    yy: parts.yy > 1e-28 * s.yy ? parts.yy : 0,
  };
}

function unbiasedParts(s: KernelSums, n: number): HsicParts {
  const off = (rows: Float64Array, diagonal: Float64Array) => rows.map((r, i) => r - diagonal[i]!);
  const a = off(s.xRows, s.xDiagonal);
  const b = off(s.yRows, s.yDiagonal);
  const part = (
    sum: number,
    k: Float64Array,
    l: Float64Array,
    kDiagonal: Float64Array,
    lDiagonal: Float64Array,
  ): number =>
    (sum -
      inner(kDiagonal, lDiagonal) +
      (total(k) * total(l)) / ((n - 1) * (n - 2)) -
      (2 / (n - 2)) * inner(k, l)) /
    (n * (n - 3));
  return {
    xy: part(s.xy, a, b, s.xDiagonal, s.yDiagonal),
    xx: part(s.xx, a, a, s.xDiagonal, s.xDiagonal),
    yy: part(s.yy, b, b, s.yDiagonal, s.yDiagonal),
  };
}

function total(values: Float64Array): number {
  let sum = 0;
  for (const value of values) sum += value;
  return sum;
}

/**
 * CKA from batches of stimuli, for data that do not fit: unbiased HSICs of consecutive batches
 * are averaged, and the ratio is taken at the end.
 *
 * @param options.batch - Stimuli per batch, at least 4; an incomplete last batch is left out.
 * @returns `cka` (NaN if an averaged HSIC of a representation with itself is not positive) and the averaged HSICs.
 * @throws {ShapeError} if the stimuli differ or are fewer than a batch.
 * @throws {DataError} if a value is not finite.
 * @throws {ArgumentError} if an option is out of range.
 *
 * Cost: n / batch times {@link cka} of a batch. Memory: one batch.
 * Source: Nguyen, Raghu & Kornblith (2021), ICLR.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = activations([[1, 0], [0, 1], [-1, -1], [2, 1], [0, 3], [1, 1], [4, 0], [2, 2]]);
 * (await minibatchCka(linalg, x, x, { batch: 4 })).cka.toFixed(9) // => "1.000000000"
 */
export async function minibatchCka(
  linalg: Linalg,
  x: Activations,
  y: Activations,
  { batch, kernel = { type: "linear" } }: { batch: number; kernel?: Kernel | undefined },
): Promise<HsicParts & { readonly cka: number; readonly nBatches: number }> {
  checkWhole("minibatchCka", "batch", batch, 4);
  const { n } = pairOf("minibatchCka", x, y, batch);
  const nBatches = Math.floor(n / batch);
  const sums = { xy: 0, xx: 0, yy: 0 };
  for (let b = 0; b < nBatches; b++) {
    const part = await hsicParts(
      linalg,
      rowsOf(x, b * batch, (b + 1) * batch),
      rowsOf(y, b * batch, (b + 1) * batch),
      { estimator: "unbiased", kernel },
      "minibatchCka",
    );
    sums.xy += part.xy / nBatches;
    sums.xx += part.xx / nBatches;
    sums.yy += part.yy / nBatches;
  }
  return { ...sums, cka: ckaFromParts(sums), nBatches };
}

function rowsOf(x: Activations, from: number, to: number): Activations {
  const nUnits = x.shape[1];
  return {
    data: x.data.subarray(from * nUnits, to * nUnits),
    axes: x.axes,
    shape: [to - from, nUnits],
  };
}

const NEARLY_ONE = 1 - 1e-6;

/**
 * The angle between two centred kernels, arccos(CKA): the form of CKA that is a distance.
 *
 * @returns 0 to pi / 2; NaN where CKA is not defined.
 * @throws As {@link cka}.
 *
 * Cost: as {@link cka}.
 * Source: Williams et al. (2021), NeurIPS. Matches netrep's LinearCKA.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = activations([[1, 0], [0, 1], [-1, -1]]);
 * (await ckaAngle(linalg, x, activations([[1, 0], [0, 1], [-1, -1]]))) < 1e-7 // => true
 */
export async function ckaAngle(
  linalg: Linalg,
  x: Activations,
  y: Activations,
  options: Omit<CkaOptions, "estimator"> = {},
): Promise<number> {
  const value = await cka(linalg, x, y, options);
  if (!(value > NEARLY_ONE) || (options.kernel?.type ?? "linear") !== "linear") {
    return Math.acos(Math.min(1, value));
  }
  // The cosine has lost the digits of a small angle: it is taken from the chord between the kernels.
  const pair = pairOf("ckaAngle", x, y);
  const [a, b] = options.center === false ? [pair.x, pair.y] : [centred(pair.x), centred(pair.y)];
  const { data: k } = await linalg.matmul(a, a, { transposeB: true });
  const { data: l } = await linalg.matmul(b, b, { transposeB: true });
  const [p, q] = [norm(k), norm(l)];
  return 2 * Math.asin(Math.min(1, norm(k.map((v, i) => v / p - l[i]! / q)) / 2));
}

/**
 * Cosine of centred kernels whose diagonals were then set to zero (Lange et al. 2023): another
 * way to keep the bias of the diagonal out.
 *
 * @throws As {@link cka}.
 *
 * Cost: 2 n^2 (p + q) operations and two n x n kernels.
 * Source: Lange, Kwok, Matelsky et al. (2023), "Deep networks as paths on the manifold of neural representations".
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = activations([[1, 0], [0, 1], [-1, -1], [3, 1]]);
 * (await langeCka(linalg, x, x)).toFixed(9) // => "1.000000000"
 */
export async function langeCka(linalg: Linalg, x: Activations, y: Activations): Promise<number> {
  const pair = pairOf("langeCka", x, y, 3);
  const kernel = async (m: Dense): Promise<Float64Array> => {
    const c = centred(m);
    const { data } = await linalg.matmul(c, c, { transposeB: true });
    for (let i = 0; i < pair.n; i++) data[i * pair.n + i] = 0;
    return data;
  };
  if (isConstant(pair.x) || isConstant(pair.y)) return Number.NaN;
  const [k, l] = [await kernel(pair.x), await kernel(pair.y)];
  return inner(k, l) / (norm(k) * norm(l));
}
