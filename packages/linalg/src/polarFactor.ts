import { type FloatArray, ShapeError } from "@penfield/core";
import { eigenSymmetric } from "./eigenSymmetric.ts";
import { type GraphNode, graphModel } from "./graphModel.ts";
import type { Linalg, MatrixBatch } from "./linalg.ts";
import { asFloat64, checkFinite, type Matrix, transpose } from "./matrix.ts";
import { qr } from "./qr.ts";
import { thinSvd } from "./thinSvd.ts";

/** Orthogonal factors, and whether they are what they should be. */
interface PolarFactors {
  /** `[count, nRows, nColumns]`: orthonormal columns (rows, if there are fewer of them). */
  readonly factors: MatrixBatch;
  /** Per matrix: the greatest entry of |U^T U - I| one step before the end; what is left is about its cube. */
  readonly departure: Float64Array;
}

/** Singular values down to this share of the largest one reach 1 within the steps of one pass. */
const POLAR_REACH = 1e-7;

/** Below this before the last step, the factor is orthogonal to rounding after it. */
const CONVERGED = 1e-5;

/**
 * The orthogonal polar factor: of all matrices with orthonormal columns, the one that is nearest to a,
 * and the one with the greatest inner product with it (the answer to orthogonal Procrustes problems).
 *
 *   a = U S V^T,  factor = U V^T,  <factor, a> = sum of the singular values
 *
 * Matrix polynomials of degree 5 push all singular values to 1; the coefficients of each step are the
 * best ones for the interval that the values are in by then. All steps are one graph on onnxruntime, in
 * float64. If values below 1e-14 of the largest are left, the factor is not unique and comes from the
 * singular value decomposition.
 *
 * @param a - `[n, p]`, finite; columns orthonormal in the result if n >= p, else rows.
 * @param options.reach - As of {@link polarFactors}.
 * @returns `[n, p]`. Zero for a zero matrix has no meaning: any orthonormal columns are returned.
 * @throws {ShapeError} if the matrix is empty.
 * @throws {DataError} if a value is not finite.
 *
 * Cost: about 14 steps of three products: 84 n^3 operations if square, at the speed of matmul (0.15-0.3 s at 512);
 * one pass more for condition numbers over 1e7; a singular value decomposition for rank-deficient matrices.
 * Source: Bjorck & Bowie (1971); Nakatsukasa & Freund (2016), SIAM Review 58; Amsel et al. (2025), arXiv:2505.16932.
 *
 * @example
 * const linalg = createLinalg();
 * (await polarFactor(matrix(Float64Array.of(2, 0, 0, -3), 2, 2), linalg)).data.map(Math.round).join(" ") // => "1 0 0 -1"
 */
export async function polarFactor(
  a: Matrix,
  linalg: Linalg,
  { reach = POLAR_REACH }: { reach?: number | undefined } = {},
): Promise<Matrix<Float64Array>> {
  const { nRows, nColumns } = a;
  if (Math.min(nRows, nColumns) <= SMALL) {
    checkNotEmpty("polarFactor", nRows, nColumns);
    return factorBySvd(a);
  }
  const batch = { data: asFloat64(a.data), count: 1, nRows, nColumns };
  const { data } = await polarFactors(batch, linalg, { reach });
  return { data, nRows, nColumns };
}

const SMALL = 6;

/**
 * The polar factors of many matrices of one shape, in one call.
 *
 * @param a - `[count, n, p]`, finite.
 * @param options.reach - The share of the largest singular value down to which the first pass goes. Default 1e-7. With a
 *   larger one it has fewer steps, and a second pass follows where they did not do.
 * @returns `[count, n, p]`; see {@link polarFactor}.
 * @throws {ShapeError} if the matrices are empty.
 * @throws {DataError} if a value is not finite.
 *
 * @example
 * const linalg = createLinalg();
 * const two = { data: Float64Array.of(2, 0, 0, 3, 0, 5, -4, 0), count: 2, nRows: 2, nColumns: 2 };
 * (await polarFactors(two, linalg)).data.map(Math.round).join(" ") // => "1 0 0 1 0 1 -1 0"
 */
