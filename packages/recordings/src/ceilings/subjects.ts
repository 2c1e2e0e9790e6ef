import {
  type Activations,
  ArgumentError,
  createRng,
  type LongWork,
  ShapeError,
  sampleWithoutReplacement,
  sha256,
  tensor,
  throwIfAborted,
} from "@penfield/core";
import { matchStimuli } from "../matchStimuli.ts";
import type { Recording } from "../types.ts";
import type { SubjectScores } from "./extrapolate.ts";
import { type MeanResponses, meanOverRepeats } from "./repeats.ts";

/**
 * Several subjects whose targets correspond one to one (regions, a common space) as one recording with a subject on
 * each place of the first axis, for `leaveOneOutBounds`: how well the others predict each subject.
 *
 * @param subjects - At least 2, with the same stimuli in any order and the same targets (by `id`).
 * @returns `[nSubjects, nStimuli, nTargets]`, each subject's mean over its repeats; in the first one's order of
 *   stimuli.
 * @throws {ShapeError} if there are fewer than 2, or the targets differ.
 * @throws {DataError} if the stimuli differ (which).
 *
 * @example
 * const brain = (seed) => simulateRecording(activations([[1], [2], [4], [9]]), ["a", "b", "c", "d"], { seed, nTargets: 1 });
 * leaveOneOutBounds(stackSubjects([brain(1), brain(2), brain(3)])).lower.length // => 1
 */
export function stackSubjects(subjects: readonly Recording[]): Recording {
  const [first] = subjects;
  if (first === undefined || subjects.length < 2) {
    throw new ShapeError(`stackSubjects: expected at least 2 subjects, got ${subjects.length}`);
  }
  const nStimuli = first.stimulusIds.length;
  const nTargets = first.targets.length;
  const data = new Float64Array(subjects.length * nStimuli * nTargets);
  subjects.forEach((subject, s) => {
    const other = first.targets.findIndex(({ id }, t) => id !== subject.targets[t]?.id);
    if (subject.targets.length !== nTargets || other >= 0) {
      throw new ShapeError(
        `stackSubjects: expected the targets of ${first.name} in all subjects, got ${subject.targets.length} instead of ${nTargets} in ${subject.name}${other >= 0 ? `, first other one ${JSON.stringify(subject.targets[other]?.id)}` : ""}`,
        { hint: "interSubjectScores takes subjects whose targets do not correspond." },
      );
    }
    const mean = responsesInOrder(subject, first.stimulusIds);
    data.set(mean.data, s * nStimuli * nTargets);
  });
  return {
    name: subjects.map(({ name }) => name).join(", "),
    simulated: subjects.some(({ simulated }) => simulated),
    data: tensor(data, ["repeat", "stimulus", "target"], [subjects.length, nStimuli, nTargets]),
    stimulusIds: first.stimulusIds,
    targets: first.targets,
    sha256: sha256(new TextEncoder().encode(subjects.map((one) => one.sha256).join(" "))),
    ...(first.unit === undefined ? {} : { unit: first.unit }),
    ...(first.space === undefined ? {} : { space: first.space }),
  };
}

function responsesInOrder(recording: Recording, ids: readonly string[]): MeanResponses {
  const mean = meanOverRepeats(recording);
  const { setIndices, recordingIndices } = matchStimuli(ids, recording);
  const nTargets = mean.shape[1];
  const out = new Float64Array(ids.length * nTargets);
  setIndices.forEach((at, i) => {
    const from = recordingIndices[i]! * nTargets;
    out.set(mean.data.subarray(from, from + nTargets), at * nTargets);
  });
  return tensor(out, ["stimulus", "target"], [ids.length, nTargets]);
}

/** How well some units predict responses: the metric that models are scored with. */
export type InterSubjectScore = (
  features: Activations,
  responses: MeanResponses,
) => Promise<ArrayLike<number>> | ArrayLike<number>;

/** Which subjects predict which. */
export interface InterSubjectOptions extends LongWork {
  /** Draws of subjects for each number of them; all, if there are not more. Default 10. */
  readonly nDraws?: number | undefined;
  /** In each draw, how many of its subjects are predicted in turn. Default 5. */
  readonly nHeldOut?: number | undefined;
  /** Default 0. */
  readonly seed?: number | undefined;
}

