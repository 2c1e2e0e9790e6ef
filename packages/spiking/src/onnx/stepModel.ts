import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import {
  DataError,
  fileError,
  HookPointError,
  ModelError,
  ShapeError,
  sha256,
  throwIfAborted,
} from "@penfield/core";
import { matchesHook, type RecordingModel } from "@penfield/hooks";
import {
  copyModel,
  decodeModel,
  elementType,
  encodeModel,
  exposeTensor,
  indexGraph,
  type ModelProto,
} from "@penfield/onnx";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { chooseCaptures, requireUnits } from "../captures.ts";
import {
  type CompiledOp,
  checkIntervention,
  compileOp,
  inTurn,
  type SpikingIntervention,
} from "../interventions.ts";
import type { SpikingCapture, SpikingHookPoint } from "../model.ts";
import {
  type CaptureRequest,
  makeRecorder,
  type Recorder,
  type SpikingValues,
} from "../simulate/capture.ts";
import { type Layout, layoutOf, makeMask, rowsFirst, type SpikeMask } from "./spikeMask.ts";
import {
  captureName,
  findSpikes,
  findWeights,
  guessStates,
  ownName,
  replaceWeights,
  rowShape,
  type SpikeHook,
  type State,
  type WeightHook,
  weightsOf,
  wireSpikes,
} from "./stepGraph.ts";

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
  /** Hook points by name, alias or pattern with `*`, or with what is wanted of them. */
  readonly capture?: readonly (string | SpikingCapture)[] | undefined;
  readonly interventions?: readonly SpikingIntervention[] | undefined;
  /** States to begin from, as `StepResult.state` gives them; zeros without. */
  readonly state?: StepState | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** States after a step, and how many steps have been run. */
export interface StepState {
  readonly values: ReadonlyMap<string, Float32Array>;
  readonly step: number;
  /** Spikes that shift and jitter hold back, by hook point. */
  readonly pending?: ReadonlyMap<string, readonly Float64Array[]> | undefined;
}

export interface StepResult {
  /** The first output that is no state, `[row, step, unit]`. */
  readonly output: SpikingValues;
  readonly outputs: ReadonlyMap<string, SpikingValues>;
  readonly cache: ReadonlyMap<string, SpikingValues>;
  /** For the next piece of the recording. */
  readonly state: StepState;
}

/**
 * A network of which the ONNX graph is one time step, its states going in and out (as snnTorch and Spyx export):
 * the graph in a loop, with hook points at its spikes and states.
 *
 * Spikes are found by structure: a comparison whose result is cast to numbers. `<state>.spikes` is the one that
 * looks at the new state, `<state>.reset` at the old one; others are called after their tensors, and after the module
 * that made them: `block.q_lif.spikes.0` is the first step of a layer whose steps are in the graph. A unit with changed
 * spikes resets by them where the graph resets by the same tensor.
 */
export class StepModel implements RecordingModel {
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
  readonly #weights: readonly WeightHook[];
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
    this.#weights = findWeights(graph);
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