export async function polarFactors(
  a: MatrixBatch,
  linalg: Linalg,
  { reach = POLAR_REACH }: { reach?: number | undefined } = {},
): Promise<MatrixBatch> {
  let result = await polarPass(a, linalg, reach);
  if (result.departure.some((d) => !(d < CONVERGED))) {
    result = await polarPass(result.factors, linalg);
    if (reach > POLAR_REACH && result.departure.some((d) => !(d < CONVERGED))) {
      result = await polarPass(result.factors, linalg);
    }
  }
  const { data } = result.factors;
  const size = a.nRows * a.nColumns;
  for (let i = 0; i < a.count; i++) {
    if (result.departure[i]! < CONVERGED) continue;
    const part = (from: Float64Array) => ({
      data: from.slice(i * size, (i + 1) * size),
      nRows: a.nRows,
      nColumns: a.nColumns,
    });
    data.set((await completed(part(a.data), part(data), linalg)).data, i * size);
  }
  return result.factors;
}

/** The factor of a rank-deficient matrix, from what the passes gave: v are eigenvectors of w^T a, and w v orthonormal where it has length. */
async function completed(
  a: Matrix<Float64Array>,
  w: Matrix<Float64Array>,
  linalg: Linalg,
): Promise<Matrix<Float64Array>> {
  if (Math.min(a.nRows, a.nColumns) <= SMALL) return factorBySvd(a);
  if (a.nRows < a.nColumns) {
    return transpose(await completed(transpose(a), transpose(w), linalg));
  }
  const h = await linalg.matmul(w, a, { transposeA: true });
  const p = a.nColumns;
  for (let i = 0; i < p; i++) {
    for (let j = 0; j < i; j++) {
      h.data[i * p + j] = (h.data[i * p + j]! + h.data[j * p + i]!) / 2;
    }
  }
  const { vectors } = await eigenSymmetric(h, linalg);
  const { q } = qr(await linalg.matmul(w, vectors, { transposeB: true }));
  return linalg.matmul(q, vectors);
}

/**
 * One pass of steps, without a second pass or fallback: singular values above `reach` of the
 * largest become 1, smaller ones something between themselves (over the largest) and 1.
 */
async function polarPass(
  a: MatrixBatch,
  linalg: Linalg,
  reach: number = POLAR_REACH,
): Promise<PolarFactors> {
  const { count, nRows, nColumns } = a;
  checkNotEmpty("polarFactors", nRows * count, nColumns);
  checkFinite("polarFactors", a.data, nColumns);
  const tall = nRows >= nColumns;
  const k = Math.min(nRows, nColumns);
  const shape = [count, nRows, nColumns];
  const name = `polar ${tall ? "tall" : "wide"} ${reach}`;
  const { u, g } = await linalg.runGraph(name, () => polarModel(tall, reach), {
    a: { data: unitScale(a), shape },
    identity: { data: identity(k), shape: [1, k, k] },
  });
  const factors = { data: asFloat64(u!.data), count, nRows, nColumns };
  const departure = Float64Array.from({ length: count }, (_, i) => {
    let worst = 0;
    for (let r = 0; r < k; r++) {
      for (let c = 0; c < k; c++) {
        const off = Math.abs(g!.data[(i * k + r) * k + c]! - (r === c ? 1 : 0));
        if (!(off <= worst)) worst = off;
      }
    }
    return worst;
  });
  return { factors, departure };
}

/** Each matrix over its largest entry, so that squares neither overflow nor vanish. */
function unitScale({ data, count, nRows, nColumns }: MatrixBatch): Float64Array {
  const size = nRows * nColumns;
  const scaled = new Float64Array(data.length);
  for (let i = 0; i < count; i++) {
    let largest = 0;
    for (let j = i * size; j < (i + 1) * size; j++) {
      largest = Math.max(largest, Math.abs(data[j]!));
    }
    if (largest === 0) continue;
    for (let j = i * size; j < (i + 1) * size; j++) scaled[j] = data[j]! / largest;
  }
  return scaled;
}

/** Nodes of a graph that is being put together. */
interface GraphParts {
  readonly nodes: GraphNode[];
  readonly scalars: Record<string, number>;
  readonly node: (op: string, inputs: readonly string[], output: string) => string;
}

