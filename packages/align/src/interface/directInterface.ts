import {
  ArgumentError,
  createRng,
  DataError,
  type LongWork,
  permutation,
  ShapeError,
  takeColumns,
  tensor,
  throwIfAborted,
} from "@penfield/core";
import type { HookedModel, HookPoint } from "@penfield/hooks";
import { createLinalg, type Linalg } from "@penfield/linalg";
import { type EncodingOptions, encodingScore } from "../encodingScore.ts";
import { contiguousFolds, type Fold, groupedFolds } from "../folds.ts";
import type { Responses } from "../regression/ridgeCv.ts";

/** Scores at the last token, `[dVocab]`, as behaviour: larger is better. */
export type Behaviour = (logits: Float32Array, stimulus: number) => number;

/** Which brain is put where, and what is asked of the model then. */
export interface DirectInterfaceOptions extends LongWork {
  /** Hook points with axes batch, pos, unit, by name or pattern. Default: the end of every block. */
  readonly hooks?: readonly string[] | string | undefined;
  /** Targets of each region. Default: all targets as one region. */
  readonly regions?: Readonly<Record<string, readonly number[]>> | undefined;
  /**
   * What the model does for a stimulus. Default: 1 if its likeliest next token is still the one that
   * the untouched model names, else 0.
   */
  readonly behaviour?: Behaviour | undefined;
  /** Contiguous folds (grouped, if there are groups) that are held out in turn. Default 5. */
  readonly nFolds?: number | undefined;
  /** A label per stimulus; stimuli of one group are never on both sides of a split. */
  readonly groups?: readonly (string | number)[] | undefined;
  /** Of the ridge regression from brain to layer. */
  readonly encoding?: Pick<EncodingOptions, "innerFolds" | "alphas"> | undefined;
  /** How often the predicted activity of other stimuli is put in instead, as a floor. Default 5. */
  readonly nShuffles?: number | undefined;
  /** Stimuli that are run together. Default 32. */
  readonly batchSize?: number | undefined;
  /** Default 0. */
  readonly seed?: number | undefined;
  readonly linalg?: Linalg | undefined;
}

/** A region in place of a layer. */
export interface InterfaceCell {
  readonly hook: string;
  readonly region: string;
  /** How well the region's responses predict the layer's activity on held-out stimuli, mean of r over units. */
  readonly r: number;
  /** Mean over stimuli, with the predicted activity in place of the model's own. */
  readonly behaviour: number;
  readonly perStimulus: Float64Array;
  /** The same with the predicted activity of other stimuli: what a brain that reads something else gives. */
  readonly shuffled: readonly number[];
}

/** What a model still does when a brain speaks in place of one of its layers. */
export interface DirectInterface {
  /** Of the untouched model: 1 by the default behaviour. */
  readonly intact: number;
  /** With the mean activity over stimuli in place of a layer's own: what needs no brain. By hook point. */
  readonly meanActivity: ReadonlyMap<string, number>;
  readonly cells: readonly InterfaceCell[];
}

/** What the function needs of a model. */
type Model = Pick<HookedModel, "run" | "hookPoint" | "listHooks">;

/**
 * Puts a brain into a model: a ridge regression learns a layer's activity from a region's responses, its
 * prediction for held-out stimuli replaces the activity at the last token, the rest of the model runs on, and its
 * behaviour is scored. High behaviour says that the region carries what this layer hands on, which a
 * high correlation alone does not: the many units that are predicted need not be those that count.
 *
 *   a_i = held-out prediction of activity from responses;  behaviour_i = score(rest of the model(a_i))
 *
 * @param model - `HookedModel`; hook points must be writable.
 * @param tokens - One row per stimulus, in the order of the responses.
 * @param responses - `[nStimuli, nTargets]`.
 * @param options - Which layers and regions, and what is asked.
 * @returns A cell for each hook point and region, beside the floors: mean activity, and activity predicted
 *   for other stimuli (of the same held-out fold, so that nothing leaks).
 * @throws {ShapeError} if rows and responses differ in number. {HookPointError} if a hook point is not there or
 *   not writable. {ArgumentError} if an option is out of range. {DataError} if a region has no targets.
 *   {InterruptedError} if the signal fires.
 *
 * Cost: for each hook point and region one `encodingScore` and 1 + nShuffles runs of the part of the model
 *   behind the hook point.
 * Source: Sexton & Love (2022), Directly interfacing brain and deep networks exposes non-hierarchical visual
 *   processing, Sci Adv 8:eabm2219 (their CNNs and images; here any writable hook point).
 */
