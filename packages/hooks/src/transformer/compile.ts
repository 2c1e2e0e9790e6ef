import { ArgumentError, createRng, HookPointError, ShapeError } from "@penfield/core";
import { Tensor } from "onnxruntime-node";
import { type Intervention, type InterventionOp, type Slot, slotOf } from "../interventions.ts";

/** Sizes of the tensor at a hook point in one run, and how its last axis falls into heads. */
export interface HookSizes {
  readonly nRows: number;
  readonly length: number;
  readonly nUnits: number;
  readonly nHeads: number | undefined;
  /** Units are counted within each head, so that heads and units can both be chosen. */
  readonly unitsWithinHeads?: boolean;
}

/** Neutral inputs for a slot: with them the hook leaves every value bit for bit as it is. */
export function neutralFeeds(
  name: string,
  slot: Slot,
  nRows: number,
  nUnits = 1,
): Record<string, Tensor> {
  const one = [1, 1, 1];
  switch (slot) {
    case "patch":
      return { [`${name}.src`]: new Tensor("int64", ownRows(nRows, 1), [nRows, 1, 1]) };
    case "set":
      return {
        [`${name}.replace`]: new Tensor("bool", new Uint8Array([0]), one),
        [`${name}.value`]: new Tensor("float32", new Float32Array([0]), one),
      };
    case "affine":
      // Minus zero: x + (-0) is x for every x, also for x = -0.
      return {
        [`${name}.scale`]: new Tensor("float32", new Float32Array([1]), one),
        [`${name}.shift`]: new Tensor("float32", new Float32Array([-0]), one),
      };
    case "clamp":
      return {
        [`${name}.min`]: new Tensor("float32", new Float32Array([-Infinity]), one),
        [`${name}.max`]: new Tensor("float32", new Float32Array([Infinity]), one),
        [`${name}.clamped`]: new Tensor("bool", new Uint8Array([0]), one),
      };
    case "project":
      return {
        [`${name}.basis`]: new Tensor("float32", new Float32Array(nUnits), [1, nUnits, 1]),
        [`${name}.projected`]: new Tensor("bool", new Uint8Array([0]), one),
      };
  }
}

/** For each value of `nRows` rows the row itself. */
function ownRows(nRows: number, perRow: number): BigInt64Array {
  return BigInt64Array.from({ length: nRows * perRow }, (_, i) => BigInt(Math.floor(i / perRow)));
}

/**
 * Turns the interventions at one hook point into graph inputs. Several at one place are applied in
 * this order: patches, then settings (a later one wins), projections, then scaling and adding, which
 * accumulate, and clamps.
 *
 * @throws {ArgumentError} if units, heads, positions, rows or sources lie outside the tensor, or a
 *   value is not a number.
 * @throws {ShapeError} if values or directions are more or fewer than the units.
 */
export function compileFeeds(
  name: string,
  interventions: readonly Intervention[],
  sizes: HookSizes,
): Record<string, Tensor> {
  for (const { op } of interventions) checkNumbers(op, name);
  const slots = [...new Set(interventions.map((i) => slotOf[i.op.type]))];
  return Object.assign(
    {},
    ...slots.map((slot) =>
      compileSlot(
        name,
        slot,
        interventions.filter((i) => slotOf[i.op.type] === slot),
        sizes,
      ),
    ),
  );
}

