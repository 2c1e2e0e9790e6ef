import { ArgumentError, type FloatArray, HookPointError } from "@penfield/core";
import type { InterventionOp } from "@penfield/hooks";
import { placedRandom } from "./simulate/random.ts";

/**
 * What is done to the values at a hook point of a spiking network: the operations of transformers
 * (`zero`, `constant`, `mean`, `resample`, `patch`, `scale`, `add`, `noise`, `clamp`; `project` and `attendFirst`
 * have no meaning here and are refused), and two of its own.
 *
 * - `zero` at `.spikes` silences; `constant` forces spikes; at `.v` or `.i`, `clamp` and `constant` clamp.
 * - `shift`: every spike comes `steps` steps later.
 * - `jitter`: every spike comes 0 to `maxSteps` steps later, at random. Spikes are never brought forward (a
 *   network in a loop could not know of them), and those that fall on one step add up.
 */
export type SpikingOp =
  | InterventionOp
  | { readonly type: "shift"; readonly steps: number }
  | { readonly type: "jitter"; readonly maxSteps: number; readonly seed: number };

/** One change at one hook point. Where `units`, `rows`, `positions` or `window` is absent, it means all. */
export interface SpikingIntervention {
  /** `lif1.spikes`, `lif1.v`, `lif1.vPre`, `lif1.i`, `fc1.out`, `fc1.weight`, `fc1->lif1`. */
  readonly hook: string;
  readonly op: SpikingOp;
  /** Places among the units; of weights, the units (or output channels) that they lead to. */
  readonly units?: ArrayLike<number>;
  /** Of weights alone: the units (or input channels) that they come from. */
  readonly sources?: ArrayLike<number>;
  /** Rows of the batch. */
  readonly rows?: ArrayLike<number>;
  /** Time steps, counted from 0 at the beginning of the recording. */
  readonly positions?: ArrayLike<number>;
  /** Time steps from `from` (0) up to and without `to` (the end). */
  readonly window?: { readonly from?: number; readonly to?: number };
  /**
   * At `.spikes`: the unit resets when it sends a changed spike. Default false: what is sent is
   * changed, and the membrane goes its own way.
   */
  readonly resetFollows?: boolean;
}

const FIELDS = "hook, op, units, sources, rows, positions, window, resetFollows".split(", ");

/** What a caller without types, or a file, may have got wrong: a misspelt field would lesion everything or nothing. */
export function checkIntervention(intervention: SpikingIntervention): void {
  const fail = (expected: string, got: unknown): never => {
    throw new ArgumentError(`run: expected ${expected}, got ${JSON.stringify(got)}`);
  };
  if (intervention === null || typeof intervention !== "object") {
    fail("interventions as { hook, op, ... }", intervention);
  }
  const { hook, op, window } = intervention;
  if (typeof hook !== "string") fail("the name of a hook point as hook", hook);
  if (op === null || typeof op !== "object" || typeof op.type !== "string") {
    fail(`{ type, ... } as op at ${hook}`, op);
  }
  for (const [field, value] of Object.entries(intervention)) {
    if (value === undefined) continue;
    if (field === "heads") throw new HookPointError(`run: expected units, got heads at ${hook}`);
    if (!FIELDS.includes(field)) {
      fail(`fields of an intervention (${FIELDS.join(", ")}) at ${hook}`, field);
    }
  }
  for (const field of ["units", "sources", "rows", "positions"] as const) {
    const list = intervention[field];
    if (list !== undefined) requireList(`run: ${hook}: expected ${field}`, list);
  }
  if (window !== undefined && (window === null || typeof window !== "object")) {
    fail(`a window { from, to } at ${hook}`, window);
  }
}

/** One number in place of a list would stand for none. */
export function requireList(expected: string, list: unknown): void {
  const { length } = (list ?? {}) as { readonly length?: unknown };
  if (typeof list !== "object" || !Number.isSafeInteger(length)) {
    throw new ArgumentError(`${expected} as a list, got ${JSON.stringify(list)}`);
  }
}

/** Does nothing in steps outside its window. */
export type CompiledOp = (values: FloatArray, step: number) => void;

/** Indices within a range, checked, in order. */
export function indices(
  what: string,
  hook: string,
  chosen: ArrayLike<number> | undefined,
  n: number,
): Int32Array {
  if (chosen === undefined) return Int32Array.from({ length: n }, (_, i) => i);
  const wrong = Array.from(chosen).find((i) => !(Number.isInteger(i) && i >= 0 && i < n));
  if (wrong !== undefined) {
    throw new ArgumentError(`run: ${hook}: expected ${what} within 0..${n - 1}, got ${wrong}`);
  }
  return Int32Array.from(new Set(Array.from(chosen))).sort();
}

function requireFinite(hook: string, what: string, values: ArrayLike<number>): void {
  const wrong = Array.from(values).find((value) => !Number.isFinite(value));
  if (wrong !== undefined) {
    throw new ArgumentError(`run: ${hook}: expected a finite ${what}, got ${wrong}`);
  }
}

