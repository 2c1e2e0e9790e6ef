import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { ArgumentError, type FloatArray, fileError, HookPointError, sha256 } from "@penfield/core";
import { type HookPoint, matchesHook, type RecordingModel } from "@penfield/hooks";
import { chooseCaptures } from "./captures.ts";
import { checkIntervention, type SpikingIntervention } from "./interventions.ts";
import { type Network, type NetworkNode, planNetwork, sizeOf } from "./network.ts";
import { isNeuron, isSpiking, type NirArray, type NirGraph, type NirNode } from "./nir/nodes.ts";
import { readNir } from "./nir/readNir.ts";
import { shuffleWeights } from "./nir/shuffleWeights.ts";
import type { CapturePlace, CaptureRequest } from "./simulate/capture.ts";
import { type PresetName, resolveOptions, type SimulationOptions } from "./simulate/options.ts";
import {
  type EngineOptions,
  rowsOf,
  type SessionRequest,
  type SpikingInput,
  type SpikingResult,
  SpikingSession,
} from "./simulate/session.ts";

/** What values at a hook point mean. */
export type SpikingHookKind = CapturePlace | "weight" | "edge";

/** A place in a spiking network where values can be read, and mostly also changed. */
export interface SpikingHookPoint extends Omit<HookPoint, "kind" | "stack"> {
  readonly kind: SpikingHookKind;
  /** The node's name in the file, within nested graphs after theirs and a slash. */
  readonly node: string;
  /** `LIF`, `Affine`...; of an edge `edge`. */
  readonly nodeType: string;
}

/** How a network is opened. */
export interface OpenSpikingOptions {
  /** Seconds of a time step. NIR does not hold it, and it is part of the model: there is no default. */
  readonly dt: number;
  /** The conventions of a simulator; `spec` (default) is NIR's own text taken literally. */
  readonly preset?: PresetName | undefined;
  /** Changes to the preset. */
  readonly options?: Partial<SimulationOptions> | undefined;
  /**
   * `float64` (default): a row's result is bit for bit the same whatever is run beside it, in pieces or
   * whole. `float32`: faster, and as most simulators compute; sums may round differently in another batch.
   */
  readonly precision?: "float64" | "float32" | undefined;
  /**
   * How weights meet inputs: `event` adds up the weights of active inputs, `matmul` multiplies whole matrices
   * by onnxruntime outside of cycles; `auto` (default) chooses by size and density, in float64 always `event`.
   */
  readonly products?: "auto" | "event" | "matmul" | undefined;
  /** Threads of the matrix products. */
  readonly threads?: number | undefined;
  /**
   * Opens the network with nothing learned: the entries of every weight matrix in another order, drawn from this seed. Its
   * `sha256` is another one. Default: as it is.
   */
  readonly untrained?: number | undefined;
}

/**
 * What to capture at one hook point, if not all of it. It counts beside patterns that mean the same hook point; two
 * different ones of one hook point are refused.
 */
export interface SpikingCapture {
  readonly hook: string;
  readonly units?: ArrayLike<number> | undefined;
  /** Time steps from `from` up to and without `to`, counted from the beginning of the recording. */
  readonly from?: number | undefined;
  readonly to?: number | undefined;
  /** Only every so many steps. */
  readonly every?: number | undefined;
  /** `events`: what is not 0 as a list, in place of a dense array. */
  readonly as?: "dense" | "events" | undefined;
}

/** One input, or one for each Input of the graph by name. */
export type SpikingInputs = SpikingInput | Readonly<Record<string, SpikingInput>>;

export interface SpikingRunRequest {
  readonly input: SpikingInputs;
  /** Hook points by name, alias or pattern with `*`, or with what is wanted of them. */
  readonly capture?: readonly (string | SpikingCapture)[] | undefined;
  readonly interventions?: readonly SpikingIntervention[] | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A recording that is run piece by piece; the network's state is carried on. */
export interface SpikingStream {
  /** Steps that have been run. */
  readonly step: number;
  run(input: SpikingInputs, options?: { readonly signal?: AbortSignal }): Promise<SpikingResult>;
  dispose(): Promise<void>;
}

/** A spiking network with hook points, run by Penfield's own simulator. */
export class SpikingModel implements RecordingModel {
  readonly name: string;
  /** SHA-256 of the .nir file. */
  readonly sha256: string;
  readonly dt: number;
  /** The preset with all changes. */
  readonly options: SimulationOptions;
  readonly precision: "float64" | "float32";
  readonly hookPoints: readonly SpikingHookPoint[];
  /** Nodes in the order of the file, with their shapes. */
  readonly network: Network;
  /** What a reader of results should know: coarse steps, rounded delays, conventions that ignore parameters. */
  readonly warnings: readonly string[];
  /** Version of nir that wrote the file. */
  readonly version: string | undefined;

