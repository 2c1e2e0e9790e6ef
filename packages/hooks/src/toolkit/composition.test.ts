import { fileURLToPath } from "node:url";
import { ArgumentError } from "@penfield/core";
import {
  encodeModel,
  makeModel,
  makeNode,
  makeTensor,
  makeValueInfo,
  type NodeProto,
  type TensorProto,
} from "@penfield/onnx";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { HookedModel, type HookValues } from "../index.ts";
import { headLabel, neuronLabel } from "./composition.ts";

const fixture = (name: string): string =>
  fileURLToPath(new URL(`../../../../test/fixtures/${name}`, import.meta.url));

/** W_a[head] W_b[head], or with b turned, one loop per axis. */
function naive(
  a: HookValues,
  headA: number,
  b: HookValues,
  headB: number,
  turned: boolean,
): Float64Array {
  const [, n, inner] = a.shape as [number, number, number];
  const [, rows, columns] = b.shape as [number, number, number];
  const m = turned ? rows : columns;
  const out = new Float64Array(n * m);
  for (let i = 0; i < n; i++)
    for (let j = 0; j < m; j++)
      for (let k = 0; k < inner; k++)
        out[i * m + j]! +=
          a.data[(headA * n + i) * inner + k]! *
          b.data[headB * rows * columns + (turned ? j * columns + k : k * columns + j)]!;
  return out;
}
const difference = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  expect(a.length).toBe(b.length);
  return Array.from(a).reduce((max, v, i) => Math.max(max, Math.abs(v - b[i]!)), 0);
};

describe.each(["gpt2", "llama", "phi3"])("heads' circuits: %s", (name) => {
  let model: HookedModel;
  beforeAll(async () => {
    model = await HookedModel.fromPretrained(fixture(name), { threads: 1, verify: "none" });
  });
  afterAll(() => model.dispose());

  test("OV and QK are the naive products; heads share key-value heads in order", async () => {
    const w = model.weights;
    const { nHeads = 0, nKeyValueHeads = 0, dModel, dHead } = model.cfg;
    const [q, k, v, o] = (await Promise.all(
      (["W_Q", "W_K", "W_V", "W_O"] as const).map((n) => w.get(n, 1)),
    )) as [HookValues, HookValues, HookValues, HookValues];
    for (let h = 0; h < nHeads; h++) {
      const shared = Math.floor(h / (nHeads / nKeyValueHeads));
      const [OV, QK] = [await w.OV(1, h), await w.QK(-1, h)];
      expect([OV.nRows, OV.nColumns, OV.rank]).toEqual([dModel, dModel, dHead]);
      expect(difference(OV.product().data, naive(v, shared, o, h, false))).toBeLessThan(1e-12);
      expect(difference(QK.product().data, naive(q, h, k, shared, true))).toBeLessThan(1e-12);
    }
    await expect(w.OV(0, nHeads)).rejects.toThrow(ArgumentError);
    await expect(w.QK(0, -1)).rejects.toThrow(/a head within 0\.\.\d, got -1/);
    await expect(w.OV(2, 0)).rejects.toThrow(/a layer within 0..1, got 2/);
  });

  test("copying scores are those of the whole matrix over the vocabulary", async () => {
    const { data, shape } = await model.weights.copyingScores();
    expect(shape).toEqual([2, model.cfg.nHeads]);
    const [embed, unembed] = [await model.weights.get("W_E"), await model.weights.get("W_U")];
    const matrixOf = ({ data, shape }: HookValues) => ({
      data: Float64Array.from(data),
      nRows: shape[0]!,
      nColumns: shape[1]!,
    });
    // eigenvalues of W_E OV W_U: the vocabulary's 96 rows, d_head of them not zero.
    const { eigenvalues } = await import("@penfield/linalg");
    const OV = await model.weights.OV(1, 2);
    const size = unembed.shape[1]!;
    const whole = OV.transpose()
      .matmul({ ...transposed(matrixOf(embed)) })
      .transpose()
      .matmul(matrixOf(unembed))
      .product();
    const { real, imaginary } = eigenvalues({ ...whole, nRows: size, nColumns: size });
    const moduli = real.reduce((sum, v, i) => sum + Math.hypot(v, imaginary[i]!), 0);
    const want = real.reduce((sum, v) => sum + v, 0) / moduli;
    expect(Math.abs(data[model.cfg.nHeads! + 2]! - want)).toBeLessThan(1e-4);
  });
});

function transposed({
  data,
  nRows,
  nColumns,
}: {
  data: Float64Array;
  nRows: number;
  nColumns: number;
}) {
  const out = new Float64Array(data.length);
  for (let i = 0; i < nRows; i++)
    for (let j = 0; j < nColumns; j++) out[j * nRows + i] = data[i * nColumns + j]!;
  return { data: out, nRows: nColumns, nColumns: nRows };
}

