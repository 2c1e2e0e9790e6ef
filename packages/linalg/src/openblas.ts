import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { ArgumentError, DataError, ShapeError } from "@penfield/core";
import { type Matrix, transpose } from "./matrix.ts";
import type { SymmetricEigen } from "./symmetricEigen.ts";
import type { ThinSvd } from "./thinSvd.ts";

/** Decompositions by a LAPACK library, as the functions of the same names promise them; values must be finite. */
export interface Lapack {
  /** The library, its version and the processor whose kernels it chose. */
  readonly name: string;
  eigenSymmetric(a: Matrix, vectors: boolean): SymmetricEigen;
  svd(a: Matrix): ThinSvd;
  singularValues(a: Matrix): Float64Array;
  cholesky(a: Matrix): Matrix<Float64Array>;
}

/** Names under which systems keep the library; the first that serves is taken. */
const LIBRARIES: Readonly<Partial<Record<NodeJS.Platform, readonly string[]>>> = {
  linux: ["libopenblas.so.0", "libopenblas.so"],
  darwin: [
    "libopenblas.dylib",
    "/opt/homebrew/opt/openblas/lib/libopenblas.dylib",
    "/usr/local/opt/openblas/lib/libopenblas.dylib",
  ],
  win32: ["libopenblas.dll", "openblas.dll"],
};

/** What is used of koffi, in our words: types of a package that is not there would not compile. */
interface Koffi {
  load(path: string): Library;
}

interface Library {
  func(
    name: string,
    result: string,
    parameters: readonly string[],
  ): (...values: unknown[]) => unknown;
}

/** Where to look, for tests. */
interface Places {
  readonly koffi?: (() => Koffi) | undefined;
  readonly libraries?: readonly string[] | undefined;
}

/**
 * Opens the system's OpenBLAS through koffi; both are optional and looked for only here.
 *
 * @param threads - Set before each call, as OpenBLAS keeps one number for the whole process. Default: one per core.
 * @throws {ArgumentError} if koffi or a fitting library is not there, with what to install.
 *
 * Cost: 80 ms the first time in a process, then 0.1 ms. The library stays loaded.
 */
export function openOpenblas(
  threads: number = availableParallelism(),
  { koffi = requireKoffi, libraries = LIBRARIES[process.platform] ?? [] }: Places = {},
): Lapack {
  let loader: Koffi;
  try {
    loader = koffi();
  } catch (cause) {
    throw notThere("no package koffi that loads", cause);
  }
  const faults: string[] = [];
  for (const library of libraries) {
    try {
      return lapack(routines(loader.load(library)), threads);
    } catch (cause) {
      faults.push(`${library}: ${cause instanceof Error ? cause.message : cause}`);
    }
  }
  throw notThere(faults.length > 0 ? faults.join("; ") : `no name known on ${process.platform}`);
}

function requireKoffi(): Koffi {
  const require = createRequire(import.meta.url);
  return require("koffi") as Koffi;
}

function notThere(fault: string, cause?: unknown): ArgumentError {
  return new ArgumentError(`createLinalg: expected OpenBLAS through koffi, got ${fault}`, {
    hint:
      "Run `npm install koffi` and install OpenBLAS with LAPACK (Debian: `apt-get install libopenblas0-pthread`), " +
      'or leave PENFIELD_OPENBLAS and the option lapack "openblas" out: nothing else needs them.',
    cause,
  });
}

type Pointer = Float64Array | Int32Array;

/** Fortran's calling convention: everything by address, lengths of strings by value at the end. */
interface Routines {
  readonly name: string;
  threads(): unknown;
  setThreads(threads: number): void;
  dsyevd(job: string, triangle: string, ...rest: Pointer[]): void;
  dgesdd(job: string, ...rest: Pointer[]): void;
  dpotrf(triangle: string, ...rest: Pointer[]): void;
}

function routines(library: Library): Routines {
  const configuration = String(library.func("openblas_get_config", "str", [])());
  if (configuration.includes("USE64BITINT")) {
    // Its functions have the usual names, but would read eight bytes of our four.
    throw new Error("its integers have 64 bits, 32 are needed");
  }
  const core = library.func("openblas_get_corename", "str", [])();
  const fortran = (name: string, nStrings: number, nPointers: number) => {
    const call = library.func(name, "void", [
      ...new Array<string>(nStrings).fill("str"),
      ...new Array<string>(nPointers).fill("void *"),
      ...new Array<string>(nStrings).fill("size_t"),
    ]);
    const lengths = new Array<number>(nStrings).fill(1);
    return (...values: (string | Pointer)[]): void => {
      call(...values, ...lengths);
    };
  };
  return {
    name: `${/OpenBLAS \S+/.exec(configuration)?.[0] ?? "OpenBLAS"} (${core})`,
    threads: library.func("openblas_get_num_threads", "int", []),
    setThreads: library.func("openblas_set_num_threads", "void", ["int"]),
    dsyevd: fortran("dsyevd_", 2, 9),
    dgesdd: fortran("dgesdd_", 1, 13),
    dpotrf: fortran("dpotrf_", 1, 4),
  };
}

/** The largest number in LAPACK's integers. */
const MOST = 2 ** 31 - 1;

