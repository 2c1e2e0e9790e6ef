import { ArgumentError, createRng, ShapeError, tensor } from "@penfield/core";
import { createLinalg } from "@penfield/linalg";
import { afterAll, describe, expect, test } from "vitest";
import {
  predictAttention,
  type TokenActivations,
  trainAttentionEncoder,
} from "./attentionEncoder.ts";
import { type Responses, ridgePredictions } from "./ridgeCv.ts";
import { predictionScores } from "./scoreSplits.ts";

const linalg = createLinalg();
afterAll(() => linalg.dispose());

/** One patch of each stimulus, anywhere, is marked in its first unit, and its other units drive all targets. */
function planted(n: number, seed: number) {
  const [nTokens, d, nTargets] = [12, 8, 3];
  const rng = createRng(seed);
  const weights = createRng(99);
  const w = Float64Array.from({ length: nTargets * d }, () => weights.normal());
  const data = Float64Array.from({ length: n * nTokens * d }, () => rng.normal());
  const y = new Float64Array(n * nTargets);
  const places = Int32Array.from({ length: n }, () => rng.below(nTokens));
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < nTokens; k++) data[(i * nTokens + k) * d] = k === places[i] ? 4 : 0;
    for (let t = 0; t < nTargets; t++) {
      y[i * nTargets + t] = 0.2 * rng.normal();
      for (let u = 1; u < d; u++) {
        y[i * nTargets + t]! += w[t * d + u]! * data[(i * nTokens + places[i]!) * d + u]!;
      }
    }
  }
  const tokens: TokenActivations = tensor(data, ["stimulus", "token", "unit"], [n, nTokens, d]);
  const responses: Responses = tensor(y, ["stimulus", "target"], [n, nTargets]);
  return { tokens, responses, places, nTokens, d };
}

const mean = (x: Float64Array) => x.reduce((a, b) => a + b, 0) / x.length;

describe("an encoder routed by attention", () => {
  test("finds the patch that drives a region, which no fixed map can", async () => {
    const fit = planted(400, 1);
    const held = planted(200, 2);
    const encoder = await trainAttentionEncoder(fit.tokens, fit.responses, { linalg });
    const { predicted, routing } = await predictAttention(encoder, held.tokens, { linalg });
    expect(mean(predictionScores(held.responses, predicted))).toBeGreaterThan(0.8);
    let found = 0;
    held.places.forEach((place, i) => {
      const row = Array.from(routing.data.subarray(i * fit.nTokens, (i + 1) * fit.nTokens));
      if (row.indexOf(Math.max(...row)) === place) found++;
    });
    expect(found).toBe(200);
    // All tokens side by side, and the tokens of one place: what maps without routing see.
    const flat = ({ tokens: { data, shape } }: typeof fit) =>
      tensor(data, ["stimulus", "unit"], [shape[0], shape[1] * shape[2]]);
    const at = ({ tokens: { data, shape }, d }: typeof fit, token: number) =>
      tensor(
        Float64Array.from({ length: shape[0] * d }, (_, i) => {
          return data[(Math.floor(i / d) * shape[1] + token) * d + (i % d)]!;
        }),
        ["stimulus", "unit"],
        [shape[0], d],
      );
    const whole = await ridgePredictions(flat(fit), fit.responses, flat(held), { linalg });
    expect(mean(predictionScores(held.responses, whole))).toBeLessThan(0.5);
    for (const token of [0, 5]) {
      const fixed = await ridgePredictions(at(fit, token), fit.responses, at(held, token), {
        linalg,
      });
      expect(mean(predictionScores(held.responses, fixed))).toBeLessThan(0.5);
    }
  });

  test("its gradient leads downwards, and the same seed to the same weights", async () => {
    const { tokens, responses } = planted(40, 3);
    const options = { steps: 30, learningRate: 1e-3, groups: ["a", "a", "b"], linalg };
    const one = await trainAttentionEncoder(tokens, responses, options);
    const two = await trainAttentionEncoder(tokens, responses, options);
    expect([...one.queries]).toEqual([...two.queries]);
    expect(one.groups).toEqual(["a", "b"]);
    one.losses.slice(1).forEach((loss, i) => {
      expect(loss).toBeLessThan(one.losses[i]! + 1e-9);
    });
  });

  test("refuses what does not fit", async () => {
    const { tokens, responses } = planted(10, 3);
    await expect(trainAttentionEncoder(tokens, responses, { groups: [1], linalg })).rejects.toThrow(
      ShapeError,
    );
    await expect(trainAttentionEncoder(tokens, responses, { steps: 0, linalg })).rejects.toThrow(
      ArgumentError,
    );
  });
});
