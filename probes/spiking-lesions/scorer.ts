import type { Scorer, TaskSummary } from "@penfield/ablate";
import { throwIfAborted } from "@penfield/core";
import { inputOf, judge, type SpikingNetwork } from "./network.ts";
import type { Trials } from "./task.ts";

const LEVELS = ["easy", "middling", "hard"] as const;
const TASKS = [
  ["remember", "Remember: which side had pulsed more?"],
  ["report", "Report: which side pulses now?"],
] as const;

/**
 * Both tasks as a scorer of `ablate`. All trials are run as one batch.
 *
 * @param window - Steps in which lesions hold. Default: the whole trial.
 */
export function trialScorer(
  { model }: SpikingNetwork,
  trials: Trials,
  window: { readonly from?: number; readonly to?: number } = {},
): Scorer {
  const items = TASKS.map(([task]) =>
    trials.list.flatMap((trial, i) => (trial.task === task ? [i] : [])),
  );
  const tasks = TASKS.map(
    ([id, title], k): TaskSummary => ({
      id,
      title,
      metric: "accuracy",
      higherIsBetter: true,
      chance: 0.5,
      groups: items[k]!.map((i) => (id === "remember" ? LEVELS[trials.list[i]!.level] : id)),
      itemIds: items[k]!.map((i) => `trial-${i}`),
    }),
  );
  return {
    tasks,
    nTexts: trials.list.length,
    nTokens: trials.list.length,
    async score(interventions, { signal, onProgress } = {}) {
      throwIfAborted(signal, "trialScorer");
      const { output } = await model.run({
        input: inputOf(trials),
        interventions: interventions.map((intervention) => ({ ...intervention, window })),
        signal,
      });
      const values = judge(output.data, trials);
      const total = trials.list.length;
      onProgress?.({ stage: "running trials", done: total, total, unit: "trials" });
      return tasks.map(({ id }, k) => ({
        task: id,
        metric: "accuracy" as const,
        values: Float64Array.from(items[k]!, (i) => values[i]!),
      }));
    },
  };
}
