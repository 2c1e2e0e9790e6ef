import { ArgumentError, DataError, ShapeError } from "@penfield/core";
import { afterAll, afterEach, describe, expect, test, vi } from "vitest";
import { cholesky } from "./cholesky.ts";
import { eigenSymmetric } from "./eigenSymmetric.ts";
import { createLinalg } from "./linalg.ts";
import { type Matrix, matrix, transpose } from "./matrix.ts";
import { openOpenblas } from "./openblas.ts";
import { qr } from "./qr.ts";
import { nuclearNorm, singularValues, svd } from "./svd.ts";

const builtIn = createLinalg({ threads: 1, lapack: "none" });
const found = createLinalg({ threads: 1, lapack: "auto" });
afterAll(() => Promise.all([builtIn.dispose(), found.dispose()]));
afterEach(() => vi.unstubAllEnvs());

/** Whether this machine has what the comparison needs; CI without the library says that it was skipped. */
const present = found.lapack !== undefined;

const random = (seed: number) => {
  let state = seed * 48271 + 1;
  return () => {
    state = (state * 16807 + 11) % 2147483647;
    return state / 1073741823.5 - 1;
  };
};
const filled = (n: number, p: number, seed: number) =>
  matrix(Float64Array.from({ length: n * p }, random(seed)), n, p);
const times = (a: Matrix, b: Matrix, transposeB = false) =>
  builtIn.matmul(a, { ...b, data: Float64Array.from(b.data) }, { transposeB });
const scaledColumns = (a: Matrix, by: ArrayLike<number>) =>
  matrix(
    Float64Array.from(a.data, (x, i) => x * by[i % a.nColumns]!),
    a.nRows,
    a.nColumns,
  );
const apart = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  expect(a.length).toBe(b.length);
  let most = 0;
  for (let i = 0; i < a.length; i++) {
    const off = Math.abs(a[i]! - b[i]!);
    if (!(off <= most)) most = off;
  }
  return most;
};
const identity = (n: number) =>
  Float64Array.from({ length: n * n }, (_, i) => +(i % (n + 1) === 0));
const departure = async (q: Matrix) =>
  apart((await times(transpose(q), q)).data, identity(q.nColumns));

/** q diag(values) q^T, symmetric to the last bit. */
async function withEigenvalues(values: readonly number[], seed: number) {
  const n = values.length;
  const { q } = qr(filled(n, n, seed));
  const a = await times(scaledColumns(q, values), q, true);
  return matrix(
    a.data.map((_, i) => a.data[Math.max(i, (i % n) * n + Math.floor(i / n))]!),
    n,
    n,
  );
}
const count = (n: number) => Array.from({ length: n }, (_, i) => i);

const symmetric: Record<string, () => Promise<Matrix>> = {
  "1 x 1": async () => matrix(Float64Array.of(-3), 1, 1),
  "random 33 x 33": async () => {
    const x = filled(33, 33, 1);
    return times(x, x, true);
  },
  "random 150 x 150, values of both signs": () =>
    withEigenvalues(
      count(150).map((i) => i - 70.5),
      2,
    ),
  "repeated values": () =>
    withEigenvalues(
      count(120).map((i) => Math.floor(i / 40)),
      3,
    ),
  "rank 7 of 110": () =>
    withEigenvalues(
      count(110).map((i) => (i < 7 ? i + 1 : 0)),
      4,
    ),
  "graded over fourteen orders": () =>
    withEigenvalues(
      count(130).map((i) => 10 ** ((-14 * i) / 129)),
      5,
    ),
  "all zero": async () => matrix(new Float64Array(100 * 100), 100, 100),
  "entries of 1e200": () =>
    withEigenvalues(
      count(100).map((i) => 1e200 * (i + 1)),
      6,
    ),
};

