import type { FloatArray } from "@penfield/core";
import type { ConvNode, DenseNode, PoolNode } from "../nir/nodes.ts";
import type { ConvWeights } from "./convProduct.ts";
import { type Precision, type Strips, stripsOf, type WeightLists } from "./kernels.ts";

export type MakeFloats = (from: number | ArrayLike<number>) => FloatArray;

/** A matrix of weights made ready for products with few or many active inputs. */
export interface DenseWeights {
  readonly nIn: number;
  readonly nOut: number;
  /** `[nOut, nIn]`, as the file has it, for products of whole matrices. */
  readonly weight: FloatArray;
  /** What the kernels add up. Absent if most weights are 0, or where there are too few outputs. */
  readonly strips: Strips | undefined;
  /** What each input adds to which outputs, in place of strips, without zeros. */
  readonly lists: WeightLists | undefined;
  readonly bias: FloatArray | undefined;
}

/** Fewer weights than this share of a matrix are kept as lists. */
const SPARSE_WEIGHTS = 0.3;

function denseWeights(
  weight: ArrayLike<number>,
  nOut: number,
  nIn: number,
  bias: ArrayLike<number> | undefined,
  precision: Precision,
  floats: MakeFloats,
): DenseWeights {
  let nonZero = 0;
  for (let k = 0; k < weight.length; k++) if (weight[k] !== 0) nonZero++;
  const few = nIn * nOut >= 4096 && nonZero < SPARSE_WEIGHTS * nIn * nOut;
  const own = floats(weight);
  const strips = few ? undefined : stripsOf(precision, own, nOut, nIn);
  return {
    nIn,
    nOut,
    weight: own,
    strips,
    lists: strips ? undefined : weightLists(own, nOut, nIn, nonZero, floats),
    bias: bias && floats(bias),
  };
}

function weightLists(
  weight: FloatArray,
  nOut: number,
  nIn: number,
  nonZero: number,
  floats: MakeFloats,
): WeightLists {
  const start = new Int32Array(nIn + 1);
  const target = new Int32Array(nonZero);
  const value = floats(nonZero);
  let at = 0;
  for (let i = 0; i < nIn; i++) {
    for (let j = 0; j < nOut; j++) {
      const w = weight[j * nIn + i]!;
      if (w === 0) continue;
      target[at] = j;
      value[at++] = w;
    }
    start[i + 1] = at;
  }
  return { start, target, value };
}

/** Finds the units that are not 0. */
function scan(x: FloatArray, from: number, n: number, active: Int32Array): number {
  let count = 0;
  for (let i = 0; i < n; i++) {
    if (x[from + i] !== 0) active[count++] = i;
  }
  return count;
}

/** Something that turns rows of values into rows of values and remembers nothing. */
export interface RowMap {
  run(x: FloatArray, xFrom: number, nRows: number, out: FloatArray, outFrom: number): void;
  /** The matrix, if the whole of it is one. */
  readonly dense?: DenseWeights;
  /** The convolution, if it is one and in float32: onnxruntime has none in float64. */
  readonly conv?: ConvWeights;
}

/** `out = W x + b` of one row, by active inputs. */
function rowProduct(
  { nIn, nOut, weight, lists, bias }: DenseWeights,
  x: FloatArray,
  xFrom: number,
  out: FloatArray,
  outFrom: number,
  scratch: Int32Array,
): void {
  if (bias) out.set(bias, outFrom);
  else out.fill(0, outFrom, outFrom + nOut);
  const count = scan(x, xFrom, nIn, scratch);
  for (let k = 0; k < count; k++) {
    const i = scratch[k]!;
    const factor = x[xFrom + i]!;
    if (lists) {
      const { start, target, value } = lists;
      const end = start[i + 1]!;
      for (let p = start[i]!; p < end; p++) out[outFrom + target[p]!]! += factor * value[p]!;
      continue;
    }
    for (let j = 0; j < nOut; j++) out[outFrom + j]! += factor * weight[j * nIn + i]!;
  }
}

/** A Linear or Affine node, whatever its leading axes. */
export function denseMap(
  { weight, bias }: DenseNode,
  nInputs: number,
  weights: Float64Array,
  precision: Precision,
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
      precision,
      floats,
    ),
  );
  return {
    run(x, xFrom, nRows, out, outFrom) {
      for (let r = 0; r < nRows * lead * repeats; r++) {
        rowProduct(parts[r % lead]!, x, xFrom + r * nIn, out, outFrom + r * nOut, scratch);
      }
    },
    ...(lead === 1 && repeats === 1 ? { dense: parts[0]! } : {}),
  };
}

/** A Conv1d or Conv2d node: each active input adds its kernel where it reaches, input after input. */
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
  // What lies behind the image follows from its size and the output's; torch's "same" has more there.
  const behind = (size: number, out: number, stride: number, pad: number, reach: number): number =>
    Math.max(0, (out - 1) * stride + reach + 1 - size - pad);
  const inPerGroup = channels / node.groups;
  const outPerGroup = nOut / node.groups;
  const w = floats(weights);
  const kernel = kernelHeight * kernelWidth;
  const outSize = outHeight * outWidth;
  const inSize = height * width;
  const nIn = channels * inSize;
  const bias = node.bias?.data;
  const scratch = new Int32Array(nIn);
  const conv =
    w instanceof Float32Array
      ? {
          input: [channels, height, width] as const,
          output: [nOut, outHeight, outWidth] as const,
          weight: w,
          kernel: [kernelHeight, kernelWidth] as const,
          bias,
          stride: node.stride,
          dilation: node.dilation,
          groups: node.groups,
          pads: [
            padY,
            padX,
            behind(height, outHeight, strideY, padY, dilationY * (kernelHeight - 1)),
            behind(width, outWidth, strideX, padX, dilationX * (kernelWidth - 1)),
          ] as const,
        }
      : undefined;
  return {
    ...(conv ? { conv } : {}),
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
