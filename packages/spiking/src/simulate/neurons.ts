import { type FloatArray, ModelError } from "@penfield/core";
import { isSpiking, type NeuronNode, type NirArray } from "../nir/nodes.ts";
import {
  type Arena,
  type Events,
  type FireRule,
  type Kernels,
  type Precision,
  type Records,
  recordsOf,
} from "./kernels.ts";
import type { SimulationOptions } from "./options.ts";
import type { MakeFloats } from "./products.ts";

/** One change of all values of a place, in a step of which the op itself knows whether it has a part in it. */
type StepOp = (values: FloatArray, step: number) => void;

/** Where values of a neuron can be changed. */
export interface NeuronOps {
  readonly i?: StepOp | undefined;
  readonly vPre?: StepOp | undefined;
  readonly v?: StepOp | undefined;
  readonly spikes?: StepOp | undefined;
  /** The reset follows the changed spikes, not the unit's own. */
  readonly resetFollows?: boolean;
}

/** What a step shows of a neuron besides its output. */
export interface NeuronTaps {
  readonly i?: FloatArray | undefined;
  readonly vPre?: FloatArray | undefined;
  readonly v?: FloatArray | undefined;
}

/**
 * The steps of one population, for all rows.
 *
 *   i' = ai i + ci x            (CubaLIF, CubaLI)
 *   p  = a v + k + c (x or i)
 *
 * with coefficients that the scheme gives; then threshold and reset.
 */
export interface Population {
  /** Has a synaptic current of its own. */
  readonly hasCurrent: boolean;
  /** A spike is 1, whatever v. */
  readonly single: boolean;
  /** Moves the state to where kernels work; before that nothing can be run. */
  reserve(arena: Arena): void;
  step(
    kernels: Kernels,
    x: FloatArray,
    xFrom: number,
    out: FloatArray,
    outFrom: number,
    step: number,
    events: Events | undefined,
    eventRow: number,
    ops: NeuronOps | undefined,
    taps: NeuronTaps | undefined,
    tapFrom: number,
  ): void;
}

interface Coefficients {
  readonly a: Float64Array;
  readonly k: Float64Array;
  readonly c: Float64Array;
  readonly ai: Float64Array | undefined;
  readonly ci: Float64Array | undefined;
}

const expand = ({ data }: NirArray, n: number): Float64Array =>
  data.length === n ? data : new Float64Array(n).fill(data[0]!);

function leak(
  tau: Float64Array,
  vLeak: Float64Array,
  r: Float64Array,
  dt: number,
  scheme: SimulationOptions["scheme"],
): Pick<Coefficients, "a" | "k" | "c"> {
  const a = tau.map((t) => (scheme === "euler" ? 1 - dt / t : Math.exp(-dt / t)));
  const gain = tau.map((t) => (scheme === "exact" ? -Math.expm1(-dt / t) : dt / t));
  const relax = tau.map((t) => (scheme === "euler" ? dt / t : -Math.expm1(-dt / t)));
  return {
    a,
    k: relax.map((g, j) => g * vLeak[j]!),
    c: gain.map((g, j) => g * r[j]!),
  };
}

function coefficients(
  node: NeuronNode,
  n: number,
  dt: number,
  { scheme, integrate }: SimulationOptions,
): Coefficients {
  const none = { ai: undefined, ci: undefined };
  if (node.type === "IF" || node.type === "I") {
    const c = expand(node.r, n).map((r) => (integrate === "dt" ? r * dt : r));
    return { a: new Float64Array(n).fill(1), k: new Float64Array(n), c, ...none };
  }
  const r = expand(node.r, n);
  const vLeak = expand(node.vLeak, n);
  if (node.type === "LIF" || node.type === "LI") {
    return { ...leak(expand(node.tau, n), vLeak, r, dt, scheme), ...none };
  }
  const synapse = leak(
    expand(node.tauSyn, n),
    new Float64Array(n),
    expand(node.wIn, n),
    dt,
    scheme,
  );
  // A jump comes before the leak of the same step: i = a (i + w x).
  const ci = scheme === "jump" ? synapse.c.map((c, j) => c * synapse.a[j]!) : synapse.c;
  return { ...leak(expand(node.tauMem, n), vLeak, r, dt, scheme), ai: synapse.a, ci };
}

