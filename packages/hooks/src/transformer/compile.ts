import { ArgumentError, createRng, HookPointError, ShapeError } from "@penfield/core";
import { Tensor } from "onnxruntime-node";
import { type Intervention, type Slot, slotOf } from "../interventions.ts";

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
export function neutralFeeds(name: string, slot: Slot, nRows: number): Record<string, Tensor> {
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
  }
}

/** For each value of `nRows` rows the row itself. */
function ownRows(nRows: number, perRow: number): BigInt64Array {
  return BigInt64Array.from({ length: nRows * perRow }, (_, i) => BigInt(Math.floor(i / perRow)));
}

/**
 * Turns the interventions at one hook point into graph inputs. Several at one place are applied in
 * this order: patches, then settings (a later one wins), then scaling and adding, which accumulate.
 *
 * @throws {ArgumentError} if units, heads, positions, rows or sources lie outside the tensor.
 */
export function compileFeeds(
  name: string,
  interventions: readonly Intervention[],
  sizes: HookSizes,
): Record<string, Tensor> {
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
        value[flat] = op.type === "constant" ? op.value : op.type === "mean" ? op.values[unit]! : 0;
      });
      if (op.type === "mean") checkLength(op.values, nUnits, name);
    }
    return {
      [`${name}.replace`]: new Tensor("bool", replace, dims),
      [`${name}.value`]: new Tensor("float32", value, dims),
    };
  }
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
