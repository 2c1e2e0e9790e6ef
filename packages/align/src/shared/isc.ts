import {
  ArgumentError,
  createRng,
  type LongWork,
  permutation,
  type Rng,
  type Tensor,
  tensor,
  throwIfAborted,
} from "@penfield/core";
import { createLinalg, type Linalg, type Matrix } from "@penfield/linalg";
import { quantile, rankP, type Tail } from "@penfield/stats";
import { checkSubjects, type SubjectSeries, unitColumns } from "./series.ts";

/** How subjects are compared: each with the mean of the others, or each with each. */
export type IscMethod = "leave-one-out" | "pairwise";

/** How subjects (or pairs) are brought together: their median, or tanh of the mean of arctanh. */
export type IscSummary = "median" | "fisher";

/** How a shared response is measured. */
export interface IscOptions {
  /** Default "leave-one-out". */
  readonly method?: IscMethod | undefined;
  /** Default "median". */
  readonly summary?: IscSummary | undefined;
}

/** How alike the responses of subjects to one stimulus are. */
export interface Isc {
  /** One row per subject, or per pair (0,1), (0,2), ..., `[nRows, nTargets]`; NaN where a target does not vary. */
  readonly values: Tensor<readonly ["subject", "target"]>;
  /** [nTargets]. */
  readonly summary: Float64Array;
  readonly method: IscMethod;
  readonly nSubjects: number;
}

/**
 * Inter-subject correlation: what subjects' responses to the same stimulus share, target by target. A ceiling for any
 * model of the stimulus, and a map of where the stimulus drives the brain, without a model.
 *
 *   leave-one-out: r(x_s, mean of the others)     pairwise: r(x_s, x_t)
 *
 * @param subjects - One `[nTimes, nTargets]` each, at least 2, the same targets and samples.
 * @param options - How subjects are compared and brought together.
 * @throws {ShapeError} if there are fewer than 2 subjects or sizes differ.
 * @throws {DataError} if a value is not finite.
 *
 * Cost: O(nSubjects nTimes nTargets), times nSubjects / 2 pairwise.
 * Source: Hasson et al. (2004), Science 303:1634; Nastase et al. (2019), SCAN 14:667. Matches brainiak's `isc`.
 *
 * @example
 * const one = tensor(Float64Array.of(1, 2, 3, 5), ["time", "target"], [4, 1]);
 * const two = tensor(Float64Array.of(2, 4, 6, 10), ["time", "target"], [4, 1]);
 * isc([one, two]).summary[0].toFixed(3) // => "1.000"
 */
export function isc(subjects: readonly SubjectSeries[], options: IscOptions = {}): Isc {
  const { method = "leave-one-out", summary = "median" } = options;
  checkOptions("isc", method, summary);
  const { nTargets } = checkSubjects("isc", subjects, { sameTargets: true });
  const rows =
    method === "pairwise"
      ? pairRows(subjects.map(unitColumns))
      : withOthers(subjects.map(unitColumns), othersOf(subjects).map(unitColumns));
  return {
    values: stack(rows, nTargets),
    summary: summarize(rows, nTargets, summary),
    method,
    nSubjects: subjects.length,
  };
}

function checkOptions(name: string, method: string, summary: string): void {
  if (method !== "leave-one-out" && method !== "pairwise") {
    throw new ArgumentError(`${name}: expected method leave-one-out or pairwise, got ${method}`);
  }
  if (summary !== "median" && summary !== "fisher") {
    throw new ArgumentError(`${name}: expected summary median or fisher, got ${summary}`);
  }
}

const stack = (
  rows: readonly Float64Array[],
  nTargets: number,
): Tensor<readonly ["subject", "target"]> => {
  const data = new Float64Array(rows.length * nTargets);
  rows.forEach((row, i) => {
    data.set(row, i * nTargets);
  });
  return tensor(data, ["subject", "target"], [rows.length, nTargets]);
};

/** The mean of the other subjects' series, for each subject. */
function othersOf(subjects: readonly SubjectSeries[]): SubjectSeries[] {
  const total = Float64Array.from(subjects[0]!.data);
  for (const { data } of subjects.slice(1)) {
    for (let i = 0; i < total.length; i++) total[i]! += data[i]!;
  }
  return subjects.map((series) => ({
    ...series,
    data: total.map((sum, i) => (sum - series.data[i]!) / (subjects.length - 1)),
  }));
}

const withOthers = (
  units: readonly Matrix<Float64Array>[],
  others: readonly Matrix<Float64Array>[],
): Float64Array[] => units.map((a, s) => products(a, others[s]!));

