import { ArgumentError, ShapeError } from "@penfield/core";

/** Some units of a model whose layers all have the same number of units. */
export interface UnitSet {
  readonly nLayers: number;
  /** Units per layer. */
  readonly nUnits: number;
  /** Ascending, each once: layer * nUnits + unit. */
  readonly indices: Int32Array;
}

/**
 * A set of units from their flat indices, in any order, repetitions allowed. Copy.
 *
 * @param nLayers - At least 1.
 * @param nUnits - Units per layer, at least 1.
 * @param indices - layer * nUnits + unit, each.
 * @throws {ArgumentError} if a size is no positive whole number or an index lies outside.
 *
 * @example
 * unitSet(2, 3, [5, 0, 5]).indices.join(" ") // => "0 5"
 */
export function unitSet(nLayers: number, nUnits: number, indices: ArrayLike<number>): UnitSet {
  if (
    !(Number.isSafeInteger(nLayers) && nLayers > 0 && Number.isSafeInteger(nUnits) && nUnits > 0)
  ) {
    throw new ArgumentError(
      `unitSet: expected whole positive numbers of layers and units, got ${nLayers} and ${nUnits}`,
    );
  }
  const total = nLayers * nUnits;
  const sorted = Float64Array.from(indices).sort();
  const outside = sorted.find((i) => !(Number.isInteger(i) && i >= 0 && i < total));
  if (outside !== undefined) {
    throw new ArgumentError(`unitSet: expected indices within 0..${total - 1}, got ${outside}`);
  }
  return {
    nLayers,
    nUnits,
    indices: Int32Array.from(sorted.filter((value, i) => i === 0 || value !== sorted[i - 1])),
  };
}

/**
 * The set as a mask, [nLayers * nUnits] row-major, 1 for its units.
 *
 * @example
 * toMask(unitSet(2, 2, [1, 2])).join("") // => "0110"
 */
export function toMask(units: UnitSet): Uint8Array {
  const mask = new Uint8Array(units.nLayers * units.nUnits);
  for (const i of units.indices) mask[i] = 1;
  return mask;
}

/**
 * The set of units whose mask value is not 0.
 *
 * @param mask - [nLayers * nUnits], row-major.
 * @throws {ShapeError} if the mask has another length.
 *
 * @example
 * fromMask([0, 1, 1, 0], 2, 2).indices.join(" ") // => "1 2"
 */
export function fromMask(mask: ArrayLike<number>, nLayers: number, nUnits: number): UnitSet {
  if (mask.length !== nLayers * nUnits) {
    throw new ShapeError(
      `fromMask: expected ${nLayers} x ${nUnits} = ${nLayers * nUnits} values, got ${mask.length}`,
    );
  }
  const indices: number[] = [];
  for (let i = 0; i < mask.length; i++) if (mask[i] !== 0) indices.push(i);
  return unitSet(nLayers, nUnits, indices);
}

function filtered(
  name: string,
  a: UnitSet,
  b: UnitSet,
  keep: (inA: boolean, inB: boolean) => boolean,
): UnitSet {
  if (a.nLayers !== b.nLayers || a.nUnits !== b.nUnits) {
    throw new ShapeError(
      `${name}: expected sets of the same model, got ${a.nLayers} x ${a.nUnits} and ${b.nLayers} x ${b.nUnits} units`,
    );
  }
  const inA = toMask(a);
  const inB = toMask(b);
  return fromMask(
    inA.map((value, i) => (keep(value === 1, inB[i] === 1) ? 1 : 0)),
    a.nLayers,
    a.nUnits,
  );
}

/**
 * Units in either set.
 *
 * @throws {ShapeError} if the sets are of models of different sizes.
 *
 * @example
 * union(unitSet(1, 4, [0, 1]), unitSet(1, 4, [1, 3])).indices.join(" ") // => "0 1 3"
 */
export function union(a: UnitSet, b: UnitSet): UnitSet {
  return filtered("union", a, b, (inA, inB) => inA || inB);
}

/**
 * Units in both sets.
 *
 * @throws {ShapeError} if the sets are of models of different sizes.
 *
 * @example
 * intersect(unitSet(1, 4, [0, 1]), unitSet(1, 4, [1, 3])).indices.join(" ") // => "1"
 */
export function intersect(a: UnitSet, b: UnitSet): UnitSet {
  return filtered("intersect", a, b, (inA, inB) => inA && inB);
}

/**
 * Units in the first set but not in the second.
 *
 * @throws {ShapeError} if the sets are of models of different sizes.
 *
 * @example
 * difference(unitSet(1, 4, [0, 1]), unitSet(1, 4, [1, 3])).indices.join(" ") // => "0"
 */
export function difference(a: UnitSet, b: UnitSet): UnitSet {
  return filtered("difference", a, b, (inA, inB) => inA && !inB);
}

/**
 * How far two sets agree: units in both, as a share of units in either.
 *
 * @returns 0 to 1; 1 for two empty sets.
 * @throws {ShapeError} if the sets are of models of different sizes.
 *
 * @example
 * jaccard(unitSet(1, 4, [0, 1]), unitSet(1, 4, [1, 3])).toFixed(4) // => "0.3333"
 */
export function jaccard(a: UnitSet, b: UnitSet): number {
  const either = filtered("jaccard", a, b, (inA, inB) => inA || inB).indices.length;
  const both = a.indices.length + b.indices.length - either;
  return either === 0 ? 1 : both / either;
}

/**
 * How many units of the set each layer holds, [nLayers].
 *
 * @example
 * perLayerCounts(unitSet(3, 2, [0, 1, 4])).join(" ") // => "2 0 1"
 */
export function perLayerCounts(units: UnitSet): Int32Array {
  const counts = new Int32Array(units.nLayers);
  for (const i of units.indices) counts[Math.floor(i / units.nUnits)]!++;
  return counts;
}

/**
 * The units of each layer, as indices within the layer, ascending: what an intervention at one hook point takes.
 *
 * @returns [nLayers][units of that layer in the set].
 *
 * @example
 * unitsByLayer(unitSet(2, 3, [1, 3, 5])) // => [[1], [0, 2]]
 */
export function unitsByLayer(units: UnitSet): number[][] {
  const layers = Array.from({ length: units.nLayers }, (): number[] => []);
  for (const i of units.indices) layers[Math.floor(i / units.nUnits)]!.push(i % units.nUnits);
  return layers;
}
