import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type Activations, readNpy, tensor } from "@penfield/core";
import { createLinalg } from "@penfield/linalg";
import { afterAll, describe, expect, test } from "vitest";
import { bandedRidgeCv, predictBands } from "./bandedRidge.ts";
import { type Kernel, kernelRidgeCv } from "./kernelRidge.ts";

const golden = fileURLToPath(new URL("../../../../../shared/golden/encoding/", import.meta.url));
const linalg = createLinalg();
afterAll(() => linalg.dispose());

function load(name: string) {
  const arrays = new Map(
    readdirSync(`${golden}${name}`).map((file) => {
      const { data, shape } = readNpy(readFileSync(`${golden}${name}/${file}`));
      const numbers = Float64Array.from(data as ArrayLike<number | bigint>, Number);
      return [file.replace(".npy", ""), { data: numbers, shape }] as const;
    }),
  );
  const get = (key: string) => arrays.get(key)!;
  const matrixOf = <A extends string>(key: string, second: A) =>
    tensor(get(key).data, ["stimulus", second], [get(key).shape[0]!, get(key).shape[1]!]);
  const rows = (key: string) => {
    const { data, shape } = get(key);
    return Array.from({ length: shape[0]! }, (_, i) => [
      ...data.subarray(i * shape[1]!, (i + 1) * shape[1]!),
    ]);
  };
  return { get, matrixOf, rows, alphas: [...get("alphas").data] };
}

function difference(actual: ArrayLike<number>, expected: Float64Array): number {
  expect(actual.length).toBe(expected.length);
  const scale = Math.max(...expected.map(Math.abs));
  return Math.max(...Array.from(expected, (value, i) => Math.abs(actual[i]! - value))) / scale;
}

/** The columns whose label is `group`. */
function columnsWhere(x: Activations, groups: Float64Array, group: number): Activations {
  const columns = [...groups.keys()].filter((u) => groups[u] === group);
  const [n, p] = x.shape;
  const data = Float64Array.from({ length: n * columns.length }, (_, i) => {
    return x.data[Math.floor(i / columns.length) * p + columns[i % columns.length]!]!;
  });
  return tensor(data, ["stimulus", "unit"], [n, columns.length]);
}

describe.skipIf(!existsSync(golden))("against himalaya, ../shared/golden", () => {
  test.each([
    ["as units", 3],
    ["all targets at once", undefined],
  ])("banded_ridge (%s)", async (_, targetBatch) => {
    const { get, matrixOf, rows, alphas } = load("banded_ridge");
    const groups = get("groups").data;
    const labels = [...new Set(groups)].sort();
    const spacesOf = (key: string) =>
      labels.map((label) => columnsWhere(matrixOf(key, "unit"), groups, label));
    const model = await bandedRidgeCv(spacesOf("X"), matrixOf("Y", "target"), {
      alphas,
      weights: rows("gammas"),
      folds: 4,
      targetBatch,
      linalg,
    });
    expect(difference(model.deltas.data, get("deltas").data)).toBeLessThan(1e-10);
    expect(difference(model.cvScores.data, get("cv_scores").data)).toBeLessThan(1e-8);
    // Coefficients there are in the order of the units; ours lie space by space.
    const [nUnits, nTargets] = get("coef").shape as [number, number];
    const order = labels.flatMap((label) => [...groups.keys()].filter((u) => groups[u] === label));
    const expected = Float64Array.from({ length: nUnits * nTargets }, (_, i) => {
      return get("coef").data[order[Math.floor(i / nTargets)]! * nTargets + (i % nTargets)]!;
    });
    expect(difference(model.coefficients.data, expected)).toBeLessThan(1e-8);
    expect(difference(model.intercept, get("intercept").data)).toBeLessThan(1e-7);
    const { total, parts } = await predictBands(model, spacesOf("Xt"), { linalg });
    expect(difference(total.data, get("pred").data)).toBeLessThan(1e-8);
    const flat = Float64Array.from(parts.flatMap(({ data }) => [...data]));
    expect(difference(flat, get("pred_split").data)).toBeLessThan(1e-8);
  });

  test("mkr: kernels given", async () => {
    const { get, matrixOf, rows, alphas } = load("mkr");
    const [count, n] = get("Ks").shape as [number, number];
    const kernels: Kernel[] = Array.from({ length: count }, (_, k) =>
      tensor(get("Ks").data.subarray(k * n * n, (k + 1) * n * n), ["stimulus", "stimulus"], [n, n]),
    );
    const model = await kernelRidgeCv(kernels, matrixOf("Y", "target"), {
      alphas,
      weights: rows("gammas"),
      folds: 4,
      linalg,
    });
    expect(difference(model.deltas.data, get("deltas").data)).toBeLessThan(1e-10);
    expect(difference(model.cvScores.data, get("cv_scores").data)).toBeLessThan(1e-8);
    expect(difference(model.dual.data, get("dual_coef").data)).toBeLessThan(1e-8);
  });
});
