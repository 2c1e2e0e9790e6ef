import { fileURLToPath } from "node:url";
import { ArgumentError, DataError, HookPointError, ModelError, ShapeError } from "@penfield/core";
import { encodeModel, makeModel, makeNode, makeTensor, makeValueInfo } from "@penfield/onnx";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { HookedModel, type HookValues, type Intervention } from "../index.ts";

const fixture = (name: string): string =>
  fileURLToPath(new URL(`../../../../test/fixtures/${name}`, import.meta.url));
const ROWS = [
  [54, 7, 81, 33, 2, 60, 19],
  [5, 90, 41, 12],
];
const bits = ({ data }: { data: Float32Array }): Buffer =>
  Buffer.from(data.buffer, data.byteOffset, data.byteLength);

let model: HookedModel;
beforeAll(async () => {
  model = await HookedModel.fromPretrained(fixture("llama"), { threads: 1, verify: "none" });
});
afterAll(() => model.dispose());

/** What a hook holds after interventions there. */
const after = async (hook: string, ...interventions: Omit<Intervention, "hook">[]) => {
  const { cache } = await model.run({
    tokens: ROWS,
    capture: [hook],
    interventions: interventions.map((i) => ({ hook, ...i })),
    head: "none",
  });
  return cache.get(hook)!;
};

describe("interventions", () => {
  const hook = "blocks.0.hook_resid_post";

  test("clamp keeps within its bounds where it is asked to, and leaves all else bit for bit", async () => {
    const plain = await after(hook);
    const clamped = await after(hook, {
      op: { type: "clamp", min: -0.2, max: 0.5 },
      rows: [0],
      positions: [1, 2],
    });
    const [, length, dim] = plain.shape as [number, number, number];
    plain.data.forEach((v, i) => {
      const [row, pos] = [Math.floor(i / (length * dim)), Math.floor(i / dim) % length];
      const inside = row === 0 && (pos === 1 || pos === 2);
      const want = inside ? Math.min(Math.max(v, Math.fround(-0.2)), 0.5) : v;
      expect(Object.is(clamped.data[i], Math.fround(want))).toBe(true);
    });
    expect(plain.data.some((v) => v < -0.2)).toBe(true);
  });

  test("project takes directions out: nothing of them is left, all across them stays", async () => {
    const plain = await after(hook);
    const dim = plain.shape[2]!;
    const a = Float32Array.from({ length: dim }, (_, i) => Math.sin(i));
    // Neither orthogonal to a nor of length 1.
    const b = a.map((v, i) => 3 * v + Math.cos(2 * i));
    const rest = await after(hook, { op: { type: "project", directions: [a, b] }, positions: [2] });
    const [, length] = plain.shape as [number, number];
    for (let row = 0; row < 2; row++) {
      for (let pos = 0; pos < length; pos++) {
        const at = (values: HookValues) =>
          values.data.subarray((row * length + pos) * dim, (row * length + pos + 1) * dim);
        const [was, is] = [at(plain), at(rest)];
        if (pos !== 2) {
          expect(Buffer.compare(bits({ data: was }), bits({ data: is }))).toBe(0);
          continue;
        }
        const dot = (x: ArrayLike<number>, y: ArrayLike<number>) =>
          Array.from(x).reduce((sum, v, i) => sum + v * y[i]!, 0);
        expect(Math.abs(dot(is, a))).toBeLessThan(1e-4);
        expect(Math.abs(dot(is, b))).toBeLessThan(1e-4);
        // What was taken away lies in their plane: it is a combination of the two.
        const taken = was.map((v, i) => v - is[i]!);
        const [aa, ab, bb] = [dot(a, a), dot(a, b), dot(b, b)];
        const [ta, tb] = [dot(taken, a), dot(taken, b)];
        const x = (ta * bb - tb * ab) / (aa * bb - ab * ab);
        const y = (tb * aa - ta * ab) / (aa * bb - ab * ab);
        taken.forEach((v, i) => {
          expect(v).toBeCloseTo(x * a[i]! + y * b[i]!, 4);
        });
      }
    }
  });

  test("project within a head leaves the others", async () => {
    const z = "blocks.1.attn.hook_z";
    const plain = await after(z);
    const width = plain.shape[2]! / 4;
    const direction = Float32Array.from({ length: width }, () => 1);
    const rest = await after(z, { op: { type: "project", directions: [direction] }, heads: [2] });
    const sums = (values: HookValues, head: number) =>
      Array.from({ length: 7 }, (_, pos) => {
        const start = pos * 4 * width + head * width;
        return values.data.subarray(start, start + width).reduce((a, b) => a + b, 0);
      });
    for (const sum of sums(rest, 2)) expect(Math.abs(sum)).toBeLessThan(1e-5);
    expect(sums(rest, 1)).toEqual(sums(plain, 1));
  });

  test("attendFirst sends all attention to the first position", async () => {
    const pattern = await after("blocks.0.attn.hook_pattern", {
      op: { type: "attendFirst" },
      heads: [1],
      positions: [3],
      rows: [0],
    });
    const [, , nDest, nSource] = pattern.shape as [number, number, number, number];
    const row = (head: number, dest: number) =>
      Array.from(
        pattern.data.subarray((head * nDest + dest) * nSource, (head * nDest + dest + 1) * nSource),
      );
    expect(row(1, 3)).toEqual([1, 0, 0, 0, 0, 0, 0]);
    expect(row(1, 2)).not.toEqual([1, 0, 0, 0, 0, 0, 0]);
    expect(row(0, 3)).not.toEqual([1, 0, 0, 0, 0, 0, 0]);
    await expect(after(hook, { op: { type: "attendFirst" } })).rejects.toThrow(HookPointError);
  });

  test("value zeroing: a token whose values are zero gives nothing to others", async () => {
    const v = "blocks.0.attn.hook_v";
    const z = "blocks.0.attn.hook_z";
    const { cache } = await model.run({
      tokens: ROWS,
      capture: [v, z, "blocks.0.attn.hook_pattern"],
      interventions: [{ hook: v, op: { type: "zero" }, positions: [0] }],
      head: "none",
    });
    // The first token sees itself alone.
    expect(
      cache
        .get(z)!
        .data.subarray(0, 24)
        .every((x) => x === 0),
    ).toBe(true);
  });

  test("values that are not numbers, bounds the wrong way round, directions of another length", async () => {
    const wrong: [Omit<Intervention, "hook">, new (message: string) => Error, RegExp][] = [
      [
        { op: { type: "constant", value: Number.NaN } },
        ArgumentError,
        /numbers in constant, got NaN/,
      ],
      [
        { op: { type: "add", value: [Number.NaN] } },
        ArgumentError,
        /numbers in add, got NaN at place 0/,
      ],
      [{ op: { type: "scale", factor: Number.NaN } }, ArgumentError, /numbers in scale/],
      [
        { op: { type: "clamp", min: 1, max: 0 } },
        ArgumentError,
        /min of clamp not above max, got 1 and 0/,
      ],
      [{ op: { type: "project", directions: [[1, 2]] } }, ShapeError, /expected 24 values, got 2/],
      [{ op: { type: "mean", values: [1, 2, 3] } }, ShapeError, /expected 24 values, got 3/],
    ];
    for (const [intervention, kind, message] of wrong) {
      await expect(after(hook, intervention)).rejects.toThrow(kind);
      await expect(after(hook, intervention)).rejects.toThrow(message);
    }
  });
});

