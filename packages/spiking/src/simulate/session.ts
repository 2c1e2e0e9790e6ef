import {
  ArgumentError,
  DataError,
  type FloatArray,
  HookPointError,
  ShapeError,
  throwIfAborted,
} from "@penfield/core";
import { createLinalg, type Linalg, matrix } from "@penfield/linalg";
import {
  activeIn,
  type CompiledOp,
  changeWeights,
  compileOp,
  inTurn,
  type SpikingIntervention,
} from "../interventions.ts";
import { leastSteps, type Network, type NetworkNode, sizeOf } from "../network.ts";
import { isNeuron, isSpiking } from "../nir/nodes.ts";
import { type CaptureRequest, makeRecorder, type Recorder, type SpikingValues } from "./capture.ts";
import { type ConvProduct, type ConvWeights, createConvProduct } from "./convProduct.ts";
import {
  type Arena,
  type Events,
  type Kernels,
  makeKernels,
  type Precision,
  type Strips,
  type WeightLists,
} from "./kernels.ts";
import { makePopulation, type NeuronOps, type NeuronTaps, type Population } from "./neurons.ts";
import type { SimulationOptions } from "./options.ts";
import {
  convMap,
  type DenseWeights,
  denseMap,
  type MakeFloats,
  poolMap,
  type RowMap,
} from "./products.ts";

/** Values for one Input: `[row, step, ...]`, or the places that are not 0. */
export type SpikingInput =
  | {
      readonly data: ArrayLike<number>;
      readonly shape: readonly number[];
    }
  | {
      /** `[row, step, unit]`, each 1; those named several times add up. */
      readonly events: readonly (readonly [row: number, step: number, unit: number])[];
      readonly nRows?: number;
      readonly nSteps: number;
    };

/** How a network is run. */
export interface EngineOptions {
  /** Seconds of a step. */
  readonly dt: number;
  readonly simulation: SimulationOptions;
  readonly precision: Precision;
  readonly products: "auto" | "event" | "matmul";
  readonly threads?: number | undefined;
}

/** Values that all nodes together may hold for one piece of a recording: those that stay in caches are run fastest. */
const PIECE_VALUES = 2 ** 17;
/** Where whole matrices may be multiplied: rows that a product should have, and values for their sake. */
const PRODUCT_ROWS = 1024;
const MOST_VALUES = 2 ** 22;

/**
 * From this share of active inputs on, one product of whole matrices beats adding up rows: measured on a network of
 * 784-1000-10 with 12 800 rows, one thread, in processor time (5 %: 108 to 187 ms, 20 %: 288 to 211 ms).
 */
const CROSSOVER = 0.12;
/**
 * The same for convolutions, which go input after input in plain loops: measured on 2-16, 16-32 and 32-32 channels, one
 * thread, in processor time (16-32 channels, 400 images of 16 x 16: at 1 % 44 to 51 ms, 5 %: 110 to 53, 20 %: 319 to 59).
 */
const CONV_CROSSOVER = 0.025;
/** Smaller products, in additions, are not worth a call into the runtime. */
const LEAST_PRODUCT = 2 ** 22;
const LEAST_CONVOLUTION = 2 ** 19;
/** Values that a Delay may hold back. */
const MOST_DELAYED = 2 ** 28;

interface Plan {
  readonly index: number;
  readonly node: NetworkNode;
  /** The only source's own values serve as input. */
  readonly alias: number | undefined;
  readonly passes: boolean;
  out: FloatArray;
  input: FloatArray | undefined;
  /** What is not 0 of `out`, at neurons with a threshold. */
  events: Listed | undefined;
  population: Population | undefined;
  map: RowMap | undefined;
  /** The map's weights where kernels find them, and a list for what comes in. */
  placed: { strips?: Strips; lists?: WeightLists; bias?: FloatArray; list?: Listed } | undefined;
  /** `data` has a place for each step from the first on, up to `length`; then it goes round. */
  ring: { data: FloatArray; length: number; steps: Float64Array; early: boolean } | undefined;
  /** The last step, for edges that carry the step before. */
  last: FloatArray | undefined;
  ops: NeuronOps | undefined;
  inputOp: CompiledOp | undefined;
  outOp: CompiledOp | undefined;
  taps: { i?: FloatArray; vPre?: FloatArray; v?: FloatArray } | undefined;
}

/** A list that is made again for every piece. */
type Listed = { -readonly [K in keyof Events]: Events[K] };

export interface SessionRequest {
  readonly nRows: number;
  readonly capture: readonly CaptureRequest[];
  readonly interventions: readonly SpikingIntervention[];
  /** Weights made ready, by node: filled by the first session, used by those after it. */
  readonly maps: Map<NetworkNode, RowMap | undefined>;
}

