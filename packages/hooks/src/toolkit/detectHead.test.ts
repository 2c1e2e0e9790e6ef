import { fileURLToPath } from "node:url";
import { ArgumentError, ShapeError } from "@penfield/core";
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
import {
  detectHead,
  detectionPattern,
  directLogitAttribution,
  genericActivationPatch,
  HookedModel,
  headScore,
  type Intervention,
  inductionScore,
  logitDiff,
  repeatedRandomTokens,
} from "../index.ts";

describe("patterns that are looked for, 5 x 5", () => {
  // a b a b a
  const tokens = [1, 2, 1, 2, 1];

  test("the token before", () => {
    expect([...detectionPattern("previous_token_head", tokens)]).toEqual([
      ...[0, 0, 0, 0, 0],
      ...[1, 0, 0, 0, 0],
      ...[0, 1, 0, 0, 0],
      ...[0, 0, 1, 0, 0],
      ...[0, 0, 0, 1, 0],
    ]);
  });

  test("the same token earlier", () => {
    expect([...detectionPattern("duplicate_token_head", tokens)]).toEqual([
      ...[0, 0, 0, 0, 0],
      ...[0, 0, 0, 0, 0],
      ...[1, 0, 0, 0, 0],
      ...[0, 1, 0, 0, 0],
      ...[1, 0, 1, 0, 0],
    ]);
  });

  test("the token after: the duplicates moved one to the right", () => {
    expect([...detectionPattern("induction_head", tokens)]).toEqual([
      ...[0, 0, 0, 0, 0],
      ...[0, 0, 0, 0, 0],
      ...[0, 1, 0, 0, 0],
      ...[0, 0, 1, 0, 0],
      ...[0, 1, 0, 1, 0],
    ]);
    // A token that is said twice in a row: the one after its first occurrence is itself.
    expect([...detectionPattern("induction_head", [3, 3])]).toEqual([0, 0, 0, 1]);
  });
});

describe("scores of one 5 x 5 pattern, by hand", () => {
  // Rows sum to 1; looked for: the token before.
  const pattern = [
    ...[1, 0, 0, 0, 0],
    ...[0.5, 0.5, 0, 0, 0],
    ...[0.25, 0.5, 0.25, 0, 0],
    ...[0, 0, 1, 0, 0],
    ...[0, 0.25, 0, 0.25, 0.5],
  ];
  const detection = detectionPattern("previous_token_head", [1, 2, 3, 4, 5]);
  const score = (options: object) => headScore(pattern, detection, options);

  test("mul: the share of the attention that lies there", () => {
    expect(score({})).toBe((0.5 + 0.5 + 1 + 0.25) / 5);
    // Without the first column 3.25 are left, and of what fits 1.75.
    expect(score({ excludeBos: true })).toBe(1.75 / 3.25);
    // Without the diagonal 1, .5, .25, 0, .5: 2.75 are left.
    expect(score({ excludeCurrentToken: true })).toBe(2.25 / 2.75);
    // Left: .5 of row 2, 1 of row 3, .25 + .25 of row 4.
    expect(score({ excludeBos: true, excludeCurrentToken: true })).toBe(1.75 / 2);
  });

  test("abs: one less the distance per row", () => {
    // Rows differ by 1, .5 + .5, .25 + .5 + .25, 0, .25 + .75 + .5.
    const errorMeasure = "abs";
    expect(score({ errorMeasure })).toBeCloseTo(1 - 4.5 / 5, 12);
    expect(score({ errorMeasure, excludeBos: true })).toBeCloseTo(1 - 2.75 / 5, 12);
    expect(score({ errorMeasure, excludeCurrentToken: true })).toBeCloseTo(1 - 2.25 / 5, 12);
    expect(headScore(detection, detection, { errorMeasure })).toBe(1);
  });

  test("nothing left is no number; shapes, names and measures that do not fit are refused", () => {
    expect(headScore([1, 0, 1, 0], [0, 0, 1, 0], { excludeBos: true })).toBeNaN();
    expect(() => headScore([1, 0, 1, 0], [0, 1, 1, 0])).toThrow(/without later sources/);
    expect(() => headScore([1, 0, 1], [0, 0, 1])).toThrow(ShapeError);
    expect(() => headScore(pattern, [0, 0, 1, 0])).toThrow(ShapeError);
    expect(() => score({ errorMeasure: "square" })).toThrow(ArgumentError);
    expect(() => detectionPattern("toString" as never, [1, 2])).toThrow(ArgumentError);
  });
});

