import { ShapeError } from "@penfield/core";
import {
  type HookedModel,
  type InputRows,
  type Intervention,
  meanActivation,
  type OutputValues,
  type RecordingModel,
  type UnitChange,
} from "@penfield/hooks";

/** A number read off a model's output for each row; `prompt` is the place of the row's stimulus. */
export type OutputMetric = (
  output: OutputValues,
  rows: readonly { row: number; prompt: number }[],
) => number[];

/** A model that takes values and not tokens: `SpikingModel`, or anything with its hooks. */
export type InputModel = Pick<RecordingModel, "hookPoint" | "run">;

/** A row of a batch: one of the stimuli, or of those that values are taken from. */
export interface Row {
  readonly list: "stimuli" | "reference";
  readonly index: number;
}

/** Stimuli of any kind with the model that runs them. */
export interface Stimuli {
  readonly n: number;
  readonly nReference: number;
  /** Steps or tokens of a stimulus. */
  lengthOf(row: Row): number;
  run(
    rows: readonly Row[],
    changes: readonly (UnitChange | Intervention)[],
    signal: AbortSignal | undefined,
  ): Promise<OutputValues>;
  /** Mean values at a hook point over the reference; `[unit]` or `[position, unit]`. */
  means(hook: string, perPosition: boolean, signal: AbortSignal | undefined): Promise<OutputValues>;
}

export const isInput = (
  stimuli: readonly (readonly number[])[] | InputRows,
): stimuli is InputRows => !Array.isArray(stimuli);

export function tokenStimuli(
  model: HookedModel,
  tokens: readonly (readonly number[])[],
  reference: readonly (readonly number[])[] = tokens,
): Stimuli {
  const rowOf = ({ list, index }: Row) => (list === "stimuli" ? tokens : reference)[index]!;
  return {
    n: tokens.length,
    nReference: reference.length,
    lengthOf: (row) => rowOf(row).length,
    async run(rows, changes) {
      const { logits } = await model.run({
        tokens: rows.map(rowOf),
        interventions: changes as readonly Intervention[],
      });
      return logits!;
    },
    async means(hook, perPosition, signal) {
      const means = await meanActivation(model, reference, [hook], { perPosition, signal });
      const { values, shape } = means.get(hook)!;
      return { data: values, shape };
    },
  };
}

/** @throws {ShapeError} if the reference's stimuli are of another size. */
export function inputStimuli(
  model: InputModel,
  input: InputRows,
  reference: InputRows = input,
): Stimuli {
  const rest = input.shape.slice(1);
  const size = rest.reduce((a, b) => a * b, 1);
  for (const { data, shape } of [input, reference]) {
    if (
      shape.length >= 3 &&
      shape.slice(1).join() === rest.join() &&
      data.length === shape[0]! * size
    )
      continue;
    throw new ShapeError(
      `ablate: expected stimuli of [row, step, ...], all of one size, got [${shape.join(", ")}] with ${data.length} values`,
    );
  }
  return {
    n: input.shape[0]!,
    nReference: reference.shape[0]!,
    lengthOf: () => rest[0]!,
    async run(rows, changes, signal) {
      const data = new Float64Array(rows.length * size);
      rows.forEach(({ list, index }, row) => {
        const from = list === "stimuli" ? input.data : reference.data;
        for (let k = 0; k < size; k++) data[row * size + k] = from[index * size + k]!;
      });
      const { output } = await model.run({
        input: { data, shape: [rows.length, ...rest] },
        interventions: changes as readonly UnitChange[],
        signal,
      });
      return output;
    },
    async means(hook, perPosition, signal) {
      const { cache } = await model.run({ input: reference, capture: [hook], signal });
      const { data, shape } = cache.get(hook)!;
      const [nRows, nSteps, nUnits] = shape as [number, number, number];
      const nMeans = perPosition ? nSteps : 1;
      const means = new Float64Array(nMeans * nUnits);
      const n = (nRows * nSteps) / nMeans;
      for (let k = 0; k < data.length; k++) {
        const step = Math.floor(k / nUnits) % nSteps;
        means[(perPosition ? step * nUnits : 0) + (k % nUnits)]! += data[k]! / n;
      }
      return { data: means, shape: perPosition ? [nSteps, nUnits] : [nUnits] };
    },
  };
}