/** What a piece of a recording gave. */
export interface SpikingResult {
  /** Of the graph's (first) Output, `[row, step, unit]`. */
  readonly output: SpikingValues;
  /** Of all Outputs by name. */
  readonly outputs: ReadonlyMap<string, SpikingValues>;
  readonly cache: ReadonlyMap<string, SpikingValues>;
  readonly nRows: number;
  readonly nSteps: number;
  /** The first step's number in the whole recording. */
  readonly firstStep: number;
}

/** A network in time: state is carried from one piece of a recording to the next. */
export class SpikingSession {
  readonly nRows: number;
  readonly #network: Network;
  readonly #engine: EngineOptions;
  readonly #floats: MakeFloats;
  readonly #plans: Plan[];
  readonly #capture: readonly CaptureRequest[];
  readonly #weightChanges: readonly SpikingIntervention[];
  readonly #edgeChanges: readonly SpikingIntervention[];
  #edgeFactors = new Map<string, number>();
  #linalg: Linalg | undefined;
  readonly #convs = new Map<ConvWeights, ConvProduct>();
  readonly #maps: SessionRequest["maps"];
  /** With the memory that holds all values; undefined when weights are others than it holds. */
  #kernels: Kernels | undefined;
  #pieceSteps = 0;
  #step = 0;
  #changesKey: string | undefined;

  constructor(network: Network, engine: EngineOptions, request: SessionRequest) {
    const { nRows, capture, interventions, maps } = request;
    this.#maps = maps;
    this.nRows = nRows;
    this.#network = network;
    this.#engine = engine;
    this.#capture = capture;
    this.#floats =
      engine.precision === "float32"
        ? (from) => new Float32Array(from as number)
        : (from) => new Float64Array(from as number);
    const at = (i: SpikingIntervention) => placeOf(i.hook);
    this.#weightChanges = interventions.filter((i) => at(i).place === "weight");
    this.#edgeChanges = interventions.filter((i) => at(i).place === "edge");
    for (const { hook, op, units, sources, rows } of this.#edgeChanges) {
      if ((op.type !== "zero" && op.type !== "scale") || units || sources || rows) {
        throw new ArgumentError(
          `run: ${hook}: expected zero or scale of a whole edge, got ${op.type}`,
          {
            hint: "Change the values at the nodes on either side, or the weights.",
          },
        );
      }
    }
    this.#plans = network.nodes.map((node, index) => this.#plan(node, index, interventions));
    this.#applyChanges(0);
    for (const source of new Set(
      network.nodes.flatMap((n) => n.sources.filter((s) => s.delayed).map((s) => s.node)),
    )) {
      this.#plans[source]!.last = this.#floats(nRows * network.nodes[source]!.nUnits);
    }
    this.#fillDelayedStart();
  }

  /** How many steps have been run. */
  get step(): number {
    return this.#step;
  }

