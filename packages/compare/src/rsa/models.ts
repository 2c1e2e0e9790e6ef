import { ArgumentError, createRng, DataError } from "@penfield/core";
import { choleskySolve, type Linalg, matrix } from "@penfield/linalg";
import {
  type CompareOptions,
  comparableRows,
  compareRdms,
  isRowMethod,
  lessMeans,
  presentPairs,
  presentRows,
  type RdmComparison,
} from "./compareRdms.ts";
import { meanOf } from "./noiseCeiling.ts";
import { withLinalg } from "./products.ts";
import { type Label, makeRdms, type Rdms, rdmRow } from "./rdms.ts";
import { type Rows, whitenedRows } from "./whiten.ts";

/** A prediction of RDMs, with or without parameters. */
export interface RdmModel {
  readonly name: Label;
  /**
   * `fixed`: one RDM. `select`: the best of several. `weighted`: a sum of several with weights. `interpolate`: a point on
   * the line through several, between two neighbours.
   */
  readonly kind: "fixed" | "select" | "weighted" | "interpolate";
  /** The RDMs it is made of. */
  readonly rdms: Rdms;
}

/**
 * Models of one RDM each.
 *
 * @example
 * fixedModels(rdms([[1, 2, 3], [3, 2, 1]], { names: ["up", "down"] }))[1].name // => "down"
 */
export function fixedModels(from: Rdms): RdmModel[] {
  return from.names.map((name, k) => ({
    name,
    kind: "fixed",
    rdms: { ...from, data: rdmRow(from, k).slice(), nRdms: 1, names: [name] },
  }));
}

/** Weights of a model's RDMs, `[nRdms]`. */
export type ModelWeights = Float64Array;

/**
 * The RDM that a model predicts.
 *
 * @param model - Any kind.
 * @param weights - From {@link fitModel}; a fixed model needs none.
 * @throws {ArgumentError} if there is not one weight per RDM of the model.
 *
 * @example
 * const model = { name: "mix", kind: "weighted", rdms: rdms([[1, 2, 3], [0, 0, 1]]) };
 * predictRdm(model, [2, 1]).data.join(" ") // => "2 4 7"
 */
export function predictRdm(
  { name, kind, rdms }: RdmModel,
  weights: ArrayLike<number> = kind === "fixed" ? [1] : [],
): Rdms {
  if (weights.length !== rdms.nRdms) {
    throw new ArgumentError(
      `predictRdm: expected ${rdms.nRdms} weights for model ${name}, got ${weights.length}`,
      { hint: "fitModel finds them; use cross-validation to judge a fitted model." },
    );
  }
  const data = new Float64Array(rdms.nPairs);
  for (let k = 0; k < rdms.nRdms; k++) {
    const weight = weights[k]!;
    // 0 times NaN is no NaN here: an RDM that is not selected is not used.
    if (weight === 0) continue;
    for (let p = 0; p < data.length; p++) data[p]! += weight * rdms.data[k * rdms.nPairs + p]!;
  }
  return { ...rdms, data, nRdms: 1, names: [name] };
}

/** How weights of a weighted model are found. */
export type ModelFitter = "regress" | "regress-nn" | "optimize" | "optimize-positive";

/** How a model is fitted. */
export interface FitOptions extends CompareOptions {
  /**
   * For weighted models. `regress`: least squares to the pooled data, in the comparison's inner product; `regress-nn`: with
   * weights of at least 0; `optimize`, `optimize-positive`: by the score itself. Default `regress-nn` where the
   * comparison has an inner product (cosine, pearson, whitened), else `optimize-positive`.
   */
  readonly fitter?: ModelFitter | undefined;
  /** Added to the diagonal of the normal equations. Default 0. */
  readonly ridge?: number | undefined;
  /** For `optimize` with rank correlations: seed of the random starts. Default 0. */
  readonly seed?: number | undefined;
}

const LINEAR: readonly RdmComparison[] = [
  "cosine",
  "pearson",
  "whitened-cosine",
  "whitened-pearson",
];

