import { HookPointError, ModelError } from "@penfield/core";
import {
  elementType,
  exposeTensor,
  externalWeight,
  type GraphProto,
  indexGraph,
  intAttribute,
  makeNode,
  makeTensor,
  makeValueInfo,
  tensorValues,
  type ValueInfoProto,
} from "@penfield/onnx";
import { changeWeights, type SpikingIntervention } from "../interventions.ts";
import type { SpikeMask } from "./spikeMask.ts";

export interface State {
  readonly input: string;
  readonly output: string;
  /** One row's sizes. */
  readonly shape: readonly number[];
}

export interface SpikeHook {
  readonly name: string;
  readonly aliases: readonly string[];
  readonly tensor: string;
}

/** A matrix or kernel among the graph's constants. */
export interface WeightHook {
  readonly name: string;
  readonly initializer: string;
  /** As the graph has it `[in, out]`. */
  readonly transposed: boolean;
  /** `[out, in]` or `[out, in, ...kernel]`. */
  readonly shape: readonly number[];
}

export const onName = (k: number): string => `penfield::on::${k}`;
export const offName = (k: number): string => `penfield::off::${k}`;
export const sourceName = (k: number): string => `penfield::source::${k}`;
export const takenName = (k: number): string => `penfield::taken::${k}`;
export const ownName = (k: number): string => `penfield::own::${k}`;
export const captureName = (k: number): string => `penfield::capture::${k}`;

export function guessStates(
  inputs: readonly ValueInfoProto[],
  outputs: readonly ValueInfoProto[],
  file: string,
): [string, string][] {
  const rest = inputs.slice(1).map((v) => v.name);
  const names = outputs.map((v) => v.name);
  const likely = (input: string) =>
    names.find((output) =>
      [
        `${input}_out`,
        `${input}_next`,
        `${input}_new`,
        `${input}.1`,
        `new_${input}`,
        `next_${input}`,
      ]
        .concat(input.endsWith("_in") ? [input.replace(/_in$/, "_out"), input.slice(0, -3)] : [])
        .includes(output),
    );
  const byName = rest.map(likely);
  if (byName.every((output) => output !== undefined) && new Set(byName).size === rest.length) {
    return rest.map((input, i) => [input, byName[i]!]);
  }
  if (names.length <= rest.length) {
    throw new ModelError(
      `StepModel: ${file}: expected an output for each of the states ${rest.join(", ")}, got ${names.join(", ")}`,
      { hint: "Say which is which: { states: [[input, output], ...] }." },
    );
  }
  return rest.map((input, i) => [input, names[names.length - rest.length + i]!]);
}

export function rowShape(declared: ValueInfoProto, file: string): number[] {
  const type = declared.type?.value;
  const dims = type?.case === "tensorType" ? (type.value.shape?.dim ?? []) : [];
  const sizes = dims.slice(1).map((d) => (d.value.case === "dimValue" ? Number(d.value.value) : 0));
  if (dims.length < 2 || sizes.some((n) => n < 1)) {
    throw new ModelError(
      `StepModel: ${file}: expected a state ${declared.name} of [row, units], got sizes that the file does not say`,
      { hint: "Export it with only the first axis dynamic." },
    );
  }
  return sizes;
}

