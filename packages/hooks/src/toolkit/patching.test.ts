import { fileURLToPath } from "node:url";
import {
  ArgumentError,
  DataError,
  HookPointError,
  InterruptedError,
  type Progress,
} from "@penfield/core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  genericActivationPatch,
  getActPatchAttnHeadAllPosEvery,
  getActPatchAttnHeadByPosEvery,
  getActPatchAttnHeadKAllPos,
  getActPatchAttnHeadKByPos,
  getActPatchAttnHeadOutAllPos,
  getActPatchAttnHeadOutByPos,
  getActPatchAttnHeadPatternAllPos,
  getActPatchAttnHeadPatternByPos,
  getActPatchAttnHeadPatternDestSrcPos,
  getActPatchAttnHeadQAllPos,
  getActPatchAttnHeadQByPos,
  getActPatchAttnHeadVAllPos,
  getActPatchAttnHeadVByPos,
  getActPatchAttnOut,
  getActPatchBlockEvery,
  getActPatchMlpOut,
  getActPatchResidMid,
  getActPatchResidPre,
  HookedModel,
  type Intervention,
  logitDiff,
} from "../index.ts";
import { oneHeadModel } from "./testOneHead.ts";

const fixture = (name: string): string =>
  fileURLToPath(new URL(`../../../../test/fixtures/${name}`, import.meta.url));
// The prompts differ at position 1 only.
const clean = [[5, 9, 7, 3]];
const corrupted = [[5, 20, 7, 3]];
const metric = logitDiff({ tokens: 11, incorrectTokens: 12 });