const pairRows = (units: readonly Matrix<Float64Array>[]): Float64Array[] =>
  units.flatMap((a, i) => units.slice(i + 1).map((b) => products(a, b)));

/** Sums of products by column: correlations of unit columns. */
function products(a: Matrix<Float64Array>, b: Matrix<Float64Array>): Float64Array {
  const out = new Float64Array(a.nColumns);
  for (let i = 0; i < a.nRows; i++) {
    const at = i * a.nColumns;
    for (let j = 0; j < a.nColumns; j++) out[j]! += a.data[at + j]! * b.data[at + j]!;
  }
  return out.map((r) => Math.max(-1, Math.min(1, r)));
}

/** @param chosen - Rows to summarize, with repetitions; NaN in a row makes the target NaN. */
function summarize(
  rows: readonly Float64Array[],
  nTargets: number,
  summary: IscSummary,
): Float64Array {
  return Float64Array.from({ length: nTargets }, (_, t) => {
    const values = rows.map((row) => row[t]!);
    if (rows.length === 0 || values.some(Number.isNaN)) return Number.NaN;
    if (summary === "median") return quantile(values, 0.5);
    return Math.tanh(values.reduce((sum, r) => sum + Math.atanh(r), 0) / values.length);
  });
}

/** What chance is taken to be. */
export type IscNull = "time-shift" | "phase-shift" | "sign-flip";

/** How unusual a shared response is. */
export interface IscTest {
  /** [nTargets]. */
  readonly observed: Float64Array;
  /** `[nDraws, nTargets]`. */
  readonly nulls: Tensor<readonly ["draw", "target"]>;
  /** [nTargets], each (1 + #) / (1 + nDraws); 1 where a target does not vary. Not corrected for targets. */
  readonly p: Float64Array;
  /** Corrected for all targets: against the largest null value anywhere in each draw. */
  readonly pFamily: Float64Array;
}

/** How chance is drawn. */
export interface IscTestOptions extends IscOptions, LongWork {
  /** Default "phase-shift". */
  readonly null?: IscNull | undefined;
  /** Default 1000. */
  readonly nDraws?: number | undefined;
  /** Default "greater". */
  readonly tail?: Tail | undefined;
  /** Default 0. */
  readonly seed?: number | undefined;
  /** Where products are computed (phase-shift). Default: one made for this call. */
  readonly linalg?: Linalg | undefined;
}

/**
 * Is the inter-subject correlation more than chance?
 *
 * - `phase-shift`: a subject keeps its spectrum and the correlations between its targets, but its phases are drawn anew.
 * - `time-shift`: a subject's series is turned round by a random number of samples.
 * - `sign-flip`: whole subjects change sign; says whether the population's mean differs from zero.
 *
 * Leave-one-out, only the subject left out is moved (as brainiak does); pairwise, all are.
 *
 * @param subjects - As {@link isc}; at least 3 for sign-flip.
 * @param options - Which chance, how often.
 * @throws {ShapeError} if sizes do not fit. @throws {DataError} if a value is not finite.
 * @throws {ArgumentError} if an option is out of range. @throws {InterruptedError} if the signal fires.
 *
 * Cost: nDraws times that of `isc`; phase shifts one product [nTimes, nTimes, nTargets] per subject and draw.
 * Source: Simony et al. (2016), Nature Communications 7:12141 (phases); Chen et al. (2016), NeuroImage 142:248 (subjects).
 *
 * @example
 * const rng = createRng(1);
 * const signal = Array.from({ length: 60 }, () => rng.normal());
 * const subjects = [0, 1, 2, 3].map(() => tensor(Float64Array.from(signal, (v) => v + rng.normal()), ["time", "target"], [60, 1]));
 * (await iscTest(subjects, { null: "time-shift", nDraws: 99 })).p[0] // => 0.01
 */
