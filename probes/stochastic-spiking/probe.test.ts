import { createRng } from "@penfield/core";
import { matrix } from "@penfield/linalg";
import { reportBytes } from "@penfield/report";
import { expect, test } from "vitest";
import { defaultSettings, noStore } from "../src/index.ts";
import { takeNetworks, testGroups } from "./groups.ts";
import { commonGround, countSpikes, noisyInput, noisyNetwork, type Size } from "./networks.ts";
import { runNetworks, stochasticSpiking } from "./probe.ts";

const small: Size = {
  nPerGroup: 2,
  nUnits: 6,
  nFeatures: 2,
  nShared: 3,
  nStimuli: 3,
  nRepeats: 10,
  nSteps: 50,
};

test("two clusters are told apart, in every division once", () => {
  // 0, 1 and 2 are near each other, and so are 3, 4 and 5.
  const distances = matrix(
    Float64Array.from({ length: 36 }, (_, k) => {
      const [a, b] = [Math.floor(k / 6), k % 6];
      return a === b ? 0 : Math.floor(a / 3) === Math.floor(b / 3) ? 1 + 0.1 * (a + b) : 9;
    }),
    6,
    6,
  );
  const first = [true, true, true, false, false, false];
  const found = testGroups(distances, first);
  expect(found.score).toBe(1);
  expect(found.nDivisions).toBe(20);
  // The division itself and the same with the groups' names exchanged.
  expect(found.p).toBe(2 / 20);
  expect(found.between).toBe(9);
  expect(found.within).toBeCloseTo(1.5, 12);
  expect(Array.from(takeNetworks(distances, [1, 4]).data)).toEqual([0, 9, 9, 0]);
});

test("kinds have the same means and variances, and other correlations", async () => {
  const size = { ...small, nRepeats: 400, nStimuli: 1, nSteps: 100 };
  const { weights, stimuli } = commonGround(1, size);
  const summaries = [];
  for (const kind of ["private", "shared"] as const) {
    const rng = createRng(2);
    const network = noisyNetwork(weights, kind, rng, size);
    const { data, nRepeats, nUnits } = await countSpikes(
      network,
      noisyInput(stimuli, rng, size),
      size,
    );
    // In the order of the weights.
    const counts = Array.from(network.order, () => new Float64Array(nRepeats));
    network.order.forEach((place, unit) => {
      for (let r = 0; r < nRepeats; r++) counts[place]![r] = data[r * nUnits + unit]!;
    });
    const average = (x: Float64Array) => x.reduce((a, b) => a + b, 0) / x.length;
    const covariance = (x: Float64Array, y: Float64Array) => {
      const [mx, my] = [average(x), average(y)];
      return average(x.map((v, i) => (v - mx) * (y[i]! - my)));
    };
    summaries.push({
      means: counts.map(average),
      variances: counts.map((x) => covariance(x, x)),
      pair:
        covariance(counts[0]!, counts[1]!) /
        Math.sqrt(covariance(counts[0]!, counts[0]!) * covariance(counts[1]!, counts[1]!)),
    });
  }
  const [own, shared] = summaries;
  own!.means.forEach((m, j) => {
    const error = Math.sqrt((own!.variances[j]! + shared!.variances[j]!) / 400);
    expect(Math.abs(m - shared!.means[j]!)).toBeLessThan(4 * error + 1e-9);
  });
  expect(Math.abs(own!.pair)).toBeLessThan(0.2);
  expect(shared!.pair).toBeGreaterThan(own!.pair + 0.1);
});

test("the report holds every measure, and is valid", async () => {
  const settings = { ...defaultSettings, ...stochasticSpiking.defaults };
  const context = { settings, work: noStore };
  const { report, arrays } = await runNetworks(context, small);
  expect(reportBytes(report).length).toBeGreaterThan(1000);
  expect(report.verdicts.map((v) => v.expectation)).toEqual(stochasticSpiking.expectations);
  expect(Object.keys(arrays).sort()).toEqual([
    ...["energy-shape.npy", "gaussian-shape.npy", "linear-cka.npy", "procrustes.npy", "raster.npy"],
  ]);
  const again = await runNetworks(context, small);
  expect(reportBytes(again.report)).toEqual(reportBytes(report));
  expect(again.arrays).toEqual(arrays);
});
