import { ArgumentError, createRng, InterruptedError } from "@penfield/core";
import type { Intervention } from "@penfield/hooks";
import { perLayerCounts, selectUnits, type UnitMap, unitSet } from "@penfield/localize";
import { describe, expect, test } from "vitest";
import {
  type LesionStore,
  lesionExperiment,
  lesionHooks,
  lesionOf,
  type Scorer,
  type TaskOutcome,
} from "./index.ts";

const N_LAYERS = 4;
const N_UNITS = 50;
const rng = createRng(5);
const t: UnitMap = {
  data: Float64Array.from({ length: N_LAYERS * N_UNITS }, () => rng.normal()),
  axes: ["layer", "unit"],
  shape: [N_LAYERS, N_UNITS],
};

/** A model that loses what its silenced units add up to, and notes what it was asked. */
function scorerOf(asked: { interventions: readonly Intervention[]; wired: unknown }[]): Scorer {
  return {
    tasks: [],
    nTexts: 1,
    nTokens: 1,
    async score(interventions, options) {
      asked.push({ interventions, wired: options?.wired });
      const lost = interventions.flatMap(({ hook, units }) =>
        Array.from(units!, (unit) => Number(hook.split(".")[1]) * N_UNITS + unit),
      );
      const value = lost.reduce((sum, i) => sum + t.data[i]!, 0);
      options?.onProgress?.({ stage: "scoring", done: 1, total: 2, unit: "texts" });
      return [{ task: "sum", metric: "accuracy", values: Float64Array.of(value) }];
    },
  };
}
const memory = (): LesionStore & { kept: Map<string, readonly TaskOutcome[]> } => {
  const kept = new Map<string, readonly TaskOutcome[]>();
  return {
    kept,
    get: async (key) => kept.get(key),
    put: async (key, outcomes) => void kept.set(key, outcomes),
  };
};
const options = { doses: [1, 5, 10], mainDose: 5, nRandom: 3, nLayerMatched: 2 } as const;
const never: Scorer = {
  tasks: [],
  nTexts: 0,
  nTokens: 0,
  score: () => Promise.reject(new Error("the model was run")),
};

describe("lesionOf", () => {
  const units = unitSet(3, 4, [1, 2, 9]);
  test.each([
    ["resid", "hook_resid_post", "units"],
    ["mlp", "mlp.hook_post", "units"],
    ["heads", "attn.hook_z", "heads"],
  ] as const)("%s", (kind, hook, field) => {
    expect(lesionOf(units, kind)).toEqual([
      { hook: `blocks.0.${hook}`, op: { type: "zero" }, [field]: [1, 2] },
      { hook: `blocks.2.${hook}`, op: { type: "zero" }, [field]: [1] },
    ]);
    expect(lesionHooks(kind, 2)).toEqual([`blocks.0.${hook}`, `blocks.1.${hook}`]);
  });

  test("something else than silence; no units, no lesion", () => {
    expect(lesionOf(units, "mlp", { type: "scale", factor: 2 })[0]!.op).toEqual({
      type: "scale",
      factor: 2,
    });
    expect(lesionOf(unitSet(3, 4, []), "resid")).toEqual([]);
  });
});

