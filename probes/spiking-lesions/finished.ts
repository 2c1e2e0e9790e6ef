import type { TaskOutcome } from "@penfield/ablate";
import { lesionStore } from "../src/lesionStore.ts";
import type { WorkStore } from "../src/workStore.ts";
import type { Branching } from "./dynamics.ts";

/** Parts of a run that are done once: a run that was killed takes them from its store. */
interface Finished {
  outcomes(
    key: string,
    work: () => Promise<readonly TaskOutcome[]>,
  ): Promise<readonly TaskOutcome[]>;
  branching(key: string, work: () => Promise<Branching>): Promise<Branching>;
}

export function finishedParts(store: WorkStore): Finished {
  const lesions = lesionStore(store);
  return {
    async outcomes(key, work) {
      const known = await lesions.get(key);
      if (known) return known;
      const outcomes = await work();
      await lesions.put(key, outcomes);
      return outcomes;
    },
    async branching(key, work) {
      const known = await store.getJson(`branching ${key}`);
      if (known) return unpack(known as Packed);
      const found = await work();
      await store.putJson(`branching ${key}`, pack(found));
      return found;
    },
  };
}

/** Numbers as text: JSON has no NaN. */
interface Packed {
  readonly numbers: readonly string[];
  readonly interval: readonly string[] | null;
  readonly warnings: readonly string[];
}

const pack = ({ m, tauSteps, naive, spikesPerStep, interval, warnings }: Branching): Packed => ({
  numbers: [m, tauSteps, naive, spikesPerStep].map(String),
  interval: interval?.map(String) ?? null,
  warnings,
});

function unpack({ numbers, interval, warnings }: Packed): Branching {
  const [m, tauSteps, naive, spikesPerStep] = numbers.map(Number) as [
    number,
    number,
    number,
    number,
  ];
  const bounds = interval?.map(Number) as [number, number] | undefined;
  return { m, tauSteps, naive, spikesPerStep, interval: bounds ?? null, warnings };
}
