import { createRng, DataError, type LongWork, throwIfAborted } from "@penfield/core";
import { createLinalg, type Linalg, type Matrix, matrix, qr } from "@penfield/linalg";
import type { Census } from "./census.ts";

/** The values of the units of one layer, read when needed. */
export interface UnitBlock {
  readonly name: string;
  readonly nUnits: number;
  readonly nTokens: number;
  /** Which tokens these are: where both models say it, it must be the same. */
  readonly corpus?: string | undefined;
  /** `[nUnits, nTokens]` */
  read(): Promise<Float32Array>;
}

/** How alike the units of two models are, on the same tokens. Arrays `[nUnits]` over the first model's units. */
export interface UnitComparison {
  /** The largest correlation with a unit of the other model, and which unit that is. */
  readonly correlation: Float64Array;
  readonly match: Int32Array;
  /** The largest correlation when the other model's layers are rotated: what the layer's directions give without its units. */
  readonly orthogonalBaseline: Float64Array;
  readonly gaussianBaseline: Float64Array;
  /** `correlation` less a baseline. */
  readonly orthogonalExcess: Float64Array;
  readonly gaussianExcess: Float64Array;
  /** Units of both models that find each other: b is the best for a, and a among the five best for b. */
  readonly rosetta: readonly { readonly a: number; readonly b: number; readonly r: number }[];
  readonly nTokens: number;
}

export interface CompareUnitsOptions extends LongWork {
  readonly seed?: number | undefined;
  readonly linalg?: Linalg | undefined;
}

/**
 * Compares every unit of one model with every unit of another by Pearson's correlation over tokens, against what is left when the
 * second model's layers are rotated. A unit is universal if its excess correlation is above 0.5.
 *
 * Two rotations: `orthogonal`, uniform over rotations and reflections; and `gaussian`, rows of normal numbers scaled to length 1, as in the
 * published code, which calls it a rotation though its rows are not at right angles.
 *
 * @param a - The layers of the first model. Units without variance correlate 0 with everything.
 * @param b - The layers of the second, on the same tokens.
 * @throws {DataError} if the tokens differ, as far as the layers say which they are, or are fewer than two.
 *
 * Cost: two matrix products of [nUnitsA, nTokens] by [nTokens, nUnitsB], and of [nUnits, nUnits] for each pair of layers. Products of float32 over
 * 4096 tokens at a time are added up in float64.
 * Source: Gurnee et al. (2024), Universal Neurons in GPT2 Language Models; mutual matches: Dravid et al. (2023), Rosetta Neurons, with five
 * neighbours on one side as its code has it.
 *
 * @example
 * const block = (rows) => ({ name: "layer", nUnits: rows.length, nTokens: rows[0].length, read: async () => Float32Array.from(rows.flat()) });
 * const a = [block([[1, 2, 3, 4], [1, 0, 0, 1]])];
 * const b = [block([[0, 1, 1, 0], [2, 4, 6, 8]])];
 * const { match, correlation } = await compareUnits(a, b);
 * [match[0], correlation[0].toFixed(3)] // => [1, "1.000"]
 */
export async function compareUnits(
  a: readonly UnitBlock[],
  b: readonly UnitBlock[],
  options: CompareUnitsOptions = {},
): Promise<UnitComparison> {
  const nTokens = a[0]?.nTokens ?? 0;
  if (nTokens < 2 || [...a, ...b].some((block) => block.nTokens !== nTokens)) {
    throw new DataError(
      `compareUnits: expected the same tokens, two or more, in all layers, got ${[...a, ...b].map((block) => block.nTokens).join(", ")}`,
    );
  }
  const corpora = new Set([...a, ...b].flatMap(({ corpus }) => corpus ?? []));
  if (corpora.size > 1) {
    throw new DataError("compareUnits: expected values on the same tokens, got other documents", {
      hint: "Take both censuses of the same documents, with the same keepShare and seed.",
    });
  }
  const own = options.linalg === undefined;
  const linalg = options.linalg ?? createLinalg();
  try {
    return await compareAll(a, b, nTokens, linalg, options);
  } finally {
    if (own) await linalg.dispose();
  }
}