/**
 * Two layers of attention with two heads each, weights written by hand; the stream has four parts of N:
 * token, position, the token before, the answer. L0H0 copies the token before into the third part; L1H0
 * looks for its own token there (keys) and copies the token found into the answer; L0H1, L1H1 are idle.
 */
function inductionCircuit(): Uint8Array {
  const N = 12;
  const D = 4 * N;
  const [TOKEN, POSITION, BEFORE, ANSWER] = [0, N, 2 * N, 3 * N] as const;
  const nodes: NodeProto[] = [];
  const weights: TensorProto[] = [];
  /** Ones on a diagonal of `n` places that starts at a row and column. */
  const diagonal = (
    name: string,
    rows: number,
    columns: number,
    row: number,
    column: number,
    n = N,
  ) => {
    const data = new Float32Array(rows * columns);
    for (let i = 0; i < n; i++) data[(row + i) * columns + column + i] = 1;
    weights.push(makeTensor(name, "float32", [rows, columns], data));
    return name;
  };
  const node = (op: string, inputs: string[], output: string, attributes = {}): string => {
    nodes.push(makeNode(op, inputs, [output], attributes));
    return output;
  };
  weights.push(makeTensor("split", "int64", [4], [0, 0, 2, N]));
  weights.push(makeTensor("join", "int64", [3], [0, 0, -1]));
  const placed = [
    node("Gather", [diagonal("E", N, D, 0, TOKEN), "input_ids"], "tokens"),
    node("Gather", [diagonal("P", N, D, 0, POSITION), "position_ids"], "places"),
  ];
  node("Add", placed, "x0");
  const layer = (l: number, q: string, k: string, v: string, o: string): void => {
    const heads = (kind: string, matrix: string, perm: bigint[]): string => {
      const apart = node(
        "Reshape",
        [node("MatMul", [`x${l}`, matrix], `${kind}${l}`), "split"],
        `${kind}${l}.heads`,
      );
      return node("Transpose", [apart], `${kind}${l}.turned`, { perm });
    };
    const scores = node(
      "MatMul",
      [heads("q", q, [0n, 2n, 1n, 3n]), heads("k", k, [0n, 2n, 3n, 1n])],
      `scores${l}`,
    );
    const pattern = node("Softmax", [scores], `pattern${l}`, { axis: -1n });
    const mixed = node("MatMul", [pattern, heads("v", v, [0n, 2n, 1n, 3n])], `mixed${l}`);
    const z = node("Transpose", [mixed], `z${l}.turned`, { perm: [0n, 2n, 1n, 3n] });
    const out = node("MatMul", [node("Reshape", [z, "join"], `z${l}`), o], `out${l}`);
    node("Add", [`x${l}`, out], `x${l + 1}`);
  };
  layer(
    0,
    diagonal("Q0", D, 2 * N, POSITION, 0),
    diagonal("K0", D, 2 * N, POSITION, 1, N - 1),
    diagonal("V0", D, 2 * N, TOKEN, 0),
    diagonal("O0", 2 * N, D, 0, BEFORE),
  );
  layer(
    1,
    diagonal("Q1", D, 2 * N, TOKEN, 0),
    diagonal("K1", D, 2 * N, BEFORE, 0),
    diagonal("V1", D, 2 * N, TOKEN, 0),
    diagonal("O1", 2 * N, D, 0, ANSWER),
  );
  node("MatMul", ["x2", diagonal("U", D, N, ANSWER, 0)], "logits");
  return encodeModel(
    makeModel({
      nodes,
      initializers: weights,
      inputs: ["input_ids", "position_ids"].map((name) =>
        makeValueInfo(name, "int64", ["batch", "pos"]),
      ),
      outputs: [makeValueInfo("logits", "float32", ["batch", "pos", N])],
    }),
  );
}

describe("the induction circuit written by hand", () => {
  let model: HookedModel;
  beforeAll(async () => {
    model = await HookedModel.fromBytes(inductionCircuit(), { threads: 1, verify: "none" });
  });
  afterAll(() => model.dispose());

  test("L0H0 to L1H0 by keys is the largest composition of all, by queries and values none", async () => {
    const { data, shape } = await model.weights.compositionScores("K");
    expect(shape).toEqual([2, 2, 2, 2]);
    // [0, 0, 1, 0]
    expect(data.indexOf(Math.max(...data))).toBe(2);
    expect(data[2]).toBeGreaterThan(0.1);
    expect([...data].filter((v) => v !== 0)).toHaveLength(1);
    for (const mode of ["Q", "V"] as const) {
      expect(Math.max(...(await model.weights.compositionScores(mode)).data)).toBe(0);
    }
  });

  test("L1H0 copies: all eigenvalues are positive; the idle heads have none", async () => {
    const { data } = await model.weights.copyingScores();
    expect([...data].map((v) => Math.round(v * 1e6) / 1e6)).toEqual([0, 0, 1, 0]);
  });
});

test("labels", () => {
  expect([headLabel(9, 6), neuronLabel(11, 611)]).toEqual(["L9H6", "L11N611"]);
});
