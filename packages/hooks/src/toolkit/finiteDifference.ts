import { ArgumentError, HookPointError, type LongWork, throwIfAborted } from "@penfield/core";
import type { HookPoint } from "../hookPoint.ts";
import type { Intervention } from "../interventions.ts";
import type { TokenRows } from "../transformer/inputs.ts";
import type { HookedModel } from "../transformer/model.ts";
import type { HookValues } from "../transformer/values.ts";
import type { Metric } from "./metrics.ts";
import { writableHook } from "./patching.ts";
import {
  blockOfRows,
  lengthOfPairs,
  lengthOfPrompts,
  meansOf,
  promptChunks,
  rowsInRun,
} from "./rows.ts";

/** An axis of places at a hook point. */
export type DifferenceAxis = "pos" | "head_index" | "unit";

/** What is moved, and what is measured. */
export interface FiniteDifferenceOptions extends LongWork {
  /** A hook point with axes batch, pos and units. */
  readonly hook: string;
  readonly metric: Metric;
  /**
   * The places that are moved one at a time: `["unit"]` (default), `["pos"]`, `["pos", "unit"]`, at
   * `attn.hook_z` also `["head_index"]` and `["pos", "head_index"]`. An axis that is absent is moved whole.
   */
  readonly axes?: readonly DifferenceAxis[] | undefined;
  /**
   * Half the distance between the two runs, as a share of the hook's values (root mean square over the
   * prompts); default 0.01. Smaller ones drown in float32's rounding (float16: take 0.1), larger ones see the
   * curvature.
   */
  readonly step?: number | undefined;
  /** Rows in one run; default 128, fewer where they would not fit. */
  readonly batchSize?: number | undefined;
}

/** Derivatives by finite differences; arrays are row-major over `shape`. */
export interface FiniteDifferenceResult {
  readonly axes: readonly DifferenceAxis[];
  readonly shape: readonly number[];
  /** Of the metric, averaged over prompts, by one number added to every value of a place. */
  readonly derivatives: Float64Array;
  /** Activation times derivative, value by value, summed over a place. */
  readonly attributions: Float64Array;
  /** What was added and taken away, in the hook's own units. */
  readonly step: number;
  /** True if the numbers depend on `batchSize` (dynamic int8 quantisation). */
  readonly batchDependent: boolean;
}

/**
 * Derivatives of a metric by the values at a hook point, from pairs of runs: no gradients are needed.
 *
 *   derivative(u) = (F(x + h e_u) - F(x - h e_u)) / 2h,   error O(h^2)
 *
 * @param tokens - Prompts of one length.
 * @throws {DataError} if there is no prompt, or lengths differ.
 * @throws {HookPointError} if the hook point cannot be written, or has no axis of units.
 * @throws {ArgumentError} for axes that it does not have, or a step that is not above 0.
 * @throws {InterruptedError} if the signal fires.
 *
 * Cost: one pass over the prompts, then 4 rows per place and prompt (2 each for derivative and attribution;
 * with `["pos", "unit"]` 2, for both are then one) through the layers from the hook's block on.
 *
 * @example
 * const model = await HookedModel.fromPretrained("test/fixtures/gpt2");
 * const { shape, derivatives } = await finiteDifference(model, [[5, 9, 7, 3]], {
 *   hook: "blocks.1.hook_resid_post", axes: ["pos", "unit"],
 *   metric: logitDiff({ tokens: 11, incorrectTokens: 12 }),
 * });
 * shape // => [4, 24]
 * derivatives[0] // => 0
 * await model.dispose();
 */
export async function finiteDifference(
  model: HookedModel,
  tokens: TokenRows,
  options: FiniteDifferenceOptions,
): Promise<FiniteDifferenceResult> {
  const name = "finiteDifference";
  const length = lengthOfPrompts(tokens, name);
  const { axes = ["unit"] } = options;
  const line = await openLine(model, tokens, { ...options, axes, length, name });
  const { values, places, nPositions, nUnits } = line;
  const nPrompts = tokens.length;
  const h = line.step;
  const ones = new Float32Array(values.length).fill(1);
  const each = axes.includes("unit") && (axes.includes("pos") || length === 1);
  // Where each place is one value, its attribution is a product; else it is a derivative of its own.
  const directions = each ? [ones] : [ones, values];
  const total = directions.length * places.length;
  const slopes = await line.slopes(directions, [0], total);
  const derivatives = Float64Array.from(places, (_, i) => meansOf(slopes[0]![i]!, nPrompts)[0]!);
  const attributions = Float64Array.from(places, (place, i) => {
    if (!each) return meansOf(slopes[1]![i]!, nPrompts)[0]!;
    const [position, unit] = [place.positions[0]!, place.units[0]!];
    let sum = 0;
    for (let prompt = 0; prompt < nPrompts; prompt++) {
      sum += values[(prompt * nPositions + position) * nUnits + unit]! * slopes[0]![i]![prompt]!;
    }
    return sum / nPrompts + 0;
  });
  return {
    axes,
    shape: line.shape,
    derivatives,
    attributions,
    step: h,
    batchDependent: model.cfg.batchDependent,
  };
}

