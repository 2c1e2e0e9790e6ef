import type { FloatArray } from "@penfield/core";
import type { ConvNode, DenseNode, PoolNode } from "../nir/nodes.ts";

/** Which units of each row are not 0: rows one after the other, units ascending. */
export interface Events {
  /** `[nRows + 1]`: where each row's units begin. */
  readonly start: Int32Array;
  /** `start[nRows]` of them are valid. */
  index: Int32Array;
}

export type MakeFloats = (from: number | ArrayLike<number>) => FloatArray;

/** A matrix of weights made ready for products with few or many active inputs. */
export interface DenseWeights {
  readonly nIn: number;
  readonly nOut: number;
  /** `[nOut, nIn]`, as the file has it, for products of whole matrices. */
  readonly weight: FloatArray;
  /** `[nIn, nOut]`: what one active input adds, in one piece. Absent if most weights are 0. */
  readonly rows: FloatArray | undefined;
  /** The same without zeros. */
  readonly sparse:
    | { readonly start: Int32Array; readonly target: Int32Array; readonly value: FloatArray }
    | undefined;
  readonly bias: FloatArray | undefined;
}

/** Fewer weights than this share of a matrix are kept as lists. */
const SPARSE_WEIGHTS = 0.3;

function denseWeights(
  weight: ArrayLike<number>,
  nOut: number,
  nIn: number,
  bias: ArrayLike<number> | undefined,
  floats: MakeFloats,
): DenseWeights {
  let nonZero = 0;
  for (let k = 0; k < weight.length; k++) if (weight[k] !== 0) nonZero++;
  const few = nIn * nOut >= 4096 && nonZero < SPARSE_WEIGHTS * nIn * nOut;
  const start = new Int32Array(nIn + 1);
  const target = new Int32Array(few ? nonZero : 0);
  const value = floats(few ? nonZero : 0);
  const rows = few ? undefined : floats(nIn * nOut);
  let at = 0;
  for (let i = 0; i < nIn; i++) {
    for (let j = 0; j < nOut; j++) {
      const w = weight[j * nIn + i]!;
      if (rows) rows[i * nOut + j] = w;
      else if (w !== 0) {
        target[at] = j;
        value[at++] = w;
      }
    }
    start[i + 1] = at;
  }
  return {
    nIn,
    nOut,
    weight: floats(weight),
    rows,
    sparse: few ? { start, target, value } : undefined,
    bias: bias && floats(bias),
  };
}

/** Finds the units that are not 0; says whether all of them are 1. */
function scan(x: FloatArray, from: number, n: number, active: Int32Array): number {
  let count = 0;
  for (let i = 0; i < n; i++) {
    if (x[from + i] !== 0) active[count++] = i;
  }
  return count;
}

function allOnes(x: FloatArray, from: number, active: Int32Array, first: number, count: number) {
  for (let k = first; k < first + count; k++) if (x[from + active[k]!] !== 1) return false;
  return true;
}

/**
 * `out = W x + b` for rows of x, adding up the weights of active inputs. What a row gets does not depend on
 * the other rows.
 */
function eventProduct(
  weights: DenseWeights,
  x: FloatArray,
  xFrom: number,
  nRows: number,
  out: FloatArray,
  outFrom: number,
  events: Events | undefined,
  eventRow: number,
  scratch: Int32Array,
): void {
  const { nIn, nOut, rows, sparse, bias } = weights;
  for (let r = 0; r < nRows; r++) {
    const xRow = xFrom + r * nIn;
    const outRow = outFrom + r * nOut;
    if (bias) out.set(bias, outRow);
    else out.fill(0, outRow, outRow + nOut);
    let active = scratch;
    let first = 0;
    let count: number;
    if (events) {
      active = events.index;
      first = events.start[eventRow + r]!;
      count = events.start[eventRow + r + 1]! - first;
    } else count = scan(x, xRow, nIn, scratch);
    if (count === 0) continue;
    if (sparse) addLists(sparse, x, xRow, active, first, count, out, outRow);
    else if (allOnes(x, xRow, active, first, count)) {
      addRows(rows!, nOut, active, first, count, out, outRow);
    } else addScaledRows(rows!, nOut, x, xRow, active, first, count, out, outRow);
  }
}

function addLists(
  { start, target, value }: NonNullable<DenseWeights["sparse"]>,
  x: FloatArray,
  xRow: number,
  active: Int32Array,
  first: number,
  count: number,
  out: FloatArray,
  outRow: number,
): void {
  for (let k = first; k < first + count; k++) {
    const i = active[k]!;
    const factor = x[xRow + i]!;
    const end = start[i + 1]!;
    for (let p = start[i]!; p < end; p++) {
      out[outRow + target[p]!]! += factor * value[p]!;
    }
  }
}

