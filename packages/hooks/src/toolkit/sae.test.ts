import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  ArgumentError,
  FileError,
  FormatError,
  HookPointError,
  ModelError,
  ShapeError,
  writeSafetensors,
} from "@penfield/core";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { directLogitAttribution, HookedModel, type HookValues } from "../index.ts";
import {
  featureLogitAttribution,
  loadSae,
  runWithSae,
  Sae,
  type SaeConfig,
  type SaeWeights,
} from "./sae.ts";

const fixture = (name: string): string =>
  fileURLToPath(new URL(`../../../../test/fixtures/${name}`, import.meta.url));
const D = 24;
const TOKENS = [
  [5, 9, 7, 3, 11],
  [2, 4, 6],
];
const bits = (x: Float32Array) => Buffer.from(x.buffer, x.byteOffset, x.byteLength);
const difference = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  expect(a.length).toBe(b.length);
  return Array.from(a).reduce((max, v, i) => Math.max(max, Math.abs(v - b[i]!)), 0);
};
const numbers = (n: number, seed: number, scale = 1): Float32Array => {
  let state = seed * 48271 + 7;
  return Float32Array.from({ length: n }, () => {
    state = (state * 16807 + 11) % 2147483647;
    return scale * (state / 1073741823.5 - 1);
  });
};
const config = (more: Partial<SaeConfig> = {}): SaeConfig => ({
  architecture: "standard",
  dIn: 2,
  dSae: 3,
  dOut: 2,
  hookName: undefined,
  hookNameOut: undefined,
  applyBDecToInput: false,
  centerInput: false,
  k: undefined,
  modelName: undefined,
  ...more,
});
const made: Sae[] = [];
const saeOf = (cfg: SaeConfig, weights: SaeWeights): Sae => {
  const sae = new Sae(cfg, weights);
  made.push(sae);
  return sae;
};
afterEach(async () => {
  for (const sae of made.splice(0)) await sae.dispose();
});

