import { MessageChannel } from "node:worker_threads";
import { ArgumentError, type FloatArray, ModelError, ShapeError } from "@penfield/core";
import * as ort from "onnxruntime-node";
import { gemmModel, graphModel } from "./graphModel.ts";
import { asFloat64, type Matrix } from "./matrix.ts";
import { type Lapack, openOpenblas } from "./openblas.ts";

/** Which factors to take transposed; nothing is copied for it. */
export interface MatmulOptions {
  readonly transposeA?: boolean | undefined;
  readonly transposeB?: boolean | undefined;
}

/** As {@link MatmulOptions}, and where the product goes. */
export interface ProductOptions extends MatmulOptions {
  /**
   * Written over with the product, which then lies in it: n m values, float32 if both factors are, else float64, apart from
   * both factors. Default: a new array, whose memory is only free again when the garbage collector comes.
   */
  readonly out?: FloatArray | undefined;
}

/** Several matrices of one shape, one after the other: `[count, nRows, nColumns]`, row-major. */
export interface MatrixBatch {
  readonly data: Float64Array;
  readonly count: number;
  readonly nRows: number;
  readonly nColumns: number;
}

/** An array as a graph takes and gives it. */
export interface GraphArray {
  readonly data: FloatArray;
  readonly shape: readonly number[];
}

/**
 * Who decomposes matrices: `"none"` this package alone; `"openblas"` the system's OpenBLAS through koffi, an error
 * where it is missing; `"auto"` OpenBLAS where it is there.
 */
export type LapackChoice = "none" | "auto" | "openblas";

/** Matrix products on onnxruntime. Holds native memory until disposed. */
export interface Linalg {
  /** Who decomposes matrices, for the record: `"built-in"`, or the library as in `"OpenBLAS 0.3.21 (Haswell)"`. */
  readonly backend: string;
  /** Threads of products and decompositions, for the record; `"all cores"` if none were asked for. */
  readonly threads: number | "all cores";
  /** The library behind `eigenSymmetric`, `svd`, `singularValues` and `cholesky`, if one was asked for. */
  readonly lapack?: Lapack | undefined;
  /**
   * The matrix product a b, or with either factor transposed.
   *
   * @param a - `[n, k]`, or `[k, n]` with transposeA.
   * @param b - `[k, m]`, or `[m, k]` with transposeB.
   * @param options.out - An array for the product, for loops that make many.
   * @returns `[n, m]`: float32, accumulated in float32, if both are float32; else float64.
   * @throws {ShapeError} if the inner sizes differ, or out has another length.
   * @throws {ArgumentError} if out has another number type than the product.
   *
   * Cost: 2 n k m operations at about 80-100 % of the speed of OpenBLAS; 30 microseconds per call. The
   * event loop is blocked meanwhile.
   */
  matmul(
    a: Matrix<Float64Array>,
    b: Matrix,
    options?: ProductOptions,
  ): Promise<Matrix<Float64Array>>;
  matmul(
    a: Matrix,
    b: Matrix<Float64Array>,
    options?: ProductOptions,
  ): Promise<Matrix<Float64Array>>;
  matmul(a: Matrix, b: Matrix, options?: ProductOptions): Promise<Matrix>;
  /**
   * The products of the matrices of two batches, pair by pair, in one call.
   *
   * @param a - `[count, n, k]`, or `[count, k, n]` with transposeA.
   * @param b - `[count, k, m]`, or `[count, m, k]` with transposeB.
   * @returns `[count, n, m]`, float64.
   * @throws {ShapeError} if the counts or the inner sizes differ.
   *
   * Cost: as the single products; a transposed factor is copied.
   */
  batchMatmul(a: MatrixBatch, b: MatrixBatch, options?: MatmulOptions): Promise<MatrixBatch>;
  /**
   * Runs an ONNX graph on float arrays and keeps its session under a name until disposal: for
   * algorithms whose loops are one graph.
   *
   * @param name - Of the session; the model is only built the first time.
   * @param model - Gives the bytes of the model.
   */
  runGraph(
    name: string,
    model: () => Uint8Array,
    inputs: Readonly<Record<string, GraphArray>>,
  ): Promise<Record<string, GraphArray>>;
  /** Frees the native memory. Products asked for afterwards fail. */
  dispose(): Promise<void>;
}

