import {
  type Activations,
  ArgumentError,
  activations,
  createRng,
  DataError,
  InterruptedError,
  type Progress,
  ShapeError,
  takeRows,
  tensor,
} from "@penfield/core";
import { choleskySolve, createLinalg, matrix } from "@penfield/linalg";
import { afterAll, describe, expect, test } from "vitest";
import { contiguousFolds } from "../folds.ts";
import { predict, type Responses, ridgeCv, ridgePredictions } from "./ridgeCv.ts";

const linalg = createLinalg();
afterAll(() => linalg.dispose());

function planted(n: number, p: number, nTargets: number, seed: number) {
  const rng = createRng(seed);
  const fill = (rows: number, columns: number) =>
    Float64Array.from({ length: rows * columns }, () => rng.normal() + 0.5);
  const x = tensor(fill(n, p), ["stimulus", "unit"], [n, p]);
  const w = fill(p, nTargets);
  const data = fill(n, nTargets);
  for (let i = 0; i < n; i++) {
    for (let t = 0; t < nTargets; t++) {
      // Each target more noisily than the one before, so that penalties differ.
      data[i * nTargets + t]! *= 1 + 3 * t;
      for (let u = 0; u < p; u++)
        data[i * nTargets + t]! += x.data[i * p + u]! * w[u * nTargets + t]!;
    }
  }
  return { x, y: tensor(data, ["stimulus", "target"], [n, nTargets]) };
}

/** The normal equations, solved for one target and one penalty; nothing shared with ridgeCv. */
function naiveFit(x: Activations, y: Responses, t: number, alpha: number) {
  const [n, p] = x.shape;
  const column = Float64Array.from({ length: n }, (_, i) => y.data[i * y.shape[1] + t]!);
  const yMean = column.reduce((a, b) => a + b, 0) / n;
  const means = Array.from({ length: p }, (_, u) => {
    let sum = 0;
    for (let i = 0; i < n; i++) sum += x.data[i * p + u]!;
    return sum / n;
  });
  const gram = new Float64Array(p * p);
  const right = new Float64Array(p);
  for (let u = 0; u < p; u++) {
    for (let i = 0; i < n; i++)
      right[u]! += (x.data[i * p + u]! - means[u]!) * (column[i]! - yMean);
    for (let v = 0; v < p; v++) {
      for (let i = 0; i < n; i++) {
        gram[u * p + v]! += (x.data[i * p + u]! - means[u]!) * (x.data[i * p + v]! - means[v]!);
      }
    }
    gram[u * p + u]! += alpha;
  }
  const w = choleskySolve(matrix(gram, p, p), matrix(right, p, 1)).data;
  return { w, intercept: yMean - means.reduce((sum, m, u) => sum + m * w[u]!, 0) };
}