describe("encoding and decoding by hand", () => {
  // p = x W_enc + b_enc for x = (1, 2): (1, 2, 3) + (0, 0.5, -4) = (1, 2.5, -1)
  const weights: SaeWeights = {
    W_enc: Float32Array.of(1, 0, 1, 0, 1, 1),
    b_enc: Float32Array.of(0, 0.5, -4),
    W_dec: Float32Array.of(1, 0, 0, 2, 5, 5),
    b_dec: Float32Array.of(10, 20),
  };
  const x: HookValues = { data: Float32Array.of(1, 2), shape: [1, 1, 2] };
  const features = async (cfg: Partial<SaeConfig>, more: Partial<SaeWeights> = {}) => {
    const found = await saeOf(config(cfg), { ...weights, ...more }).encode(x);
    expect(found.shape).toEqual([1, 1, 3]);
    return [...found.data];
  };

  test("standard, and with the decoder's bias taken off first", async () => {
    expect(await features({})).toEqual([1, 2.5, 0]);
    // s = (-9, -18)
    expect(await features({ applyBDecToInput: true })).toEqual([0, 0, 0]);
    const b_dec = Float32Array.of(-1, 0);
    expect(await features({ applyBDecToInput: true }, { b_dec })).toEqual([2, 2.5, 0]);
  });

  test("topk keeps the largest, of equal ones the first, and nothing below 0", async () => {
    expect(await features({ architecture: "topk", k: 1 })).toEqual([0, 2.5, 0]);
    expect(await features({ architecture: "topk", k: 3 })).toEqual([1, 2.5, 0]);
    const b_enc = Float32Array.of(1.5, 0.5, -0.5);
    expect(await features({ architecture: "topk", k: 2 }, { b_enc })).toEqual([2.5, 2.5, 0]);
  });

  test("jumprelu: above the threshold, not at it; below 0 never", async () => {
    const jump = { architecture: "jumprelu" } as const;
    expect(await features(jump, { threshold: Float32Array.of(1, 2, -9) })).toEqual([0, 2.5, 0]);
    expect(await features(jump, { threshold: Float32Array.of(0.5, 2.5, 0) })).toEqual([1, 0, 0]);
    // Not a jumprelu: an array that happens to be there means nothing.
    expect(await features({}, { threshold: Float32Array.of(9, 9, 9) })).toEqual([1, 2.5, 0]);
  });

  test("gated: one bias decides, the other one and a scale say how much", async () => {
    const found = await features(
      { architecture: "gated" },
      {
        b_enc: undefined,
        b_gate: Float32Array.of(-1, 0, 0),
        b_mag: Float32Array.of(0, -1, -9),
        r_mag: Float32Array.of(0, Math.log(3), 0),
      },
    );
    // Gates: 0 (closed), 2, 3; magnitudes: -, 2 * 3 - 1, 3 - 9 < 0.
    expect(found[0]).toBe(0);
    expect(found[1]).toBeCloseTo(5, 5);
    expect(found[2]).toBe(0);
  });

  test("decoding, directions, and a transcoder with a skip", async () => {
    const sae = saeOf(config(), weights);
    const decoded = await sae.decode({ data: Float32Array.of(1, 2.5, 0), shape: [1, 1, 3] });
    expect([...decoded.data]).toEqual([11, 25]);
    expect([...(await sae.reconstruct(x)).data]).toEqual([11, 25]);
    expect([...sae.direction(2)]).toEqual([5, 5]);
    expect(() => sae.direction(3)).toThrow(/features within 0..2, got 3/);
    const skip = saeOf(config({ architecture: "skip_transcoder" }), {
      ...weights,
      // y = W_skip x: (2 * 1 + 0 * 2, 1 + 1 * 2)
      W_skip: Float32Array.of(2, 0, 1, 1),
    });
    expect([...(await skip.reconstruct(x)).data]).toEqual([13, 28]);
    await expect(sae.encode({ data: new Float32Array(3), shape: [1, 3] })).rejects.toThrow(
      /expected values of d_in = 2 on the last axis, got \[1, 3\]/,
    );
    await expect(sae.decode(x)).rejects.toThrow(ShapeError);
  });

  test("features that were planted are found, in all architectures", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(1000), async (seed) => {
        // An orthonormal dictionary from the eigenvectors of a symmetric matrix.
        const { symmetricEigen, matrix } = await import("@penfield/linalg");
        const a = numbers(D * D, seed);
        const gram = Float64Array.from(a, (_, i) => a[i]! + a[(i % D) * D + Math.floor(i / D)]!);
        const rows = Float32Array.from(symmetricEigen(matrix(gram, D, D)).vectors.data);
        const columns = rows.map((_, i) => rows[(i % D) * D + Math.floor(i / D)]!);
        const b_dec = numbers(D, seed + 1);
        const nTokens = 5;
        const planted = new Float32Array(nTokens * D);
        for (let t = 0; t < nTokens; t++)
          for (let i = 0; i < 3; i++) planted[t * D + ((seed + 5 * t + 7 * i) % D)] = 1 + i + t;
        const x = new Float32Array(nTokens * D);
        for (let t = 0; t < nTokens; t++)
          for (let f = 0; f < D; f++)
            for (let i = 0; i < D; i++) x[t * D + i]! += planted[t * D + f]! * rows[f * D + i]!;
        for (let i = 0; i < x.length; i++) x[i]! += b_dec[i % D]!;
        const zeros = new Float32Array(D);
        const common = { W_enc: columns, W_dec: rows, b_dec, b_enc: zeros };
        const kinds: [Partial<SaeConfig>, Partial<SaeWeights>][] = [
          [{ architecture: "topk", k: 3 }, {}],
          [{ architecture: "jumprelu" }, { threshold: new Float32Array(D).fill(0.5) }],
          [
            { architecture: "gated" },
            { b_gate: new Float32Array(D).fill(-0.5), b_mag: zeros, r_mag: zeros },
          ],
          [{ architecture: "standard" }, {}],
        ];
        for (const [cfg, more] of kinds) {
          const sae = new Sae(
            config({ dIn: D, dSae: D, dOut: D, applyBDecToInput: true, ...cfg }),
            { ...common, ...more },
          );
          const values = { data: x, shape: [1, nTokens, D] };
          const found = await sae.encode(values);
          expect(difference(found.data, planted)).toBeLessThan(1e-4);
          expect(difference((await sae.reconstruct(values)).data, x)).toBeLessThan(1e-4);
          await sae.dispose();
        }
      }),
      { numRuns: 5 },
    );
  });
});

