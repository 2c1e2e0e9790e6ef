import { createRng } from "@penfield/core";
import { branchingActivity } from "@penfield/spikes";
import { expect, test } from "vitest";
import { describeAvalanches, estimateBranching, steadyDrive } from "./dynamics.ts";

test("branching processes of known ratio: the estimate is near, and most intervals hold it", () => {
  let held = 0;
  for (let seed = 0; seed < 10; seed++) {
    const activity = Array.from({ length: 6 }, (_, i) =>
      Float64Array.from(branchingActivity({ m: 0.9, drive: 2, nSteps: 2000 }, createRng(seed, i))),
    );
    const { m, interval, spikesPerStep, warnings } = estimateBranching(activity, true);
    expect(Math.abs(m - 0.9)).toBeLessThan(0.03);
    expect(Math.abs(spikesPerStep - 20)).toBeLessThan(2);
    expect(warnings).toEqual([]);
    if (interval![0] < 0.9 && interval![1] > 0.9) held++;
    if (seed === 0) expect(estimateBranching(activity, false).interval).toBeNull();
  }
  expect(held).toBeGreaterThanOrEqual(7);
});

test("activity that does not vary has no ratio", () => {
  const { m, warnings } = estimateBranching([new Float64Array(500), new Float64Array(500)], true);
  expect(m).toBeNaN();
  expect(warnings.length).toBe(1);
  expect(describeAvalanches([new Float64Array(500)], 1)).toContain("too few for any exponent");
});

test("too few avalanches are said to be too few", () => {
  const activity = [branchingActivity({ m: 0.8, drive: 0.3, nSteps: 2000 }, createRng(3))];
  const text = describeAvalanches(
    activity.map((a) => Float64Array.from(a)),
    1,
  );
  expect(text).toMatch(/too few for any exponent|too little for a claim about criticality/);
});

test("the drive pulses both sides alike, and nothing else", () => {
  const { data, shape } = steadyDrive(7);
  const sums = new Array<number>(shape[2]!).fill(0);
  data.forEach((v, i) => {
    sums[i % shape[2]!]! += v;
  });
  const n = shape[0]! * shape[1]!;
  for (const side of [0, 1]) expect(Math.abs(sums[side]! / n - 0.1)).toBeLessThan(0.01);
  expect(sums.slice(2)).toEqual([0, 0, 0, 0]);
});
