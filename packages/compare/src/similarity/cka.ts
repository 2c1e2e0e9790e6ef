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
 * Cost: feature form n (p^2 + q^2 + 2 p q) operations; Gram form n^2 (p + q). Memory: 1280 centred units (feature form) or 2048 stimuli
 * (Gram form); RBF kernels two halves of n x n and the centred units, or tiles.
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
  const biased = await squaredCrosses(linalg, x, y);
  if (!unbiased) return biased;
  const [xSquares, ySquares] = [rowSquaresOf(x), rowSquaresOf(y)];
  const part = (sum: number, a: Float64Array, b: Float64Array): number => {
    const corrected =
      sum - (n / (n - 2)) * inner(a, b) + (total(a) * total(b)) / ((n - 1) * (n - 2));
    return corrected / (n * (n - 3));
  };
  return {
    xy: part(biased.xy, xSquares, ySquares),
    xx: part(biased.xx, xSquares, xSquares),
    yy: part(biased.yy, ySquares, ySquares),
  };
}

/** At most so many units are in a tile: no copy of all is made, nor what lies below the diagonal. */
const FEATURES = 256;

/** So many tiles are held while those that meet them are centred one by one: each of these is then centred once for all of them. */
const HELD = 4;

/** |X^T Y|_F^2, |X^T X|_F^2 and |Y^T Y|_F^2. */
async function squaredCrosses(
  linalg: Linalg,
  x: CentredLater,
  y: CentredLater,
): Promise<HsicParts> {
  const sums = { xy: 0, xx: 0, yy: 0 };
  const n = x.nRows;
  const most = Math.max(tileUnits(x.nColumns), tileUnits(y.nColumns));
  const rooms = Array.from({ length: HELD + 1 }, () => new Float64Array(n * most));
  const products = new Float64Array(most * most);
  const squares = async (a: Dense, b: Dense): Promise<number> => {
    const out = products.subarray(0, a.nColumns * b.nColumns);
    await linalg.matmul(a, b, { transposeA: true, out });
    return inner(out, out);
  };
  for (const a of [x, y]) {
    const self = a === x ? "xx" : "yy";
    const tiles = tilesOf(a);
    for (let first = 0; first < tiles.length; first += HELD) {
      const held = tiles
        .slice(first, first + HELD)
        .map(({ from, to }, i) => centredUnits(a, from, to, rooms[i]!));
      for (const [i, left] of held.entries()) {
        sums[self] += await squares(left, left);
        for (const right of held.slice(i + 1)) sums[self] += 2 * (await squares(left, right));
      }
      for (const { from, to } of tiles.slice(first + HELD)) {
        const right = centredUnits(a, from, to, rooms[HELD]!);
        for (const left of held) sums[self] += 2 * (await squares(left, right));
      }
      if (a === y) continue;
      for (const { from, to } of tilesOf(y)) {
        const right = centredUnits(y, from, to, rooms[HELD]!);
        for (const left of held) sums.xy += await squares(left, right);
      }
    }
  }
  return sums;
}

/** How many units a tile has, so that all have about as many. */
const tileUnits = (nUnits: number): number => Math.ceil(nUnits / Math.ceil(nUnits / FEATURES));

function tilesOf({ nColumns }: Dense): readonly { readonly from: number; readonly to: number }[] {
  const width = tileUnits(nColumns);
  return Array.from({ length: Math.ceil(nColumns / width) }, (_, i) => ({
    from: i * width,
    to: Math.min(nColumns, (i + 1) * width),
  }));
}