/**
 * Weights with which a model predicts RDMs best.
 *
 *   select        1 for the RDM of the highest mean score, else 0
 *   weighted      argmin |y - X w|^2 (+ ridge |w|^2), in the inner product of the comparison; scaled to |w| = 1
 *   interpolate   w and 1 - w for two neighbours, by golden section
 *
 * For cosine, pearson and the whitened comparisons `optimize` has the closed form of `regress` (y: the mean of the data
 * scaled to unit length), so both are the same. For others it is a simplex search from the Pearson solution and from
 * 2 nRdms random places.
 *
 * @param model - Not changed; a fixed one has the weight 1.
 * @param data - RDMs of the same conditions.
 * @param options - The comparison and the fitter.
 * @returns `[model.rdms.nRdms]`; all 0 if no weight of at least 0 is better than none.
 * @throws {DataError} if the model's RDMs depend on one another (without ridge).
 * @throws {ArgumentError} if the fitter does not go with the comparison.
 *
 * Source: Khaligh-Razavi & Kriegeskorte (2014), PLoS Comput Biol 10:e1003915; non-negative: Bro & de Jong (1997), J Chemometrics
 * 11:393-401. Matches rsatoolbox.model.fitter.
 *
 * @example
 * const model = { name: "mix", kind: "weighted", rdms: rdms([[1, 0, 0], [0, 1, 0]]) };
 * (await fitModel(model, rdms([[3, 4, 0]]), { method: "cosine" })).map((w) => Math.round(w * 10) / 10).join(" ") // => "0.6 0.8"
 */
export function fitModel(
  model: RdmModel,
  data: Rdms,
  options: FitOptions = {},
): Promise<ModelWeights> {
  const { method = "pearson", ridge = 0, seed = 0 } = options;
  const linear = LINEAR.includes(method);
  const { fitter = linear ? "regress-nn" : "optimize-positive" } = options;
  if (!["regress", "regress-nn", "optimize", "optimize-positive"].includes(fitter)) {
    throw new ArgumentError(
      `fitModel: expected fitter regress, regress-nn, optimize or optimize-positive, got ${fitter}`,
    );
  }
  const n = model.rdms.nRdms;
  return withLinalg(options.linalg, async (linalg) => {
    if (model.kind === "fixed") return Float64Array.of(1);
    const score = await scorer(linalg, model.rdms, data, { ...options, method });
    if (model.kind === "select") return select(model.rdms, score);
    if (model.kind === "interpolate") return interpolate(model, score);
    const positive = fitter === "regress-nn" || fitter === "optimize-positive";
    if (linear) return regress(linalg, model.rdms, data, { ...options, method }, ridge, positive);
    if (fitter.startsWith("regress")) {
      throw new ArgumentError(
        `fitModel: expected cosine, pearson or a whitened comparison for ${fitter}, got ${method}`,
        { hint: "Use the fitter optimize or optimize-positive." },
      );
    }
    const start = await regress(linalg, model.rdms, data, { method: "pearson" }, 1e-9, positive);
    const rng = createRng(seed);
    const starts = [
      start,
      ...Array.from({ length: 2 * n }, () => Float64Array.from({ length: n }, () => rng.uniform())),
    ];
    const loss = async (w: Float64Array) => {
      const weights = positive ? w.map((v) => v * v) : w;
      const [value] = await score(predictRdm(model, weights));
      return Number.isNaN(value!) ? 2 : -value! + ridge * meanSquare(weights);
    };
    let best: { x: Float64Array; value: number } | undefined;
    for (const from of starts) {
      const found = await simplex(loss, positive ? from.map(Math.sqrt) : from);
      if (!best || found.value < best.value) best = found;
    }
    return unit(positive ? best!.x.map((v) => v * v) : best!.x);
  });
}

const meanSquare = (w: Float64Array): number => w.reduce((sum, v) => sum + v * v, 0);

const unit = (w: Float64Array): Float64Array => {
  const norm = Math.sqrt(meanSquare(w));
  return norm === 0 ? w : w.map((v) => v / norm);
};

type Score = (predictions: Rdms) => Promise<Float64Array>;

/** Mean similarities of predictions with the data, which are prepared once. */
async function scorer(
  linalg: Linalg,
  model: Rdms,
  data: Rdms,
  options: CompareOptions & { readonly method: RdmComparison },
): Promise<Score> {
  const { method, sigmaK, compat = "exact" } = options;
  if (!isRowMethod(method)) {
    return async (predictions) => {
      const { data: similar } = await compareRdms(predictions, data, { ...options, linalg });
      return meanRows(similar, predictions.nRdms, data.nRdms);
    };
  }
  const present = presentPairs([model, data]);
  const prepare = (from: Rdms) => comparableRows(linalg, from, present, { method, sigmaK, compat });
  const rows = await prepare(data);
  return async (predictions) => {
    const left = await prepare(predictions);
    const similar = await linalg.matmul(
      matrix(left.data, left.nRows, left.nColumns),
      matrix(rows.data, rows.nRows, rows.nColumns),
      { transposeB: true },
    );
    return meanRows(similar.data, predictions.nRdms, data.nRdms);
  };
}

