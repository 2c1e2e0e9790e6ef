import type { FloatArray } from "@penfield/core";
import type { InterventionOp } from "./interventions.ts";

/** What one trial puts in: `[step, ...]`, a value for each input channel in each time step. */
export interface InputRecording {
  readonly id: string;
  readonly data: ArrayLike<number>;
  readonly shape: readonly number[];
}

/** Stimuli as values, `[row, step, ...]`. */
export interface InputRows {
  readonly data: ArrayLike<number>;
  readonly shape: readonly number[];
}

/** A model's output or what was captured, `[row, ...]`: logits `[row, pos, vocab]`, or a spiking network's `[row, step, unit]`. */
export interface OutputValues {
  readonly data: FloatArray;
  readonly shape: readonly number[];
}

/** What is done to chosen units in chosen rows and steps: as in an `Intervention`, at any model's hook points. */
export interface UnitChange {
  readonly hook: string;
  readonly op: Extract<InterventionOp, { readonly type: "zero" | "mean" | "resample" | "noise" }>;
  readonly units?: ArrayLike<number>;
  readonly rows?: ArrayLike<number>;
  readonly positions?: ArrayLike<number>;
}

/** A place of a model that takes recordings; `kind` is `spikes` where values are counts. */
export interface RecordingHook {
  readonly name: string;
  readonly kind: string;
  readonly layer: number | undefined;
  /** `row`, `step` and `unit` where there is a value for each of them. */
  readonly axes: readonly string[];
  readonly nUnits: number | undefined;
}

/**
 * What an analysis needs of a model that takes recordings and not tokens: `SpikingModel`, `StepModel`, or anything with their hooks. As
 * `RunnableModel` is for transformers; a function that needs less asks for a part of it.
 */
export interface RecordingModel {
  readonly name: string;
  readonly sha256: string;
  /** Seconds of a step, if the model knows it, and the simulator's conventions: the same file is another network with others. */
  readonly dt?: number | undefined;
  readonly options?: object | undefined;
  /** `float32` where sums are rounded to it: other bits than in `float64`, the default. */
  readonly precision?: "float64" | "float32" | undefined;
  readonly hookPoints: readonly RecordingHook[];
  listHooks(pattern?: string): readonly RecordingHook[];
  hookPoint(name: string): RecordingHook;
  run(request: {
    readonly input: InputRows;
    readonly capture?: readonly string[];
    readonly interventions?: readonly UnitChange[];
    readonly signal?: AbortSignal | undefined;
  }): Promise<{
    readonly output: OutputValues;
    readonly cache: ReadonlyMap<string, OutputValues>;
  }>;
}
