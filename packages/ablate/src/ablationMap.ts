import { ArgumentError, DataError, type LongWork, throwIfAborted } from "@penfield/core";
import type { HookedModel, HookValues, Intervention, InterventionOp } from "@penfield/hooks";

/** A number read off the model's output for each row, such as a difference of two logits. */
export type RowMetric = (
  logits: HookValues,
  rows: readonly { row: number; prompt: number }[],
) => number[];

export interface AblationMapOptions extends LongWork {
  /** Hook point whose units are ablated one at a time. */
  readonly hook: string;
  /** Default: all units of the hook point. */
  readonly units?: ArrayLike<number> | undefined;
  readonly op?: InterventionOp | undefined;
  /** Rows in one run of the model; default 128. */
  readonly batchSize?: number | undefined;
  readonly metric: RowMetric;
  /**
   * `all` (default): the metric gets logits `[row, pos, vocab]`. `last`: those of the last token
   * alone, `[row, 1, vocab]`, which spares most of the work for a large vocabulary.
   */
  readonly positions?: "all" | "last" | undefined;
}

/**
 * The effect of ablating each unit of a hook point by itself.
 *
 * What comes before the hook's block is computed once per prompt; from there on, each row of a batch
 * carries another ablation.
 *
 * @param tokens - Prompts of one length, one row each.
 * @returns `baseline` `[nPrompts]` and `effects` `[nUnits, nPrompts]`: metric with the ablation minus without.
 * @throws {DataError} if there is no prompt, or prompts differ in length.
 * @throws {ArgumentError} if the hook point is not in a block (the embedding), or the batch is no whole number.
 *
 * Cost: one forward pass over the prompts, then nUnits * nPrompts rows through the layers from the
 * hook's block on.
 */
export async function ablationMap(
  model: HookedModel,
  tokens: readonly (readonly number[])[],
  options: AblationMapOptions,
): Promise<{ baseline: Float64Array; effects: Float64Array; nUnits: number }> {
  const { hook, op = { type: "zero" }, batchSize = 128, metric, signal, onProgress } = options;
  const lengths = new Set(tokens.map((row) => row.length));
  if (lengths.size !== 1) {
    throw new DataError(
      `ablationMap: expected prompts of one length, got ${lengths.size === 0 ? "no prompt" : `lengths ${[...lengths].join(", ")}`}`,
    );
  }
  if (!(Number.isInteger(batchSize) && batchSize >= 1)) {
    throw new ArgumentError(`ablationMap: expected a batch of at least 1 row, got ${batchSize}`);
  }
  const point = model.hookPoint(hook);
  const units = options.units ?? Array.from({ length: point.nUnits ?? 0 }, (_, i) => i);
  if (point.layer === undefined) {
    throw new ArgumentError(
      `ablationMap: expected a hook point of a block, got ${JSON.stringify(hook)}`,
      { hint: "What comes before the first block can be changed with blocks.0.hook_resid_pre." },
    );
  }
  // The nearest place that everything before the hook goes through.
  const mid = `blocks.${point.layer}.hook_resid_mid`;
  const inMlp = point.kind.startsWith("mlp.") || point.kind === "hook_mlp_out";
  const hasMid = model.hookPoints.some((h) => h.name === mid);
  const from = inMlp && hasMid ? mid : `blocks.${point.layer}.hook_resid_pre`;
  const head = options.positions === "last" ? "lastLogits" : "logits";
  const plain = await model.run({ tokens, capture: [from], head });
  const prefix = plain.cache.get(from)!;
  const baseline = Float64Array.from(
    metric(
      plain.logits!,
      tokens.map((_, i) => ({ row: i, prompt: i })),
    ),
  );
  const [, length, dim] = prefix.shape as [number, number, number];
  const nPrompts = tokens.length;
  const nRows = units.length * nPrompts;
  const effects = new Float64Array(nRows);
  const size = Math.min(batchSize, nRows);
  for (let start = 0; start < nRows; start += size) {
    throwIfAborted(signal, "ablationMap");
    const n = Math.min(size, nRows - start);
    const values = new Float32Array(n * length * dim);
    const interventions: Intervention[] = [];
    const rows = Array.from({ length: n }, (_, row) => {
      const prompt = (start + row) % nPrompts;
      const unit = units[Math.floor((start + row) / nPrompts)]!;
      values.set(
        prefix.data.subarray(prompt * length * dim, (prompt + 1) * length * dim),
        row * length * dim,
      );
      interventions.push({ hook, op, units: [unit], rows: [row] });
      return { row, prompt };
    });
    const { logits } = await model.run({
      tokens: rows.map(({ prompt }) => tokens[prompt]!),
      interventions,
      head,
      from: { hook: from, values: { data: values, shape: [n, length, dim] } },
    });
    metric(logits!, rows).forEach((value, row) => {
      effects[start + row] = value - baseline[rows[row]!.prompt]!;
    });
    onProgress?.({ stage: "ablating units", done: start + n, total: nRows, unit: "ablations" });
  }
  return { baseline, effects, nUnits: units.length };
}
