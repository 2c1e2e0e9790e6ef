import {
  type LesionExperiment,
  type LesionRun,
  lesionEffect,
  meanWithInterval,
  type SetKind,
  type TaskSummary,
} from "@penfield/ablate";
import type { UnitKind } from "@penfield/localize";
import { unitHook } from "@penfield/localize";
import type { DoseCurve, LesionGroup, LesionSection } from "@penfield/report";
import { mean } from "@penfield/stats";
import type { TaskRole } from "../tasks.ts";

/** Item values of a task with a lesion. */
const valuesOf = (run: Pick<LesionRun, "outcomes">, task: number): Float64Array =>
  run.outcomes[task]!.values;

const SETS: readonly SetKind[] = ["localized", "random", "layer-matched", "least-selective"];

/** What the model could no longer do: the section of the report. */
export function lesionSection(
  experiment: LesionExperiment,
  tasks: readonly TaskSummary[],
  roles: readonly TaskRole[],
  kind: UnitKind,
  seed: number,
): LesionSection {
  const { doses, mainDose, baseline, runs } = experiment;
  const at = (set: SetKind, dose: number): LesionRun[] =>
    runs.filter((run) => run.set === set && run.dose === dose);
  const curves: DoseCurve[] = [];
  const effects: LesionSection["effects"][number][] = [];
  const groups: LesionGroup[] = [];
  tasks.forEach((task, number) => {
    const base = baseline[number]!.values;
    for (const set of SETS) {
      const points = doses.flatMap((dose): DoseCurve["points"][number][] => {
        const some = at(set, dose);
        if (some.length === 0) return [];
        const draws = some.map((run) => mean(valuesOf(run, number)));
        const single = set === "localized" || set === "least-selective";
        return [
          {
            dose,
            nUnits: some[0]!.units.indices.length,
            value: single
              ? meanWithInterval(valuesOf(some[0]!, number), seed)
              : { value: mean(draws), interval: null },
            draws: single ? [] : draws,
          },
        ];
      });
      if (points.length > 0) curves.push({ task: task.id, set, points });
    }
    for (const dose of doses) {
      const localized = at("localized", dose)[0]!;
      const random = at("random", dose).map((run) => valuesOf(run, number));
      effects.push({
        task: task.id,
        dose,
        ...lesionEffect(base, valuesOf(localized, number), random, task.higherIsBetter, seed),
      });
    }
    groups.push(...groupRows(task, number, experiment));
  });
  return {
    kind: "lesion",
    id: "lesion",
    title: "What is lost when the units are silenced",
    reading:
      "Each task is scored with the units set to zero at every token, for growing numbers of units. The grey band holds the random sets of the same size, drawn from all other units: a loss counts only where it leaves the band.",
    hook: unitHook(kind, 0).replace("blocks.0.", "blocks.*."),
    doses: [...doses],
    mainDose,
    tasks: tasks.map((task, number) => ({
      id: task.id,
      title: task.title,
      kind: roles[number]!,
      metric: task.metric,
      higherIsBetter: task.higherIsBetter,
      nItems: task.itemIds.length,
      chance: task.chance ?? null,
      baseline: meanWithInterval(baseline[number]!.values, seed),
    })),
    curves,
    effects,
    groups,
  };
}

/** Tasks with several groups (phenomena), group by group, at the main dose. */
function groupRows(task: TaskSummary, number: number, experiment: LesionExperiment): LesionGroup[] {
  const names = [...new Set(task.groups)];
  if (names.length < 2) return [];
  const { baseline, runs, mainDose } = experiment;
  const main = runs.filter((run) => run.dose === mainDose);
  const localized = main.find((run) => run.set === "localized")!;
  const random = main.filter((run) => run.set === "random");
  return names.map((group) => {
    const items = task.groups.flatMap((g, i) => (g === group ? [i] : []));
    const part = (values: Float64Array): number => mean(items.map((i) => values[i]!));
    return {
      task: task.id,
      group,
      nItems: items.length,
      baseline: part(baseline[number]!.values),
      ablated: part(valuesOf(localized, number)),
      randomMean: mean(random.map((run) => part(valuesOf(run, number)))),
    };
  });
}
