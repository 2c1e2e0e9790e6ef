import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { ArgumentError, createRng, readNpy, ShapeError, tensor } from "@penfield/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Responses } from "./ridgeCv.ts";
import {
  correlationSplit,
  predictionScores,
  r2Split,
  relativeWeights,
  shareOfCeiling,
  variancePartition,
} from "./scoreSplits.ts";
import { stackedRidge, stackingWeights } from "./stacking.ts";

const golden = fileURLToPath(new URL("../../../../../shared/golden/encoding/", import.meta.url));
const read = (path: string) => {
  const { data, shape } = readNpy(readFileSync(`${golden}${path}.npy`));
  return { data: Float64Array.from(data as ArrayLike<number | bigint>, Number), shape };
};
const responses = (data: Float64Array, n: number, nTargets: number): Responses =>
  tensor(data, ["stimulus", "target"], [n, nTargets]);
const partsOf = ({ data, shape }: ReturnType<typeof read>): Responses[] => {
  const [count, n, nTargets] = shape as [number, number, number];
  return Array.from({ length: count }, (_, k) =>
    responses(data.subarray(k * n * nTargets, (k + 1) * n * nTargets), n, nTargets),
  );
};
const off = (a: ArrayLike<number>, b: Float64Array): number =>
  Math.max(...Array.from(b, (value, i) => Math.abs(a[i]! - value)));

describe.skipIf(!existsSync(golden))("against references, ../shared/golden", () => {
  test("score_split: himalaya", () => {
    const { data, shape } = read("score_split/y_true");
    const y = responses(data, shape[0]!, shape[1]!);
    const parts = partsOf(read("score_split/pred_split"));
    expect(off(r2Split(y, parts).data, read("score_split/r2_split").data)).toBeLessThan(1e-10);
    expect(off(relativeWeights(y, parts).data, read("score_split/r2_split_svd").data)).toBeLessThan(
      1e-9,
    );
    expect(off(correlationSplit(y, parts).data, read("score_split/corr_split").data)).toBeLessThan(
      1e-10,
    );
  });

  test("varpart_stack: regions and weights", () => {
    const r2 = (name: string) => read(`varpart_stack/r2_${name}`).data;
    const regions = variancePartition([
      { spaces: [0], r2: r2("A") },
      { spaces: [1], r2: r2("B") },
      { spaces: [0, 1], r2: r2("AB") },
    ]);
    ["unique_A", "unique_B", "shared"].forEach((name, i) => {
      expect(off(regions[i]!.share, read(`varpart_stack/${name}`).data)).toBeLessThan(1e-12);
    });
    const { data, shape } = read("varpart_stack/Yt");
    const weights = stackingWeights(
      responses(data, shape[0]!, shape[1]!),
      partsOf(read("varpart_stack/yhat")),
    );
    expect(off(weights.data, read("varpart_stack/stack_w").data)).toBeLessThan(1e-9);
  });
});

function random(n: number, nTargets: number, seed: number): Responses {
  const rng = createRng(seed);
  const data = Float64Array.from({ length: n * nTargets }, () => rng.normal());
  for (let t = 0; t < nTargets; t++) {
    let mean = 0;
    for (let i = 0; i < n; i++) mean += data[i * nTargets + t]! / n;
    for (let i = 0; i < n; i++) data[i * nTargets + t]! -= mean;
  }
  return responses(data, n, nTargets);
}