export async function iscTest(
  subjects: readonly SubjectSeries[],
  options: IscTestOptions = {},
): Promise<IscTest> {
  const { nDraws = 1000, tail = "greater", seed = 0, onProgress, signal } = options;
  const kind = options.null ?? "phase-shift";
  const name = "iscTest";
  if (!["phase-shift", "time-shift", "sign-flip"].includes(kind)) {
    throw new ArgumentError(
      `${name}: expected null phase-shift, time-shift or sign-flip, got ${kind}`,
    );
  }
  if (!Number.isInteger(nDraws) || nDraws < 1) {
    throw new ArgumentError(`${name}: expected a positive whole number of draws, got ${nDraws}`);
  }
  const measured = isc(subjects, options);
  const nTargets = measured.summary.length;
  const linalg = options.linalg ?? createLinalg();
  const rng = createRng(seed);
  // Moving a series in time, or its phases, changes neither its means nor its lengths.
  const units = subjects.map(unitColumns);
  const others = measured.method === "pairwise" ? units : othersOf(subjects).map(unitColumns);
  const nulls = new Float64Array(nDraws * nTargets);
  try {
    for (let draw = 0; draw < nDraws; draw++) {
      throwIfAborted(signal, name);
      nulls.set(
        await nullSummary(units, others, measured, kind, options, rng, linalg),
        draw * nTargets,
      );
      if (draw % 10 === 9 || draw === nDraws - 1) {
        onProgress?.({ stage: "drawing nulls", done: draw + 1, total: nDraws, unit: "draws" });
      }
    }
  } finally {
    if (options.linalg === undefined) await linalg.dispose();
  }
  return { observed: measured.summary, ...judge(measured.summary, nulls, nDraws, tail) };
}

async function nullSummary(
  units: readonly Matrix<Float64Array>[],
  others: readonly Matrix<Float64Array>[],
  measured: Isc,
  kind: IscNull,
  { method = "leave-one-out", summary = "median" }: IscOptions,
  rng: Rng,
  linalg: Linalg,
): Promise<Float64Array> {
  const nTargets = measured.summary.length;
  if (kind === "sign-flip") {
    const signs = units.map(() => (rng.below(2) ? -1 : 1));
    // The sign of a pair is that of both subjects together.
    const signOfRow =
      method === "pairwise" ? signs.flatMap((a, i) => signs.slice(i + 1).map((b) => a * b)) : signs;
    const rows = signOfRow.map((sign, i) => {
      const row = measured.values.data.subarray(i * nTargets, (i + 1) * nTargets);
      return Float64Array.from(row, (r) => sign * r);
    });
    return summarize(rows, nTargets, summary);
  }
  const moved: Matrix<Float64Array>[] = [];
  for (const unit of units) {
    moved.push(kind === "time-shift" ? turned(unit, rng) : await withNewPhases(unit, rng, linalg));
  }
  const rows = method === "pairwise" ? pairRows(moved) : withOthers(moved, others);
  return summarize(rows, nTargets, summary);
}

/** The series turned round, by at least one sample. */
function turned({ data, nRows, nColumns }: Matrix<Float64Array>, rng: Rng): Matrix<Float64Array> {
  const by = (1 + rng.below(nRows - 1)) * nColumns;
  const out = new Float64Array(data.length);
  out.set(data.subarray(by));
  out.set(data.subarray(0, by), data.length - by);
  return { data: out, nRows, nColumns };
}

/**
 * The series with phases moved by random angles, the same for all targets. Moving phases is a product with a circulant
 * matrix, whose first column is the inverse transform of the angles.
 */
async function withNewPhases(
  series: Matrix<Float64Array>,
  rng: Rng,
  linalg: Linalg,
): Promise<Matrix<Float64Array>> {
  const n = series.nRows;
  const column = new Float64Array(n).fill(1 / n);
  for (let k = 1; 2 * k <= n; k++) {
    const angle = 2 * Math.PI * rng.uniform();
    // At half the sampling rate there is no phase, as at zero.
    const half = 2 * k === n;
    for (let t = 0; t < n; t++) {
      const turn = (2 * Math.PI * ((k * t) % n)) / n;
      column[t]! += half ? Math.cos(turn) / n : (2 * Math.cos(turn + angle)) / n;
    }
  }
  const circulant = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) circulant[i * n + j] = column[(i - j + n) % n]!;
  }
  return linalg.matmul({ data: circulant, nRows: n, nColumns: n }, series);
}

function judge(
  observed: Float64Array,
  nulls: Float64Array,
  nDraws: number,
  tail: Tail,
): Omit<IscTest, "observed"> {
  const nTargets = observed.length;
  const size = (r: number): number => (tail === "greater" ? r : tail === "less" ? -r : Math.abs(r));
  const most = new Float64Array(nDraws).fill(Number.NEGATIVE_INFINITY);
  for (let i = 0; i < nulls.length; i++) {
    const draw = Math.floor(i / nTargets);
    if (size(nulls[i]!) > most[draw]!) most[draw] = size(nulls[i]!);
  }
  const column = (t: number): Float64Array =>
    Float64Array.from({ length: nDraws }, (_, draw) => nulls[draw * nTargets + t]!);
  return {
    nulls: tensor(nulls, ["draw", "target"], [nDraws, nTargets]),
    p: observed.map((r, t) => (Number.isNaN(r) ? 1 : rankP(r, column(t), { tail }))),
    pFamily: observed.map((r) => (Number.isNaN(r) ? 1 : rankP(size(r), most))),
  };
}