/**
 * Opens the matrix products. Sessions (one per number type and transposition, each well under a
 * kilobyte) are made when first needed and kept.
 *
 * @param options.threads - How many threads a product uses. Default: one per core.
 * @param options.lapack - Default: what the environment variable PENFIELD_OPENBLAS says (`1`: `"openblas"`, `auto`:
 *   `"auto"`, `0` or nothing: `"none"`). A library that happens to be installed is never used unasked, as it changes last digits.
 * @throws {ArgumentError} if lapack or the variable has another value, or OpenBLAS is asked for and not there.
 *
 * Source: the ONNX operator Gemm on onnxruntime's CPU kernels (MLAS).
 *
 * @example
 * const linalg = createLinalg();
 * const a = matrix(Float64Array.of(1, 2, 3, 4), 2, 2);
 * (await linalg.matmul(a, a)).data.join(" ") // => "7 10 15 22"
 * (await linalg.matmul(a, a, { transposeA: true })).data.join(" ") // => "10 14 14 20"
 */
export function createLinalg({
  threads,
  lapack: choice = fromEnvironment(),
}: {
  threads?: number | undefined;
  lapack?: LapackChoice | undefined;
} = {}): Linalg {
  const lapack = chosen(choice, threads);
  const sessions = new Map<string, Promise<ort.InferenceSession>>();
  let disposed = false;

  const session = (key: string, model: () => Uint8Array): Promise<ort.InferenceSession> => {
    let open = sessions.get(key);
    if (!open) {
      open = ort.InferenceSession.create(model(), {
        executionProviders: ["cpu"],
        // Threads that spin while they wait take the cores from everything else on the machine.
        extra: { session: { intra_op: { allow_spinning: "0" } } },
        ...(threads === undefined ? {} : { intraOpNumThreads: threads }),
      });
      sessions.set(key, open);
    }
    return open;
  };

  async function matmul(
    a: Matrix,
    b: Matrix,
    { transposeA = false, transposeB = false, out }: ProductOptions = {},
  ): Promise<Matrix<never>> {
    const [nRows, inner] = transposeA ? [a.nColumns, a.nRows] : [a.nRows, a.nColumns];
    const [innerB, nColumns] = transposeB ? [b.nColumns, b.nRows] : [b.nRows, b.nColumns];
    if (inner !== innerB) {
      throw new ShapeError(
        `matmul: expected equal inner sizes, got [${nRows}, ${inner}] times [${innerB}, ${nColumns}]`,
      );
    }
    if (disposed) {
      throw new ModelError("matmul: expected an open Linalg, got one that was disposed");
    }
    const single = a.data instanceof Float32Array && b.data instanceof Float32Array;
    const size = nRows * nColumns;
    if (out) checkOut(out, single, size);
    if (size * inner === 0) {
      const zeros = out?.fill(0) ?? (single ? new Float32Array(size) : new Float64Array(size));
      return { data: zeros as never, nRows, nColumns };
    }
    const type = single ? "float32" : "float64";
    const feed = ({ data, nRows: rows, nColumns: columns }: Matrix) =>
      single
        ? new ort.Tensor("float32", data as Float32Array, [rows, columns])
        : new ort.Tensor("float64", asFloat64(data), [rows, columns]);
    const open = await session(`gemm ${type} ${transposeA} ${transposeB}`, () =>
      gemmModel(type, { transposeA, transposeB }),
    );
    const feeds = { a: feed(a), b: feed(b) };
    if (out) {
      const { c } = await open.run(feeds, { c: feed({ data: out, nRows, nColumns }) });
      const copy = c!.data as FloatArray;
      // A view of the caller's memory would take it away.
      if (copy.buffer !== out.buffer) freeNow(copy);
      return { data: out as never, nRows, nColumns };
    }
    const { c } = await open.run(feeds);
    return { data: c!.data as never, nRows, nColumns };
  }

  const runGraph: Linalg["runGraph"] = async (name, model, inputs) => {
    if (disposed) {
      throw new ModelError("runGraph: expected an open Linalg, got one that was disposed");
    }
    const open = await session(name, model);
    const feeds: Record<string, ort.Tensor> = {};
    for (const [input, { data, shape }] of Object.entries(inputs)) {
      feeds[input] =
        data instanceof Float32Array
          ? new ort.Tensor("float32", data, shape)
          : new ort.Tensor("float64", data, shape);
    }
    const results = await open.run(feeds);
    return Object.fromEntries(
      Object.entries(results).map(([output, value]) => [
        output,
        { data: value.data as FloatArray, shape: value.dims },
      ]),
    );
  };

  const batchMatmul: Linalg["batchMatmul"] = async (
    a,
    b,
    { transposeA = false, transposeB = false } = {},
  ) => {
    const [nRows, inner] = transposeA ? [a.nColumns, a.nRows] : [a.nRows, a.nColumns];
    const [innerB, nColumns] = transposeB ? [b.nColumns, b.nRows] : [b.nRows, b.nColumns];
    if (a.count !== b.count || inner !== innerB) {
      throw new ShapeError(
        `batchMatmul: expected equal counts and inner sizes, got [${a.count}, ${nRows}, ${inner}] times [${b.count}, ${innerB}, ${nColumns}]`,
      );
    }
    const { count } = a;
    if (count * nRows * nColumns * inner === 0) {
      return { data: new Float64Array(count * nRows * nColumns), count, nRows, nColumns };
    }
    const { c } = await runGraph(
      `batch ${transposeA} ${transposeB}`,
      () => batchModel(transposeA, transposeB),
      {
        a: { data: a.data, shape: [count, a.nRows, a.nColumns] },
        b: { data: b.data, shape: [count, b.nRows, b.nColumns] },
      },
    );
    return { data: asFloat64(c!.data), count, nRows, nColumns };
  };

  return {
    backend: lapack?.name ?? "built-in",
    threads: threads ?? "all cores",
    lapack,
    matmul: matmul as Linalg["matmul"],
    batchMatmul,
    runGraph,
    async dispose(): Promise<void> {
      disposed = true;
      const open = await Promise.all(sessions.values());
      sessions.clear();
      await Promise.all(open.map((s) => s.release()));
    },
  };
}

