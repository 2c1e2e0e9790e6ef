import {
  type Activations,
  ArgumentError,
  DataError,
  type LongWork,
  tensor,
  throwIfAborted,
} from "@penfield/core";
import type { Intervention, ModelInput, ModelInputs, RunnableModel } from "@penfield/hooks";

export interface SecondOrderOptions extends LongWork {
  /** The layer of the unit: an MLP that attention follows. */
  readonly layer: number;
  /** The unit of its `mlp.hook_post`. */
  readonly unit: number;
  /** The position that the output is read from; default 0, the class token. */
  readonly position?: number | undefined;
}

/**
 * A unit's second-order effects: what it adds to the residual stream at the output's position by way of one later attention layer, for each stimulus.
 *
 *   r(x) = sum over later layers m of attn_out_m(x) - attn_out_m(x | unit at its mean, all else between held)
 *
 * The unit is set to its mean over stimuli and positions. Attention patterns, later MLPs and the other later attention layers are held at their values, so
 * that only paths unit - values - output of one layer are counted; the scale of the norm before attention is not held. Multiply by the model's projection
 * to come to the space of `secondOrderLens`.
 *
 * @param inputs - The stimuli, by input name; the first axis of each is the stimulus. Tokens are not taken: towers for images.
 * @returns `[nStimuli, dModel]`.
 * @throws {ArgumentError} for a layer without later ones, or a unit or position that is not there.
 * @throws {DataError} if inputs are of different numbers of stimuli.
 * @throws {HookPointError} if a hook point cannot be written to.
 *
 * Cost: for each stimulus a run of 1 + later layers rows; one run of all stimuli, one by one, for the mean.
 * Source: Gandelsman, Efros & Steinhardt (2024), Interpreting the Second-Order Effects of Neurons in CLIP, which has them in closed form.
 *
 * @example
 * import { HookedModel } from "@penfield/hooks";
 * const model = await HookedModel.fromPretrained("test/fixtures/clip/vision_model.onnx", { verify: "none" });
 * const pixel_values = { data: Float32Array.from({ length: 2 * 192 }, (_, i) => Math.sin(i)), shape: [2, 3, 8, 8] };
 * (await secondOrderEffects(model, { pixel_values }, { layer: 0, unit: 5 })).shape // => [2, 24]
 * await model.dispose();
 */
export async function secondOrderEffects(
  model: RunnableModel,
  inputs: Readonly<Record<string, ModelInput>>,
  { layer, unit, position = 0, signal, onProgress }: SecondOrderOptions,
): Promise<Activations> {
  const nStimuli = countStimuli(inputs);
  const hook = model.hookPoint(`blocks.${layer}.mlp.hook_post`).name;
  const later = Array.from({ length: model.cfg.nLayers - layer - 1 }, (_, i) => layer + 1 + i);
  if (later.length === 0) {
    throw new ArgumentError(
      `secondOrderEffects: expected a layer before the last of ${model.cfg.nLayers}, got ${layer}`,
    );
  }
  const mean = await meanValue(model, inputs, nStimuli, hook, unit, signal);
  const attention = later.map((m) => model.hookPoint(`blocks.${m}.hook_attn_out`).name);
  let out: Float64Array | undefined;
  for (let stimulus = 0; stimulus < nStimuli; stimulus++) {
    throwIfAborted(signal, "secondOrderEffects");
    const nRows = 1 + later.length;
    const source = Array.from({ length: nRows }, () => 0);
    const hold = (name: string, rows: readonly number[]): Intervention => ({
      hook: name,
      op: { type: "patch", source },
      rows,
    });
    const changed = Array.from(later, (_, i) => 1 + i);
    const interventions: Intervention[] = [
      { hook, op: { type: "constant", value: mean }, units: [unit], rows: changed },
      ...later.flatMap((m, i) => {
        const others = changed.filter((row) => row !== 1 + i);
        return [
          hold(`blocks.${m}.attn.hook_pattern`, changed),
          hold(`blocks.${m}.hook_mlp_out`, changed),
          ...(others.length > 0 ? [hold(attention[i]!, others)] : []),
        ];
      }),
    ];
    const { cache } = await model.run({
      inputs: stimulusRows(inputs, stimulus, nRows),
      capture: attention,
      interventions,
      head: "none",
    });
    for (const [i, name] of attention.entries()) {
      const { data, shape } = cache.get(name)!;
      const [, length, width] = shape as [number, number, number];
      if (!(Number.isInteger(position) && position >= 0 && position < length)) {
        throw new ArgumentError(
          `secondOrderEffects: expected a position within 0..${length - 1}, got ${position}`,
        );
      }
      out ??= new Float64Array(nStimuli * width);
      const own = ((1 + i) * length + position) * width;
      for (let j = 0; j < width; j++) {
        out[stimulus * width + j]! += data[position * width + j]! - data[own + j]!;
      }
    }
    onProgress?.({
      stage: "second-order effects",
      done: stimulus + 1,
      total: nStimuli,
      unit: "stimuli",
    });
  }
  return tensor(out!, ["stimulus", "unit"], [nStimuli, out!.length / nStimuli]);
}

function countStimuli(inputs: Readonly<Record<string, ModelInput>>): number {
  const counts = Object.values(inputs).map(({ shape }) => shape[0] ?? 0);
  if (counts.length === 0 || counts[0] === 0 || counts.some((count) => count !== counts[0])) {
    throw new DataError(
      `secondOrderEffects: expected inputs of as many stimuli, got ${counts.join(", ") || "none"}`,
    );
  }
  return counts[0]!;
}

/** One stimulus, as often as there are rows. */
function stimulusRows(
  inputs: Readonly<Record<string, ModelInput>>,
  stimulus: number,
  nRows: number,
): NonNullable<ModelInputs["inputs"]> {
  return Object.fromEntries(
    Object.entries(inputs).map(([name, { data, shape }]) => {
      const size = data.length / shape[0]!;
      const rows = data.slice(0, 0).constructor as new (n: number) => typeof data;
      const out = new rows(size * nRows);
      const one = data.subarray(stimulus * size, (stimulus + 1) * size);
      for (let row = 0; row < nRows; row++) out.set(one as never, row * size);
      return [name, { data: out, shape: [nRows, ...shape.slice(1)] }];
    }),
  );
}

async function meanValue(
  model: RunnableModel,
  inputs: Readonly<Record<string, ModelInput>>,
  nStimuli: number,
  hook: string,
  unit: number,
  signal: AbortSignal | undefined,
): Promise<number> {
  let sum = 0;
  let n = 0;
  for (let stimulus = 0; stimulus < nStimuli; stimulus++) {
    throwIfAborted(signal, "secondOrderEffects");
    const one = stimulusRows(inputs, stimulus, 1);
    const { cache } = await model.run({ inputs: one, capture: [hook], head: "none" });
    const { data, shape } = cache.get(hook)!;
    const nUnits = shape.at(-1)!;
    if (!(Number.isInteger(unit) && unit >= 0 && unit < nUnits)) {
      throw new ArgumentError(
        `secondOrderEffects: expected a unit within 0..${nUnits - 1}, got ${unit}`,
      );
    }
    for (let i = unit; i < data.length; i += nUnits) {
      sum += data[i]!;
      n++;
    }
  }
  return sum / n;
}
