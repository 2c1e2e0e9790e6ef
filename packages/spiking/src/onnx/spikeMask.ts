import { HookPointError, ShapeError } from "@penfield/core";
import { Tensor } from "onnxruntime-node";
import {
  activeIn,
  compileOp,
  delayOf,
  indices,
  type SpikingIntervention,
} from "../interventions.ts";
import { offName, onName, sourceName, takenName } from "./stepGraph.ts";

/** Where rows are in a tensor: `[before, nRows, after]`. */
export interface Layout {
  readonly dims: readonly number[];
  readonly before: number;
  readonly after: number;
  readonly axis: number;
}

export function layoutOf(
  hook: string,
  own: readonly number[],
  more: readonly number[],
  nRows: number,
): Layout {
  const size = (dims: readonly number[]) => dims.reduce((a, b) => a * b, 1);
  const differ = own.flatMap((n, axis) => (n === more[axis] ? [] : [axis]));
  const [axis = -1] = differ;
  if (differ.length === 1 && own[axis] === nRows && more[axis] === nRows + 1) {
    return { dims: own, axis, before: size(own.slice(0, axis)), after: size(own.slice(axis + 1)) };
  }
  if (nRows === 1) return { dims: own, axis: 0, before: 1, after: size(own) };
  throw new ShapeError(
    `run: ${hook}: expected spikes with ${nRows} rows as an axis, got [${own.join(", ")}]`,
    { hint: "Run one row at a time." },
  );
}

/** `[before, nRows, after]` as `[nRows, before, after]`. */
export function rowsFirst(
  values: Float32Array,
  { before, after }: Layout,
  nRows: number,
): Float32Array {
  return before === 1 ? values : swapped(values, before, nRows, after);
}

function swapped(values: Float32Array, nFirst: number, nSecond: number, n: number): Float32Array {
  const out = new Float32Array(values.length);
  for (let a = 0; a < nFirst; a++) {
    for (let b = 0; b < nSecond; b++) {
      const from = (a * nSecond + b) * n;
      out.set(values.subarray(from, from + n), (b * nFirst + a) * n);
    }
  }
  return out;
}

export interface SpikeMask {
  readonly layout: Layout;
  /** Takes spikes of other rows. */
  readonly takesRows: boolean;
  /** Sends spikes later. */
  readonly delays: boolean;
  /** What the graph is given for a step. */
  feeds(k: number, step: number): Record<string, Tensor>;
  /** Learns what the graph's own spikes were in the step. */
  sent(step: number, own: Float32Array): void;
  pending(): readonly Float64Array[];
}

/** One operation of a mask on what is sent where a unit spikes, and where it does not. */
interface MaskPart {
  fill(on: Float32Array, off: Float32Array, step: number): void;
  sent?(step: number, own: Float32Array): void;
  readonly pending?: readonly Float64Array[];
}

/**
 * A spike is 0 or 1: any change of its value is known before the step from what becomes of either. Only spikes that
 * are held back have to be looked at.
 */