describe("less leaves the runtime", () => {
  const names = ["blocks.1.hook_resid_post", "blocks.0.attn.hook_q"];

  test("mean, max and last over a row's real tokens equal what JavaScript makes of all of them", async () => {
    const whole = (await model.run({ tokens: ROWS, capture: names, head: "none" })).cache;
    for (const reduce of ["mean", "max", "last"] as const) {
      const { cache } = await model.run({ tokens: ROWS, capture: names, head: "none", reduce });
      for (const name of names) {
        const [all, few] = [whole.get(name)!, cache.get(name)!];
        const size = all.shape.slice(2).reduce((a, b) => a * b, 1);
        expect(few.shape).toEqual([2, 1, ...all.shape.slice(2)]);
        ROWS.forEach(({ length }, row) => {
          for (let unit = 0; unit < size; unit++) {
            const values = Array.from({ length }, (_, p) => all.data[(row * 7 + p) * size + unit]!);
            const got = few.data[row * size + unit]!;
            if (reduce === "last") expect(got).toBe(values.at(-1));
            else if (reduce === "max") expect(got).toBe(Math.max(...values));
            else expect(got).toBeCloseTo(values.reduce((a, b) => a + b, 0) / length, 5);
          }
        });
      }
    }
  });

  test("posSlice: chosen positions, from the end too", async () => {
    const name = names[0]!;
    const whole = (await model.runWithCache(ROWS, { namesFilter: name })).cache.get(name)!;
    const { cache } = await model.runWithCache(ROWS, { namesFilter: name, posSlice: [2, -1] });
    const few = cache.get(name)!;
    const dim = whole.shape[2]!;
    expect(few.shape).toEqual([2, 2, dim]);
    [2, 6].forEach((pos, i) => {
      expect(few.data.subarray(i * dim, (i + 1) * dim)).toEqual(
        whole.data.subarray(pos * dim, (pos + 1) * dim),
      );
    });
    const beyond = model.runWithCache(ROWS, { namesFilter: name, posSlice: [7] });
    await expect(beyond).rejects.toThrow(ArgumentError);
  });

  test("stopAtLayer leaves out what comes from there on", async () => {
    const { cache, logits } = await model.runWithCache(ROWS, {
      namesFilter: "blocks.*",
      stopAtLayer: 1,
    });
    const layers = new Set([...cache.keys()].map((name) => name.split(".")[1]));
    expect(cache.has("blocks.1.hook_resid_pre")).toBe(true);
    expect([...cache.keys()].filter((name) => name.startsWith("blocks.1."))).toHaveLength(1);
    expect([...layers]).toEqual(["0", "1"]);
    expect(logits.data.length).toBe(0);
    const wrong = model.runWithCache(ROWS, { namesFilter: "blocks.*", stopAtLayer: 3 });
    await expect(wrong).rejects.toThrow(/stopAtLayer within -2..2, got 3/);
  });
});

