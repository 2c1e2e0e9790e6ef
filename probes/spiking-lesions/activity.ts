import type { UnitSet } from "@penfield/localize";
import { toMask } from "@penfield/localize";
import type {
  RasterSection,
  RateMapSection,
  ReportArray,
  TimecoursesSection,
} from "@penfield/report";
import { membraneTraces, rateMap, type SpikingIntervention, spikeRaster } from "@penfield/spiking";
import { inputOf, type SpikingNetwork } from "./network.ts";
import { selectTrials, type Trials } from "./task.ts";

const N_TRACES = 4;
const BIN_STEPS = 5;

/** Spikes, membranes and rates of some trials, as a report shows them. */
interface Activity {
  readonly sections: readonly (RasterSection | TimecoursesSection | RateMapSection)[];
  readonly arrays: Readonly<Record<string, ReportArray>>;
}

/**
 * What the population does in a trial of either side: rasters with the selected units apart, membranes of the first of them,
 * and rates over all trials.
 *
 * @param lesion - Silences the selected units: their rasters are shown beside the intact ones.
 */
export async function describeActivity(
  { model, spikes, nUnits }: SpikingNetwork,
  trials: Trials,
  selected: UnitSet,
  lesion: readonly SpikingIntervention[],
): Promise<Activity> {
  const { dt } = model;
  const sides = (["left", "right"] as const).map((title, more) => ({
    title,
    rows: trials.list.flatMap((trial, i) => (trial.more === more ? [i] : [])),
  }));
  const shown = selectTrials(
    trials,
    sides.map(({ rows }) => rows[0]!),
  );
  const v = `${spikes.slice(0, spikes.lastIndexOf("."))}.v`;
  const intact = await model.run({ input: inputOf(shown), capture: [spikes, v] });
  const lesioned = await model.run({
    input: inputOf(shown),
    capture: [spikes],
    interventions: lesion,
  });
  const rasters = [intact, lesioned].map(({ cache }) => spikeRaster(cache.get(spikes)!, { dt }));
  // Selected units first.
  const mask = toMask(selected);
  const others = Array.from({ length: nUnits }, (_, j) => j).filter((j) => !mask[j]);
  const { cache } = await model.run({ input: inputOf(trials), capture: [spikes] });
  const maps = sides.map(({ rows }) =>
    rateMap(cache.get(spikes)!, { dt, rows, binSteps: BIN_STEPS }),
  );
  const nBins = maps[0]!.times.length;
  // Within a group those that fire more for the right come last.
  const preference = Float64Array.from({ length: nUnits }, (_, unit) => {
    const [left, right] = maps.map(({ data }) =>
      data.subarray(unit * nBins, (unit + 1) * nBins).reduce((sum, rate) => sum + rate, 0),
    );
    return right! - left!;
  });
  const sorted = [Array.from(selected.indices), others].flatMap((units) =>
    [...units].sort((i, j) => preference[i]! - preference[j]!),
  );
  const order = new Int32Array(nUnits);
  sorted.forEach((unit, place) => {
    order[unit] = place;
  });
  const points = rasters.flatMap(({ data, nRows }, k) =>
    Array.from({ length: data.length / 3 }, (_, s) => [
      data[3 * s]! + k * nRows,
      data[3 * s + 1]!,
      order[data[3 * s + 2]!]!,
    ]),
  );
  const groups = [
    { title: "selected units", nUnits: selected.indices.length },
    { title: "all others", nUnits: others.length },
  ].filter((group) => group.nUnits > 0);
  const raster: RasterSection = {
    kind: "raster",
    id: "raster",
    title: "Spikes in single trials",
    reading:
      "Each spike that is sent, in one trial with more pulses on the left and one with more on the right, intact and with no spike leaving the selected units. Pulses come in the first 0.2 s, the cue after 0.45 s. Units are in the order of the map of rates below.",
    trials: ["intact", "silenced"].flatMap((state) =>
      sides.map(({ title }) => `more on the ${title}, ${state}`),
    ),
    duration: rasters[0]!.durationSeconds,
    nUnits,
    nSpikes: points.length,
    array: "raster.npy",
    groups,
  };

  const traced = Array.from(selected.indices.subarray(0, N_TRACES));
  const traces = membraneTraces(intact.cache.get(v)!, { dt, units: traced });
  const membranes: TimecoursesSection = {
    kind: "timecourses",
    id: "membranes",
    title: "Membranes of selected units",
    reading:
      "The membrane after threshold and reset of the first selected units in the same two trials, in units of their thresholds' scale.",
    x: "time from the beginning of the trial (s)",
    y: "membrane",
    nTimes: traces.times.length,
    times: "membrane-times.npy",
    series: traces.series.map(({ row, unit }) => ({
      title: `unit ${unit}`,
      group: `more on the ${sides[row]!.title}`,
    })),
    array: "membranes.npy",
    low: null,
    high: null,
    spans: [],
    lines: [],
  };

  const rates: RateMapSection = {
    kind: "rate-map",
    id: "rates",
    title: "Rates in the course of a trial",
    reading: `Spikes per second of every unit in bins of ${1000 * BIN_STEPS * dt} ms, mean over ${sides.map(({ rows, title }) => `${rows.length} trials with more on the ${title}`).join(" and ")}. Within a group units that fire more on trials with more on the left come first, those that fire more for the right last.`,
    measure: "spikes/s",
    nUnits,
    units: "rate-units.npy",
    groups,
    columns: {
      kind: "time",
      title: "time from the beginning of the trial (s)",
      from: 0,
      to: nBins * BIN_STEPS * dt,
      nBins,
    },
    maps: sides.map(({ title }) => ({ title: `more on the ${title}` })),
    array: "rates.npy",
  };
  const cells = maps.flatMap(({ data }) =>
    sorted.flatMap((unit) => Array.from(data.subarray(unit * nBins, (unit + 1) * nBins))),
  );
  const row = (data: Float64Array): ReportArray => ({ data, shape: [1, data.length] });
  return {
    sections: [raster, membranes, rates],
    arrays: {
      "raster.npy": { data: Float64Array.from(points.flat()), shape: [points.length, 3] },
      "membrane-times.npy": row(traces.times),
      "membranes.npy": { data: traces.data, shape: [traces.series.length, traces.times.length] },
      "rate-units.npy": row(Float64Array.from(sorted)),
      "rates.npy": { data: Float64Array.from(cells), shape: [maps.length, nUnits * nBins] },
    },
  };
}