export function makeMask(
  interventions: readonly SpikingIntervention[],
  nRows: number,
  layout: Layout,
  before: readonly Float64Array[] = [],
): SpikeMask {
  const { dims, before: outer, after } = layout;
  const n = outer * after;
  const [first] = interventions;
  const takesRows = first?.op.type === "resample" || first?.op.type === "patch";
  const late = interventions.slice(1).find(({ op }) => ["resample", "patch"].includes(op.type));
  if (late) {
    throw new HookPointError(
      `run: ${late.hook}: expected ${late.op.type} before other changes of the same spikes`,
    );
  }
  const held = [...before];
  const parts = interventions.slice(takesRows ? 1 : 0).map((intervention): MaskPart => {
    const { op } = intervention;
    if (op.type === "shift" || op.type === "jitter") {
      return delayPart({ ...intervention, op }, nRows, n, held.shift());
    }
    const compiled = compileOp(intervention, nRows, n);
    return {
      fill(on, off, step) {
        compiled(on, step);
        compiled(off, step);
      },
    };
  });
  const take = takesRows ? takeRows(first!, nRows, n) : undefined;
  const place = (values: Float32Array) =>
    outer === 1 ? values : swapped(values, nRows, outer, after);
  const tensor = (values: Float32Array) => new Tensor("float32", place(values), dims);
  return {
    layout,
    takesRows,
    delays: parts.some((part) => part.sent !== undefined),
    feeds(k, step) {
      const on = new Float32Array(nRows * n).fill(1);
      const off = new Float32Array(nRows * n);
      for (const part of parts) part.fill(on, off, step);
      const taken = take && place(take.mask(step));
      return {
        [onName(k)]: tensor(on),
        [offName(k)]: tensor(off),
        ...(take && taken
          ? {
              [sourceName(k)]: new Tensor("int64", take.source, [nRows]),
              [takenName(k)]: new Tensor("bool", Uint8Array.from(taken), dims),
            }
          : {}),
      };
    },
    sent(step, own) {
      const values = rowsFirst(own, layout, nRows);
      for (const part of parts) part.sent?.(step, values);
    },
    pending: () => parts.flatMap((part) => part.pending ?? []),
  };
}

function takeRows(
  intervention: SpikingIntervention,
  nRows: number,
  n: number,
): { source: BigInt64Array; mask(step: number): Float32Array } {
  const { hook, op } = intervention;
  const { source } = op as { readonly source: ArrayLike<number> };
  // Checks it as well.
  compileOp(intervention, nRows, n);
  const active = activeIn(intervention);
  const units = indices("units", hook, intervention.units, n);
  const rows = indices("rows", hook, intervention.rows, nRows);
  const mask = new Float32Array(nRows * n);
  for (const row of rows) for (const unit of units) mask[row * n + unit] = 1;
  const none = new Float32Array(nRows * n);
  return {
    source: BigInt64Array.from(Array.from(source), BigInt),
    mask: (step) => (active(step) ? mask : none),
  };
}

/** `[mostSteps + 1][row, unit]` of spikes on their way, as one array. */
function delayPart(
  intervention: SpikingIntervention & { readonly op: { readonly type: "shift" | "jitter" } },
  nRows: number,
  n: number,
  before: Float64Array | undefined,
): MaskPart {
  const { hook, op } = intervention;
  const { most, draw } = delayOf(hook, op as Parameters<typeof delayOf>[1]);
  const active = activeIn(intervention);
  const units = indices("units", hook, intervention.units, n);
  const rows = indices("rows", hook, intervention.rows, nRows);
  const size = nRows * n;
  const pending = before?.slice() ?? new Float64Array((most + 1) * size);
  if (pending.length !== (most + 1) * size) {
    throw new ShapeError(
      `run: ${hook}: expected ${(most + 1) * size} pending spikes of a state, got ${pending.length}`,
    );
  }
  const own = { on: new Float32Array(size), off: new Float32Array(size) };
  const delays = new Int32Array(size);
  return {
    pending: [pending],
    fill(on, off, step) {
      own.on.set(on);
      own.off.set(off);
      delays.fill(0);
      const slot = (step % (most + 1)) * size;
      const takes = active(step);
      for (const row of rows) {
        for (const unit of units) {
          const place = row * n + unit;
          if (takes) delays[place] = draw(step, place);
          if (delays[place]! > 0) on[place] = off[place] = 0;
          on[place]! += pending[slot + place]!;
          off[place]! += pending[slot + place]!;
          pending[slot + place] = 0;
        }
      }
    },
    sent(step, spikes) {
      for (let place = 0; place < size; place++) {
        if (delays[place] === 0) continue;
        const value = spikes[place] === 0 ? own.off[place]! : own.on[place]!;
        pending[((step + delays[place]!) % (most + 1)) * size + place]! += value;
      }
    },
  };
}
