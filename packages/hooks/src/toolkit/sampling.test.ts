import { ArgumentError, createRng, ModelError } from "@penfield/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { drawToken, nextTokens, type SamplingOptions, tokenStatistics } from "./sampling.ts";

const scoresOf = (probs: readonly number[]): Float32Array => Float32Array.from(probs, Math.log);

describe("the tokens that can be drawn", () => {
  // Exact in float32: 1/2, 1/4, 1/8, 1/8 in another order.
  const scores = scoresOf([0.125, 0.5, 0.125, 0.25]);

  test("greedy is the likeliest, of equals the first", () => {
    expect(nextTokens(scores)).toEqual({ tokens: [1], probs: [1] });
    expect(nextTokens(Float32Array.from([0, 3, 3])).tokens).toEqual([1]);
    expect(nextTokens(scores, { temperature: 0 }).tokens).toEqual([1]);
  });

  test.each<[SamplingOptions, number[], number[]]>([
    [{}, [0, 1, 2, 3], [1 / 8, 1 / 2, 1 / 8, 1 / 4]],
    [{ topK: 2 }, [1, 3], [2 / 3, 1 / 3]],
    [{ topK: 3 }, [1, 3, 0], [4 / 7, 2 / 7, 1 / 7]],
    [{ topK: 9 }, [1, 3, 0, 2], [1 / 2, 1 / 4, 1 / 8, 1 / 8]],
    // The fewest that have it together: a half is enough for 0.4, not for 0.6.
    [{ topP: 0.4 }, [1], [1]],
    [{ topP: 0.6 }, [1, 3], [2 / 3, 1 / 3]],
    [{ topP: 0.8 }, [1, 3, 0], [4 / 7, 2 / 7, 1 / 7]],
    [{ topP: 1 }, [1, 3, 0, 2], [1 / 2, 1 / 4, 1 / 8, 1 / 8]],
    // Of the two likeliest the first has 2/3.
    [{ topK: 2, topP: 0.65 }, [1], [1]],
    [{ topK: 2, topP: 0.7 }, [1, 3], [2 / 3, 1 / 3]],
    // At temperature 1/2 probabilities are squared: 1, 16, 1, 4 of 22.
    [{ temperature: 0.5 }, [0, 1, 2, 3], [1 / 22, 16 / 22, 1 / 22, 4 / 22]],
    [{ temperature: 0.5, topP: 0.8 }, [1, 3], [16 / 20, 4 / 20]],
  ])("%o", (options, tokens, probs) => {
    const found = nextTokens(scores, { temperature: 1, ...options });
    expect(found.tokens).toEqual(tokens);
    probs.forEach((p, i) => {
      expect(found.probs[i]).toBeCloseTo(p, 6);
    });
  });

  test("what a naive implementation keeps is kept", () => {
    const settings = fc.record({
      logits: fc.array(fc.double({ min: -20, max: 20, noNaN: true }), {
        minLength: 1,
        maxLength: 12,
      }),
      temperature: fc.double({ min: 0.1, max: 5, noNaN: true }),
      topK: fc.option(fc.integer({ min: 1, max: 14 }), { nil: undefined }),
      topP: fc.option(fc.double({ min: 0.01, max: 1, noNaN: true }), { nil: undefined }),
    });
    fc.assert(
      fc.property(settings, ({ logits, ...options }) => {
        const scores = Float32Array.from(logits);
        const { tokens, probs } = nextTokens(scores, options);
        expect(probs.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 9);
        expect(tokens.length).toBeLessThanOrEqual(options.topK ?? scores.length);
        const lowest = Math.min(...tokens.map((t) => scores[t]!));
        scores.forEach((x, t) => {
          if (!tokens.includes(t)) expect(x).toBeLessThanOrEqual(lowest);
        });
        // In proportion to exp(x / T): beside the likeliest, or ratios overflow any fixed tolerance.
        const highest = Math.max(...tokens.map((t) => scores[t]!));
        const atHighest = probs[tokens.findIndex((t) => scores[t] === highest)]!;
        tokens.forEach((t, i) => {
          const ratio = Math.exp((scores[t]! - highest) / options.temperature);
          expect(probs[i]! / atHighest).toBeCloseTo(ratio, 6);
        });
        if (options.topP !== undefined && tokens.length > 1) {
          // One fewer would not be enough.
          const all = nextTokens(scores, { ...options, topP: undefined });
          const mass = (list: readonly number[]) =>
            list.reduce((sum, t) => sum + all.probs[all.tokens.indexOf(t)]!, 0);
          expect(mass(tokens)).toBeGreaterThan(options.topP - 1e-9);
          expect(mass(tokens.slice(0, -1))).toBeLessThan(options.topP + 1e-9);
        }
      }),
      { numRuns: 200 },
    );
  });

  test("are drawn as often as they are likely", () => {
    const rng = createRng(7);
    const next = nextTokens(scores, { temperature: 1 });
    const counts = [0, 0, 0, 0];
    const n = 20_000;
    for (let i = 0; i < n; i++) counts[drawToken(next, rng)]!++;
    [1 / 8, 1 / 2, 1 / 8, 1 / 4].forEach((p, token) => {
      // Five standard errors.
      expect(Math.abs(counts[token]! / n - p)).toBeLessThan(5 * Math.sqrt((p * (1 - p)) / n));
    });
  });

  test("a token without probability is never drawn", () => {
    const next = nextTokens(Float32Array.from([0, Number.NEGATIVE_INFINITY]), { temperature: 1 });
    const rng = { ...createRng(0), uniform: () => 1 - 2 ** -53 };
    expect(drawToken(next, rng)).toBe(0);
  });

  test.each<[SamplingOptions, RegExp]>([
    [{ temperature: -1 }, /temperature of at least 0, got -1/],
    [{ temperature: Number.NaN }, /temperature of at least 0, got NaN/],
    [{ temperature: 1, topK: 0 }, /topK of at least 1 token, got 0/],
    [{ temperature: 1, topK: 1.5 }, /topK of at least 1 token, got 1.5/],
    [{ temperature: 1, topP: 0 }, /topP above 0 and at most 1, got 0/],
    [{ temperature: 1, topP: 1.1 }, /topP above 0 and at most 1, got 1.1/],
    [{ topK: 3 }, /a temperature with topK, got none/],
    [{ topP: 0.5 }, /a temperature with topP, got none/],
  ])("%o is refused", (options, message) => {
    expect(() => nextTokens(scores, options)).toThrow(ArgumentError);
    expect(() => nextTokens(scores, options)).toThrow(message);
  });

  test("scores that are not numbers are refused", () => {
    expect(() => nextTokens(Float32Array.from([0, Number.NaN]))).toThrow(ModelError);
    expect(() => nextTokens(Float32Array.from([0, Number.NaN]))).toThrow(/NaN for token 1/);
  });
});

test("log-probability and entropy are those of the scores as they are", () => {
  const { logProb, entropy } = tokenStatistics(scoresOf([0.5, 0.25, 0.25]), 1);
  expect(logProb).toBeCloseTo(Math.log(0.25), 6);
  expect(entropy).toBeCloseTo(1.5 * Math.log(2), 6);
  const sure = tokenStatistics(Float32Array.from([0, Number.NEGATIVE_INFINITY]), 0);
  expect(sure).toEqual({ logProb: 0, entropy: 0 });
});