function compileSlot(
  name: string,
  slot: Slot,
  interventions: readonly Intervention[],
  sizes: HookSizes,
): Record<string, Tensor> {
  // Axes that no intervention tells apart stay at size 1 and are broadcast by the graph.
  const wide = interventions.some((i) => i.op.type === "noise");
  const nRows = wide || interventions.some((i) => i.rows !== undefined) ? sizes.nRows : 1;
  const nPositions =
    wide || interventions.some((i) => i.positions !== undefined) ? sizes.length : 1;
  const { nUnits } = sizes;
  const dims = [nRows, nPositions, nUnits];
  const size = nRows * nPositions * nUnits;
  const each = (intervention: Intervention, visit: (flat: number, unit: number) => void): void => {
    const rows = chosen(intervention.rows, nRows, "rows", name);
    const positions = chosen(intervention.positions, nPositions, "positions", name);
    const units = unitsOf(intervention, sizes, name);
    for (const row of rows) {
      for (const position of positions) {
        const start = (row * nPositions + position) * nUnits;
        for (const unit of units) visit(start + unit, unit);
      }
    }
  };
  if (slot === "patch") {
    const nWide = interventions.some((i) => i.units !== undefined || i.heads !== undefined)
      ? nUnits
      : 1;
    const source = ownRows(sizes.nRows, nPositions * nWide);
    for (const intervention of interventions) {
      const from = (intervention.op as { source: ArrayLike<number> }).source;
      if (from.length !== sizes.nRows) {
        throw new ShapeError(
          `compileFeeds: ${name}: expected one source row for each of ${sizes.nRows} rows, got ${from.length}`,
        );
      }
      const positions = chosen(intervention.positions, nPositions, "positions", name);
      const units = nWide === 1 ? [0] : unitsOf(intervention, sizes, name);
      for (const row of chosen(intervention.rows, sizes.nRows, "rows", name)) {
        const value = from[row]!;
        if (!Number.isInteger(value) || value < 0 || value >= sizes.nRows) {
          throw new ArgumentError(
            `compileFeeds: ${name}: expected source rows within 0..${sizes.nRows - 1}, got ${value}`,
          );
        }
        for (const position of positions) {
          for (const unit of units) {
            source[(row * nPositions + position) * nWide + unit] = BigInt(value);
          }
        }
      }
    }
    return { [`${name}.src`]: new Tensor("int64", source, [sizes.nRows, nPositions, nWide]) };
  }
  if (slot === "set") {
    const replace = new Uint8Array(size);
    const value = new Float32Array(size);
    for (const { op, ...rest } of interventions) {
      each({ op, ...rest }, (flat, unit) => {
        replace[flat] = 1;
        value[flat] = setValue(op, unit, sizes);
      });
      if (op.type === "mean") checkLength(op.values, nUnits, name);
      if (op.type === "attendFirst" && !name.endsWith(".hook_pattern")) {
        throw new HookPointError(
          `compileFeeds: expected attendFirst at a hook_pattern, got ${name}`,
          { hint: "Name the pattern of the same layer: blocks.*.attn.hook_pattern." },
        );
      }
    }
    return {
      [`${name}.replace`]: new Tensor("bool", replace, dims),
      [`${name}.value`]: new Tensor("float32", value, dims),
    };
  }
  if (slot === "clamp") {
    const min = new Float32Array(size).fill(-Infinity);
    const max = new Float32Array(size).fill(Infinity);
    const clamped = new Uint8Array(size);
    for (const intervention of interventions) {
      const { op } = intervention;
      if (op.type !== "clamp") continue;
      each(intervention, (flat) => {
        clamped[flat] = 1;
        min[flat] = Math.max(min[flat]!, op.min ?? -Infinity);
        max[flat] = Math.min(max[flat]!, op.max ?? Infinity);
      });
    }
    return {
      [`${name}.min`]: new Tensor("float32", min, dims),
      [`${name}.max`]: new Tensor("float32", max, dims),
      [`${name}.clamped`]: new Tensor("bool", clamped, dims),
    };
  }
  if (slot === "project") return projection(name, interventions, sizes, [nRows, nPositions]);
  const scale = new Float32Array(size).fill(1);
  const shift = new Float32Array(size).fill(-0);
  for (const intervention of interventions) {
    const { op } = intervention;
    if (op.type === "scale") {
      each(intervention, (flat) => {
        scale[flat]! *= op.factor;
        shift[flat]! *= op.factor;
      });
    } else if (op.type === "add") {
      if (typeof op.value !== "number") checkLength(op.value, nUnits, name);
      const values = op.value;
      each(intervention, (flat, unit) => {
        shift[flat]! += typeof values === "number" ? values : values[unit]!;
      });
    } else if (op.type === "noise") {
      const rng = createRng(op.seed);
      each(intervention, (flat) => {
        shift[flat]! += op.standardDeviation * rng.normal();
      });
    }
  }
  return {
    [`${name}.scale`]: new Tensor("float32", scale, dims),
    [`${name}.shift`]: new Tensor("float32", shift, dims),
  };
}

function setValue(op: InterventionOp, unit: number, { nUnits, nHeads = 1 }: HookSizes): number {
  if (op.type === "constant") return op.value;
  if (op.type === "mean") return op.values[unit]!;
  return op.type === "attendFirst" && unit % (nUnits / nHeads) === 0 ? 1 : 0;
}

function checkNumbers(op: InterventionOp, name: string): void {
  const values: ArrayLike<number>[] = [];
  if (op.type === "constant") values.push([op.value]);
  else if (op.type === "mean") values.push(op.values);
  else if (op.type === "scale") values.push([op.factor]);
  else if (op.type === "add") values.push(typeof op.value === "number" ? [op.value] : op.value);
  else if (op.type === "noise") values.push([op.standardDeviation]);
  else if (op.type === "clamp") values.push([op.min ?? 0, op.max ?? 0]);
  else if (op.type === "project") values.push(...op.directions);
  for (const list of values) {
    for (let i = 0; i < list.length; i++) {
      if (typeof list[i] === "number" && !Number.isNaN(list[i])) continue;
      throw new ArgumentError(
        `compileFeeds: ${name}: expected numbers in ${op.type}, got ${list[i]} at place ${i}`,
      );
    }
  }
  if (op.type === "clamp" && (op.min ?? -Infinity) > (op.max ?? Infinity)) {
    throw new ArgumentError(
      `compileFeeds: ${name}: expected min of clamp not above max, got ${op.min} and ${op.max}`,
    );
  }
}

