import { ArgumentError, DataError, ShapeError } from "@penfield/core";
import { type Matrix, matrix } from "@penfield/linalg";

/** What a condition, run or RDM is called. */
export type Label = string | number;

/**
 * One or more representational dissimilarity matrices of the same conditions, condensed: the upper
 * triangle without its diagonal, row by row (d01, d02, ..., d12, ...), as scipy's `squareform` has it.
 */
export interface Rdms {
  /** `[nRdms, nPairs]`; NaN where a pair was not measured. */
  readonly data: Float64Array;
  readonly nRdms: number;
  readonly nConditions: number;
  /** nConditions (nConditions - 1) / 2. */
  readonly nPairs: number;
  /** `[nConditions]`. */
  readonly conditions: readonly Label[];
  /** `[nRdms]`: subjects, sessions, models, time points. */
  readonly names: readonly Label[];
  /** Further labels of conditions, `[nConditions]` each, such as category or face. */
  readonly descriptors: Readonly<Record<string, readonly Label[]>>;
}

/** How RDMs are labelled. */
export interface RdmLabels {
  /** Default 0, 1, 2, ... */
  readonly conditions?: readonly Label[] | undefined;
  /** Default 0, 1, 2, ... */
  readonly names?: readonly Label[] | undefined;
  readonly descriptors?: Readonly<Record<string, readonly Label[]>> | undefined;
}

/** The number of pairs of n conditions. */
export const pairsOf = (n: number): number => (n * (n - 1)) / 2;

/** Where the pair i < j of n conditions stands in a condensed RDM. */
export const pairIndex = (n: number, i: number, j: number): number =>
  i * n - (i * (i + 1)) / 2 + j - i - 1;

/**
 * Condensed RDMs from their numbers.
 *
 * @param rows - One list of n (n - 1) / 2 dissimilarities per RDM; or one long list with `nRdms`.
 * @param labels - Names of conditions and RDMs.
 * @returns A float64 copy.
 * @throws {ShapeError} if the lists differ in length, or that is no triangular number, or labels do not fit.
 *
 * @example
 * rdms([[1, 2, 3], [2, 2, 2]]).nConditions // => 3
 */
export function rdms(rows: readonly ArrayLike<number>[], labels: RdmLabels = {}): Rdms {
  const nPairs = rows[0]?.length ?? 0;
  const ragged = rows.findIndex((row) => row.length !== nPairs);
  if (rows.length === 0 || ragged >= 0) {
    throw new ShapeError(
      rows.length === 0
        ? "rdms: expected at least one RDM, got none"
        : `rdms: expected ${nPairs} dissimilarities each, got ${rows[ragged]!.length} in RDM ${ragged}`,
    );
  }
  const data = new Float64Array(rows.length * nPairs);
  rows.forEach((row, i) => {
    data.set(row, i * nPairs);
  });
  return makeRdms(data, rows.length, labels);
}

/** Condensed RDMs over an array. No copy. */
export function makeRdms(data: Float64Array, nRdms: number, labels: RdmLabels = {}): Rdms {
  const nPairs = data.length / nRdms;
  const nConditions = (1 + Math.sqrt(1 + 8 * nPairs)) / 2;
  if (!Number.isInteger(nConditions)) {
    throw new ShapeError(
      `rdms: expected n (n - 1) / 2 dissimilarities for whole n, got ${nPairs}`,
      { hint: "A square matrix is turned into this form by condensedRdm." },
    );
  }
  const count = (n: number): readonly Label[] => Array.from({ length: n }, (_, i) => i);
  const { conditions = count(nConditions), names = count(nRdms), descriptors = {} } = labels;
  checkLabels("conditions", conditions, nConditions);
  checkLabels("names", names, nRdms);
  for (const [key, list] of Object.entries(descriptors)) checkLabels(key, list, nConditions);
  return { data, nRdms, nConditions, nPairs, conditions, names, descriptors };
}

function checkLabels(what: string, labels: readonly Label[], n: number): void {
  if (labels.length !== n) {
    throw new ShapeError(`rdms: expected ${n} labels for ${what}, got ${labels.length}`);
  }
}

/** The labels of RDMs, to make others like them. */
export const labelsOf = ({ conditions, names, descriptors }: Rdms): RdmLabels => ({
  conditions,
  names,
  descriptors,
});

/** Row k of RDMs. View, no copy. */
export const rdmRow = ({ data, nPairs }: Rdms, k: number): Float64Array =>
  data.subarray(k * nPairs, (k + 1) * nPairs);

/**
 * The upper triangle of a square RDM.
 *
 * @param square - `[n, n]`, symmetric with a zero diagonal (or NaN there).
 * @throws {ShapeError} if it is not square.
 * @throws {DataError} if it is not symmetric to 1e-8 of its largest value.
 *
 * @example
 * condensedRdm({ data: [0, 1, 2, 1, 0, 3, 2, 3, 0], nRows: 3, nColumns: 3 }).join(" ") // => "1 2 3"
 */