describe("runs with a dictionary", () => {
  let model: HookedModel;
  beforeAll(async () => {
    model = await HookedModel.fromPretrained(fixture("gpt2"), { threads: 1, verify: "none" });
  });
  afterAll(() => model.dispose());
  const HOOK = "blocks.1.hook_resid_pre";
  const random = (more: Partial<SaeConfig> = {}): Sae => {
    const cfg = config({ dIn: D, dSae: 40, dOut: D, hookName: HOOK, hookNameOut: HOOK, ...more });
    return saeOf(cfg, {
      W_enc: numbers(D * 40, 3),
      b_enc: numbers(40, 4, 0.1),
      W_dec: numbers(40 * D, 5),
      b_dec: numbers(D, 6),
    });
  };

  test("with nothing changed the run is the plain one bit for bit, however bad the dictionary", async () => {
    const { logits } = await model.run({ tokens: TOKENS });
    for (const hookName of [HOOK, "blocks.0.hook_mlp_out", "blocks.1.attn.hook_z"]) {
      const run = await runWithSae(model, TOKENS, random({ hookName }));
      expect(bits(run.logits.data).equals(bits(logits!.data)), hookName).toBe(true);
      expect(run.features.shape).toEqual([2, 5, 40]);
      expect(run.changed).toEqual(run.features);
    }
    // A clamp to the value that is there changes nothing either.
    const sae = random();
    const { features } = await runWithSae(model, TOKENS, sae);
    const clamp = [{ feature: 7, value: features.data[2 * 40 + 7]!, positions: [2] }];
    const one = await runWithSae(model, [TOKENS[0]!], sae, { clamp });
    const plain = await model.run({ tokens: [TOKENS[0]!] });
    expect(bits(one.logits.data).equals(bits(plain.logits!.data))).toBe(true);
  });

  test("half precision: bit-equal too", async () => {
    const half = await HookedModel.fromPretrained(fixture("gpt2"), {
      file: "fp16",
      threads: 1,
      verify: "none",
    });
    const { logits } = await half.run({ tokens: TOKENS });
    const run = await runWithSae(half, TOKENS, random());
    expect(bits(run.logits.data).equals(bits(logits!.data))).toBe(true);
    await half.dispose();
  });

  test("the features are those of the model's values; without the error term they replace them", async () => {
    const sae = random();
    const { cache } = await model.run({ tokens: [TOKENS[0]!], capture: [HOOK] });
    const x = cache.get(HOOK)!;
    const run = await runWithSae(model, [TOKENS[0]!], sae, { useErrorTerm: false });
    expect(run.features).toEqual(await sae.encode(x));
    const values = await sae.reconstruct(x);
    const { logits } = await model.run({ tokens: [TOKENS[0]!], from: { hook: HOOK, values } });
    expect(run.logits.data).toEqual(logits!.data);
  });

  test("ablating a feature takes its activation times its decoder row off", async () => {
    const sae = random();
    const { cache } = await model.run({ tokens: TOKENS, capture: [HOOK] });
    const x = cache.get(HOOK)!;
    const features = await sae.encode(x);
    const active = features.data.findIndex((v) => v > 0) % 40;
    const data = x.data.slice();
    for (let place = 0; place < 10; place++) {
      // The second row has three tokens; padding is left alone.
      if (place >= 8) continue;
      const activation = features.data[place * 40 + active]!;
      for (let i = 0; i < D; i++)
        data[place * D + i] = data[place * D + i]! - activation * sae.direction(active)[i]!;
    }
    const want = await model.run({
      tokens: TOKENS,
      from: { hook: HOOK, values: { data, shape: x.shape } },
    });
    const got = await runWithSae(model, TOKENS, sae, { ablate: [active] });
    expect(difference(got.logits.data, want.logits!.data)).toBe(0);
    expect(got.logits.data).not.toEqual((await model.run({ tokens: TOKENS })).logits!.data);
    expect(got.changed.data.filter((_, i) => i % 40 === active && i < 8 * 40)).toEqual(
      new Float32Array(8),
    );
  });

  test("a clamp at one position leaves what comes before it bit-equal", async () => {
    const sae = random();
    const tokens = [TOKENS[0]!];
    const plain = (await model.run({ tokens })).logits!;
    const { logits, changed } = await runWithSae(model, tokens, sae, {
      ablate: [3],
      clamp: [{ feature: 3, value: 9, positions: [3] }],
    });
    expect(changed.data[3 * 40 + 3]).toBe(9);
    expect(changed.data[2 * 40 + 3]).toBe(0);
    const only = await runWithSae(model, tokens, sae, {
      clamp: [{ feature: 3, value: 9, positions: [3] }],
    });
    const size = plain.shape[2]!;
    expect(only.logits.data.subarray(0, 3 * size)).toEqual(plain.data.subarray(0, 3 * size));
    expect(only.logits.data.subarray(3 * size)).not.toEqual(plain.data.subarray(3 * size));
    expect(logits.data).not.toEqual(plain.data);
  });

  test("a transcoder reads one hook and writes another; a raw tensor can be read", async () => {
    const hooks = {
      architecture: "transcoder",
      hookName: "blocks.0.hook_resid_mid",
      hookNameOut: "blocks.0.hook_mlp_out",
    } as const;
    const sae = random(hooks);
    const plain = (await model.run({ tokens: TOKENS })).logits!;
    const same = await runWithSae(model, TOKENS, sae);
    expect(bits(same.logits.data).equals(bits(plain.data))).toBe(true);
    const hook = model.hookPoint("blocks.0.hook_resid_mid").tensor;
    const raw = await runWithSae(model, TOKENS, sae, { hook });
    expect(raw.features.data).toEqual(same.features.data);
    const replaced = await runWithSae(model, [TOKENS[0]!], sae, { useErrorTerm: false });
    const { cache } = await model.run({ tokens: [TOKENS[0]!], capture: [hooks.hookName] });
    const values = await sae.reconstruct(cache.get(hooks.hookName)!);
    const want = await model.run({
      tokens: [TOKENS[0]!],
      from: { hook: hooks.hookNameOut, values },
    });
    expect(replaced.logits.data).toEqual(want.logits!.data);
  });

  test("shares of features, of the dictionary's bias and of what it leaves add up to the stream's share", async () => {
    const sae = random({
      hookName: "blocks.1.hook_resid_post",
      hookNameOut: "blocks.1.hook_resid_post",
    });
    const answers = { tokens: 11, incorrectTokens: 12 };
    const { values, features } = await featureLogitAttribution(model, TOKENS, sae, answers);
    expect(values.shape).toEqual([2, 40]);
    const { total, labels, values: parts } = await directLogitAttribution(model, TOKENS, answers);
    const { runWithActivationCache } = await import("../index.ts");
    const { cache } = await runWithActivationCache(model, TOKENS);
    for (const [row, ids] of TOKENS.entries()) {
      const { direction } = await cache.logitDirection(row, ids.length - 1, 11, 12);
      const end = cache.get("resid_post", -1);
      const start = (row * 5 + ids.length - 1) * D;
      const x = end.data.slice(start, start + D);
      const recon = await sae.reconstruct({ data: x, shape: [1, D] });
      const dot = (v: ArrayLike<number>) => direction.reduce((sum, d, i) => sum + d * v[i]!, 0);
      const error = x.map((v, i) => v - recon.data[i]!);
      const shares = values.data.subarray(row * 40, (row + 1) * 40).reduce((a, b) => a + b, 0);
      const bias = parts[labels.indexOf("bias") * 2 + row]!;
      expect(
        Math.abs(shares + dot(sae.weights.b_dec) + dot(error) + bias - total[row]!),
      ).toBeLessThan(1e-4 * Math.max(1, Math.abs(total[row]!)));
    }
    expect(features.data.filter((v) => v > 0).length).toBeGreaterThan(5);
    await expect(
      featureLogitAttribution(model, TOKENS, sae, { ...answers, position: 4 }),
    ).rejects.toThrow(/position within 0..2, got 4 for row 1/);
    await expect(
      featureLogitAttribution(model, TOKENS, random({ hookName: "blocks.1.attn.hook_z" }), answers),
    ).rejects.toThrow(HookPointError);
  });

  test("dictionaries of another place or size, and changes that cannot be, are refused", async () => {
    const run = (sae: Sae, options = {}) => runWithSae(model, TOKENS, sae, options);
    await expect(run(random({ hookName: undefined }))).rejects.toThrow(
      /expected a hook, got a dictionary that names none/,
    );
    await expect(run(random({ hookName: "blocks.7.hook_resid_pre" }))).rejects.toThrow(
      HookPointError,
    );
    await expect(run(random({ hookName: "blocks.0.mlp.hook_post" }))).rejects.toThrow(ShapeError);
    await expect(run(random({ hookName: "blocks.0.mlp.hook_post" }))).rejects.toThrow(
      /d_out = 24 at blocks.0.mlp.hook_post, got \[2, 5, 96\]/,
    );
    await expect(run(random({ hookName: "blocks.0.attn.hook_q" }))).rejects.toThrow(ShapeError);
    await expect(run(random(), { ablate: [40] })).rejects.toThrow(/features within 0..39, got 40/);
    await expect(run(random(), { ablate: [-1] })).rejects.toThrow(ArgumentError);
    const clamp = (more: object) => run(random(), { clamp: [{ feature: 1, value: 2, ...more }] });
    await expect(clamp({ positions: [5] })).rejects.toThrow(/positions within 0..4, got 5/);
    await expect(clamp({ value: Number.NaN })).rejects.toThrow(
      /finite value for feature 1, got NaN/,
    );
  });
});

