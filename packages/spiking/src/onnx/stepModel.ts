import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import {
  DataError,
  fileError,
  HookPointError,
  ModelError,
  ShapeError,
  sha256,
} from "@penfield/core";
import { matchesHook } from "@penfield/hooks";
import {
  copyModel,
  decodeModel,
  elementType,
  encodeModel,
  exposeTensor,
  type GraphProto,
  indexGraph,
  type ModelProto,
  makeNode,
  makeValueInfo,
  type ValueInfoProto,
} from "@penfield/onnx";
import { InferenceSession, Tensor } from "onnxruntime-node";
import {
  activeIn,
  type CompiledOp,
  compileOp,
  indices,
  inTurn,
  type SpikingIntervention,
} from "../interventions.ts";
import type { SpikingHookPoint } from "../model.ts";
import { makeRecorder, type Recorder, type SpikingValues } from "../simulate/capture.ts";

/** How a one-step graph is opened. */
export interface OpenStepOptions {
  /**
   * Which input is which output of the step before. Default: an output called as an input with `_out`,
   * `_next`, `_new`, `.1` behind or `new_`, `next_` before it, or the last outputs in the order of the inputs after
   * the first.
   */
  readonly states?: readonly (readonly [input: string, output: string])[] | undefined;
  readonly threads?: number | undefined;
}

export interface StepRequest {
  /** `[row, step, ...]`. */
  readonly input: { readonly data: ArrayLike<number>; readonly shape: readonly number[] };
  readonly capture?: readonly string[] | undefined;
  readonly interventions?: readonly SpikingIntervention[] | undefined;
  /** States to begin from, as `StepResult.state` gives them; zeros without. */
  readonly state?: StepState | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** States after a step, and how many steps have been run. */
export interface StepState {
  readonly values: ReadonlyMap<string, Float32Array>;
  readonly step: number;
}

export interface StepResult {
  /** The first output that is no state, `[row, step, unit]`. */
  readonly output: SpikingValues;
  readonly outputs: ReadonlyMap<string, SpikingValues>;
  readonly cache: ReadonlyMap<string, SpikingValues>;
  /** For the next piece of the recording. */
  readonly state: StepState;
}

interface State {
  readonly input: string;
  readonly output: string;
  /** One row's sizes. */
  readonly shape: readonly number[];
}

interface SpikeHook {
  readonly name: string;
  readonly aliases: readonly string[];
  readonly tensor: string;
}

/**
 * A network of which the ONNX graph is one time step, its states going in and out (as snnTorch and Spyx export):
 * the graph in a loop, with hook points at its spikes and states.
 *
 * Spikes are found by structure: a comparison whose result is cast to numbers. `<state>.spikes` is the one that
 * looks at the new state, `<state>.reset` at the old one; others are called after their tensors.
 */
export class StepModel {
  readonly name: string;
  readonly sha256: string;
  readonly hookPoints: readonly SpikingHookPoint[];
  readonly states: readonly (readonly [input: string, output: string])[];
  /** A graph without states has no time: each step stands alone. */
  readonly recurrent: boolean;

  readonly #model: ModelProto;
  readonly #states: readonly State[];
  readonly #input: string;
  readonly #outputs: readonly string[];
  readonly #spikes: readonly SpikeHook[];
  readonly #threads: number | undefined;

