import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import {
  ArgumentError,
  createRng,
  DataError,
  HookPointError,
  InterruptedError,
  ModelError,
  type Progress,
  ShapeError,
  TokenizerError,
} from "@penfield/core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openIsolated } from "../isolation/isolatedModel.ts";
import type { ModelInput, ModelInputs } from "../transformer/inputs.ts";
import { HookedModel } from "../transformer/model.ts";
import type { HookValues } from "../transformer/values.ts";
import {
  type GeneratedRow,
  type GeneratedToken,
  type GenerateOptions,
  type Generation,
  generate,
  generateStream,
} from "./generate.ts";
import type { GenerationIntervention } from "./generateInterventions.ts";
import { entropy, logProb } from "./metrics.ts";

const fixtures = fileURLToPath(new URL("../../../../test/fixtures/", import.meta.url));
const organism = fileURLToPath(new URL("../../../organisms/models/organism-a", import.meta.url));

async function open(family: string, file: string): Promise<HookedModel> {
  const config = file.startsWith("builder") ? "config.builder.json" : "config.json";
  return HookedModel.fromBytes(readFileSync(`${fixtures}${family}/${file}.onnx`), {
    name: family,
    config: JSON.parse(readFileSync(`${fixtures}${family}/${config}`, "utf8")),
    threads: 1,
    verify: "none",
  });
}

/** Rows of different tokens, below 60, which every fixture's vocabulary has. */
function promptsOf(lengths: readonly number[], seed = 1): number[][] {
  const rng = createRng(seed);
  return lengths.map((n) => Array.from({ length: n }, () => rng.below(60)));
}

const noise = (n: number, seed: number, size = 1): Float32Array => {
  const rng = createRng(seed);
  return Float32Array.from({ length: n }, () => size * rng.normal());
};

/** Largest difference of two rows' scores; infinite if they are not as many. */
function differenceOf(a: GeneratedRow, b: GeneratedRow): number {
  if (a.logits!.length !== b.logits!.length) return Number.POSITIVE_INFINITY;
  return Math.max(0, ...a.logits!.map((scores, i) => maxDifference(scores, b.logits![i]!)));
}

function maxDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  let max = 0;
  for (let i = 0; i < a.length; i++) max = Math.max(max, Math.abs(a[i]! - b[i]!));
  return max;
}

/** What generation means: run all tokens, take the last scores, append the likeliest, again. */
async function naive(
  model: HookedModel,
  prompt: readonly number[],
  steps: number,
  at: (length: number) => GenerationIntervention[] = () => [],
): Promise<{ tokens: number[]; logits: Float32Array[] }> {
  const tokens = [...prompt];
  const logits: Float32Array[] = [];
  for (let step = 0; step < steps; step++) {
    const run = await model.run({ tokens: [tokens], interventions: at(tokens.length) });
    const { data, shape } = run.logits!;
    const scores = data.slice((shape[1]! - 1) * shape[2]!);
    logits.push(scores);
    tokens.push(scores.indexOf(Math.max(...scores)));
  }
  return { tokens: tokens.slice(prompt.length), logits };
}

const FAMILIES = ["gpt2", "llama", "neox", "opt", "bloom", "qwen2"];
const CACHED = [
  ...FAMILIES.map((family) => [family, "with_past"] as const),
  ...["llama", "gemma2"].map((family) => [family, "builder_fp32"] as const),
];

