import { isAbsolute, normalize } from "node:path";
import { create } from "@bufbuild/protobuf";
import { FormatError, float16ToNumber, ModelError } from "@penfield/core";
import { StringStringEntryProtoSchema, TensorProto_DataLocation } from "onnx-buf";
import { elementType, type GraphProto, type ModelProto, type TensorProto } from "./proto.ts";

const THRESHOLD_BYTES = 1024;

/**
 * Replaces every large weight that lies inside the file's bytes by a reference to its place in the
 * file itself, so that a model changed by surgery weighs kilobytes, and the runtime maps the
 * weights from the original file. Small weights are copied, so that `bytes` can be released.
 *
 * @param model - As `decodeModel` returned it for `bytes`; changed in place.
 * @param bytes - The file that the model was decoded from.
 * @param location - The file's name, relative to the folder that the runtime is told.
 * @returns How many bytes are now referred to.
 */
export function externalizeWeights(model: ModelProto, bytes: Uint8Array, location: string): number {
  let total = 0;
  detach(model.graph!, bytes);
  for (const tensor of model.graph!.initializer) {
    const { rawData } = tensor;
    const outside = tensor.dataLocation === TensorProto_DataLocation.EXTERNAL;
    if (outside || rawData.length === 0 || rawData.buffer !== bytes.buffer) continue;
    const entries = [
      ["location", location],
      ["offset", String(rawData.byteOffset - bytes.byteOffset)],
      ["length", String(rawData.length)],
    ] as const;
    tensor.externalData = entries.map(([key, value]) =>
      create(StringStringEntryProtoSchema, { key, value }),
    );
    tensor.dataLocation = TensorProto_DataLocation.EXTERNAL;
    total += rawData.length;
    tensor.rawData = new Uint8Array(0);
  }
  return total;
}

/** Copies what is small, or sits in an attribute, so that it no longer holds the whole file in memory. */
function detach(graph: GraphProto, bytes: Uint8Array): void {
  const copy = (tensor: TensorProto | undefined): void => {
    if (tensor && tensor.rawData.buffer === bytes.buffer) tensor.rawData = tensor.rawData.slice();
  };
  for (const tensor of graph.initializer) {
    if (tensor.rawData.length < THRESHOLD_BYTES) copy(tensor);
  }
  for (const { attribute } of graph.node) {
    for (const { t, g, tensors, graphs } of attribute) {
      [t, ...tensors].forEach(copy);
      for (const branch of g ? [g, ...graphs] : graphs) {
        for (const tensor of branch.initializer) copy(tensor);
        detach(branch, bytes);
      }
    }
  }
}

/** Where a weight outside the model file lies. */
export interface ExternalWeight {
  readonly location: string;
  readonly offset: number;
  /** Undefined: to the end of the file. */
  readonly length: number | undefined;
}

/**
 * Where a weight lies, if it is outside the model file.
 *
 * @throws {FormatError} if the path leaves the model's folder (a model is a stranger's file), or
 *   offset or length are no whole numbers.
 */
export function externalWeight(tensor: TensorProto): ExternalWeight | undefined {
  if (tensor.dataLocation !== TensorProto_DataLocation.EXTERNAL) return undefined;
  const entry = (key: string) => tensor.externalData.find((e) => e.key === key)?.value;
  const location = entry("location") ?? "";
  const clean = normalize(location);
  if (location === "" || isAbsolute(clean) || clean.split(/[\\/]/).includes("..")) {
    throw new FormatError(
      `externalWeight: expected a file beside the model for ${tensor.name}, got ${JSON.stringify(location)}`,
      { hint: "The model file may be damaged or made to read other files; fetch it again." },
    );
  }
  const bytes = (key: string): number | undefined => {
    const text = entry(key);
    if (text === undefined || /^\d{1,15}$/.test(text))
      return text === undefined ? text : Number(text);
    throw new FormatError(
      `externalWeight: expected a whole number of bytes as ${key} of ${tensor.name}, got ${JSON.stringify(text)}`,
    );
  };
  return { location: clean, offset: bytes("offset") ?? 0, length: bytes("length") };
}

/** The files beside the model that its weights lie in. */
export function externalLocations(model: ModelProto): string[] {
  const found = model.graph!.initializer.map((t) => externalWeight(t)?.location);
  return [...new Set(found.filter((location) => location !== undefined))];
}

const BYTES: Readonly<Record<number, number>> = {
  [elementType.float32]: 4,
  [elementType.float64]: 8,
  [elementType.float16]: 2,
  [elementType.int64]: 8,
  [elementType.int32]: 4,
};

/**
 * A tensor's values as numbers, whichever of ONNX's ways holds them (copy).
 *
 * @throws {ModelError} for weights outside the file, strings, and packed 4-bit types.
 * @throws {FormatError} if the bytes end within a value.
 */
export function tensorValues(tensor: TensorProto): Float64Array {
  if (externalWeight(tensor)) {
    throw new ModelError(`tensorValues: expected ${tensor.name} inside the model file`);
  }
  const raw = tensor.rawData;
  if (raw.length > 0) {
    const size = BYTES[tensor.dataType] ?? 1;
    if (raw.length % size !== 0) {
      throw new FormatError(
        `tensorValues: expected values of ${size} bytes in ${tensor.name}, got ${raw.length} bytes`,
      );
    }
    const copy = new Uint8Array(raw).buffer;
    switch (tensor.dataType) {
      case elementType.float32:
        return Float64Array.from(new Float32Array(copy));
      case elementType.float64:
        return new Float64Array(copy);
      case elementType.float16:
        return Float64Array.from(new Uint16Array(copy), float16ToNumber);
      case elementType.int64:
        return Float64Array.from(new BigInt64Array(copy), Number);
      case elementType.int32:
        return Float64Array.from(new Int32Array(copy));
      case elementType.int8:
        return Float64Array.from(new Int8Array(copy));
      case elementType.uint8:
      case elementType.bool:
        return Float64Array.from(new Uint8Array(copy));
    }
    throw new ModelError(`tensorValues: expected a plain numeric type, got ${tensor.dataType}`);
  }
  if (tensor.floatData.length > 0) return Float64Array.from(tensor.floatData);
  if (tensor.doubleData.length > 0) return Float64Array.from(tensor.doubleData);
  if (tensor.int64Data.length > 0) return Float64Array.from(tensor.int64Data, Number);
  const halves = tensor.dataType === elementType.float16;
  return Float64Array.from(tensor.int32Data, halves ? float16ToNumber : Number);
}
