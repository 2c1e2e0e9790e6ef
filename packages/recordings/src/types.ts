import type { Tensor } from "@penfield/core";

/** One measured channel: a voxel, a vertex, a sensor, a neuron. */
export interface Target {
  readonly id: string;
  readonly region?: string | undefined;
  readonly subject?: string | undefined;
  /** Millimetres, in the coordinate system of the file. */
  readonly position?: readonly [x: number, y: number, z: number] | undefined;
  /** `voxel`, `vertex`, `neuron`, or the kind of sensor (`mag`, `grad`, `eeg`, `eog`, `stim`). */
  readonly kind?: string | undefined;
  /** Where it is not that of the recording: a cap of EEG in volts beside magnetometers in tesla. */
  readonly unit?: string | undefined;
}

/** How targets lie in the volume or on the surface they came from, so that maps can be written back. */
export type Space =
  | {
      readonly kind: "volume";
      readonly shape: readonly [nx: number, ny: number, nz: number];
      /** Voxel indices to millimetres, 4 x 4 by rows, [16]. */
      readonly affine: Float64Array;
      /** Of each target, x fastest: i + nx (j + ny k), [nTargets]. */
      readonly indices: Int32Array;
    }
  | {
      readonly kind: "surface";
      readonly hemisphere?: "left" | "right" | undefined;
      readonly nVertices: number;
      /** Of each target, [nTargets]. */
      readonly indices: Int32Array;
    }
  | {
      /** CIFTI-2: vertices of surfaces and voxels of structures in one list. */
      readonly kind: "grayordinates";
      /** In the file's order; `nVertices` only of surfaces. */
      readonly structures: readonly {
        readonly name: string;
        readonly nVertices?: number | undefined;
      }[];
      /** Which structure each target is of, [nTargets]. */
      readonly structureOf: Uint16Array;
      /** Of each target the vertex, or in `volume` i + nx (j + ny k), [nTargets]. */
      readonly indices: Int32Array;
      /** The grid of the voxels, if there are any. */
      readonly volume?:
        | {
            readonly shape: readonly [nx: number, ny: number, nz: number];
            readonly affine: Float64Array;
          }
        | undefined;
    };

/** What every kind of recording says about itself. */
export interface RecordingInfo {
  readonly name: string;
  /** Whether it was made up by `simulateRecording` and not measured; every report says so. */
  readonly simulated: boolean;
  /** One per target. */
  readonly targets: readonly Target[];
  /** Of the file, or of the simulated bytes. */
  readonly sha256: string;
  /** What the values are in, as the file says. */
  readonly unit?: string | undefined;
  readonly space?: Space | undefined;
  /** How many targets the file has that are not here, because a value was NaN or infinite, or never varied. */
  readonly nMasked?: number | undefined;
  /** Their ids. */
  readonly maskedTargets?: readonly string[] | undefined;
  /** Ids of targets that are here but have one value throughout: no score or ceiling can be computed for them. */
  readonly constantTargets?: readonly string[] | undefined;
}

/** What a brain did, stimulus by stimulus. */
export interface Recording extends RecordingInfo {
  /** `[nRepeats, nStimuli, nTargets]`; NaN only where a stimulus was not repeated so often. */
  readonly data: Tensor<readonly ["repeat", "stimulus", "target"]>;
  /** One per stimulus, each once, in the order of the data. */
  readonly stimulusIds: readonly string[];
}

/** What a brain did after (or around) each stimulus, sample by sample: epochs. */
export interface TimedRecording extends RecordingInfo {
  /** `[nRepeats, nStimuli, nTargets, nTimes]`. */
  readonly data: Tensor<readonly ["repeat", "stimulus", "target", "time"]>;
  readonly stimulusIds: readonly string[];
  /** Hz. */
  readonly samplingRate: number;
  /** Seconds from the onset of the stimulus, [nTimes]. */
  readonly times: Float64Array;
}

/** Something that happened while a brain was recorded. */
export interface RecordedEvent {
  /** Seconds from the first sample of the recording. */
  readonly onset: number;
  /** Seconds; 0 for a moment. */
  readonly duration: number;
  /** BIDS' `trial_type`, a trigger's number, an annotation's text. */
  readonly type: string;
  /** Further columns of an events table, as text. */
  readonly columns?: Readonly<Record<string, string>> | undefined;
}

/** A recording as the scanner or amplifier left it: one row per sample, not yet cut by stimulus. */
export interface TimeSeries extends RecordingInfo {
  /** `[nTimes, nTargets]`. */
  readonly data: Tensor<readonly ["time", "target"]>;
  /** Hz; for fMRI 1 / TR. */
  readonly samplingRate: number;
  /** The first sample of each run, ascending from 0. Nothing is filtered across their borders. Default: one run. */
  readonly runOnsets?: readonly number[] | undefined;
  readonly events: readonly RecordedEvent[];
}