/** Which units of a model are in several others too. */
export interface UniversalUnits {
  /** Mean over the other models of each unit's excess correlation, `[nUnits]`. */
  readonly excess: Float64Array;
  /** Units whose mean excess is above the limit. */
  readonly universal: readonly number[];
  /** Units with a mutual match in every other model. */
  readonly rosetta: readonly number[];
}

/**
 * Puts comparisons of one model with several others together: a unit is universal if its excess correlation, in the mean over the others, is above 0.5;
 * and a Rosetta unit if it has a mutual match in each of them.
 *
 * @param comparisons - Of the same first model, by `compareUnits`.
 * @param options.above - Default 0.5.
 * @param options.rotation - Of the baseline; default `orthogonal`.
 * @throws {DataError} if there is none, or they are of different numbers of units.
 *
 * Source: Gurnee et al. (2024), whose excess is mean max r - mean max r of the rotated layer over four other seeds; Dravid et al. (2023), whose units are the intersection of matches.
 *
 * @example
 * const block = (rows) => ({ name: "layer", nUnits: rows.length, nTokens: rows[0].length, read: async () => Float32Array.from(rows.flat()) });
 * const own = [block([[1, 2, 3, 4], [1, 0, 0, 1]])];
 * const first = await compareUnits(own, [block([[0, 1, 1, 0], [2, 4, 6, 8]])]);
 * const second = await compareUnits(own, [block([[1, 2, 3, 5]])]);
 * universalUnits([first, second]).rosetta // => [0]
 */
export function universalUnits(
  comparisons: readonly UnitComparison[],
  {
    above = 0.5,
    rotation = "orthogonal",
  }: {
    readonly above?: number | undefined;
    readonly rotation?: "orthogonal" | "gaussian" | undefined;
  } = {},
): UniversalUnits {
  const nUnits = comparisons[0]?.correlation.length ?? 0;
  if (nUnits === 0 || comparisons.some(({ correlation }) => correlation.length !== nUnits)) {
    throw new DataError(
      `universalUnits: expected comparisons of one model's units, got ${comparisons.map(({ correlation }) => correlation.length).join(", ") || "none"}`,
    );
  }
  const excess = new Float64Array(nUnits);
  const matches = new Int32Array(nUnits);
  for (const { orthogonalExcess, gaussianExcess, rosetta } of comparisons) {
    const own = rotation === "orthogonal" ? orthogonalExcess : gaussianExcess;
    for (let i = 0; i < nUnits; i++) excess[i]! += own[i]! / comparisons.length;
    for (const { a } of rosetta) matches[a]!++;
  }
  const where = (holds: (unit: number) => boolean) =>
    Array.from(excess.keys()).filter((unit) => holds(unit));
  return {
    excess,
    universal: where((unit) => excess[unit]! > above),
    rosetta: where((unit) => matches[unit] === comparisons.length),
  };
}

/** How many of b's best units of a are kept. */
const NEIGHBOURS = 5;

