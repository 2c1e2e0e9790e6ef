import { fileURLToPath } from "node:url";
import { ArgumentError, DataError, HookPointError, InterruptedError } from "@penfield/core";
import { HookedModel, type Intervention, logitDiff } from "@penfield/hooks";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type AblateOptions, ablate, resampleRows } from "./index.ts";

const fixture = (name: string): string =>
  fileURLToPath(new URL(`../../../test/fixtures/${name}`, import.meta.url));
const prompts = [
  [5, 9, 7, 3],
  [2, 4, 6, 8],
  [11, 12, 13, 14],
];
const reference = [
  [1, 2, 3, 4],
  [7, 7, 9, 9],
  [8, 6, 4, 2],
];
const metric = logitDiff({ tokens: 11, incorrectTokens: 12 });

describe.each(["gpt2", "llama"])("ablate: %s", (name) => {
  let model: HookedModel;
  const hook = "blocks.0.attn.hook_z";
  beforeAll(async () => {
    model = await HookedModel.fromPretrained(fixture(name), { verify: "none", threads: 1 });
  });
  afterAll(() => model.dispose());
  const run = (more: Partial<AblateOptions>) => ablate(model, prompts, { hook, metric, ...more });
  const alone = async (prompt: number, interventions: Intervention[]): Promise<number> => {
    const logits = await model.runWithInterventions([prompts[prompt]!], interventions);
    return metric(logits, [{ row: 0, prompt }])[0]!;
  };

  test("zero: equals each prompt alone, bit for bit, whatever the batch", async () => {
    const got = await run({ heads: [1], positions: [2, 3] });
    for (const p of [0, 1, 2]) {
      expect(got.baseline[p]).toBe(await alone(p, []));
      const op = { type: "zero" } as const;
      const want = await alone(p, [{ hook, op, heads: [1], positions: [2, 3] }]);
      expect(got.ablated[p]).toBe(want);
      expect(got.effects[p]).toBe(got.ablated[p]! - got.baseline[p]!);
      expect(got.effects[p]).not.toBe(0);
    }
    expect(await run({ heads: [1], positions: [2, 3], batchSize: 2 })).toEqual(got);
  });

  test("mean over the reference, per position and over all", async () => {
    const { data, shape } = (await model.run({ tokens: reference, capture: [hook] })).cache.get(
      hook,
    )!;
    const [nRows, length, width] = shape as [number, number, number];
    const mean = (p: number, u: number): number => {
      let sum = 0;
      for (let r = 0; r < nRows; r++) sum += data[(r * length + p) * width + u]!;
      return sum / nRows;
    };
    const units = [0, 3, 9];
    const each = await run({ units, method: "mean", reference });
    const all = await run({ units, method: "mean", reference, perPosition: false });
    const some = await run({ units, method: "mean", reference, positions: [1] });
    const set = (u: number, p: number | undefined): Intervention => {
      const whole = [0, 1, 2, 3].reduce((sum, q) => sum + mean(q, u), 0) / 4;
      const value = p === undefined ? whole : mean(p, u);
      return {
        ...{ hook, units: [u], op: { type: "constant", value } },
        ...(p === undefined ? {} : { positions: [p] }),
      };
    };
    const places = units.flatMap((u) => [0, 1, 2, 3].map((p) => set(u, p)));
    expect(each.ablated[1]).toBeCloseTo(await alone(1, places), 6);
    expect(all.ablated[1]).toBeCloseTo(
      await alone(
        1,
        units.map((u) => set(u, undefined)),
      ),
      6,
    );
    expect(some.ablated[1]).toBeCloseTo(
      await alone(
        1,
        units.map((u) => set(u, 1)),
      ),
      6,
    );
    expect(each.ablated[1]).not.toBe(all.ablated[1]);
    // A prompt that is its own reference stays as it is.
    const own = await ablate(model, [prompts[0]!], { hook, metric, method: "mean" });
    expect(own.effects[0]).toBe(0);
  });

  test("resample: the reference row's values, or another prompt's", async () => {
    const swapped = async (prompt: number, row: readonly number[]): Promise<number> => {
      const logits = await model.runWithInterventions(
        [prompts[prompt]!, row],
        [{ hook, op: { type: "patch", source: [1, 1] }, rows: [0] }],
      );
      return metric(logits, [{ row: 0, prompt }])[0]!;
    };
    const given = await run({ method: "resample", reference, batchSize: 2 });
    const drawn = await run({ method: "resample", seed: 4 });
    const rows = resampleRows(3, 4);
    for (const p of [0, 1, 2]) {
      expect(given.ablated[p]).toBe(await swapped(p, reference[p]!));
      expect(drawn.ablated[p]).toBe(await swapped(p, prompts[rows[p]!]!));
    }
    const same = await run({ method: "resample", reference: prompts });
    expect([...same.effects]).toEqual([0, 0, 0]);
  });

  test("noise: seeded, whatever the batch; without deviation nothing changes", async () => {
    const noise = (seed: number, standardDeviation: number, batchSize = 32) =>
      run({ method: "noise", seed, standardDeviation, batchSize });
    const got = await noise(1, 0.5);
    expect(await noise(1, 0.5, 1)).toEqual(got);
    expect((await noise(2, 0.5)).ablated).not.toEqual(got.ablated);
    expect(new Set(got.effects).size).toBe(3);
    expect([...(await noise(1, 0)).effects]).toEqual([0, 0, 0]);
  });

  test("all attention on the first token", async () => {
    const pattern = "blocks.1.attn.hook_pattern";
    const got = await run({ hook: pattern, heads: [0], method: "attendFirst" });
    const op = { type: "attendFirst" } as const;
    expect(got.ablated[2]).toBe(await alone(2, [{ hook: pattern, op, heads: [0] }]));
    expect(got.effects[2]).not.toBe(0);
  });

  test("prompts of several lengths, with the metric's place for each", async () => {
    const uneven = [
      [5, 9, 7, 3],
      [2, 4],
    ];
    const at = logitDiff({ tokens: 11, incorrectTokens: 12, position: [3, 1] });
    const got = await ablate(model, uneven, { hook, metric: at, method: "mean", reference });
    const short = await ablate(model, [uneven[1]!], {
      ...{ hook, metric, method: "mean", reference, perPosition: false },
    });
    expect(got.effects[1]).toBeCloseTo(short.effects[0]!, 5);
  });
});

