import { ArgumentError, DataError, tensor } from "@penfield/core";
import type { RecordedEvent, Recording, TimeSeries } from "../types.ts";

/** Which stimulus an event shows; undefined for events that show none. Default: its type. */
export type StimulusOf = (event: RecordedEvent) => string | undefined;

export const typeOf: StimulusOf = ({ type }) => type;

/** An event and the stimulus that it shows. */
export interface StimulusEvent {
  readonly event: RecordedEvent;
  readonly stimulus: string;
}

/** The events that show a stimulus, by time. */
export function stimulusEvents(
  name: string,
  series: TimeSeries,
  stimulusOf: StimulusOf,
): readonly StimulusEvent[] {
  const shown = series.events.flatMap((event) => {
    const stimulus = stimulusOf(event);
    return stimulus === undefined ? [] : [{ event, stimulus }];
  });
  if (shown.length === 0) {
    throw new DataError(
      `${name}: ${series.name}: expected events that show a stimulus, got none of ${series.events.length} events`,
      { hint: "stimulusOf says which stimulus an event shows; events without one are left out." },
    );
  }
  const bad = shown.find(({ event }) => !Number.isFinite(event.onset));
  if (bad !== undefined) {
    throw new ArgumentError(`${name}: expected finite onsets, got ${bad.event.onset}`);
  }
  return shown.toSorted((a, b) => a.event.onset - b.event.onset);
}

/** Items by key, in order of first appearance. */
export function groupBy<Item, Key>(
  items: readonly Item[],
  keyOf: (item: Item) => Key,
): Map<Key, Item[]> {
  const groups = new Map<Key, Item[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group) group.push(item);
    else groups.set(key, [item]);
  }
  return groups;
}

/**
 * Rows of values, one per event, stacked by stimulus in order of first appearance; NaN where one was repeated less
 * often.
 */
export function stackRows(
  stimuli: readonly string[],
  rows: Float64Array,
  width: number,
): { data: Float64Array; ids: readonly string[]; nRepeats: number } {
  const ids = [...new Set(stimuli)];
  const at = new Map(ids.map((id, i) => [id, i]));
  const counts = new Int32Array(ids.length);
  for (const stimulus of stimuli) counts[at.get(stimulus)!]!++;
  const nRepeats = counts.reduce((most, count) => Math.max(most, count), 0);
  const data = new Float64Array(nRepeats * ids.length * width).fill(Number.NaN);
  const seen = new Int32Array(ids.length);
  stimuli.forEach((stimulus, e) => {
    const i = at.get(stimulus)!;
    const r = seen[i]!++;
    data.set(rows.subarray(e * width, (e + 1) * width), (r * ids.length + i) * width);
  });
  return { data, ids, nRepeats };
}

/** A recording of one row per event, the rest as in the series. */
export function recordingOf(
  series: TimeSeries,
  stimuli: readonly string[],
  rows: Float64Array,
): Recording {
  const nTargets = series.data.shape[1];
  const { data, ids, nRepeats } = stackRows(stimuli, rows, nTargets);
  const { data: _, samplingRate: __, runOnsets: ___, events: ____, ...info } = series;
  return {
    ...info,
    data: tensor(data, ["repeat", "stimulus", "target"], [nRepeats, ids.length, nTargets]),
    stimulusIds: ids,
  };
}