/** Comparisons that are cast to numbers: `Greater -> Cast`, and what they look at. */
export function findSpikes(graph: GraphProto, states: readonly State[]): SpikeHook[] {
  const index = indexGraph(graph);
  const compares = ["Greater", "GreaterOrEqual", "Less", "LessOrEqual"];
  const taken = new Set<string>();
  const found = index.order.flatMap((number): SpikeHook[] => {
    const node = graph.node[number]!;
    if (!compares.includes(node.opType)) return [];
    const readers = index.consumers.get(node.output[0]!) ?? [];
    return readers
      .map((reader) => graph.node[reader]!)
      .filter((reader) => reader.opType === "Cast")
      .map((cast) => {
        const tensor = cast.output[0]!;
        const seen = lookedAt(graph, index, node.input);
        const state = states.find((s) => seen === s.input || seen === s.output);
        const kind = seen === state?.input ? "reset" : "spikes";
        const scope = [tensor, node.output[0]!]
          .map((path) => /^\/?([^/]+)\//.exec(path)?.[1])
          .find((found) => found !== undefined);
        const plain = state ? `${state.input}.${kind}` : `${tensor}.spikes`;
        const name = taken.has(plain) ? `${tensor}.${kind}` : plain;
        taken.add(name);
        return { name, tensor, aliases: [tensor, ...(scope && state ? [`${scope}.${kind}`] : [])] };
      });
  });
  return found.map((spike) => {
    const module = moduleOf(spike.tensor);
    if (module === undefined || states.length > 0) return spike;
    const steps = found.filter(({ tensor }) => moduleOf(tensor) === module);
    const own = `${module}.spikes`;
    const alias = steps.length === 1 ? own : `${own}.${steps.indexOf(spike)}`;
    return { ...spike, aliases: [...spike.aliases, alias] };
  });
}

/** What a comparison looks at: back through differences from constants. */
function lookedAt(
  graph: GraphProto,
  index: ReturnType<typeof indexGraph>,
  inputs: readonly string[],
): string {
  let [at = ""] = inputs.filter((name) => !index.isConstant(name));
  for (;;) {
    const producer = index.producer.get(at);
    const node = producer === undefined ? undefined : graph.node[producer]!;
    if (!node || !["Sub", "Identity"].includes(node.opType)) return at;
    const varying = node.input.filter((name) => !index.isConstant(name));
    // A difference of two things that change is a new state, not a look at one.
    if (varying.length !== 1) return at;
    at = varying[0]!;
  }
}

/** `block.q_lif` of `/block/q_lif/Cast_1_output_0`, as PyTorch's exporter names what a module makes. */
function moduleOf(tensor: string): string | undefined {
  const parts = tensor.split("/").filter((part) => part !== "");
  return parts.length > 1 ? parts.slice(0, -1).join(".") : undefined;
}

/** Constants that activations are multiplied with, of which the values are in the file. */
export function findWeights(graph: GraphProto): WeightHook[] {
  const constants = new Map(graph.initializer.map((tensor) => [tensor.name, tensor]));
  const hooks = new Map<string, WeightHook>();
  for (const node of graph.node) {
    const tensor = constants.get(node.input[1] ?? "");
    const plain = tensor?.dataType === elementType.float32 && !externalWeight(tensor);
    if (!tensor || !plain || hooks.has(tensor.name)) continue;
    const dims = tensor.dims.map(Number);
    const conv = node.opType === "Conv" && dims.length > 2;
    const matrix = ["MatMul", "Gemm"].includes(node.opType) && dims.length === 2;
    if (!conv && !matrix) continue;
    const transposed = matrix && !(node.opType === "Gemm" && intAttribute(node, "transB", 0) === 1);
    const module = moduleOf(node.output[0] ?? "");
    const plainName = tensor.name.endsWith(".weight") || module === undefined;
    const name = plainName ? tensor.name : `${module}.weight`;
    const unique = [...hooks.values()].some((h) => h.name === name) ? tensor.name : name;
    const shape = transposed ? [dims[1]!, dims[0]!] : dims;
    hooks.set(tensor.name, { name: unique, initializer: tensor.name, transposed, shape });
  }
  return [...hooks.values()];
}

export function weightsOf(
  graph: GraphProto,
  { initializer, transposed, shape }: WeightHook,
): Float64Array {
  const values = tensorValues(graph.initializer.find((t) => t.name === initializer)!);
  return transposed ? transpose(values, shape[1]!, shape[0]!) : values;
}

function transpose(values: Float64Array, nRows: number, nColumns: number): Float64Array {
  return Float64Array.from(
    values,
    (_, k) => values[(k % nRows) * nColumns + Math.floor(k / nRows)]!,
  );
}

export function replaceWeights(
  graph: GraphProto,
  weight: WeightHook,
  interventions: readonly SpikingIntervention[],
): void {
  const { name, initializer, transposed, shape } = weight;
  const [nOut, nIn, ...rest] = shape as [number, number, ...number[]];
  const layout = { nOut, nIn, kernel: rest.reduce((a, b) => a * b, 1) };
  if (interventions.some((i) => i.window || i.positions)) {
    throw new HookPointError(`run: ${name}: expected a change for all steps, got some of them`, {
      hint: "Run the steps with other weights on their own, from the state before.",
    });
  }
  const changed = interventions.reduce(
    (values, one) => changeWeights(one, values, layout),
    weightsOf(graph, weight),
  );
  const data = Float32Array.from(transposed ? transpose(changed, nOut, nIn) : changed);
  const dims = transposed ? [nIn, nOut] : shape;
  const at = graph.initializer.findIndex((t) => t.name === initializer);
  graph.initializer[at] = makeTensor(initializer, "float32", dims, data);
}

/** What the graph sends in place of its spikes: one value where it spikes, another where it does not. */
export function wireSpikes(graph: GraphProto, spike: SpikeHook, k: number, mask: SpikeMask): void {
  const own = `${spike.tensor}::own`;
  for (const node of graph.node) {
    node.output = node.output.map((name) => (name === spike.tensor ? own : name));
  }
  let seen = own;
  if (mask.takesRows) {
    const [gathered, mixed] = [`${spike.tensor}::gathered`, `${spike.tensor}::mixed`];
    graph.node.push(
      makeNode("Gather", [own, sourceName(k)], [gathered], { axis: BigInt(mask.layout.axis) }),
      makeNode("Where", [takenName(k), gathered, own], [mixed]),
    );
    graph.input.push(makeValueInfo(sourceName(k), "int64"), makeValueInfo(takenName(k), "bool"));
    seen = mixed;
  }
  const spiked = `${spike.tensor}::spiked`;
  graph.node.push(
    makeNode("Cast", [seen], [spiked], { to: BigInt(elementType.bool) }),
    makeNode("Where", [spiked, onName(k), offName(k)], [spike.tensor]),
  );
  graph.input.push(makeValueInfo(onName(k), "float32"), makeValueInfo(offName(k), "float32"));
  if (mask.delays) exposeTensor(graph, seen, ownName(k), { type: elementType.float32 });
}