test("random tokens: seeded, each half without repetition, the first token not drawn", () => {
  const options = { length: 8, nSequences: 5, seed: 3, bosToken: 0, vocabularySize: 9 };
  const rows = repeatedRandomTokens(options);
  expect(rows).toEqual(repeatedRandomTokens(options));
  expect(rows).not.toEqual(repeatedRandomTokens({ ...options, seed: 4 }));
  for (const row of rows) {
    expect(row[0]).toBe(0);
    expect(row.slice(1, 9)).toEqual(row.slice(9));
    expect(new Set(row).size).toBe(9);
  }
  expect(() => repeatedRandomTokens({ ...options, length: 9 })).toThrow(/2 to 8 tokens, got 9/);
  expect(() => repeatedRandomTokens({ ...options, nSequences: 0 })).toThrow(ArgumentError);
});

/**
 * Two layers of attention alone, two heads each, with weights written by hand. The residual stream
 * has four parts of 24: the token, its position, the token before, the answer.
 *
 * - L0H0 looks at the place before (queries: position p; keys: position p - 1 moved up by one) and
 *   copies its token into the third part.
 * - L1H0 compares its token with the third part of earlier places (K-composition) and copies the
 *   token found there into the answer; if none fits, it rests on the first place.
 * - L0H1 and L1H1 do nothing: they look at all places alike and write nothing.
 */
function inductionCircuit(): Uint8Array {
  const N = 24;
  const D = 4 * N;
  const SHARP = 100;
  const [TOKEN, POSITION, BEFORE, ANSWER] = [0, N, 2 * N, 3 * N] as const;
  const nodes: NodeProto[] = [];
  const weights: TensorProto[] = [];
  const matrix = (
    name: string,
    nRows: number,
    nColumns: number,
    entries: readonly (readonly [row: number, column: number, value: number])[],
  ): string => {
    const data = new Float32Array(nRows * nColumns);
    for (const [row, column, value] of entries) data[row * nColumns + column] = value;
    weights.push(makeTensor(name, "float32", [nRows, nColumns], data));
    return name;
  };
  const each = (n = N): number[] => Array.from({ length: n }, (_, i) => i);
  const whole = (name: string, values: readonly number[], dims = [values.length]): string => {
    weights.push(makeTensor(name, "int64", dims, values));
    return name;
  };
  const node = (op: string, inputs: string[], output: string, attributes = {}): string => {
    nodes.push(makeNode(op, inputs, [output], attributes));
    return output;
  };
  matrix(
    "E",
    N,
    D,
    each().map((i) => [i, TOKEN + i, 1]),
  );
  matrix(
    "P",
    N,
    D,
    each().map((i) => [i, POSITION + i, 1]),
  );
  const length = node(
    "Gather",
    [node("Shape", ["input_ids"], "shape"), whole("one", [1])],
    "length",
  );
  node("Slice", ["P", whole("zero", [0]), length], "positions");
  node("Add", [node("Gather", ["E", "input_ids"], "embed"), "positions"], "x0");
  const square = node("Concat", [length, length], "square", { axis: 0n });
  weights.push(makeTensor("minus", "float32", [1], [-1e9]));
  node("Trilu", [node("Expand", ["minus", square], "full"), whole("above", [1], [])], "mask", {
    upper: 1n,
  });
  whole("split", [0, 0, 2, N]);
  whole("join", [0, 0, -1]);
  type Entries = readonly (readonly [number, number, number])[];
  const layer = (l: number, heads: { q: Entries; k: Entries; v: Entries; o: Entries }): void => {
    const x = `x${l}`;
    const part = (kind: "q" | "k" | "v", perm: bigint[]): string => {
      const product = node(
        "MatMul",
        [x, matrix(`W_${kind}${l}`, D, 2 * N, heads[kind])],
        `${kind}${l}`,
      );
      const apart = node("Reshape", [product, "split"], `${kind}${l}.heads`);
      return node("Transpose", [apart], `${kind}${l}.turned`, { perm });
    };
    const [q, k, v] = [
      part("q", [0n, 2n, 1n, 3n]),
      part("k", [0n, 2n, 3n, 1n]),
      part("v", [0n, 2n, 1n, 3n]),
    ];
    const scores = node("Add", [node("MatMul", [q, k], `qk${l}`), "mask"], `scores${l}`);
    const pattern = node("Softmax", [scores], `pattern${l}`, { axis: -1n });
    const z = node("Transpose", [node("MatMul", [pattern, v], `mixed${l}`)], `z${l}.turned`, {
      perm: [0n, 2n, 1n, 3n],
    });
    const joined = node("Reshape", [z, "join"], `z${l}`);
    const out = node("MatMul", [joined, matrix(`W_O${l}`, 2 * N, D, heads.o)], `out${l}`);
    node("Add", [x, out], `x${l + 1}`);
  };
  layer(0, {
    q: each().map((i) => [POSITION + i, i, SHARP]),
    k: each(N - 1).map((i) => [POSITION + i, i + 1, 1]),
    v: each().map((i) => [TOKEN + i, i, 1]),
    o: each().map((i) => [i, BEFORE + i, 1]),
  });
  layer(1, {
    q: each().map((i) => [TOKEN + i, i, SHARP]),
    k: [
      ...each().map((i) => [BEFORE + i, i, 1] as const),
      ...each().map((i) => [POSITION, i, 0.5] as const),
    ],
    v: each().map((i) => [TOKEN + i, i, 1]),
    o: each().map((i) => [i, ANSWER + i, 10]),
  });
  node(
    "MatMul",
    [
      "x2",
      matrix(
        "W_U",
        D,
        N,
        each().map((i) => [ANSWER + i, i, 1]),
      ),
    ],
    "logits",
  );
  return encodeModel(
    makeModel({
      nodes,
      initializers: weights,
      inputs: [makeValueInfo("input_ids", "int64", ["batch", "pos"])],
      outputs: [makeValueInfo("logits", "float32", ["batch", "pos", N])],
    }),
  );
}