  private constructor(
    model: ModelProto,
    bytes: Uint8Array,
    name: string,
    options: OpenStepOptions,
  ) {
    const graph = model.graph!;
    this.#model = model;
    this.name = name;
    this.sha256 = sha256(bytes);
    this.#threads = options.threads;
    const weights = new Set(graph.initializer.map((t) => t.name));
    const inputs = graph.input.filter((v) => !weights.has(v.name));
    const pairs = options.states ?? guessStates(inputs, graph.output, name);
    this.#states = pairs.map(([input, output]) => {
      const declared = inputs.find((v) => v.name === input);
      if (!declared || !graph.output.some((v) => v.name === output)) {
        throw new ModelError(
          `StepModel: ${name}: expected a state among its inputs and outputs, got ${input} and ${output}`,
        );
      }
      return { input, output, shape: rowShape(declared, name) };
    });
    this.states = pairs;
    this.recurrent = pairs.length > 0;
    const held = new Set(pairs.map(([input]) => input));
    const data = inputs.filter((v) => !held.has(v.name));
    if (data.length !== 1) {
      throw new ModelError(
        `StepModel: ${name}: expected one input besides the states, got ${data.map((v) => v.name).join(", ") || "none"}`,
        { hint: "Say which inputs are states: { states: [[input, output], ...] }." },
      );
    }
    this.#input = data[0]!.name;
    const stateOutputs = new Set(pairs.map(([, output]) => output));
    this.#outputs = graph.output.map((v) => v.name).filter((v) => !stateOutputs.has(v));
    this.#spikes = findSpikes(graph, this.#states);
    this.hookPoints = this.#listHookPoints();
  }

  /** Opens an .onnx file with its weights inside. @throws {ModelError} if it is no one-step graph. */
  static async fromOnnx(path: string, options: OpenStepOptions = {}): Promise<StepModel> {
    const bytes = await readFile(path).catch((cause) => {
      throw fileError("StepModel", path, cause);
    });
    return StepModel.fromBytes(bytes, { ...options, name: basename(path) });
  }

  /** Opens the bytes of an .onnx file. */
  static fromBytes(
    bytes: Uint8Array,
    { name = "step.onnx", ...options }: OpenStepOptions & { readonly name?: string } = {},
  ): StepModel {
    return new StepModel(decodeModel(bytes, name), bytes, name, options);
  }

  listHooks(pattern = "*"): SpikingHookPoint[] {
    return this.hookPoints.filter((h) =>
      [h.name, ...h.aliases].some((name) => matchesHook(pattern, name)),
    );
  }

  /** The hook point with this name or alias. @throws {HookPointError} if there is none. */
  hookPoint(name: string): SpikingHookPoint {
    const found = this.hookPoints.find((h) => h.name === name || h.aliases.includes(name));
    if (found) return found;
    throw new HookPointError(
      `hookPoint: expected a hook point of ${this.name}, got ${JSON.stringify(name)}`,
      { hint: `It has ${this.hookPoints.map((h) => h.name).join(", ")}.` },
    );
  }

  /**
   * Runs the graph step by step.
   *
   * At spikes `zero`, `constant`, `mean`, `scale`, `add` and `noise` are possible; at states all operations.
   */
  async run(request: StepRequest): Promise<StepResult> {
    const { data, shape } = request.input;
    const [nRows = 0, nSteps = 0, ...rest] = shape;
    const width = rest.reduce((a, b) => a * b, 1);
    if (shape.length < 3 || data.length !== nRows * nSteps * width || nRows < 1) {
      throw new ShapeError(
        `run: expected an input of [row, step, ...], got ${data.length} values as [${shape.join(", ")}]`,
      );
    }
    const wrong = Array.prototype.findIndex.call(data, (v) => !Number.isFinite(v));
    if (wrong >= 0)
      throw new DataError(`run: expected finite values, got ${data[wrong]} at ${wrong}`);
    const capture = (request.capture ?? []).flatMap((wanted) => {
      const found = wanted.includes("*") ? this.listHooks(wanted) : [];
      return found.length > 0 ? found : [this.hookPoint(wanted)];
    });
    const interventions = (request.interventions ?? []).map((i) => ({
      ...i,
      hook: this.hookPoint(i.hook).name,
    }));
    const wired = this.#spikes.filter((s) => interventions.some((i) => i.hook === s.name));
    const read = this.#spikes.filter((s) => capture.some((h) => h.name === s.name));
    const session = await this.#session(wired, read);
    try {
      return await this.#loop(
        session,
        request,
        { nRows, nSteps, rest, width },
        capture,
        interventions,
      );
    } finally {
      await session.release();
    }
  }

  /** Runs the graph and returns its output with the values at the hook points asked for. */
  async runWithCache(
    input: StepRequest["input"],
    {
      namesFilter,
      interventions,
    }: {
      readonly namesFilter: string | readonly string[];
      readonly interventions?: readonly SpikingIntervention[];
    },
  ): Promise<Pick<StepResult, "output" | "cache">> {
    const capture = typeof namesFilter === "string" ? [namesFilter] : namesFilter;
    return this.run({ input, capture, interventions });
  }

  /** Runs the graph with interventions and returns its output. */
  async runWithInterventions(
    input: StepRequest["input"],
    interventions: readonly SpikingIntervention[],
  ): Promise<SpikingValues> {
    return (await this.run({ input, interventions })).output;
  }

  /** Nothing is held between runs. */
  async dispose(): Promise<void> {}

  async #loop(
    session: InferenceSession,
    { input, state, signal }: StepRequest,
    size: { nRows: number; nSteps: number; rest: readonly number[]; width: number },
    capture: readonly SpikingHookPoint[],
    interventions: readonly SpikingIntervention[],
  ): Promise<StepResult> {
    const { nRows, nSteps, rest, width } = size;
    const firstStep = state?.step ?? 0;
    const states = new Map(
      this.#states.map(({ input: name, shape }) => {
        const length = nRows * shape.reduce((a, b) => a * b, 1);
        const values = state?.values.get(name)?.slice() ?? new Float32Array(length);
        if (values.length !== length) {
          throw new ShapeError(
            `run: ${name}: expected ${length} values of state, got ${values.length}`,
          );
        }
        return [name, values] as const;
      }),
    );
    const changes = new Map<string, CompiledOp | undefined>(
      this.#states.map(({ input: name, shape }) => {
        const n = shape.reduce((a, b) => a * b, 1);
        const mine = interventions.filter((i) => i.hook === `${name}.v`);
        return [name, inTurn(mine.map((i) => compileOp(i, nRows, n)))] as const;
      }),
    );
    const recorders = new Map<string, Recorder>();
    const record = (name: string, values: Float32Array, step: number): void => {
      let recorder = recorders.get(name);
      if (!recorder) {
        recorder = makeRecorder(
          { hook: name, node: 0, place: "out" },
          nRows,
          values.length / nRows,
          firstStep,
          nSteps,
          (from) => new Float32Array(from as number),
        );
        recorders.set(name, recorder);
      }
      recorder.take(values, step, 1);
    };
    const masks = new Map<string, SpikeMask>();
    for (let t = 0; t < nSteps; t++) {
      signal?.throwIfAborted();
      const step = firstStep + t;
      const x = new Float32Array(nRows * width);
      for (let row = 0; row < nRows; row++) {
        for (let j = 0; j < width; j++) {
          x[row * width + j] = input.data[(row * nSteps + t) * width + j]!;
        }
      }
      const feeds: Record<string, Tensor> = {
        [this.#input]: new Tensor("float32", x, [nRows, ...rest]),
      };
      for (const { input: name, shape } of this.#states) {
        feeds[name] = new Tensor("float32", states.get(name)!, [nRows, ...shape]);
      }
      for (const [k, spike] of this.#spikes.entries()) {
        const mine = interventions.filter((i) => i.hook === spike.name);
        if (mine.length === 0) continue;
        let mask = masks.get(spike.name);
        if (!mask) {
          mask = makeMask(mine, nRows, await this.#widthOf(spike, feeds));
          masks.set(spike.name, mask);
        }
        mask.fill(step);
        feeds[scaleName(k)] = new Tensor("float32", mask.scale, mask.shape);
        feeds[addName(k)] = new Tensor("float32", mask.add, mask.shape);
      }
      const result = (await session.run(feeds)) as Record<string, Tensor>;
      for (const { input: name, output } of this.#states) {
        const values = Float32Array.from(result[output]!.data as Float32Array);
        changes.get(name)?.(values, step);
        states.set(name, values);
      }
      for (const name of this.#outputs) record(name, result[name]!.data as Float32Array, step);
      for (const hook of capture) {
        const k = this.#spikes.findIndex((s) => s.name === hook.name);
        const values = k >= 0 ? result[captureName(k)]!.data : states.get(hook.node)!;
        record(hook.name, values as Float32Array, step);
      }
    }
    const outputs = new Map(this.#outputs.map((name) => [name, recorders.get(name)!.values()]));
    return {
      output: outputs.values().next().value!,
      outputs,
      cache: new Map(capture.map(({ name }) => [name, recorders.get(name)!.values()])),
      state: { values: states, step: firstStep + nSteps },
    };
  }

  /** Sizes of a spike tensor, by a look at one step. */
  async #widthOf(spike: SpikeHook, feeds: Record<string, Tensor>): Promise<readonly number[]> {
    const session = await this.#session([], [spike]);
    try {
      const plain = Object.fromEntries(
        Object.entries(feeds).filter(([name]) => session.inputNames.includes(name)),
      );
      const result = await session.run(plain);
      return result[captureName(this.#spikes.indexOf(spike))]!.dims;
    } finally {
      await session.release();
    }
  }

  async #session(
    wired: readonly SpikeHook[],
    read: readonly SpikeHook[],
  ): Promise<InferenceSession> {
    const model = copyModel(this.#model);
    const graph = model.graph!;
    for (const spike of wired) {
      const k = this.#spikes.indexOf(spike);
      const own = `${spike.tensor}::own`;
      const scaled = `${spike.tensor}::scaled`;
      for (const node of graph.node) {
        node.output = node.output.map((name) => (name === spike.tensor ? own : name));
      }
      graph.node.push(
        makeNode("Mul", [own, scaleName(k)], [scaled]),
        makeNode("Add", [scaled, addName(k)], [spike.tensor]),
      );
      graph.input.push(
        makeValueInfo(scaleName(k), "float32"),
        makeValueInfo(addName(k), "float32"),
      );
    }
    for (const spike of read) {
      exposeTensor(graph, spike.tensor, captureName(this.#spikes.indexOf(spike)), {
        type: elementType.float32,
      });
    }
    const order = indexGraph(graph).order;
    graph.node = order.map((number) => graph.node[number]!);
    try {
      return await InferenceSession.create(encodeModel(model), {
        executionProviders: ["cpu"],
        graphOptimizationLevel: "basic",
        logSeverityLevel: 4,
        ...(this.#threads === undefined ? {} : { intraOpNumThreads: this.#threads }),
        extra: { session: { intra_op: { allow_spinning: "0" } } },
      });
    } catch (cause) {
      throw new ModelError(
        `StepModel: ${this.name}: onnxruntime refused the model: ${(cause as Error).message}`,
        { cause },
      );
    }
  }

  #listHookPoints(): SpikingHookPoint[] {
    const common = {
      layer: undefined,
      axes: ["row", "step", "unit"],
      readable: true,
      writable: true,
      reason: undefined,
      verified: false,
    };
    const states = this.#states.map(
      ({ input, output, shape }): SpikingHookPoint => ({
        ...common,
        name: `${input}.v`,
        kind: "v",
        node: input,
        nodeType: "state",
        aliases: [output],
        tensor: output,
        nUnits: shape.reduce((a, b) => a * b, 1),
      }),
    );
    const spikes = this.#spikes.map(
      ({ name, aliases, tensor }): SpikingHookPoint => ({
        ...common,
        name,
        kind: "spikes",
        node: name.replace(/\.(spikes|reset)$/, ""),
        nodeType: "Greater -> Cast",
        aliases,
        tensor,
        nUnits: this.#states.find((s) => name.startsWith(`${s.input}.`))?.shape.at(-1),
      }),
    );
    return [...states, ...spikes];
  }
}

const scaleName = (k: number): string => `penfield::scale::${k}`;
const addName = (k: number): string => `penfield::add::${k}`;
const captureName = (k: number): string => `penfield::capture::${k}`;

function guessStates(
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

function rowShape(declared: ValueInfoProto, file: string): number[] {
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
function findSpikes(graph: GraphProto, states: readonly State[]): SpikeHook[] {
  const index = indexGraph(graph);
  const compares = ["Greater", "GreaterOrEqual", "Less", "LessOrEqual"];
  const taken = new Set<string>();
  return index.order.flatMap((number): SpikeHook[] => {
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

interface SpikeMask {
  readonly scale: Float32Array;
  readonly add: Float32Array;
  readonly shape: readonly number[];
  fill(step: number): void;
}

function makeMask(
  interventions: readonly SpikingIntervention[],
  nRows: number,
  shape: readonly number[],
): SpikeMask {
  const size = shape.reduce((a, b) => a * b, 1);
  const n = size / nRows;
  const scale = new Float32Array(size);
  const add = new Float32Array(size);
  const parts = interventions.map((intervention) => {
    const { hook, op } = intervention;
    const compiled = compileOp(intervention, nRows, n);
    const active = activeIn(intervention);
    const units = indices("units", hook, intervention.units, n);
    const rows = indices("rows", hook, intervention.rows, nRows);
    if (!["zero", "constant", "mean", "scale", "add", "noise"].includes(op.type)) {
      throw new HookPointError(
        `run: ${hook}: expected zero, constant, mean, scale, add or noise at spikes of a step graph, got ${op.type}`,
        { hint: "What the spikes are is only known inside the graph." },
      );
    }
    const sets = ["zero", "constant", "mean"].includes(op.type);
    return { compiled, active, units, rows, sets, factor: op.type === "scale" ? op.factor : 1 };
  });
  return {
    scale,
    add,
    shape,
    fill(step) {
      scale.fill(1);
      add.fill(0);
      for (const { compiled, active, units, rows, sets, factor } of parts) {
        if (!active(step)) continue;
        for (const row of rows) {
          for (const unit of units) scale[row * n + unit]! *= sets ? 0 : factor;
        }
        // What is added goes through the same operations as the values would.
        compiled(add, step);
      }
    },
  };
}