  #plan(node: NetworkNode, index: number, interventions: readonly SpikingIntervention[]): Plan {
    const { nRows } = this;
    const { dt, simulation, precision } = this.#engine;
    const { nUnits, nInputs, name } = node;
    const kind = node.node;
    const of = (place: string, n: number): CompiledOp | undefined =>
      inTurn(
        interventions
          .filter((i) => {
            const found = placeOf(i.hook);
            return found.node === name && found.place === place;
          })
          .map((i) => compileOp(i, nRows, n)),
      );
    const spiking = isSpiking(kind);
    const cuba = kind.type === "CubaLIF" || kind.type === "CubaLI";
    const [only] = node.sources;
    const inputOp = inTurn(
      [of("input", nInputs), cuba ? undefined : of("i", nInputs)].filter((op) => op !== undefined),
    );
    const factorsMayChange = this.#edgeChanges.some((i) => placeOf(i.hook).target === name);
    const alias =
      node.sources.length === 1 &&
      only!.count === 1 &&
      !only!.delayed &&
      !inputOp &&
      !factorsMayChange
        ? only!.node
        : undefined;
    const outOp = spiking ? undefined : of("out", nUnits);
    const ops: NeuronOps = {
      i: cuba ? of("i", nUnits) : undefined,
      vPre: of("vPre", nUnits),
      v: of("v", nUnits),
      spikes: spiking
        ? inTurn([of("spikes", nUnits), of("out", nUnits)].filter((op) => op !== undefined))
        : undefined,
      resetFollows: interventions.some((i) => i.resetFollows && placeOf(i.hook).node === name),
    };
    const changed = ops.i || ops.vPre || ops.v || ops.spikes;
    let ring: Plan["ring"];
    if (kind.type === "Delay") {
      const { data } = kind.delay;
      const steps = Float64Array.from({ length: nUnits }, (_, j) =>
        Math.round((data.length === 1 ? data[0]! : data[j]!) / dt),
      );
      const length = steps.reduce((a, b) => Math.max(a, b), 0) + 1;
      const early = leastSteps(kind.delay, dt) >= 1;
      ring = { data: this.#floats(0), length, steps, early };
    }
    const passes = ["Input", "Output", "Flatten"].includes(kind.type);
    return {
      index,
      node,
      alias,
      passes: passes && alias !== undefined && !outOp,
      out: this.#floats(0),
      input: undefined,
      events: undefined,
      population: isNeuron(kind)
        ? makePopulation(name, kind, nUnits, nRows, dt, simulation, precision, this.#floats)
        : undefined,
      map: undefined,
      placed: undefined,
      ring,
      last: undefined,
      ops: changed ? ops : undefined,
      inputOp,
      outOp,
      taps: undefined,
    };
  }

  /** Weights and edges as they are from a step on; returns the first step at which that may change. */
  #applyChanges(step: number): number {
    const changes = [...this.#weightChanges, ...this.#edgeChanges];
    const now = changes.map((i) => activeIn(i)(step));
    const next = changes.reduce((least, i) => {
      const { from = 0, to = Number.POSITIVE_INFINITY } = i.window ?? {};
      if (i.positions) {
        const list = Array.from(i.positions).flatMap((p) => [p, p + 1]);
        return Math.min(least, ...list.filter((p) => p > step));
      }
      return Math.min(least, ...[from, to].map(Math.ceil).filter((edge) => edge > step));
    }, Number.POSITIVE_INFINITY);
    const changesKey = now.join();
    if (changesKey === this.#changesKey) return next;
    const first = this.#changesKey === undefined;
    this.#changesKey = changesKey;
    const on = new Set(changes.filter((_, k) => now[k]));
    for (const plan of this.#plans) {
      const mine = this.#weightChanges.filter((i) => placeOf(i.hook).node === plan.node.name);
      if (first || mine.length > 0) {
        plan.map = this.#mapWith(
          plan.node,
          mine.filter((i) => on.has(i)),
        );
        if (plan.map?.dense) this.#kernels = undefined;
      }
    }
    this.#edgeFactors = new Map();
    for (const change of this.#edgeChanges.filter((i) => on.has(i))) {
      const { source, target } = placeOf(change.hook);
      const edge = `${source}->${target}`;
      const factor = change.op.type === "scale" ? change.op.factor : 0;
      this.#edgeFactors.set(edge, (this.#edgeFactors.get(edge) ?? 1) * factor);
    }
    return next;
  }

  #mapWith(node: NetworkNode, changes: readonly SpikingIntervention[]): RowMap | undefined {
    if (changes.length > 0) return this.#map(node, changes);
    if (!this.#maps.has(node)) this.#maps.set(node, this.#map(node, []));
    return this.#maps.get(node);
  }

  #map(node: NetworkNode, changes: readonly SpikingIntervention[]): RowMap | undefined {
    const kind = node.node;
    const floats = this.#floats;
    if ("weight" in kind) {
      const layout = weightLayout(node);
      const weights = changes.reduce<Float64Array>(
        (w, change) => changeWeights(change, w, layout),
        kind.weight.data,
      );
      return "groups" in kind
        ? convMap(kind, node.inputShape, node.shape, weights, floats)
        : denseMap(kind, node.nInputs, weights, this.#engine.precision, floats);
    }
    if (kind.type === "SumPool2d" || kind.type === "AvgPool2d") {
      return poolMap(kind, node.inputShape, node.shape);
    }
    if (kind.type === "Scale" || kind.type === "Threshold") {
      const { data } = kind.type === "Scale" ? kind.scale : kind.threshold;
      const n = node.nUnits;
      const values = data.length === n ? data : new Float64Array(n).fill(data[0]!);
      const scales = kind.type === "Scale";
      const strict = this.#engine.simulation.threshold === ">";
      return {
        run(x, xFrom, nRows, out, outFrom) {
          for (let k = 0; k < nRows * n; k++) {
            const value = x[xFrom + k]!;
            const own = values[k % n]!;
            const above = strict ? value > own : value >= own;
            out[outFrom + k] = scales ? value * own : above ? 1 : 0;
          }
        },
      };
    }
    return undefined;
  }

  /** What delayed edges carry in the first step: their sources, with all neurons and inputs silent. */
  #fillDelayedStart(): void {
    if (this.#engine.simulation.recurrentStart === "zero" || this.#plans.every((p) => !p.last)) {
      return;
    }
    const { nRows } = this;
    const silent: FloatArray[] = this.#plans.map(({ node }) => this.#floats(nRows * node.nUnits));
    const order = this.#network.groups.flatMap((group) => group.members);
    for (const index of order) {
      const { node, map, population, ring } = this.#plans[index]!;
      if (population || ring || node.node.type === "Input") continue;
      const sum = this.#floats(nRows * node.nInputs);
      for (const { node: source, count, delayed } of node.sources) {
        if (delayed) continue;
        const factor = count * this.#factor(source, index);
        const values = silent[source]!;
        for (let k = 0; k < sum.length; k++) sum[k]! += factor * values[k]!;
      }
      if (map) map.run(sum, 0, nRows, silent[index]!, 0);
      else silent[index]!.set(sum);
    }
    for (const { index, last } of this.#plans) last?.set(silent[index]!);
  }

  #factor(source: number, target: number): number {
    if (this.#edgeFactors.size === 0) return 1;
    const { nodes } = this.#network;
    return this.#edgeFactors.get(`${nodes[source]!.name}->${nodes[target]!.name}`) ?? 1;
  }

  /**
   * Runs the next piece of a recording.
   *
   * @param inputs - By the names of the graph's Inputs.
   */
  async run(
    inputs: ReadonlyMap<string, SpikingInput>,
    signal?: AbortSignal,
  ): Promise<SpikingResult> {
    const { nRows } = this;
    const feeds = this.#network.inputs.map((index) => {
      const node = this.#network.nodes[index]!;
      return { index, feed: makeFeed(node, inputs.get(node.name)!, nRows) };
    });
    const nSteps = feeds[0]!.feed.nSteps;
    const other = feeds.find(({ feed }) => feed.nSteps !== nSteps);
    if (other) {
      throw new ShapeError(
        `run: expected inputs of ${nSteps} steps, got ${other.feed.nSteps} for ${this.#network.nodes[other.index]!.name}`,
      );
    }
    const firstStep = this.#step;
    const outputs = new Map<string, Recorder>();
    for (const index of this.#network.outputs) {
      const { name, nUnits } = this.#network.nodes[index]!;
      const request: CaptureRequest = { hook: name, node: index, place: "out" };
      outputs.set(name, makeRecorder(request, nRows, nUnits, firstStep, nSteps, this.#floats));
    }
    const recorders = this.#capture.map((request) => {
      const { nUnits, nInputs } = this.#network.nodes[request.node]!;
      const n = request.place === "input" ? nInputs : nUnits;
      return makeRecorder(request, nRows, n, firstStep, nSteps, this.#floats);
    });
    this.#choosePiece(nSteps);
    const all = [...outputs.values(), ...recorders];
    for (let done = 0; done < nSteps; ) {
      throwIfAborted(signal, "run");
      const next = this.#applyChanges(this.#step);
      if (!this.#kernels) this.#allocate();
      const nPiece = Math.min(nSteps - done, this.#pieceSteps, next - this.#step);
      for (const { index, feed } of feeds) feed.fill(this.#plans[index]!.out, done, nPiece);
      for (const { index } of feeds) {
        const { outOp, node } = this.#plans[index]!;
        if (outOp) this.#eachStep(outOp, this.#plans[index]!.out, node.nUnits, 0, nPiece);
      }
      for (const group of this.#network.groups) {
        if (group.cyclic) this.#runCycle(group.members, nPiece);
        else await this.#runNode(this.#plans[group.members[0]!]!, nPiece);
      }
      for (const recorder of all) this.#record(recorder, nPiece);
      for (const { last, out, node } of this.#plans) {
        const size = nRows * node.nUnits;
        last?.set(out.subarray((nPiece - 1) * size, nPiece * size));
      }
      this.#step += nPiece;
      done += nPiece;
    }
    const named = new Map([...outputs].map(([name, recorder]) => [name, recorder.values()]));
    return {
      output: named.values().next().value!,
      outputs: named,
      cache: new Map(recorders.map((recorder) => [recorder.request.hook, recorder.values()])),
      nRows,
      nSteps,
      firstStep,
    };
  }

  /** Frees the matrix products. */
  async dispose(): Promise<void> {
    await this.#linalg?.dispose();
    this.#linalg = undefined;
    for (const product of this.#convs.values()) await product.dispose();
    this.#convs.clear();
  }

  #choosePiece(nSteps: number): void {
    const { nRows } = this;
    const perStep = this.#plans.reduce(
      (sum, { node, passes, alias }) =>
        sum + nRows * ((passes ? 0 : node.nUnits) + (alias === undefined ? node.nInputs : 0)),
      1,
    );
    const { precision, products } = this.#engine;
    // Each image of a convolution is a product of its own, and needs no others beside it.
    const matrices = this.#plans.some(
      ({ map }) => map?.dense && map.dense.nIn * map.dense.nOut * PRODUCT_ROWS >= LEAST_PRODUCT,
    );
    const multiplies =
      matrices && (products === "matmul" || (products === "auto" && precision === "float32"));
    const wanted = multiplies ? Math.min(MOST_VALUES, (perStep * PRODUCT_ROWS) / nRows) : 0;
    const values = Math.max(PIECE_VALUES, wanted);
    const piece = Math.max(1, Math.min(nSteps, Math.floor(values / perStep)));
    if (piece <= this.#pieceSteps) return;
    this.#pieceSteps = piece;
    this.#kernels = undefined;
  }

  #allocate(): void {
    const rows = this.#pieceSteps * this.nRows;
    this.#kernels = makeKernels(this.#engine.precision, (arena) => {
      const listOf = (n: number, ones: boolean, use: (list: Listed) => void): void => {
        let start: Int32Array | undefined;
        arena.ints(rows + 1, (array) => {
          start = array;
        });
        arena.ints(rows * n, (index) => use({ start: start!, index, ones }));
      };
      for (const plan of this.#plans) {
        const { node, passes, alias, population, map, ops } = plan;
        const { nUnits, nInputs } = node;
        if (!passes) {
          arena.floats(rows * nUnits, (array) => {
            plan.out = array;
          });
        }
        const isInput = node.node.type === "Input" && node.sources.length === 0;
        if (alias === undefined && !isInput) {
          arena.floats(rows * nInputs, (array) => {
            plan.input = array;
          });
        }
        population?.reserve(arena);
        if (population && isSpiking(node.node)) {
          listOf(nUnits, population.single && !ops, (list) => {
            plan.events = list;
          });
        }
        const dense = map?.dense;
        plan.placed = dense && {};
        if (!dense) continue;
        const { placed } = plan;
        listOf(nInputs, false, (list) => {
          placed!.list = list;
        });
        const { strips, lists, bias } = dense;
        if (strips) {
          arena.floats(strips.data.length, (data) => {
            data.set(strips.data);
            placed!.strips = { ...strips, data };
          });
        }
        if (lists) placeLists(arena, lists, plan.out.BYTES_PER_ELEMENT, placed!);
        arena.floats(nUnits, (array) => {
          if (bias) array.set(bias);
          placed!.bias = array;
        });
      }
    });
    for (const plan of this.#plans) {
      const { node, population } = plan;
      const wanted = this.#capture.filter((request) => request.node === plan.index);
      const tap = (place: string) =>
        wanted.some((request) => request.place === place)
          ? this.#floats(rows * node.nUnits)
          : undefined;
      const taps = {
        i: population?.hasCurrent ? tap("i") : undefined,
        vPre: tap("vPre"),
        v: tap("v"),
      };
      plan.taps =
        population && (taps.i || taps.vPre || taps.v)
          ? (Object.fromEntries(Object.entries(taps).filter(([, t]) => t)) as Plan["taps"])
          : undefined;
    }
    // Nodes that pass values on show their source's.
    for (const index of this.#network.groups.flatMap((group) => group.members)) {
      const plan = this.#plans[index]!;
      if (plan.passes) {
        plan.out = this.#plans[plan.alias!]!.out;
        plan.events = this.#plans[plan.alias!]!.events;
      }
    }
  }

  #inputOf(plan: Plan): FloatArray {
    return plan.alias === undefined ? plan.input! : this.#plans[plan.alias]!.out;
  }

  /** Adds up what comes in, for some steps of a piece. */
  #gather(plan: Plan, from: number, to: number): void {
    const { input, node, index, inputOp } = plan;
    if (plan.alias !== undefined || !input) return;
    const size = this.nRows * node.nInputs;
    let fresh = true;
    for (const { node: source, count, delayed } of node.sources) {
      const factor = count * this.#factor(source, index);
      const { out, last } = this.#plans[source]!;
      if (!delayed) {
        this.#add(input, from * size, out, from * size, (to - from) * size, factor, fresh);
      } else {
        for (let t = from; t < to; t++) {
          // The last step of the piece before is not where kernels work.
          if (t === 0) accumulate(input, 0, last!, 0, size, factor, fresh);
          else this.#add(input, t * size, out, (t - 1) * size, size, factor, fresh);
        }
      }
      fresh = false;
    }
    if (fresh) input.fill(0, from * size, to * size);
    if (inputOp) this.#eachStep(inputOp, input, node.nInputs, from, to);
  }

  #add(
    into: FloatArray,
    to: number,
    from: FloatArray,
    start: number,
    n: number,
    factor: number,
    fresh: boolean,
  ): void {
    if (factor !== 1) accumulate(into, to, from, start, n, factor, fresh);
    else if (fresh) this.#kernels!.copy(into, to, from, start, n);
    else this.#kernels!.accumulate(into, to, from, start, n);
  }

  #eachStep(op: CompiledOp, values: FloatArray, n: number, from: number, to: number): void {
    const size = this.nRows * n;
    for (let t = from; t < to; t++) op(values.subarray(t * size, (t + 1) * size), this.#step + t);
  }

  async #runNode(plan: Plan, nPiece: number): Promise<void> {
    this.#gather(plan, 0, nPiece);
    const dense = plan.map?.dense;
    if (dense) {
      if (!(await this.#byMatrix(plan, dense, nPiece))) this.#byEvents(plan, dense, 0, nPiece);
      if (plan.outOp) this.#eachStep(plan.outOp, plan.out, plan.node.nUnits, 0, nPiece);
      return;
    }
    const conv = plan.map?.conv;
    if (conv && (await this.#byConvolution(plan, conv, nPiece))) {
      if (plan.outOp) this.#eachStep(plan.outOp, plan.out, plan.node.nUnits, 0, nPiece);
    } else this.#compute(plan, 0, nPiece);
  }

  /** What is not 0 of what comes in. */
  #listed(plan: Plan, from: number, to: number): Listed {
    const known = plan.alias === undefined ? undefined : this.#plans[plan.alias]!.events;
    if (known) return known;
    const { nRows } = this;
    const list = plan.placed!.list!;
    list.ones = this.#kernels!.scan(
      this.#inputOf(plan),
      plan.node.nInputs,
      from * nRows,
      (to - from) * nRows,
      list,
    );
    return list;
  }

  /** `W x + b` for the steps `from` to `to`, adding up the weights of active inputs. */
  #byEvents(plan: Plan, { nIn, nOut }: DenseWeights, from: number, to: number): void {
    const events = this.#listed(plan, from, to);
    const x = this.#inputOf(plan);
    const { out, placed } = plan;
    const [first, n] = [from * this.nRows, (to - from) * this.nRows];
    const { strips, lists, bias } = placed!;
    const kernels = this.#kernels!;
    if (strips) kernels.sum(strips, bias!, x, out, first, n, events);
    else kernels.scatter(lists!, nIn, nOut, bias!, x, out, first, n, events);
  }

  #runCycle(members: readonly number[], nPiece: number): void {
    const early = members.filter((index) => this.#plans[index]!.ring?.early);
    for (let t = 0; t < nPiece; t++) {
      for (const index of early) this.#delayOut(this.#plans[index]!, t);
      for (const index of members) {
        const plan = this.#plans[index]!;
        if (plan.ring?.early) continue;
        this.#gather(plan, t, t + 1);
        this.#compute(plan, t, t + 1);
      }
      for (const index of early) {
        this.#gather(this.#plans[index]!, t, t + 1);
        this.#delayIn(this.#plans[index]!, t);
      }
    }
  }

  /** The steps `from` to `to` of a piece, at a node whose input is there. */
  #compute(plan: Plan, from: number, to: number): void {
    const { node, population, map, ring, passes, out, outOp } = plan;
    const { nRows } = this;
    const { nInputs, nUnits } = node;
    if (passes || (node.node.type === "Input" && node.sources.length === 0)) return;
    const input = this.#inputOf(plan);
    const first = from * nRows;
    if (population) {
      const { events, ops, taps } = plan;
      for (let t = from; t < to; t++) {
        const row = t * nRows;
        const place = row * nUnits;
        population.step(
          this.#kernels!,
          input,
          row * nInputs,
          out,
          place,
          this.#step + t,
          events,
          row,
          ops,
          taps as NeuronTaps | undefined,
          place,
        );
      }
    } else if (ring) {
      for (let t = from; t < to; t++) {
        this.#delayIn(plan, t);
        this.#delayOut(plan, t);
      }
      return;
    } else if (map?.dense) {
      this.#byEvents(plan, map.dense, from, to);
    } else if (map) {
      map.run(input, first * nInputs, (to - from) * nRows, out, first * nUnits);
    } else {
      out.set(input.subarray(first * nInputs, to * nRows * nInputs), first * nUnits);
    }
    if (outOp) this.#eachStep(outOp, out, nUnits, from, to);
  }

  #delayIn(plan: Plan, t: number): void {
    const { length } = plan.ring!;
    const size = this.nRows * plan.node.nUnits;
    const slot = (this.#step + t) % length;
    this.#makeRoom(plan, (slot + 1) * size);
    plan.ring!.data.set(this.#inputOf(plan).subarray(t * size, (t + 1) * size), slot * size);
  }

  /** A delay longer than the recording costs no more than the recording. */
  #makeRoom({ ring, node }: Plan, wanted: number): void {
    const { data, length } = ring!;
    if (wanted <= data.length) return;
    if (wanted > MOST_DELAYED) {
      throw new DataError(
        `run: ${node.name}: expected delays that fit into memory, got ${length - 1} steps for ${this.nRows * node.nUnits} units`,
        { hint: "Run fewer rows at a time." },
      );
    }
    const size = this.nRows * node.nUnits;
    ring!.data = this.#floats(Math.min(length * size, Math.max(2 * wanted, 16 * size)));
    ring!.data.set(data);
  }

  #delayOut(plan: Plan, t: number): void {
    const { data, length, steps } = plan.ring!;
    const { out, outOp } = plan;
    const n = plan.node.nUnits;
    const size = this.nRows * n;
    const now = this.#step + t;
    for (let k = 0; k < size; k++) {
      const before = now - steps[k % n]!;
      out[t * size + k] = before < 0 ? 0 : data[(before % length) * size + k]!;
    }
    if (outOp) this.#eachStep(outOp, out, n, t, t + 1);
  }

  /** One product for all steps of a piece, where that is faster; false if it is not. */
  async #byMatrix(plan: Plan, dense: DenseWeights, nPiece: number): Promise<boolean> {
    const { products, precision, threads } = this.#engine;
    const rows = nPiece * this.nRows;
    const { nIn, nOut, weight, bias } = dense;
    if (products === "event" || rows === 0) return false;
    const input = this.#inputOf(plan).subarray(0, rows * nIn);
    if (products === "auto") {
      // In float64 a row's result must not depend on the rows beside it.
      if (precision === "float64" || !dense.strips || rows * nIn * nOut < LEAST_PRODUCT)
        return false;
      const { start } = this.#listed(plan, 0, nPiece);
      if (start[rows]! < CROSSOVER * rows * nIn) return false;
    }
    this.#linalg ??= await createLinalg(threads === undefined ? {} : { threads });
    const { data } = await this.#linalg.matmul(
      matrix(input, rows, nIn),
      matrix(weight, nOut, nIn),
      { transposeB: true },
    );
    const { out } = plan;
    if (bias) {
      for (let r = 0, k = 0; r < rows; r++) {
        for (let j = 0; j < nOut; j++, k++) out[k] = data[k]! + bias[j]!;
      }
    } else out.set(data);
    return true;
  }

  /** Whole images times the kernel, where that is faster; false if it is not. */
  async #byConvolution(plan: Plan, conv: ConvWeights, nPiece: number): Promise<boolean> {
    const { products, threads } = this.#engine;
    const rows = nPiece * this.nRows;
    const { nInputs, nUnits } = plan.node;
    if (products === "event" || rows === 0) return false;
    const input = this.#inputOf(plan).subarray(0, rows * nInputs) as Float32Array;
    if (products === "auto") {
      const perUnit = conv.weight.length / conv.output[0];
      if (rows * nUnits * perUnit < LEAST_CONVOLUTION) return false;
      const known = plan.alias === undefined ? undefined : this.#plans[plan.alias]!.events;
      const active = known ? known.start[rows]! : countActive(input);
      if (active < CONV_CROSSOVER * input.length) return false;
    }
    let product = this.#convs.get(conv);
    if (!product) {
      product = await createConvProduct(conv, threads);
      this.#convs.set(conv, product);
    }
    plan.out.set(await product.run(input, rows));
    return true;
  }

  #record(recorder: Recorder, nPiece: number): void {
    const { node, place } = recorder.request;
    const plan = this.#plans[node]!;
    if (place === "input" || (place === "i" && !plan.taps?.i)) {
      recorder.take(this.#inputOf(plan), this.#step, nPiece);
    } else if (place === "out" || place === "spikes") {
      recorder.take(plan.out, this.#step, nPiece, plan.events);
    } else recorder.take(plan.taps![place]!, this.#step, nPiece);
  }
}

/** Copies lists to where kernels work. */
function placeLists(
  arena: Arena,
  { start, target, value }: WeightLists,
  nBytes: number,
  into: { lists?: WeightLists },
): void {
  let [starts, targets] = [start, target];
  arena.ints(start.length, (array) => {
    array.set(start);
    starts = array;
  });
  arena.ints(target.length, (array) => {
    for (let k = 0; k < target.length; k++) array[k] = nBytes * target[k]!;
    targets = array;
  });
  arena.floats(value.length, (array) => {
    array.set(value);
    into.lists = { start: starts, target: targets, value: array };
  });
}

function countActive(values: FloatArray): number {
  let count = 0;
  for (let k = 0; k < values.length; k++) if (values[k] !== 0) count++;
  return count;
}

function accumulate(
  into: FloatArray,
  to: number,
  from: FloatArray,
  start: number,
  n: number,
  factor: number,
  fresh: boolean,
): void {
  if (fresh && factor === 1) {
    into.set(from.subarray(start, start + n), to);
  } else if (fresh) {
    for (let k = 0; k < n; k++) into[to + k] = factor * from[start + k]!;
  } else if (factor === 1) {
    for (let k = 0; k < n; k++) into[to + k]! += from[start + k]!;
  } else {
    for (let k = 0; k < n; k++) into[to + k]! += factor * from[start + k]!;
  }
}

/** Output units, input units and kernel size of a node's weights. */
function weightLayout({ node }: NetworkNode): { nOut: number; nIn: number; kernel: number } {
  if (!("weight" in node)) throw new HookPointError("run: the node has no weights");
  const { shape } = node.weight;
  if (node.type === "Affine" || node.type === "Linear") {
    return { nOut: sizeOf(shape.slice(0, -1)), nIn: shape.at(-1)!, kernel: 1 };
  }
  return { nOut: shape[0]!, nIn: shape[1]!, kernel: sizeOf(shape.slice(2)) };
}

/** A hook name taken apart: the node and the place after its last dot, or the two ends of an edge. */
function placeOf(hook: string): {
  readonly node: string;
  readonly place: string;
  readonly source?: string;
  readonly target?: string;
} {
  const arrow = hook.indexOf("->");
  if (arrow >= 0) {
    return {
      node: "",
      place: "edge",
      source: hook.slice(0, arrow),
      target: hook.slice(arrow + 2),
    };
  }
  const dot = hook.lastIndexOf(".");
  return { node: hook.slice(0, dot), place: hook.slice(dot + 1) };
}

interface Feed {
  readonly nSteps: number;
  /** Writes the steps `from` to `from + n`, `[step, row, unit]`. */
  fill(into: FloatArray, from: number, n: number): void;
}

export function rowsOf(input: SpikingInput): number {
  checkInput(input);
  if ("events" in input) {
    return input.nRows ?? input.events.reduce((most, [row]) => Math.max(most, row + 1), 1);
  }
  return input.shape[0] ?? 0;
}

/** Before anything is looked up in it. */
function checkInput(input: unknown): void {
  const { data, shape, events } = (input ?? {}) as Record<string, unknown>;
  const length = (data as { readonly length?: unknown } | null | undefined)?.length;
  const dense = typeof data === "object" && Number.isSafeInteger(length) && Array.isArray(shape);
  if (!dense && !Array.isArray(events)) {
    throw new ArgumentError(
      "run: expected an input { data, shape } with numbers as data, or { events, nSteps }, got something else",
    );
  }
  if (dense && typeof (data as ArrayLike<unknown>)[0] === "bigint") {
    throw new DataError("run: expected numbers as data, got 64-bit integers", {
      hint: "Convert them: Float32Array.from(data, Number).",
    });
  }
}

function makeFeed({ name, shape, nUnits }: NetworkNode, input: SpikingInput, nRows: number): Feed {
  if (rowsOf(input) !== nRows) {
    throw new ShapeError(`run: ${name}: expected ${nRows} rows, got ${rowsOf(input)}`);
  }
  if ("events" in input) return eventFeed(name, nUnits, input, nRows);
  const { data, shape: given } = input;
  const [, nSteps = 0, ...rest] = given;
  if (given.length < 3 || sizeOf(rest) !== nUnits) {
    throw new ShapeError(
      `run: ${name}: expected an input of [row, step, ${shape.join(", ")}], got [${given.join(", ")}]`,
    );
  }
  if (sizeOf(given) !== data.length) {
    throw new ShapeError(
      `run: ${name}: expected ${sizeOf(given)} values for [${given.join(", ")}], got ${data.length}`,
    );
  }
  return {
    nSteps,
    fill(into, from, n) {
      let odd = 0;
      for (let row = 0; row < nRows; row++) {
        for (let t = 0; t < n; t++) {
          const start = (row * nSteps + from + t) * nUnits;
          odd += copyRow(data, start, into, (t * nRows + row) * nUnits, nUnits);
        }
      }
      // 0 times what is not finite is not a number.
      if (odd === 0) return;
      const wrong = Array.prototype.findIndex.call(data, (value) => !Number.isFinite(value));
      const step = Math.floor(wrong / nUnits);
      throw new DataError(
        `run: ${name}: expected finite values, got ${data[wrong]} in row ${Math.floor(step / nSteps)} at step ${step % nSteps}`,
      );
    },
  };
}

function copyRow(
  from: ArrayLike<number>,
  start: number,
  into: FloatArray,
  to: number,
  n: number,
): number {
  let odd = 0;
  for (let j = 0; j < n; j++) {
    const value = from[start + j]!;
    odd += value * 0;
    into[to + j] = value;
  }
  return odd;
}

function eventFeed(
  name: string,
  nUnits: number,
  { events, nSteps }: Extract<SpikingInput, { events: unknown }>,
  nRows: number,
): Feed {
  if (!Number.isSafeInteger(nSteps) || nSteps < 0) {
    throw new ArgumentError(`run: ${name}: expected nSteps as a whole number, got ${nSteps}`);
  }
  const inside = (value: number | undefined, n: number) =>
    Number.isInteger(value) && value! >= 0 && value! < n;
  const wrong = events.find(
    ([row, step, unit]) => !(inside(row, nRows) && inside(step, nSteps) && inside(unit, nUnits)),
  );
  if (wrong) {
    throw new DataError(
      `run: ${name}: expected events [row, step, unit] within [${nRows}, ${nSteps}, ${nUnits}], got [${wrong.join(", ")}]`,
    );
  }
  const sorted = [...events].sort((a, b) => a[1] - b[1]);
  let next = 0;
  return {
    nSteps,
    fill(into, from, n) {
      into.fill(0, 0, n * nRows * nUnits);
      for (; next < sorted.length && sorted[next]![1] < from + n; next++) {
        const [row, step, unit] = sorted[next]!;
        into[((step - from) * nRows + row) * nUnits + unit]! += 1;
      }
    },
  };
}