/** An interval per target. */
export interface IscInterval {
  readonly observed: Float64Array;
  readonly low: Float64Array;
  readonly high: Float64Array;
  /** Two-sided, against zero: draws less the observed value serve as the null. */
  readonly p: Float64Array;
  readonly level: number;
}

/**
 * How sure a shared response is for other subjects: subjects are drawn with repetition. Pairwise, pairs of a subject with
 * itself are left out.
 *
 * @param measured - From {@link isc}.
 * @param options.summary - As it was for `isc`. Default "median".
 * @param options.nDraws - Default 1000.
 * @param options.level - Default 0.95.
 * @param options.seed - Default 0.
 * @throws {ArgumentError} if an option is out of range.
 *
 * Source: Chen et al. (2016), NeuroImage 142:248; brainiak's `bootstrap_isc`.
 *
 * @example
 * const series = (values) => tensor(Float64Array.from(values), ["time", "target"], [5, 1]);
 * const measured = isc([series([1, 2, 3, 4, 6]), series([1, 3, 2, 4, 5]), series([0, 1, 3, 3, 5])]);
 * iscBootstrap(measured, { nDraws: 100 }).low[0] > 0.8 // => true
 */
export function iscBootstrap(
  measured: Isc,
  {
    summary = "median",
    nDraws = 1000,
    level = 0.95,
    seed = 0,
  }: { summary?: IscSummary; nDraws?: number; level?: number; seed?: number } = {},
): IscInterval {
  checkOptions("iscBootstrap", measured.method, summary);
  if (!(level > 0 && level < 1) || !Number.isInteger(nDraws) || nDraws < 1) {
    throw new ArgumentError(
      `iscBootstrap: expected a level between 0 and 1 and a positive number of draws, got ${level} and ${nDraws}`,
    );
  }
  const { nSubjects: n, method, values } = measured;
  const nTargets = values.shape[1];
  const rowAt = (i: number): Float64Array =>
    values.data.subarray(i * nTargets, (i + 1) * nTargets) as Float64Array;
  const pairAt = (a: number, b: number): number => {
    const [i, j] = a < b ? [a, b] : [b, a];
    return i * n - (i * (i + 1)) / 2 + (j - i - 1);
  };
  const all = Array.from({ length: values.shape[0] }, (_, i) => rowAt(i));
  const observed = summarize(all, nTargets, summary);
  const rng = createRng(seed);
  const draws: Float64Array[] = [];
  while (draws.length < nDraws) {
    const drawn = Array.from({ length: n }, () => rng.below(n));
    const rows =
      method === "leave-one-out"
        ? drawn.map(rowAt)
        : drawn.flatMap((a, i) =>
            drawn.slice(i + 1).flatMap((b) => (a === b ? [] : [rowAt(pairAt(a, b))])),
          );
    if (rows.length > 0) draws.push(summarize(rows, nTargets, summary));
  }
  const column = (t: number): Float64Array => Float64Array.from(draws, (draw) => draw[t]!);
  const edge = (q: number): Float64Array =>
    observed.map((r, t) => (Number.isNaN(r) ? Number.NaN : quantile(column(t), q)));
  return {
    observed,
    low: edge((1 - level) / 2),
    high: edge((1 + level) / 2),
    p: observed.map((r, t) =>
      Number.isNaN(r)
        ? 1
        : rankP(
            Math.abs(r),
            column(t).map((value) => Math.abs(value - r)),
          ),
    ),
    level,
  };
}

/**
 * Do two groups share their response to different degrees? Group labels of subjects change places.
 *
 * @param a - From {@link isc} of one group.
 * @param b - From {@link isc} of the other, by the same method.
 * @param options.summary - Default "median".
 * @param options.nDraws - Default 1000.
 * @param options.seed - Default 0.
 * @returns The difference of both summaries and its two-sided p, per target. Only for leave-one-out values, whose rows are
 *   subjects: each is taken with the group it was measured in.
 * @throws {ArgumentError} if the methods differ or are pairwise.
 *
 * @example
 * const group = (k) => isc([0, 1, 2, 3].map((s) => tensor(Float64Array.from({ length: 30 }, (_, i) => Math.sin(i) + k * Math.sin(i * (s + 2))), ["time", "target"], [30, 1])));
 * iscGroupTest(group(0.1), group(3), { nDraws: 69 }).difference[0] > 0.3 // => true
 */