const rectangular: Record<string, () => Promise<Matrix>> = {
  "1 x 1": async () => matrix(Float64Array.of(-3), 1, 1),
  "random 20 x 7": async () => filled(20, 7, 1),
  "random 140 x 90": async () => filled(140, 90, 2),
  "random 60 x 130": async () => filled(60, 130, 3),
  "random 600 x 30": async () => filled(600, 30, 4),
  "repeated values": async () => qr(filled(100, 80, 5)).q,
  "rank 11 of 90 x 70": async () => times(filled(90, 11, 6), filled(11, 70, 7)),
  "graded over fourteen orders": async () => {
    const values = count(80).map((i) => 10 ** ((-14 * i) / 79));
    return times(scaledColumns(qr(filled(80, 80, 8)).q, values), qr(filled(80, 80, 9)).q, true);
  },
  "all zero": async () => matrix(new Float64Array(40 * 30), 40, 30),
};

describe.skipIf(!present)(
  "OpenBLAS beside the built-in (needs libopenblas.so.0; skipped where it is missing)",
  () => {
    test("says what it is", () => {
      expect(found.backend).toMatch(/^OpenBLAS \S+ \(\w+\)$/);
      expect(builtIn.backend).toBe("built-in");
    });

    test.each(Object.keys(symmetric))("eigenSymmetric: %s", async (name) => {
      const a = await symmetric[name]!();
      const before = Float64Array.from(a.data);
      const ours = await eigenSymmetric(a, builtIn);
      const theirs = await eigenSymmetric(a, found);
      const only = await eigenSymmetric(a, found, { vectors: false });
      const scale = Math.abs(ours.values[0]!) + Math.abs(ours.values.at(-1)!);
      expect(apart(theirs.values, ours.values)).toBeLessThanOrEqual(1e-12 * scale);
      expect(apart(only.values, ours.values)).toBeLessThanOrEqual(1e-12 * scale);
      expect(only.vectors).toEqual({ data: new Float64Array(0), nRows: 0, nColumns: 0 });
      const v = transpose(theirs.vectors);
      expect(await departure(v)).toBeLessThan(1e-12);
      const again = await times(scaledColumns(v, theirs.values), v, true);
      expect(apart(again.data, a.data)).toBeLessThanOrEqual(1e-12 * scale);
      expect(a.data).toEqual(before);
    });

    test("eigenSymmetric reads the lower triangle only, of float32 too", async () => {
      const lower = matrix(Float32Array.of(2, 99, 1, 2), 2, 2);
      const { values } = await eigenSymmetric(lower, found);
      expect(apart(values, [3, 1])).toBeLessThan(1e-15);
    });

    test.each(Object.keys(rectangular))("svd and singularValues: %s", async (name) => {
      const a = await rectangular[name]!();
      const before = Float64Array.from(a.data);
      const ours = await svd(a, builtIn);
      const { u, s, v } = await svd(a, found);
      const scale = ours.s[0]!;
      const k = Math.min(a.nRows, a.nColumns);
      expect([u.nRows, u.nColumns, v.nRows, v.nColumns]).toEqual([a.nRows, k, a.nColumns, k]);
      expect(apart(s, ours.s)).toBeLessThanOrEqual(1e-12 * scale);
      expect(apart(await singularValues(a, found), ours.s)).toBeLessThanOrEqual(1e-12 * scale);
      expect(await departure(u)).toBeLessThan(1e-12);
      expect(await departure(v)).toBeLessThan(1e-12);
      const again = await times(scaledColumns(u, s), v, true);
      expect(apart(again.data, a.data)).toBeLessThanOrEqual(1e-12 * scale);
      const total = await nuclearNorm(a, builtIn);
      expect(Math.abs((await nuclearNorm(a, found)) - total)).toBeLessThanOrEqual(1e-11 * total);
      expect(a.data).toEqual(before);
    });

    test.each([1, 5, 70, 150])("cholesky, n = %i", async (n) => {
      const x = filled(n + 5, n, n);
      const a = await times(transpose(x), transpose(x), true);
      const ours = await cholesky(a, builtIn);
      const theirs = await cholesky(a, found);
      // The factor's own sensitivity is the condition number; 5 rows more than columns keep it small.
      expect(apart(theirs.data, ours.data)).toBeLessThan(1e-12 * Math.sqrt(n));
    });

    test("refuses what the built-in refuses, in the same words", async () => {
      const x = filled(10, 60, 1);
      const dependent = await times(transpose(x), transpose(x), true);
      const indefinite = matrix(Float64Array.of(1, 2, 2, 1), 2, 2);
      const singular = matrix(Float64Array.of(1, 1, 1, 1), 2, 2);
      for (const a of [dependent, indefinite, singular]) {
        const ours = await cholesky(a, builtIn).catch((error: unknown) => error);
        expect(ours).toBeInstanceOf(DataError);
        await expect(cholesky(a, found)).rejects.toThrow(ours as DataError);
      }
      const nan = matrix(Float64Array.of(Number.NaN), 1, 1);
      await expect(eigenSymmetric(nan, found)).rejects.toThrow(DataError);
      await expect(svd(nan, found)).rejects.toThrow(DataError);
      await expect(cholesky(nan, found)).rejects.toThrow(DataError);
      const flat = filled(2, 3, 1);
      await expect(eigenSymmetric(flat, found)).rejects.toThrow(ShapeError);
      await expect(cholesky(flat, found)).rejects.toThrow(ShapeError);
      await expect(singularValues(matrix(new Float64Array(0), 0, 3), found)).rejects.toThrow(
        ShapeError,
      );
    });

    test("nothing decomposed is nothing", async () => {
      const empty = matrix(new Float64Array(0), 0, 0);
      expect(await eigenSymmetric(empty, found)).toEqual(await eigenSymmetric(empty, builtIn));
      expect(await cholesky(empty, found)).toEqual(await cholesky(empty, builtIn));
    });

    test("sizes whose workspace 32 bits cannot count are refused before anything is touched", () => {
      const lapack = found.lapack!;
      const huge = { data: new Float64Array(0), nRows: 33_000, nColumns: 33_000 };
      expect(() => lapack.eigenSymmetric(huge, false)).toThrow(
        "eigenSymmetric: expected a matrix whose workspace fits OpenBLAS's 32-bit integers, got 33000 x 33000",
      );
      expect(() => lapack.svd(huge)).toThrow(ShapeError);
    });

    test("same inputs, same bytes; the number of threads is set before each call", async () => {
      const a = filled(200, 150, 3);
      const first = await svd(a, found);
      const other = createLinalg({ threads: 2, lapack: "openblas" });
      const two = await svd(a, other);
      expect(apart(two.s, first.s)).toBeLessThan(1e-12 * first.s[0]!);
      expect(await svd(a, found)).toEqual(first);
      await other.dispose();
    });

    test("a variable of the environment asks for it", () => {
      for (const value of ["1", "auto"]) {
        vi.stubEnv("PENFIELD_OPENBLAS", value);
        expect(createLinalg().backend).toBe(found.backend);
        expect(createLinalg({ lapack: "none" }).backend).toBe("built-in");
      }
    });

    test("a library that is none, or has other integers, is passed over", () => {
      const load = (configuration: string) => () => ({
        load: () => ({ func: () => () => configuration }),
      });
      expect(() => openOpenblas(1, { libraries: ["libm.so.6"] })).toThrow(
        /libm\.so\.6: .*openblas_get_config/,
      );
      expect(() =>
        openOpenblas(1, {
          koffi: load("OpenBLAS 0.3.21 USE64BITINT Haswell"),
          libraries: ["libopenblas64.so.0"],
        }),
      ).toThrow("libopenblas64.so.0: its integers have 64 bits, 32 are needed");
      const second = openOpenblas(1, { libraries: ["libpenfield-none.so", "libopenblas.so.0"] });
      expect(second.name).toBe(found.backend);
    });
  },
);