describe("an induction circuit with weights written by hand", () => {
  let model: HookedModel;
  const drawn = { length: 10, nSequences: 4, bosToken: 0 };
  const tokens = repeatedRandomTokens({ ...drawn, vocabularySize: 24 });
  beforeAll(async () => {
    model = await HookedModel.fromBytes(inductionCircuit(), { threads: 1 });
  });
  afterAll(() => model.dispose());

  /** How often the likeliest next token in the second half is the right one. */
  const accuracy = async (interventions: readonly Intervention[]): Promise<number> => {
    const { data, shape } = await model.runWithInterventions(tokens, interventions);
    const [nRows, length, size] = shape as [number, number, number];
    let right = 0;
    for (let row = 0; row < nRows; row++) {
      for (let p = 11; p < length - 1; p++) {
        const scores = data.subarray((row * length + p) * size, (row * length + p + 1) * size);
        if (scores.indexOf(Math.max(...scores)) === tokens[row]![p + 1]) right++;
      }
    }
    return right / (nRows * (length - 12));
  };

  test("is found by structure, and its hooks are exact", () => {
    expect(model.cfg).toMatchObject({ nLayers: 2, nHeads: 2, dHead: 24, dModel: 96 });
    expect(model.cfg.dMlp).toBeUndefined();
    expect(model.identity).toEqual({ state: "exact", maxAbsDifference: 0 });
  });

  test("detectors: L0H0 is the previous-token head, L1H0 the induction head, neither looks at duplicates", async () => {
    const options = { excludeBos: true };
    const previous = await detectHead(model, tokens, "previous_token_head", options);
    const induction = await detectHead(model, tokens, "induction_head", options);
    const duplicate = await detectHead(model, tokens, "duplicate_token_head", options);
    expect(previous.shape).toEqual([2, 2]);
    expect(previous.scores[0]).toBeCloseTo(1, 3);
    expect(induction.scores[2]).toBeCloseTo(1, 3);
    expect(duplicate.scores[0]).toBeCloseTo(0, 3);
    expect(duplicate.scores[2]).toBeCloseTo(0, 3);
    expect(previous.scores[2]).toBeCloseTo(0, 3);
    expect(induction.scores[0]).toBeCloseTo(0, 3);
    // The idle heads look everywhere.
    for (const head of [1, 3]) expect(induction.scores[head]).toBeLessThan(0.2);
    const { scores } = await inductionScore(model, drawn);
    expect(scores[2]).toBeCloseTo(1, 3);
    expect(scores[0]).toBeCloseTo(0, 3);
  });

  test("silencing the previous-token head sends the second half to chance; an idle head does nothing", async () => {
    const silence = (layer: number, head: number): Intervention => ({
      hook: `blocks.${layer}.attn.hook_z`,
      op: { type: "zero" },
      heads: [head],
    });
    expect(await accuracy([])).toBe(1);
    expect(await accuracy([silence(0, 0)])).toBeLessThanOrEqual(0.1);
    expect(await accuracy([silence(1, 0)])).toBeLessThanOrEqual(0.1);
    expect(await accuracy([silence(0, 1), silence(1, 1)])).toBe(1);
  });

  test("the induction head writes the answer: 10 to its logit, nothing else anything", async () => {
    const row = tokens[0]!.slice(0, 15);
    const answer = tokens[0]![15]!;
    const { labels, values, total } = await directLogitAttribution(model, [row], {
      tokens: answer,
      unit: "head",
    });
    const share = Object.fromEntries(labels.map((label, i) => [label, values[i]!]));
    expect(share["L1H0"]).toBeCloseTo(10, 3);
    expect(total[0]).toBeCloseTo(10, 3);
    for (const label of labels) if (label !== "L1H0") expect(share[label]).toBeCloseTo(0, 3);
  });

  test("patching finds both heads, and by keys the one that reads the other", async () => {
    // The clean text repeats its first half; in the corrupted one another token came before the answer.
    const clean = tokens[0]!.slice(0, 13);
    const [asked, answer] = [clean[12]!, clean[3]!];
    expect(asked).toBe(clean[2]);
    const other = Array.from({ length: 23 }, (_, i) => i + 1).find((t) => !clean.includes(t))!;
    const corrupted = clean.map((token, p) => (p === 2 ? other : token));
    const metric = logitDiff({ tokens: answer, incorrectTokens: other });
    const sweep = (activation: string) =>
      genericActivationPatch(model, {
        ...{ clean: [clean], corrupted: [corrupted], metric, activation },
        axes: ["layer", "head_index"],
      });
    const round = (values: Float64Array) => Array.from(values, (v) => Math.round(v * 1000) / 1000);
    expect(round((await sweep("z")).normalized)).toEqual([1, 0, 1, 0]);
    expect(round((await sweep("k")).normalized)).toEqual([0, 0, 1, 0]);
    expect(round((await sweep("pattern")).normalized)).toEqual([0, 0, 1, 0]);
    expect(round((await sweep("q")).normalized)).toEqual([0, 0, 0, 0]);
  });
});

test("a pattern of one's own, texts of several lengths, and texts that are too short", async () => {
  const path = fileURLToPath(new URL("../../../../test/fixtures/llama", import.meta.url));
  const model = await HookedModel.fromPretrained(path, { threads: 1, verify: "none" });
  const texts = [
    [5, 9, 7],
    [2, 4, 6, 8],
  ];
  const all = await detectHead(model, texts, "previous_token_head");
  const one = await Promise.all(texts.map((t) => detectHead(model, [t], "previous_token_head")));
  all.scores.forEach((score, i) => {
    expect(score).toBeCloseTo((one[0]!.scores[i]! + one[1]!.scores[i]!) / 2, 12);
  });
  const own = await detectHead(
    model,
    texts.slice(0, 1),
    detectionPattern("previous_token_head", [1, 2, 3]),
  );
  expect(own.scores).toEqual(one[0]!.scores);
  await expect(detectHead(model, [[1]], "induction_head")).rejects.toThrow(ShapeError);
  await model.dispose();
});