  readonly #engine: EngineOptions;
  readonly #byName: ReadonlyMap<string, SpikingHookPoint>;
  readonly #maps: SessionRequest["maps"] = new Map();

  private constructor(
    network: Network,
    engine: EngineOptions,
    parts: { name: string; sha256: string; version: string | undefined; preset: PresetName },
  ) {
    this.network = network;
    this.#engine = engine;
    this.name = parts.name;
    this.sha256 = parts.sha256;
    this.version = parts.version;
    this.dt = engine.dt;
    this.options = engine.simulation;
    this.precision = engine.precision;
    this.warnings = [...network.warnings, ...conventionWarnings(network, engine.simulation)];
    this.hookPoints = listHookPoints(network);
    this.#byName = new Map(
      this.hookPoints.flatMap((h) => [h.name, ...h.aliases].map((name) => [name, h] as const)),
    );
  }

  /**
   * Opens a `.nir` file.
   *
   * @throws {FileError} if it cannot be read, {FormatError} if it is no NIR, {ModelError} or {ShapeError}
   * if its graph cannot be run faithfully, {ArgumentError} without a dt or for wrong options.
   */
  static async fromNir(path: string, options: OpenSpikingOptions): Promise<SpikingModel> {
    checkStep(options?.dt);
    const bytes = await readFile(path).catch((cause) => {
      throw fileError("SpikingModel", path, cause);
    });
    return SpikingModel.fromBytes(bytes, { ...options, name: basename(path) });
  }

  /** Opens the bytes of a `.nir` file. */
  static async fromBytes(
    bytes: Uint8Array,
    options: OpenSpikingOptions & { readonly name?: string },
  ): Promise<SpikingModel> {
    checkStep(options?.dt);
    const { name = "graph.nir", untrained } = options;
    const graph = await readNir(bytes, name);
    if (untrained !== undefined) return SpikingModel.fromGraph(graph, { ...options, name });
    return SpikingModel.#open(graph, sha256(bytes), { ...options, name });
  }

  /**
   * A network made in code, as a file would hold it.
   *
   * @param graph - What `readNir` gives of a file; `sha256` is that of its content.
   * @throws {ArgumentError} for parameters that are not finite, of another length than their shape says, or time
   * constants that are not above 0; else as `fromNir`.
   *
   * @example
   * const one = (value) => ({ data: Float64Array.of(value), shape: [1] });
   * const nodes = new Map([
   *   ["input", { type: "Input", shape: [1] }],
   *   ["lif", { type: "IF", r: one(1), vThreshold: one(1), vReset: one(0) }],
   *   ["output", { type: "Output", shape: [1] }],
   * ]);
   * const edges = [["input", "lif"], ["lif", "output"]];
   * const root = { type: "NIRGraph", nodes, edges };
   * const model = SpikingModel.fromGraph({ root, version: undefined }, { dt: 1 });
   * const { output } = await model.run({ input: { data: [0.6, 0.6, 0.6], shape: [1, 3, 1] } });
   * Array.from(output.data).join("") // => "010"
   */
  static fromGraph(
    graph: NirGraph,
    options: OpenSpikingOptions & { readonly name?: string },
  ): SpikingModel {
    checkParameters(graph.root, options.name ?? "graph.nir");
    const { untrained } = options;
    const opened = untrained === undefined ? graph : shuffleWeights(graph, untrained);
    const content = JSON.stringify(opened, (_, value) => {
      if (value instanceof Map) return [...value];
      return value instanceof Float64Array ? Array.from(value) : value;
    });
    return SpikingModel.#open(opened, sha256(new TextEncoder().encode(content)), options);
  }