async function compareAll(
  a: readonly UnitBlock[],
  b: readonly UnitBlock[],
  nTokens: number,
  linalg: Linalg,
  { seed = 0, signal, onProgress }: CompareUnitsOptions,
): Promise<UnitComparison> {
  const nA = a.reduce((sum, { nUnits }) => sum + nUnits, 0);
  const nB = b.reduce((sum, { nUnits }) => sum + nUnits, 0);
  const lowest = () => new Float64Array(nA).fill(-1);
  const correlation = lowest();
  const orthogonal = lowest();
  const gaussian = lowest();
  const match = new Int32Array(nA).fill(-1);
  const nearest = new Float64Array(nB * NEIGHBOURS).fill(Number.NEGATIVE_INFINITY);
  const nearestUnits = new Int32Array(nB * NEIGHBOURS).fill(-1);
  const orthogonalOf = once((n) => orthogonalRotation(n, seed));
  const gaussianOf = once((n) => gaussianRotation(n, seed));
  let firstB = 0;
  let done = 0;
  for (const blockB of b) {
    const z = standardize(await blockB.read(), blockB.nUnits);
    const inner = await product(z, z, blockB.nUnits, blockB.nUnits, nTokens, linalg);
    const scale = z.deviations;
    // Rotations act on activations as they are, not on standardized ones.
    const covariance = inner.map(
      (r, i) => r * scale[Math.floor(i / blockB.nUnits)]! * scale[i % blockB.nUnits]!,
    );
    const rotations = await Promise.all(
      [orthogonalOf, gaussianOf].map((make) =>
        rotated(make(blockB.nUnits), covariance, scale, linalg),
      ),
    );
    let firstA = 0;
    for (const blockA of a) {
      throwIfAborted(signal, "compareUnits");
      const x = standardize(await blockA.read(), blockA.nUnits);
      const r = await product(x, z, blockA.nUnits, blockB.nUnits, nTokens, linalg);
      for (let i = 0; i < blockA.nUnits; i++) {
        for (let j = 0; j < blockB.nUnits; j++) {
          const value = r[i * blockB.nUnits + j]!;
          if (value > correlation[firstA + i]!) {
            correlation[firstA + i] = value;
            match[firstA + i] = firstB + j;
          }
          keepNearest(nearest, nearestUnits, firstB + j, value, firstA + i);
        }
      }
      for (const [k, best] of [orthogonal, gaussian].entries()) {
        const turned = await linalg.matmul(matrix(r, blockA.nUnits, blockB.nUnits), rotations[k]!);
        for (let i = 0; i < blockA.nUnits; i++) {
          for (let j = 0; j < blockB.nUnits; j++) {
            const value = turned.data[i * blockB.nUnits + j]!;
            if (value > best[firstA + i]!) best[firstA + i] = value;
          }
        }
      }
      firstA += blockA.nUnits;
      onProgress?.({
        stage: "comparing units",
        done: ++done,
        total: a.length * b.length,
        unit: "pairs of layers",
      });
    }
    firstB += blockB.nUnits;
  }
  const rosetta = Array.from(match, (unit, i) => ({ a: i, b: unit, r: correlation[i]! })).filter(
    (pair) =>
      pair.r > 0 &&
      nearestUnits.subarray(pair.b * NEIGHBOURS, (pair.b + 1) * NEIGHBOURS).includes(pair.a),
  );
  return {
    correlation,
    match,
    orthogonalBaseline: orthogonal,
    gaussianBaseline: gaussian,
    orthogonalExcess: correlation.map((r, i) => r - orthogonal[i]!),
    gaussianExcess: correlation.map((r, i) => r - gaussian[i]!),
    rosetta,
    nTokens,
  };
}

/** Layers of one width share a rotation. */
function once<T>(make: (n: number) => T): (n: number) => T {
  const made = new Map<number, T>();
  return (n) => {
    const known = made.get(n) ?? make(n);
    made.set(n, known);
    return known;
  };
}

/** Standardized values, and what was divided by. */
interface Standardized {
  readonly values: Float32Array;
  readonly deviations: Float64Array;
}

function standardize(data: Float32Array, nUnits: number): Standardized {
  const n = data.length / nUnits;
  const values = new Float32Array(data.length);
  const deviations = new Float64Array(nUnits);
  for (let u = 0; u < nUnits; u++) {
    let mean = 0;
    for (let t = 0; t < n; t++) mean += data[u * n + t]!;
    mean /= n;
    let square = 0;
    for (let t = 0; t < n; t++) square += (data[u * n + t]! - mean) ** 2;
    const deviation = Math.sqrt(square / n);
    deviations[u] = deviation;
    if (deviation <= 1e-12 * Math.abs(mean)) continue;
    for (let t = 0; t < n; t++) values[u * n + t] = (data[u * n + t]! - mean) / deviation;
  }
  return { values, deviations };
}

const CHUNK = 4096;

