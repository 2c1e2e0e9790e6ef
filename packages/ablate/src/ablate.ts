import {
  ArgumentError,
  createRng,
  DataError,
  type LongWork,
  type Rng,
  throwIfAborted,
} from "@penfield/core";
import type { HookedModel, InputRows, Intervention } from "@penfield/hooks";
import type { RowMetric } from "./ablationMap.ts";
import {
  type InputModel,
  inputStimuli,
  isInput,
  type OutputMetric,
  type Row,
  type Stimuli,
  tokenStimuli,
} from "./stimuli.ts";

export interface AblateOptions extends LongWork {
  readonly hook: string;
  /** As in an intervention; where absent, all. */
  readonly units?: ArrayLike<number> | undefined;
  readonly heads?: ArrayLike<number> | undefined;
  readonly positions?: ArrayLike<number> | undefined;
  /**
   * `zero` (default). `mean`: the mean over `reference`. `resample`: the values of another row.
   * `noise`: normal noise is added. `attendFirst`: at `hook_pattern`, all attention on the first token.
   */
  readonly method?: "zero" | "mean" | "resample" | "noise" | "attendFirst" | undefined;
  readonly metric: RowMetric;
  /**
   * `mean`: the rows to average over; default the prompts. `resample`: one row per prompt, of its
   * length; default another prompt for each, drawn with `seed`.
   */
  readonly reference?: readonly (readonly number[])[] | undefined;
  /** `mean`: keep positions apart. Default: if prompts and reference have one length. */
  readonly perPosition?: boolean | undefined;
  /** `noise`: in the units of the hook's values. */
  readonly standardDeviation?: number | undefined;
  /** `resample` and `noise`; default 0. */
  readonly seed?: number | undefined;
  /** Prompts in one run; default 32. */
  readonly batchSize?: number | undefined;
}

/** As for prompts, where stimuli are values in time: positions are time steps, and nothing has heads. */
export interface AblateInputOptions
  extends Omit<AblateOptions, "heads" | "method" | "metric" | "reference"> {
  readonly method?: Exclude<AblateOptions["method"], "attendFirst">;
  /** Reads the network's output, `[row, step, unit]`. */
  readonly metric: OutputMetric;
  readonly reference?: InputRows | undefined;
}

/** One value per prompt. */
export interface AblateResult {
  /** The metric without the ablation. */
  readonly baseline: Float64Array;
  /** The metric with it. */
  readonly ablated: Float64Array;
  /** `ablated` less `baseline`. */
  readonly effects: Float64Array;
}

/**
 * One ablation of one hook point: what it does to a metric, prompt by prompt. Each prompt is run with
 * and without in the same batch.
 *
 * A spiking network (or anything else that takes values) is given stimuli `[row, step, ...]` in the place of tokens.
 *
 * @throws {DataError} if there are no prompts, or the reference does not fit them.
 * @throws {ShapeError} for stimuli that are values, if they are not of one size.
 * @throws {HookPointError} if the hook point does not exist or cannot be written, or has no mean.
 * @throws {ArgumentError} for units, heads or positions that do not exist, and other options out of range.
 * @throws {InterruptedError} if the signal fires.
 *
 * Cost: 2 rows per prompt; `resample` 3; `mean` one more pass over the reference.
 *
 * @example
 * import { HookedModel, logitDiff } from "@penfield/hooks";
 * const model = await HookedModel.fromPretrained("test/fixtures/gpt2");
 * const { baseline, effects } = await ablate(model, [[5, 9, 7, 3], [2, 4, 6, 8]], {
 *   hook: "blocks.1.attn.hook_z", heads: [2], method: "mean",
 *   metric: logitDiff({ tokens: 11, incorrectTokens: 12 }),
 * });
 * [baseline.length, effects.length] // => [2, 2]
 * await model.dispose();
 */
export async function ablate(
  model: HookedModel,
  tokens: readonly (readonly number[])[],
  options: AblateOptions,
): Promise<AblateResult>;
export async function ablate(
  model: InputModel,
  input: InputRows,
  options: AblateInputOptions,
): Promise<AblateResult>;
export async function ablate(
  model: HookedModel | InputModel,
  given: readonly (readonly number[])[] | InputRows,
  options: AblateOptions | AblateInputOptions,
): Promise<AblateResult> {
  const stimuli = isInput(given)
    ? inputStimuli(model as InputModel, given, options.reference as InputRows | undefined)
    : tokenStimuli(model as HookedModel, given, (options as AblateOptions).reference);
  const { method = "zero", seed = 0, batchSize = 32, signal, onProgress } = options;
  const metric = options.metric as OutputMetric;
  const { n: nStimuli } = stimuli;
  if (nStimuli === 0) throw new DataError("ablate: expected prompts, got none");
  if (!Number.isInteger(batchSize) || batchSize < 1) {
    throw new ArgumentError(`ablate: expected a batch of at least 1 prompt, got ${batchSize}`);
  }
  const hook = model.hookPoint(options.hook).name;
  const sources = method === "resample" ? sourceRows(stimuli, options) : undefined;
  const changes = await changesOf(stimuli, hook, method, options);
  const noiseSeeds = seedsFrom(createRng(seed), method === "noise" ? nStimuli : 0);
  const { units, positions } = options;
  const heads = "heads" in options ? options.heads : undefined;
  const place = {
    hook,
    ...(units === undefined ? {} : { units }),
    ...(heads === undefined ? {} : { heads }),
    ...(positions === undefined ? {} : { positions }),
  };
  const baseline = new Float64Array(nStimuli);
  const ablated = new Float64Array(nStimuli);
  for (let start = 0; start < nStimuli; start += batchSize) {
    throwIfAborted(signal, "ablate");
    const n = Math.min(batchSize, nStimuli - start);
    const prompts = Array.from(
      { length: n },
      (_, i): Row => ({ list: "stimuli", index: start + i }),
    );
    // Plain rows, rows to take values from if there are any, ablated rows.
    const others = sources?.slice(start, start + n) ?? [];
    const rows = [...prompts, ...others, ...prompts];
    const first = n + others.length;
    const last = Array.from({ length: n }, (_, i) => first + i);
    const source = rows.map((_, row) => (row < first ? row : row - n));
    const interventions: Intervention[] =
      method === "resample"
        ? [{ ...place, op: { type: "resample", source }, rows: last }]
        : method === "noise"
          ? last.map((row, i) => ({
              ...place,
              op: {
                type: "noise",
                standardDeviation: options.standardDeviation!,
                seed: noiseSeeds[start + i]!,
              },
              rows: [row],
            }))
          : changes.map((change) => ({ ...place, ...change, rows: last }));
    const output = await stimuli.run(rows, interventions, signal);
    const read = [...prompts.keys(), ...last].map((row, i) => ({ row, prompt: start + (i % n) }));
    metric(output, read).forEach((value, i) => {
      (i < n ? baseline : ablated)[start + (i % n)] = value;
    });
    onProgress?.({ stage: "ablating", done: start + n, total: nStimuli, unit: "texts" });
  }
  return { baseline, ablated, effects: ablated.map((v, i) => v - baseline[i]!) };
}

