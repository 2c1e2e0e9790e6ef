import { type Activations, ArgumentError, ShapeError } from "@penfield/core";
import { type Linalg, polarFactor } from "@penfield/linalg";
import { assignment } from "../similarity/assignment.ts";
import { checkOneOf, checkWhole, type Dense, dense, norm } from "../similarity/pair.ts";

/**
 * The mean shape of several networks: the representation whose aligned copies are, on average,
 * nearest. All are aligned to the mean so far, averaged, and so on.
 *
 * @param networks - Activations of the same stimuli and as many units, `[n, p]` each.
 * @param options.group - "orthogonal" (default), "permutation", or "identity" for the plain mean.
 * @param options.start - Index of the network to start from. Default 0.
 * @param options.tolerance - Stop when the root mean square change is at most this. Default 1e-6.
 * @param options.iterations - At most so many. Default 100.
 * @returns The mean, and how many iterations it took. A local optimum: it depends on the start.
 * @throws {ShapeError} if shapes differ, or there is no network.
 * @throws {DataError} if a value is not finite.
 * @throws {ArgumentError} if an option is out of range.
 *
 * Cost: a product and a polar factor per network and iteration. Source: Gower (1975), Psychometrika 40. Matches netrep's frechet_mean (full_batch).
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = activations([[1, 2], [3, 5], [0, 1]]);
 * (await frechetMean(linalg, [x, x])).mean.data.map(Math.round).join(" ") // => "1 2 3 5 0 1"
 */
export async function frechetMean(
  linalg: Linalg,
  networks: readonly Activations[],
  {
    group = "orthogonal",
    start = 0,
    tolerance = 1e-6,
    iterations = 100,
  }: {
    group?: "orthogonal" | "permutation" | "identity" | undefined;
    start?: number | undefined;
    tolerance?: number | undefined;
    iterations?: number | undefined;
  } = {},
): Promise<{ readonly mean: Dense; readonly iterations: number }> {
  checkOneOf("frechetMean", "group", group, ["orthogonal", "permutation", "identity"]);
  checkWhole("frechetMean", "iterations", iterations, 1);
  if (!(tolerance >= 0)) {
    throw new ArgumentError(`frechetMean: expected tolerance at least 0, got ${tolerance}`);
  }
  const shapes = networks.map((x) => dense("frechetMean", x, 1));
  if (shapes.length === 0) throw new ShapeError("frechetMean: expected a network, got none");
  checkWhole("frechetMean", "start", start, 0, shapes.length - 1);
  const { nRows, nColumns } = shapes[0]!;
  const odd = shapes.find((x) => x.nRows !== nRows || x.nColumns !== nColumns);
  if (odd) {
    throw new ShapeError(
      `frechetMean: expected networks of one shape, got ${nRows} x ${nColumns} and ${odd.nRows} x ${odd.nColumns}`,
    );
  }
  let mean: Dense = shapes[start]!;
  let step = 0;
  for (let change = Number.POSITIVE_INFINITY; change > tolerance && step < iterations; step++) {
    const sum = new Float64Array(nRows * nColumns);
    for (const x of shapes) {
      const aligned = await alignTo(linalg, x, mean, group);
      for (let i = 0; i < sum.length; i++) sum[i]! += aligned.data[i]! / shapes.length;
    }
    const before = mean.data;
    change = norm(sum.map((v, i) => v - before[i]!)) / Math.sqrt(sum.length);
    mean = { data: sum, nRows, nColumns };
    if (group === "identity") return { mean, iterations: 1 };
  }
  return { mean, iterations: step };
}

async function alignTo(
  linalg: Linalg,
  x: Dense,
  target: Dense,
  group: "orthogonal" | "permutation" | "identity",
): Promise<Dense> {
  if (group === "identity") return x;
  const cross = await linalg.matmul(x, target, { transposeA: true });
  if (group === "orthogonal") return linalg.matmul(x, await polarFactor(cross, linalg));
  const { columns } = assignment(cross, { maximize: true });
  const data = new Float64Array(x.data.length);
  for (let i = 0; i < x.nRows; i++) {
    for (let j = 0; j < x.nColumns; j++) {
      data[i * x.nColumns + columns[j]!] = x.data[i * x.nColumns + j]!;
    }
  }
  return { ...x, data };
}