export async function directInterface(
  model: Model,
  tokens: readonly (readonly number[])[],
  responses: Responses,
  options: DirectInterfaceOptions = {},
): Promise<DirectInterface> {
  const {
    nShuffles = 5,
    batchSize = 32,
    nFolds = 5,
    seed = 0,
    groups,
    onProgress,
    signal,
  } = options;
  const [nStimuli, nTargets] = responses.shape;
  if (tokens.length !== nStimuli) {
    throw new ShapeError(
      `directInterface: expected a row of tokens for each of ${nStimuli} stimuli, got ${tokens.length}`,
    );
  }
  for (const [key, value, least] of [
    ["nShuffles", nShuffles, 0],
    ["batchSize", batchSize, 1],
  ] as const) {
    if (!Number.isInteger(value) || value < least) {
      throw new ArgumentError(
        `directInterface: expected a whole number from ${least} for ${key}, got ${value}`,
      );
    }
  }
  const regions = Object.entries(
    options.regions ?? { all: Array.from({ length: nTargets }, (_, t) => t) },
  );
  const empty = regions.find(([, targets]) => targets.length === 0);
  if (regions.length === 0 || empty) {
    throw new DataError(
      `directInterface: expected targets in every region, got ${empty ? `none in ${JSON.stringify(empty[0])}` : "no region"}`,
    );
  }
  const hooks = hooksOf(model, options.hooks);
  const folds = groups ? groupedFolds(groups, nFolds) : contiguousFolds(nStimuli, nFolds);
  const own = options.linalg === undefined;
  const linalg = options.linalg ?? createLinalg();
  try {
    const { activity, logits } = await readAll(model, tokens, hooks, batchSize, signal);
    const behaviour = options.behaviour ?? sameToken(logits);
    const intact = meanOf(Float64Array.from(logits, (row, i) => behaviour(row, i)));
    const put = async (hook: string, values: Float32Array): Promise<Float64Array> => {
      const scores = new Float64Array(nStimuli);
      const nUnits = values.length / nStimuli;
      for (const rows of batches(tokens, batchSize)) {
        throwIfAborted(signal, "directInterface");
        const { logits: out } = await model.run({
          tokens: rows.map((i) => [...tokens[i]!]),
          head: "lastLogits",
          interventions: rows.map((i, row) => ({
            hook,
            op: { type: "mean" as const, values: values.subarray(i * nUnits, (i + 1) * nUnits) },
            rows: [row],
            positions: [tokens[i]!.length - 1],
          })),
        });
        const size = out!.data.length / rows.length;
        rows.forEach((i, row) => {
          scores[i] = behaviour(out!.data.subarray(row * size, (row + 1) * size), i);
        });
      }
      return scores;
    };
    const meanActivity = new Map<string, number>();
    const cells: InterfaceCell[] = [];
    const total = hooks.length * regions.length;
    for (const hook of hooks) {
      const values = activity.get(hook)!;
      meanActivity.set(hook, meanOf(await put(hook, ofMeans(values, nStimuli))));
      for (const [region, targets] of regions) {
        const { predictions, mean } = await predictActivity(
          takeColumns({ ...responses, axes: ["stimulus", "unit"] as const }, targets),
          values,
          { ...options.encoding, outerFolds: folds, groups, linalg, signal },
        );
        const perStimulus = await put(hook, predictions);
        const shuffled: number[] = [];
        for (let s = 0; s < nShuffles; s++) {
          const order = shuffledWithin(folds, nStimuli, seed + s);
          shuffled.push(meanOf(await put(hook, inOrder(predictions, order))));
        }
        cells.push({
          hook,
          region,
          r: mean,
          behaviour: meanOf(perStimulus),
          perStimulus,
          shuffled,
        });
        onProgress?.({
          stage: "putting regions into layers",
          done: cells.length,
          total,
          unit: "cells",
        });
      }
    }
    return { intact, meanActivity, cells };
  } finally {
    if (own) await linalg.dispose();
  }
}