describe("functions at hooks", () => {
  test("what interventions can say, functions can do: the same bits", async () => {
    const hook = "blocks.0.mlp.hook_post";
    const byData = await model.runWithInterventions(ROWS, [
      { hook, op: { type: "constant", value: 2 }, units: [3] },
      { hook: "blocks.1.hook_resid_pre", op: { type: "constant", value: -1 }, positions: [0] },
    ]);
    const seen: string[] = [];
    const { logits } = await model.runWithHooks(ROWS, {
      fwdHooks: [
        [
          "blocks.1.hook_resid_pre",
          (values, { name }) => {
            seen.push(name);
            const [rows, length, dim] = values.shape as [number, number, number];
            for (let r = 0; r < rows; r++)
              values.data.fill(-1, r * length * dim, r * length * dim + dim);
            return undefined;
          },
        ],
        [
          hook,
          ({ data, shape }, { name }) => {
            seen.push(name);
            const dim = shape[2]!;
            return { data: data.map((v, i) => (i % dim === 3 ? 2 : v)), shape };
          },
        ],
      ],
    });
    expect(seen).toEqual([hook, "blocks.1.hook_resid_pre"]);
    expect(bits(logits!).equals(bits(byData))).toBe(true);
    const short = model.runWithHooks(ROWS, {
      fwdHooks: [[hook, () => ({ data: new Float32Array(3), shape: [1, 1, 3] })]],
    });
    await expect(short).rejects.toThrow(ShapeError);
    const heads = model.runWithHooks(ROWS, {
      fwdHooks: [["blocks.0.attn.hook_q", (values) => values]],
    });
    await expect(heads).rejects.toThrow(/with axes batch, pos and units, got blocks.0.attn.hook_q/);
  });
});

test("functions at hooks of a decoder see what functions changed in the encoder", async () => {
  const t5 = await HookedModel.fromPretrained(fixture("t5"), { verify: "none" });
  try {
    const inputs = { tokens: [[5, 9, 7, 3]], decoderTokens: [[0, 4, 8]] };
    const silence = { hook: "encoder.blocks.1.hook_mlp_out", op: { type: "zero" } } as const;
    const double = {
      hook: "decoder.blocks.0.cross_attn.hook_z",
      op: { type: "scale", factor: 2 },
    } as const;
    const seen: string[] = [];
    const { logits } = await t5.runWithHooks(inputs, {
      fwdHooks: [
        [
          double.hook,
          ({ data, shape }, { name }) => {
            seen.push(name);
            return { data: data.map((v) => 2 * v), shape };
          },
        ],
        [
          silence.hook,
          ({ data, shape }, { name }) => {
            seen.push(name);
            return { data: data.map(() => 0), shape };
          },
        ],
      ],
    });
    expect(seen).toEqual([silence.hook, double.hook]);
    const { logits: byData } = await t5.run({ ...inputs, interventions: [silence, double] });
    expect(bits(logits!).equals(bits(byData!))).toBe(true);
  } finally {
    await t5.dispose();
  }
});

