import {
  ArgumentError,
  DataError,
  HookPointError,
  type LongWork,
  throwIfAborted,
} from "@penfield/core";
import type { TokenRows } from "../transformer/inputs.ts";
import type { HookedModel } from "../transformer/model.ts";

/** The mean of a hook point's values over a reference set. */
export interface MeanActivation {
  /** Row-major over `shape`; what a `mean` intervention takes (with `perPosition`, a part of it). */
  readonly values: Float64Array;
  /** The hook's axes without the batch, and without positions unless they are kept apart. */
  readonly shape: readonly number[];
  /** Tokens that went into each mean: of all rows, or with `perPosition` the rows. */
  readonly nTokens: number;
}

/** Values read in one run at most: 256 MB. */
const MAX_VALUES = 2 ** 26;

/**
 * Means of activations over a reference set, for ablation to the mean. Padding does not count.
 *
 * @param hooks - Names or patterns of hook points whose axes begin with batch and position.
 * @param options.perPosition - Keep positions apart; the rows must have one length. Default false.
 * @param options.batchSize - Rows in one run; default 128, fewer where they would not fit.
 * @returns By hook name.
 * @throws {DataError} if there are no rows, or lengths differ where positions are kept apart.
 * @throws {HookPointError} for hooks that do not exist, and for patterns and scores.
 * @throws {InterruptedError} if the signal fires.
 *
 * Cost: one pass over the rows, without scores over the vocabulary; sums in float64.
 *
 * @example
 * const model = await HookedModel.fromPretrained("test/fixtures/gpt2");
 * const means = await meanActivation(model, [[5, 9], [7, 3, 1]], ["blocks.*.hook_mlp_out"]);
 * const { shape, nTokens } = means.get("blocks.1.hook_mlp_out");
 * [shape, nTokens] // => [[24], 5]
 * await model.dispose();
 */
export async function meanActivation(
  model: HookedModel,
  tokens: TokenRows,
  hooks: readonly string[],
  options: LongWork & {
    readonly perPosition?: boolean | undefined;
    readonly batchSize?: number | undefined;
  } = {},
): Promise<ReadonlyMap<string, MeanActivation>> {
  const { perPosition = false, signal, onProgress } = options;
  const lengths = new Set(tokens.map((row) => row.length));
  if (tokens.length === 0 || (perPosition && lengths.size !== 1)) {
    throw new DataError(
      `meanActivation: expected ${perPosition ? "reference rows of one length" : "at least one reference row"}, got ${tokens.length === 0 ? "none" : `lengths ${[...lengths].join(", ")}`}`,
      perPosition ? { hint: "Without perPosition, rows may differ in length." } : {},
    );
  }
  const points = hooks.flatMap((hook) => {
    const found = model.listHooks(hook);
    return found.length > 0 ? found : [model.hookPoint(hook)];
  });
  const wrong = points.find(({ axes }) => axes[1] !== "pos");
  if (wrong) {
    throw new HookPointError(
      `meanActivation: expected hook points with axes batch, pos, …, got ${wrong.name} with ${wrong.axes.join(", ") || "none"}`,
    );
  }
  const names = [...new Set(points.map((point) => point.name))];
  const length = Math.max(...lengths);
  const { dModel } = model.cfg;
  const perRow = length * names.length * Math.max(dModel, ...points.map((p) => p.nUnits ?? 0));
  const { batchSize = Math.max(1, Math.min(128, Math.floor(MAX_VALUES / perRow))) } = options;
  if (!Number.isInteger(batchSize) || batchSize < 1) {
    throw new ArgumentError(`meanActivation: expected a batch of at least 1 row, got ${batchSize}`);
  }
  const sums = new Map<string, { sum: Float64Array; shape: number[] }>();
  for (let start = 0; start < tokens.length; start += batchSize) {
    throwIfAborted(signal, "meanActivation");
    const rows = tokens.slice(start, start + batchSize);
    const { cache, batch } = await model.run({ tokens: rows, capture: names, head: "none" });
    for (const name of names) {
      const { data, shape } = cache.get(name)!;
      const inner = shape.slice(2);
      const width = inner.reduce((a, b) => a * b, 1);
      const total = sums.get(name) ?? {
        sum: new Float64Array(width * (perPosition ? length : 1)),
        shape: perPosition ? [length, ...inner] : inner,
      };
      sums.set(name, total);
      batch.lengths.forEach((own, row) => {
        for (let p = 0; p < own; p++) {
          const from = (row * batch.length + p) * width;
          const to = perPosition ? p * width : 0;
          for (let i = 0; i < width; i++) total.sum[to + i]! += data[from + i]!;
        }
      });
    }
    const done = Math.min(start + batchSize, tokens.length);
    onProgress?.({ stage: "averaging activations", done, total: tokens.length, unit: "texts" });
  }
  const nTokens = perPosition ? tokens.length : tokens.reduce((sum, row) => sum + row.length, 0);
  return new Map(
    names.map((name) => {
      const { sum, shape } = sums.get(name)!;
      return [name, { values: sum.map((v) => v / nTokens), shape, nTokens }];
    }),
  );
}