describe("files in SAELens' layout", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "penfield-sae-"));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));
  const tensor = (data: ArrayLike<number>, ...shape: number[]) => ({
    data: Float32Array.from(data),
    shape,
  });
  const tensors = {
    W_enc: tensor([1, 0, 1, 0, 1, 1], 2, 3),
    b_enc: tensor([0, 0.5, -4], 3),
    W_dec: tensor([3, 4, 0, 2, 0, 0], 3, 2),
    b_dec: tensor([10, 20], 2),
  };
  const cfg = {
    architecture: "standard",
    d_in: 2,
    d_sae: 3,
    dtype: "float32",
    apply_b_dec_to_input: false,
    normalize_activations: "none",
    metadata: { hook_name: "blocks.8.hook_resid_pre", hook_head_index: null, model_name: "gpt2" },
  };
  const write = async (config: unknown, arrays: object = tensors): Promise<string> => {
    const at = await mkdtemp(join(folder, "one-"));
    const text = typeof config === "string" ? config : JSON.stringify(config);
    await writeFile(join(at, "cfg.json"), text);
    await writeFile(join(at, "sae_weights.safetensors"), writeSafetensors(arrays as never));
    return at;
  };
  const load = async (config: unknown, arrays?: object): Promise<Sae> => {
    const sae = await loadSae(await write(config, arrays));
    made.push(sae);
    return sae;
  };

  test("a folder, or the weights' file in it", async () => {
    const at = await write(cfg);
    for (const path of [at, join(at, "sae_weights.safetensors")]) {
      const sae = await loadSae(path);
      expect(sae.cfg).toEqual({
        ...{ architecture: "standard", dIn: 2, dSae: 3, dOut: 2, applyBDecToInput: false },
        ...{ hookName: "blocks.8.hook_resid_pre", hookNameOut: "blocks.8.hook_resid_pre" },
        ...{ k: undefined, modelName: "gpt2", centerInput: false },
      });
      const found = await sae.encode({ data: Float32Array.of(1, 2), shape: [1, 2] });
      expect([...found.data]).toEqual([1, 2.5, 0]);
      await sae.dispose();
    }
  });

  test("configurations from before version 6", async () => {
    const old = {
      ...{ d_in: 2, d_sae: 3, hook_point: "blocks.2.hook_mlp_out", normalize_activations: false },
      ...{ activation_fn_str: "topk", activation_fn_kwargs: { k: 2 }, model_name: "pythia" },
    };
    const { cfg: read } = await load(old);
    expect(read).toMatchObject({ architecture: "topk", k: 2, hookName: "blocks.2.hook_mlp_out" });
    expect(read.applyBDecToInput).toBe(true);
    const standard = await load({ d_in: 2, d_sae: 3, hook_name: "x", activation_fn: "relu" });
    expect(standard.cfg.architecture).toBe("standard");
  });

  test("top-k that rescales: chosen by what a feature writes, the same reconstruction", async () => {
    const sae = await load({
      ...cfg,
      architecture: "topk",
      k: 1,
      rescale_acts_by_decoder_norm: true,
    });
    const x = { data: Float32Array.of(1, 2), shape: [1, 2] };
    // p = (1, 2.5, -1), norms 5, 2, 0: the first and the second are tied at 5; the first is kept.
    const found = await sae.encode(x);
    expect([...found.data]).toEqual([5, 0, 0]);
    // (5 / 5) (3, 4) + (10, 20)
    expect(difference((await sae.reconstruct(x)).data, [13, 24])).toBeLessThan(1e-6);
  });

  test("a transcoder names its two hooks", async () => {
    const metadata = {
      hook_name: "blocks.0.ln2.hook_normalized",
      hook_name_out: "blocks.0.hook_mlp_out",
    };
    const arrays = { ...tensors, W_dec: tensor([1, 2, 3], 3, 1), b_dec: tensor([1], 1) };
    const sae = await load({ ...cfg, architecture: "transcoder", d_out: 1, metadata }, arrays);
    expect(sae.cfg).toMatchObject({ dIn: 2, dOut: 1, hookNameOut: "blocks.0.hook_mlp_out" });
    await expect(
      load({ ...cfg, architecture: "transcoder", d_out: 1, apply_b_dec_to_input: true }, arrays),
    ).rejects.toThrow(/expected apply_b_dec_to_input false in a transcoder/);
  });

  test("missing files, missing arrays, wrong shapes", async () => {
    await expect(loadSae(join(folder, "nowhere"))).rejects.toThrow(FileError);
    const empty = await mkdtemp(join(folder, "empty-"));
    await expect(loadSae(empty)).rejects.toThrow(/cfg.json: there is no such file/);
    const { b_enc: _, ...without } = tensors;
    await expect(load(cfg, without)).rejects.toThrow(
      /expected 3 values of b_enc for a dictionary of standard, got none/,
    );
    await expect(load({ ...cfg, architecture: "jumprelu" })).rejects.toThrow(/values of threshold/);
    await expect(load({ ...cfg, architecture: "gated" })).rejects.toThrow(/values of b_gate/);
    await expect(load({ ...cfg, d_in: 3 })).rejects.toThrow(
      /expected W_enc of \[3, 3\], got \[2, 3\]/,
    );
    await expect(load({ ...cfg, architecture: "topk", k: 4 })).rejects.toThrow(
      /k within 1..3, got 4/,
    );
    const nan = { ...tensors, b_dec: tensor([Number.NaN, 0], 2) };
    await expect(load(cfg, nan)).rejects.toThrow(/finite values in b_dec, got NaN/);
  });

  test("trained on a centered model, or on scaled activations", async () => {
    const metadata = {
      ...cfg.metadata,
      model_from_pretrained_kwargs: { center_writing_weights: true },
    };
    // (1, 3) - 2 = (-1, 1): p = (-1, 1, 0) + (0, 0.5, -4)
    const x = { data: Float32Array.of(1, 3), shape: [1, 2] };
    for (const sae of [
      await load({ ...cfg, metadata }),
      await loadSae(await write(cfg), { centerInput: true }),
    ]) {
      expect(sae.cfg.centerInput).toBe(true);
      expect([...(await sae.encode(x)).data]).toEqual([0, 1.5, 0]);
      await sae.dispose();
    }
    const scaled = {
      ...cfg,
      normalize_activations: "expected_average_only_in",
      apply_b_dec_to_input: true,
    };
    const b_dec = tensor([2, 4], 2);
    const sae = await loadSae(await write(scaled, { ...tensors, b_dec }), { scalingFactor: 2 });
    made.push(sae);
    // p = (2 (1, 3) - (2, 4)) W_enc + b_enc = (0, 2, 2) + (0, 0.5, -4); y = (2.5 (0, 2) + (2, 4)) / 2
    expect([...(await sae.encode(x)).data]).toEqual([0, 2.5, 0]);
    expect([...(await sae.reconstruct(x)).data]).toEqual([1, 4.5]);
    const at = await write(scaled);
    await expect(loadSae(at, { scalingFactor: 0 })).rejects.toThrow(ArgumentError);
    await expect(loadSae(at)).rejects.toThrow(/"expected_average_only_in" is not supported/);
    await expect(loadSae(await write(cfg), { scalingFactor: 2 })).rejects.toThrow(
      /expected normalised activations, as a scaling factor was given, got none/,
    );
  });

  test("what is not supported says what to do", async () => {
    const refused = (more: object) => load({ ...cfg, ...more });
    for (const normalize_activations of ["layer_norm", "expected_average_only_in", true]) {
      await expect(refused({ normalize_activations })).rejects.toThrow(ModelError);
    }
    await expect(refused({ metadata: { hook_head_index: 3 } })).rejects.toThrow(/head 3 alone/);
    await expect(refused({ activation_fn: "tanh-relu" })).rejects.toThrow(
      /"tanh-relu" is not supported/,
    );
    await expect(refused({ architecture: "matryoshka_batchtopk" })).rejects.toThrow(FormatError);
    const scaled = { ...tensors, scaling_factor: tensor([1, 2, 1], 3) };
    await expect(load(cfg, scaled)).rejects.toThrow(/scaling factor that is not folded in/);
    const ones = { ...tensors, scaling_factor: tensor([1, 1, 1], 3) };
    expect((await load(cfg, ones)).cfg.dSae).toBe(3);
  });

  test("hostile files end in one of our errors", async () => {
    for (const text of ["", "{", "[]", "null", "3", '{"d_in": 2}', '{"d_in": -1, "d_sae": 3}']) {
      await expect(load(text)).rejects.toThrow(FormatError);
    }
    await expect(load({ ...cfg, d_sae: 1e15 })).rejects.toThrow(FormatError);
    await expect(load({ ...cfg, d_sae: "3" })).rejects.toThrow(/whole number above 0 as d_sae/);
    await expect(load({ ...cfg, architecture: { toString: 1 } })).rejects.toThrow(FormatError);
    await expect(load('{"__proto__": {"d_in": 2, "d_sae": 3}}')).rejects.toThrow(FormatError);
    const at = await write(cfg);
    const file = join(at, "sae_weights.safetensors");
    const whole = writeSafetensors(tensors);
    await fc.assert(
      fc.asyncProperty(
        fc.nat(whole.length - 1),
        fc.integer({ min: 0, max: 255 }),
        async (i, byte) => {
          const damaged = whole.slice(0, i % 3 === 0 ? i : whole.length);
          if (i < damaged.length) damaged[i] = byte;
          await writeFile(file, damaged);
          const result = await loadSae(at).catch((error: Error) => error);
          if (result instanceof Sae) await result.dispose();
          else expect((result as { code?: string }).code).toMatch(/^ERR_(FORMAT|MODEL)$/);
        },
      ),
      { numRuns: 60 },
    );
  });
});
