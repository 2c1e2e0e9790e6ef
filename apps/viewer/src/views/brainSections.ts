import type {
  BrainMapSection,
  IdentificationSection,
  RasterSection,
  RateMapSection,
  ReportRecording,
  ScoreMapSection,
  Section,
  TimecoursesSection,
} from "@penfield/report";
import { brainMapFigures } from "../figures/brainMap.ts";
import type { Exhibit } from "../figures/exhibit.ts";
import { identificationFigures } from "../figures/identification.ts";
import { rateMapFigures } from "../figures/rateMap.ts";
import { type FieldMaps, scoreMapFigures } from "../figures/scoreMap.ts";
import { rasterFigures, timecourseFigures } from "../figures/timecourses.ts";
import { fixed, interval, whole } from "../format.ts";
import { type Html, html, type Part } from "../html.ts";
import { dataTable, figure } from "./parts.ts";

/** Sections about recordings, and about what happens in time. */
export type BrainSection =
  | ScoreMapSection
  | IdentificationSection
  | TimecoursesSection
  | RasterSection
  | RateMapSection
  | BrainMapSection;

const KINDS = ["score-map", "identification", "timecourses", "raster", "rate-map", "brain-map"];

export const isBrainSection = (section: Section): section is BrainSection =>
  KINDS.includes(section.kind);

/** The arrays that a section is drawn from, by the field that names them. */
export function fieldFiles(section: BrainSection): Readonly<Record<string, string>> {
  const named: Record<string, string | null> = {};
  switch (section.kind) {
    case "score-map":
      Object.assign(named, { array: section.array, normalized: section.normalized });
      Object.assign(named, { p: section.p, subjects: section.subjects?.array ?? null });
      break;
    case "timecourses":
      Object.assign(named, { times: section.times, array: section.array });
      Object.assign(named, { low: section.low, high: section.high });
      break;
    case "raster":
      named["array"] = section.array;
      break;
    case "rate-map":
      Object.assign(named, { units: section.units, array: section.array });
      break;
    case "brain-map":
      Object.assign(named, { indices: section.indices, array: section.array });
      break;
    case "identification":
      break;
  }
  return Object.fromEntries(
    Object.entries(named).filter((pair): pair is [string, string] => pair[1] !== null),
  );
}

/** How many values a page would have to read. */
export function nValues(section: BrainSection): number {
  switch (section.kind) {
    case "score-map":
      return (
        section.rows.labels.length *
        section.columns.labels.length *
        (1 + (section.subjects?.labels.length ?? 0))
      );
    case "timecourses":
      return section.series.length * section.nTimes;
    case "raster":
      return section.nSpikes * 3;
    case "rate-map": {
      const { columns } = section;
      const n = columns.kind === "time" ? columns.nBins : columns.labels.length;
      return section.nUnits * n * section.maps.length;
    }
    case "brain-map":
      return section.nTargets * section.maps.length;
    case "identification":
      return 0;
  }
}

export function brainExhibits(
  section: BrainSection,
  maps: FieldMaps | undefined,
): readonly Exhibit[] {
  if (section.kind === "identification") return identificationFigures(section);
  if (!maps) return [];
  switch (section.kind) {
    case "score-map":
      return scoreMapFigures(section, maps);
    case "timecourses":
      return timecourseFigures(section, maps);
    case "raster":
      return rasterFigures(section, maps);
    case "rate-map":
      return rateMapFigures(section, maps);
    case "brain-map":
      return brainMapFigures(section, maps);
  }
}

const drawn = (exhibits: readonly Exhibit[], base: string): Html =>
  html`<div class="figures">${exhibits.map((exhibit) => figure(exhibit, base))}</div>`;

/** What every view of a recording says first. */
export function recordingNotice({ simulated }: ReportRecording): Part {
  return (
    simulated &&
    html`<p class="notice"><strong>Simulated recording.</strong> These responses were made by a simulated subject; they say how the method behaves, and nothing about brains.</p>`
  );
}

export function shuffledNotice({ kind }: ScoreMapSection["folds"]): Part {
  return (
    kind === "shuffled" &&
    html`<p class="notice">The folds are shuffled: neighbours in time can stand in both training and test data, which raises every score.</p>`
  );
}

export function brainBody(
  section: BrainSection,
  exhibits: readonly Exhibit[],
  problem: Part,
  base: string,
): Html {
  switch (section.kind) {
    case "score-map":
      return scoreMapBody(section, exhibits, problem, base);
    case "identification":
      return identificationBody(section, exhibits, base);
    case "brain-map":
      return html`<p>${whole(section.nTargets)} voxels of ${section.shape.join(" × ")}.</p>${problem}${drawn(exhibits, base)}${
        section.maps.some(({ file }) => file !== null) &&
        html`<p class="files">${section.maps.map(
          ({ title, file }) =>
            file !== null && html`<a href="${base}/files/maps/${file}">${title} (.nii.gz)</a> `,
        )}</p>`
      }`;
    default:
      return html`${problem}${drawn(exhibits, base)}`;
  }
}

function scoreMapBody(
  section: ScoreMapSection,
  exhibits: readonly Exhibit[],
  problem: Part,
  base: string,
): Html {
  const { recording, folds, ceiling, floors, estimator, metric, columns } = section;
  const known = (ceiling ?? []).filter((value) => value !== null);
  return html`${recordingNotice(recording)}<p>${recording.name}: ${whole(recording.nStimuli)} stimuli, ${whole(recording.nTargets)} targets, ${recording.nRepeats} ${
    recording.nRepeats === 1 ? "repeat" : "repeats"
  }. ${metric} by ${estimator}, ${folds.n} ${folds.kind} folds. ${
    known.length > 0
      ? `Ceiling of ${known.length} of ${columns.labels.length} columns: ${fixed(Math.min(...known))} to ${fixed(Math.max(...known))}.`
      : "No ceiling could be estimated."
  }${floors.length === 0 && " No floor was measured: the scores have nothing to be held against."}</p>${shuffledNotice(folds)}${problem}${drawn(exhibits, base)}`;
}

function identificationBody(
  section: IdentificationSection,
  exhibits: readonly Exhibit[],
  base: string,
): Html {
  const { candidates, nBrains, nStimuli, nTargets, nRepeats, methods } = section;
  const noise = section.noiseEstimated
    ? "the recording's own noise"
    : `noise assumed (signal to noise ${fixed(section.signalToNoise)})`;
  return html`<p>Would we know? Each of ${candidates.length} candidates in turn is made the brain, with ${whole(nStimuli)} stimuli, ${whole(nTargets)} targets, ${nRepeats} ${nRepeats === 1 ? "repeat" : "repeats"} and ${noise}; every method then scores every candidate. ${whole(nBrains)} simulated brains. A high rate is an upper bound: a real brain is none of the candidates.</p>${drawn(exhibits, base)}${dataTable(
    "Identification rates",
    [{ title: "Method" }, { title: "Rate", numeric: true }, { title: "Interval", numeric: true }],
    methods.map(({ title, rate }) => [title, fixed(rate.value, 2), interval(rate)]),
  )}`;
}