export function iscGroupTest(
  a: Isc,
  b: Isc,
  {
    summary = "median",
    nDraws = 1000,
    seed = 0,
  }: {
    summary?: IscSummary;
    nDraws?: number;
    seed?: number;
  } = {},
): { readonly difference: Float64Array; readonly p: Float64Array } {
  if (a.method !== "leave-one-out" || b.method !== "leave-one-out") {
    throw new ArgumentError(
      `iscGroupTest: expected leave-one-out values of both groups, got ${a.method} and ${b.method}`,
    );
  }
  const nTargets = a.summary.length;
  const rows = [a, b].flatMap(({ values }) =>
    Array.from(
      { length: values.shape[0] },
      (_, i) => values.data.subarray(i * nTargets, (i + 1) * nTargets) as Float64Array,
    ),
  );
  const nA = a.values.shape[0];
  const differ = (order: ArrayLike<number>): Float64Array => {
    const inOrder = Array.from(order, (i) => rows[i]!);
    const second = summarize(inOrder.slice(nA), nTargets, summary);
    return summarize(inOrder.slice(0, nA), nTargets, summary).map((r, t) => r - second[t]!);
  };
  const difference = differ(rows.map((_, i) => i));
  const rng = createRng(seed);
  const nulls = Array.from({ length: nDraws }, () => differ(permutation(rows.length, rng)));
  return {
    difference,
    p: difference.map((d, t) =>
      Number.isNaN(d)
        ? 1
        : rankP(
            Math.abs(d) * (1 - 1e-12),
            nulls.map((draw) => Math.abs(draw[t]!)),
          ),
    ),
  };
}

/**
 * Inter-subject functional correlation: which targets of one brain go with which of others. Correlations that a subject's
 * own noise makes between its targets are gone, because the two sides come from different subjects.
 *
 *   C_s = r(x_s, mean of the others),  made symmetric: (C_s + C_s^T) / 2
 *
 * @param subjects - As {@link isc}.
 * @param options.summary - Over subjects. Default "fisher".
 * @param options.linalg - Default: one made for this call.
 * @returns `[nTargets, nTargets]`; its diagonal is the inter-subject correlation. NaN where a target does not vary.
 * @throws {ShapeError} if sizes do not fit. @throws {DataError} if a value is not finite.
 *
 * Cost: nSubjects products [nTargets, nTimes, nTargets].
 * Source: Simony et al. (2016), Nature Communications 7:12141. Matches brainiak's `isfc`.
 *
 * @example
 * const series = (k) => tensor(Float64Array.from({ length: 20 }, (_, i) => Math.sin(i * (1 + (i % 2))) + 0.1 * Math.cos(k * i)), ["time", "target"], [10, 2]);
 * (await isfc([series(2), series(3), series(5)])).data[0] > 0.9 // => true
 */
export async function isfc(
  subjects: readonly SubjectSeries[],
  {
    summary = "fisher",
    linalg,
  }: { summary?: IscSummary | undefined; linalg?: Linalg | undefined } = {},
): Promise<Tensor<readonly ["target", "target"]>> {
  checkOptions("isfc", "leave-one-out", summary);
  const { nTargets } = checkSubjects("isfc", subjects, { sameTargets: true });
  const used = linalg ?? createLinalg();
  try {
    const rows: Float64Array[] = [];
    for (const [s, series] of subjects.entries()) {
      const others = new Float64Array(series.data.length);
      for (const [o, { data }] of subjects.entries()) {
        if (o === s) continue;
        for (let i = 0; i < others.length; i++) others[i]! += data[i]! / (subjects.length - 1);
      }
      const c = await used.matmul(unitColumns(series), unitColumns({ ...series, data: others }), {
        transposeA: true,
      });
      rows.push(
        c.data.map((r, i) => {
          const mirrored = c.data[(i % nTargets) * nTargets + Math.floor(i / nTargets)]!;
          return Math.max(-1, Math.min(1, (r + mirrored) / 2));
        }),
      );
    }
    const data = summarize(rows, nTargets * nTargets, summary);
    return tensor(data, ["target", "target"], [nTargets, nTargets]);
  } finally {
    if (linalg === undefined) await used.dispose();
  }
}