/**
 * How well subjects predict a subject, for each number of them: the targets of the others are the units of an
 * encoding model. With `extrapolateCeiling` this gives the ceiling for endless subjects.
 *
 * @param subjects - At least 2, with the same stimuli in any order; targets need not correspond.
 * @param score - The metric that models are scored with, such as
 *   `async (x, y) => (await encodingScore(x, y, options)).perTarget`.
 * @param options - Which subjects predict which.
 * @returns For each number of subjects (2, 3, ... all; the predicted one counts), draw and held-out subject: the
 *   scores of its targets, in an array over the targets of all subjects one after the other; NaN elsewhere.
 * @throws {ShapeError} if there are fewer than 2 subjects, or a score is not one per target.
 * @throws {DataError} if the stimuli differ (which).
 * @throws {ArgumentError} if an option is not a positive whole number.
 * @throws {InterruptedError} if the signal fires.
 *
 * Cost: up to (nSubjects - 1) nDraws nHeldOut calls of the score.
 * Source: ceilings of Schrimpf et al. (2021) for Pereira2018 (10 draws, 5 held out).
 *
 * @example
 * const brain = (seed) => simulateRecording(activations([[1], [2], [4], [9]]), ["a", "b", "c", "d"], { seed, nTargets: 2 });
 * const points = await interSubjectScores([brain(1), brain(2), brain(3)], (x, y) => [x.shape[1], y.shape[0]]);
 * points.map(({ nSubjects }) => nSubjects).join() // => "2,2,2,2,2,2,3,3,3"
 * points[6].scores.join() // => "4,4,NaN,NaN,NaN,NaN"
 */
export async function interSubjectScores(
  subjects: readonly Recording[],
  score: InterSubjectScore,
  { nDraws = 10, nHeldOut = 5, seed = 0, onProgress, signal }: InterSubjectOptions = {},
): Promise<readonly SubjectScores[]> {
  for (const [key, value] of Object.entries({ nDraws, nHeldOut })) {
    if (!Number.isInteger(value) || value < 1) {
      throw new ArgumentError(
        `interSubjectScores: expected a positive whole number for ${key}, got ${value}`,
      );
    }
  }
  const [first] = subjects;
  if (first === undefined || subjects.length < 2) {
    throw new ShapeError(
      `interSubjectScores: expected at least 2 subjects, got ${subjects.length}`,
    );
  }
  const responses = subjects.map((subject) => responsesInOrder(subject, first.stimulusIds));
  const starts = subjects.map((_, s) =>
    subjects.slice(0, s).reduce((sum, { targets }) => sum + targets.length, 0),
  );
  const nTargets = starts.at(-1)! + subjects.at(-1)!.targets.length;
  const jobs = jobsOf(subjects.length, nDraws, nHeldOut, seed);
  const points: SubjectScores[] = [];
  for (const { members, heldOut } of jobs) {
    throwIfAborted(signal, "interSubjectScores");
    const others = members.filter((s) => s !== heldOut).map((s) => responses[s]!);
    const own = await score(sideBySide(others), responses[heldOut]!);
    if (own.length !== subjects[heldOut]!.targets.length) {
      throw new ShapeError(
        `interSubjectScores: expected a score for each of ${subjects[heldOut]!.targets.length} targets, got ${own.length}`,
      );
    }
    const scores = new Float64Array(nTargets).fill(Number.NaN);
    scores.set(own, starts[heldOut]!);
    points.push({ nSubjects: members.length, scores });
    onProgress?.({
      stage: "predicting subjects from each other",
      done: points.length,
      total: jobs.length,
      unit: "fits",
    });
  }
  return points;
}

interface Job {
  readonly members: readonly number[];
  readonly heldOut: number;
}

function jobsOf(n: number, nDraws: number, nHeldOut: number, seed: number): readonly Job[] {
  const rng = createRng(seed);
  const jobs: Job[] = [];
  for (let size = 2; size <= n; size++) {
    const draws = new Set<string>();
    if (combinations(n, size) <= nDraws) {
      for (const members of subsets(n, size)) draws.add(members.join());
    }
    while (draws.size < Math.min(nDraws, combinations(n, size))) {
      draws.add(sampleWithoutReplacement(n, size, rng).join());
    }
    for (const draw of draws) {
      const members = draw.split(",").map(Number);
      const held = sampleWithoutReplacement(size, Math.min(size, nHeldOut), rng);
      for (const h of held) jobs.push({ members, heldOut: members[h]! });
    }
  }
  return jobs;
}

function combinations(n: number, k: number): number {
  let count = 1;
  for (let i = 0; i < k; i++) count = (count * (n - i)) / (i + 1);
  return Math.round(count);
}

function subsets(n: number, k: number, from = 0): readonly (readonly number[])[] {
  if (k === 0) return [[]];
  return Array.from({ length: Math.max(0, n - from - k + 1) }, (_, i) => from + i).flatMap((s) =>
    subsets(n, k - 1, s + 1).map((rest) => [s, ...rest]),
  );
}

/** The targets of several subjects as units, `[nStimuli, nUnits]`. */
function sideBySide(parts: readonly MeanResponses[]): Activations {
  const nStimuli = parts[0]!.shape[0];
  const nUnits = parts.reduce((sum, { shape }) => sum + shape[1], 0);
  const out = new Float64Array(nStimuli * nUnits);
  let at = 0;
  for (const { data, shape } of parts) {
    for (let i = 0; i < nStimuli; i++) {
      out.set(data.subarray(i * shape[1], (i + 1) * shape[1]), i * nUnits + at);
    }
    at += shape[1];
  }
  return tensor(out, ["stimulus", "unit"], [nStimuli, nUnits]);
}