/**
 * For each of n rows another one to take values from, drawn at random: no row takes its own.
 *
 * Sattolo's algorithm: one cycle through all rows.
 *
 * @throws {DataError} if there are fewer than 2 rows.
 *
 * @example
 * Array.from(resampleRows(4, 1)).sort() // => [0, 1, 2, 3]
 */
export function resampleRows(n: number, seed: number): Int32Array {
  if (!Number.isInteger(n) || n < 2) {
    throw new DataError(`resampleRows: expected at least 2 rows, got ${n}`, {
      hint: "A row alone has no other to take its values from; give a reference.",
    });
  }
  const rng = createRng(seed);
  const rows = Int32Array.from({ length: n }, (_, i) => i);
  for (let i = n - 1; i > 0; i--) {
    const j = rng.below(i);
    const swap = rows[i]!;
    rows[i] = rows[j]!;
    rows[j] = swap;
  }
  return rows;
}

function sourceRows(
  stimuli: Stimuli,
  { reference, seed = 0 }: AblateOptions | AblateInputOptions,
): readonly Row[] {
  const { n, nReference } = stimuli;
  const rows: readonly Row[] = reference
    ? Array.from({ length: nReference }, (_, index) => ({ list: "reference", index }))
    : Array.from(resampleRows(n, seed), (index) => ({ list: "stimuli", index }));
  const length = (row: Row | undefined) => row && stimuli.lengthOf(row);
  const own = Array.from({ length: n }, (_, index): Row => ({ list: "stimuli", index }));
  const wrong = own.findIndex((row, i) => length(row) !== length(rows[i]));
  if (wrong < 0 && rows.length === n) return rows;
  throw new DataError(
    `ablate: expected for each of ${n} prompts a row of its length, got ${wrong < 0 ? `${rows.length} rows` : `${length(rows[wrong]) ?? "no"} tokens for the ${length(own[wrong])} of prompt ${wrong}`}`,
    { hint: "Values move between the same positions of two rows." },
  );
}

type Change = Pick<Intervention, "op"> & { readonly positions?: readonly [number] };

/** What is done to the ablated rows, where it is the same for all of them. */
async function changesOf(
  stimuli: Stimuli,
  hook: string,
  method: AblateOptions["method"],
  options: AblateOptions | AblateInputOptions,
): Promise<Change[]> {
  const { standardDeviation, signal } = options;
  switch (method) {
    case "zero":
    case "attendFirst":
      return [{ op: { type: method } }];
    case "resample":
      return [];
    case "noise":
      if (standardDeviation !== undefined && standardDeviation >= 0) return [];
      throw new ArgumentError(
        `ablate: expected a standardDeviation of at least 0 for noise, got ${standardDeviation}`,
      );
    case "mean": {
      const lengthsOf = (list: Row["list"], n: number) =>
        Array.from({ length: n }, (_, index) => stimuli.lengthOf({ list, index }));
      const lengths = new Set([
        ...lengthsOf("stimuli", stimuli.n),
        ...lengthsOf("reference", stimuli.nReference),
      ]);
      const { perPosition = lengths.size === 1 } = options;
      if (perPosition && lengths.size !== 1) {
        throw new DataError(
          `ablate: expected prompts and reference of one length for means per position, got lengths ${[...lengths].join(", ")}`,
        );
      }
      const { data: values, shape } = await stimuli.means(hook, perPosition, signal);
      if (!perPosition) return [{ op: { type: "mean", values } }];
      const width = values.length / shape[0]!;
      const wanted = options.positions ?? Array.from({ length: shape[0]! }, (_, p) => p);
      return Array.from(wanted, (p) => ({
        op: { type: "mean", values: values.subarray(p * width, (p + 1) * width) },
        positions: [p] as const,
      }));
    }
    default:
      throw new ArgumentError(
        `ablate: expected method zero, mean, resample, noise or attendFirst, got ${method}`,
      );
  }
}

function seedsFrom(rng: Rng, n: number): number[] {
  return Array.from({ length: n }, () => rng.below(2 ** 32));
}
