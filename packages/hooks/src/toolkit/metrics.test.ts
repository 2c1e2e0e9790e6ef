import { ArgumentError, ShapeError } from "@penfield/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  entropy,
  klDivergence,
  logitDiff,
  logProb,
  loss,
  metrics,
  perplexity,
  prob,
  topK,
} from "../index.ts";

/** Two rows, two positions, three tokens; probabilities 1/2 1/4 1/4 and so on. */
const of = (...probabilities: number[]) => probabilities.map(Math.log);
const logits = {
  data: Float32Array.from([
    ...of(0.5, 0.25, 0.25),
    ...of(0.1, 0.2, 0.7),
    ...of(1, 1, 1),
    ...of(8, 1, 1),
  ]),
  shape: [2, 2, 3],
};
const rows = [
  { row: 0, prompt: 0 },
  { row: 1, prompt: 1 },
];
const near = (got: readonly number[], want: readonly number[]): void => {
  expect(got.length).toBe(want.length);
  got.forEach((v, i) => {
    expect(v).toBeCloseTo(want[i]!, 6);
  });
};

describe("by hand", () => {
  test("at the last position, at another, at one per prompt", () => {
    near(prob({ tokens: 2 })(logits, rows), [0.7, 0.1]);
    near(prob({ tokens: [2, 0] })(logits, rows), [0.7, 0.8]);
    near(prob({ tokens: 0, position: 0 })(logits, rows), [0.5, 1 / 3]);
    near(prob({ tokens: 0, position: [-2, 1] })(logits, rows), [0.5, 0.8]);
    near(logProb({ tokens: 2 })(logits, rows), [Math.log(0.7), Math.log(0.1)]);
    near(logitDiff({ tokens: 2, incorrectTokens: 0 })(logits, rows), [Math.log(7), -Math.log(8)]);
  });

  test("entropy, divergence, loss, perplexity", () => {
    near(entropy({ position: 0 })(logits, rows), [1.5 * Math.log(2), Math.log(3)]);
    const reference = {
      data: logits.data.map((_, i) => (i < 6 ? logits.data[i]! : 0)),
      shape: logits.shape,
    };
    const kl = 3 * (1 / 3) * Math.log(1 / 3) - (Math.log(0.8) + 2 * Math.log(0.1)) / 3;
    near(klDivergence({ reference })(logits, rows), [0, kl]);
    const tokens = [
      [7, 1],
      [7, 2],
    ];
    near(loss({ tokens })(logits, rows), [Math.log(4), Math.log(3)]);
    near(perplexity({ tokens })(logits, rows), [4, 3]);
  });

  test("a prompt that runs in several rows", () => {
    near(prob({ tokens: [2, 0] })(logits, [{ row: 1, prompt: 0 }]), [0.1]);
  });

  test("topK: likeliest first, equal ones in the vocabulary's order", () => {
    const [first, second] = topK(logits, { k: 2 });
    expect(first!.map((t) => t.token)).toEqual([2, 1]);
    expect(second!.map((t) => t.token)).toEqual([0, 1]);
    near(
      first!.map((t) => t.prob),
      [0.7, 0.2],
    );
    expect(topK(logits)[0]!.length).toBe(3);
  });

  test("large scores do not overflow", () => {
    const large = { data: Float32Array.from([1000, 0, -1000]), shape: [1, 1, 3] };
    expect(prob({ tokens: 0 })(large, rows.slice(0, 1))).toEqual([1]);
    expect(entropy()(large, rows.slice(0, 1))).toEqual([0]);
  });
});

test("a constant added to all scores changes nothing; divergence is at least 0, and 0 from itself", () => {
  const score = fc.float({ min: -8, max: 8, noNaN: true });
  fc.assert(
    fc.property(
      fc.array(score, { minLength: 8, maxLength: 8 }),
      fc.integer({ min: -3, max: 3 }),
      (x, c) => {
        const one = (values: number[]) => ({ data: Float32Array.from(values), shape: [1, 1, 4] });
        const [a, b] = [one(x.slice(0, 4)), one(x.slice(4))];
        const shifted = one(x.slice(0, 4).map((v) => v + c));
        const at = rows.slice(0, 1);
        expect(entropy()(shifted, at)[0]).toBeCloseTo(entropy()(a, at)[0]!, 4);
        expect(prob({ tokens: 1 })(shifted, at)[0]).toBeCloseTo(prob({ tokens: 1 })(a, at)[0]!, 4);
        expect(klDivergence({ reference: b })(a, at)[0]).toBeGreaterThanOrEqual(0);
        expect(klDivergence({ reference: a })(a, at)[0]).toBe(0);
      },
    ),
  );
});

test("the registry names them all; tokens, positions and shapes that do not fit are refused", () => {
  expect(Object.keys(metrics).sort()).toEqual(
    ["entropy", "klDivergence", "logProb", "logitDiff", "loss", "perplexity", "prob"].sort(),
  );
  expect(() => prob({ tokens: 3 })(logits, rows)).toThrow(/token within 0..2 for prompt 0, got 3/);
  expect(() => prob({ tokens: [1] })(logits, rows)).toThrow(/for prompt 1, got undefined/);
  expect(() => prob({ tokens: 1, position: 2 })(logits, rows)).toThrow(/within 0..1 .*got 2/);
  expect(() => loss({ tokens: [[1], [2]] })(logits, rows)).toThrow(ArgumentError);
  expect(() => topK(logits, { k: 0 })).toThrow(ArgumentError);
  const reference = { data: new Float32Array(8), shape: [2, 2, 2] };
  expect(() => klDivergence({ reference })(logits, rows)).toThrow(ShapeError);
});