function graphParts(): GraphParts {
  const nodes: GraphNode[] = [];
  const node = (op: string, inputs: readonly string[], output: string): string => {
    nodes.push(
      op === "Transpose"
        ? { op, inputs, output, attributes: { perm: [0, 2, 1] } }
        : op === "ReduceSum"
          ? { op, inputs, output, attributes: { keepdims: 1 } }
          : { op, inputs, output },
    );
    return output;
  };
  return { nodes, scalars: { tiny: 1e-30 }, node };
}

/** One step of a schedule: `p = a I + c (G + b/c I) G`, which is a I + b G + c G^2 with few passes over G. */
function addPolynomial(
  { node, scalars }: GraphParts,
  [a, b, c]: readonly [number, number, number],
  g: string,
  i: number,
): string {
  Object.assign(scalars, { [`a${i}`]: a, [`bc${i}`]: b / c, [`c${i}`]: c });
  node("Mul", ["identity", `bc${i}`], `bcI${i}`);
  node("Mul", ["identity", `a${i}`], `aI${i}`);
  node("Add", [g, `bcI${i}`], `shifted${i}`);
  node("MatMul", [`shifted${i}`, g], `square${i}`);
  node("Mul", [`square${i}`, `c${i}`], `upper${i}`);
  return node("Add", [`upper${i}`, `aI${i}`], `p${i}`);
}

/** G = X^T X, or from the left for more columns than rows. */
function addGram({ node }: GraphParts, x: string, tall: boolean, output: string): string {
  const t = node("Transpose", [x], `${x}_t`);
  return node("MatMul", tall ? [t, x] : [x, t], output);
}

/**
 * X <- X (a I + b G + c G^2) with G = X^T X (or from the left), for every step of the schedule but the last, and the G that the last
 * one needs. The first G also gives the scale: |G|_F^(1/2) is at least the largest singular value, and much nearer to it than |X|_F.
 */
function addPolarNodes(
  parts: GraphParts,
  input: string,
  tall: boolean,
  steps: ReturnType<typeof polarSchedule>,
): { readonly x: string; readonly g: string } {
  const { node } = parts;
  const first = addGram(parts, input, tall, "gram");
  node("Mul", [first, first], "gramSquares");
  node("ReduceSum", ["gramSquares", "axes"], "sumOfSquares");
  node("Add", ["sumOfSquares", "tiny"], "positive");
  node("Sqrt", ["positive"], "square");
  node("Sqrt", ["square"], "scale");
  let x = node("Div", [input, "scale"], "x0");
  let g = node("Div", [first, "square"], "g0");
  steps.slice(0, -1).forEach((step, i) => {
    const p = addPolynomial(parts, step, g, i);
    x = node("MatMul", tall ? [x, p] : [p, x], `x${i + 1}`);
    g = addGram(parts, x, tall, i === steps.length - 2 ? "g" : `g${i + 1}`);
  });
  return { x, g };
}

function polarModel(tall: boolean, reach: number): Uint8Array {
  const parts = graphParts();
  const steps = polarSchedule(reach);
  const { x, g } = addPolarNodes(parts, "a", tall, steps);
  const p = addPolynomial(parts, steps.at(-1)!, g, steps.length - 1);
  parts.node("MatMul", tall ? [x, p] : [p, x], "u");
  return graphModel({
    elementType: "float64",
    inputs: { a: ["count", "rows", "columns"], identity: ["one", "k", "k2"] },
    outputs: { u: ["count", "rows", "columns"], g: ["count", "k", "k2"] },
    nodes: parts.nodes,
    scalars: parts.scalars,
    lists: { axes: [1, 2] },
  });
}

/** What {@link alignedCross} gives. */
export interface AlignedCross {
  /** sum_i y_i^T polar(y_i t x_i^T) x_i, `[p, p]`. */
  readonly cross: Matrix<Float64Array>;
  /** The root of the sum over all i of |(Q^T Q - I) x_i|_F^2 one step before the end. */
  readonly departure: number;
}

