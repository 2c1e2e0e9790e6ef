import { fileURLToPath } from "node:url";
import {
  ArgumentError,
  DataError,
  HookPointError,
  InterruptedError,
  type Progress,
} from "@penfield/core";
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
  circuitOf,
  completeness,
  discoverCircuit,
  faithfulness,
  HookedModel,
  type HookValues,
  type Intervention,
  logitDiff,
  minimality,
  type PathReceiver,
  type PathSender,
  pathPatch,
  pathPatchSweep,
} from "../index.ts";

const fixture = (name: string): string =>
  fileURLToPath(new URL(`../../../../test/fixtures/${name}`, import.meta.url));
const clean = [[5, 9, 7, 3, 11]];
const corrupted = [[5, 20, 7, 3, 11]];
const metric = logitDiff({ tokens: 11, incorrectTokens: 12 });

/** Sets a hook point to captured values, one intervention per position. */
function setTo(
  hook: string,
  values: HookValues,
  place: { heads?: number[]; positions?: readonly number[] | undefined } = {},
): Intervention[] {
  const [, length, ...rest] = values.shape as [number, number, ...number[]];
  const width = rest.reduce((a, b) => a * b, 1);
  const positions = place.positions ?? Array.from({ length }, (_, p) => p);
  return positions.map((p) => ({
    hook,
    op: { type: "mean", values: values.data.subarray(p * width, (p + 1) * width) },
    positions: [p],
    ...(place.heads ? { heads: place.heads } : {}),
  }));
}

/** The three steps in separate runs of one row, with values that are read and set again. */
async function separately(
  model: HookedModel,
  sender: PathSender,
  receivers: readonly PathReceiver[],
  freezeMlps: boolean,
): Promise<number> {
  const hooks = ["hook_embed", "blocks.*.hook_*", "blocks.*.attn.hook_z"];
  const read = async (tokens: readonly (readonly number[])[]) =>
    (await model.run({ tokens, capture: hooks })).cache;
  const [before, other] = [await read(clean), await read(corrupted)];
  const layers = Array.from({ length: model.cfg.nLayers }, (_, l) => l);
  const z = (l: number) => `blocks.${l}.attn.hook_z`;
  const mlp = (l: number) => `blocks.${l}.hook_mlp_out`;
  const hook =
    "head" in sender
      ? z(sender.layer)
      : sender.component === "embed"
        ? "hook_embed"
        : `blocks.${sender.layer}.hook_${sender.component}`;
  const held = [
    ...layers.flatMap((l) => setTo(z(l), before.get(z(l))!)),
    ...(freezeMlps ? layers.flatMap((l) => setTo(mlp(l), before.get(mlp(l))!)) : []),
    ...setTo(hook, other.get(hook)!, {
      positions: sender.positions,
      ...("head" in sender ? { heads: [sender.head] } : {}),
    }),
  ];
  const inputs = receivers.flatMap((receiver): { hook: string; heads?: number[] }[] => {
    if (receiver.component === "resid_post")
      return [{ hook: `blocks.${layers.length - 1}.hook_resid_post` }];
    const block = `blocks.${receiver.layer}`;
    if (receiver.component === "mlp")
      return model.listHooks(`${block}.mlp.hook_pre*`).map(({ name }) => ({ hook: name }));
    return [{ hook: `${block}.attn.hook_${receiver.component}`, heads: [receiver.head] }];
  });
  const capture = inputs.map((input) => input.hook);
  const middle = (await model.run({ tokens: clean, interventions: held, capture })).cache;
  const final = inputs.flatMap(({ hook, ...rest }) => setTo(hook, middle.get(hook)!, rest));
  const logits = await model.runWithInterventions(clean, final);
  return metric(logits, [{ row: 0, prompt: 0 }])[0]!;
}

