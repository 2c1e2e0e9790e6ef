import { ArgumentError, activations, createRng, DataError, ShapeError } from "@penfield/core";
import { describe, expect, test } from "vitest";
import { spectralRadius } from "./spectralRadius.ts";

/** Samples of `x = W x + noise` with `W` at random, of the spectral radius asked for: `[nSamples, n]`. */
function linearNetwork(radius: number, n: number, nSamples: number, seed: number): number[][] {
  const rng = createRng(seed);
  const product = (a: Float64Array, b: Float64Array): Float64Array => {
    const out = new Float64Array(n * n);
    for (let i = 0; i < n; i++) {
      for (let k = 0; k < n; k++) {
        const v = a[i * n + k]!;
        for (let j = 0; j < n; j++) out[i * n + j]! += v * b[k * n + j]!;
      }
    }
    return out;
  };
  const one = (a: Float64Array) => a.map((v, k) => (k % (n + 1) === 0 ? v + 1 : v));
  // 1 + W + W^2 + ... = (1 + W)(1 + W^2)(1 + W^4)...
  let power: Float64Array = Float64Array.from(
    { length: n * n },
    () => (radius * rng.normal()) / Math.sqrt(n),
  );
  let response: Float64Array = one(power);
  for (let k = 0; k < 7; k++) {
    power = product(power, power);
    response = product(response, one(power));
  }
  return Array.from({ length: nSamples }, () => {
    const noise = Float64Array.from({ length: n }, () => rng.normal());
    return Array.from({ length: n }, (_, i) => {
      let sum = 0;
      for (let j = 0; j < n; j++) sum += response[i * n + j]! * noise[j]!;
      return sum;
    });
  });
}

describe("spectralRadius", () => {
  test.each([0.3, 0.6, 0.9])("a linear network of radius %d", (radius) => {
    const rows = linearNetwork(radius, 100, 1500, 1);
    const found = spectralRadius(activations(rows));
    expect(Math.abs(found.radius - radius)).toBeLessThan(0.06);
    expect(found.naive.radius).toBeGreaterThan(found.radius);
    // A third of its units tells the same, if it is said of how many they are.
    const seen = spectralRadius(activations(rows.map((row) => row.slice(0, 33))), { nTotal: 100 });
    expect(Math.abs(seen.radius - radius)).toBeLessThan(0.1);
  });

  test("by hand: covariances of 0 and 1, variances of 2", () => {
    // Two units alike, two by themselves; each has variance 2.
    const [a, b] = [
      [1, -1, 1, -1],
      [1, 1, -1, -1],
    ].map((signs) => signs.map((s) => s * Math.sqrt(1.5))) as [number[], number[]];
    const { naive } = spectralRadius(activations([0, 1, 2, 3].map((t) => [a[t]!, a[t]!, b[t]!])));
    // Off the diagonal 2, 0, 0: variance 8/9; Delta = sqrt(8) / 6, N Delta^2 = 2/3.
    expect(naive.dispersion).toBeCloseTo(Math.sqrt(8) / 6, 12);
    expect(naive.radius).toBeCloseTo(Math.sqrt(1 - 1 / Math.sqrt(5 / 3)), 12);
  });

  test("does not depend on scale or means; independent units have none", () => {
    const rows = linearNetwork(0.7, 20, 200, 2);
    const { radius } = spectralRadius(activations(rows));
    const moved = spectralRadius(activations(rows.map((row) => row.map((v, i) => 5 * v - i))));
    expect(moved.radius).toBeCloseTo(radius, 10);
    const none = spectralRadius(activations(linearNetwork(0, 60, 100, 3)));
    expect(none.radius).toBeLessThan(0.3);
    expect(none.naive.radius).toBeGreaterThan(0.4);
    expect(none.warnings.length).toBe(1);
  });

  test("nothing varies: NaN; too little and what is not finite is refused", () => {
    const constant = [
      [1, 1],
      [1, 1],
      [1, 1],
    ];
    expect(spectralRadius(activations(constant)).radius).toBeNaN();
    expect(() => spectralRadius(activations([[1], [2], [3]]))).toThrow(ShapeError);
    expect(() => spectralRadius(activations(constant), { nTotal: 1 })).toThrow(ArgumentError);
    expect(() =>
      spectralRadius(
        activations([
          [1, 2],
          [Number.NaN, 1],
          [0, 0],
        ]),
      ),
    ).toThrow(DataError);
  });
});