function requireCount(hook: string, what: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new ArgumentError(
      `run: ${hook}: expected ${what} as a whole number from 0 on, got ${value}`,
    );
  }
}

/** Whether an intervention has a part in a step. */
export function activeIn({
  hook,
  positions,
  window,
}: SpikingIntervention): (step: number) => boolean {
  const { from = 0, to = Number.POSITIVE_INFINITY } = window ?? {};
  if (Number.isNaN(from) || Number.isNaN(to) || from > to) {
    throw new ArgumentError(
      `run: ${hook}: expected a window with from <= to, got ${from} to ${to}`,
    );
  }
  if (positions === undefined) return (step) => step >= from && step < to;
  const wrong = Array.from(positions).find((p) => !(Number.isSafeInteger(p) && p >= 0));
  if (wrong !== undefined) {
    throw new ArgumentError(
      `run: ${hook}: expected time steps from 0 on as positions, got ${wrong}`,
    );
  }
  const chosen = new Set(Array.from(positions));
  return (step) => step >= from && step < to && chosen.has(step);
}

/**
 * One value per unit, from one value or a list: of all units, or of the chosen ones in the order in which they
 * were chosen.
 */
function perUnit(
  hook: string,
  values: number | ArrayLike<number>,
  chosen: ArrayLike<number> | undefined,
  nUnits: number,
): Float64Array {
  if (typeof values === "number") {
    requireFinite(hook, "value", [values]);
    return new Float64Array(nUnits).fill(values);
  }
  requireList(`run: ${hook}: expected values`, values);
  requireFinite(hook, "value", values);
  if (values.length === nUnits) return Float64Array.from(values);
  if (values.length !== chosen?.length) {
    const or = chosen ? `, or ${chosen.length}, one per chosen unit` : "";
    throw new ArgumentError(
      `run: ${hook}: expected ${nUnits} values, one per unit${or}, got ${values.length}`,
    );
  }
  const all = new Float64Array(nUnits);
  for (let k = 0; k < chosen.length; k++) all[chosen[k]!] = values[k]!;
  return all;
}

/** An intervention on values `[row, unit]` of each step. */
export function compileOp(
  intervention: SpikingIntervention,
  nRows: number,
  nUnits: number,
): CompiledOp {
  const { hook, op, sources } = intervention;
  const active = activeIn(intervention);
  const units = indices("units", hook, intervention.units, nUnits);
  const rows = indices("rows", hook, intervention.rows, nRows);
  if (sources !== undefined) {
    throw new ArgumentError(`run: ${hook}: expected no sources: only weights have them`);
  }
  const each =
    (change: (value: number, unit: number, step: number, place: number) => number): CompiledOp =>
    (values, step) => {
      if (!active(step)) return;
      for (const row of rows) {
        for (const unit of units) {
          const place = row * nUnits + unit;
          values[place] = change(values[place]!, unit, step, place);
        }
      }
    };
  switch (op.type) {
    case "zero":
      return each(() => 0);
    case "constant": {
      requireFinite(hook, "value", [op.value]);
      return each(() => op.value);
    }
    case "mean": {
      const values = perUnit(hook, op.values, intervention.units, nUnits);
      return each((_, unit) => values[unit]!);
    }
    case "scale": {
      requireFinite(hook, "factor", [op.factor]);
      return each((value) => value * op.factor);
    }
    case "add": {
      const values = perUnit(hook, op.value, intervention.units, nUnits);
      return each((value, unit) => value + values[unit]!);
    }
    case "clamp": {
      const [min, max] = boundsOf(hook, op);
      return each((value) => Math.min(max, Math.max(min, value)));
    }
    case "noise": {
      requireFinite(hook, "standardDeviation", [op.standardDeviation]);
      const random = placedRandom(seedOf(hook, op.seed));
      return each(
        (value, _, step, place) => value + op.standardDeviation * random.normal(step, place),
      );
    }
    case "resample":
    case "patch":
      return patchOp(hook, op.source, rows, units, nRows, nUnits, active);
    case "shift":
    case "jitter":
      return delayOp(rows, units, nUnits, delayOf(hook, op), active);
    default:
      throw new HookPointError(
        `run: ${hook}: expected an operation for spiking networks, got ${JSON.stringify((op as { type?: unknown }).type)}`,
        { hint: "zero, constant, mean, resample, patch, scale, add, noise, clamp, shift, jitter." },
      );
  }
}

function boundsOf(
  hook: string,
  {
    min = Number.NEGATIVE_INFINITY,
    max = Number.POSITIVE_INFINITY,
  }: InterventionOp & {
    type: "clamp";
  },
): [number, number] {
  if (min <= max) return [min, max];
  throw new ArgumentError(`run: ${hook}: expected min <= max, got ${min} and ${max}`);
}

function seedOf(hook: string, seed: number): number {
  if (Number.isSafeInteger(seed)) return seed;
  throw new ArgumentError(`run: ${hook}: expected a whole number as seed, got ${seed}`);
}