describe.each(CACHED)("%s/%s with past keys and values", (family, file) => {
  let model: HookedModel;
  const prompts = promptsOf([5, 3, 5]);
  const options = { maxNewTokens: 6, keepLogits: true } as const;
  const n = 5;
  let plain: Generation | undefined;
  beforeAll(async () => {
    model = await open(family, file);
  });
  afterAll(() => model?.dispose());

  const both = async (extra: GenerateOptions) => {
    const cached = await generate(model, prompts, { ...options, ...extra, cache: true });
    const again = await generate(model, prompts, { ...options, ...extra, cache: false });
    expect([cached.engine, again.engine]).toEqual(["cache", "recompute"]);
    return { cached, again };
  };

  test("is chosen, and gives the tokens of a run over all positions", async () => {
    expect((await generate(model, prompts, { maxNewTokens: 1 })).engine).toBe("cache");
    const { cached, again } = await both({});
    for (const [r, prompt] of prompts.entries()) {
      const wanted = await naive(model, prompt, options.maxNewTokens);
      expect(again.rows[r]!.tokens).toEqual(wanted.tokens);
      expect(cached.rows[r]!.tokens).toEqual(wanted.tokens);
      wanted.logits.forEach((scores, i) => {
        expect(maxDifference(scores, again.rows[r]!.logits![i]!)).toBeLessThan(1e-5);
        expect(maxDifference(scores, cached.rows[r]!.logits![i]!)).toBeLessThan(1e-5);
      });
    }
  });

  const steer = (extra: Partial<GenerationIntervention> = {}): GenerationIntervention => ({
    hook: "blocks.0.hook_resid_post",
    op: { type: "add", value: noise(model.cfg.dModel, 3) },
    ...extra,
  });
  const cases: [string, () => GenerationIntervention[]][] = [
    ["a steering vector at all positions", () => [steer()]],
    ["a steering vector at the prompt", () => [steer({ when: "prompt" })]],
    ["a steering vector at new tokens", () => [steer({ when: "steps" })]],
    [
      "zeroed units",
      () => [{ hook: "blocks.1.mlp.hook_post", op: { type: "zero" }, units: [0, 3, 5, 8, 13] }],
    ],
    ["a steering vector in some runs", () => [steer({ when: [0, 2, 5] })]],
    [
      "a steering vector at positions of the prompt and of new tokens, in some rows",
      () => [steer({ positions: [2, 4, 7], rows: [0, 2] }), steer({ positions: [0], rows: [1] })],
    ],
    [
      "zeroed units of new tokens, and a silenced head",
      () => [
        { hook: "blocks.0.mlp.hook_post", op: { type: "zero" }, when: "steps" },
        { hook: "blocks.1.attn.hook_z", op: { type: "zero" }, heads: [1] },
      ],
    ],
    [
      "scaled, clamped and projected values",
      () =>
        [
          { hook: "blocks.0.hook_mlp_out", op: { type: "scale", factor: 1.7 } },
          { hook: "blocks.1.hook_resid_pre", op: { type: "clamp", min: -1, max: 1 }, when: [1, 3] },
          {
            hook: "blocks.0.hook_resid_mid",
            op: { type: "project", directions: [noise(model.cfg.dModel, 9)] },
            when: "steps",
          },
        ].filter(({ hook }) => model.hookPoints.some((h) => h.name === hook)) as never,
    ],
    [
      "keys and queries",
      () => [
        { hook: "blocks.1.attn.hook_k", op: { type: "scale", factor: 0.5 }, when: "prompt" },
        { hook: "blocks.0.attn.hook_q", op: { type: "scale", factor: 2 } },
      ],
    ],
    [
      "noise",
      () => [
        { hook: "blocks.0.hook_resid_post", op: { type: "noise", standardDeviation: 1, seed: 5 } },
      ],
    ],
  ];
  // Every way at two families, which differ in all that matters here; at the others those most used.
  const some =
    ["gpt2", "llama"].includes(family) && file === "with_past" ? cases : cases.slice(0, 4);
  test.each(some)("with %s: the same tokens, and something has changed", async (_, make) => {
    const interventions = make();
    const { cached, again } = await both({ interventions });
    plain ??= await generate(model, prompts, { ...options, cache: false });
    for (const [r, row] of cached.rows.entries()) {
      expect(row.tokens).toEqual(again.rows[r]!.tokens);
      expect(differenceOf(row, again.rows[r]!)).toBeLessThan(1e-5);
    }
    const changed = (r: number) =>
      maxDifference(again.rows[r]!.logits!.at(-1)!, plain!.rows[r]!.logits!.at(-1)!);
    expect(changed(0)).toBeGreaterThan(1e-4);
    expect(changed(2)).toBeGreaterThan(1e-4);
  });

  test("changed attention patterns", async () => {
    const pattern = model.hookPoints.find((h) => h.name === "blocks.1.attn.hook_pattern");
    if (!pattern?.writable) return;
    const hook = pattern.name;
    const somewhere = [
      { hook, op: { type: "attendFirst" }, heads: [0], when: "steps" } as const,
      // A source of the prompt, and one that is there only later.
      { hook, op: { type: "zero" }, units: [0, 6] } as const,
    ];
    for (const intervention of somewhere) {
      const interventions = [{ ...intervention, rows: [0, 2] }];
      const { cached, again } = await both({ interventions });
      cached.rows.forEach((row, r) => {
        expect(row.tokens).toEqual(again.rows[r]!.tokens);
        expect(differenceOf(row, again.rows[r]!)).toBeLessThan(1e-5);
      });
    }
  });

  test("what is captured is what a run over all tokens has at its last position", async () => {
    const fused = file !== "with_past";
    const capture = ["blocks.*.hook_resid_post", "blocks.0.attn.hook_q", "blocks.1.mlp.hook_post"];
    if (!fused) capture.push("blocks.1.attn.hook_pattern", "blocks.0.attn.hook_attn_scores");
    const interventions = [steer({ when: "steps" })];
    const { cached, again } = await both({ capture, interventions });
    const names = [...cached.rows[0]!.captured.keys()];
    expect(names).toContain("blocks.0.hook_resid_post");
    expect(names).toContain("blocks.1.hook_resid_post");
    for (const [r, row] of cached.rows.entries()) {
      for (const name of names) {
        const values = row.captured.get(name)!;
        expect(values.length).toBe(options.maxNewTokens);
        values.forEach(({ data, shape }, step) => {
          const other = again.rows[r]!.captured.get(name)![step]!;
          expect(shape, name).toEqual(other.shape);
          const finite = (x: ArrayLike<number>) => Array.from(x).map((v) => Math.max(v, -1e4));
          expect(maxDifference(finite(data), finite(other.data)), name).toBeLessThan(1e-5);
        });
      }
    }
    // Step 3 of the first prompt reads new token 2, at position 7.
    const row = again.rows[0]!;
    const tokens = [...prompts[0]!, ...row.tokens.slice(0, 3)];
    const direct = await model.run({
      tokens: [tokens],
      capture: names,
      interventions: [{ ...steer(), positions: [5, 6, 7] }],
    });
    for (const name of names) {
      const got = row.captured.get(name)![3]!;
      const { data, shape } = direct.cache.get(name)!;
      const heads = name.includes("pattern") || name.includes("scores");
      const width = shape.slice(2).reduce((a, b) => a * b, 1);
      const last = heads
        ? Array.from({ length: shape[1]! }, (_, h) =>
            Array.from(data.subarray((h * n + h * 3 + 7) * 8, (h * n + h * 3 + 8) * 8)),
          ).flat()
        : data.slice(7 * width);
      expect(got.shape, name).toEqual(heads ? [shape[1], 8] : shape.slice(2));
      expect(maxDifference(got.data, last), name).toBeLessThan(1e-5);
    }
  });

  test("patterns of fused operators are read without a past", async () => {
    const name = "blocks.0.attn.hook_pattern";
    const exists = model.hookPoints.some((h) => h.name === name);
    if (file === "with_past" || !exists) return;
    const { engine, engineReason } = await generate(model, prompts, {
      capture: [name],
      maxNewTokens: 2,
    });
    expect([engine, engineReason]).toEqual(["recompute", expect.stringMatching(/fused/)]);
    await expect(generate(model, prompts, { capture: [name], cache: true })).rejects.toThrow(
      ModelError,
    );
  });
});

