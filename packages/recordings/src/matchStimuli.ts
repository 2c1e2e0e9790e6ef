import { type Activations, DataError, ShapeError, tensor } from "@penfield/core";
import type { StimulusSet } from "./stimulusSet.ts";
import type { Recording } from "./types.ts";

/** Which row of the model's side belongs to which row of the recording. */
export interface StimulusMatch {
  /** Rows of the set, in the recording's order. */
  readonly setIndices: Int32Array;
  /** Rows of the recording. */
  readonly recordingIndices: Int32Array;
  /** Stimuli that were not recorded; empty unless `allowMissing`. */
  readonly notRecorded: readonly string[];
  /** Recorded stimuli that the set lacks; empty unless `allowMissing`. */
  readonly notInSet: readonly string[];
}

/**
 * Brings the stimuli of a set and the rows of a recording together by id.
 *
 * @param set - A set, or just its ids in row order.
 * @param recording - Its ids are matched exactly, capital letters included.
 * @param options.allowMissing - Default false: each side must have all of the other's stimuli.
 * @throws {DataError} if stimuli are missing on a side (how many, and the first few) or nothing matches.
 */
export function matchStimuli(
  set: StimulusSet | readonly string[],
  recording: Recording,
  { allowMissing = false }: { allowMissing?: boolean } = {},
): StimulusMatch {
  const ids = "stimuli" in set ? set.stimuli.map(({ id }) => id) : set;
  const rows = new Map(ids.map((id, row) => [id, row]));
  if (rows.size !== ids.length) {
    throw new DataError(
      `matchStimuli: expected each stimulus id once, got ${ids.length - rows.size} repeated`,
      { hint: "Average several stimuli of one id first with groupByStimulus." },
    );
  }
  const recorded = new Set(recording.stimulusIds);
  const notInSet = recording.stimulusIds.filter((id) => !rows.has(id));
  const notRecorded = ids.filter((id) => !recorded.has(id));
  const pairs = recording.stimulusIds.flatMap((id, row) => {
    const at = rows.get(id);
    return at === undefined ? [] : [[at, row] as const];
  });
  if (pairs.length === 0 || (!allowMissing && notInSet.length + notRecorded.length > 0)) {
    const first = (list: readonly string[]) =>
      `${list
        .slice(0, 5)
        .map((id) => JSON.stringify(id))
        .join(", ")}${list.length > 5 ? ", ..." : ""}`;
    const sides = [
      notInSet.length > 0
        ? `${notInSet.length} recorded ones without a stimulus (${first(notInSet)})`
        : "",
      notRecorded.length > 0
        ? `${notRecorded.length} stimuli without a recording (${first(notRecorded)})`
        : "",
    ].filter((side) => side !== "");
    throw new DataError(
      `matchStimuli: ${recording.name}: expected the same ids on both sides, got ${sides.join(" and ")}`,
      { hint: "Ids must be equal to the letter; allowMissing keeps only what both sides have." },
    );
  }
  return {
    setIndices: Int32Array.from(pairs, ([at]) => at),
    recordingIndices: Int32Array.from(pairs, ([, row]) => row),
    notRecorded: allowMissing ? notRecorded : [],
    notInSet: allowMissing ? notInSet : [],
  };
}

/** Features of which each row stands for one group. */
export interface GroupedFeatures {
  /** `[nGroups, nUnits]`, float64. */
  readonly features: Activations;
  /** In order of first appearance. */
  readonly ids: readonly string[];
  /** How many rows each group had. */
  readonly counts: Int32Array;
}

/**
 * The mean of the rows that share a key, such as six sentences about one concept, of which the
 * recording has one response.
 *
 * @param features - `[nStimuli, nUnits]`, finite.
 * @param keys - One per row.
 * @throws {ShapeError} if there is not one key per row.
 *
 * @example
 * groupByStimulus(activations([[1], [3], [5]]), ["a", "a", "b"]).features.data.join() // => "2,5"
 */
export function groupByStimulus(features: Activations, keys: readonly string[]): GroupedFeatures {
  const [nStimuli, nUnits] = features.shape;
  if (keys.length !== nStimuli) {
    throw new ShapeError(
      `groupByStimulus: expected ${nStimuli} keys, one per row, got ${keys.length}`,
    );
  }
  const ids = [...new Set(keys)];
  const at = new Map(ids.map((id, i) => [id, i]));
  const sums = new Float64Array(ids.length * nUnits);
  const counts = new Int32Array(ids.length);
  keys.forEach((key, row) => {
    const group = at.get(key)!;
    counts[group]!++;
    for (let j = 0; j < nUnits; j++) sums[group * nUnits + j]! += features.data[row * nUnits + j]!;
  });
  for (let i = 0; i < sums.length; i++) sums[i]! /= counts[Math.floor(i / nUnits)]!;
  return { features: tensor(sums, ["stimulus", "unit"], [ids.length, nUnits]), ids, counts };
}