function patchOp(
  hook: string,
  source: ArrayLike<number>,
  rows: Int32Array,
  units: Int32Array,
  nRows: number,
  nUnits: number,
  active: (step: number) => boolean,
): CompiledOp {
  requireList(`run: ${hook}: expected source`, source);
  if (source.length !== nRows) {
    throw new ArgumentError(
      `run: ${hook}: expected a source row for each of ${nRows} rows, got ${source.length}`,
    );
  }
  const wrong = Array.from(source).find((r) => !(Number.isInteger(r) && r >= 0 && r < nRows));
  if (wrong !== undefined) {
    throw new ArgumentError(
      `run: ${hook}: expected source rows within 0..${nRows - 1}, got ${wrong}`,
    );
  }
  let before: FloatArray | undefined;
  return (values, step) => {
    if (!active(step)) return;
    // What rows give is what they had before any was changed.
    before ??= new Float64Array(nRows * nUnits);
    before.set(values.length === before.length ? values : values.subarray(0, before.length));
    for (const row of rows) {
      for (const unit of units) {
        values[row * nUnits + unit] = before[source[row]! * nUnits + unit]!;
      }
    }
  };
}

/** By how many steps values are held back. */
export interface DelayDraw {
  readonly most: number;
  draw(step: number, place: number): number;
}

export function delayOf(hook: string, op: SpikingOp & { type: "shift" | "jitter" }): DelayDraw {
  if (op.type === "shift") {
    requireCount(hook, "steps", op.steps);
    return { most: op.steps, draw: () => op.steps };
  }
  requireCount(hook, "maxSteps", op.maxSteps);
  const random = placedRandom(seedOf(hook, op.seed));
  return {
    most: op.maxSteps,
    draw: (step, place) => Math.floor(random.uniform(step, place) * (op.maxSteps + 1)),
  };
}

/** Holds values back; what is on its way arrives even after the window has closed. */
function delayOp(
  rows: Int32Array,
  units: Int32Array,
  nUnits: number,
  { most, draw }: DelayDraw,
  active: (step: number) => boolean,
): CompiledOp {
  const places = rows.length * units.length;
  const pending = Array.from({ length: most + 1 }, () => new Float64Array(places));
  return (values, step) => {
    const takes = active(step);
    const now = pending[step % (most + 1)]!;
    let k = 0;
    for (const row of rows) {
      for (const unit of units) {
        const place = row * nUnits + unit;
        const value = values[place]!;
        if (takes && value !== 0) {
          values[place] = 0;
          pending[(step + draw(step, place)) % (most + 1)]![k]! += value;
        }
        values[place]! += now[k]!;
        now[k] = 0;
        k++;
      }
    }
  };
}

/** All operations at one place as one. */
export function inTurn(ops: readonly CompiledOp[]): CompiledOp | undefined {
  if (ops.length <= 1) return ops[0];
  return (values, step) => {
    for (const op of ops) op(values, step);
  };
}

/**
 * Weights with an intervention done to them. Copy.
 *
 * @param shape - `[..., out, in]` or `[out, in, ...kernel]`.
 */
export function changeWeights(
  intervention: SpikingIntervention,
  weights: Float64Array,
  { nOut, nIn, kernel }: { nOut: number; nIn: number; kernel: number },
): Float64Array {
  const { hook, op, rows } = intervention;
  if (rows !== undefined) {
    throw new ArgumentError(`run: ${hook}: expected no rows: all rows share the weights`, {
      hint: "Run the rows with other weights on their own.",
    });
  }
  const to = indices("units", hook, intervention.units, nOut);
  const from = indices("sources", hook, intervention.sources, nIn);
  const changed = Float64Array.from(weights);
  const each = (change: (w: number, place: number) => number): Float64Array => {
    for (const o of to) {
      for (const i of from) {
        for (let k = 0; k < kernel; k++) {
          const place = (o * nIn + i) * kernel + k;
          changed[place] = change(changed[place]!, place);
        }
      }
    }
    return changed;
  };
  switch (op.type) {
    case "zero":
      return each(() => 0);
    case "constant":
      requireFinite(hook, "value", [op.value]);
      return each(() => op.value);
    case "scale":
      requireFinite(hook, "factor", [op.factor]);
      return each((w) => w * op.factor);
    case "add": {
      const { value } = op;
      if (typeof value !== "number") {
        throw new ArgumentError(`run: ${hook}: expected one value to add to weights, got a list`);
      }
      requireFinite(hook, "value", [value]);
      return each((w) => w + value);
    }
    case "clamp": {
      const [min, max] = boundsOf(hook, op);
      return each((w) => Math.min(max, Math.max(min, w)));
    }
    case "noise": {
      requireFinite(hook, "standardDeviation", [op.standardDeviation]);
      const random = placedRandom(seedOf(hook, op.seed));
      return each((w, place) => w + op.standardDeviation * random.normal(0, place));
    }
    default:
      throw new HookPointError(
        `run: ${hook}: expected zero, constant, scale, add, clamp or noise for weights, got ${op.type}`,
      );
  }
}
