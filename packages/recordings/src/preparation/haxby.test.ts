import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { pearson } from "@penfield/stats";
import { describe, expect, test } from "vitest";
import { splitHalfCeiling } from "../ceilings/splitHalf.ts";
import { loadVolumeSeries } from "../imaging/volume.ts";
import type { RecordedEvent, Recording, TimeSeries } from "../types.ts";
import { detrend, zScoreRuns } from "./detrend.ts";
import { eventAverages } from "./eventAverages.ts";
import { glmBetas } from "./glmBetas.ts";

const haxby = fileURLToPath(new URL("../../../../../shared/data/haxby/", import.meta.url));

/** Volumes of equal label and run as blocks. */
function blocksOf(trSeconds: number): { events: RecordedEvent[]; runOnsets: number[] } {
  const rows = readFileSync(join(haxby, "attributes_literal.txt"), "utf8")
    .trim()
    .split("\n")
    .map((line) => line.split(/\s+/) as [string, string]);
  const events: RecordedEvent[] = [];
  const runOnsets: number[] = [];
  rows.forEach(([label, run], i) => {
    const before = rows[i - 1];
    if (before?.[1] !== run) runOnsets.push(i);
    if (before?.[1] === run && before[0] === label) return;
    let end = i;
    while (rows[end + 1]?.[0] === label && rows[end + 1]?.[1] === run) end++;
    events.push({ type: label, onset: i * trSeconds, duration: (end - i + 1) * trSeconds });
  });
  return { events, runOnsets };
}

const isShown = ({ type }: RecordedEvent) => (type === "rest" ? undefined : type);

/**
 * Share of pairs of categories in which even runs are closer to odd runs of their own category; each half, as in the
 * paper, without its mean over categories.
 */
function identification({ data: { data, shape } }: Recording, { centred = true } = {}): number {
  const [nRuns, nCategories, nVoxels] = shape;
  const mean = (category: number, odd: number) =>
    Float64Array.from({ length: nVoxels }, (_, v) => {
      let sum = 0;
      for (let r = odd; r < nRuns; r += 2) sum += data[(r * nCategories + category) * nVoxels + v]!;
      return sum;
    });
  const [even, odd] = [0, 1].map((parity) => {
    const patterns = Array.from({ length: nCategories }, (_, c) => mean(c, parity));
    if (!centred) return patterns;
    const all = patterns[0]!.map((_, v) => patterns.reduce((sum, one) => sum + one[v]!, 0));
    return patterns.map((one) => one.map((value, v) => value - all[v]! / nCategories));
  }) as [Float64Array[], Float64Array[]];
  let right = 0;
  even.forEach((pattern, a) => {
    odd.forEach((other, b) => {
      if (a !== b && pearson(pattern, odd[a]!) > pearson(pattern, other)) right++;
    });
  });
  return right / (nCategories * (nCategories - 1));
}

describe.skipIf(!existsSync(haxby))(
  "Haxby 2001, half of a slice of one subject (skipped when absent)",
  () => {
    test("block means after z-score and detrend: .982 of pairs identified, .804 from betas", async () => {
      const raw = await loadVolumeSeries(join(haxby, "bold.nii.gz"), {
        mask: join(haxby, "mask.nii.gz"),
      });
      const blocks = blocksOf(1 / raw.samplingRate);
      const series: TimeSeries = { ...raw, ...blocks };
      expect(blocks.runOnsets).toHaveLength(12);
      const clean = zScoreRuns(detrend(series));
      const means = eventAverages(clean, { stimulusOf: isShown });
      expect(means.data.shape).toEqual([12, 8, 530]);
      expect(identification(means)).toBeCloseTo(55 / 56, 10);
      // The same without taking that mean away, by numpy and scipy: 50 of 56.
      expect(identification(means, { centred: false })).toBeCloseTo(50 / 56, 10);
      const betas = await glmBetas(zScoreRuns(series), { stimulusOf: isShown });
      expect(betas.data.shape).toEqual([12, 8, 530]);
      // As by numpy's least squares on nilearn's regressors and SPM's cosines: 45 of 56. Blocks of one category are
      // the slowest thing in a run, so that a high-pass takes part of them.
      expect(identification(betas)).toBeCloseTo(45 / 56, 10);
      expect(splitHalfCeiling(means).nUndefined).toBe(0);
    });
  },
);