describe("ablate", () => {
  let model: HookedModel;
  const hook = "blocks.1.hook_mlp_out";
  beforeAll(async () => {
    model = await HookedModel.fromPretrained(fixture("gpt2"), { verify: "none", threads: 1 });
  });
  afterAll(() => model.dispose());

  test("what does not fit is refused", async () => {
    const run = (more: object, tokens: number[][] = prompts) =>
      ablate(model, tokens, { hook, metric, ...more });
    await expect(run({}, [])).rejects.toThrow(DataError);
    await expect(run({ hook: "blocks.9.hook_mlp_out" })).rejects.toThrow(HookPointError);
    await expect(run({ units: [99] })).rejects.toThrow(ArgumentError);
    await expect(run({ method: "median" })).rejects.toThrow(/zero, mean, resample, noise or/);
    await expect(run({ method: "noise" })).rejects.toThrow(/standardDeviation of at least 0/);
    await expect(run({ method: "noise", standardDeviation: Number.NaN })).rejects.toThrow(
      ArgumentError,
    );
    await expect(run({ method: "resample", reference: [[1, 2]] })).rejects.toThrow(
      /got 2 tokens for the 4 of prompt 0/,
    );
    const four = [...reference, [1, 2, 3, 4]];
    await expect(run({ method: "resample", reference: four })).rejects.toThrow(/got 4 rows/);
    await expect(run({ method: "resample" }, [prompts[0]!])).rejects.toThrow(/at least 2 rows/);
    const short = { method: "mean", reference: [[1, 2]], perPosition: true };
    await expect(run(short)).rejects.toThrow(/lengths 4, 2/);
    await expect(run({ batchSize: 0 })).rejects.toThrow(/at least 1 prompt, got 0/);
    await expect(run({ signal: AbortSignal.abort() })).rejects.toThrow(InterruptedError);
  });

  test("progress counts texts", async () => {
    const seen: number[] = [];
    await ablate(model, prompts, {
      ...{ hook, metric, batchSize: 2 },
      onProgress: ({ done, total }) => seen.push(done / total),
    });
    expect(seen).toEqual([2 / 3, 1]);
  });

  test("rows to resample from: never the own one, each once, seeded", () => {
    for (let seed = 0; seed < 20; seed++) {
      const rows = resampleRows(7, seed);
      expect(rows).toEqual(resampleRows(7, seed));
      expect(new Set(rows).size).toBe(7);
      rows.forEach((from, row) => {
        expect(from).not.toBe(row);
      });
    }
    expect([...resampleRows(2, 5)]).toEqual([1, 0]);
    expect(() => resampleRows(1, 0)).toThrow(DataError);
  });
});
