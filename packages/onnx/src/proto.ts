/**
 * The ONNX messages that this package works on. They are plain objects as @bufbuild/protobuf makes
 * them from ONNX's own schema (onnx-buf): fields that a newer schema adds survive a round trip.
 */
export type {
  AttributeProto,
  GraphProto,
  ModelProto,
  NodeProto,
  TensorProto,
  ValueInfoProto,
} from "onnx-buf";

/** ONNX's codes for element types, by the names used here. */
export const elementType = {
  float32: 1,
  uint8: 2,
  int8: 3,
  int32: 6,
  int64: 7,
  string: 8,
  bool: 9,
  float16: 10,
  float64: 11,
  bfloat16: 16,
} as const;

export type ElementTypeName = keyof typeof elementType;