describe.each(["gpt2", "llama", "neox", "gemma2"])("path patching: %s", (name) => {
  let model: HookedModel;
  beforeAll(async () => {
    model = await HookedModel.fromPretrained(fixture(name), { threads: 1, verify: "none" });
  });
  afterAll(() => model.dispose());

  const senders: PathSender[] = [
    { layer: 0, head: 1 },
    { layer: 0, head: 2, positions: [1, 2] },
    { component: "mlp_out", layer: 0 },
    { component: "mlp_out", layer: 0, positions: [2] },
    { component: "resid_pre", layer: 0, positions: [1] },
    { component: "resid_pre", layer: 1 },
    { component: "embed" },
    { layer: 1, head: 0 },
  ];
  const receivers: readonly (readonly PathReceiver[])[] = [
    [{ layer: 1, head: 1, component: "q" }],
    [
      { layer: 1, head: 0, component: "k" },
      { layer: 1, head: 0, component: "v" },
    ],
    [{ layer: 1, component: "mlp" }],
    [{ layer: 0, component: "mlp" }],
    [{ component: "resid_post" }],
  ];

  test.each([false, true])(
    "equals three separate runs with values read and set, bit for bit (freezeMlps: %s)",
    async (freezeMlps) => {
      let nEffects = 0;
      for (const to of receivers) {
        const options = { clean, corrupted, metric, receivers: to, freezeMlps };
        const sweep = await pathPatchSweep(model, { ...options, senders });
        expect(sweep.shape).toEqual([senders.length]);
        for (const [i, sender] of senders.entries()) {
          const want = await separately(model, sender, to, freezeMlps);
          const label = `${JSON.stringify(sender)} -> ${JSON.stringify(to)}`;
          expect(sweep.values[i], label).toBe(want);
          if (sweep.effects[i] !== 0) nEffects++;
          expect(sweep.effects[i]).toBe(sweep.values[i]! - sweep.clean);
        }
      }
      expect(nEffects).toBeGreaterThan(10);
    },
  );

  test("a sweep is its paths one by one, whatever the batch; each has a place in the map", async () => {
    const options = { clean, corrupted, metric, receivers: receivers[1]! };
    const heads = await pathPatchSweep(model, options);
    expect(heads.shape).toEqual([2, model.cfg.nHeads]);
    expect(await pathPatchSweep(model, { ...options, batchSize: 4 })).toEqual(heads);
    for (const head of [0, 2]) {
      const one = await pathPatch(model, { ...options, sender: { layer: 0, head } });
      expect(one.values[0]).toBe(heads.values[head]);
      expect(one.normalized[0]).toBe(heads.normalized[head]);
    }
    const mlps = await pathPatchSweep(model, { ...options, senders: "mlps" });
    expect([mlps.axes, mlps.shape]).toEqual([["layer"], [2]]);
    const one = await pathPatch(model, { ...options, sender: { component: "mlp_out", layer: 0 } });
    expect(mlps.values[0]).toBe(one.values[0]);
  });

  test("senders after the receiver, and prompts that do not differ, have no effect at all", async () => {
    const options = { clean, corrupted, metric };
    for (const component of ["q", "k", "v"] as const) {
      const to: PathReceiver[] = [{ layer: 0, head: 0, component }];
      const { effects } = await pathPatchSweep(model, { ...options, receivers: to });
      expect(effects.every((effect) => effect === 0)).toBe(true);
      const same = await pathPatchSweep(model, {
        ...{ clean, corrupted: clean, metric, senders },
        receivers: [{ layer: 1, head: 0, component }, { component: "resid_post" }],
      });
      expect(same.effects.every((effect) => effect === 0)).toBe(true);
    }
  });

  test("the whole stream into the whole stream is the corrupted run; of early heads it is not", async () => {
    const options = { clean, corrupted, metric, receivers: [{ component: "resid_post" }] as const };
    const last = await pathPatch(model, {
      ...options,
      sender: { component: "resid_pre", layer: 1 },
    });
    // The heads of block 1 are held, so not everything comes through.
    expect(last.values[0]).not.toBe(last.corrupted);
    const other = await pathPatch(model, {
      ...{ clean: corrupted, corrupted: clean, metric, direction: "denoising" },
      receivers: options.receivers,
      sender: { component: "resid_pre", layer: 1 },
    });
    // Denoising runs what is given as corrupted: the same two roles, exchanged twice.
    expect([other.values[0], other.clean, other.corrupted]).toEqual([
      ...[last.values[0], last.corrupted, last.clean],
    ]);
    expect(other.normalized[0]).toBeCloseTo(1 - last.normalized[0]!, 9);
  });

  test("several prompts: the mean of the prompts by themselves", async () => {
    const more = {
      clean: [...clean, [5, 30, 7, 3, 2]],
      corrupted: [...corrupted, [5, 31, 7, 3, 2]],
    };
    const to = receivers[1]!;
    const both = await pathPatchSweep(model, { ...more, metric, receivers: to });
    const parts = await Promise.all(
      [0, 1].map((i) =>
        pathPatchSweep(model, {
          ...{ clean: [more.clean[i]!], corrupted: [more.corrupted[i]!] },
          ...{ metric, receivers: to },
        }),
      ),
    );
    const inParts = await pathPatchSweep(model, {
      ...{ ...more, metric, receivers: to, batchSize: 9 },
    });
    expect(inParts).toEqual(both);
    both.values.forEach((v, i) => {
      expect(v).toBe((parts[0]!.values[i]! + parts[1]!.values[i]!) / 2);
    });
  });
});

