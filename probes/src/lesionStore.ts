import type { LesionStore, TaskOutcome } from "@penfield/ablate";
import type { WorkStore } from "./workStore.ts";

interface Kept {
  readonly task: string;
  readonly metric: TaskOutcome["metric"];
  readonly values: readonly number[];
}

/** Keeps the outcome of each finished lesion. */
export function lesionStore(work: WorkStore): LesionStore {
  return {
    async get(key) {
      const kept = (await work.getJson(`lesion ${key}`)) as readonly Kept[] | undefined;
      return kept?.map(({ task, metric, values }) => ({
        task,
        metric,
        values: Float64Array.from(values),
      }));
    },
    put: (key, outcomes) =>
      work.putJson(
        `lesion ${key}`,
        outcomes.map(({ task, metric, values }): Kept => ({ task, metric, values: [...values] })),
      ),
  };
}
