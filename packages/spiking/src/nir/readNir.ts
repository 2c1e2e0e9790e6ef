import { FormatError } from "@penfield/core";
import type { H5Array, H5Entry, H5Group } from "@penfield/hdf5";
import { readHdf5 } from "@penfield/hdf5";
import type { GraphNode, NirArray, NirGraph, NirNode, Pair } from "./nodes.ts";

/**
 * Reads the bytes of a `.nir` file: the nodes, their parameters and the edges, as the file says.
 *
 * Files of all writers since 0.1: contiguous or gzip, without `v_reset` (taken as zeros), names with
 * dots, `padding` as numbers or text. Unknown groups beside the parameters (`metadata`) are ignored.
 *
 * @param bytes - The whole file.
 * @param name - How error messages call it.
 * @throws {FormatError} if it is no HDF5 file, a damaged one, or holds an unknown node type, a missing or
 * non-finite parameter, a time constant that is not positive, parameters of different shapes, or edges
 * that are no pairs of names.
 *
 * Source: NIR (Pedersen et al. 2024, Nature Communications 15:8122), primitives as of nir 1.0.8.
 */
export async function readNir(bytes: Uint8Array, name = "graph.nir"): Promise<NirGraph> {
  const file = await readHdf5(bytes, { name, doing: "readNir" });
  const root = file.children.get("node");
  if (root?.kind !== "group") {
    throw new FormatError(`readNir: ${name}: expected a group "node", got ${listOf(file)}`, {
      hint: "This is an HDF5 file, but not one that nir.write() made.",
    });
  }
  const node = readNode({ group: root, path: "node", file: name });
  if (node.type !== "NIRGraph") {
    throw new FormatError(`readNir: ${name}: expected a NIRGraph, got a single ${node.type}`, {
      hint: "Wrap it: nir.NIRGraph.from_list(node).",
    });
  }
  const version = file.children.get("version");
  return {
    root: node,
    version: version?.kind === "array" ? String(version.data[0]) : undefined,
  };
}

interface Place {
  readonly group: H5Group;
  /** As a reader finds it in the file. */
  readonly path: string;
  readonly file: string;
}

const listOf = (group: H5Group): string => [...group.children.keys()].join(", ") || "nothing";

function fail({ file, path }: Place, expected: string, got: string, hint?: string): never {
  throw new FormatError(`readNir: ${file}: ${path}: expected ${expected}, got ${got}`, { hint });
}

function readNode(place: Place): NirNode {
  const type = text(place, "type");
  const read = Object.hasOwn(READERS, type) ? READERS[type] : undefined;
  if (!read) {
    fail(
      place,
      `a node of the NIR specification`,
      `the type ${JSON.stringify(type)}`,
      `Known types: ${Object.keys(READERS).join(", ")}.`,
    );
  }
  return read(place);
}

const READERS: Readonly<Record<string, (place: Place) => NirNode>> = {
  LIF: (at) =>
    sameShapes(at, {
      type: "LIF" as const,
      tau: positive(at, "tau"),
      r: numbers(at, "r"),
      vLeak: numbers(at, "v_leak"),
      vThreshold: numbers(at, "v_threshold"),
      vReset: reset(at),
    }),
  CubaLIF: (at) =>
    sameShapes(at, {
      type: "CubaLIF" as const,
      tauSyn: positive(at, "tau_syn"),
      tauMem: positive(at, "tau_mem"),
      r: numbers(at, "r"),
      vLeak: numbers(at, "v_leak"),
      vThreshold: numbers(at, "v_threshold"),
      vReset: reset(at),
      wIn: inputWeight(at),
    }),
  IF: (at) =>
    sameShapes(at, {
      type: "IF" as const,
      r: numbers(at, "r"),
      vThreshold: numbers(at, "v_threshold"),
      vReset: reset(at),
    }),
  LI: (at) =>
    sameShapes(at, {
      type: "LI" as const,
      tau: positive(at, "tau"),
      r: numbers(at, "r"),
      vLeak: numbers(at, "v_leak"),
    }),
  I: (at) => ({ type: "I", r: numbers(at, "r") }),
  CubaLI: (at) =>
    sameShapes(at, {
      type: "CubaLI" as const,
      tauSyn: positive(at, "tau_syn"),
      tauMem: positive(at, "tau_mem"),
      r: numbers(at, "r"),
      vLeak: numbers(at, "v_leak"),
      wIn: inputWeight(at),
    }),
  Affine: (at) => ({ type: "Affine", weight: matrix(at), bias: numbers(at, "bias") }),
  Linear: (at) => ({ type: "Linear", weight: matrix(at), bias: undefined }),
  Conv1d: (at) => convolution(at, "Conv1d"),
  Conv2d: (at) => convolution(at, "Conv2d"),
  SumPool2d: (at) => pool(at, "SumPool2d"),
  AvgPool2d: (at) => pool(at, "AvgPool2d"),
  Flatten: (at) => ({
    type: "Flatten",
    startDim: at.group.children.has("start_dim") ? whole(at, "start_dim") : 1,
    endDim: at.group.children.has("end_dim") ? whole(at, "end_dim") : -1,
    inputShape: at.group.children.has("input_type") ? sizes(at, "input_type") : undefined,
  }),
  Scale: (at) => ({ type: "Scale", scale: numbers(at, "scale") }),
  Threshold: (at) => ({ type: "Threshold", threshold: numbers(at, "threshold") }),
  Delay: (at) => {
    const delay = numbers(at, "delay");
    const wrong = delay.data.find((d) => d < 0);
    if (wrong !== undefined) fail(at, "delays of 0 or more", `delay = ${wrong}`);
    return { type: "Delay", delay };
  },
  Input: (at) => ({ type: "Input", shape: sizes(at, "shape") }),
  Output: (at) => ({ type: "Output", shape: sizes(at, "shape") }),
  NIRGraph: (at) => readGraph(at),
};

