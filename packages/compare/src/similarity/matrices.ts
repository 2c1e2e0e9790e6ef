import {
  type Activations,
  ArgumentError,
  type LongWork,
  ShapeError,
  throwIfAborted,
} from "@penfield/core";
import type { Linalg } from "@penfield/linalg";
import { callKey, keptNumbers, type Resumable } from "../rsa/kept.ts";
import { createShapeMemory } from "../shape/shapeMetric.ts";
import type { CkaOptions, Kernel } from "./cka.ts";
import { cka } from "./cka.ts";
import { representationMeasures } from "./measures.ts";
import {
  centred,
  checkOneOf,
  type Dense,
  dense,
  inner,
  norm,
  squaredDistancesFromGram,
} from "./pair.ts";

const GIGABYTE = 2 ** 30;

/**
 * CKA of every layer of one network with every layer of another (or itself): the classic heat map. Every
 * kernel is made, centred and normalized once; all pairs are then one matrix product.
 *
 * @param xs - Activations of the same stimuli, `[n, p_i]` each.
 * @param ys - `[n, q_j]` each. Give the same list for layers within one network.
 * @param options.estimator - "biased" or "unbiased". Default "unbiased".
 * @param options.kernel - Default linear.
 * @param options.maxKernelBytes - If all kernels together are larger (default 1 GiB), pairs are computed one by one.
 * @returns `[xs.length, ys.length]`; NaN as {@link cka}.
 * @throws {ShapeError} if a list is empty, or the stimuli differ or are too few.
 * @throws {DataError} if a value is not finite.
 * @throws {ArgumentError} if an option is unknown.
 *
 * Cost: 2 n^2 p per layer and 2 n^2 per pair. Memory: an n x n kernel per layer.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = activations([[1, 0], [0, 1], [-1, -1], [2, 1], [0, 3]]);
 * (await ckaMatrix(linalg, [x], [x])).data[0].toFixed(9) // => "1.000000000"
 */
export async function ckaMatrix(
  linalg: Linalg,
  xs: readonly Activations[],
  ys: readonly Activations[],
  {
    estimator = "unbiased",
    kernel = { type: "linear" },
    maxKernelBytes = GIGABYTE,
  }: Pick<CkaOptions, "kernel" | "maxKernelBytes"> & {
    readonly estimator?: "biased" | "unbiased" | undefined;
  } = {},
): Promise<Dense> {
  const name = "ckaMatrix";
  checkOneOf(name, "estimator", estimator, ["biased", "unbiased"]);
  checkOneOf(name, "kernel", kernel.type, ["linear", "rbf"]);
  if (xs.length === 0 || ys.length === 0) {
    throw new ShapeError(`${name}: expected layers of both, got ${xs.length} and ${ys.length}`);
  }
  const n = xs[0]!.shape[0];
  const odd = [...xs, ...ys].find((x) => x.shape[0] !== n);
  if (odd) {
    throw new ShapeError(
      `${name}: expected the same stimuli in all, got ${n} and ${odd.shape[0]} rows`,
    );
  }
  const shape = { nRows: xs.length, nColumns: ys.length };
  const layers = xs === ys ? xs.length : xs.length + ys.length;
  if (layers * n * n * 8 > maxKernelBytes) {
    const data = new Float64Array(xs.length * ys.length);
    for (let i = 0; i < xs.length; i++) {
      for (let j = 0; j < ys.length; j++) {
        const options = { estimator, kernel, maxKernelBytes } as const;
        data[i * ys.length + j] = await cka(linalg, xs[i]!, ys[j]!, options);
      }
    }
    return { data, ...shape };
  }
  const unbiased = estimator === "unbiased";
  const rows = async (list: readonly Activations[]): Promise<Dense> => {
    const data = new Float64Array(list.length * n * n);
    for (let i = 0; i < list.length; i++) {
      const one = dense(name, list[i]!, unbiased ? 4 : 2);
      data.set(await unitKernel(linalg, one, kernel, unbiased), i * n * n);
    }
    return { data, nRows: list.length, nColumns: n * n };
  };
  const a = await rows(xs);
  const b = xs === ys ? a : await rows(ys);
  return linalg.matmul(a, b, { transposeB: true });
}

/** A centred kernel over its norm; NaN where that is not positive. */
async function unitKernel(
  linalg: Linalg,
  x: Dense,
  kernel: Kernel,
  unbiased: boolean,
): Promise<Float64Array> {
  const n = x.nRows;
  const c = centred(x);
  const gram = await linalg.matmul(c, c, { transposeB: true });
  const k = kernel.type === "linear" ? gram.data : rbf(squaredDistancesFromGram(gram), kernel);
  if (norm(c.data) <= 1e-14 * norm(x.data)) return k.fill(Number.NaN);
  centre(k, n, unbiased);
  const size = Math.sqrt(inner(k, k));
  return k.map((v) => (size > 0 ? v / size : Number.NaN));
}