export function condensedRdm(square: Matrix): Float64Array {
  const n = square.nRows;
  if (n !== square.nColumns) {
    throw new ShapeError(`condensedRdm: expected a square matrix, got ${n} x ${square.nColumns}`);
  }
  let largest = 0;
  for (const value of square.data) if (Math.abs(value) > largest) largest = Math.abs(value);
  const out = new Float64Array(pairsOf(n));
  let at = 0;
  for (let i = 0; i < n; i++) {
    for (let j = i + 1; j < n; j++) {
      const above = square.data[i * n + j]!;
      if (Math.abs(above - square.data[j * n + i]!) > 1e-8 * largest) {
        throw new DataError(
          `condensedRdm: expected a symmetric matrix, got ${above} and ${square.data[j * n + i]} for conditions ${i} and ${j}`,
        );
      }
      out[at++] = above;
    }
  }
  return out;
}

/**
 * The square form of a condensed RDM.
 *
 * @param condensed - `[nPairs]`.
 * @param diagonal - Default 0.
 * @returns `[n, n]`, symmetric.
 *
 * @example
 * squareRdm([1, 2, 3]).data.join(" ") // => "0 1 2 1 0 3 2 3 0"
 */
export function squareRdm(condensed: ArrayLike<number>, diagonal = 0): Matrix<Float64Array> {
  const n = (1 + Math.sqrt(1 + 8 * condensed.length)) / 2;
  if (!Number.isInteger(n)) {
    throw new ShapeError(
      `squareRdm: expected n (n - 1) / 2 dissimilarities for whole n, got ${condensed.length}`,
    );
  }
  const data = new Float64Array(n * n);
  let at = 0;
  for (let i = 0; i < n; i++) {
    data[i * n + i] = diagonal;
    for (let j = i + 1; j < n; j++) {
      data[i * n + j] = condensed[at]!;
      data[j * n + i] = condensed[at++]!;
    }
  }
  return matrix(data, n, n);
}

/**
 * RDMs of some of the conditions, in the order they have.
 *
 * @param from - RDMs.
 * @param values - Which labels to keep.
 * @param descriptor - Which labels are meant: `conditions` (default) or the name of a descriptor.
 * @throws {ArgumentError} if there is no such descriptor, or no condition is left.
 *
 * @example
 * subsetConditions(rdms([[1, 2, 3]], { descriptors: { kind: ["a", "b", "b"] } }), ["b"], "kind").data[0] // => 3
 */
export function subsetConditions(
  from: Rdms,
  values: readonly Label[],
  descriptor = "conditions",
): Rdms {
  const labels = descriptorOf(from, descriptor);
  const wanted = new Set(values);
  const kept = labels.flatMap((label, i) => (wanted.has(label) ? [i] : []));
  if (kept.length === 0) {
    throw new ArgumentError(
      `subsetConditions: expected a label of ${descriptor}, got ${values.join(", ")}`,
      { hint: `It has ${[...new Set(labels)].slice(0, 10).join(", ")}.` },
    );
  }
  return takeConditions(from, kept);
}

function descriptorOf(from: Rdms, descriptor: string): readonly Label[] {
  if (descriptor === "conditions") return from.conditions;
  const labels = Object.hasOwn(from.descriptors, descriptor)
    ? from.descriptors[descriptor]
    : undefined;
  if (labels) return labels;
  throw new ArgumentError(
    `subsetConditions: expected a descriptor of conditions, got ${descriptor}`,
    {
      hint: `There are ${["conditions", ...Object.keys(from.descriptors)].join(", ")}.`,
    },
  );
}

/**
 * RDMs of conditions named by their indices, in that order. A condition drawn more than once makes pairs with
 * itself: these are NaN, for they say nothing about the representation.
 *
 * @throws {ArgumentError} if an index is out of range.
 *
 * @example
 * takeConditions(rdms([[1, 2, 3]]), [2, 0]).data.join(" ") // => "2"
 */
export function takeConditions(from: Rdms, indices: ArrayLike<number>): Rdms {
  const { nConditions: n, nPairs, nRdms } = from;
  const m = indices.length;
  const places = new Int32Array(pairsOf(m));
  let at = 0;
  for (let i = 0; i < m; i++) {
    const a = indices[i]!;
    if (!(Number.isInteger(a) && a >= 0 && a < n)) {
      throw new ArgumentError(`takeConditions: expected indices within 0..${n - 1}, got ${a}`);
    }
    for (let j = i + 1; j < m; j++) {
      const b = indices[j]!;
      places[at++] = a === b ? -1 : pairIndex(n, Math.min(a, b), Math.max(a, b));
    }
  }
  const data = new Float64Array(nRdms * places.length);
  for (let k = 0; k < nRdms; k++) {
    for (let p = 0; p < places.length; p++) {
      const place = places[p]!;
      data[k * places.length + p] = place < 0 ? Number.NaN : from.data[k * nPairs + place]!;
    }
  }
  const take = (list: readonly Label[]) => Array.from(indices, (i) => list[i]!);
  return {
    data,
    nRdms,
    nConditions: m,
    nPairs: places.length,
    conditions: take(from.conditions),
    names: from.names,
    descriptors: Object.fromEntries(
      Object.entries(from.descriptors).map(([key, list]) => [key, take(list)]),
    ),
  };
}