const meanRows = (values: Float64Array, nRows: number, nColumns: number): Float64Array =>
  Float64Array.from({ length: nRows }, (_, i) =>
    meanOf(values.subarray(i * nColumns, (i + 1) * nColumns)),
  );

async function select(rdms: Rdms, score: Score): Promise<Float64Array> {
  const scores = await score(rdms);
  let best = 0;
  for (let k = 1; k < scores.length; k++) if (scores[k]! > scores[best]!) best = k;
  return Float64Array.from(scores, (_, k) => (k === best ? 1 : 0));
}

async function interpolate(model: RdmModel, score: Score): Promise<Float64Array> {
  const n = model.rdms.nRdms;
  let best: { w: number; pair: number; value: number } | undefined;
  for (let pair = 0; pair + 1 < n; pair++) {
    const weights = (w: number) =>
      Float64Array.from({ length: n }, (_, k) => (k === pair ? w : k === pair + 1 ? 1 - w : 0));
    const value = async (w: number) => (await score(predictRdm(model, weights(w))))[0]!;
    const share = (Math.sqrt(5) - 1) / 2;
    let [a, b] = [0, 1];
    let [c, d] = [1 - share, share];
    let [fc, fd] = [await value(c), await value(d)];
    while (b - a > 1e-7) {
      if (fc > fd) {
        [b, d, fd] = [d, c, fc];
        c = b - share * (b - a);
        fc = await value(c);
      } else {
        [a, c, fc] = [c, d, fd];
        d = a + share * (b - a);
        fd = await value(d);
      }
    }
    for (const w of [0, 1, (a + b) / 2]) {
      const here = await value(w);
      if (!best || here > best.value) best = { w, pair, value: here };
    }
  }
  if (!best) return Float64Array.of(1);
  const { w, pair } = best;
  return Float64Array.from({ length: n }, (_, k) => (k === pair ? w : k === pair + 1 ? 1 - w : 0));
}

async function regress(
  linalg: Linalg,
  rdms: Rdms,
  data: Rdms,
  { method = "pearson", sigmaK, compat = "exact" }: CompareOptions,
  ridge: number,
  positive: boolean,
): Promise<Float64Array> {
  const present = presentPairs([rdms, data]);
  const inProduct = async (from: Rdms): Promise<Rows> => {
    const rows = presentRows(from, present);
    if (method === "pearson" || method === "whitened-pearson") lessMeans(rows);
    if (method === "cosine" || method === "pearson") return rows;
    const full = present ? withGaps(rows, present) : rows;
    return whitenedRows(linalg, full, from.nConditions, present, sigmaK, compat);
  };
  const x = await inProduct(rdms);
  const targets = await inProduct(data);
  const y = new Float64Array(x.nColumns);
  for (let k = 0; k < targets.nRows; k++) {
    const row = targets.data.subarray(k * x.nColumns, (k + 1) * x.nColumns);
    const norm = Math.sqrt(row.reduce((sum, v) => sum + v * v, 0));
    for (let i = 0; i < y.length; i++) y[i]! += row[i]! / norm;
  }
  const left = matrix(x.data, x.nRows, x.nColumns);
  const gram = (await linalg.matmul(left, left, { transposeB: true })).data.slice();
  for (let k = 0; k < x.nRows; k++) gram[k * x.nRows + k]! += ridge;
  const target = (await linalg.matmul(left, matrix(y, x.nColumns, 1))).data.slice();
  return unit(positive ? nonNegative(gram, target) : solve(gram, target));
}

function withGaps(rows: Rows, present: Uint8Array): Rows {
  const data = new Float64Array(rows.nRows * present.length);
  for (let k = 0; k < rows.nRows; k++) {
    let at = k * rows.nColumns;
    for (let p = 0; p < present.length; p++) {
      if (present[p]) data[k * present.length + p] = rows.data[at++]!;
    }
  }
  return { data, nRows: rows.nRows, nColumns: present.length };
}

function solve(gram: Float64Array, target: Float64Array): Float64Array {
  const n = target.length;
  try {
    return choleskySolve(matrix(gram, n, n), matrix(target, n, 1)).data;
  } catch (cause) {
    throw new DataError("fitModel: expected RDMs of the model that do not depend on one another", {
      hint: "Leave one out, or give a ridge.",
      cause,
    });
  }
}