describe("interventions", () => {
  let model: HookedModel;
  const [prompt] = promptsOf([5]) as [number[]];
  const hook = "blocks.0.hook_resid_post";
  const op = { type: "add", value: 1.5 } as const;
  beforeAll(async () => {
    model = await open("gpt2", "model");
  });
  afterAll(() => model?.dispose());

  test.each<[string, GenerationIntervention, (length: number) => number[]]>([
    ["all", { hook, op, units: [2] }, (n) => Array.from({ length: n }, (_, p) => p)],
    ["prompt", { hook, op, units: [2], when: "prompt" }, () => [0, 1, 2, 3, 4]],
    ["steps", { hook, op, units: [2], when: "steps" }, (n) => [5, 6, 7, 8, 9].filter((p) => p < n)],
    ["run 0", { hook, op, units: [2], when: [0] }, () => [0, 1, 2, 3, 4]],
    ["runs 1 and 3", { hook, op, units: [2], when: [3, 1] }, (n) => [5, 7].filter((p) => p < n)],
    [
      "positions, among those of steps",
      { hook, op, units: [2], when: "steps", positions: [1, 6] },
      (n) => [6].filter((p) => p < n),
    ],
  ])("%s: what runs over explicit positions give", async (_, intervention, positions) => {
    const { rows } = await generate(model, [prompt], {
      interventions: [intervention],
      maxNewTokens: 6,
      keepLogits: true,
    });
    const wanted = await naive(model, prompt, 6, (length) => {
      const at = positions(length);
      return at.length === 0 ? [] : [{ hook, op, units: [2], positions: at }];
    });
    expect(rows[0]!.tokens).toEqual(wanted.tokens);
    wanted.logits.forEach((scores, i) => {
      expect(maxDifference(scores, rows[0]!.logits![i]!)).toBe(0);
    });
  });

  test("a source of attention acts from when it is there", async () => {
    const pattern = "blocks.1.attn.hook_pattern";
    const zero = { hook: pattern, op: { type: "zero" }, units: [6] } as const;
    const options = { interventions: [zero], maxNewTokens: 6, keepLogits: true };
    const { rows } = await generate(model, [prompt], options);
    const wanted = await naive(model, prompt, 6, (length) => (length > 6 ? [zero] : []));
    expect(rows[0]!.tokens).toEqual(wanted.tokens);
    wanted.logits.forEach((scores, i) => {
      expect(maxDifference(scores, rows[0]!.logits![i]!)).toBe(0);
    });
    const beyond = generate(model, [prompt], {
      ...options,
      interventions: [{ ...zero, units: [10] }],
    });
    await expect(beyond).rejects.toThrow(/units \(sources\) within 0\.\.9 for prompt 0, got 10/);
  });

  test("neutral ones change no bit", async () => {
    const options = { maxNewTokens: 5, keepLogits: true };
    const plain = await generate(model, [prompt], options);
    const neutral = await generate(model, [prompt], {
      ...options,
      interventions: [{ hook, op: { type: "scale", factor: 1 } }],
    });
    expect(differenceOf(plain.rows[0]!, neutral.rows[0]!)).toBe(0);
  });

  test("noise is that of prompt and position, whatever else is run", async () => {
    const rows = [...promptsOf([4, 4, 6]), prompt];
    const interventions = [{ hook, op: { type: "noise", standardDeviation: 1, seed: 2 } as const }];
    const options = { interventions, maxNewTokens: 4, keepLogits: true };
    const together = await generate(model, rows, options);
    for (const [r, row] of rows.entries()) {
      const alone = await generate(model, [row], { ...options, firstRow: r });
      expect(differenceOf(alone.rows[0]!, together.rows[r]!)).toBe(0);
    }
    const other = await generate(model, [prompt], options);
    expect(differenceOf(other.rows[0]!, together.rows[3]!)).toBeGreaterThan(0.01);
  });

  test("patches come from other prompts, to the end of the longest", async () => {
    const rows = promptsOf([4, 4], 8);
    const from: GenerationIntervention = {
      hook: "blocks.1.hook_resid_post",
      op: { type: "patch", source: [0, 0] },
    };
    const options = { interventions: [from], maxNewTokens: 5, keepLogits: true };
    const { rows: found } = await generate(model, rows, options);
    const [plain] = (await generate(model, rows, { maxNewTokens: 5, keepLogits: true })).rows;
    // All that the scores are made of comes from the first prompt.
    for (const row of found) expect(differenceOf(row, plain!)).toBe(0);
    const stop = plain!.tokens.find((t, i) => i > 0 && t !== plain!.tokens[0])!;
    const until = plain!.tokens.indexOf(stop);
    const stopped = await generate(model, rows, { ...options, stopTokens: [stop] });
    expect(stopped.rows.map(({ tokens }) => tokens.length)).toEqual([until + 1, until + 1]);
    const one = await generate(model, [rows[0]!], {
      ...options,
      interventions: [{ ...from, op: { type: "patch", source: [0] } }],
    });
    expect(differenceOf(one.rows[0]!, plain!)).toBe(0);
    await expect(generate(model, promptsOf([3, 4]), options)).rejects.toThrow(DataError);
  });

  const refused: [string, GenerationIntervention, new (...a: never[]) => Error, RegExp][] = [
    ["a position beyond", { hook, op, positions: [9] }, ArgumentError, /positions within 0\.\.8/],
    ["half a position", { hook, op, positions: [0.5] }, ArgumentError, /got 0\.5/],
    ["a position from the end", { hook, op, positions: [-1] }, ArgumentError, /got -1/],
    ["a run beyond", { hook, op, when: [5] }, ArgumentError, /runs within 0\.\.4, got 5/],
    ["another word", { hook, op, when: "never" as never }, ArgumentError, /all, prompt, steps/],
    ["a prompt beyond", { hook, op, rows: [1] }, ArgumentError, /rows within 0\.\.0, got 1/],
    [
      "a position that is not computed then",
      { hook, op, when: "steps", positions: [1] },
      ArgumentError,
      /computed when it acts \(steps\), got positions 1/,
    ],
    [
      "an unknown hook point",
      { hook: "blocks.9.hook_resid_post", op },
      HookPointError,
      /blocks\.9/,
    ],
    ["units beyond", { hook, op, units: [99] }, ArgumentError, /units within/],
    [
      "too few values",
      { hook, op: { type: "add", value: [1, 2] } },
      ShapeError,
      /expected 24 values, got 2/,
    ],
    [
      "noise on a pattern",
      {
        hook: "blocks.0.attn.hook_pattern",
        op: { type: "noise", standardDeviation: 1, seed: 1 },
      },
      ArgumentError,
      /noise where the number of values/,
    ],
  ];
  test.each(refused)("%s is refused", async (_, intervention, kind, message) => {
    const run = () => generate(model, [prompt], { interventions: [intervention], maxNewTokens: 5 });
    await expect(run()).rejects.toThrow(kind);
    await expect(run()).rejects.toThrow(message);
  });

  test("the last position that is read is allowed", async () => {
    const interventions = [{ hook, op, positions: [8] }];
    const { rows } = await generate(model, [prompt], { interventions, maxNewTokens: 5 });
    expect(rows[0]!.tokens.length).toBe(5);
  });
});

