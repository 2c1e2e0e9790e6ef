import { ArgumentError, DataError, type LongWork, throwIfAborted } from "@penfield/core";
import type {
  HookedModel,
  HookValues,
  InputRows,
  Intervention,
  InterventionOp,
  UnitChange,
} from "@penfield/hooks";
import { type InputModel, inputStimuli, isInput, type OutputMetric, type Row } from "./stimuli.ts";

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

/** As for prompts, where stimuli are values in time. */
export interface AblationMapInputOptions
  extends Omit<AblationMapOptions, "metric" | "op" | "positions"> {
  readonly op?: UnitChange["op"] | undefined;
  /** Reads the network's output, `[row, step, unit]`. */
  readonly metric: OutputMetric;
}

/** One value per prompt, and one per unit and prompt. */
interface AblationMap {
  readonly baseline: Float64Array;
  readonly effects: Float64Array;
  readonly nUnits: number;
}

/**
 * The effect of ablating each unit of a hook point by itself.
 *
 * What comes before the hook's block is computed once per prompt; from there on, each row of a batch
 * carries another ablation. A spiking network (or anything else that takes values) is run from the beginning.
 *
 * @param tokens - Prompts of one length, one row each; for a network that takes values, stimuli `[row, step, ...]`.
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
): Promise<AblationMap>;
export async function ablationMap(
  model: InputModel,
  input: InputRows,
  options: AblationMapInputOptions,
): Promise<AblationMap>;
export async function ablationMap(
  model: HookedModel | InputModel,
  stimuli: readonly (readonly number[])[] | InputRows,
  options: AblationMapOptions | AblationMapInputOptions,
): Promise<AblationMap> {
  const { batchSize = 128 } = options;
  if (!(Number.isInteger(batchSize) && batchSize >= 1)) {
    throw new ArgumentError(`ablationMap: expected a batch of at least 1 row, got ${batchSize}`);
  }
  return isInput(stimuli)
    ? mapOfInput(model as InputModel, stimuli, options as AblationMapInputOptions)
    : mapOfTokens(model as HookedModel, stimuli, options as AblationMapOptions);
}

async function mapOfInput(
  model: InputModel,
  input: InputRows,
  options: AblationMapInputOptions,
): Promise<AblationMap> {
  const { op = { type: "zero" }, batchSize = 128, metric, signal, onProgress } = options;
  const stimuli = inputStimuli(model, input);
  if (stimuli.n === 0) throw new DataError("ablationMap: expected stimuli, got none");
  const point = model.hookPoint(options.hook);
  const units = options.units ?? Array.from({ length: point.nUnits ?? 0 }, (_, i) => i);
  const all = Array.from({ length: stimuli.n }, (_, index): Row => ({ list: "stimuli", index }));
  const plain = await stimuli.run(all, [], signal);
  const baseline = Float64Array.from(
    metric(
      plain,
      all.map((_, i) => ({ row: i, prompt: i })),
    ),
  );
  const nRows = units.length * stimuli.n;
  const effects = new Float64Array(nRows);
  for (let start = 0; start < nRows; start += batchSize) {
    throwIfAborted(signal, "ablationMap");
    const n = Math.min(batchSize, nRows - start);
    const rows = Array.from({ length: n }, (_, row) => ({
      row,
      prompt: (start + row) % stimuli.n,
    }));
    const output = await stimuli.run(
      rows.map(({ prompt }) => all[prompt]!),
      rows.map(({ row }): UnitChange => {
        const unit = units[Math.floor((start + row) / stimuli.n)]!;
        return { hook: point.name, op, units: [unit], rows: [row] };
      }),
      signal,
    );
    metric(output, rows).forEach((value, row) => {
      effects[start + row] = value - baseline[rows[row]!.prompt]!;
    });
    onProgress?.({ stage: "ablating units", done: start + n, total: nRows, unit: "ablations" });
  }
  return { baseline, effects, nUnits: units.length };
}

async function mapOfTokens(
  model: HookedModel,
  tokens: readonly (readonly number[])[],
  options: AblationMapOptions,
): Promise<AblationMap> {
  const { hook, op = { type: "zero" }, batchSize = 128, metric, signal, onProgress } = options;
  const lengths = new Set(tokens.map((row) => row.length));
  if (lengths.size !== 1) {
    throw new DataError(
      `ablationMap: expected prompts of one length, got ${lengths.size === 0 ? "no prompt" : `lengths ${[...lengths].join(", ")}`}`,
    );
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
