import {
  type DissociationCell,
  doubleDissociation,
  type LesionExperiment,
  meanWithInterval,
  type TaskOutcome,
} from "@penfield/ablate";
import type { DissociationSection } from "@penfield/report";
import type { TaskRole } from "../tasks.ts";

/** Item values of all accuracy tasks of one role, side by side. */
export function pooled(
  outcomes: readonly TaskOutcome[],
  roles: readonly TaskRole[],
  role: TaskRole,
): Float64Array {
  return Float64Array.from(
    outcomes.flatMap(({ metric, values }, i) =>
      roles[i] === role && metric === "accuracy" ? [...values] : [],
    ),
  );
}

/** Sets the units of one localizer against those of another, on language and on control tasks. */
export function dissociationSection(
  experiment: LesionExperiment,
  other: { readonly id: string; readonly title: string; readonly outcomes: readonly TaskOutcome[] },
  roles: readonly TaskRole[],
  seed: number,
): DissociationSection | undefined {
  const { baseline, runs, mainDose } = experiment;
  const cell = (outcomes: readonly TaskOutcome[]): DissociationCell => ({
    taskA: pooled(outcomes, roles, "language"),
    taskB: pooled(outcomes, roles, "control"),
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
    reading: `Change in accuracy when ${mainDose} % of units are silenced, chosen by two localizers, over all language items and over all control items. The interaction is above 0 if each localizer's units are needed more for their own kind of task; p is its rank among pairs of random sets.`,
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
