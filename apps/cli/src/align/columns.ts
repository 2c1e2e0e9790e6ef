import { mean, quantile } from "@penfield/stats";
import type { SubjectScores } from "./scores.ts";

/** The regions (or subjects' whole recordings) that scores are summed up by. */
export interface Columns {
  readonly title: string;
  readonly labels: readonly string[];
  /** Targets of a subject in each column. */
  readonly members: (scores: SubjectScores) => readonly (readonly number[])[];
}

/** Above this many, regions are left to the arrays. */
const MOST_REGIONS = 400;

/** By region where targets have one, else all targets together. */
export function columnsOf(subjects: readonly SubjectScores[]): Columns {
  const regions = [
    ...new Set(subjects.flatMap(({ subject }) => subject.recording.targets.map((t) => t.region))),
  ].filter((region): region is string => region !== undefined && region !== "");
  if (regions.length === 0 || regions.length > MOST_REGIONS) {
    return {
      title: "targets",
      labels: ["all targets"],
      members: ({ subject }) => [subject.recording.targets.map((_, t) => t)],
    };
  }
  return {
    title: "region",
    labels: regions,
    members: ({ subject }) =>
      regions.map((region) =>
        subject.recording.targets.flatMap((target, t) => (target.region === region ? [t] : [])),
      ),
  };
}

/** The median of the values that are numbers; NaN without any. */
export function medianOf(values: ArrayLike<number>, members: readonly number[]): number {
  const known = members.map((t) => values[t]!).filter((v) => Number.isFinite(v));
  return known.length === 0 ? Number.NaN : quantile(Float64Array.from(known), 0.5);
}

/** The mean over the subjects that have a value. */
export function meanOf(values: readonly number[]): number {
  const known = values.filter((v) => Number.isFinite(v));
  return known.length === 0 ? Number.NaN : mean(Float64Array.from(known));
}