describe("long work and wrong input", () => {
  let model: HookedModel;
  beforeAll(async () => {
    model = await HookedModel.fromPretrained(fixture("gpt2"), { threads: 1, verify: "none" });
  });
  afterAll(() => model.dispose());

  test("reports progress, and stops between two runs", async () => {
    const receivers = [{ component: "resid_post" }] as const;
    const options = { clean, corrupted, metric, receivers, batchSize: 6 };
    const seen: Progress[] = [];
    await pathPatchSweep(model, { ...options, onProgress: (p) => seen.push(p) });
    expect(seen.map((p) => p.done)).toEqual([2, 4, 6]);
    expect(seen[0]).toEqual({ stage: "patching paths", done: 2, total: 6, unit: "senders" });
    const stop = new AbortController();
    const stopped = pathPatchSweep(model, {
      ...{ ...options, signal: stop.signal },
      onProgress: () => stop.abort(),
    });
    await expect(stopped).rejects.toThrow(InterruptedError);
  });

  test("ends that do not exist, prompts that do not correspond", async () => {
    const patch = (more: object) =>
      pathPatch(model, {
        ...{ clean, corrupted, metric, sender: { layer: 0, head: 0 } },
        receivers: [{ layer: 1, head: 0, component: "q" }],
        ...more,
      });
    await expect(patch({ corrupted: [[1]] })).rejects.toThrow(DataError);
    await expect(patch({ receivers: [] })).rejects.toThrow(/at least one receiver, got none/);
    await expect(patch({ sender: { layer: 0, head: 3 } })).rejects.toThrow(
      /a head within 0..2 at blocks.0.attn.hook_z, got 3/,
    );
    await expect(patch({ sender: { layer: 9, head: 0 } })).rejects.toThrow(HookPointError);
    await expect(patch({ sender: { component: "k", layer: 0 } })).rejects.toThrow(ArgumentError);
    await expect(patch({ sender: { layer: 0, head: 0, positions: [5] } })).rejects.toThrow(
      /positions within 0..4, got 5/,
    );
    const receivers = [{ layer: 1, head: 0, component: "z" }];
    await expect(patch({ receivers })).rejects.toThrow(/component q, k, v, mlp or resid_post/);
    await expect(patch({ direction: "both" })).rejects.toThrow(/denoising or noising/);
    await expect(patch({ batchSize: 0.5 })).rejects.toThrow(ArgumentError);
    const sweep = pathPatchSweep(model, {
      ...{ clean, corrupted, metric, receivers: [{ component: "resid_post" }] },
      senders: "neurons" as never,
    });
    await expect(sweep).rejects.toThrow(/senders heads, mlps or a list/);
    const none = pathPatchSweep(model, {
      ...{ clean, corrupted, metric, receivers: [{ component: "resid_post" }], senders: [] },
    });
    await expect(none).rejects.toThrow(/at least one sender, got none/);
  });
});