/** min x^T A x / 2 - b^T x over x >= 0, by active sets. */
function nonNegative(a: Float64Array, b: Float64Array): Float64Array {
  const n = b.length;
  const x = new Float64Array(n);
  const passive = new Set<number>();
  const gradient = () =>
    b.map((v, i) => {
      let sum = v;
      for (let j = 0; j < n; j++) sum -= a[i * n + j]! * x[j]!;
      return sum;
    });
  let w = gradient();
  const tolerance = 100 * Number.EPSILON * Math.max(1, ...b.map(Math.abs));
  for (let step = 0; step < 30 * n; step++) {
    let next = -1;
    for (let i = 0; i < n; i++) {
      if (!passive.has(i) && w[i]! > tolerance && (next < 0 || w[i]! > w[next]!)) next = i;
    }
    if (next < 0) break;
    passive.add(next);
    let s = onPassive(a, b, passive, n);
    while ([...passive].some((i) => s[i]! < 0)) {
      let alpha = 1;
      let out = -1;
      for (const i of passive) {
        if (s[i]! >= 0) continue;
        const reach = x[i]! / (x[i]! - s[i]!);
        if (out < 0 || reach < alpha) {
          alpha = reach;
          out = i;
        }
      }
      for (const i of passive) x[i]! += alpha * (s[i]! - x[i]!);
      x[out] = 0;
      passive.delete(out);
      s = onPassive(a, b, passive, n);
    }
    for (const i of passive) x[i] = s[i]!;
    w = gradient();
  }
  return x;
}

function onPassive(
  a: Float64Array,
  b: Float64Array,
  passive: ReadonlySet<number>,
  n: number,
): Float64Array {
  const places = [...passive];
  const out = new Float64Array(n);
  if (places.length === 0) return out;
  const gram = Float64Array.from(places.flatMap((i) => places.map((j) => a[i * n + j]!)));
  const solved = solve(
    gram,
    Float64Array.from(places, (i) => b[i]!),
  );
  places.forEach((i, k) => {
    out[i] = solved[k]!;
  });
  return out;
}

/** Nelder and Mead's search for a minimum. */
async function simplex(
  f: (x: Float64Array) => Promise<number>,
  start: Float64Array,
): Promise<{ x: Float64Array; value: number }> {
  const n = start.length;
  const point = async (x: Float64Array) => ({ x, value: await f(x) });
  const points = [await point(start)];
  for (let i = 0; i < n; i++) {
    const x = start.slice();
    x[i] = x[i] === 0 ? 0.1 : x[i]! * 1.2;
    points.push(await point(x));
  }
  for (let step = 0; step < 200 * n; step++) {
    points.sort((a, b) => a.value - b.value);
    const worst = points[n]!;
    if (worst.value - points[0]!.value < 1e-10) break;
    const centre = new Float64Array(n);
    for (const { x } of points.slice(0, n)) for (let i = 0; i < n; i++) centre[i]! += x[i]! / n;
    const along = (t: number) => point(centre.map((c, i) => c + t * (worst.x[i]! - c)));
    const mirrored = await along(-1);
    if (mirrored.value < points[0]!.value) {
      const farther = await along(-2);
      points[n] = farther.value < mirrored.value ? farther : mirrored;
    } else if (mirrored.value < points[n - 1]!.value) points[n] = mirrored;
    else {
      const nearer = await along(mirrored.value < worst.value ? -0.5 : 0.5);
      if (nearer.value < Math.min(worst.value, mirrored.value)) points[n] = nearer;
      else {
        const best = points[0]!;
        for (let k = 1; k <= n; k++) {
          points[k] = await point(best.x.map((b, i) => b + 0.5 * (points[k]!.x[i]! - b)));
        }
      }
    }
  }
  points.sort((a, b) => a.value - b.value);
  return points[0]!;
}

/** Fixed models' RDMs as one object. */
export function predictions(
  models: readonly RdmModel[],
  weights?: readonly ArrayLike<number>[],
): Rdms {
  const rows = models.map((model, m) => predictRdm(model, weights?.[m]));
  const data = new Float64Array(rows.reduce((sum, row) => sum + row.data.length, 0));
  let at = 0;
  for (const row of rows) {
    data.set(row.data, at);
    at += row.data.length;
  }
  return makeRdms(data, rows.length, {
    conditions: rows[0]!.conditions,
    names: models.map(({ name }) => name),
  });
}
