import { fileURLToPath } from "node:url";
import {
  ArgumentError,
  createRng,
  DataError,
  HookPointError,
  InterruptedError,
} from "@penfield/core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type Circuit,
  type CircuitNode,
  type CircuitOptions,
  circuitOf,
  completeness,
  faithfulness,
  HookedModel,
  type Intervention,
  logitDiff,
  minimality,
} from "../index.ts";

const fixture = (name: string): string =>
  fileURLToPath(new URL(`../../../../test/fixtures/${name}`, import.meta.url));
const tokens = [
  [5, 9, 7, 3],
  [6, 1, 7, 3],
];
const reference = [
  [2, 4, 6, 8],
  [11, 12, 13, 14],
];
const metric = logitDiff({ tokens: 11, incorrectTokens: 12 });
const z = (layer: number) => `blocks.${layer}.attn.hook_z`;
const mlp = (layer: number) => `blocks.${layer}.hook_mlp_out`;

describe.each(["gpt2", "llama"])("circuits: %s", (name) => {
  let model: HookedModel;
  beforeAll(async () => {
    model = await HookedModel.fromPretrained(fixture(name), { threads: 1, verify: "none" });
  });
  afterAll(() => model.dispose());

  const nodes: CircuitNode[] = [
    { hook: z(0), head: 1 },
    { hook: z(1), head: 0, positions: [3] },
    { hook: z(1), units: [9, 10, 11], positions: [2, 3] },
    { hook: mlp(0) },
    { hook: mlp(1), positions: [1, 3] },
  ];

  /** F with `nodes` alone left (or taken out): one prompt a run, one value an intervention. */
  const naive = async (
    method: CircuitOptions["method"],
    some: readonly CircuitNode[],
    keep = true,
  ): Promise<number> => {
    const hooks = [z(0), z(1), mlp(0), mlp(1)];
    const { nHeads = 1 } = model.cfg;
    let sum = 0;
    for (const [i, prompt] of tokens.entries()) {
      const others = await Promise.all(
        reference.map((row) => model.run({ tokens: [row], capture: hooks })),
      );
      const interventions: Intervention[] = [];
      for (const hook of hooks) {
        const values = others.map(({ cache }) => cache.get(hook)!);
        const [, length, width] = values[0]!.shape as [number, number, number];
        for (let p = 0; p < length; p++)
          for (let u = 0; u < width; u++) {
            const named = some.some(
              (node) =>
                node.hook === hook &&
                (node.positions?.includes(p) ?? true) &&
                (node.units?.includes(u) ?? true) &&
                (node.head === undefined || Math.floor(u / (width / nHeads)) === node.head),
            );
            if (named === keep) continue;
            const at = p * width + u;
            const value = {
              zero: 0,
              mean: (values[0]!.data[at]! + values[1]!.data[at]!) / 2,
              resample: values[i]!.data[at]!,
            }[method ?? "mean"];
            interventions.push({
              ...{ hook, units: [u], positions: [p] },
              op: { type: "constant", value },
            });
          }
      }
      const logits = await model.runWithInterventions([prompt], interventions);
      sum += metric(logits, [{ row: 0, prompt: i }])[0]!;
    }
    return sum / tokens.length;
  };

  test.each(["mean", "zero", "resample"] as const)(
    "%s: equals knocking out value by value in runs of their own, bit for bit",
    async (method) => {
      const circuit = circuitOf(model, nodes);
      const options = { tokens, metric, method, reference };
      const got = await faithfulness(model, circuit, options);
      const plain = await model.run({ tokens });
      const rows = [0, 1].map((row) => ({ row, prompt: row }));
      const [a, b] = metric(plain.logits!, rows) as [number, number];
      expect(got.model).toBe((a + b) / 2);
      expect(got.circuit).toBe(await naive(method, nodes));
      expect(got.empty).toBe(await naive(method, []));
      expect(got.gap).toBe(Math.abs(got.model - got.circuit));
      expect(got.normalized).toBe((got.circuit - got.empty) / (got.model - got.empty));
      expect(await faithfulness(model, circuit, { ...options, batchSize: 1 })).toEqual(got);
      const { subsets } = await completeness(model, circuit, {
        ...{ ...options, nSubsets: 2, greedySteps: 2, seed: 3 },
      });
      for (const { nodes: K, circuit: own, model: whole, gap } of subsets) {
        const [left, taken] = [
          nodes.filter((_, i) => !K.includes(i)),
          nodes.filter((_, i) => K.includes(i)),
        ];
        // Overlapping nodes: what K takes from the model, it takes whole.
        expect(own).toBe(await naive(method, left));
        expect(whole).toBe(await naive(method, taken, false));
        expect(gap).toBe(Math.abs(own - whole));
      }
    },
  );

  test("the whole model is faithful and complete to the bit; the empty circuit has nothing", async () => {
    const all = [0, 1].flatMap((layer) => [
      ...Array.from({ length: model.cfg.nHeads! }, (_, head) => ({ hook: z(layer), head })),
      { hook: mlp(layer) },
    ]);
    const options = { tokens, metric, reference };
    const whole = await faithfulness(model, circuitOf(model, all), options);
    expect([whole.gap, whole.normalized]).toEqual([0, 1]);
    const { maxGap } = await completeness(model, circuitOf(model, all), options);
    expect(maxGap).toBe(0);
    const hooks = [z(0), z(1), "blocks.*.hook_mlp_out"];
    const none = await faithfulness(model, circuitOf(model, []), { ...options, hooks });
    expect([none.circuit, none.normalized]).toEqual([whole.empty, 0]);
    // What is the mean of itself is not changed by the mean.
    const same = await faithfulness(model, circuitOf(model, []), {
      ...{ tokens: [tokens[0]!], metric, hooks },
    });
    expect(same.gap).toBeLessThan(1e-6);
  });

  test("greedy completeness takes the largest gap at each step; all is seeded", async () => {
    const circuit = circuitOf(model, nodes);
    const options = { tokens, metric, reference, nSubsets: 3, seed: 5 };
    const got = await completeness(model, circuit, { ...options, greedySteps: 3 });
    expect(got.subsets.map((s) => s.kind)).toEqual([
      ...["empty", "random", "random", "random", "greedy", "greedy", "greedy"],
    ]);
    expect(await completeness(model, circuit, { ...options, greedySteps: 3 })).toEqual(got);
    expect((await completeness(model, circuit, { ...options, seed: 6 })).subsets[1]).not.toEqual(
      got.subsets[1],
    );
    let before: readonly number[] = [];
    for (const step of got.subsets.slice(4)) {
      const gaps = await Promise.all(
        nodes.map(async (_, v) => {
          if (before.includes(v)) return -1;
          const K = [...before, v];
          const own = await naive(
            "mean",
            nodes.filter((_, i) => !K.includes(i)),
          );
          const whole = await naive(
            "mean",
            nodes.filter((_, i) => K.includes(i)),
            false,
          );
          return Math.abs(own - whole);
        }),
      );
      expect(step.gap).toBe(Math.max(...gaps));
      expect(step.nodes).toEqual([...before, gaps.indexOf(step.gap)].sort((a, b) => a - b));
      before = step.nodes;
    }
    expect(got.maxGap).toBe(Math.max(...got.subsets.map((s) => s.gap)));
    const few = await completeness(model, circuit, { ...options, nSubsets: 0, nCandidates: 1 });
    expect(few.subsets.at(-1)!.nodes).toEqual([0, 1, 2, 3, 4]);
  });

  test("minimality over all subsets is the true maximum", async () => {
    const circuit = circuitOf(model, nodes.slice(0, 3));
    const options = { tokens, metric, reference, hooks: [z(0), z(1)] };
    const subsets = Array.from({ length: 8 }, (_, bits) =>
      [0, 1, 2].filter((i) => (bits >> i) % 2 === 1),
    );
    const got = await minimality(model, circuit, { ...options, subsets, nSubsets: 0 });
    const F = async (some: readonly number[]) =>
      (
        await faithfulness(
          model,
          circuitOf(
            model,
            some.map((i) => nodes[i]!),
          ),
          options,
        )
      ).circuit;
    const { model: whole } = await faithfulness(model, circuit, options);
    for (const { node, score, subset, relative } of got) {
      const scores = await Promise.all(
        subsets.map(async (K) => {
          const left = [0, 1, 2].filter((i) => !K.includes(i));
          return Math.abs((await F(left.filter((i) => i !== node))) - (await F(left)));
        }),
      );
      expect(score).toBe(Math.max(...scores));
      expect(subset).not.toContain(node);
      expect(relative).toBe(score / Math.abs(whole));
    }
    expect(got.map((g) => g.node)).toEqual([0, 1, 2]);
    const random = await minimality(model, circuit, { ...options, seed: 2 });
    random.forEach(({ score }, i) => {
      expect(score).toBeLessThanOrEqual(got[i]!.score);
    });
  });

  test("prompts of several lengths: one mean for all positions; the same as each prompt alone", async () => {
    const uneven = [
      [5, 9, 7, 3, 2],
      [6, 1, 7],
    ];
    const position = uneven.map((row) => row.length - 1);
    const at = logitDiff({ tokens: 11, incorrectTokens: 12, position });
    const circuit = circuitOf(model, [
      { hook: z(0), head: 1 },
      { hook: mlp(1), positions: [2] },
    ]);
    const both = await faithfulness(model, circuit, { tokens: uneven, metric: at, reference });
    const alone = await Promise.all(
      uneven.map((row, i) =>
        faithfulness(model, circuit, {
          ...{ tokens: [row], reference, perPosition: false },
          metric: logitDiff({ tokens: 11, incorrectTokens: 12, position: position[i]! }),
        }),
      ),
    );
    for (const key of ["model", "circuit", "empty"] as const) {
      expect(both[key]).toBeCloseTo((alone[0]![key] + alone[1]![key]) / 2, 5);
    }
  });
});

