import { encodeModel, makeModel, makeNode, makeTensor, makeValueInfo } from "@penfield/onnx";
import { InferenceSession, Tensor } from "onnxruntime-node";

/** A convolution as onnxruntime takes it; in one dimension an image of height 1. */
export interface ConvWeights {
  /** `[channels, height, width]`. */
  readonly input: readonly [number, number, number];
  /** `[outputs, height, width]`. */
  readonly output: readonly [number, number, number];
  /** `[outputs, channels / groups, height, width]`. */
  readonly weight: Float32Array;
  readonly kernel: readonly [number, number];
  readonly bias: ArrayLike<number> | undefined;
  readonly stride: readonly [number, number];
  readonly dilation: readonly [number, number];
  readonly groups: number;
  /** Rows and columns of zeros before and after the image: top, left, bottom, right. */
  readonly pads: readonly [number, number, number, number];
}

/** Whole images times a kernel, all of them at once. */
export interface ConvProduct {
  /** `[nRows, channels, height, width]` to `[nRows, outputs, height, width]`, in float32. */
  run(x: Float32Array, nRows: number): Promise<Float32Array>;
  dispose(): Promise<void>;
}

/** @param threads - Default: as many as onnxruntime takes. */
export async function createConvProduct(
  conv: ConvWeights,
  threads: number | undefined,
): Promise<ConvProduct> {
  const { input, output, weight, kernel, bias, stride, dilation, groups, pads } = conv;
  const [nOut] = output;
  const integers = (values: readonly number[]) => values.map(BigInt);
  const model = makeModel({
    nodes: [
      makeNode("Conv", bias ? ["x", "w", "b"] : ["x", "w"], ["y"], {
        kernel_shape: integers(kernel),
        strides: integers(stride),
        dilations: integers(dilation),
        group: BigInt(groups),
        pads: integers(pads),
      }),
    ],
    inputs: [makeValueInfo("x", "float32", ["rows", ...input])],
    outputs: [makeValueInfo("y", "float32", ["rows", ...output])],
    initializers: [
      makeTensor("w", "float32", [nOut, input[0] / groups, ...kernel], weight),
      ...(bias ? [makeTensor("b", "float32", [nOut], Float32Array.from(bias))] : []),
    ],
  });
  const session = await InferenceSession.create(encodeModel(model), {
    executionProviders: ["cpu"],
    // Threads that spin while they wait take the cores from everything else on the machine.
    extra: { session: { intra_op: { allow_spinning: "0" } } },
    ...(threads === undefined ? {} : { intraOpNumThreads: threads }),
  });
  return {
    async run(x, nRows) {
      const { y } = await session.run({ x: new Tensor("float32", x, [nRows, ...input]) });
      return y!.data as Float32Array;
    },
    dispose: () => session.release(),
  };
}