/** Two sets of prompts, and how the way between them is gone. */
export interface AttributionPatchOptions extends FiniteDifferenceOptions {
  /** Prompts of one length. */
  readonly clean: TokenRows;
  /** As many prompts of the same length; `corrupted[i]` belongs to `clean[i]`. */
  readonly corrupted: TokenRows;
  /**
   * `denoising` (default): run the corrupted prompts, and ask what the clean values would change.
   * `noising`: the other way round.
   */
  readonly direction?: "denoising" | "noising" | undefined;
  /**
   * Places on the way at which derivatives are taken: 0 (default) only where the way begins, as
   * attribution patching does; n the midpoints of n equal parts (integrated gradients).
   */
  readonly nSteps?: number | undefined;
}

/** Attributions of a change between two prompts; arrays are row-major over `shape`. */
export interface AttributionPatchResult {
  readonly axes: readonly DifferenceAxis[];
  readonly shape: readonly number[];
  /** What each place adds to the change of the metric, averaged over prompts. */
  readonly attributions: Float64Array;
  /** F of the prompts that are run (`denoising`: the corrupted ones). */
  readonly base: number;
  /** F with the whole hook point patched: with `nSteps` attributions add up to `patched - base`. */
  readonly patched: number;
  readonly batchDependent: boolean;
}

/**
 * Attribution patching by finite differences: the change that patching each place would bring, to first
 * order, or with `nSteps` its integral along the straight way from the one prompt's values to the other's.
 *
 *   attribution = (x' - x) dF/dx                                            (nSteps 0)
 *   attribution = (x' - x) 1/n sum over k of dF/dx at x + (k - 1/2)/n (x' - x)   (nSteps n)
 *
 * Patching itself is exact, and cheaper here: it takes one row per place where a difference takes two. Use
 * this for what patching cannot give: shares that add up, and slopes where a patch saturates.
 *
 * @throws as `finiteDifference`; {DataError} if prompts differ in number or length.
 *
 * Cost: one pass over both prompts and one with the whole hook patched, then 2 max(1, nSteps) rows per
 * place and prompt through the layers from the hook's block on; places that do not differ cost nothing.
 * Source: Nanda (2023), attribution patching; Sundararajan et al. (2017), arXiv 1703.01365; Hanna et al.
 * (2024), arXiv 2403.17806.
 *
 * @example
 * const model = await HookedModel.fromPretrained("test/fixtures/gpt2");
 * const { attributions, base, patched } = await attributionPatch(model, {
 *   clean: [[5, 9, 7, 3]], corrupted: [[5, 20, 7, 3]],
 *   metric: logitDiff({ tokens: 11, incorrectTokens: 12 }),
 *   hook: "blocks.1.hook_resid_pre", axes: ["pos"], nSteps: 20,
 * });
 * const sum = attributions.reduce((a, b) => a + b);
 * Math.abs(sum - (patched - base)) < 0.01 * Math.abs(patched - base) // => true
 * await model.dispose();
 */
export async function attributionPatch(
  model: HookedModel,
  options: AttributionPatchOptions,
): Promise<AttributionPatchResult> {
  const name = "attributionPatch";
  const { clean, corrupted, metric, axes = ["unit"], nSteps = 0 } = options;
  const { direction = "denoising" } = options;
  const length = lengthOfPairs(clean, corrupted, name);
  if (direction !== "denoising" && direction !== "noising") {
    throw new ArgumentError(`${name}: expected direction denoising or noising, got ${direction}`);
  }
  if (!Number.isInteger(nSteps) || nSteps < 0) {
    throw new ArgumentError(`${name}: expected nSteps to be a whole number from 0, got ${nSteps}`);
  }
  const [from, to] = direction === "denoising" ? [corrupted, clean] : [clean, corrupted];
  const line = await openLine(model, from, { ...options, axes, length, name });
  const nPrompts = from.length;
  const change = new Float32Array(line.values.length);
  const [plain, whole] = [new Float64Array(nPrompts), new Float64Array(nPrompts)];
  for (const { start, end } of promptChunks(nPrompts, line.batchSize)) {
    throwIfAborted(options.signal, name);
    const n = end - start;
    const own = from.slice(start, end);
    const source = Array.from({ length: 3 * n }, (_, row) => (row < 2 * n ? row : row - n));
    const { logits, cache } = await model.run({
      tokens: [...own, ...to.slice(start, end), ...own],
      capture: [line.point.name],
      interventions: [{ hook: line.point.name, op: { type: "patch", source } }],
    });
    const rows = [...blockOfRows(0, n), ...blockOfRows(2, n)];
    const got = metric(
      logits!,
      rows.map((row) => ({ row, prompt: start + (row % n) })),
    );
    plain.set(got.slice(0, n), start);
    whole.set(got.slice(n), start);
    const { data } = cache.get(line.point.name)!;
    const size = data.length / 3;
    change.set(
      data.subarray(size, 2 * size).map((v, i) => v - data[i]!),
      start * (size / n),
    );
  }
  const [base, patched] = [plain, whole].map((values) => meansOf(values, nPrompts)[0]!) as [
    number,
    number,
  ];
  const alphas = nSteps === 0 ? [0] : Array.from({ length: nSteps }, (_, k) => (k + 0.5) / nSteps);
  const slopes = await line.slopes([change], alphas, alphas.length * line.places.length, change);
  return {
    axes,
    shape: line.shape,
    attributions: Float64Array.from(slopes[0]!, (own) => meansOf(own, nPrompts)[0]!),
    base,
    patched,
    batchDependent: model.cfg.batchDependent,
  };
}