/** Correlations `[nA, nB]`. */
async function product(
  a: Standardized,
  b: Standardized,
  nA: number,
  nB: number,
  n: number,
  linalg: Linalg,
): Promise<Float64Array> {
  const sums = new Float64Array(nA * nB);
  for (let from = 0; from < n; from += CHUNK) {
    const to = Math.min(n, from + CHUNK);
    const part = (values: Float32Array, nUnits: number): Matrix<Float32Array> => {
      const out = new Float32Array(nUnits * (to - from));
      for (let u = 0; u < nUnits; u++) {
        out.set(values.subarray(u * n + from, u * n + to), u * (to - from));
      }
      return matrix(out, nUnits, to - from);
    };
    const { data } = await linalg.matmul(part(a.values, nA), part(b.values, nB), {
      transposeB: true,
    });
    for (let i = 0; i < sums.length; i++) sums[i]! += data[i]! / n;
  }
  return sums;
}

/** The matrix that turns correlations with a layer's units into those with its rotated ones, `[nUnits, nUnits]`. */
async function rotated(
  rotation: Matrix<Float64Array>,
  covariance: Float64Array,
  scale: Float64Array,
  linalg: Linalg,
): Promise<Matrix<Float64Array>> {
  const n = rotation.nRows;
  const half = await linalg.matmul(rotation, matrix(covariance, n, n));
  const out = new Float64Array(n * n);
  for (let j = 0; j < n; j++) {
    let variance = 0;
    for (let i = 0; i < n; i++) variance += half.data[j * n + i]! * rotation.data[j * n + i]!;
    const deviation = Math.sqrt(Math.max(0, variance));
    if (deviation === 0) continue;
    for (let i = 0; i < n; i++) {
      out[i * n + j] = (scale[i]! * rotation.data[j * n + i]!) / deviation;
    }
  }
  return matrix(out, n, n);
}

function gaussianRotation(n: number, seed: number): Matrix<Float64Array> {
  const rng = createRng(seed, 91);
  const data = Float64Array.from({ length: n * n }, () => rng.normal());
  for (let j = 0; j < n; j++) {
    const row = data.subarray(j * n, (j + 1) * n);
    const length = Math.hypot(...row);
    for (let i = 0; i < n; i++) row[i]! /= length;
  }
  return matrix(data, n, n);
}

/** Uniform over orthogonal matrices: the first factor of a normal matrix, as the diagonal of the second is positive. */
function orthogonalRotation(n: number, seed: number): Matrix<Float64Array> {
  const rng = createRng(seed, 92);
  const normal = Float64Array.from({ length: n * n }, () => rng.normal());
  return qr(matrix(normal, n, n)).q;
}

function keepNearest(
  values: Float64Array,
  units: Int32Array,
  row: number,
  value: number,
  unit: number,
): void {
  let place = row * NEIGHBOURS + NEIGHBOURS - 1;
  if (value <= values[place]!) return;
  for (; place > row * NEIGHBOURS && values[place - 1]! < value; place--) {
    values[place] = values[place - 1]!;
    units[place] = units[place - 1]!;
  }
  values[place] = value;
  units[place] = unit;
}

/**
 * The layers of a census as `compareUnits` takes them.
 *
 * @param options.maxTokens - The first so many kept tokens; default 16384.
 *
 * @example
 * import { mkdtemp } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 * import { join } from "node:path";
 * const source = plantedSource({ words: ["a", "b"], units: [{ name: "b", active: (words, i) => words[i] === "b" }], misses: 0, falseAnswers: 0 });
 * const documents = Array.from({ length: 20 }, (_, d) => ({ tokens: [0, d % 2, 1 - (d % 2), d % 3 === 0 ? 1 : 0] }));
 * const census = await takeCensus(source, documents, `${await mkdtemp(join(tmpdir(), "census-"))}/planted`);
 * censusBlocks(census)[0].nTokens // => 80
 * await census.close();
 */
export function censusBlocks(
  census: Census,
  { maxTokens = 16384 }: { maxTokens?: number | undefined } = {},
): UnitBlock[] {
  const nTokens = Math.min(maxTokens, census.meta.nKeptTokens);
  const { corpusSha256, keepShare, seed } = census.meta;
  return census.meta.hooks.map(({ name, firstUnit, nUnits }) => ({
    name,
    nUnits,
    nTokens,
    corpus: `${corpusSha256} ${keepShare} ${seed}`,
    read: () => census.block(firstUnit, nUnits, { to: nTokens }),
  }));
}