/**
 * The step that stochastic shape metrics repeat: for every i the orthogonal Q_i that brings y_i t nearest to x_i,
 * and the sum of y_i^T Q_i x_i; in one graph, nothing of it copied.
 *
 * @param y - `[count, p, p]`; float32 arrays make the whole step float32, at twice the speed, and
 *   leave out the last step: singular values are then within 2e-6 of 1 at reaches of 0.044, 0.0107 and 2.5e-3, within 1e-4 at others.
 * @param t - `[p, p]`.
 * @param x - `[count, p, p]`.
 * @param reach - Singular values of y_i t x_i^T below this share of the largest do not reach 1: then departure says so, unless
 *   nothing of x_i is in their directions.
 *
 * Cost: about 2 (4 + 3 steps) count p^3 operations, 5 steps at reach 0.03 and 7 at 1.6e-3 (float32: 4 and 6).
 *
 * @example
 * const linalg = createLinalg();
 * const one = { data: Float64Array.of(2, 0, 0, 3), count: 1, nRows: 2, nColumns: 2 };
 * const t = matrix(Float64Array.of(1, 0, 0, 1), 2, 2);
 * (await alignedCross(linalg, one, t, one, 1e-3)).cross.data.map(Math.round).join(" ") // => "4 0 0 9"
 */
export async function alignedCross(
  linalg: Linalg,
  y: { readonly data: FloatArray; readonly count: number; readonly nRows: number },
  t: Matrix,
  x: { readonly data: FloatArray },
  reach: number,
): Promise<AlignedCross> {
  const { count, nRows: p } = y;
  const single = y.data instanceof Float32Array;
  const elementType = single ? "float32" : "float64";
  const as = (data: FloatArray): FloatArray => (single ? Float32Array.from(data) : asFloat64(data));
  const { cross, departure } = await linalg.runGraph(
    `aligned ${elementType} ${reach}`,
    () => alignedModel(elementType, reach),
    {
      y: { data: y.data, shape: [count * p, p] },
      x: { data: x.data, shape: [count, p, p] },
      t: { data: as(t.data), shape: [p, p] },
      identity: { data: as(identity(p)), shape: [1, p, p] },
    },
  );
  return {
    cross: { data: asFloat64(cross!.data), nRows: p, nColumns: p },
    departure: Math.sqrt(departure!.data[0]!),
  };
}

function alignedModel(elementType: "float32" | "float64", reach: number): Uint8Array {
  const parts = graphParts();
  const { node } = parts;
  node("Shape", ["x"], "batch");
  node("Shape", ["y"], "stack");
  // All y below each other: one product instead of many.
  node("MatMul", ["y", "t"], "yt");
  node("Reshape", ["yt", "batch"], "turned");
  node("Transpose", ["x"], "xT");
  node("MatMul", ["turned", "xT"], "product");
  // The schedule ends with two steps of Newton-Schulz: values are within 1e-4 of 1 before both, 1e-12 between.
  const steps = polarSchedule(reach).slice(0, elementType === "float32" ? -2 : -1);
  const { x, g } = addPolarNodes(parts, "product", true, steps);
  // The last step is taken on x: (a I + c (G + b/c I) G) x.
  const [a, b, c] = steps.at(-1)!;
  Object.assign(parts.scalars, { a, bc: b / c, c });
  node("Mul", ["identity", "bc"], "bcI");
  node("MatMul", [g, "x"], "gx");
  node("Add", [g, "bcI"], "lastShifted");
  node("MatMul", ["lastShifted", "gx"], "lastSquare");
  node("Mul", ["lastSquare", "c"], "lastUpper");
  node("Mul", ["x", "a"], "ax");
  node("Add", ["lastUpper", "ax"], "px");
  node("MatMul", [x, "px"], "qx");
  node("Reshape", ["qx", "stack"], "stacked");
  parts.nodes.push({
    op: "Gemm",
    inputs: ["y", "stacked"],
    output: "cross",
    attributes: { transA: 1 },
  });
  node("Sub", ["gx", "x"], "off");
  node("Mul", ["off", "off"], "offSquares");
  node("ReduceSum", ["offSquares", "all"], "departure");
  return graphModel({
    elementType,
    inputs: {
      y: ["rows", "p"],
      x: ["count", "p", "p2"],
      t: ["p", "p2"],
      identity: ["one", "p", "p2"],
    },
    outputs: { cross: ["p", "p2"], departure: ["one", "one1", "one2"] },
    nodes: parts.nodes,
    scalars: parts.scalars,
    lists: { axes: [1, 2], all: [0, 1, 2] },
  });
}