  /** The weights at a `.weight` hook point, `[out, in]` or `[out, in, ...kernel]`. Copy. */
  weights(hook: string): { readonly data: Float64Array; readonly shape: readonly number[] } {
    const { name } = this.hookPoint(hook);
    const found = this.#weights.find((w) => w.name === name);
    if (!found) throw new HookPointError(`weights: expected a .weight hook point, got ${hook}`);
    return { data: weightsOf(this.#model.graph!, found), shape: found.shape };
  }

  /**
   * Runs the graph step by step.
   *
   * All operations are possible at spikes and states; at spikes `resample` and `patch` come before any others. Weights are
   * changed for the whole of a run.
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
    const capture = chooseCaptures(request.capture ?? [], this);
    const interventions = (request.interventions ?? []).map((i) => {
      checkIntervention(i);
      const hook = this.hookPoint(i.hook).name;
      if (!i.resetFollows) return { ...i, hook };
      throw new HookPointError(
        `run: expected resetFollows of NIR networks alone, got it at ${hook} of a graph`,
        { hint: "Whether a changed spike resets its unit is in the graph." },
      );
    });
    const wired = this.#spikes.filter((s) => interventions.some((i) => i.hook === s.name));
    const read = this.#spikes.filter((s) => [...capture.keys()].some((h) => h.name === s.name));
    const layouts = await this.#layouts(new Set([...wired, ...read]), nRows, rest);
    const masks = new Map(
      wired.map((spike) => {
        const layout = layouts.get(spike)!;
        const mine = interventions.filter((i) => i.hook === spike.name);
        const pending = request.state?.pending?.get(spike.name);
        return [spike, makeMask(mine, nRows, layout, pending)] as const;
      }),
    );
    const session = await this.#session(masks, read, interventions);
    try {
      const size = { nRows, nSteps, rest, width };
      return await this.#loop(session, request, size, { capture, interventions, masks, layouts });
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
    wanted: {
      readonly capture: ReadonlyMap<SpikingHookPoint, SpikingCapture>;
      readonly interventions: readonly SpikingIntervention[];
      readonly masks: ReadonlyMap<SpikeHook, SpikeMask>;
      readonly layouts: ReadonlyMap<SpikeHook, Layout>;
    },
  ): Promise<StepResult> {
    const { nRows, nSteps, rest, width } = size;
    const { capture, interventions, masks, layouts } = wanted;
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
    const recorderOf = (name: string, nUnits: number, part?: SpikingCapture): Recorder => {
      let recorder = recorders.get(name);
      if (!recorder) {
        const { units, from, to, every, as } = part ?? { hook: name };
        requireUnits(name, units, nUnits);
        const request: CaptureRequest = {
          ...{ hook: name, node: 0, place: "out", from, to, every, events: as === "events" },
          units: units && Int32Array.from(units),
        };
        const floats = (from: number | ArrayLike<number>) => new Float32Array(from as number);
        recorder = makeRecorder(request, nRows, nUnits, firstStep, nSteps, floats);
        recorders.set(name, recorder);
      }
      return recorder;
    };
    for (let t = 0; t < nSteps; t++) {
      throwIfAborted(signal, "run");
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
      for (const [spike, mask] of masks) {
        Object.assign(feeds, mask.feeds(this.#spikes.indexOf(spike), step));
      }
      const result = (await session.run(feeds)) as Record<string, Tensor>;
      for (const [spike, mask] of masks) {
        const own = result[ownName(this.#spikes.indexOf(spike))];
        if (own) mask.sent(step, own.data as Float32Array);
      }
      for (const { input: name, output } of this.#states) {
        const values = Float32Array.from(result[output]!.data as Float32Array);
        changes.get(name)?.(values, step);
        states.set(name, values);
      }
      for (const name of this.#outputs) {
        const { data, dims } = result[name]!;
        if (nRows > 1 && dims[0] !== nRows) {
          throw new ShapeError(
            `run: ${name}: expected an output with ${nRows} rows as its first axis, got [${dims.join(", ")}]`,
            { hint: "Run one row at a time, or export it with rows first." },
          );
        }
        recorderOf(name, data.length / nRows).take(data as Float32Array, step, 1);
      }
      for (const [hook, part] of capture) {
        const k = this.#spikes.findIndex((s) => s.name === hook.name);
        const values =
          k < 0
            ? states.get(hook.node)!
            : rowsFirst(
                result[captureName(k)]!.data as Float32Array,
                layouts.get(this.#spikes[k]!)!,
                nRows,
              );
        recorderOf(hook.name, values.length / nRows, part).take(values, step, 1);
      }
    }
    const none: SpikingValues = {
      ...{ data: new Float32Array(0), shape: [nRows, 0, 0], axes: ["row", "step", "unit"] },
      ...{ steps: { from: firstStep, every: 1 }, events: undefined },
    };
    const of = (name: string): SpikingValues => recorders.get(name)?.values() ?? none;
    const outputs = new Map(this.#outputs.map((name) => [name, of(name)]));
    const pending = new Map(
      Array.from(masks, ([{ name }, mask]) => [name, mask.pending()] as const),
    );
    return {
      output: outputs.values().next().value ?? none,
      outputs,
      cache: new Map(Array.from(capture.keys(), ({ name }) => [name, of(name)])),
      state: { values: states, step: firstStep + nSteps, pending },
    };
  }

  /** Sizes of spike tensors, and where their rows are: by a look at one step with one row more. */
  async #layouts(
    spikes: ReadonlySet<SpikeHook>,
    nRows: number,
    rest: readonly number[],
  ): Promise<Map<SpikeHook, Layout>> {
    if (spikes.size === 0) return new Map();
    const session = await this.#session(new Map(), [...spikes], []);
    const sizesWith = async (n: number): Promise<(readonly number[])[]> => {
      const zeros = (sizes: readonly number[]) => {
        const dims = [n, ...sizes];
        return new Tensor("float32", new Float32Array(dims.reduce((a, b) => a * b, 1)), dims);
      };
      const feeds = Object.fromEntries([
        [this.#input, zeros(rest)],
        ...this.#states.map(({ input, shape }) => [input, zeros(shape)] as const),
      ]);
      const result = await session.run(feeds);
      return Array.from(spikes, (s) => result[captureName(this.#spikes.indexOf(s))]!.dims);
    };
    try {
      const own = await sizesWith(nRows).catch((cause) => {
        throw new ModelError(
          `run: ${this.name}: onnxruntime cannot run it: ${(cause as Error).message}`,
          { cause },
        );
      });
      // A graph that was exported for so many rows and no more has them first, or nobody knows where.
      const more = await sizesWith(nRows + 1).catch(() =>
        own.map(([n = 0, ...sizes]) => [n + 1, ...sizes]),
      );
      return new Map(
        Array.from(spikes, (spike, i) => [spike, layoutOf(spike.name, own[i]!, more[i]!, nRows)]),
      );
    } finally {
      await session.release();
    }
  }

  async #session(
    wired: ReadonlyMap<SpikeHook, SpikeMask>,
    read: readonly SpikeHook[],
    interventions: readonly SpikingIntervention[],
  ): Promise<InferenceSession> {
    const model = copyModel(this.#model);
    const graph = model.graph!;
    for (const weight of this.#weights) {
      const mine = interventions.filter((i) => i.hook === weight.name);
      if (mine.length > 0) replaceWeights(graph, weight, mine);
    }
    for (const [spike, mask] of wired) wireSpikes(graph, spike, this.#spikes.indexOf(spike), mask);
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
    const weights = this.#weights.map(
      ({ name, initializer, shape }): SpikingHookPoint => ({
        ...common,
        name,
        kind: "weight",
        node: name.replace(/\.weight$/, ""),
        nodeType: shape.length > 2 ? "Conv" : "MatMul",
        axes: shape.length > 2 ? ["out", "in", "kernel"] : ["out", "in"],
        aliases: initializer === name ? [] : [initializer],
        tensor: initializer,
        nUnits: shape[0],
      }),
    );
    return [...states, ...spikes, ...weights];
  }
}
