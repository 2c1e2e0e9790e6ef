export {
  type AttributeValue,
  type GraphParts,
  makeGraph,
  makeModel,
  makeNode,
  makeTensor,
  makeValueInfo,
} from "./build.ts";
export { decodeModel, encodeModel } from "./codec.ts";
export {
  type BlockLayout,
  type DequantizedGraph,
  dequantize,
  dequantizeGraph,
  type NumericArray,
  type QuantizedWeight,
} from "./dequantize.ts";
export { inferElementTypes } from "./elementTypes.ts";
export { attribute, type GraphIndex, indexGraph, intAttribute, readsOf } from "./graphIndex.ts";
export { inlineIf } from "./inlineIf.ts";
export {
  type AttributeProto,
  type ElementTypeName,
  elementType,
  type GraphProto,
  type ModelProto,
  type NodeProto,
  type TensorProto,
  type ValueInfoProto,
} from "./proto.ts";
export { inferRanks } from "./ranks.ts";
export { shuffleWeights } from "./shuffleWeights.ts";
export { copyModel, cutAt, exposeTensor, prune, renameToOutput, rewire } from "./surgery.ts";
export {
  type ExternalWeight,
  externalizeWeights,
  externalLocations,
  externalWeight,
  tensorValues,
} from "./weights.ts";