/**
 * Some of the RDMs, named by their indices, in that order; repetitions allowed.
 *
 * @throws {ArgumentError} if an index is out of range.
 *
 * @example
 * takeRdms(rdms([[1, 2, 3], [4, 5, 6]]), [1]).data.join(" ") // => "4 5 6"
 */
export function takeRdms(from: Rdms, indices: ArrayLike<number>): Rdms {
  const data = new Float64Array(indices.length * from.nPairs);
  for (let i = 0; i < indices.length; i++) {
    const k = indices[i]!;
    if (!(Number.isInteger(k) && k >= 0 && k < from.nRdms)) {
      throw new ArgumentError(`takeRdms: expected indices within 0..${from.nRdms - 1}, got ${k}`);
    }
    data.set(rdmRow(from, k), i * from.nPairs);
  }
  return {
    ...from,
    data,
    nRdms: indices.length,
    names: Array.from(indices, (k) => from.names[k]!),
  };
}

/**
 * RDMs of the same conditions as one object, one after another.
 *
 * @throws {ShapeError} if they have different numbers of conditions.
 * @throws {DataError} if their conditions are called differently.
 *
 * @example
 * concatRdms([rdms([[1, 2, 3]]), rdms([[4, 5, 6]])]).nRdms // => 2
 */
export function concatRdms(parts: readonly Rdms[]): Rdms {
  const first = parts[0];
  if (!first) throw new ShapeError("concatRdms: expected RDMs, got none");
  for (const part of parts) checkSameConditions("concatRdms", first, part);
  const data = new Float64Array(parts.reduce((sum, part) => sum + part.data.length, 0));
  let at = 0;
  for (const part of parts) {
    data.set(part.data, at);
    at += part.data.length;
  }
  const nRdms = parts.reduce((sum, part) => sum + part.nRdms, 0);
  return { ...first, data, nRdms, names: parts.flatMap((part) => part.names) };
}

/** Throws unless both are of the same conditions in the same order. */
export function checkSameConditions(name: string, a: Rdms, b: Rdms): void {
  if (a.nConditions !== b.nConditions) {
    throw new ShapeError(
      `${name}: expected RDMs of the same conditions, got ${a.nConditions} and ${b.nConditions} of them`,
      { hint: "Take the conditions that both have with subsetConditions." },
    );
  }
  const at = a.conditions.findIndex((label, i) => label !== b.conditions[i]);
  if (at >= 0) {
    throw new DataError(
      `${name}: expected the same conditions in the same order, got ${a.conditions[at]} and ${b.conditions[at]} at ${at}`,
      { hint: "Put them in one order with takeConditions." },
    );
  }
}

/**
 * The mean of RDMs, pair by pair, over those in which the pair was measured.
 *
 * @param from - RDMs; NaN are left out.
 * @param weights - One per RDM, or `[nRdms, nPairs]` of them. Default: all equal.
 * @returns One RDM; NaN where no RDM has the pair.
 *
 * @example
 * meanRdm(rdms([[1, 2, NaN], [3, 2, 5]])).data.join(" ") // => "2 2 5"
 */
export function meanRdm(from: Rdms, weights?: ArrayLike<number>): Rdms {
  const { nRdms, nPairs } = from;
  if (weights && weights.length !== nRdms && weights.length !== nRdms * nPairs) {
    throw new ShapeError(
      `meanRdm: expected ${nRdms} or ${nRdms * nPairs} weights, got ${weights.length}`,
    );
  }
  const perPair = weights?.length === nRdms * nPairs && nPairs > 1;
  const data = new Float64Array(nPairs);
  for (let p = 0; p < nPairs; p++) {
    let sum = 0;
    let total = 0;
    for (let k = 0; k < nRdms; k++) {
      const value = from.data[k * nPairs + p]!;
      const weight = weights ? weights[perPair ? k * nPairs + p : k]! : 1;
      if (Number.isNaN(value) || Number.isNaN(weight)) continue;
      sum += weight * value;
      total += weight;
    }
    data[p] = total === 0 ? Number.NaN : sum / total;
  }
  return makeRdms(data, 1, { ...labelsOf(from), names: ["mean"] });
}

/** RDM by category: 0 within a category, 1 between. */
export function categoricalRdm(
  labels: readonly Label[],
  { conditions, name = "category" }: { conditions?: readonly Label[]; name?: Label } = {},
): Rdms {
  const n = labels.length;
  const data = new Float64Array(pairsOf(n));
  let at = 0;
  for (let i = 0; i < n; i++) {
    for (let j = i + 1; j < n; j++) data[at++] = labels[i] === labels[j] ? 0 : 1;
  }
  return makeRdms(data, 1, { conditions, names: [name] });
}