describe("ridgeCv", () => {
  test("by hand: one unit, one penalty", async () => {
    // Centred x = -1, 0, 1 and y = -2, 0, 2: w = 4 / (2 + 2).
    const x = activations([[1], [2], [3]]);
    const y = tensor(Float64Array.of(10, 12, 14), ["stimulus", "target"], [3, 1]);
    const model = await ridgeCv(x, y, { alphas: [2], folds: 3, linalg, score: "l2" }).catch(
      (e) => e,
    );
    expect(model.coefficients.data[0]).toBeCloseTo(1, 14);
    expect(model.intercept[0]).toBeCloseTo(10, 13);
    expect((await predict(model, activations([[5]]))).data[0]).toBeCloseTo(15, 13);
  });

  test.each([
    ["tall", 40, 6],
    ["wide", 16, 30],
  ])("equals solving the normal equations for each penalty (%s)", async (_, n, p) => {
    const { x, y } = planted(n, p, 4, n);
    const alphas = [0.1, 1, 3, 10, 30, 100, 300, 1000, 10_000];
    const folds = contiguousFolds(n, 4);
    const model = await ridgeCv(x, y, { alphas, folds, linalg });
    for (let t = 0; t < 4; t++) {
      const scores = alphas.map((alpha) => {
        const losses = folds.map(({ train, test }) => {
          const { w, intercept } = naiveFit(takeRows(x, train), takeRows(y, train), t, alpha);
          let loss = 0;
          for (const i of test) {
            const expected = w.reduce(
              (sum, weight, u) => sum + weight * x.data[i * p + u]!,
              intercept,
            );
            loss += (y.data[i * 4 + t]! - expected) ** 2 / test.length;
          }
          return -loss;
        });
        return losses.reduce((a, b) => a + b, 0) / folds.length;
      });
      const best = scores.indexOf(Math.max(...scores));
      expect(model.bestAlphas[t]).toBe(alphas[best]);
      expect(model.cvScores[t]! / scores[best]!).toBeCloseTo(1, 8);
      const { w, intercept } = naiveFit(x, y, t, alphas[best]!);
      w.forEach((weight, u) => {
        expect(model.coefficients.data[u * 4 + t]).toBeCloseTo(weight, 10);
      });
      expect(model.intercept[t]).toBeCloseTo(intercept, 9);
    }
    if (n > p) expect(new Set(model.bestAlphas).size).toBeGreaterThan(1);
  });

  test.each([
    ["tall", 20, 4, true],
    ["wide", 10, 25, true],
    ["tall", 20, 4, false],
  ])("leave-one-out equals leaving each one out (%s)", async (_, n, p, intercept) => {
    const { x, y } = planted(n, p, 3, 2);
    const alphas = [0.5, 20, 400];
    const options = { alphas, intercept, linalg };
    const closed = await ridgeCv(x, y, { ...options, folds: "leave-one-out", targetBatch: 2 });
    const slow = await ridgeCv(x, y, { ...options, folds: contiguousFolds(n, n) });
    expect([...closed.bestAlphas]).toEqual([...slow.bestAlphas]);
    closed.cvScores.forEach((value, t) => {
      expect(value / slow.cvScores[t]!).toBeCloseTo(1, 10);
    });
    closed.coefficients.data.forEach((value, i) => {
      expect(value).toBeCloseTo(slow.coefficients.data[i]!, 12);
    });
  });

  test.each([
    ["tall", 25, 4],
    ["wide", 12, 30],
  ])("predicts the same without coefficients (%s)", async (_, n, p) => {
    const { x, y } = planted(n, p, 5, 3);
    const held = planted(7, p, 1, 4).x;
    const options = { linalg, folds: 4, targetBatch: 2 };
    const direct = await ridgePredictions(x, y, held, options);
    const through = await predict(await ridgeCv(x, y, options), held, { linalg });
    expect(direct.shape).toEqual([7, 5]);
    direct.data.forEach((value, i) => {
      expect(value).toBeCloseTo(through.data[i]!, 10);
    });
  });

  test("does not depend on the batches, the number type or where products are computed", async () => {
    const { x, y } = planted(30, 5, 7, 1);
    const whole = await ridgeCv(x, y);
    const parts = await ridgeCv(x, y, { targetBatch: 2, linalg });
    expect([...parts.bestAlphas]).toEqual([...whole.bestAlphas]);
    parts.coefficients.data.forEach((value, i) => {
      expect(value).toBeCloseTo(whole.coefficients.data[i]!, 12);
    });
    const single = await ridgeCv({ ...x, data: Float32Array.from(x.data) }, y, { linalg });
    expect(single.coefficients.data).toBeInstanceOf(Float64Array);
    single.coefficients.data.forEach((value, i) => {
      expect(value).toBeCloseTo(whole.coefficients.data[i]!, 4);
    });
  });

  test("units that do not vary and targets that do not vary give zeros", async () => {
    const { x, y } = planted(12, 3, 2, 5);
    const still = { ...x, data: x.data.map((value, i) => (i % 3 === 1 ? 7 : value)) };
    const flat = { ...y, data: y.data.map((value, i) => (i % 2 === 1 ? -4 : value)) };
    const model = await ridgeCv(still, flat, { linalg });
    const { data } = model.coefficients;
    expect(Math.abs(data[2]!)).toBeLessThan(1e-12);
    [1, 3, 5].forEach((i) => {
      expect(Math.abs(data[i]!)).toBeLessThan(1e-12);
    });
    expect(model.intercept[1]).toBeCloseTo(-4, 12);
    // All penalties are equally good: the largest wins the tie.
    expect(model.bestAlphas[1]).toBe(1e8);
  });

  test("tells how far it is and stops when asked to", async () => {
    const { x, y } = planted(12, 3, 5, 5);
    const progress: Progress[] = [];
    await ridgeCv(x, y, { linalg, targetBatch: 2, onProgress: (p) => progress.push(p) });
    expect(progress.at(-1)).toEqual({ stage: "fitting", done: 5, total: 5, unit: "targets" });
    expect(new Set(progress.map(({ stage }) => stage)).size).toBe(3);
    await expect(ridgeCv(x, y, { linalg, signal: AbortSignal.abort() })).rejects.toThrow(
      InterruptedError,
    );
  });

  test("refuses what does not fit", async () => {
    const { x, y } = planted(12, 3, 2, 5);
    const refuse = async (
      change: { x?: Activations; y?: Responses; options?: object },
      type: typeof Error | typeof DataError,
      message: string,
    ) => {
      const run = () => ridgeCv(change.x ?? x, change.y ?? y, { linalg, ...change.options });
      await expect(run()).rejects.toThrow(type as never);
      await expect(run()).rejects.toThrow(message);
    };
    await refuse({ x: takeRows(x, [0, 1]) }, ShapeError as never, "got 2 and 12");
    const none = tensor(new Float64Array(0), ["stimulus", "unit"], [12, 0]);
    await refuse({ x: none }, ShapeError as never, "got 0 and 2");
    const holes = { ...y, data: y.data.map((value, i) => (i > 20 ? Number.NaN : value)) };
    await refuse(
      { y: holes },
      DataError,
      "expected finite responses, got 3 that are not, first NaN in row 10, column 1",
    );
    await refuse({ options: { alphas: [] } }, ArgumentError as never, "got none");
    await refuse(
      { options: { alphas: [0, 1] } },
      ArgumentError as never,
      "expected alphas above 0, got 0, 1",
    );
    await refuse(
      { options: { score: "mse" } },
      ArgumentError as never,
      "expected score l2, r2, correlation, got mse",
    );
    await refuse(
      { options: { folds: 13 } },
      ArgumentError as never,
      "expected 2..12 folds of 12 stimuli, got 13",
    );
    await refuse(
      { options: { folds: "leave-one-out", score: "r2" } },
      ArgumentError as never,
      "for leave-one-out, got r2",
    );
    await refuse({ options: { targetBatch: 0 } }, ArgumentError as never, "targetBatch, got 0");
    const model = await ridgeCv(x, y, { linalg });
    await expect(predict(model, activations([[1, 2]]))).rejects.toThrow(
      new ShapeError("predict: expected 3 units, got 2"),
    );
  });
});
