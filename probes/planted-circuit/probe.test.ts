import { InterruptedError } from "@penfield/core";
import { reportBytes } from "@penfield/report";
import { describe, expect, test } from "vitest";
import { defaultSettings, noStore, probes } from "../src/index.ts";
import { plantedModel } from "./plantedModel.ts";

const probe = probes.find((p) => p.id === "planted-circuit")!;
const run = (seed: number, signal?: AbortSignal) =>
  probe.run({
    settings: { ...defaultSettings, ...probe.defaults, seed, threads: 1 },
    work: noStore,
    signal,
  });

describe("the planted circuit", () => {
  test.each([42, 1, 7])(
    "seed %i: every planted unit is found, and every expectation seen",
    async (seed) => {
      const { report, arrays, tables } = await run(seed);
      expect(report.verdicts.map((v) => [v.outcome, v.expectation])).toEqual(
        probe.expectations.map((expectation) => ["seen", expectation]),
      );
      expect(report.verdicts[0]!.text).toBe(
        "24 of 24 planted units are among the 24 selected (recall 1.000).",
      );
      expect(report.seed).toBe(seed);
      if (seed !== 42) return;
      const again = await run(seed);
      const bytes = Buffer.from(reportBytes(report));
      expect(bytes.equals(reportBytes(again.report))).toBe(true);
      expect(again.arrays).toEqual(arrays);
      expect(again.tables).toEqual(tables);
    },
  );

  test("the model differs with the seed, and not otherwise", () => {
    const bytes = (seed: number) => Buffer.from(plantedModel(seed).bytes);
    expect(bytes(3).equals(bytes(3))).toBe(true);
    expect(bytes(3).equals(bytes(4))).toBe(false);
  });

  test("can be interrupted", async () => {
    await expect(run(1, AbortSignal.abort())).rejects.toThrow(InterruptedError);
  });
});
