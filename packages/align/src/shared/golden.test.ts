import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { readNpy, tensor } from "@penfield/core";
import { createLinalg } from "@penfield/linalg";
import { quantile } from "@penfield/stats";
import { afterAll, describe, expect, test } from "vitest";
import { orthogonalProcrustes } from "./hyperalign.ts";
import { isc } from "./isc.ts";
import { detSrm, srm } from "./srm.ts";

const golden = fileURLToPath(new URL("../../../../../shared/golden/encoding/", import.meta.url));
const linalg = createLinalg();
afterAll(() => linalg.dispose());

const load = (name: string) =>
  Object.fromEntries(
    readdirSync(`${golden}${name}`).map((file) => {
      const { data, shape } = readNpy(readFileSync(`${golden}${name}/${file}`));
      const values = Float64Array.from(data as ArrayLike<number | bigint>, Number);
      return [file.replace(".npy", ""), { data: values, shape }];
    }),
  ) as Record<string, { data: Float64Array; shape: readonly number[] }>;

const difference = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  expect(a.length).toBe(b.length);
  return Array.from(a).reduce((most, value, i) => Math.max(most, Math.abs(value - b[i]!)), 0);
};

/** `[targets, time]` of the reference as a subject's series. */
function seriesOf({ data, shape }: { data: Float64Array; shape: readonly number[] }) {
  const [p, n] = shape as [number, number];
  const turned = Float64Array.from(data, (_, i) => data[(i % p) * n + Math.floor(i / p)]!);
  return tensor(turned, ["time", "target"], [n, p]);
}

describe.skipIf(!existsSync(golden))(
  "against brainiak and scipy, ../shared/golden (skipped when absent)",
  () => {
    test("isc", () => {
      const arrays = load("isc");
      const [n, p, nSubjects] = arrays["data"]!.shape as [number, number, number];
      const subjects = Array.from({ length: nSubjects }, (_, s) =>
        tensor(
          Float64Array.from({ length: n * p }, (_, i) => arrays["data"]!.data[i * nSubjects + s]!),
          ["time", "target"],
          [n, p],
        ),
      );
      const loo = isc(subjects, { summary: "fisher" });
      expect(difference(loo.values.data, arrays["loo"]!.data)).toBeLessThan(1e-12);
      expect(difference(loo.summary, arrays["loo_mean_fisher"]!.data)).toBeLessThan(1e-12);
      const pairwise = isc(subjects, { method: "pairwise" });
      expect(difference(pairwise.values.data, arrays["pairwise"]!.data)).toBeLessThan(1e-12);
      expect(difference(pairwise.summary, arrays["pairwise_median"]!.data)).toBeLessThan(1e-12);
      expect(quantile([...pairwise.summary], 0.5)).toBeGreaterThan(0);
    });

    test.each(["srm", "detsrm"])("%s", async (name) => {
      const arrays = load(name);
      const subjects = [0, 1, 2, 3].map((s) => seriesOf(arrays[`X${s}`]!));
      // The start of the reference is that of seed 11.
      const options = { nFeatures: 3, seed: 11, variant: "brainiak" as const, linalg };
      const fit = name === "srm" ? await srm(subjects, options) : await detSrm(subjects, options);
      fit.bases.forEach(({ data }, s) => {
        expect(difference(data, arrays[`W${s}`]!.data)).toBeLessThan(1e-9);
      });
      expect(difference(fit.shared.data, seriesOf(arrays["S"]!).data)).toBeLessThan(1e-8);
      if ("noiseVariances" in fit) {
        expect(difference(fit.noiseVariances, arrays["rho2"]!.data)).toBeLessThan(1e-10);
        expect(difference(fit.covariance.data, arrays["sigma_s"]!.data)).toBeLessThan(1e-8);
      }
    });

    test("procrustes", async () => {
      const arrays = load("procrustes");
      const [n, p] = arrays["M"]!.shape as [number, number];
      const centredOf = (key: string) => {
        const { data } = arrays[key]!;
        const means = new Float64Array(p);
        data.forEach((v, i) => {
          means[i % p]! += v / n;
        });
        return tensor(
          data.map((v, i) => v - means[i % p]!),
          ["time", "target"],
          [n, p],
        );
      };
      const { rotation, scale } = await orthogonalProcrustes(centredOf("M"), centredOf("N"), {
        linalg,
      });
      expect(difference(rotation.data, arrays["R"]!.data)).toBeLessThan(1e-12);
      expect(scale).toBeCloseTo(138.3296740818472, 9);
    });
  },
);