/** Closed: what is transferred through it arrives nowhere, and its memory is free at once. */
const nowhere = new MessageChannel().port1;
nowhere.close();

/** For the copy that onnxruntime's binding makes of every product, which would else wait for the garbage collector. */
function freeNow({ buffer }: FloatArray): void {
  nowhere.postMessage(undefined, [buffer as ArrayBuffer]);
}

function checkOut(out: FloatArray, single: boolean, size: number): void {
  if (out instanceof Float32Array !== single) {
    throw new ArgumentError(
      `matmul: expected out to be a ${single ? "Float32Array" : "Float64Array"} for these factors, got a ${out.constructor.name}`,
    );
  }
  if (out.length !== size) {
    throw new ShapeError(`matmul: expected out with ${size} values, got ${out.length}`);
  }
}

function fromEnvironment(): LapackChoice {
  const value = process.env["PENFIELD_OPENBLAS"] ?? "";
  if (value === "" || value === "0") return "none";
  if (value === "1") return "openblas";
  if (value === "auto") return "auto";
  throw new ArgumentError(
    `createLinalg: expected PENFIELD_OPENBLAS to be 1, auto or 0, got ${JSON.stringify(value)}`,
  );
}

function chosen(choice: LapackChoice, threads: number | undefined): Lapack | undefined {
  if (choice === "none") return undefined;
  if (choice === "openblas") return openOpenblas(threads);
  if (choice !== "auto") {
    throw new ArgumentError(
      `createLinalg: expected lapack "none", "auto" or "openblas", got ${JSON.stringify(choice)}`,
    );
  }
  try {
    return openOpenblas(threads);
  } catch (error) {
    if (error instanceof ArgumentError) return undefined;
    throw error;
  }
}

function batchModel(transposeA: boolean, transposeB: boolean): Uint8Array {
  const turned = (name: string) => ({
    op: "Transpose",
    inputs: [name],
    output: `${name}T`,
    attributes: { perm: [0, 2, 1] },
  });
  return graphModel({
    elementType: "float64",
    inputs: { a: ["count", "aRows", "aColumns"], b: ["count", "bRows", "bColumns"] },
    outputs: { c: ["count", "cRows", "cColumns"] },
    nodes: [
      ...(transposeA ? [turned("a")] : []),
      ...(transposeB ? [turned("b")] : []),
      { op: "MatMul", inputs: [transposeA ? "aT" : "a", transposeB ? "bT" : "b"], output: "c" },
    ],
  });
}