/** For each row an orthonormal basis of what is taken out; rows of which nothing is taken hold zeros. */
function projection(
  name: string,
  interventions: readonly Intervention[],
  sizes: HookSizes,
  [nRows, nPositions]: readonly [number, number],
): Record<string, Tensor> {
  const { nUnits, nHeads = 1 } = sizes;
  const projected = new Uint8Array(nRows * nPositions);
  const bases = Array.from({ length: nRows }, (): Float64Array[] => []);
  for (const { op, heads, units, ...where } of interventions) {
    if (op.type !== "project") continue;
    if (units !== undefined) {
      throw new ArgumentError(`compileFeeds: ${name}: expected project without units, got units`, {
        hint: "Directions go over all units; put zeros where a unit has no part.",
      });
    }
    const width = heads === undefined ? nUnits : nUnits / nHeads;
    const starts =
      heads === undefined ? [0] : chosen(heads, nHeads, "heads", name).map((head) => head * width);
    const vectors = op.directions.flatMap((direction) => {
      checkLength(direction, width, name);
      return starts.map((start) => {
        const vector = new Float64Array(nUnits);
        vector.set(Array.from(direction), start);
        return vector;
      });
    });
    for (const row of chosen(where.rows, nRows, "rows", name)) {
      bases[row]!.push(...vectors);
      for (const position of chosen(where.positions, nPositions, "positions", name)) {
        projected[row * nPositions + position] = 1;
      }
    }
  }
  const orthonormal = bases.map(orthonormalBasis);
  const k = Math.max(1, ...orthonormal.map((basis) => basis.length));
  const data = new Float32Array(nRows * nUnits * k);
  orthonormal.forEach((basis, row) => {
    basis.forEach((vector, column) => {
      for (let unit = 0; unit < nUnits; unit++) {
        data[(row * nUnits + unit) * k + column] = vector[unit]!;
      }
    });
  });
  return {
    [`${name}.basis`]: new Tensor("float32", data, [nRows, nUnits, k]),
    [`${name}.projected`]: new Tensor("bool", projected, [nRows, nPositions, 1]),
  };
}

/** Gram-Schmidt, twice for each vector; what depends on the vectors before it is left out. */
function orthonormalBasis(vectors: readonly Float64Array[]): Float64Array[] {
  const basis: Float64Array[] = [];
  const dot = (a: Float64Array, b: Float64Array) => a.reduce((sum, v, i) => sum + v * b[i]!, 0);
  for (const vector of vectors) {
    const rest = vector.slice();
    const before = Math.sqrt(dot(rest, rest));
    for (let pass = 0; pass < 2; pass++) {
      for (const other of basis) {
        const part = dot(rest, other);
        for (let i = 0; i < rest.length; i++) rest[i]! -= part * other[i]!;
      }
    }
    const length = Math.sqrt(dot(rest, rest));
    if (length > 1e-10 * before) basis.push(rest.map((v) => v / length));
  }
  return basis;
}

function checkLength(values: ArrayLike<number>, nUnits: number, name: string): void {
  if (values.length !== nUnits) {
    throw new ShapeError(`compileFeeds: ${name}: expected ${nUnits} values, got ${values.length}`);
  }
}

function chosen(
  wanted: ArrayLike<number> | undefined,
  size: number,
  what: string,
  name: string,
): readonly number[] {
  if (wanted === undefined) return Array.from({ length: size }, (_, i) => i);
  for (let i = 0; i < wanted.length; i++) {
    const value = wanted[i]!;
    if (!Number.isInteger(value) || value < 0 || value >= size) {
      throw new ArgumentError(
        `compileFeeds: ${name}: expected ${what} within 0..${size - 1}, got ${value}`,
      );
    }
  }
  return Array.from(wanted);
}

function unitsOf(intervention: Intervention, sizes: HookSizes, name: string): readonly number[] {
  const { units, heads } = intervention;
  if (sizes.unitsWithinHeads && sizes.nHeads !== undefined) {
    const dHead = sizes.nUnits / sizes.nHeads;
    const inner = chosen(units, dHead, "units", name);
    return chosen(heads, sizes.nHeads, "heads", name).flatMap((head) =>
      inner.map((unit) => head * dHead + unit),
    );
  }
  if (heads === undefined) return chosen(units, sizes.nUnits, "units", name);
  if (sizes.nHeads === undefined) {
    throw new HookPointError(
      `compileFeeds: ${name}: expected a hook point with heads, got one without`,
      {
        hint: "Heads can be named at blocks.*.attn.hook_*; at hook_z if the model's number of heads is known.",
      },
    );
  }
  const dHead = sizes.nUnits / sizes.nHeads;
  return chosen(heads, sizes.nHeads, "heads", name).flatMap((head) =>
    Array.from({ length: dHead }, (_, i) => head * dHead + i),
  );
}