describe("choosing who decomposes", () => {
  test("OpenBLAS only when asked for", () => {
    for (const value of ["", "0"]) {
      vi.stubEnv("PENFIELD_OPENBLAS", value);
      expect(createLinalg().backend).toBe("built-in");
      expect(createLinalg().lapack).toBeUndefined();
    }
    vi.stubEnv("PENFIELD_OPENBLAS", "yes");
    expect(() => createLinalg()).toThrow(
      new ArgumentError('createLinalg: expected PENFIELD_OPENBLAS to be 1, auto or 0, got "yes"'),
    );
    expect(() => createLinalg({ lapack: "mkl" as never })).toThrow(
      'createLinalg: expected lapack "none", "auto" or "openblas", got "mkl"',
    );
  });

  test("where koffi or the library is missing, the error says what to install", () => {
    const koffi = () => {
      throw new Error("Cannot find module 'koffi'");
    };
    const refused = (open: () => unknown): ArgumentError => {
      try {
        open();
      } catch (error) {
        expect(error).toBeInstanceOf(ArgumentError);
        return error as ArgumentError;
      }
      throw new Error("expected a refusal");
    };
    const noKoffi = refused(() => openOpenblas(1, { koffi }));
    expect(noKoffi.message).toBe(
      "createLinalg: expected OpenBLAS through koffi, got no package koffi that loads",
    );
    expect(noKoffi.hint).toMatch(/npm install koffi.*apt-get install libopenblas0-pthread/);
    expect((noKoffi.cause as Error).message).toBe("Cannot find module 'koffi'");
    const missing = {
      load: () => {
        throw new Error("no such file");
      },
    };
    expect(
      refused(() => openOpenblas(1, { koffi: () => missing, libraries: ["a.so", "b.so"] })).message,
    ).toBe(
      "createLinalg: expected OpenBLAS through koffi, got a.so: no such file; b.so: no such file",
    );
    expect(refused(() => openOpenblas(1, { koffi: () => missing, libraries: [] })).message).toMatch(
      /got no name known on \w+$/,
    );
  });

  test("a routine that does not converge or refuses is an error, not a result", () => {
    const info = (value: number) => ({
      load: () => ({
        func:
          (name: string) =>
          (...values: unknown[]) => {
            if (!name.endsWith("_")) return "OpenBLAS 0.0.0";
            const integers = values.filter((v) => v instanceof Int32Array);
            integers.at(-1)![0] = value;
            return undefined;
          },
      }),
    });
    const refusal = (work: () => unknown): unknown => {
      try {
        return work();
      } catch (error) {
        expect(error).toBeInstanceOf(DataError);
        return (error as Error).message;
      }
    };
    const open = (value: number) =>
      openOpenblas(1, { koffi: () => info(value), libraries: ["planted"] });
    const a = filled(3, 3, 1);
    expect(refusal(() => open(2).eigenSymmetric(a, true))).toMatch(
      "eigenSymmetric: expected convergence, got none from OpenBLAS (dsyevd, info 2)",
    );
    expect(refusal(() => open(2).singularValues(a))).toMatch(
      "singularValues: expected convergence, got none from OpenBLAS (dgesdd, info 2)",
    );
    expect(refusal(() => open(-4).svd(a))).toMatch(
      "svd: expected OpenBLAS to accept its arguments, got a refusal (dgesdd, info -4)",
    );
    expect(refusal(() => open(-4).cholesky(a))).toMatch(/refusal \(dpotrf, info -4\)/);
  });
});

describe("auto", () => {
  test("does without where there is nothing", () => {
    // The platform decides which names are tried: none on this one.
    const platform = vi.spyOn(process, "platform", "get").mockReturnValue("aix");
    expect(createLinalg({ lapack: "auto" }).backend).toBe("built-in");
    expect(() => createLinalg({ lapack: "openblas" })).toThrow(ArgumentError);
    platform.mockRestore();
  });
});
