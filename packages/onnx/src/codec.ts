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
  const nodes = countNodes(bytes);
  if (nodes > MAX_NODES) {
    throw new FormatError(
      `decodeModel: ${name}: expected at most ${MAX_NODES} operators, got ${nodes} or more`,
      { hint: "No transformer needs so many; the file may be damaged or made to exhaust memory." },
    );
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

/** The largest exports in use (mixtures of a hundred experts in each of a hundred layers) have fewer. */
const MAX_NODES = 200_000;

/**
 * Counts the operators of the main graph without decoding them: a small file can hold a million, and
 * decoded they would take a gigabyte. Stops soon after the limit; damaged bytes count as none.
 */
function countNodes(bytes: Uint8Array): number {
  const GRAPH = 7;
  const NODE = 1;
  let count = 0;
  const walk = (from: number, to: number, inGraph: boolean): void => {
    let at = from;
    const varint = (): number => {
      let value = 0;
      for (let shift = 0; shift < 63 && at < to; shift += 7) {
        const byte = bytes[at++]!;
        value += (byte & 0x7f) * 2 ** shift;
        if (byte < 0x80) return value;
      }
      at = to;
      return 0;
    };
    while (at < to && count <= MAX_NODES) {
      const tag = varint();
      const [field, wire] = [Math.floor(tag / 8), tag % 8];
      if (wire === 0) varint();
      else if (wire === 1) at += 8;
      else if (wire === 5) at += 4;
      else if (wire === 2) {
        const length = varint();
        if (inGraph && field === NODE) count++;
        if (!inGraph && field === GRAPH) walk(at, Math.min(at + length, to), true);
        at += length;
      } else return;
    }
  };
  walk(0, bytes.length, false);
  return count;
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
