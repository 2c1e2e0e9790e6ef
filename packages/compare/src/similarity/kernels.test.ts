import { readFileSync } from "node:fs";
import { activations } from "@penfield/core";
import { createLinalg } from "@penfield/linalg";
import { afterAll, describe, expect, test } from "vitest";
import { riemannianKernelDistance } from "../shape/kernelMetrics.ts";
import { plsSimilarity } from "./cca.ts";
import { langeCka } from "./cka.ts";
import { ssm } from "./ssm.ts";

const linalg = createLinalg({ threads: 1 });
afterAll(() => linalg.dispose());

/** scikit-learn, scipy and numpy; made by test/golden/make_kernels.py. */
const golden = JSON.parse(
  readFileSync(new URL("../../../../test/golden/kernels.json", import.meta.url), "utf8"),
) as {
  cases: {
    name: string;
    x: number[][];
    y: number[][];
    components: number;
    pls: number;
    plsCorrelations: number[];
    lange: number;
    riemannian: number;
    ssm: number;
  }[];
};

describe.each(golden.cases)("$name", ({ x, y, components, ...expected }) => {
  const [a, b] = [activations(x), activations(y)];
  const close = (found: number, reference: number): void => {
    expect(Math.abs(found - reference)).toBeLessThan(1e-9 * Math.max(1, Math.abs(reference)));
  };

  test("PLS against scikit-learn's PLSSVD", async () => {
    const found = await plsSimilarity(linalg, a, b, { components });
    close(found.mean, expected.pls);
    expected.plsCorrelations.forEach((r, i) => {
      close(found.correlations[i]!, r);
    });
  });

  test("CKA without the diagonal, Riemannian distance, SSM against numpy and scipy", async () => {
    close(await langeCka(linalg, a, b), expected.lange);
    close(await riemannianKernelDistance(linalg, a, b), expected.riemannian);
    close(await ssm(linalg, a, b), expected.ssm);
  });
});
