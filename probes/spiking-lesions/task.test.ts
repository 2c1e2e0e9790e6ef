import { ArgumentError } from "@penfield/core";
import { describe, expect, test } from "vitest";
import { CHANNELS, makeTrials, selectTrials, TRIAL } from "./task.ts";

const pulse = (pulses: Uint8Array, trial: number, step: number, channel: number): number =>
  pulses[(trial * TRIAL.nSteps + step) * CHANNELS.length + channel]!;

describe("trials", () => {
  test("are those of training/spiking_trials.py, byte for byte", () => {
    // python spiking_trials.py
    expect(makeTrials(50, 7, 3).sha256).toBe(
      "8c9542f62aa0a51177daa9364a8076c93ba0781262f479cc046f4c8c15c9cf20",
    );
  });

  test("do not depend on what is made beside them", () => {
    const many = makeTrials(20, 5, 100);
    const some = makeTrials(3, 5, 110);
    expect(selectTrials(many, [10, 11, 12])).toEqual(some);
    expect(makeTrials(3, 6, 110).sha256).not.toBe(some.sha256);
  });

  test("are what they say: the side with more pulses, a silent delay, one cue", () => {
    const { list, pulses } = makeTrials(300, 1, 9_000_000);
    list.forEach(({ task, answer, more, count }, i) => {
      const sums = [0, 0];
      for (let t = 0; t < TRIAL.evidenceEnd; t++) {
        for (const s of [0, 1]) sums[s]! += pulse(pulses, i, t, s);
      }
      expect(sums).toEqual([...count]);
      expect(count[more]).toBeGreaterThan(count[1 - more]!);
      if (task === "remember") expect(answer).toBe(more);
      for (let t = 0; t < TRIAL.nSteps; t++) {
        const now = CHANNELS.map((_, c) => pulse(pulses, i, t, c));
        if (t < TRIAL.evidenceEnd) expect(now.slice(2)).toEqual([0, 0, 0, 0]);
        else if (t < TRIAL.responseStart) expect(now).toEqual([0, 0, 0, 0, 0, 0]);
        else expect(now.slice(4)).toEqual(task === "remember" ? [1, 0] : [0, 1]);
        if (task === "remember") expect(now.slice(2, 4)).toEqual([0, 0]);
      }
    });
    for (const share of [
      list.filter(({ task }) => task === "remember").length,
      list.filter(({ answer }) => answer === 0).length,
    ]) {
      expect(share).toBeGreaterThan(120);
      expect(share).toBeLessThan(180);
    }
  });

  test.each([
    [0, 0],
    [1.5, 0],
    [1, -1],
  ])("n = %d from %d is refused", (n, first) => {
    expect(() => makeTrials(n, 1, first)).toThrow(ArgumentError);
  });
});