  static #open(
    graph: NirGraph,
    hash: string,
    options: OpenSpikingOptions & { readonly name?: string },
  ): SpikingModel {
    const { dt, name = "graph.nir", preset = "spec", products = "auto", threads } = options;
    checkStep(dt);
    const { precision = "float64" } = options;
    requireOneOf("precision", precision, ["float64", "float32"]);
    requireOneOf("products", products, ["auto", "event", "matmul"]);
    const simulation = resolveOptions(preset, options.options);
    const network = planNetwork(graph, { dt, delayedEdges: simulation.delayedEdges }, name);
    refuseUnfaithful(network, preset, name);
    const engine: EngineOptions = { dt, simulation, precision, products, threads };
    return new SpikingModel(network, engine, {
      name,
      sha256: hash,
      version: graph.version,
      preset,
    });
  }

  /** Hook points whose name fits a pattern (`*` stands for anything); all of them without one. */
  listHooks(pattern = "*"): SpikingHookPoint[] {
    return this.hookPoints.filter((h) =>
      [h.name, ...h.aliases].some((name) => matchesHook(pattern, name)),
    );
  }

  /** The hook point with this name or alias. @throws {HookPointError} if there is none. */
  hookPoint(name: string): SpikingHookPoint {
    const found = this.#byName.get(name);
    if (found) return found;
    const node = this.network.nodes.find((n) => name === n.name || name.startsWith(`${n.name}.`));
    const near = this.hookPoints.filter((h) => h.node === node?.name).map((h) => h.name);
    throw new HookPointError(
      `hookPoint: expected a hook point of ${this.name}, got ${JSON.stringify(name)}`,
      {
        hint: near.length
          ? `${node!.name} has ${near.join(", ")}.`
          : `Its nodes are ${this.network.nodes.map((n) => n.name).join(", ")}; listHooks() names all hook points.`,
      },
    );
  }

  /** The weights at a `.weight` hook point, `[..., out, in]` or `[out, in, ...kernel]`. Copy. */
  weights(hook: string): { readonly data: Float64Array; readonly shape: readonly number[] } {
    const { node: name, kind } = this.hookPoint(hook);
    const node = this.network.nodes.find((n) => n.name === name)?.node;
    if (kind !== "weight" || !node || !("weight" in node)) {
      throw new HookPointError(`weights: expected a .weight hook point, got ${hook}`);
    }
    return { data: node.weight.data.slice(), shape: node.weight.shape };
  }

  /**
   * Runs the network from rest over a recording.
   *
   * @throws {ShapeError} for an input of another width, {DataError} for values that are not finite.
   * @throws {HookPointError} for a hook that does not exist, or cannot do what is asked of it.
   */
  async run(request: SpikingRunRequest): Promise<SpikingResult> {
    const inputs = this.#inputs(request.input);
    const session = this.#session(inputs, request);
    try {
      return await session.run(inputs, request.signal);
    } finally {
      await session.dispose();
    }
  }

  /** Runs the network and returns its output with the values at the hook points asked for. */
  async runWithCache(
    input: SpikingInputs,
    {
      namesFilter,
      interventions,
    }: {
      readonly namesFilter: string | readonly string[];
      readonly interventions?: readonly SpikingIntervention[];
    },
  ): Promise<Pick<SpikingResult, "output" | "cache">> {
    const capture = typeof namesFilter === "string" ? [namesFilter] : namesFilter;
    return this.run({ input, capture, interventions });
  }

  /** Runs the network with interventions and returns its output. */
  async runWithInterventions(
    input: SpikingInputs,
    interventions: readonly SpikingIntervention[],
  ): Promise<SpikingResult["output"]> {
    return (await this.run({ input, interventions })).output;
  }

  /**
   * Begins a recording that comes in pieces. What is captured is given back with each piece; steps of
   * captures and interventions count from the beginning of the recording.
   *
   * @param nRows - Rows of all pieces.
   */
  stream(nRows: number, request: Omit<SpikingRunRequest, "input" | "signal"> = {}): SpikingStream {
    if (!Number.isSafeInteger(nRows) || nRows < 1) {
      throw new ArgumentError(`stream: expected nRows as a whole number from 1 on, got ${nRows}`);
    }
    const session = new SpikingSession(this.network, this.#engine, {
      nRows,
      capture: this.#captures(request.capture ?? []),
      interventions: this.#interventions(request.interventions ?? []),
      maps: this.#maps,
    });
    return {
      get step() {
        return session.step;
      },
      run: (input, options = {}) => session.run(this.#inputs(input), options.signal),
      dispose: () => session.dispose(),
    };
  }

  /** Nothing is held between runs; here for the sake of code that disposes of any model. */
  async dispose(): Promise<void> {}

  #session(
    inputs: ReadonlyMap<string, SpikingInput>,
    { capture = [], interventions = [] }: SpikingRunRequest,
  ): SpikingSession {
    return new SpikingSession(this.network, this.#engine, {
      nRows: rowsOf(inputs.values().next().value!),
      capture: this.#captures(capture),
      interventions: this.#interventions(interventions),
      maps: this.#maps,
    });
  }

  #inputs(input: SpikingInputs): ReadonlyMap<string, SpikingInput> {
    const names = this.network.inputs.map((i) => this.network.nodes[i]!.name);
    const single =
      input !== null && typeof input === "object" && ("data" in input || "events" in input);
    const given = new Map<string, SpikingInput>(
      single ? [[names[0]!, input as SpikingInput]] : Object.entries(input ?? {}),
    );
    const missing = names.filter((name) => !given.has(name));
    const extra = [...given.keys()].filter((name) => !names.includes(name));
    if (missing.length > 0 || extra.length > 0) {
      throw new ArgumentError(
        `run: expected an input for ${names.join(", ")}, got ${[...given.keys()].join(", ") || "none"}`,
      );
    }
    return given;
  }

  #captures(wanted: readonly (string | SpikingCapture)[]): CaptureRequest[] {
    return Array.from(chooseCaptures(wanted, this), ([hook, capture]): CaptureRequest => {
      const { units, from, to, every, as } = capture;
      return {
        hook: hook.name,
        node: this.network.nodes.findIndex((n) => n.name === hook.node),
        place: hook.kind as CapturePlace,
        units: units && Int32Array.from(units),
        from,
        to,
        every,
        events: as === "events",
      };
    });
  }

  #interventions(wanted: readonly SpikingIntervention[]): SpikingIntervention[] {
    return wanted.map((intervention) => {
      checkIntervention(intervention);
      const hook = this.hookPoint(intervention.hook);
      if (intervention.resetFollows && hook.kind !== "spikes") {
        throw new HookPointError(`run: expected resetFollows at spikes alone, got ${hook.name}`);
      }
      const moves = intervention.op.type === "shift" || intervention.op.type === "jitter";
      if (moves && !["spikes", "out", "input"].includes(hook.kind)) {
        throw new HookPointError(
          `run: ${hook.name}: expected ${intervention.op.type} at spikes, out or input`,
        );
      }
      return { ...intervention, hook: hook.name };
    });
  }
}