describe("lesionExperiment", () => {
  test("runs every set at every dose, and the other controls at the main dose", async () => {
    const asked: { interventions: readonly Intervention[]; wired: unknown }[] = [];
    const { runs, baseline, mainDose } = await lesionExperiment(scorerOf(asked), t, options);
    expect(mainDose).toBe(5);
    expect(baseline[0]!.values[0]).toBe(0);
    expect(runs.map(({ set, dose, draw }) => `${set} ${dose} ${draw}`)).toEqual(
      options.doses.flatMap((dose) => [
        `localized ${dose} 0`,
        ...[0, 1, 2].map((draw) => `random ${dose} ${draw}`),
        ...(dose === 5 ? ["layer-matched 5 0", "layer-matched 5 1", "least-selective 5 0"] : []),
      ]),
    );
    expect(asked).toHaveLength(runs.length + 1);
    expect(asked[0]!.interventions).toEqual([]);
    // One session for all: the same hooks are wired whichever are changed.
    for (const { wired } of asked) expect(wired).toEqual(lesionHooks("resid", N_LAYERS));
    for (const { set, dose, units, outcomes } of runs) {
      const k = Math.floor((dose / 100) * N_LAYERS * N_UNITS);
      expect(units.indices).toHaveLength(k);
      const localized = selectUnits(t, { k });
      const shared = [...units.indices].filter((i) => localized.indices.includes(i)).length;
      expect(shared).toBe(set === "localized" ? k : 0);
      if (set === "layer-matched") {
        expect(perLayerCounts(units)).toEqual(perLayerCounts(localized));
      }
      const sum = [...units.indices].reduce((s, i) => s + t.data[i]!, 0);
      expect(outcomes[0]!.values[0]).toBeCloseTo(sum, 12);
    }
  });

  test("equal seeds give equal experiments, other seeds other random sets", async () => {
    const run = (seed: number) => lesionExperiment(scorerOf([]), t, { ...options, seed });
    expect(await run(7)).toEqual(await run(7));
    const sets = async (seed: number) =>
      (await run(seed)).runs.map(({ set, units }) => `${set} ${units.indices}`);
    const [a, b] = [await sets(7), await sets(70)];
    a.forEach((text, i) => {
      if (/^(localized|least)/.test(text)) expect(b[i]).toBe(text);
      else expect(b[i]).not.toBe(text);
    });
  });

  test("defaults: 1 % is the main dose where it is among the doses, else the largest", async () => {
    const run = (doses: readonly number[]) =>
      lesionExperiment(scorerOf([]), t, { doses, nRandom: 2 });
    expect((await run([0.5, 1, 2])).mainDose).toBe(1);
    expect((await run([5, 2])).mainDose).toBe(5);
    // A dose that would be less than one unit is one unit.
    const { runs } = await run([0.1, 1]);
    expect(runs[0]!.units.indices).toHaveLength(1);
  });

  test("more than half of a layer localized: no set matches it layer by layer, and none is run", async () => {
    const steep: UnitMap = {
      ...t,
      data: Float64Array.from({ length: N_LAYERS * N_UNITS }, (_, i) => -i),
    };
    const { runs } = await lesionExperiment(scorerOf([]), steep, {
      doses: [20],
      nRandom: 2,
    });
    expect(runs.map((r) => r.set)).toEqual(["localized", "random", "random", "least-selective"]);
  });

  test("goes on from a store: what is there is not run again", async () => {
    const whole = await lesionExperiment(scorerOf([]), t, options);
    const store = memory();
    const stop = new AbortController();
    const first: unknown[] = [];
    const stopping = lesionExperiment(
      {
        ...scorerOf([]),
        score: (...args) => {
          first.push(args);
          if (first.length === 5) stop.abort();
          return scorerOf([]).score(...args);
        },
      },
      t,
      { ...options, store, signal: stop.signal },
    );
    await expect(stopping).rejects.toThrow(InterruptedError);
    await expect(stopping).rejects.toMatchObject({ hint: expect.stringMatching(/--resume/) });
    expect(store.kept.size).toBe(5);
    const asked: { interventions: readonly Intervention[]; wired: unknown }[] = [];
    const resumed = await lesionExperiment(scorerOf(asked), t, { ...options, store });
    expect(resumed).toEqual(whole);
    expect(asked).toHaveLength(whole.runs.length + 1 - 5);
    expect(await lesionExperiment(never, t, { ...options, store })).toEqual(whole);
  });

  test("keeps units of different kinds apart in one store", async () => {
    const store = memory();
    await lesionExperiment(scorerOf([]), t, { ...options, store });
    await expect(
      lesionExperiment(never, t, { ...options, store, kind: "mlp", signal: AbortSignal.abort() }),
    ).rejects.toThrow(InterruptedError);
    const other = lesionExperiment(never, t, { ...options, store, kind: "mlp" });
    // The baseline is the same whatever is silenced; the lesions are not.
    await expect(other).rejects.toThrow("the model was run");
  });

  test("reports progress over all lesions", async () => {
    const seen: number[] = [];
    let total = 0;
    await lesionExperiment(scorerOf([]), t, {
      ...options,
      onProgress: (p) => {
        seen.push(p.done);
        total = p.total;
      },
    });
    expect(seen.at(-1)).toBe(total);
    expect([...seen].sort((a, b) => a - b)).toEqual(seen);
  });

  test.each([
    [{ doses: [] }, /expected doses within \(0, 50\] %/],
    [{ doses: [0] }, /got 0 and 0/],
    [{ doses: [60] }, /expected doses within/],
    [{ doses: [Number.NaN] }, /expected doses within/],
    [{ doses: [1, 2], mainDose: 3 }, /with the main dose among them, got 1, 2 and 3/],
    [{ nRandom: 1 }, /expected at least 2 random sets, got 1/],
    [{ nRandom: 2.5 }, /expected at least 2 random sets, got 2\.5/],
  ])("%j is refused before anything is run", async (wrong, message) => {
    const running = lesionExperiment(never, t, wrong);
    await expect(running).rejects.toThrow(ArgumentError);
    await expect(running).rejects.toThrow(message);
  });
});