/** Our rows are LAPACK's columns: each routine gets the transposed matrix, and its factors come out transposed. */
function lapack(blas: Routines, threads: number): Lapack {
  // Set only where it differs: another thread of the process may be computing.
  const prepare = (): void => {
    if (blas.threads() !== threads) blas.setThreads(threads);
  };

  function singular(name: string, a: Matrix, vectors: boolean): ThinSvd {
    const { nRows: n, nColumns: p } = a;
    const k = Math.min(n, p);
    // Above dgesdd's own formulas for the room it needs, which must be an integer to it.
    checkRoom(name, a, 4 * k * k + 7 * k + 256 * (n + p));
    const s = new Float64Array(k);
    const v = new Float64Array(vectors ? k * p : 1); // [k, p]
    const u = new Float64Array(vectors ? n * k : 1); // [n, k]
    const copy = Float64Array.from(a.data);
    const integers = new Int32Array(8 * k);
    const info = new Int32Array(1);
    const run = (work: Float64Array, room: number): void =>
      blas.dgesdd(
        vectors ? "S" : "N",
        int(p),
        int(n),
        copy,
        int(p),
        s,
        v,
        int(p),
        u,
        int(k),
        work,
        int(room),
        integers,
        info,
      );
    prepare();
    withRoom(run);
    checkInfo(name, "dgesdd", info[0]!);
    if (!vectors) return { u: nothing(), s, v: nothing() };
    return {
      u: { data: u, nRows: n, nColumns: k },
      s,
      v: transpose({ data: v, nRows: k, nColumns: p }),
    };
  }

  return {
    name: blas.name,
    eigenSymmetric(a, vectors): SymmetricEigen {
      const n = a.nRows;
      if (n === 0) return { values: new Float64Array(0), vectors: nothing() };
      checkRoom("eigenSymmetric", a, 1 + 6 * n + 2 * n * n);
      const copy = Float64Array.from(a.data);
      const ascending = new Float64Array(n);
      const integers = new Int32Array(vectors ? 3 + 5 * n : 1);
      const info = new Int32Array(1);
      prepare();
      withRoom((work, room) =>
        blas.dsyevd(
          vectors ? "V" : "N",
          "U",
          int(n),
          copy,
          int(n),
          ascending,
          work,
          int(room),
          integers,
          int(integers.length),
          info,
        ),
      );
      checkInfo("eigenSymmetric", "dsyevd", info[0]!);
      const values = ascending.reverse();
      if (!vectors) return { values, vectors: nothing() };
      const rows = new Float64Array(n * n);
      for (let i = 0; i < n; i++) {
        rows.set(copy.subarray((n - 1 - i) * n, (n - i) * n), i * n);
      }
      return { values, vectors: { data: rows, nRows: n, nColumns: n } };
    },
    svd: (a) => singular("svd", a, true),
    singularValues: (a) => singular("singularValues", a, false).s,
    cholesky(a): Matrix<Float64Array> {
      const n = a.nRows;
      if (n === 0) return nothing();
      checkRoom("cholesky", a, n);
      const l = Float64Array.from(a.data);
      const info = new Int32Array(1);
      prepare();
      blas.dpotrf("U", int(n), l, int(n), info);
      if (info[0]! < 0) checkInfo("cholesky", "dpotrf", info[0]!);
      // dpotrf goes on to the first pivot below zero, the built-in to the first that is nothing but rounding.
      const end = info[0]! > 0 ? info[0]! - 1 : n;
      for (let i = 0; i < n; i++) {
        const pivot = l[i * n + i]!;
        if (i === end || !(pivot * pivot > n * Number.EPSILON * a.data[i * n + i]!)) {
          throw new DataError(
            `cholesky: expected a positive definite matrix, got one that is not at row ${i}`,
            { hint: "Add a little to the diagonal, or leave out columns that depend on others." },
          );
        }
        l.fill(0, i * n + i + 1, (i + 1) * n);
      }
      return { data: l, nRows: n, nColumns: n };
    },
  };
}

/** Asks a routine how much room it wants, then runs it with that. */
function withRoom(run: (work: Float64Array, room: number) => void): void {
  const asked = new Float64Array(1);
  run(asked, -1);
  const room = Math.max(1, Math.ceil(asked[0]!));
  run(new Float64Array(room), room);
}

function checkRoom(name: string, { nRows, nColumns }: Matrix, room: number): void {
  if (room > MOST) {
    throw new ShapeError(
      `${name}: expected a matrix whose workspace fits OpenBLAS's 32-bit integers, got ${nRows} x ${nColumns}`,
      { hint: 'Use createLinalg({ lapack: "none" }) for it.' },
    );
  }
}

function checkInfo(name: string, routine: string, info: number): void {
  if (info === 0) return;
  throw new DataError(
    info > 0
      ? `${name}: expected convergence, got none from OpenBLAS (${routine}, info ${info})`
      : `${name}: expected OpenBLAS to accept its arguments, got a refusal (${routine}, info ${info})`,
    { hint: 'createLinalg({ lapack: "none" }) does without OpenBLAS.' },
  );
}

function int(value: number): Int32Array {
  return Int32Array.of(value);
}

function nothing(): Matrix<Float64Array> {
  return { data: new Float64Array(0), nRows: 0, nColumns: 0 };
}