/**
 * Two layers of attention alone, two heads each: L0H0 copies the token before into a part of the
 * stream that L1H0 compares its token with (K-composition); L1H0 copies what it finds into the
 * answer. L0H1 and L1H1 do nothing.
 */
function inductionCircuit(): Uint8Array {
  const N = 16;
  const D = 4 * N;
  const [TOKEN, POSITION, BEFORE, ANSWER] = [0, N, 2 * N, 3 * N] as const;
  const nodes: NodeProto[] = [];
  const weights: TensorProto[] = [];
  type Entries = readonly (readonly [row: number, column: number, value: number])[];
  const matrix = (name: string, nRows: number, nColumns: number, entries: Entries): string => {
    const data = new Float32Array(nRows * nColumns);
    for (const [row, column, value] of entries) data[row * nColumns + column] = value;
    weights.push(makeTensor(name, "float32", [nRows, nColumns], data));
    return name;
  };
  const whole = (name: string, values: readonly number[], dims = [values.length]): string => {
    weights.push(makeTensor(name, "int64", dims, values));
    return name;
  };
  const node = (op: string, inputs: string[], output: string, attributes = {}): string => {
    nodes.push(makeNode(op, inputs, [output], attributes));
    return output;
  };
  const diagonal = (row: number, column: number, value = 1, n = N): Entries =>
    Array.from({ length: n }, (_, i) => [row + i, column + i, value] as const);
  matrix("E", N, D, diagonal(0, TOKEN));
  matrix("P", N, D, diagonal(0, POSITION));
  matrix("W_U", D, N, diagonal(ANSWER, 0));
  const shape = node("Shape", ["input_ids"], "shape");
  const length = node("Gather", [shape, whole("one", [1])], "length");
  node("Slice", ["P", whole("zero", [0]), length], "positions");
  node("Add", [node("Gather", ["E", "input_ids"], "embed"), "positions"], "x0");
  const square = node("Concat", [length, length], "square", { axis: 0n });
  weights.push(makeTensor("minus", "float32", [1], [-1e9]));
  const full = node("Expand", ["minus", square], "full");
  node("Trilu", [full, whole("above", [1], [])], "mask", { upper: 1n });
  whole("split", [0, 0, 2, N]);
  whole("join", [0, 0, -1]);
  const layer = (l: number, heads: Record<"q" | "k" | "v" | "o", Entries>): void => {
    const turned = (kind: "q" | "k" | "v", perm: bigint[]): string => {
      const weight = matrix(`W_${kind}${l}`, D, 2 * N, heads[kind]);
      const apart = node(
        "Reshape",
        [node("MatMul", [`x${l}`, weight], `${kind}${l}`), "split"],
        `${kind}${l}.heads`,
      );
      return node("Transpose", [apart], `${kind}${l}.turned`, { perm });
    };
    const q = turned("q", [0n, 2n, 1n, 3n]);
    const k = turned("k", [0n, 2n, 3n, 1n]);
    const v = turned("v", [0n, 2n, 1n, 3n]);
    const scores = node("Add", [node("MatMul", [q, k], `qk${l}`), "mask"], `scores${l}`);
    const pattern = node("Softmax", [scores], `pattern${l}`, { axis: -1n });
    const mixed = node("MatMul", [pattern, v], `mixed${l}`);
    const back = node("Transpose", [mixed], `z${l}.turned`, { perm: [0n, 2n, 1n, 3n] });
    const joined = node("Reshape", [back, "join"], `z${l}`);
    const out = node("MatMul", [joined, matrix(`W_O${l}`, 2 * N, D, heads.o)], `out${l}`);
    node("Add", [`x${l}`, out], `x${l + 1}`);
  };
  layer(0, {
    q: diagonal(POSITION, 0, 100),
    k: diagonal(POSITION, 1, 1, N - 1),
    v: diagonal(TOKEN, 0),
    o: diagonal(0, BEFORE),
  });
  layer(1, {
    q: diagonal(TOKEN, 0, 100),
    k: [
      ...diagonal(BEFORE, 0),
      ...Array.from({ length: N }, (_, i) => [POSITION, i, 0.5] as const),
    ],
    v: diagonal(TOKEN, 0),
    o: diagonal(0, ANSWER, 10),
  });
  node("MatMul", ["x2", "W_U"], "logits");
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
  // ... 4 9 ... 4 -> 9; corrupted: the 4 before the 9 is another token.
  const prompts = { clean: [[0, 4, 9, 2, 4]], corrupted: [[0, 7, 9, 2, 4]] };
  const induction = logitDiff({ tokens: 9, incorrectTokens: 0 });
  let model: HookedModel;
  beforeAll(async () => {
    model = await HookedModel.fromBytes(inductionCircuit(), { threads: 1 });
  });
  afterAll(() => model.dispose());

  test("L0H0 -> L1H0's keys carries the whole effect; its queries and values none", async () => {
    const paths = async (component: "q" | "k" | "v") =>
      pathPatchSweep(model, {
        ...{ ...prompts, metric: induction },
        receivers: [{ layer: 1, head: 0, component }],
      });
    const keys = await paths("k");
    expect(keys.clean).toBeCloseTo(10, 5);
    expect(keys.corrupted).toBeLessThan(-5);
    expect(keys.values[0]).toBe(keys.corrupted);
    expect(keys.normalized[0]).toBe(0);
    expect([...keys.effects.subarray(1)]).toEqual([0, 0, 0]);
    for (const component of ["q", "v"] as const) {
      expect([...(await paths(component)).effects]).toEqual([0, 0, 0, 0]);
    }
    // To the scores L0H0 writes nothing itself; L1H0 everything.
    const direct = await pathPatchSweep(model, {
      ...{ ...prompts, metric: induction },
      receivers: [{ component: "resid_post" }],
    });
    expect([...direct.normalized]).toEqual([1, 1, 0, 1]);
  });

  test("its two heads are a faithful, complete and minimal circuit; without the first it is not", async () => {
    const hook = (layer: number) => `blocks.${layer}.attn.hook_z`;
    const heads = [0, 1].map((layer) => ({ hook: hook(layer), head: 0 }));
    const options = { tokens: prompts.clean, metric: induction, method: "zero" } as const;
    const both = circuitOf(model, heads);
    expect(await faithfulness(model, both, options)).toMatchObject({ gap: 0, normalized: 1 });
    expect((await completeness(model, both, options)).maxGap).toBe(0);
    for (const { relative } of await minimality(model, both, options)) {
      expect(relative).toBeGreaterThan(0.5);
    }
    const second = circuitOf(model, heads.slice(1));
    expect((await faithfulness(model, second, options)).gap).toBeGreaterThan(5);
    const found = await discoverCircuit(model, { ...options, threshold: 1 });
    expect(found.circuit.nodes).toEqual(heads);
    const idle = circuitOf(model, [...heads, { hook: hook(0), head: 1 }]);
    expect((await minimality(model, idle, options))[2]!.score).toBe(0);
  });

  test("positions: the key that L0H0 writes for is that of the token after the repeated one", async () => {
    const at = async (positions: number[]) =>
      (
        await pathPatch(model, {
          ...{ ...prompts, metric: induction },
          sender: { layer: 0, head: 0, positions },
          receivers: [{ layer: 1, head: 0, component: "k" }],
        })
      ).normalized[0];
    expect(await at([2])).toBe(0);
    expect(await at([0, 1, 3, 4])).toBe(1);
  });
});