function identity(p: number): Float64Array {
  const data = new Float64Array(p * p);
  for (let i = 0; i < p; i++) data[i * p + i] = 1;
  return data;
}

/**
 * Coefficients of odd polynomials of degree 5 whose composition takes [reach, 1] to 1: each is the
 * minimax approximation of 1 on the interval that the one before leaves; two Newton-Schulz steps end it.
 */
export function polarSchedule(reach: number): readonly (readonly [number, number, number])[] {
  const steps: [number, number, number][] = [];
  let lower = reach;
  while (1 - lower > 1e-4) {
    // The first polynomials are steep at 1, so that a rounding above it would grow: values are kept off it.
    const inside = lower < 0.5 ? 0.999 : 1;
    const [a, b, c, error] = bestQuintic(lower * inside);
    // Divided by the largest value that can come out, the next interval ends at 1 again.
    const top = 1 + error;
    steps.push([(a * inside) / top, (b * inside ** 3) / top, (c * inside ** 5) / top]);
    lower = (1 - error) / top;
  }
  steps.push([15 / 8, -10 / 8, 3 / 8], [15 / 8, -10 / 8, 3 / 8]);
  return steps;
}

/** Remez exchange for min over (a, b, c) of max over [lower, 1] of |1 - a x - b x^3 - c x^5|. */
function bestQuintic(lower: number): [a: number, b: number, c: number, error: number] {
  let q = (3 * lower + 1) / 4;
  let r = (lower + 3) / 4;
  let solution: [number, number, number, number] = [15 / 8, -10 / 8, 3 / 8, 0];
  for (let round = 0; round < 100; round++) {
    const next = solveFour([lower, q, r, 1]);
    const settled = Math.abs(next[3] - solution[3]) <= 1e-14;
    solution = next;
    if (settled) break;
    // The inner extremes are where the derivative a + 3 b x^2 + 5 c x^4 vanishes.
    const [a, b, c] = solution;
    const root = Math.sqrt(Math.max(0, 9 * b * b - 20 * a * c));
    const x1 = (-3 * b + root) / (10 * c);
    const x2 = (-3 * b - root) / (10 * c);
    q = Math.sqrt(Math.min(x1, x2));
    r = Math.sqrt(Math.max(x1, x2));
  }
  return solution;
}

/** a x + b x^3 + c x^5 + (+-) e = 1 at four points, the sign of e alternating from + at the first. */
function solveFour(points: readonly number[]): [number, number, number, number] {
  const rows = points.map((x, i) => [x, x ** 3, x ** 5, i % 2 === 0 ? 1 : -1, 1]);
  for (let k = 0; k < 4; k++) {
    let pivot = k;
    for (let i = k + 1; i < 4; i++) {
      if (Math.abs(rows[i]![k]!) > Math.abs(rows[pivot]![k]!)) pivot = i;
    }
    [rows[k], rows[pivot]] = [rows[pivot]!, rows[k]!];
    for (let i = 0; i < 4; i++) {
      if (i === k) continue;
      const by = rows[i]![k]! / rows[k]![k]!;
      for (let j = k; j < 5; j++) rows[i]![j]! -= by * rows[k]![j]!;
    }
  }
  return rows.map((row, k) => row[4]! / row[k]!) as [number, number, number, number];
}

/** U V^T; where a singular value is zero, the vectors that the decomposition happens to give. */
function factorBySvd(a: Matrix): Matrix<Float64Array> {
  const { u, v } = thinSvd(a);
  const k = u.nColumns;
  const data = new Float64Array(a.nRows * a.nColumns);
  for (let i = 0; i < a.nRows; i++) {
    for (let j = 0; j < a.nColumns; j++) {
      let sum = 0;
      for (let l = 0; l < k; l++) sum += u.data[i * k + l]! * v.data[j * k + l]!;
      data[i * a.nColumns + j] = sum;
    }
  }
  return { data, nRows: a.nRows, nColumns: a.nColumns };
}

function checkNotEmpty(name: string, nRows: number, nColumns: number): void {
  if (nRows === 0 || nColumns === 0) {
    throw new ShapeError(`${name}: expected values, got ${nRows} x ${nColumns}`);
  }
}