function rbf(
  squares: Float64Array,
  { scale = 1, bandwidth }: Extract<Kernel, { type: "rbf" }>,
): Float64Array {
  if (!(scale > 0) || (bandwidth !== undefined && !(bandwidth > 0))) {
    throw new ArgumentError("ckaMatrix: expected scale and bandwidth above 0");
  }
  const sorted = Float64Array.from(squares).sort();
  const [low, high] = [Math.floor((sorted.length - 1) / 2), Math.floor(sorted.length / 2)];
  const median = (sorted[low]! + sorted[high]!) / 2;
  const width = bandwidth === undefined ? scale * scale * median : bandwidth * bandwidth;
  return squares.map((d) => (width > 0 ? Math.expm1(-d / (2 * width)) : d === 0 ? 0 : -1));
}

/** Row and column means taken off; unbiased: off the diagonal only, which becomes 0 (Szekely & Rizzo 2014). */
function centre(k: Float64Array, n: number, unbiased: boolean): void {
  const rows = new Float64Array(n);
  let all = 0;
  for (let i = 0; i < n; i++) {
    if (unbiased) k[i * n + i] = 0;
    for (let j = 0; j < n; j++) rows[i]! += k[i * n + j]!;
    all += rows[i]!;
  }
  const byRow = unbiased ? n - 2 : n;
  const byAll = unbiased ? (n - 1) * (n - 2) : n * n;
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      k[i * n + j]! += all / byAll - (rows[i]! + rows[j]!) / byRow;
    }
    if (unbiased) k[i * n + i] = 0;
  }
}

/**
 * A measure of all pairs of networks.
 *
 * @param name - Of `representationMeasures`.
 * @param networks - Activations of the same stimuli, `[n, p_k]` each.
 * @param options - Progress in pairs, a signal that interrupts between two of them, and where finished pairs are kept.
 * @returns `[k, k]`: row i, column j is the measure of network i with network j. Distances have zeros on the diagonal; measures that
 *   are not symmetric are computed both ways.
 * @throws {ArgumentError} if there is no such measure.
 * @throws {InterruptedError} if the signal fires; called again with the same `keep` it goes on, to the same bits.
 * @throws As the measure.
 *
 * Cost: one measure per pair. Shape distances prepare each network once; for CKA, `ckaMatrix` shares work between pairs.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = activations([[1, 0], [0, 1], [-1, -1], [2, 1], [0, 3]]);
 * (await compareNetworks(linalg, "shape", [x, x])).data.every((d) => d < 1e-9) // => true
 */
export async function compareNetworks(
  linalg: Linalg,
  name: string,
  networks: readonly Activations[],
  { onProgress, signal, keep }: LongWork & Resumable = {},
): Promise<Dense> {
  const measure = representationMeasures.find((m) => m.name === name);
  if (!measure) {
    throw new ArgumentError(`compareNetworks: expected a known measure, got ${name}`, {
      hint: `Known are ${representationMeasures.map((m) => m.name).join(", ")}.`,
    });
  }
  const k = networks.length;
  const data = new Float64Array(k * k);
  const isDistance = measure.larger === "less alike";
  const memory = createShapeMemory();
  const pairs: [number, number][] = [];
  for (let i = 0; i < k; i++) {
    for (let j = measure.symmetric ? i : 0; j < k; j++) {
      if (i !== j || !isDistance) pairs.push([i, j]);
    }
  }
  const keys = keep && networks.map(({ data, shape }) => callKey(name, [data, shape]));
  for (const [done, [i, j]] of pairs.entries()) {
    throwIfAborted(signal, "compareNetworks");
    const key = keys ? `${keys[i]} ${keys[j]}` : "";
    const [value] = await keptNumbers(keep, key, 1, async () =>
      Float64Array.of(await measure.compute(linalg, networks[i]!, networks[j]!, memory)),
    );
    data[i * k + j] = value!;
    if (measure.symmetric) data[j * k + i] = value!;
    // Measures in plain arithmetic never let a signal through by themselves.
    await new Promise((resolve) => setImmediate(resolve));
    onProgress?.({ stage: "comparing", done: done + 1, total: pairs.length, unit: "pairs" });
  }
  return { data, nRows: k, nColumns: k };
}