/** Eight rows at a time: the sums are read and written once for all of them. */
function addRows(
  w: FloatArray,
  n: number,
  active: Int32Array,
  first: number,
  count: number,
  out: FloatArray,
  outRow: number,
): void {
  let k = first;
  const end = first + count;
  for (; k + 8 <= end; k += 8) {
    const a = active[k]! * n;
    const b = active[k + 1]! * n;
    const c = active[k + 2]! * n;
    const d = active[k + 3]! * n;
    const e = active[k + 4]! * n;
    const f = active[k + 5]! * n;
    const g = active[k + 6]! * n;
    const h = active[k + 7]! * n;
    for (let j = 0; j < n; j++) {
      out[outRow + j]! +=
        w[a + j]! +
        w[b + j]! +
        (w[c + j]! + w[d + j]!) +
        (w[e + j]! + w[f + j]! + (w[g + j]! + w[h + j]!));
    }
  }
  for (; k < end; k++) {
    const a = active[k]! * n;
    for (let j = 0; j < n; j++) out[outRow + j]! += w[a + j]!;
  }
}

function addScaledRows(
  w: FloatArray,
  n: number,
  x: FloatArray,
  xRow: number,
  active: Int32Array,
  first: number,
  count: number,
  out: FloatArray,
  outRow: number,
): void {
  let k = first;
  const end = first + count;
  for (; k + 4 <= end; k += 4) {
    const a = active[k]!;
    const b = active[k + 1]!;
    const c = active[k + 2]!;
    const d = active[k + 3]!;
    const xa = x[xRow + a]!;
    const xb = x[xRow + b]!;
    const xc = x[xRow + c]!;
    const xd = x[xRow + d]!;
    for (let j = 0; j < n; j++) {
      out[outRow + j]! +=
        xa * w[a * n + j]! + xb * w[b * n + j]! + (xc * w[c * n + j]! + xd * w[d * n + j]!);
    }
  }
  for (; k < end; k++) {
    const a = active[k]!;
    const xa = x[xRow + a]!;
    for (let j = 0; j < n; j++) out[outRow + j]! += xa * w[a * n + j]!;
  }
}

/** Something that turns rows of values into rows of values and remembers nothing. */
export interface RowMap {
  run(
    x: FloatArray,
    xFrom: number,
    nRows: number,
    out: FloatArray,
    outFrom: number,
    events: Events | undefined,
    eventRow: number,
  ): void;
  /** The matrix, if the whole of it is one. */
  readonly dense?: DenseWeights;
}

/** A Linear or Affine node, whatever its leading axes. */
export function denseMap(
  { weight, bias }: DenseNode,
  nInputs: number,
  weights: Float64Array,
  floats: MakeFloats,
): RowMap {
  const [nOut, nIn] = weight.shape.slice(-2) as [number, number];
  const lead = weight.data.length / (nOut * nIn);
  const repeats = lead === 1 ? nInputs / nIn : 1;
  const scratch = new Int32Array(nIn);
  const parts = Array.from({ length: lead }, (_, g) =>
    denseWeights(
      weights.subarray(g * nOut * nIn, (g + 1) * nOut * nIn),
      nOut,
      nIn,
      bias && (bias.data.length === nOut ? bias.data : bias.data.slice(g * nOut, (g + 1) * nOut)),
      floats,
    ),
  );
  const [only] = parts as [DenseWeights];
  if (lead === 1) {
    return {
      run(x, xFrom, nRows, out, outFrom, events, eventRow) {
        const known = repeats === 1 ? events : undefined;
        eventProduct(only, x, xFrom, nRows * repeats, out, outFrom, known, eventRow, scratch);
      },
      ...(repeats === 1 ? { dense: only } : {}),
    };
  }
  return {
    run(x, xFrom, nRows, out, outFrom) {
      for (let r = 0; r < nRows; r++) {
        parts.forEach((part, g) => {
          const xPart = xFrom + (r * lead + g) * nIn;
          const outPart = outFrom + (r * lead + g) * nOut;
          eventProduct(part, x, xPart, 1, out, outPart, undefined, 0, scratch);
        });
      }
    },
  };
}

