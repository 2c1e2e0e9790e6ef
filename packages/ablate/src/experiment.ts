import { ArgumentError, type LongWork, throwIfAborted } from "@penfield/core";
import {
  complementRandom,
  layerMatchedRandom,
  leastSelective,
  selectUnits,
  type UnitKind,
  type UnitMap,
  type UnitSet,
} from "@penfield/localize";
import { lesionHooks, lesionOf } from "./lesion.ts";
import type { Scorer, TaskOutcome } from "./scorer.ts";

/** Sets of units that a lesion experiment silences. */
export type SetKind = "localized" | "random" | "layer-matched" | "least-selective";

/** One lesion and how the model did with it. */
export interface LesionRun {
  readonly set: SetKind;
  /** Per cent of all units. */
  readonly dose: number;
  readonly draw: number;
  readonly units: UnitSet;
  readonly outcomes: readonly TaskOutcome[];
}

export interface LesionExperiment {
  readonly kind: UnitKind;
  readonly doses: readonly number[];
  readonly mainDose: number;
  readonly baseline: readonly TaskOutcome[];
  readonly runs: readonly LesionRun[];
}

/** Remembers finished lesions, so that an interrupted experiment can go on. */
export interface LesionStore {
  get(key: string): Promise<readonly TaskOutcome[] | undefined>;
  put(key: string, outcomes: readonly TaskOutcome[]): Promise<void>;
}

export interface LesionExperimentOptions extends LongWork {
  /** Default `resid`. */
  readonly kind?: UnitKind | undefined;
  /** Hook point of each layer, in place of those of `kind`: a spiking network's populations. */
  readonly hooks?: readonly string[] | undefined;
  /** Per cent of all units silenced; default 0.125, 0.25, 0.5, 1, 2. */
  readonly doses?: readonly number[] | undefined;
  /** The dose at which the other controls are run; default 1, or the largest dose. */
  readonly mainDose?: number | undefined;
  /** Random sets per dose; default 10. */
  readonly nRandom?: number | undefined;
  /** Sets with the localized set's count in every layer, at the main dose; default 3. */
  readonly nLayerMatched?: number | undefined;
  /** The random sets of a dose are drawn with seed, seed + 1, …; default 42 (published: 42, 43, 44). */
  readonly seed?: number | undefined;
  readonly store?: LesionStore | undefined;
}

export const DOSES: readonly number[] = [0.125, 0.25, 0.5, 1, 2];

/**
 * Silences units that a localizer chose, at several doses, beside random sets of the same size drawn
 * from all other units, sets matched layer by layer, and the least selective units.
 *
 * @param t - The localizer's statistic, `[nLayers, nUnits]`: the units with the largest values go first.
 * @returns Item values of every task under every lesion; `lesionEffect` and `doubleDissociation` judge them.
 * @throws {ArgumentError} if a dose is not within (0, 50] or there are fewer than 2 random sets.
 *
 * Cost: (1 + nRandom) forward passes over all tasks' tokens per dose, and 1 + nLayerMatched + 1 more;
 * all lesions share one compiled session.
 */
export async function lesionExperiment(
  scorer: Scorer,
  t: UnitMap,
  options: LesionExperimentOptions = {},
): Promise<LesionExperiment> {
  const { kind = "resid", doses = DOSES, nRandom = 10, nLayerMatched = 3, seed = 42 } = options;
  const { store, signal, onProgress } = options;
  const mainDose = options.mainDose ?? (doses.includes(1) ? 1 : Math.max(...doses));
  if (doses.length === 0 || doses.some((d) => !(d > 0 && d <= 50)) || !doses.includes(mainDose)) {
    throw new ArgumentError(
      `lesionExperiment: expected doses within (0, 50] % with the main dose among them, got ${doses.join(", ")} and ${mainDose}`,
    );
  }
  if (!(Number.isInteger(nRandom) && nRandom >= 2)) {
    throw new ArgumentError(`lesionExperiment: expected at least 2 random sets, got ${nRandom}`);
  }
  const plan = planLesions(t, { doses, mainDose, nRandom, nLayerMatched, seed });
  const places = options.hooks ?? kind;
  const wired = lesionHooks(places, t.shape[0]);
  const lesions = [
    { key: "baseline", units: undefined },
    ...plan.map(({ set, dose, draw, units }) => ({
      key: `${options.hooks?.join() ?? kind}-${set}-${dose}-${seed + draw}`,
      units,
    })),
  ];
  // What an interrupted run has finished is neither done again nor counted as progress of this one.
  const known = new Map<string, readonly TaskOutcome[]>();
  for (const { key } of lesions) {
    const outcomes = await store?.get(key);
    if (outcomes) known.set(key, outcomes);
  }
  const total = lesions.length - known.size;
  let done = 0;
  const report = (part: number): void =>
    onProgress?.({ stage: "silencing units", done: done + part, total, unit: "lesions" });
  const outcomesOf = new Map(known);
  for (const { key, units } of lesions) {
    throwIfAborted(signal, "lesionExperiment");
    if (known.has(key)) continue;
    const outcomes = await scorer.score(units ? lesionOf(units, places) : [], {
      wired,
      signal,
      onProgress: (p) => report(p.done / p.total),
    });
    await store?.put(key, outcomes);
    outcomesOf.set(key, outcomes);
    done++;
    report(0);
  }
  const baseline = outcomesOf.get("baseline")!;
  const runs = plan.map(
    (lesion, i): LesionRun => ({ ...lesion, outcomes: outcomesOf.get(lesions[i + 1]!.key)! }),
  );
  return { kind, doses, mainDose, baseline, runs };
}

function planLesions(
  t: UnitMap,
  {
    doses,
    mainDose,
    nRandom,
    nLayerMatched,
    seed,
  }: {
    doses: readonly number[];
    mainDose: number;
    nRandom: number;
    nLayerMatched: number;
    seed: number;
  },
): Omit<LesionRun, "outcomes">[] {
  const [nLayers, nUnits] = t.shape;
  return doses.flatMap((dose) => {
    const k = Math.max(1, Math.floor((dose / 100) * nLayers * nUnits));
    const localized = selectUnits(t, { k });
    const size = localized.indices.length;
    const draws = (n: number, make: (seed: number) => UnitSet, set: SetKind) =>
      Array.from({ length: n }, (_, draw) => ({ set, dose, draw, units: make(seed + draw) }));
    return [
      { set: "localized" as const, dose, draw: 0, units: localized },
      ...draws(nRandom, (s) => complementRandom(localized, size, s), "random"),
      ...(dose === mainDose
        ? [
            ...draws(nLayerMatched, (s) => layerMatchedOrNone(localized, s), "layer-matched"),
            { set: "least-selective" as const, dose, draw: 0, units: leastSelective(t, size) },
          ].filter((lesion) => lesion.units.indices.length > 0)
        : []),
    ];
  });
}

/** Empty where more than half of a layer is localized, so that no disjoint set of the size exists. */
function layerMatchedOrNone(localized: UnitSet, seed: number): UnitSet {
  try {
    return layerMatchedRandom(localized, seed);
  } catch (error) {
    if (error instanceof ArgumentError) return { ...localized, indices: new Int32Array(0) };
    throw error;
  }
}
