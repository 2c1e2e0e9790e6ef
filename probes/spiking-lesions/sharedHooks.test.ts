import { ablate, ablationMap, type OutputMetric } from "@penfield/ablate";
import { HookPointError, ShapeError, takeRows } from "@penfield/core";
import { contrast, crossValidate, selectUnits } from "@penfield/localize";
import { meanOverTime } from "@penfield/spiking";
import { describe, expect, test } from "vitest";
import { inputOf, openNetwork } from "./network.ts";
import { makeTrials, selectTrials, TRIAL } from "./task.ts";

const network = await openNetwork("spiking-a");
const { model, spikes } = network;
const some = (n: number) =>
  inputOf(
    selectTrials(
      makeTrials(200, 1, 5_000_000),
      Array.from({ length: n }, (_, i) => i),
    ),
  );
/** The two outputs' difference, summed over the response. */
const decision: OutputMetric = ({ data, shape }, rows) =>
  rows.map(({ row }) => {
    let sum = 0;
    for (let t = TRIAL.responseStart; t < TRIAL.nSteps; t++) {
      const at = (row * shape[1]! + t) * 2;
      sum += data[at]! - data[at + 1]!;
    }
    return sum;
  });

test("rates go into contrasts and their cross-validation as they are", async () => {
  const trials = makeTrials(60, 1, 5_000_000);
  const rates = await meanOverTime(model, inputOf(trials), { hook: spikes });
  const side = (more: 0 | 1) =>
    takeRows(
      rates,
      trials.list.flatMap((trial, i) => (trial.more === more ? [i] : [])),
    );
  const { t } = contrast(side(1), side(0), { magnitude: false });
  expect(t.shape).toEqual([1, network.nUnits]);
  expect(selectUnits(t, { k: 5 }).indices.length).toBe(5);
  expect(crossValidate(side(1), side(0), { k: 5, nSplits: 1, nDraws: 100 }).splits.length).toBe(1);
});

describe("ablate", () => {
  const input = some(6);
  const units = [3, 17, 40];
  const run = async (op: Parameters<typeof model.runWithInterventions>[1][number]["op"]) =>
    decision(
      await model.runWithInterventions(input, [{ hook: spikes, op, units }]),
      Array.from({ length: 6 }, (_, row) => ({ row, prompt: row })),
    );

  test("zero is what the network does with the intervention", async () => {
    const { baseline, ablated, effects } = await ablate(model, input, {
      hook: spikes,
      units,
      metric: decision,
      batchSize: 4,
    });
    expect(Array.from(ablated)).toEqual(await run({ type: "zero" }));
    expect(Array.from(effects)).toEqual(Array.from(ablated, (v, i) => v - baseline[i]!));
  });

  test("the mean over all steps is put in the place of the units", async () => {
    const rates = await meanOverTime(model, input, { hook: spikes });
    const means = Array.from({ length: network.nUnits }, (_, j) => {
      let sum = 0;
      for (let row = 0; row < 6; row++) sum += rates.data[row * network.nUnits + j]! / 6;
      return sum;
    });
    const { ablated } = await ablate(model, input, {
      hook: spikes,
      units,
      metric: decision,
      method: "mean",
      perPosition: false,
    });
    const expected = await run({ type: "mean", values: means });
    ablated.forEach((v, i) => {
      expect(v).toBeCloseTo(expected[i]!, 8);
    });
  });

  test("a trial's own values in its place change nothing", async () => {
    const { effects } = await ablate(model, input, {
      hook: spikes,
      metric: decision,
      method: "resample",
      reference: input,
    });
    expect(Array.from(effects)).toEqual(new Array(6).fill(0));
  });

  test("noise is drawn again from its seed", async () => {
    const once = () =>
      ablate(model, input, {
        hook: "recurrent.v".replace("recurrent", spikes.split(".")[0]!),
        metric: decision,
        method: "noise",
        standardDeviation: 0.1,
        seed: 3,
      });
    const [a, b] = [await once(), await once()];
    expect(Array.from(a.effects)).toEqual(Array.from(b.effects));
    expect(a.effects.some((v) => v !== 0)).toBe(true);
  });

  test("stimuli of other sizes and heads are refused", async () => {
    await expect(
      ablate(model, input, {
        hook: spikes,
        metric: decision,
        method: "mean",
        reference: { data: new Float64Array(12), shape: [1, 2, 6] },
      }),
    ).rejects.toThrow(ShapeError);
    await expect(
      model.run({
        input,
        interventions: [{ hook: spikes, op: { type: "zero" }, heads: [0] } as never],
      }),
    ).rejects.toThrow(HookPointError);
    await expect(
      model.run({ input, interventions: [{ hook: spikes, op: { type: "attendFirst" } }] }),
    ).rejects.toThrow(HookPointError);
  });
});

test("a map of ablations has what single ablations give", async () => {
  const input = some(3);
  const units = [0, 8, 90];
  const { baseline, effects } = await ablationMap(model, input, {
    hook: spikes,
    units,
    metric: decision,
    batchSize: 4,
  });
  for (const [k, unit] of units.entries()) {
    const one = await ablate(model, input, { hook: spikes, units: [unit], metric: decision });
    expect(Array.from(effects.subarray(3 * k, 3 * k + 3))).toEqual(Array.from(one.effects));
    expect(Array.from(one.baseline)).toEqual(Array.from(baseline));
  }
});