function centredUnits(
  { data, nRows, nColumns, means }: CentredLater,
  from: number,
  to: number,
  room: Float64Array,
): Dense {
  const width = to - from;
  for (let i = 0; i < nRows; i++) {
    const at = i * nColumns + from;
    for (let j = 0; j < width; j++) room[i * width + j] = data[at + j]! - means[from + j]!;
  }
  return { data: room.subarray(0, nRows * width), nRows, nColumns: width };
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

/**
 * A symmetric kernel from its diagonal on, some rows at a time: rows `from` to `from + step` and columns `from` to n. What is right of the
 * first `step` columns stands for its mirror image too. The array is written over by the next call.
 */
interface KernelRows {
  readonly n: number;
  readonly step: number;
  readonly rows: (from: number) => Promise<Float64Array>;
}

async function kernelSums(
  linalg: Linalg,
  x: Dense,
  y: Dense,
  kernel: Extract<Kernel, { type: "rbf" }>,
  maxBytes: number,
): Promise<KernelSums> {
  const n = x.nRows;
  const xKernel = await rbfRows(linalg, x, kernel, maxBytes);
  const yKernel = await rbfRows(linalg, y, kernel, maxBytes);
  const { step } = xKernel;
  const sums = noSums(n);
  for (let from = 0; from < n; from += step) {
    const [k, l] = [await xKernel.rows(from), await yKernel.rows(from)];
    const height = Math.min(step, n - from);
    const width = n - from;
    for (let i = 0; i < height; i++) {
      const rows = (m: Float64Array) => m.subarray(i * width, (i + 1) * width);
      const [kRow, lRow] = [rows(k), rows(l)];
      sums.xy += sumOver(kRow, lRow, height);
      sums.xx += sumOver(kRow, kRow, height);
      sums.yy += sumOver(lRow, lRow, height);
    }
    addBlock(k, height, from, from, sums.xRows, sums.xDiagonal);
    addBlock(l, height, from, from, sums.yRows, sums.yDiagonal);
  }
  return sums;
}

/** The sum of products, from the height of the tile on twice. */
function sumOver(a: Float64Array, b: Float64Array, height: number): number {
  return (
    inner(a.subarray(0, height), b.subarray(0, height)) +
    2 * inner(a.subarray(height), b.subarray(height))
  );
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
  const [kRoom, lRoom] = [new Float64Array(step * step), new Float64Array(step * step)];
  for (let i = 0; i < n; i += step) {
    const xLeft = centredStimuli(x, i, step, room[0]!);
    const yLeft = centredStimuli(y, i, step, room[2]!);
    for (let j = i; j < n; j += step) {
      const xRight = i === j ? xLeft : centredStimuli(x, j, step, room[1]!);
      const yRight = i === j ? yLeft : centredStimuli(y, j, step, room[3]!);
      const size = xLeft.nRows * xRight.nRows;
      const [k, l] = [kRoom.subarray(0, size), lRoom.subarray(0, size)];
      await linalg.matmul(xLeft, xRight, { transposeB: true, out: k });
      await linalg.matmul(yLeft, yRight, { transposeB: true, out: l });
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

/** A block's share of the sums of rows (where it lies off the diagonal its mirror image's too) and of the diagonal. */
function addBlock(
  block: Float64Array,
  nRows: number,
  top: number,
  left: number,
  rows: Float64Array,
  diagonal: Float64Array,
): void {
  const nColumns = block.length / nRows;
  // From here on columns are past the block's rows.
  const mirrored = Math.max(0, Math.min(nColumns, top + nRows - left));
  for (let i = 0; i < nRows; i++) {
    let sum = 0;
    for (let j = 0; j < mirrored; j++) sum += block[i * nColumns + j]!;
    for (let j = mirrored; j < nColumns; j++) {
      const value = block[i * nColumns + j]!;
      sum += value;
      rows[left + j]! += value;
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

/** The RBF kernel minus 1: constants do not matter after centring, and small distances keep their digits. */
async function rbfRows(
  linalg: Linalg,
  x: Dense,
  { scale = 1, bandwidth }: Extract<Kernel, { type: "rbf" }>,
  maxBytes: number,
): Promise<KernelRows> {
  for (const [option, value] of Object.entries({ scale, bandwidth: bandwidth ?? 1 })) {
    if (!(value > 0 && Number.isFinite(value))) {
      throw new ArgumentError(`cka: expected ${option} above 0, got ${value}`);
    }
  }
  const distances = await distanceRows(linalg, x, maxBytes);
  const median = bandwidth === undefined ? await medianOf(distances) : 0;
  const width = bandwidth === undefined ? scale * scale * median : bandwidth * bandwidth;
  const rows: KernelRows["rows"] = async (from) => {
    const data = await distances.rows(from);
    for (let i = 0; i < data.length; i++) {
      // More than half of the stimuli alike: the median is 0, and so is the width.
      data[i] = width === 0 ? (data[i] === 0 ? 0 : -1) : Math.expm1(-data[i]! / (2 * width));
    }
    return data;
  };
  return { ...distances, rows };
}

/** Squared Euclidean distances: made once and kept, or where they are larger than that each time. */
async function distanceRows(linalg: Linalg, x: Dense, maxBytes: number): Promise<KernelRows> {
  const n = x.nRows;
  const rowsThatFit = Math.max(1, Math.floor(maxBytes / (8 * n)));
  const step = Math.min(n, STIMULI, rowsThatFit);
  const a = centred(x);
  const squares = rowSquares(a);
  const below = (from: number, to: number): Dense => ({
    data: a.data.subarray(from * a.nColumns, to * a.nColumns),
    nRows: to - from,
    nColumns: a.nColumns,
  });
  const make = async (from: number, out: Float64Array): Promise<Float64Array> => {
    const to = Math.min(n, from + step);
    await linalg.matmul(below(from, to), below(from, n), { transposeB: true, out });
    for (let i = from; i < to; i++) {
      const at = (i - from) * (n - from) - from;
      for (let j = from; j < n; j++) {
        out[at + j] = i === j ? 0 : Math.max(0, squares[i]! + squares[j]! - 2 * out[at + j]!);
      }
    }
    return out;
  };
  const sizeAt = (from: number): number => Math.min(step, n - from) * (n - from);
  if (rowsThatFit < n) {
    const room = new Float64Array(sizeAt(0));
    return { n, step, rows: (from) => make(from, room.subarray(0, sizeAt(from))) };
  }
  const kept = new Map<number, Float64Array>();
  for (let from = 0; from < n; from += step) {
    kept.set(from, await make(from, new Float64Array(sizeAt(from))));
  }
  return { n, step, rows: async (from) => kept.get(from)! };
}

/** The median of n^2 values, exactly: by counting in bins that get narrower. */
async function medianOf(kernel: KernelRows): Promise<number> {
  const total = kernel.n ** 2;
  const lower = await orderStatistic(kernel, Math.floor((total - 1) / 2));
  if (total % 2 === 1) return lower;
  return (lower + (await orderStatistic(kernel, total / 2))) / 2;
}

/** Visits all values once: stretches that count once, and those that count twice. */
async function forEachStretch(
  { n, step, rows }: KernelRows,
  visit: (values: Float64Array, times: 1 | 2) => void,
): Promise<void> {
  for (let from = 0; from < n; from += step) {
    const data = await rows(from);
    const [height, width] = [Math.min(step, n - from), n - from];
    for (let i = 0; i < height; i++) {
      visit(data.subarray(i * width, i * width + height), 1);
      if (height < width) visit(data.subarray(i * width + height, (i + 1) * width), 2);
    }
  }
}

const BINS = 1 << 16;

async function orderStatistic(kernel: KernelRows, rank: number): Promise<number> {
  let low = 0;
  let high = 0;
  await forEachStretch(kernel, (values) => {
    high = Math.max(high, largestOf(values));
  });
  let below = 0;
  for (;;) {
    const bins: Bins = { low, high, counts: new Float64Array(BINS), inside: [], nInside: 0 };
    await forEachStretch(kernel, (values, times) => count(bins, values, times));
    const { counts, inside, nInside } = bins;
    if (nInside <= MANY) return Float64Array.from(inside).sort()[rank - below]!;
    const width = (high - low) / BINS;
    let bin = 0;
    while (below + counts[bin]! <= rank) below += counts[bin++]!;
    const [from, to] = [low + bin * width, low + (bin + 1) * width];
    if (!(to > from) || width === 0 || to - from <= Number.EPSILON * high) return from;
    // Edges are recomputed in rounding; values on them belong to where comparison puts them.
    below = await countBelow(kernel, from);
    [low, high] = [from, to];
  }
}

function largestOf(values: Float64Array): number {
  let largest = 0;
  for (let i = 0; i < values.length; i++) if (values[i]! > largest) largest = values[i]!;
  return largest;
}

const MANY = 1_000_000;

/** How many values lie in each of `BINS` equal parts of `low` to `high`, and which they are as long as they are not many. */
interface Bins {
  readonly low: number;
  readonly high: number;
  readonly counts: Float64Array;
  readonly inside: number[];
  nInside: number;
}

function count(bins: Bins, values: Float64Array, times: 1 | 2): void {
  const { low, high, counts, inside } = bins;
  const width = (high - low) / BINS;
  let nInside = 0;
  for (let i = 0; i < values.length; i++) {
    const d = values[i]!;
    if (d < low || d > high) continue;
    nInside += times;
    if (inside.length <= MANY) for (let t = 0; t < times; t++) inside.push(d);
    counts[width > 0 ? Math.min(BINS - 1, Math.floor((d - low) / width)) : 0]! += times;
  }
  bins.nInside += nInside;
}

async function countBelow(kernel: KernelRows, edge: number): Promise<number> {
  let below = 0;
  await forEachStretch(kernel, (values, times) => {
    let here = 0;
    for (let i = 0; i < values.length; i++) if (values[i]! < edge) here++;
    below += times * here;
  });
  return below;
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