interface Place {
  readonly positions: readonly number[];
  readonly units: readonly number[];
}

/** A hook point whose values are moved along directions, place by place. */
interface Line {
  readonly point: HookPoint;
  /** `[prompt, pos, unit]`. */
  readonly values: Float32Array;
  readonly nPositions: number;
  readonly nUnits: number;
  readonly shape: readonly number[];
  readonly places: readonly Place[];
  readonly step: number;
  readonly batchSize: number;
  /**
   * Slopes of the metric along each direction restricted to each place, `[direction][place][prompt]`, at
   * x + alpha `way`; of several alphas their mean.
   */
  slopes(
    directions: readonly Float32Array[],
    alphas: readonly number[],
    total: number,
    way?: Float32Array,
  ): Promise<Float64Array[][]>;
}

async function openLine(
  model: HookedModel,
  tokens: TokenRows,
  options: FiniteDifferenceOptions & {
    readonly axes: readonly DifferenceAxis[];
    readonly length: number;
    readonly name: string;
  },
): Promise<Line> {
  const { axes, length, name, metric, step: share = 0.01, signal, onProgress } = options;
  const point = writableHook(model, options.hook, name);
  if (point.axes.length !== 3 || point.nUnits === undefined) {
    throw new HookPointError(
      `${name}: expected a hook point with axes batch, pos and units, got ${point.name} with ${point.axes.join(", ")}`,
      { hint: "A head's output is a part of attn.hook_z." },
    );
  }
  if (!(share > 0 && Number.isFinite(share))) {
    throw new ArgumentError(`${name}: expected a step above 0, got ${share}`);
  }
  const nUnits = point.nUnits;
  const { shape, places } = placesOf(model, point, axes, length, name);
  const batchSize = rowsInRun(model, length, nUnits, options.batchSize, name);
  // What comes before the hook's block is computed once.
  const start = startOf(model, point);
  const nPrompts = tokens.length;
  const capture = start === undefined ? [point.name] : [point.name, start];
  const { cache } = await model.run({ tokens, capture, head: "none" });
  const values = cache.get(point.name)!.data;
  const prefix = start === undefined ? undefined : cache.get(start)!;
  const step = share * (rootMeanSquare(values) || 1);

  /** The metric of each row: prompts with different numbers added to the values. */
  const measure = async (
    moves: readonly { readonly prompt: number; readonly added: Float32Array }[],
  ): Promise<number[]> => {
    const interventions = moves.flatMap(({ added }, row) =>
      Array.from({ length }, (_, p): Intervention[] => {
        const value = added.subarray(p * nUnits, (p + 1) * nUnits);
        if (value.every((v) => v === 0)) return [];
        return [{ hook: point.name, op: { type: "add", value }, rows: [row], positions: [p] }];
      }).flat(),
    );
    const { logits } = await model.run({
      tokens: moves.map(({ prompt }) => tokens[prompt]!),
      interventions: [...interventions, { ...NOTHING, hook: point.name }],
      from: prefix && {
        hook: start!,
        values: rowsOf(
          prefix,
          moves.map(({ prompt }) => prompt),
        ),
      },
    });
    return metric(
      logits!,
      moves.map(({ prompt }, row) => ({ row, prompt })),
    );
  };

  return {
    point,
    values,
    nPositions: length,
    nUnits,
    shape,
    places,
    step,
    batchSize,
    async slopes(directions, alphas, total, way) {
      const slopes = directions.map(() => places.map(() => new Float64Array(nPrompts)));
      const perPrompt = length * nUnits;
      const jobs = directions.flatMap((_, d) =>
        places.flatMap((_, i) =>
          alphas.flatMap((alpha) =>
            blockOfRows(0, nPrompts).map((prompt) => ({ d, i, alpha, prompt })),
          ),
        ),
      );
      const perRun = Math.max(1, Math.floor(batchSize / 2));
      for (let begin = 0; begin < jobs.length; begin += perRun) {
        throwIfAborted(signal, name);
        const some = jobs.slice(begin, begin + perRun);
        const moves = some.flatMap(({ d, i, alpha, prompt }) => {
          const own = (all: Float32Array) =>
            all.subarray(prompt * perPrompt, (prompt + 1) * perPrompt);
          const along = restricted(own(directions[d]!), places[i]!, nUnits);
          const size = rootMeanSquare(along.values);
          if (size === 0) return [];
          // The same distance for every place, whatever the length of its direction.
          const factor = step / size;
          const moved = (sign: number): Float32Array => {
            const added = new Float32Array(perPrompt);
            if (way && alpha !== 0) added.set(own(way).map((v) => alpha * v));
            along.at.forEach((at, n) => {
              added[at]! += sign * factor * along.values[n]!;
            });
            return added;
          };
          return [
            { prompt, added: moved(1), slope: { d, i, factor } },
            { prompt, added: moved(-1), slope: { d, i, factor: -factor } },
          ];
        });
        if (moves.length > 0) {
          (await measure(moves)).forEach((value, row) => {
            const { prompt, slope } = moves[row]!;
            slopes[slope.d]![slope.i]![prompt]! += value / (2 * slope.factor * alphas.length);
          });
        }
        const done = Math.floor((begin + some.length) / nPrompts);
        onProgress?.({ stage: "taking differences", done, total, unit: "places" });
      }
      return slopes;
    },
  };
}

