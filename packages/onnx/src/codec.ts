import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { FormatError, ModelError } from "@penfield/core";
import { type ModelProto, ModelProtoSchema } from "onnx-buf";

/**
 * Decodes the bytes of an .onnx file. Weights are views into `bytes`, not copies.
 *
 * @param bytes - The whole file.
 * @param name - How error messages call it.
 * @throws {FormatError} if the bytes are not an ONNX model with a graph.
 */
export function decodeModel(bytes: Uint8Array, name = "model.onnx"): ModelProto {
  const hint = "Give a model exported to ONNX, for example by optimum-cli export onnx.";
  // Big files that are no ONNX at all are often a Git LFS pointer or a web page saved by mistake.
  const start = Buffer.from(bytes.subarray(0, 64)).toString("latin1");
  if (start.startsWith("version https://git-lfs")) {
    throw new FormatError(`decodeModel: ${name}: expected an ONNX model, got a Git LFS pointer`, {
      hint: "Fetch the file itself (git lfs pull).",
    });
  }
  let model: ModelProto;
  try {
    // A plain view: slices of a Node Buffer would be views into the file, not copies.
    const plain = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    model = fromBinary(ModelProtoSchema, plain);
  } catch (cause) {
    throw new FormatError(
      `decodeModel: ${name}: expected an ONNX model, got ${bytes.length} bytes that are not ONNX protobuf (or end too early)`,
      { hint, cause },
    );
  }
  if (!model.graph || model.graph.node.length === 0) {
    throw new FormatError(`decodeModel: ${name}: expected an ONNX model with a graph, got none`, {
      hint,
    });
  }
  return model;
}

/** The bytes of an .onnx file. @throws {ModelError} if they would pass protobuf's limit of 2 GiB. */
export function encodeModel(model: ModelProto): Uint8Array {
  try {
    return toBinary(ModelProtoSchema, model);
  } catch (cause) {
    throw new ModelError("encodeModel: the model could not be encoded", {
      hint: "Weights above 2 GiB must lie beside the model: see externalizeWeights.",
      cause,
    });
  }
}