describe("splits", () => {
  test("sum to the score of the summed predictions", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1000 }),
        fc.integer({ min: 1, max: 4 }),
        (seed, count) => {
          const y = random(12, 3, seed);
          const parts = Array.from({ length: count }, (_, k) =>
            random(12, 3, seed + 1000 * (k + 1)),
          );
          const whole = responses(
            y.data.map((_, i) =>
              parts.reduce((sum, { data }) => sum + data[i]!, 0),
            ) as Float64Array,
            12,
            3,
          );
          for (const [split, score] of [
            [r2Split, "r2"],
            [relativeWeights, "r2"],
            [correlationSplit, "correlation"],
          ] as const) {
            const shares = split(y, parts).data;
            const joint = predictionScores(y, whole, score);
            for (let t = 0; t < 3; t++) {
              let sum = 0;
              for (let k = 0; k < count; k++) sum += shares[k * 3 + t]!;
              expect(sum).toBeCloseTo(joint[t]!, 9);
            }
          }
        },
      ),
      { numRuns: 20 },
    );
  });

  test("three spaces by hand: seven regions", () => {
    // Shares of regions 1, 2, ... 7 (bit masks), summed into unions.
    const share = [0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07];
    const union = (mask: number) =>
      share.reduce((sum, value, region) => sum + ((region & mask) > 0 ? value : 0), 0);
    const spacesOf = (mask: number) => [0, 1, 2].filter((k) => mask & (1 << k));
    const regions = variancePartition(
      [1, 2, 3, 4, 5, 6, 7].map((mask) => ({ spaces: spacesOf(mask), r2: [union(mask)] })),
    );
    regions.forEach((region, i) => {
      expect(region.share[0]).toBeCloseTo(share[i + 1]!, 12);
    });
  });

  test("refuse what does not fit", () => {
    const y = random(5, 2, 1);
    expect(() => r2Split(y, [])).toThrow(ShapeError);
    expect(() => correlationSplit(y, [random(4, 2, 1)])).toThrow("got 4 x 2");
    expect(() => variancePartition([{ spaces: [1], r2: [1] }])).toThrow(ArgumentError);
    expect(() => shareOfCeiling([1], [1, 2])).toThrow(ShapeError);
    expect([...shareOfCeiling([0.25], [0.5], { score: "r2" })]).toEqual([1]);
  });
});

describe("stacking", () => {
  test("the weights are the least of many on the simplex", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1000 }),
        fc.integer({ min: 2, max: 5 }),
        (seed, count) => {
          const y = random(10, 1, seed);
          const parts = Array.from({ length: count }, (_, k) => random(10, 1, seed + 77 * (k + 1)));
          const loss = (w: ArrayLike<number>) =>
            Array.from(y.data).reduce((sum, value, i) => {
              const p = parts.reduce((all, { data }, k) => all + w[k]! * data[i]!, 0);
              return sum + (value - p) ** 2;
            }, 0);
          const { data } = stackingWeights(y, parts);
          expect(Array.from(data).reduce((a, b) => a + b, 0)).toBeCloseTo(1, 12);
          expect(Math.min(...data)).toBeGreaterThanOrEqual(0);
          const best = loss(data);
          const rng = createRng(seed);
          for (let i = 0; i < 200; i++) {
            const draw = Array.from({ length: count }, () => -Math.log(1 - rng.uniform()));
            const sum = draw.reduce((a, b) => a + b, 0);
            expect(loss(draw.map((v) => v / sum))).toBeGreaterThanOrEqual(best * (1 - 1e-9));
          }
        },
      ),
      { numRuns: 20 },
    );
  });

  test("finds which space a target comes from", async () => {
    const rng = createRng(5);
    const space = (n: number) =>
      tensor(
        Float64Array.from({ length: n * 4 }, () => rng.normal()),
        ["stimulus", "unit"],
        [n, 4],
      );
    const [a, b, heldA, heldB] = [space(60), space(60), space(5), space(5)];
    // Target 0 is the first unit of a, target 1 the second of b.
    const y = responses(
      Float64Array.from({ length: 120 }, (_, i) =>
        i % 2 === 0 ? a.data[(i / 2) * 4]! : b.data[((i - 1) / 2) * 4 + 1]!,
      ),
      60,
      2,
    );
    const { weights, predicted } = await stackedRidge([a, b], y, [heldA, heldB], {
      folds: 3,
      innerFolds: 3,
    });
    expect(weights.data[0]).toBeGreaterThan(0.99);
    expect(weights.data[3]).toBeGreaterThan(0.99);
    expect(predicted.data[0]).toBeCloseTo(heldA.data[0]!, 1);
  });
});
