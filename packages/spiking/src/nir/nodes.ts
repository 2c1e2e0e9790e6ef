/** Numbers of a parameter with their sizes, row-major; float64 whatever the file holds. */
export interface NirArray {
  readonly data: Float64Array;
  readonly shape: readonly number[];
}

/** Two whole numbers, for the two directions of an image. */
export type Pair = readonly [number, number];

export interface LifNode {
  readonly type: "LIF";
  readonly tau: NirArray;
  readonly r: NirArray;
  readonly vLeak: NirArray;
  readonly vThreshold: NirArray;
  /** Zeros where the file has none (writers before nir 1.0.6). */
  readonly vReset: NirArray;
}
export interface CubaLifNode {
  readonly type: "CubaLIF";
  readonly tauSyn: NirArray;
  readonly tauMem: NirArray;
  readonly r: NirArray;
  readonly vLeak: NirArray;
  readonly vThreshold: NirArray;
  readonly vReset: NirArray;
  readonly wIn: NirArray;
}
export interface IfNode {
  readonly type: "IF";
  readonly r: NirArray;
  readonly vThreshold: NirArray;
  readonly vReset: NirArray;
}
interface LiNode {
  readonly type: "LI";
  readonly tau: NirArray;
  readonly r: NirArray;
  readonly vLeak: NirArray;
}
interface INode {
  readonly type: "I";
  readonly r: NirArray;
}
interface CubaLiNode {
  readonly type: "CubaLI";
  readonly tauSyn: NirArray;
  readonly tauMem: NirArray;
  readonly r: NirArray;
  readonly vLeak: NirArray;
  readonly wIn: NirArray;
}

/** Nodes with a membrane. */
export type NeuronNode = LifNode | CubaLifNode | IfNode | LiNode | INode | CubaLiNode;

export interface DenseNode {
  readonly type: "Affine" | "Linear";
  /** `[..., out, in]`. */
  readonly weight: NirArray;
  readonly bias: NirArray | undefined;
}
export interface ConvNode {
  readonly type: "Conv1d" | "Conv2d";
  /** `[out, in / groups, kernel]` or `[out, in / groups, kernel, kernel]`. */
  readonly weight: NirArray;
  readonly bias: NirArray | undefined;
  readonly inputShape: readonly number[] | undefined;
  /** Conv1d: the first of each pair is 1 or 0. */
  readonly stride: Pair;
  readonly padding: Pair | "same";
  readonly dilation: Pair;
  readonly groups: number;
}
export interface PoolNode {
  readonly type: "SumPool2d" | "AvgPool2d";
  readonly kernel: Pair;
  readonly stride: Pair;
  readonly padding: Pair;
}
interface FlattenNode {
  readonly type: "Flatten";
  readonly startDim: number;
  readonly endDim: number;
  readonly inputShape: readonly number[] | undefined;
}
interface ScaleNode {
  readonly type: "Scale";
  readonly scale: NirArray;
}
interface ThresholdNode {
  readonly type: "Threshold";
  readonly threshold: NirArray;
}
interface DelayNode {
  readonly type: "Delay";
  /** Seconds. */
  readonly delay: NirArray;
}
interface PortNode {
  readonly type: "Input" | "Output";
  readonly shape: readonly number[];
}
export interface GraphNode {
  readonly type: "NIRGraph";
  /** In the order of the file. */
  readonly nodes: ReadonlyMap<string, NirNode>;
  readonly edges: readonly (readonly [source: string, target: string])[];
}

export type NirNode =
  | NeuronNode
  | DenseNode
  | ConvNode
  | PoolNode
  | FlattenNode
  | ScaleNode
  | ThresholdNode
  | DelayNode
  | PortNode
  | GraphNode;

/** A network as its file says it, before anything is checked against anything else. */
export interface NirGraph {
  readonly root: GraphNode;
  /** The writer's version of nir. */
  readonly version: string | undefined;
}

export const isNeuron = (node: NirNode): node is NeuronNode =>
  ["LIF", "CubaLIF", "IF", "LI", "I", "CubaLI"].includes(node.type);

/** Whether a node sends spikes: those with a threshold. */
export const isSpiking = (node: NirNode): node is LifNode | CubaLifNode | IfNode =>
  ["LIF", "CubaLIF", "IF"].includes(node.type);