describe("several prompts", () => {
  const prompts = promptsOf([1, 3, 3, 3, 9]);
  const options = { maxNewTokens: 6, keepLogits: true } as const;
  // Heads of 16: where a head's width is no multiple of the processor's, rotary angles of
  // the last values are rounded in another way alone and in a batch.
  const exact = [
    ...["gpt2", "neox", "opt", "bloom"].map((family) => [family, "model"] as const),
    ["llama", "builder_fp32"] as const,
    ["qwen2", "builder_fp32"] as const,
  ];
  test.each(exact)("%s/%s: each as if it were alone, bit for bit", async (family, file) => {
    const model = await open(family, file);
    const stop = (await generate(model, [prompts[2]!], { maxNewTokens: 3, cache: false })).rows[0]!;
    // Rows end at different times.
    const settings = { ...options, cache: false, stopTokens: [stop.tokens[2]!] };
    const { rows } = await generate(model, prompts, settings);
    const parts = await generate(model, prompts, { ...settings, batchSize: 2 });
    for (const [r, prompt] of prompts.entries()) {
      const [alone] = (await generate(model, [prompt], settings)).rows;
      expect(alone!.tokens).toEqual(rows[r]!.tokens);
      expect(differenceOf(alone!, rows[r]!)).toBe(0);
      expect(differenceOf(parts.rows[r]!, rows[r]!)).toBe(0);
    }
    await model.dispose();
  });

  test.each(FAMILIES)("%s with a past: each as if it were alone, within 1e-5", async (family) => {
    const model = await open(family, "with_past");
    for (const cache of [true, false]) {
      const { rows } = await generate(model, prompts, { ...options, cache });
      for (const [r, prompt] of prompts.entries()) {
        const [alone] = (await generate(model, [prompt], { ...options, cache })).rows;
        expect(alone!.tokens).toEqual(rows[r]!.tokens);
        expect(differenceOf(alone!, rows[r]!)).toBeLessThan(1e-5);
      }
    }
    await model.dispose();
  });

  test("int8 with dynamic scales: alone, and over all positions", async () => {
    const model = await open("gpt2", "int8_dynamic");
    const { rows, engine, engineReason } = await generate(model, prompts, options);
    expect([engine, engineReason]).toEqual(["recompute", expect.stringMatching(/dynamic int8/)]);
    for (const [r, prompt] of prompts.entries()) {
      const wanted = await naive(model, prompt, options.maxNewTokens);
      expect(rows[r]!.tokens).toEqual(wanted.tokens);
    }
    await model.dispose();
  });

  test("a merged file says why it computes all positions", async () => {
    const model = await open("gpt2", "merged");
    const { engine, engineReason } = await generate(model, prompts, { maxNewTokens: 2 });
    expect([engine, engineReason]).toEqual([
      "recompute",
      "the file returns keys and values but does not read them",
    ]);
    await expect(generate(model, prompts, { cache: true })).rejects.toThrow(ModelError);
    await model.dispose();
  });
});