describe.each(["gpt2", "llama", "neox", "gemma2"])("sweeps: %s", (name) => {
  let model: HookedModel;
  beforeAll(async () => {
    model = await HookedModel.fromPretrained(fixture(name), { threads: 1, verify: "none" });
  });
  afterAll(() => model.dispose());

  /** One place at a time, with the public functions. */
  const alone = async (place: Omit<Intervention, "op" | "rows">): Promise<number> => {
    const logits = await model.runWithInterventions(
      [...clean, ...corrupted],
      [{ ...place, op: { type: "patch", source: [0, 0] }, rows: [1] }],
    );
    return metric(logits, [{ row: 1, prompt: 0 }])[0]!;
  };

  test("by position: equal to one run per place, bit for bit, whatever the batch", async () => {
    for (const [sweep, kind] of [
      [getActPatchResidPre, "hook_resid_pre"],
      [getActPatchAttnOut, "hook_attn_out"],
      [getActPatchMlpOut, "hook_mlp_out"],
    ] as const) {
      const got = await sweep(model, { clean, corrupted, metric });
      expect(got.shape).toEqual([2, 4]);
      const want: number[] = [];
      for (const layer of [0, 1])
        for (const pos of [0, 1, 2, 3])
          want.push(await alone({ hook: `blocks.${layer}.${kind}`, positions: [pos] }));
      expect([...got.values], kind).toEqual(want);
      const few = await sweep(model, { clean, corrupted, metric, batchSize: 4 });
      expect(few.values).toEqual(got.values);
    }
  });

  test("by head: all positions, and each", async () => {
    const nHeads = model.cfg.nHeads!;
    const all = await getActPatchAttnHeadOutAllPos(model, { clean, corrupted, metric });
    const each = await getActPatchAttnHeadOutByPos(model, { clean, corrupted, metric });
    expect([all.shape, each.shape]).toEqual([
      [2, nHeads],
      [2, 4, nHeads],
    ]);
    const hook = "blocks.1.attn.hook_z";
    expect(all.values[nHeads + 1]).toBe(await alone({ hook, heads: [1] }));
    expect(each.values[(4 + 3) * nHeads + 2]).toBe(
      await alone({ hook, heads: [2], positions: [3] }),
    );
  });

  test("queries, keys, values and patterns by head", async () => {
    for (const activation of ["q", "k", "v", "pattern"]) {
      const axes = ["layer", "head_index"] as const;
      const got = await genericActivationPatch(model, {
        clean,
        corrupted,
        metric,
        activation,
        axes,
      });
      const { nHeads, nKeyValueHeads } = model.cfg;
      expect(got.shape).toEqual([2, "kv".includes(activation) ? nKeyValueHeads : nHeads]);
      const hook = `blocks.0.attn.hook_${activation}`;
      expect(got.values[1]).toBe(await alone({ hook, heads: [1] }));
    }
  });

  test("queries, keys, values: all positions, and each; keys and values as many as the model has", async () => {
    for (const [activation, allPos, byPos] of [
      ["q", getActPatchAttnHeadQAllPos, getActPatchAttnHeadQByPos],
      ["k", getActPatchAttnHeadKAllPos, getActPatchAttnHeadKByPos],
      ["v", getActPatchAttnHeadVAllPos, getActPatchAttnHeadVByPos],
    ] as const) {
      const n = activation === "q" ? model.cfg.nHeads! : model.cfg.nKeyValueHeads!;
      const all = await allPos(model, { clean, corrupted, metric });
      const each = await byPos(model, { clean, corrupted, metric, batchSize: 9 });
      expect([all.shape, each.shape]).toEqual([
        [2, n],
        [2, 4, n],
      ]);
      for (const [layer, pos, head] of [
        [0, 1, 0],
        [1, 3, n - 1],
      ] as const) {
        const hook = `blocks.${layer}.attn.hook_${activation}`;
        expect(all.values[layer * n + head]).toBe(await alone({ hook, heads: [head] }));
        const want = await alone({ hook, heads: [head], positions: [pos] });
        expect(each.values[(layer * 4 + pos) * n + head]).toBe(want);
      }
    }
  });

  test("patterns: whole, by destination, and each entry", async () => {
    const n = model.cfg.nHeads!;
    const hook = "blocks.1.attn.hook_pattern";
    const whole = await getActPatchAttnHeadPatternAllPos(model, { clean, corrupted, metric });
    expect([whole.axes, whole.shape]).toEqual([
      ["layer", "head_index"],
      [2, n],
    ]);
    expect(whole.values[n + 1]).toBe(await alone({ hook, heads: [1] }));
    const rows = await getActPatchAttnHeadPatternByPos(model, { clean, corrupted, metric });
    expect(rows.shape).toEqual([2, n, 4]);
    expect(rows.values[(n + 1) * 4 + 3]).toBe(await alone({ hook, heads: [1], positions: [3] }));
    const entries = await getActPatchAttnHeadPatternDestSrcPos(model, {
      ...{ clean, corrupted, metric, batchSize: 50 },
    });
    expect(entries.shape).toEqual([2, n, 4, 4]);
    const at = (dest: number, src: number) => entries.values[((n + 1) * 4 + dest) * 4 + src];
    for (const [dest, src] of [
      [3, 0],
      [3, 1],
      [1, 1],
    ] as const) {
      expect(at(dest, src)).toBe(
        await alone({ hook, heads: [1], positions: [dest], units: [src] }),
      );
    }
    // Later sources carry no weight in either prompt.
    expect(at(1, 3)).toBe(entries.corrupted);
    const axes = ["layer", "head_index", "pos"] as const;
    const same = await genericActivationPatch(model, {
      ...{ clean, corrupted, metric, activation: "pattern", axes },
    });
    expect(same.values).toEqual(rows.values);
  });

  test("stacks of sweeps are the sweeps", async () => {
    const options = { clean, corrupted, metric };
    const blocks = await getActPatchBlockEvery(model, options);
    expect(blocks).toMatchObject({
      axes: ["component", "layer", "pos"],
      shape: [3, 2, 4],
      labels: ["resid_pre", "attn_out", "mlp_out"],
    });
    const parts = await Promise.all(
      [getActPatchResidPre, getActPatchAttnOut, getActPatchMlpOut].map((f) => f(model, options)),
    );
    expect([...blocks.values]).toEqual(parts.flatMap((part) => [...part.values]));
    expect([...blocks.normalized]).toEqual(parts.flatMap((part) => [...part.normalized]));
    const { nHeads = 0, nKeyValueHeads = 0 } = model.cfg;
    const heads = await getActPatchAttnHeadAllPosEvery(model, options);
    expect(heads.shape).toEqual([5, 2, nHeads]);
    expect(heads.labels).toEqual(["z", "q", "k", "v", "pattern"]);
    const keys = await getActPatchAttnHeadKAllPos(model, options);
    const patterns = await getActPatchAttnHeadPatternAllPos(model, options);
    const size = 2 * nHeads;
    for (const layer of [0, 1]) {
      const column = (head: number) => heads.values[2 * size + layer * nHeads + head];
      for (let head = 0; head < nHeads; head++) {
        const want =
          head < nKeyValueHeads ? keys.values[layer * nKeyValueHeads + head] : Number.NaN;
        expect(column(head)).toBe(want);
      }
    }
    expect(heads.values.slice(4 * size)).toEqual(patterns.values);
    const places = await getActPatchAttnHeadByPosEvery(model, options);
    expect(places.shape).toEqual([5, 2, 4, nHeads]);
    const byPos = await getActPatchAttnHeadVByPos(model, options);
    expect(places.values[3 * 8 * nHeads + 5 * nHeads + 1]).toBe(
      byPos.values[5 * nKeyValueHeads + 1],
    );
    const rows = await getActPatchAttnHeadPatternByPos(model, options);
    // By destination here, by head there: layer 1, head 1, position 2.
    expect(places.values[4 * 8 * nHeads + (4 + 2) * nHeads + 1]).toBe(
      rows.values[(nHeads + 1) * 4 + 2],
    );
  });

  test("patching what differs gives the clean run; patching what does not, the corrupted one", async () => {
    const got = await getActPatchResidPre(model, { clean, corrupted, metric });
    const [first, second, third, fourth] = got.normalized;
    expect([second, first, third, fourth]).toEqual([1, 0, 0, 0]);
    expect(got.values[1]).toBe(got.clean);
    expect(got.values[0]).toBe(got.corrupted);
    const noising = await getActPatchResidPre(model, {
      clean,
      corrupted,
      metric,
      direction: "noising",
    });
    expect([noising.clean, noising.corrupted]).toEqual([got.clean, got.corrupted]);
    expect([...noising.normalized.subarray(0, 4)]).toEqual([1, 0, 1, 1]);
  });

  test("several prompts: the mean of the prompts by themselves", async () => {
    const more = { clean: [...clean, [5, 30, 7, 3]], corrupted: [...corrupted, [5, 31, 7, 3]] };
    const both = await getActPatchResidPre(model, { ...more, metric });
    const first = await getActPatchResidPre(model, { clean, corrupted, metric });
    const second = await getActPatchResidPre(model, {
      clean: more.clean.slice(1),
      corrupted: more.corrupted.slice(1),
      metric,
    });
    // More prompts than fit beside each other: in parts.
    const parts = await getActPatchResidPre(model, { ...more, metric, batchSize: 9 });
    expect(parts).toEqual(both);
    both.values.forEach((v, i) => {
      expect(v).toBe((first.values[i]! + second.values[i]!) / 2);
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
    const seen: Progress[] = [];
    await getActPatchResidMid(model, {
      clean,
      corrupted,
      metric,
      batchSize: 4,
      onProgress: (p) => seen.push(p),
    });
    expect(seen.map((p) => p.done)).toEqual([3, 6, 8]);
    expect(seen[0]).toEqual({ stage: "patching resid_mid", done: 3, total: 8, unit: "places" });
    const stop = new AbortController();
    const stopped = getActPatchResidMid(model, {
      clean,
      corrupted,
      metric,
      batchSize: 4,
      signal: stop.signal,
      onProgress: () => stop.abort(),
    });
    await expect(stopped).rejects.toThrow(InterruptedError);
  });

  test("patterns without an axis of heads: why they cannot be patched, before the first run", async () => {
    const headless = await HookedModel.fromBytes(oneHeadModel(24), { threads: 1, verify: "none" });
    const seen: Progress[] = [];
    const options = { clean, corrupted, metric, onProgress: (p: Progress) => seen.push(p) };
    const pattern = genericActivationPatch(headless, {
      ...{ ...options, activation: "pattern", axes: ["layer", "pos"] },
    });
    await expect(pattern).rejects.toThrow(HookPointError);
    await expect(pattern).rejects.toThrow(
      /expected a writable hook point, got blocks.0.attn.hook_pattern: .*axes of their own/,
    );
    await expect(getActPatchAttnHeadAllPosEvery(headless, options)).rejects.toThrow(HookPointError);
    expect(seen).toEqual([]);
    await headless.dispose();
  });

  test("prompts that do not correspond, axes and activations that are not there", async () => {
    const sweep = (more: object) =>
      genericActivationPatch(model, {
        ...{ clean, corrupted, metric, activation: "resid_pre", axes: ["layer", "pos"] },
        ...more,
      });
    await expect(sweep({ corrupted: [[5, 20, 7]] })).rejects.toThrow(DataError);
    await expect(sweep({ corrupted: [] })).rejects.toThrow(/0 corrupted/);
    await expect(sweep({ axes: ["layer", "head_index"] })).rejects.toThrow(
      /got head_index at resid_pre/,
    );
    await expect(sweep({ axes: ["pos", "layer"] })).rejects.toThrow(ArgumentError);
    await expect(sweep({ axes: ["layer", "src_pos"] })).rejects.toThrow(/got src_pos at resid_pre/);
    const pattern = { activation: "pattern", axes: ["layer", "pos", "dest_pos"] };
    await expect(sweep(pattern)).rejects.toThrow(/do not repeat/);
    await expect(sweep({ axes: ["layer", "layer"] })).rejects.toThrow(/do not repeat/);
    await expect(sweep({ activation: "pre_linear" })).rejects.toThrow(HookPointError);
    await expect(sweep({ direction: "both" })).rejects.toThrow(/denoising or noising/);
    await expect(sweep({ batchSize: 0 })).rejects.toThrow(ArgumentError);
    const parallel = await HookedModel.fromPretrained(fixture("neox"), {
      threads: 1,
      verify: "none",
    });
    await expect(getActPatchResidMid(parallel, { clean, corrupted, metric })).rejects.toThrow(
      HookPointError,
    );
    await parallel.dispose();
  });
});