test("a softmax between quantisations keeps flat attention: above basic, onnxruntime computes it in 8 bits", async () => {
  const n = 64;
  const step = 0.0001;
  const bytes = encodeModel(
    makeModel({
      nodes: [
        makeNode("QuantizeLinear", ["x", "in", "zero"], ["xq"]),
        makeNode("DequantizeLinear", ["xq", "in", "zero"], ["xd"]),
        makeNode("Softmax", ["xd"], ["p"], { axis: -1n }),
        makeNode("QuantizeLinear", ["p", "out", "zero"], ["pq"]),
        makeNode("DequantizeLinear", ["pq", "out", "zero"], ["y"]),
      ],
      inputs: [makeValueInfo("x", "float32", ["batch", "pos", n])],
      outputs: [makeValueInfo("y", "float32")],
      initializers: [
        makeTensor("in", "float32", [], [0.01]),
        makeTensor("out", "float32", [], [step]),
        makeTensor("zero", "uint8", [], [0]),
      ],
    }),
  );
  // Whole steps of 0.01, so that the first quantisation changes nothing.
  const x = Float32Array.from({ length: n }, (_, i) => (i % 8) / 100);
  const exp = x.map(Math.exp);
  const sum = exp.reduce((a, b) => a + b, 0);
  const open = await HookedModel.fromBytes(bytes, { structure: "optional" });
  const { cache } = await open.run({
    inputs: { x: { data: x, shape: [1, 1, n] } },
    capture: ["y"],
    head: "none",
  });
  await open.dispose();
  const far = Math.max(...cache.get("y")!.data.map((v, i) => Math.abs(v - exp[i]! / sum)));
  expect(far).toBeLessThan(step * 0.51); // with `all` it is 0.016: every weight becomes 0
});

describe("tensors by their names in the file", () => {
  test("can be read and changed: a hook's tensor is the hook", async () => {
    const hook = model.hookPoint("blocks.0.mlp.hook_post");
    const ops = { op: { type: "zero" }, units: [5] } as const;
    const byName = await model.runWithInterventions(ROWS, [{ hook: hook.tensor, ...ops }]);
    const byHook = await model.runWithInterventions(ROWS, [{ hook: hook.name, ...ops }]);
    expect(bits(byName).equals(bits(byHook))).toBe(true);
  });

  test("a misspelt name is answered with those like it", async () => {
    const run = model.run({ tokens: ROWS, capture: ["blocks.1.hook_resid_pos"] });
    await expect(run).rejects.toMatchObject({
      hint: expect.stringMatching(/Did you mean blocks\.1\.hook_resid_post/),
    });
  });

  test("a network that is no transformer says what was looked for; opened on request it has its tensors", async () => {
    const bytes = encodeModel(
      makeModel({
        nodes: [
          makeNode("MatMul", ["x", "w"], ["hidden"]),
          makeNode("Relu", ["hidden"], ["active"]),
          makeNode("MatMul", ["active", "w"], ["y"]),
        ],
        inputs: [makeValueInfo("x", "float32", ["batch", "pos", 2])],
        outputs: [makeValueInfo("y", "float32")],
        initializers: [makeTensor("w", "float32", [2, 2], [1, 2, 3, 4])],
      }),
    );
    await expect(HookedModel.fromBytes(bytes)).rejects.toThrow(ModelError);
    await expect(HookedModel.fromBytes(bytes)).rejects.toThrow(
      /without an attention branch that is added to what it reads. Nearest: .*products with weights: hidden, y/,
    );
    const open = await HookedModel.fromBytes(bytes, { structure: "optional" });
    expect(open.hookPoints).toEqual([]);
    const inputs = { x: { data: new Float32Array([1, -1]), shape: [1, 1, 2] } };
    const { cache, logits } = await open.run({
      inputs,
      capture: ["hidden"],
      interventions: [{ hook: "active", op: { type: "constant", value: 1 }, units: [0] }],
    });
    expect([...cache.get("hidden")!.data]).toEqual([-2, -2]);
    expect([...logits!.data]).toEqual([1, 2]);
    await expect(open.run({ tokens: [[1]] })).rejects.toThrow(/expected the input x/);
    await expect(open.run({})).rejects.toThrow(/expected tokens or inputs, got neither/);
    await open.dispose();
  });
});

describe("memory", () => {
  test("a batch that cannot fit is refused before it runs, with the number of rows that would", async () => {
    const small = await HookedModel.fromPretrained(fixture("llama"), {
      verify: "none",
      memoryLimit: 2 ** 20,
    });
    const rows = Array.from({ length: 200 }, () => ROWS[0]!);
    await expect(small.run({ tokens: rows })).rejects.toThrow(DataError);
    await expect(small.run({ tokens: rows })).rejects.toMatchObject({
      hint: expect.stringMatching(/^\d+ rows fit/),
    });
    const hint: string = await small.run({ tokens: rows }).then(String, (error) => error.hint);
    const fits = /^(\d+) rows/.exec(hint)![1];
    const { logits } = await small.run({ tokens: rows.slice(0, Number(fits)) });
    expect(logits!.shape[0]).toBe(Number(fits));
    await small.dispose();
  });
});