describe("encoder-decoders", () => {
  const nRows = 3;
  const states: ModelInput = { data: noise(nRows * 5 * 16, 2), shape: [nRows, 5, 16] };
  const prompts = promptsOf([2, 4, 2]);
  const options = { maxNewTokens: 5, keepLogits: true } as const;

  test.each(["bart", "t5", "whisper"])("%s: a decoder with given states", async (family) => {
    const inputs = { encoder_hidden_states: states };
    const model = await open(family, "decoder_model");
    const { rows, engine } = await generate(model, { tokens: prompts, inputs }, options);
    expect(engine).toBe("recompute");
    // By hand, row by row.
    for (const [r, prompt] of prompts.entries()) {
      const own = {
        data: states.data.slice(r * 80, (r + 1) * 80) as Float32Array,
        shape: [1, 5, 16],
      };
      const tokens = [...prompt];
      for (const scores of rows[r]!.logits!) {
        const run = await model.run({ tokens: [tokens], inputs: { encoder_hidden_states: own } });
        const { data, shape } = run.logits!;
        const last = data.slice((shape[1]! - 1) * shape[2]!);
        expect(maxDifference(last, scores)).toBeLessThan(1e-5);
        tokens.push(last.indexOf(Math.max(...last)));
      }
      expect(rows[r]!.tokens).toEqual(tokens.slice(prompt.length));
    }
    // The file of later steps, fed the encoder's keys and values.
    const later = await open(family, "decoder_with_past");
    const names = [0, 1].flatMap((l) => ["key", "value"].map((kv) => `${l}.encoder.${kv}`));
    const { cache } = await model.run({
      tokens: prompts.map(() => [1]),
      inputs,
      capture: names.map((name) => `present.${name}`),
    });
    const named = Object.fromEntries(
      names.map((name) => [`past_key_values.${name}`, cache.get(`present.${name}`)!]),
    );
    const steer: GenerationIntervention = {
      hook: "blocks.0.hook_resid_post",
      op: { type: "add", value: noise(16, 4) },
      when: "steps",
    };
    const silent: GenerationIntervention = {
      hook: "blocks.1.mlp.hook_post",
      op: { type: "zero" },
      units: [0, 1, 2, 3],
    };
    for (const interventions of [[], [steer], [silent]]) {
      const wanted = await generate(
        model,
        { tokens: prompts, inputs },
        { ...options, interventions },
      );
      for (const cached of [true, false]) {
        const found = await generate(
          later,
          { tokens: prompts, inputs: named },
          { ...options, interventions, cache: cached },
        );
        expect(found.engine).toBe(cached ? "cache" : "recompute");
        found.rows.forEach((row, r) => {
          expect(row.tokens).toEqual(wanted.rows[r]!.tokens);
          expect(differenceOf(row, wanted.rows[r]!)).toBeLessThan(1e-5);
        });
      }
    }
    const wrong = { encoder_hidden_states: { data: noise(2 * 80, 1), shape: [2, 5, 16] } };
    await expect(generate(model, { tokens: prompts, inputs: wrong }, options)).rejects.toThrow(
      ShapeError,
    );
    await model.dispose();
    await later.dispose();
  });

  test.each(["bart", "t5", "whisper"])("%s: a whole file", async (family) => {
    const model = await open(family, "model");
    const config = JSON.parse(readFileSync(`${fixtures}${family}/config.json`, "utf8"));
    const sound = { input_features: soundOf(config, nRows) };
    const given = (): ModelInputs =>
      family === "whisper" ? { inputs: sound } : { tokens: promptsOf([4, 6, 4], 7) };
    const all = given();
    const interventions: GenerationIntervention[] = [
      {
        hook: "decoder.blocks.0.hook_resid_post",
        op: { type: "add", value: noise(16, 4) },
        when: "steps",
      },
      { hook: "encoder.blocks.1.hook_resid_post", op: { type: "scale", factor: 0.5 } },
    ];
    const capture = ["decoder.blocks.1.hook_resid_post"];
    const { rows, engine } = await generate(
      model,
      { ...all, decoderTokens: prompts },
      { ...options, interventions, capture },
    );
    expect(engine).toBe("recompute");
    for (const [r, prompt] of prompts.entries()) {
      const tokens = [...prompt];
      for (const [step, scores] of rows[r]!.logits!.entries()) {
        const own = all.tokens
          ? { tokens: [all.tokens[r]!] }
          : { inputs: { input_features: rowOf(sound.input_features, r) } };
        const steps = Array.from({ length: step }, (_, i) => prompt.length + i);
        const run = await model.run({
          ...own,
          decoderTokens: [tokens],
          capture,
          interventions: [
            ...(step > 0 ? [{ ...interventions[0]!, positions: steps }] : []),
            interventions[1]!,
          ],
        });
        const { data, shape } = run.logits!;
        const last = data.slice((shape[1]! - 1) * shape[2]!);
        expect(maxDifference(last, scores)).toBeLessThan(1e-5);
        const values = run.cache.get(capture[0]!)!.data.slice(-16);
        const got = rows[r]!.captured.get(capture[0]!)![step]!;
        expect(got.shape).toEqual([16]);
        expect(maxDifference(values, got.data)).toBeLessThan(1e-5);
        tokens.push(last.indexOf(Math.max(...last)));
      }
      expect(rows[r]!.tokens).toEqual(tokens.slice(prompt.length));
    }
    await expect(generate(model, prompts, options)).rejects.toThrow(/expected decoderTokens/);
    await expect(
      generate(
        model,
        { ...all, decoderTokens: prompts },
        { interventions: [{ ...interventions[1]!, when: "steps" }] },
      ),
    ).rejects.toThrow(HookPointError);
    await expect(
      generate(
        model,
        { ...all, decoderTokens: prompts },
        { capture: ["encoder.blocks.0.hook_resid_post"] },
      ),
    ).rejects.toThrow(HookPointError);
    await model.dispose();
  });

  function soundOf(config: Record<string, number>, n: number): ModelInput {
    const shape = [n, config["num_mel_bins"] ?? 80, 2 * (config["max_source_positions"] ?? 1500)];
    return {
      data: noise(
        shape.reduce((a, b) => a * b, 1),
        5,
      ),
      shape,
    };
  }
  function rowOf({ data, shape }: ModelInput, row: number): ModelInput {
    const size = data.length / shape[0]!;
    return {
      data: data.slice(row * size, (row + 1) * size) as Float32Array,
      shape: [1, ...shape.slice(1)],
    };
  }
});