describe("long work and wrong input", () => {
  let model: HookedModel;
  let circuit: Circuit;
  beforeAll(async () => {
    model = await HookedModel.fromPretrained(fixture("gpt2"), { threads: 1, verify: "none" });
    circuit = circuitOf(model, [
      { hook: z(0), head: 1 },
      { hook: z(1), head: 2 },
    ]);
  });
  afterAll(() => model.dispose());

  test("reports progress, and stops between two runs", async () => {
    const seen: number[] = [];
    await completeness(model, circuit, {
      ...{ tokens, metric, nSubsets: 2 },
      onProgress: ({ done, total }) => seen.push(done / total),
    });
    // 1 empty, 2 random, then 2 and 1 nodes tried.
    expect(seen).toEqual([1, 3, 5, 6].map((n) => n / 6));
    const stop = new AbortController();
    const stopped = minimality(model, circuit, {
      ...{ tokens, metric, signal: stop.signal },
      onProgress: () => stop.abort(),
    });
    await expect(stopped).rejects.toThrow(InterruptedError);
  });

  test("circuits, prompts and options that do not fit are refused", async () => {
    const measure = (more: object, own: Circuit = circuit) =>
      faithfulness(model, own, { tokens, metric, ...more });
    const of = (node: CircuitNode) => circuitOf(model, [node]);
    const other = { ...circuit, model: { name: "other", sha256: "0".repeat(64) } };
    await expect(measure({}, other)).rejects.toThrow(DataError);
    await expect(measure({ allowOtherModel: true }, other)).resolves.toMatchObject({});
    await expect(measure({}, of({ hook: z(7), head: 0 }))).rejects.toThrow(HookPointError);
    await expect(measure({}, of({ hook: z(0), head: 3 }))).rejects.toThrow(
      /a head within 0..2 at blocks.0.attn.hook_z, got 3/,
    );
    await expect(measure({}, of({ hook: z(0), head: undefined } as never))).rejects.toThrow(
      /head of the node at blocks.0.attn.hook_z to be left out or given/,
    );
    await expect(measure({}, of({ hook: mlp(0), head: 0 }))).rejects.toThrow(ArgumentError);
    await expect(measure({}, of({ hook: mlp(0), units: [24] }))).rejects.toThrow(/units within/);
    await expect(measure({}, of({ hook: mlp(0), positions: [4] }))).rejects.toThrow(/0..3/);
    await expect(measure({}, of({ hook: "blocks.0.attn.hook_pattern" }))).rejects.toThrow(
      /axes batch, pos and units/,
    );
    await expect(measure({}, circuitOf(model, []))).rejects.toThrow(/nodes, or hooks, got neither/);
    await expect(measure({ hooks: [mlp(0)] })).rejects.toThrow(/hook points that are knocked out/);
    const twins = { hooks: ["blocks.0.hook_resid_post", "blocks.1.hook_resid_pre"] };
    await expect(measure(twins, circuitOf(model, []))).rejects.toThrow(/which are the same/);
    await expect(measure({ tokens: [] })).rejects.toThrow(/expected prompts, got none/);
    await expect(measure({ method: "noise" })).rejects.toThrow(/mean, zero or resample/);
    await expect(measure({ method: "resample" })).rejects.toThrow(DataError);
    const short = {
      method: "resample",
      reference: [
        [1, 2],
        [3, 4],
      ],
    };
    await expect(measure(short)).rejects.toThrow(/reference row of its length/);
    await expect(measure({ reference: [[1, 2]], perPosition: true })).rejects.toThrow(DataError);
    await expect(measure({ batchSize: -1 })).rejects.toThrow(ArgumentError);
    const all = { tokens, metric };
    await expect(completeness(model, circuit, { ...all, nSubsets: 0.5 })).rejects.toThrow(
      ArgumentError,
    );
    await expect(minimality(model, circuit, { ...all, subsets: [[2]] })).rejects.toThrow(
      /subsets of nodes 0..1, got 2/,
    );
  });

  test("random subsets take each node half of the time", async () => {
    const many = circuitOf(
      model,
      Array.from({ length: 24 }, (_, unit) => ({ hook: mlp(0), units: [unit] })),
    );
    const { subsets } = await completeness(model, many, {
      ...{
        tokens: [tokens[0]!],
        metric,
        nSubsets: 40,
        greedySteps: 0,
        seed: createRng(1).below(99),
      },
    });
    const drawn = subsets.filter((s) => s.kind === "random").map((s) => s.nodes.length);
    const mean = drawn.reduce((a, b) => a + b, 0) / 40;
    expect(Math.abs(mean - 12)).toBeLessThan(2);
    expect(new Set(drawn).size).toBeGreaterThan(3);
  });
});