/** A Conv1d or Conv2d node: each active input adds its kernel where it reaches. */
export function convMap(
  node: ConvNode,
  inputShape: readonly number[],
  shape: readonly number[],
  weights: ArrayLike<number>,
  floats: MakeFloats,
): RowMap {
  const flat = node.type === "Conv1d";
  const [channels, height, width] = flat
    ? [inputShape[0]!, 1, inputShape[1]!]
    : (inputShape as [number, number, number]);
  const [nOut, outHeight, outWidth] = flat
    ? [shape[0]!, 1, shape[1]!]
    : (shape as [number, number, number]);
  const kernelHeight = flat ? 1 : node.weight.shape[2]!;
  const kernelWidth = node.weight.shape.at(-1)!;
  const [strideY, strideX] = node.stride;
  const [dilationY, dilationX] = node.dilation;
  // As torch: of an odd "same" padding the larger part is at the end.
  const [padY, padX] =
    node.padding === "same"
      ? [
          Math.floor((dilationY * (kernelHeight - 1)) / 2),
          Math.floor((dilationX * (kernelWidth - 1)) / 2),
        ]
      : node.padding;
  const inPerGroup = channels / node.groups;
  const outPerGroup = nOut / node.groups;
  const w = floats(weights);
  const kernel = kernelHeight * kernelWidth;
  const outSize = outHeight * outWidth;
  const inSize = height * width;
  const nIn = channels * inSize;
  const bias = node.bias?.data;
  const scratch = new Int32Array(nIn);
  return {
    run(x, xFrom, nRows, out, outFrom) {
      for (let r = 0; r < nRows; r++) {
        const xRow = xFrom + r * nIn;
        const outRow = outFrom + r * nOut * outSize;
        for (let o = 0; o < nOut; o++) {
          out.fill(bias?.[o] ?? 0, outRow + o * outSize, outRow + (o + 1) * outSize);
        }
        const count = scan(x, xRow, nIn, scratch);
        for (let k = 0; k < count; k++) {
          const i = scratch[k]!;
          const value = x[xRow + i]!;
          const channel = Math.floor(i / inSize);
          const y = Math.floor((i % inSize) / width);
          const column = i % width;
          const group = Math.floor(channel / inPerGroup);
          const inner = channel - group * inPerGroup;
          const firstOut = group * outPerGroup;
          for (let ky = 0; ky < kernelHeight; ky++) {
            const reachY = y + padY - ky * dilationY;
            if (reachY < 0 || reachY % strideY !== 0) continue;
            const oy = reachY / strideY;
            if (oy >= outHeight) continue;
            for (let kx = 0; kx < kernelWidth; kx++) {
              const reachX = column + padX - kx * dilationX;
              if (reachX < 0 || reachX % strideX !== 0) continue;
              const ox = reachX / strideX;
              if (ox >= outWidth) continue;
              let to = outRow + firstOut * outSize + oy * outWidth + ox;
              let from = (firstOut * inPerGroup + inner) * kernel + ky * kernelWidth + kx;
              for (let o = 0; o < outPerGroup; o++) {
                out[to]! += value * w[from]!;
                to += outSize;
                from += inPerGroup * kernel;
              }
            }
          }
        }
      }
    },
  };
}

/** A SumPool2d or AvgPool2d node; the average counts the padding (as torch). */
export function poolMap(
  node: PoolNode,
  inputShape: readonly number[],
  shape: readonly number[],
): RowMap {
  const [channels, height, width] = inputShape as [number, number, number];
  const [, outHeight, outWidth] = shape as [number, number, number];
  const [kernelY, kernelX] = node.kernel;
  const [strideY, strideX] = node.stride;
  const [padY, padX] = node.padding;
  const divisor = node.type === "AvgPool2d" ? kernelY * kernelX : 1;
  return {
    run(x, xFrom, nRows, out, outFrom) {
      for (let plane = 0; plane < nRows * channels; plane++) {
        const from = xFrom + plane * height * width;
        const to = outFrom + plane * outHeight * outWidth;
        for (let oy = 0; oy < outHeight; oy++) {
          const y0 = oy * strideY - padY;
          for (let ox = 0; ox < outWidth; ox++) {
            const x0 = ox * strideX - padX;
            let sum = 0;
            for (let y = Math.max(0, y0); y < Math.min(height, y0 + kernelY); y++) {
              for (let c = Math.max(0, x0); c < Math.min(width, x0 + kernelX); c++) {
                sum += x[from + y * width + c]!;
              }
            }
            out[to + oy * outWidth + ox] = sum / divisor;
          }
        }
      }
    },
  };
}