describe("drawing, stopping, streaming", () => {
  let model: HookedModel;
  const prompts = promptsOf([4, 4, 7]);
  beforeAll(async () => {
    model = await open("gpt2", "with_past");
  });
  afterAll(() => model?.dispose());

  test("a seed gives the same tokens, another one others", async () => {
    const options = { temperature: 1.5, topK: 40, topP: 0.95, maxNewTokens: 12, seed: 3 };
    const tokensOf = async (extra: GenerateOptions, rows = prompts) =>
      (await generate(model, rows, { ...options, ...extra })).rows.map(({ tokens }) => tokens);
    const first = await tokensOf({});
    expect(await tokensOf({})).toEqual(first);
    expect(await tokensOf({ cache: false })).toEqual(first);
    expect(await tokensOf({ batchSize: 1 })).toEqual(first);
    expect(await tokensOf({ seed: 4 })).not.toEqual(first);
    // Each prompt has its own stream, found again by its number.
    expect(await tokensOf({ firstRow: 1 }, prompts.slice(1))).toEqual(first.slice(1));
    const same = await tokensOf({}, [prompts[0]!, prompts[0]!]);
    expect(same[0]).toEqual(first[0]);
    expect(same[1]).not.toEqual(first[0]);
    expect(await tokensOf({ topK: 1 })).toEqual(
      await tokensOf({ temperature: 0, topK: undefined, topP: undefined }),
    );
  });

  test("log-probabilities, entropies and metrics are those of the scores", async () => {
    const capture = ["blocks.1.hook_resid_post"];
    const { rows } = await generate(model, prompts, {
      ...{ temperature: 0.7, seed: 1, maxNewTokens: 5, keepLogits: true, capture },
      metric: (logits, of) => {
        expect(logits.shape[1]).toBe(1);
        return logProb({ tokens: [5, 6, 7] })(logits, of);
      },
    });
    for (const [r, row] of rows.entries()) {
      expect([row.prompt, row.text]).toEqual([prompts[r], undefined]);
      row.logits!.forEach((scores, i) => {
        const logits: HookValues = { data: scores, shape: [1, 1, scores.length] };
        const at = [{ row: 0, prompt: 0 }];
        expect(row.logProbs[i]).toBeCloseTo(logProb({ tokens: row.tokens[i]! })(logits, at)[0]!, 9);
        expect(row.entropies[i]).toBeCloseTo(entropy()(logits, at)[0]!, 9);
        expect(row.metric![i]).toBeCloseTo(logProb({ tokens: 5 + r })(logits, at)[0]!, 9);
      });
      // The score of each token is that of the whole text.
      const { tokenLogProbs } = await model.run({
        tokens: [[...prompts[r]!, ...row.tokens]],
        head: "tokenLogProbs",
      });
      expect(
        maxDifference(tokenLogProbs!.data.slice(prompts[r]!.length), row.logProbs),
      ).toBeLessThan(1e-5);
    }
  });

  test("a stop token ends its row alone", async () => {
    const plain = await generate(model, prompts, { maxNewTokens: 8 });
    const stop = plain.rows[1]!.tokens[3]!;
    const { rows } = await generate(model, prompts, { maxNewTokens: 8, stopTokens: [stop] });
    rows.forEach((row, r) => {
      const at = plain.rows[r]!.tokens.indexOf(stop);
      const wanted = at < 0 ? plain.rows[r]!.tokens : plain.rows[r]!.tokens.slice(0, at + 1);
      expect(row.tokens).toEqual(wanted);
      expect(row.stopReason).toBe(at < 0 ? "maxNewTokens" : "stopToken");
    });
    expect(rows.some((row) => row.stopReason === "stopToken")).toBe(true);
  });

  test("tokens come one after the other, with progress", async () => {
    const seen: GeneratedToken[] = [];
    const reports: Progress[] = [];
    const options = { maxNewTokens: 3, onProgress: (p: Progress) => reports.push(p) };
    const stream = generateStream(model, prompts, { ...options, onToken: (t) => seen.push(t) });
    const order: string[] = [];
    let result = await stream.next();
    for (; !result.done; result = await stream.next()) {
      const { row, step, position, stopReason } = result.value;
      order.push(`${row}.${step}`);
      expect(position).toBe(prompts[row]!.length + step);
      expect(stopReason).toBe(step === 2 ? "maxNewTokens" : undefined);
    }
    expect(order).toEqual(["0.0", "1.0", "0.1", "1.1", "0.2", "1.2", "2.0", "2.1", "2.2"]);
    expect(seen.length).toBe(9);
    expect(result.value.rows.map(({ tokens }) => tokens)).toEqual(
      (await generate(model, prompts, options)).rows.map(({ tokens }) => tokens),
    );
    expect(reports.slice(0, 6).map(({ done }) => done)).toEqual([2, 4, 6, 7, 8, 9]);
    expect(reports[0]).toEqual({ stage: "generating", done: 2, total: 9, unit: "tokens" });
  });

  test("work that is stopped leaves the model usable", async () => {
    const wanted = await generate(model, prompts, { maxNewTokens: 4 });
    const abort = new AbortController();
    const tokens: number[] = [];
    const stopped = generate(model, prompts, {
      maxNewTokens: 4,
      signal: abort.signal,
      onToken: ({ token }) => {
        tokens.push(token);
        if (tokens.length === 3) abort.abort();
      },
    });
    await expect(stopped).rejects.toThrow(InterruptedError);
    expect(tokens.length).toBe(4);
    const early = generate(model, prompts, { signal: AbortSignal.abort() });
    await expect(early).rejects.toThrow(InterruptedError);
    for await (const _ of generateStream(model, prompts)) break;
    expect(await generate(model, prompts, { maxNewTokens: 4 })).toEqual(wanted);
  });

  const refused: [string, unknown, GenerateOptions, new (...a: never[]) => Error, RegExp][] = [
    ["no prompt", [], {}, DataError, /got no prompt/],
    ["an empty prompt", [[1], []], {}, DataError, /none in prompt 1/],
    ["an unknown token", [[1, 96]], {}, DataError, /within 0\.\.95, got 96 in prompt 0/],
    ["half a token", [[0.5]], {}, DataError, /got 0\.5/],
    [
      "more than the context",
      [[1, 2, 3]],
      { maxNewTokens: 31 },
      DataError,
      /a context of 32, got 3 tokens in prompt 0 and 31 new ones/,
    ],
    ["no new tokens", [[1]], { maxNewTokens: 0 }, ArgumentError, /maxNewTokens of at least 1/],
    ["half a row", [[1]], { batchSize: 0.5 }, ArgumentError, /batchSize of at least 1/],
    ["half a seed", [[1]], { seed: 0.5 }, ArgumentError, /seed, got 0\.5/],
    ["another cache", [[1]], { cache: "yes" as never }, ArgumentError, /true, false or auto/],
    ["topK alone", [[1]], { topK: 3 }, ArgumentError, /a temperature with topK/],
    ["a stop token beyond", [[1]], { stopTokens: [96] }, ArgumentError, /within 0\.\.95, got 96/],
    ["a text", "hello", {}, TokenizerError, /without a tokenizer/],
    ["a text to stop at", [[1]], { stopTokens: ["."] }, TokenizerError, /without a tokenizer/],
    ["an unknown hook point", [[1]], { capture: ["blocks.7.*"] }, HookPointError, /blocks\.7/],
    [
      "a mask",
      { tokens: [[1]], inputs: { attention_mask: { data: new BigInt64Array(1), shape: [1, 1] } } },
      {},
      ArgumentError,
      /inputs beside tokens, got attention_mask/,
    ],
    ["two kinds of tokens", { tokens: [[1]], decoderTokens: [[1]] }, {}, ArgumentError, /got both/],
  ];
  test.each(refused)(
    "%s: refused before anything is run",
    async (_, prompt, options, kind, text) => {
      const run = () => generate(model, prompt as number[][], options);
      await expect(run()).rejects.toThrow(kind);
      await expect(run()).rejects.toThrow(text);
    },
  );

  test("the context may be filled to its end", async () => {
    for (const cache of [true, false]) {
      const { rows } = await generate(model, [[1, 2, 3]], { maxNewTokens: 30, cache });
      expect(rows[0]!.tokens.length).toBe(30);
    }
  });

  test("encoders do not generate", async () => {
    const bert = await open("bert", "model");
    await expect(generate(bert, [[1, 2]])).rejects.toThrow(ModelError);
    await expect(generate(bert, [[1, 2]])).rejects.toThrow(/causal language model/);
    await bert.dispose();
  });

  test("a model in a process of its own gives the same", async () => {
    const isolated = await openIsolated(readFileSync(`${fixtures}gpt2/with_past.onnx`), {
      name: "gpt2",
      config: JSON.parse(readFileSync(`${fixtures}gpt2/config.json`, "utf8")),
      ...{ threads: 1, verify: "none" },
    });
    const options: GenerateOptions = {
      maxNewTokens: 4,
      capture: ["blocks.0.hook_resid_post"],
      interventions: [{ hook: "blocks.0.hook_resid_post", op: { type: "scale", factor: 2 } }],
    };
    try {
      expect(await generate(isolated, prompts, options)).toEqual(
        await generate(model, prompts, options),
      );
    } finally {
      await isolated.dispose();
    }
  }, 30_000);
});

