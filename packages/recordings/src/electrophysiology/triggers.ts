import type { RecordedEvent } from "../types.ts";

/**
 * Events from a trigger channel: every sample at which its value rises, named by the new value. A fall, also to
 * another value above 0, is none.
 *
 * @param values - The channel, as whole numbers, [nTimes].
 * @param samplingRate - Hz.
 *
 * Source: as mne.find_events with its defaults (`consecutive="increasing"`, no initial event).
 */
export function triggerEvents(values: ArrayLike<number>, samplingRate: number): RecordedEvent[] {
  const events: RecordedEvent[] = [];
  for (let t = 1; t < values.length; t++) {
    const value = Math.abs(Math.trunc(values[t]!));
    if (value <= Math.abs(Math.trunc(values[t - 1]!))) continue;
    events.push({ onset: t / samplingRate, duration: 0, type: String(value) });
  }
  return events;
}

/** By onset. */
export const sortedEvents = (events: readonly RecordedEvent[]): RecordedEvent[] =>
  [...events].sort((a, b) => a.onset - b.onset);

/** The type of events that stand for time in which nothing was recorded; MNE's name. */
export const GAP = "BAD_ACQ_SKIP";