export function makePopulation(
  name: string,
  node: NeuronNode,
  n: number,
  nRows: number,
  dt: number,
  options: SimulationOptions,
  precision: Precision,
  floats: MakeFloats,
): Population {
  const { a, k, c, ai, ci } = coefficients(node, n, dt, options);
  const size = nRows * n;
  const begin = options.start === "v_reset" && isSpiking(node) ? expand(node.vReset, n) : undefined;
  let v = floats(begin ? Float64Array.from({ length: size }, (_, at) => begin[at % n]!) : size);
  let i = ai && floats(size);
  const spiking = isSpiking(node);
  const theta = spiking ? expand(node.vThreshold, n) : new Float64Array(n);
  const strict = options.threshold === ">";
  const { multiSpike, reset } = options;
  if (multiSpike && spiking && theta.some((t) => t <= 0)) {
    throw new ModelError(
      `SpikingModel: ${name}: expected thresholds above 0 with multiSpike, got ${theta.find((t) => t <= 0)}`,
    );
  }
  // What a spike takes off: down to v_reset from the threshold.
  const vReset = spiking ? expand(node.vReset, n) : theta;
  const target = reset === "v_reset" ? vReset : new Float64Array(n);
  const drop = reset === "subtract" ? theta.map((t, j) => t - vReset[j]!) : theta;
  const subtracts = reset === "subtract" || reset === "subtract_snntorch";
  const newCurrent = options.cuba === "new";
  const floor = options.floor === "-threshold" && node.type === "IF";
  const simple =
    reset !== "subtract_snntorch" && options.spikeStep === "same" && !multiSpike && !floor;
  const rule: FireRule = { strict, subtracts };
  let fireRecords: Records | undefined;
  let synapseRecords: Records | undefined;
  let rowDrive: Float64Array | undefined;
  // Sums of a step are in double precision until they are stored.
  let current: Float64Array | undefined;
  let pre: Float64Array | undefined;
  let sent: Float64Array | undefined;
  let own: Float64Array | undefined;

  /** All units at once, one after the other: nothing is done to them and nothing is looked at. */
  function stepFast(
    kernels: Kernels,
    x: FloatArray,
    xFrom: number,
    out: FloatArray,
    outFrom: number,
    { start, index }: Events,
    eventRow: number,
  ): void {
    let count = start[eventRow]!;
    for (let b = 0; b < nRows; b++) {
      const from = b * n;
      let drive = x;
      let driveFrom = xFrom + from;
      if (i) {
        kernels.synapse(newCurrent, synapseRecords!, i, from, x, driveFrom, rowDrive!, n);
        drive = rowDrive!;
        driveFrom = 0;
      }
      count = kernels.fire(
        rule,
        fireRecords!,
        v,
        from,
        drive,
        driveFrom,
        out,
        outFrom + from,
        n,
        index,
        count,
      );
      start[eventRow + b + 1] = count;
    }
  }

  function stepGraded(x: FloatArray, xFrom: number, out: FloatArray, outFrom: number): void {
    for (let b = 0; b < nRows; b++) {
      for (let j = 0; j < n; j++) {
        const at = b * n + j;
        let drive = x[xFrom + at]!;
        if (i) {
          const next = ai![j]! * i[at]! + ci![j]! * drive;
          drive = newCurrent ? next : i[at]!;
          i[at] = next;
        }
        v[at] = a[j]! * v[at]! + k[j]! + c[j]! * drive;
      }
    }
    out.set(v, outFrom);
  }

  /** The same in stages, for whoever looks or changes something in between. */
  function stepStaged(
    x: FloatArray,
    xFrom: number,
    out: FloatArray,
    outFrom: number,
    step: number,
    ops: NeuronOps,
    taps: NeuronTaps,
    tapFrom: number,
  ): void {
    current ??= new Float64Array(size);
    pre ??= new Float64Array(size);
    sent ??= new Float64Array(size);
    own ??= new Float64Array(size);
    if (i) {
      for (let at = 0; at < size; at++) {
        const j = at % n;
        current[at] = ai![j]! * i[at]! + ci![j]! * x[xFrom + at]!;
      }
      ops.i?.(current, step);
      taps.i?.set(current, tapFrom);
    } else for (let at = 0; at < size; at++) current[at] = x[xFrom + at]!;
    const drives = i && !newCurrent ? i : current;
    for (let at = 0; at < size; at++) {
      const j = at % n;
      let p = a[j]! * v[at]! + k[j]! + c[j]! * drives[at]!;
      if (options.spikeStep === "next" && spiking) {
        const t = theta[j]!;
        own[at] = (strict ? v[at]! > t : v[at]! >= t) ? 1 : 0;
        // With a synapse it is the membrane before the leak that is reset.
        if (!ops.resetFollows) p -= own[at]! * drop[j]! * (i ? a[j]! : 1);
      }
      pre[at] = floor ? Math.max(p, -theta[j]!) : p;
    }
    i?.set(current);
    ops.vPre?.(pre, step);
    taps.vPre?.set(pre, tapFrom);
    if (!spiking) {
      v.set(pre);
      ops.v?.(v, step);
      out.set(v, outFrom);
      taps.v?.set(v, tapFrom);
      return;
    }
    if (options.spikeStep === "same") {
      for (let at = 0; at < size; at++) {
        const t = theta[at % n]!;
        const p = pre[at]!;
        // snnTorch looks at v less the threshold while the last v was above it.
        const seen = reset === "subtract_snntorch" && v[at]! > t ? p - t : p;
        const fires = strict ? seen > t : seen >= t;
        own[at] = fires ? (multiSpike ? Math.floor(p / t) : 1) : 0;
      }
    }
    sent.set(own);
    ops.spikes?.(sent, step);
    const counted = ops.resetFollows ? sent : own;
    for (let at = 0; at < size; at++) {
      const j = at % n;
      const z = counted[at]!;
      const p = pre[at]!;
      if (options.spikeStep === "next") {
        v[at] = ops.resetFollows ? p - z * drop[j]! * (i ? a[j]! : 1) : p;
      } else if (z === 0) v[at] = p;
      else v[at] = subtracts ? p - z * drop[j]! : target[j]!;
    }
    ops.v?.(v, step);
    taps.v?.set(v, tapFrom);
    out.set(sent, outFrom);
  }

  function listEvents(out: FloatArray, outFrom: number, events: Events, eventRow: number): void {
    let count = events.start[eventRow]!;
    for (let b = 0; b < nRows; b++) {
      for (let j = 0; j < n; j++) {
        if (out[outFrom + b * n + j] !== 0) events.index[count++] = j;
      }
      events.start[eventRow + b + 1] = count;
    }
  }

  return {
    hasCurrent: ai !== undefined,
    single: !multiSpike,
    reserve(arena) {
      arena.floats(size, (array) => {
        array.set(v);
        v = array;
      });
      if (ai && ci) {
        arena.floats(size, (array) => {
          array.set(i!);
          i = array;
        });
        arena.doubles(n, (array) => {
          rowDrive = array;
        });
        reserveRecords(arena, [ai, ci], (records) => {
          synapseRecords = records;
        });
      }
      if (!spiking) return;
      reserveRecords(arena, [a, k, c, theta, subtracts ? drop : target], (records) => {
        fireRecords = records;
      });
    },
    step(kernels, x, xFrom, out, outFrom, step, events, eventRow, ops, taps, tapFrom) {
      // What is sent is changed after the reset; anything else within the step.
      const own = ops && (ops.i || ops.vPre || ops.v || ops.resetFollows);
      const inside = own || (ops !== undefined && !spiking) || taps?.vPre || taps?.i;
      if (inside || (spiking && !simple)) {
        stepStaged(x, xFrom, out, outFrom, step, ops ?? {}, taps ?? {}, tapFrom);
        if (events) listEvents(out, outFrom, events, eventRow);
        return;
      }
      if (events) {
        stepFast(kernels, x, xFrom, out, outFrom, events, eventRow);
        if (ops?.spikes) {
          ops.spikes(out.subarray(outFrom, outFrom + size), step);
          kernels.scan(out, n, eventRow, nRows, events);
        }
      } else stepGraded(x, xFrom, out, outFrom);
      taps?.v?.set(v, tapFrom);
    },
  };

  function reserveRecords(
    arena: Arena,
    coefficients: readonly Float64Array[],
    use: (records: Records) => void,
  ): void {
    const { values, stride } = recordsOf(precision, coefficients);
    arena.doubles(values.length, (data) => {
      data.set(values);
      use({ data, stride });
    });
  }
}
