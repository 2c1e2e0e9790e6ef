import type { LesionStore, TaskOutcome } from "@penfield/ablate";
import type { WorkStore } from "./workStore.ts";

interface Kept {
  readonly task: string;
  readonly metric: TaskOutcome["metric"];
  /** As text: JSON has no NaN and no infinity. */
  readonly values: readonly string[];
}

/** Keeps the outcome of each finished lesion. */
export function lesionStore(work: WorkStore): LesionStore {
  return {
    async get(key) {
      const kept = (await work.getJson(`lesion ${key}`)) as readonly Kept[] | undefined;
      return kept?.map(({ task, metric, values }) => ({
        task,
        metric,
        values: Float64Array.from(values, Number),
      }));
    },
    put: (key, outcomes) =>
      work.putJson(
        `lesion ${key}`,
        outcomes.map(
          ({ task, metric, values }): Kept => ({
            task,
            metric,
            values: Array.from(values, String),
          }),
        ),
      ),
  };
}