/** An addition that changes nothing: the session is the same whether or not a row is moved. */
const NOTHING = { op: { type: "add", value: -0 }, rows: [] } as const;

function rootMeanSquare(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]! ** 2;
  return values.length === 0 ? 0 : Math.sqrt(sum / values.length);
}

function restricted(
  direction: Float32Array,
  { positions, units }: Place,
  nUnits: number,
): { at: number[]; values: number[] } {
  const at = positions.flatMap((p) => units.map((u) => p * nUnits + u));
  return { at, values: at.map((i) => direction[i]!) };
}

function rowsOf({ data, shape }: HookValues, rows: readonly number[]): HookValues {
  const [, length, width] = shape as [number, number, number];
  const size = length * width;
  const values = new Float32Array(rows.length * size);
  rows.forEach((row, i) => {
    values.set(data.subarray(row * size, (row + 1) * size), i * size);
  });
  return { data: values, shape: [rows.length, length, width] };
}

/** The nearest place that everything before a hook goes through; none for embeddings. */
function startOf(model: HookedModel, point: HookPoint): string | undefined {
  if (point.layer === undefined) return undefined;
  const block = point.name.slice(0, -point.kind.length);
  const find = (kind: string) => model.hookPoints.find((h) => h.name === `${block}${kind}`)?.name;
  const inMlp = point.kind.startsWith("mlp.") || point.kind === "hook_mlp_out";
  return (inMlp ? find("hook_resid_mid") : undefined) ?? find("hook_resid_pre");
}

function placesOf(
  model: HookedModel,
  point: HookPoint,
  axes: readonly DifferenceAxis[],
  length: number,
  name: string,
): { shape: number[]; places: Place[] } {
  const { nHeads } = model.cfg;
  const nUnits = point.nUnits!;
  const ok =
    ["pos", "unit", "head_index", "pos unit", "pos head_index"].includes(axes.join(" ")) &&
    (!axes.includes("head_index") || (point.kind.endsWith("attn.hook_z") && nHeads !== undefined));
  if (!ok) {
    throw new ArgumentError(
      `${name}: expected axes pos, unit, pos and unit, or at attn.hook_z head_index, pos and head_index, got ${axes.join(", ") || "none"} at ${point.name}`,
    );
  }
  const count = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
  const positions = axes.includes("pos") ? count(length).map((p) => [p]) : [count(length)];
  const dHead = nUnits / (nHeads ?? 1);
  const units = axes.includes("unit")
    ? count(nUnits).map((u) => [u])
    : axes.includes("head_index")
      ? count(nHeads!).map((head) => count(dHead).map((i) => head * dHead + i))
      : [count(nUnits)];
  return {
    shape: axes.map((axis) => (axis === "pos" ? positions.length : units.length)),
    places: positions.flatMap((p) => units.map((u) => ({ positions: p, units: u }))),
  };
}