describe.skipIf(!existsSync(`${organism}/onnx`))("texts (skipped without the organism)", () => {
  let model: HookedModel;
  beforeAll(async () => {
    model = await HookedModel.fromPretrained(organism, { verify: "none", threads: 1 });
  });
  afterAll(() => model?.dispose());

  test("are continued, and come in pieces that make up the whole", async () => {
    const texts = ["The boys near the tree", "Once"];
    const pieces = ["", ""];
    const { rows } = await generate(model, texts, {
      maxNewTokens: 8,
      prependBos: true,
      onToken: ({ row, text }) => {
        pieces[row] = `${pieces[row]}${text}`;
      },
    });
    const tokenizer = model.requireTokenizer();
    rows.forEach((row, r) => {
      expect(row.prompt).toEqual(tokenizer.encode(texts[r]!, { prependBos: true }));
      expect(row.text).toBe(pieces[r]);
      const said = row.stopReason === "stopToken" ? row.tokens.slice(0, -1) : row.tokens;
      expect(row.text).toBe(tokenizer.decode(said));
      expect(row.text!.length).toBeGreaterThan(0);
    });
    expect(
      (await generate(model, texts[0]!, { maxNewTokens: 8, prependBos: true })).rows[0],
    ).toEqual(rows[0]);
  });

  test("end where the tokenizer's end-of-text token comes, unless told otherwise", async () => {
    const text = "The boys near the tree";
    const end = model.requireTokenizer().encode("<|endoftext|>", { prependBos: false })[0]!;
    // Whatever is read, the end of the text is the likeliest.
    const hook = `blocks.${model.cfg.nLayers - 1}.hook_resid_post`;
    const unembed = await model.weights.get("W_U");
    const toEnd = Array.from({ length: model.cfg.dModel }, (_, i) =>
      Number(unembed.data[i * unembed.shape[1]! + end]),
    );
    const interventions: GenerationIntervention[] = [
      { hook, op: { type: "add", value: toEnd.map((x) => 1e4 * x) }, when: [2] },
    ];
    const ended = await generate(model, text, { interventions, maxNewTokens: 6 });
    const [row] = ended.rows;
    expect([row!.tokens.length, row!.tokens[2], row!.stopReason]).toEqual([3, end, "stopToken"]);
    expect(row!.text).not.toContain("endoftext");
    const on = await generate(model, text, {
      ...{ interventions, maxNewTokens: 6, stopAtEos: false },
    });
    expect(on.rows[0]!.tokens.length).toBe(6);
    expect(on.rows[0]!.tokens.slice(0, 3)).toEqual(row!.tokens);
    const byName = await generate(model, text, {
      ...{ interventions, maxNewTokens: 6, stopAtEos: false, stopTokens: ["<|endoftext|>"] },
    });
    expect(byName.rows[0]!.tokens).toEqual(row!.tokens);
    await expect(
      generate(model, text, { stopTokens: ["a text of several tokens"] }),
    ).rejects.toThrow(/a stop text that is one token/);
  });
});