function readGraph(at: Place): GraphNode {
  const nodes = at.group.children.get("nodes");
  if (nodes?.kind !== "group") fail(at, `a group "nodes"`, listOf(at.group));
  const edges = at.group.children.get("edges");
  return {
    type: "NIRGraph",
    nodes: new Map(
      [...nodes.children].map(([name, child]) => {
        const path = `${at.path}/nodes/${name}`;
        if (child.kind !== "group") fail({ ...at, path }, "a node", "something else");
        return [name, readNode({ group: child, path, file: at.file })] as const;
      }),
    ),
    edges: edges === undefined ? [] : readEdges(at, edges),
  };
}

function readEdges(at: Place, edges: H5Entry): [string, string][] {
  if (edges.kind === "array" && edges.data.length === 0) return [];
  if (edges.kind !== "array" || edges.shape[1] !== 2 || typeof edges.data[0] !== "string") {
    const got = edges.kind === "array" ? `an array [${edges.shape.join(", ")}]` : "none";
    fail(at, "edges as pairs of names", got);
  }
  const names = edges.data as readonly string[];
  return Array.from({ length: edges.shape[0]! }, (_, i) => [names[2 * i]!, names[2 * i + 1]!]);
}

function parameter(at: Place, name: string): H5Array {
  const found = at.group.children.get(name);
  if (found?.kind !== "array") fail(at, `a parameter "${name}"`, listOf(at.group));
  return found;
}

function text(at: Place, name: string): string {
  const { data } = parameter(at, name);
  if (data.length !== 1 || typeof data[0] !== "string") fail(at, `"${name}" as text`, "numbers");
  return data[0];
}

function numbers(at: Place, name: string): NirArray {
  const { data, shape } = parameter(at, name);
  if (typeof data[0] === "string") fail(at, `"${name}" as numbers`, "text");
  const values = Float64Array.from(data as ArrayLike<number | bigint>, Number);
  const wrong = values.findIndex((value) => !Number.isFinite(value));
  if (wrong >= 0) fail(at, `finite numbers in "${name}"`, `${values[wrong]} at ${wrong}`);
  return { data: values, shape };
}

function positive(at: Place, name: string): NirArray {
  const array = numbers(at, name);
  const wrong = array.data.findIndex((value) => !(value > 0));
  if (wrong >= 0) {
    fail(at, `a time constant "${name}" above 0`, `${array.data[wrong]} at ${wrong}`);
  }
  return array;
}

function reset(at: Place): NirArray {
  if (at.group.children.has("v_reset")) {
    const array = numbers(at, "v_reset");
    // nir's own default is one zero, whatever the shape.
    if (array.data.some((value) => value !== 0)) return array;
  }
  const { data, shape } = numbers(at, "v_threshold");
  return { data: new Float64Array(data.length), shape };
}

const inputWeight = (at: Place): NirArray =>
  at.group.children.has("w_in") ? numbers(at, "w_in") : { data: Float64Array.of(1), shape: [] };

