import { ArgumentError, createRng, DataError, ShapeError } from "@penfield/core";
import { matrix } from "@penfield/linalg";
import { describe, expect, test } from "vitest";
import { lyapunovSpectrum } from "./lyapunov.ts";

/** Jacobians along the Hénon map, asked for in order. */
function henon() {
  let [x, y] = [0.1, 0.1];
  return () => {
    const j = matrix(Float64Array.of(-2.8 * x, 1, 0.3, 0), 2, 2);
    [x, y] = [1 - 1.4 * x * x + y, 0.3 * x];
    return j;
  };
}

describe("lyapunovSpectrum", () => {
  test("Hénon's map: 0.4192 and -1.6232, which sum to ln 0.3; dimension 1.258", () => {
    const { exponents, kaplanYorkeDimension, entropyRate, drift } = lyapunovSpectrum(henon(), {
      nSteps: 60_000,
      nDimensions: 2,
      nTransient: 1000,
    });
    expect(Math.abs(exponents[0]! - 0.4192)).toBeLessThan(0.005);
    expect(exponents[0]! + exponents[1]!).toBeCloseTo(Math.log(0.3), 10);
    expect(Math.abs(kaplanYorkeDimension - 1.258)).toBeLessThan(0.005);
    expect(entropyRate).toBe(exponents[0]);
    expect(drift[0]).toBeLessThan(0.02);
  });

  test("fewer decompositions and random first directions give the same", () => {
    const options = { nSteps: 4000, nDimensions: 2, nTransient: 200 };
    const each = lyapunovSpectrum(henon(), options);
    const some = lyapunovSpectrum(henon(), { ...options, every: 5 }, createRng(1));
    expect(some.exponents[0]).toBeCloseTo(each.exponents[0]!, 4);
    expect(some.exponents[1]).toBeCloseTo(each.exponents[1]!, 4);
  });

  test("a linear flow has its eigenvalues, per second; the largest alone are the same", () => {
    const dtSeconds = 0.001;
    const rates = [3, -1, -5];
    const j = matrix(
      Float64Array.from({ length: 9 }, (_, i) =>
        i % 4 === 0 ? Math.exp(rates[i / 4]! * dtSeconds) : i === 1 ? 0.01 : 0,
      ),
      3,
      3,
    );
    const options = { nSteps: 20_000, nDimensions: 3, dtSeconds, every: 10 };
    const { exponents, kaplanYorkeDimension } = lyapunovSpectrum(() => j, options);
    expect(Array.from(exponents, (v) => Math.round(v * 1000) / 1000)).toEqual(rates);
    expect(kaplanYorkeDimension).toBeCloseTo(2 + 2 / 5, 3);
    const one = lyapunovSpectrum(() => j, { ...options, nExponents: 1 });
    expect(one.exponents[0]).toBeCloseTo(3, 3);
    expect(one.kaplanYorkeDimension).toBeNaN();
  });

  test("a direction that is sent to nothing has -infinity", () => {
    const j = matrix(Float64Array.of(0.5, 0, 0, 0), 2, 2);
    const { exponents, kaplanYorkeDimension } = lyapunovSpectrum(() => j, {
      nSteps: 10,
      nDimensions: 2,
    });
    expect(exponents[0]).toBeCloseTo(Math.log(0.5), 14);
    expect(exponents[1]).toBe(Number.NEGATIVE_INFINITY);
    expect(kaplanYorkeDimension).toBe(0);
  });

  test("refuses wrong shapes, runs that diverged, too many exponents", () => {
    const options = { nSteps: 5, nDimensions: 2 };
    const wide = matrix(new Float64Array(9), 3, 3);
    expect(() => lyapunovSpectrum(() => wide, options)).toThrow(ShapeError);
    expect(() => lyapunovSpectrum(() => wide, options)).toThrow(
      "lyapunovSpectrum: expected a Jacobian of 2 x 2, got 3 x 3 at step 0",
    );
    const diverged = matrix(Float64Array.of(1, 0, 0, Number.NaN), 2, 2);
    expect(() => lyapunovSpectrum(() => diverged, options)).toThrow(DataError);
    expect(() => lyapunovSpectrum(() => wide, { ...options, nExponents: 3 })).toThrow(
      ArgumentError,
    );
  });
});