/** What a reader of files checks as it reads. */
function checkParameters(node: NirNode, where: string): void {
  if (node.type === "NIRGraph") {
    for (const [name, child] of node.nodes) checkParameters(child, `${where}: ${name}`);
    return;
  }
  for (const [name, value] of Object.entries(node)) {
    if (!(value !== null && typeof value === "object" && "data" in value)) continue;
    const { data, shape } = value as NirArray;
    const at = data.findIndex((v) => !Number.isFinite(v) || (name.startsWith("tau") && v <= 0));
    if (at >= 0) {
      throw new ArgumentError(
        `SpikingModel: ${where}: expected ${name.startsWith("tau") ? "a time constant above 0" : "finite numbers"} in ${name}, got ${data[at]} at ${at}`,
      );
    }
    if (data.length !== sizeOf(shape)) {
      throw new ArgumentError(
        `SpikingModel: ${where}: expected ${sizeOf(shape)} numbers in ${name}, got ${data.length}`,
      );
    }
  }
}

function checkStep(dt: unknown): void {
  if (!(typeof dt === "number" && dt > 0 && Number.isFinite(dt))) {
    throw new ArgumentError(
      `SpikingModel: expected dt, the seconds of a step, above 0, got ${dt}`,
      {
        hint: "NIR files do not hold it, and the network is another one with another dt: ask whoever trained it.",
      },
    );
  }
}

function requireOneOf(name: string, value: string, allowed: readonly string[]): void {
  if (allowed.includes(value)) return;
  throw new ArgumentError(
    `SpikingModel: expected ${name} of ${allowed.join(", ")}, got ${JSON.stringify(value)}`,
  );
}

