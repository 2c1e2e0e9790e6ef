import {
  type DissociationCell,
  doubleDissociation,
  type LesionExperiment,
  meanWithInterval,
  type TaskOutcome,
  type TaskSummary,
} from "@penfield/ablate";
import type { DissociationSection } from "@penfield/report";
import type { TaskRole } from "../tasks.ts";

/**
 * Item values of the tasks of one role, side by side.
 *
 * @param able - Tasks that the model can do at all: the others have nothing to lose.
 */
export function pooled(
  outcomes: readonly TaskOutcome[],
  { roles, able }: RatedTasks,
  role: TaskRole,
): Float64Array {
  return Float64Array.from(
    outcomes.flatMap(({ metric, values }, i) =>
      roles[i] === role && metric === "accuracy" && able[i] ? [...values] : [],
    ),
  );
}

/** What each task is for, and whether the intact model does it better than by guessing. */
export interface RatedTasks {
  readonly roles: readonly TaskRole[];
  readonly able: readonly boolean[];
}

/**
 * Which tasks the intact model can do: accuracy whose 95 % interval over items lies above chance. A
 * task at chance cannot show a loss, so it has no say in what is harmed or spared.
 */
export function rateTasks(
  tasks: readonly TaskSummary[],
  roles: readonly TaskRole[],
  baseline: readonly TaskOutcome[],
  seed: number,
): RatedTasks {
  const able = tasks.map(({ chance }, i) => {
    if (chance === undefined) return true;
    const { interval } = meanWithInterval(baseline[i]!.values, seed);
    return interval !== null && interval[0] > chance;
  });
  return { roles, able };
}

/** Sets the units of one localizer against those of another, on language and on control tasks. */
export function dissociationSection(
  experiment: LesionExperiment,
  other: { readonly id: string; readonly title: string; readonly outcomes: readonly TaskOutcome[] },
  rated: RatedTasks,
  seed: number,
): DissociationSection | undefined {
  const { baseline, runs, mainDose } = experiment;
  const cell = (outcomes: readonly TaskOutcome[]): DissociationCell => ({
    taskA: pooled(outcomes, rated, "language"),
    taskB: pooled(outcomes, rated, "control"),
  });
  const base = cell(baseline);
  if (base.taskA.length < 2 || base.taskB.length < 2) return undefined;
  const main = runs.filter((run) => run.dose === mainDose);
  const language = cell(main.find((run) => run.set === "localized")!.outcomes);
  const second = cell(other.outcomes);
  const random = main.filter((run) => run.set === "random").map((run) => cell(run.outcomes));
  const { interaction, p } = doubleDissociation(
    language,
    second,
    random,
    { taskA: -1, taskB: -1 },
    seed,
  );
  const effect = (x: ArrayLike<number>, y: ArrayLike<number>) =>
    meanWithInterval(
      Array.from(x, (v, i) => v - y[i]!),
      seed,
    );
  const localizers = [
    { id: "language", title: "Language units", values: language },
    { id: other.id, title: other.title, values: second },
  ];
  return {
    kind: "dissociation",
    id: "dissociation",
    title: "Do other units do other jobs?",
    reading: `Change in accuracy when ${mainDose} % of units are silenced, chosen by two localizers, over the items of all language and of all control tasks that the intact model does above chance. The interaction is above 0 if each localizer's units are needed more for their own kind of task; p is its rank among pairs of random sets.`,
    localizers: localizers.map(({ id, title }) => ({ id, title })),
    tasks: [
      { id: "language", title: "Language tasks", metric: "accuracy", higherIsBetter: true },
      { id: "control", title: "Control tasks", metric: "accuracy", higherIsBetter: true },
    ],
    cells: localizers.flatMap(({ id, values }) => [
      { localizer: id, task: "language", effect: effect(values.taskA, base.taskA) },
      { localizer: id, task: "control", effect: effect(values.taskB, base.taskB) },
    ]),
    interactions: [
      { a: "language", b: other.id, taskA: "language", taskB: "control", value: interaction, p },
    ],
  };
}
