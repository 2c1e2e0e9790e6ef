import { readFileSync } from "node:fs";
import { ArgumentError } from "@penfield/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  logGamma,
  normalCdf,
  normalQuantile,
  regularizedIncompleteBeta,
  studentTP,
  studentTSurvival,
} from "./special.ts";

const golden = JSON.parse(
  readFileSync(new URL("../../../test/golden/stats.json", import.meta.url), "utf8"),
).special as Record<string, [number[], number][]>;

const functions: Record<string, (...args: number[]) => number> = {
  logGamma,
  normalCdf,
  regularizedIncompleteBeta,
  studentTSurvival,
};

describe.each(Object.keys(functions))("%s", (name) => {
  // 1e-12: the exponent of a p-value of 1e-300 is 690, and 690 eps is 1.5e-13.
  test.each(golden[name]!)("of %j is %d to 1e-12 relative (mpmath)", (args, expected) => {
    const got = functions[name]!(...args);
    expect(Math.abs(got - expected)).toBeLessThanOrEqual(1e-12 * Math.abs(expected));
  });
});

test("logGamma gives factorials", () => {
  expect(logGamma(1)).toBe(0);
  expect(logGamma(2)).toBe(0);
  expect(Math.exp(logGamma(7))).toBeCloseTo(720, 9);
  expect(logGamma(Number.POSITIVE_INFINITY)).toBe(Number.POSITIVE_INFINITY);
});

test("logGamma obeys its recurrence", () => {
  fc.assert(
    fc.property(fc.double({ min: 1e-3, max: 1e4, noNaN: true }), (x) => {
      const sum = logGamma(x) + Math.log(x);
      expect(Math.abs(logGamma(x + 1) - sum)).toBeLessThan(
        1e-14 * (1 + Math.abs(sum) + Math.abs(Math.log(x))),
      );
    }),
  );
});

test("the incomplete beta function mirrors: I_x(a, b) = 1 - I_(1-x)(b, a)", () => {
  const size = fc.double({ min: 0.05, max: 500, noNaN: true });
  // Multiples of 2^-20, so that 1 - x is exact.
  const x = fc.integer({ min: 0, max: 2 ** 20 }).map((i) => i / 2 ** 20);
  fc.assert(
    fc.property(x, size, size, (at, a, b) => {
      const both = regularizedIncompleteBeta(at, a, b) + regularizedIncompleteBeta(1 - at, b, a);
      expect(Math.abs(both - 1)).toBeLessThan(1e-12);
    }),
  );
});

test("the incomplete beta function has closed forms at its edges", () => {
  expect(regularizedIncompleteBeta(0, 2, 3)).toBe(0);
  expect(regularizedIncompleteBeta(1, 2, 3)).toBe(1);
  expect(regularizedIncompleteBeta(0.3, 1, 1)).toBeCloseTo(0.3, 15);
  expect(regularizedIncompleteBeta(0.3, 4, 1)).toBeCloseTo(0.3 ** 4, 15);
});

describe("Student's t", () => {
  test("with one degree of freedom is Cauchy's distribution", () => {
    expect(studentTSurvival(1, 1)).toBeCloseTo(0.25, 15);
    expect(studentTSurvival(0, 1)).toBe(0.5);
  });

  test("tends to the normal", () => {
    expect(studentTSurvival(2, 1e14)).toBeCloseTo(normalCdf(-2), 14);
    expect(studentTSurvival(2, Number.POSITIVE_INFINITY)).toBeCloseTo(normalCdf(-2), 15);
  });

  test("has p-values far below 1e-200 that are not 0, and 0 only beyond the smallest doubles", () => {
    expect(studentTP(60, 478)).toBeGreaterThan(1e-226);
    expect(studentTP(60, 478)).toBeLessThan(1e-223);
    expect(studentTP(1e300, 2)).toBe(0);
    expect(studentTP(Number.NEGATIVE_INFINITY, 5)).toBe(0);
    expect(studentTSurvival(Number.NEGATIVE_INFINITY, 5)).toBe(1);
  });

  test("is monotone in t", () => {
    const df = fc.double({ min: 0.5, max: 1e6, noNaN: true });
    const t = fc.double({ min: 0, max: 50, noNaN: true });
    fc.assert(
      fc.property(df, t, t, (freedom, s, u) => {
        const [low, high] = s < u ? [s, u] : [u, s];
        expect(studentTP(high, freedom)).toBeLessThanOrEqual(studentTP(low, freedom) * (1 + 1e-12));
      }),
    );
  });
});

test("normalQuantile undoes normalCdf", () => {
  fc.assert(
    fc.property(fc.double({ min: -37, max: 5, noNaN: true }), (z) => {
      // Above 0 the rounding of 1 - tail, not the inverse, limits what comes back.
      const slack = z > 0 ? 1e-16 / Math.exp(-z * z * 0.5) : 0;
      expect(Math.abs(normalQuantile(normalCdf(z)) - z)).toBeLessThan(
        1e-12 * (1 + Math.abs(z)) + 10 * slack,
      );
    }),
  );
  expect(normalQuantile(0.5)).toBe(0);
  expect(normalQuantile(0)).toBe(Number.NEGATIVE_INFINITY);
  expect(normalQuantile(1)).toBe(Number.POSITIVE_INFINITY);
  expect(normalCdf(Number.NEGATIVE_INFINITY)).toBe(0);
  expect(normalCdf(Number.POSITIVE_INFINITY)).toBe(1);
});

test.each([
  [() => logGamma(0), "logGamma: expected x above 0, got 0"],
  [() => logGamma(Number.NaN), "logGamma: expected x above 0, got NaN"],
  [() => normalCdf(Number.NaN), "normalCdf: expected a number, got NaN"],
  [() => normalQuantile(1.5), "normalQuantile: expected p within 0..1, got 1.5"],
  [
    () => regularizedIncompleteBeta(-0.1, 1, 1),
    "regularizedIncompleteBeta: expected x within 0..1, got -0.1",
  ],
  [
    () => regularizedIncompleteBeta(0.1, 0, 1),
    "regularizedIncompleteBeta: expected a and b above 0 and finite, got 0, 1",
  ],
  [() => studentTSurvival(1, 0), "studentTSurvival: expected df above 0, got 0"],
  [() => studentTP(Number.NaN, 3), "studentTP: expected a number t, got NaN"],
])("refuses what it cannot take (%#)", (call, message) => {
  expect(call).toThrow(ArgumentError);
  expect(call).toThrow(message);
});