/** What an importer of the preset refuses, we refuse: it would run as another network. */
function refuseUnfaithful(network: Network, preset: PresetName, file: string): void {
  const fail = (node: NetworkNode, rule: string, got: string): never => {
    throw new ArgumentError(
      `SpikingModel: ${file}: ${node.name}: ${preset} expects ${rule}, got ${got}`,
      {
        hint: `Use preset "spec", which runs what the file says.`,
      },
    );
  };
  for (const node of network.nodes) {
    const kind = node.node;
    if (!("vLeak" in kind)) continue;
    if (preset === "snntorch" && kind.vLeak.data.some((v) => v !== 0)) {
      fail(node, "v_leak = 0", `${kind.vLeak.data.find((v) => v !== 0)}`);
    }
    if (preset === "spikingjelly" && kind.type === "CubaLIF") {
      const leak = kind.vLeak.data.find((v) => v !== 0);
      if (leak !== undefined) fail(node, "v_leak = 0 of CubaLIF", `${leak}`);
    } else if (preset === "spikingjelly" && "vReset" in kind) {
      const { vLeak, vReset } = kind;
      const value = (a: FloatArray, j: number) => (a.length === 1 ? a[0]! : a[j]!);
      for (let j = 0; j < node.nUnits; j++) {
        const [leak, reset] = [value(vLeak.data, j), value(vReset.data, j)];
        if (leak !== reset) fail(node, "v_leak = v_reset", `${leak} and ${reset} of unit ${j}`);
      }
    }
  }
}

function conventionWarnings(network: Network, { reset }: SimulationOptions): string[] {
  return network.nodes.flatMap(({ name, node }) =>
    "vReset" in node &&
    (reset === "zero" || reset === "subtract_snntorch") &&
    node.vReset.data.some((v) => v !== 0)
      ? [`${name}: its v_reset is not used with reset "${reset}"`]
      : [],
  );
}

function listHookPoints(network: Network): SpikingHookPoint[] {
  const reaching = reachOutput(network);
  const order = network.groups.flatMap((group) => group.members);
  const layerOf = new Map(order.map((index, layer) => [index, layer]));
  const point = (
    index: number,
    kind: SpikingHookKind,
    parts: { aliases?: string[]; nUnits?: number; axes?: string[] } = {},
  ): SpikingHookPoint => {
    const { name, node, nUnits } = network.nodes[index]!;
    return {
      name: `${name}.${kind}`,
      kind,
      node: name,
      nodeType: node.type,
      layer: layerOf.get(index),
      aliases: parts.aliases ?? [],
      tensor: name,
      axes: parts.axes ?? ["row", "step", "unit"],
      nUnits: parts.nUnits ?? nUnits,
      readable: true,
      writable: true,
      reason: undefined,
      verified: reaching.has(index),
    };
  };
  const points = order.flatMap((index): SpikingHookPoint[] => {
    const { name, node, nInputs, sources } = network.nodes[index]!;
    const input = point(index, "input", { nUnits: nInputs });
    if (isSpiking(node)) {
      const cuba = node.type === "CubaLIF";
      return [
        ...(cuba ? [input] : []),
        // Without a synapse the current is what comes in.
        point(index, "i", cuba ? {} : { aliases: [`${name}.input`] }),
        point(index, "vPre"),
        point(index, "v"),
        point(index, "spikes", { aliases: [`${name}.out`] }),
      ];
    }
    if (isNeuron(node)) {
      const cuba = node.type === "CubaLI";
      return [
        ...(cuba ? [input] : []),
        point(index, "i", cuba ? {} : { aliases: [`${name}.input`] }),
        point(index, "v"),
        point(index, "out"),
      ];
    }
    return [
      ...(sources.length > 0 ? [input] : []),
      point(index, "out"),
      ...("weight" in node
        ? [
            point(index, "weight", {
              axes: node.type.startsWith("Conv") ? ["out", "in", "kernel"] : ["out", "in"],
              nUnits: node.weight.shape[0]!,
            }),
          ]
        : []),
    ];
  });
  const edges = network.nodes.flatMap((node, target) =>
    node.sources.map(({ node: source, delayed }): SpikingHookPoint => {
      const name = `${network.nodes[source]!.name}->${node.name}`;
      return {
        ...point(target, "edge"),
        name,
        node: node.name,
        nodeType: delayed ? "edge (carries the step before)" : "edge",
        tensor: name,
        axes: [],
        nUnits: undefined,
        readable: false,
        reason: "an edge carries its source's values: read them there",
      };
    }),
  );
  return [...points, ...edges];
}

/** Nodes from which a change can get to an Output. */
function reachOutput({ nodes, outputs }: Network): Set<number> {
  const reached = new Set(outputs);
  for (const index of reached) for (const { node } of nodes[index]!.sources) reached.add(node);
  return reached;
}