function hooksOf(model: Model, wanted: readonly string[] | string = "*.hook_resid_post"): string[] {
  const names = typeof wanted === "string" ? [wanted] : wanted;
  const found: HookPoint[] = names.flatMap((name) =>
    name.includes("*") ? [...model.listHooks(name)] : [model.hookPoint(name)],
  );
  const wrong = found.find(
    ({ axes, writable }) => axes.length !== 3 || axes[1] !== "pos" || !writable,
  );
  if (found.length === 0 || wrong) {
    throw new ArgumentError(
      `directInterface: expected writable hook points with axes batch, pos and units, got ${wrong ? `${wrong.name} (${wrong.axes.join(", ")}${wrong.writable ? "" : ", not writable"})` : `none for ${names.join(", ")}`}`,
    );
  }
  return found.map(({ name }) => name);
}

/** Rows of like length together. */
function batches(tokens: readonly (readonly number[])[], size: number): number[][] {
  const order = tokens.map((_, i) => i).sort((a, b) => tokens[a]!.length - tokens[b]!.length);
  return Array.from({ length: Math.ceil(order.length / size) }, (_, b) =>
    order.slice(b * size, (b + 1) * size),
  );
}

/** Activity at the last token, `[nStimuli, nUnits]` by hook point, and the scores there. */
async function readAll(
  model: Model,
  tokens: readonly (readonly number[])[],
  hooks: readonly string[],
  batchSize: number,
  signal: AbortSignal | undefined,
): Promise<{ activity: Map<string, Float32Array>; logits: Float32Array[] }> {
  const activity = new Map<string, Float32Array>();
  const logits: Float32Array[] = [];
  for (const rows of batches(tokens, batchSize)) {
    throwIfAborted(signal, "directInterface");
    const { cache, logits: out } = await model.run({
      tokens: rows.map((i) => [...tokens[i]!]),
      capture: [...hooks],
      reduce: "last",
      head: "lastLogits",
    });
    for (const hook of hooks) {
      const { data } = cache.get(hook)!;
      const nUnits = data.length / rows.length;
      const all = activity.get(hook) ?? new Float32Array(tokens.length * nUnits);
      activity.set(hook, all);
      rows.forEach((i, row) => {
        all.set((data as Float32Array).subarray(row * nUnits, (row + 1) * nUnits), i * nUnits);
      });
    }
    const size = out!.data.length / rows.length;
    rows.forEach((i, row) => {
      logits[i] = (out!.data as Float32Array).slice(row * size, (row + 1) * size);
    });
  }
  return { activity, logits };
}

function sameToken(logits: readonly Float32Array[]): Behaviour {
  const named = logits.map(largest);
  return (row, i) => (largest(row) === named[i] ? 1 : 0);
}

function largest(row: Float32Array): number {
  let best = 0;
  for (let i = 1; i < row.length; i++) if (row[i]! > row[best]!) best = i;
  return best;
}

/** Predictions of a layer's activity for held-out stimuli, and the mean of their correlations. */
async function predictActivity(
  region: Parameters<typeof encodingScore>[0],
  values: Float32Array,
  options: EncodingOptions,
): Promise<{ predictions: Float32Array; mean: number }> {
  const [nStimuli] = region.shape;
  const nUnits = values.length / nStimuli;
  const y: Responses = tensor(values, ["stimulus", "target"], [nStimuli, nUnits]);
  const { predictions, mean } = await encodingScore(region, y, {
    standardize: true,
    ...options,
    keepPredictions: true,
  });
  return { predictions: Float32Array.from(predictions!.data), mean };
}

/** An order in which stimuli change places only with those that were held out with them. */
function shuffledWithin(folds: readonly Fold[], nStimuli: number, seed: number): Int32Array {
  const rng = createRng(seed);
  const order = Int32Array.from({ length: nStimuli }, (_, i) => i);
  for (const { test } of folds) {
    const places = permutation(test.length, rng);
    test.forEach((stimulus, i) => {
      order[stimulus] = test[places[i]!]!;
    });
  }
  return order;
}

function inOrder(values: Float32Array, order: Int32Array): Float32Array {
  const nUnits = values.length / order.length;
  const out = new Float32Array(values.length);
  order.forEach((from, i) => {
    out.set(values.subarray(from * nUnits, (from + 1) * nUnits), i * nUnits);
  });
  return out;
}

/** The mean over stimuli in the place of each. */
function ofMeans(values: Float32Array, nStimuli: number): Float32Array {
  const nUnits = values.length / nStimuli;
  const means = new Float64Array(nUnits);
  values.forEach((v, i) => {
    means[i % nUnits]! += v / nStimuli;
  });
  return Float32Array.from(values, (_, i) => means[i % nUnits]!);
}

const meanOf = (values: ArrayLike<number>): number => {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]!;
  return sum / values.length;
};