/** All parameters of a neuron have one shape; single values stand for all units. */
function sameShapes<T extends NirNode>(at: Place, node: T): T {
  const arrays = Object.entries(node).filter(([key]) => key !== "type") as [string, NirArray][];
  const [largest] = [...arrays].sort((a, b) => b[1].data.length - a[1].data.length);
  const shape = largest![1].shape.join(", ");
  for (const [key, array] of arrays) {
    if (array.data.length !== 1 && array.shape.join(", ") !== shape) {
      fail(
        at,
        `parameters of one shape, [${shape}] as ${largest![0]}`,
        `[${array.shape.join(", ")}] of ${key}`,
      );
    }
  }
  return node;
}

function matrix(at: Place): NirArray {
  const weight = numbers(at, "weight");
  if (weight.shape.length < 2) {
    fail(at, `"weight" as [out, in]`, `[${weight.shape.join(", ")}]`);
  }
  return weight;
}

function sizes(at: Place, name: string): number[] {
  const { data } = numbers(at, name);
  const wrong = data.find((size) => !Number.isSafeInteger(size) || size < 1);
  if (wrong !== undefined) fail(at, `positive whole sizes in "${name}"`, `${wrong}`);
  return Array.from(data);
}

function whole(at: Place, name: string): number {
  const { data } = numbers(at, name);
  if (data.length !== 1 || !Number.isSafeInteger(data[0])) {
    fail(at, `"${name}" as one whole number`, Array.from(data).join(", "));
  }
  return data[0]!;
}

function pair(at: Place, name: string, least: number, wide: boolean): Pair {
  const { data } = numbers(at, name);
  const wrong = data.find((value) => !Number.isSafeInteger(value) || value < least);
  if (wrong !== undefined || data.length > (wide ? 2 : 1) || data.length === 0) {
    const rule = `"${name}" as ${wide ? "one or two whole numbers" : "one whole number"} from ${least} on`;
    fail(at, rule, Array.from(data).join(", ") || "none");
  }
  // A 1d layer is a 2d one of height 1.
  if (!wide) return [Math.min(least, 1), data[0]!];
  return [data[0]!, data[1] ?? data[0]!];
}

function convolution(at: Place, type: "Conv1d" | "Conv2d"): NirNode {
  const wide = type === "Conv2d";
  const weight = numbers(at, "weight");
  const bias = at.group.children.has("bias") ? numbers(at, "bias") : undefined;
  const groups = at.group.children.has("groups") ? whole(at, "groups") : 1;
  const nOut = weight.shape[0]!;
  if (weight.shape.length !== (wide ? 4 : 3) || weight.data.length === 0) {
    const rule = wide ? "[out, in / groups, height, width]" : "[out, in / groups, length]";
    fail(at, `"weight" as ${rule}`, `[${weight.shape.join(", ")}]`);
  }
  if (groups < 1 || nOut % groups !== 0) fail(at, `groups that divide ${nOut}`, `${groups}`);
  if (bias && bias.data.length !== nOut) {
    fail(at, `a bias for each of ${nOut} channels`, `${bias.data.length}`);
  }
  const stride = pair(at, "stride", 1, wide);
  return {
    type,
    weight,
    bias,
    inputShape: inputShape(at),
    stride,
    padding: padding(at, wide, stride),
    dilation: pair(at, "dilation", 1, wide),
    groups,
  };
}

function inputShape(at: Place): number[] | undefined {
  const found = at.group.children.get("input_shape");
  if (found?.kind !== "array" || typeof found.data[0] === "string") return undefined;
  return sizes(at, "input_shape");
}

function padding(at: Place, wide: boolean, stride: Pair): Pair | "same" {
  if (typeof parameter(at, "padding").data[0] !== "string") return pair(at, "padding", 0, wide);
  const word = text(at, "padding");
  if (word === "valid") return [0, 0];
  if (word !== "same") fail(at, `padding "same", "valid" or numbers`, JSON.stringify(word));
  if (stride.some((s) => s > 1)) fail(at, `a stride of 1 with padding "same"`, stride.join(", "));
  return "same";
}

function pool(at: Place, type: "SumPool2d" | "AvgPool2d"): NirNode {
  return {
    type,
    kernel: pair(at, "kernel_size", 1, true),
    stride: pair(at, "stride", 1, true),
    padding: pair(at, "padding", 0, true),
  };
}
