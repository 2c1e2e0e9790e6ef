import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { createRng } from "@penfield/core";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { HookedModel } from "../transformer/model.ts";
import { type GenerateOptions, generate } from "./generate.ts";
import type { GenerationIntervention } from "./generateInterventions.ts";

const fixtures = fileURLToPath(new URL("../../../../test/fixtures/", import.meta.url));

describe.each(["gpt2", "llama"])("%s, with any interventions", (family) => {
  let model: HookedModel;
  beforeAll(async () => {
    model = await HookedModel.fromBytes(readFileSync(`${fixtures}${family}/with_past.onnx`), {
      config: JSON.parse(readFileSync(`${fixtures}${family}/config.json`, "utf8")),
      ...{ threads: 1, verify: "none" },
    });
  });
  afterAll(() => model?.dispose());

  test("both engines give the same scores, and each prompt those that it has alone", async () => {
    const maxNewTokens = 5;
    const subset = (n: number) =>
      fc.option(fc.uniqueArray(fc.nat(n - 1), { minLength: 1, maxLength: n }), { nil: undefined });
    const intervention = (lengths: readonly number[]) =>
      fc
        .record({
          hook: fc.constantFrom(
            ...["hook_resid_pre", "hook_resid_post", "hook_attn_out", "mlp.hook_post"],
            ...["attn.hook_q", "attn.hook_k", "attn.hook_v", "attn.hook_z", "hook_embed"],
          ),
          layer: fc.nat(1),
          op: fc.constantFrom(
            ...[{ type: "zero" }, { type: "constant", value: 0.3 }, { type: "scale", factor: -1 }],
            ...[
              { type: "add", value: 0.5 },
              { type: "clamp", min: -0.5, max: 0.5 },
            ],
            { type: "noise", standardDeviation: 0.5, seed: 3 },
          ),
          units: subset(6),
          rows: subset(lengths.length),
          // Positions that all prompts have, of the prompt or of new tokens.
          positions: subset(Math.min(...lengths) + maxNewTokens - 1),
          when: fc.constantFrom("all", "prompt", "steps", [0, 1], [2, 4], [3]),
        })
        .map(({ hook, layer, ...rest }) => {
          const name = hook === "hook_embed" ? hook : `blocks.${layer}.${hook}`;
          const given = Object.entries(rest).filter(([, value]) => value !== undefined);
          return { hook: name, ...Object.fromEntries(given) } as unknown as GenerationIntervention;
        });
    const cases = fc
      .array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 3 })
      .chain((lengths) =>
        fc.record({
          lengths: fc.constant(lengths),
          seed: fc.nat(1000),
          temperature: fc.constantFrom(0, 1),
          interventions: fc.array(intervention(lengths), { maxLength: 3 }),
        }),
      );
    await fc.assert(
      fc.asyncProperty(cases, async ({ lengths, seed, temperature, interventions }) => {
        const rng = createRng(seed);
        const prompts = lengths.map((n) => Array.from({ length: n }, () => rng.below(96)));
        const options: GenerateOptions = {
          ...{ maxNewTokens, keepLogits: true, temperature, seed },
        };
        const run = (extra: GenerateOptions, rows = prompts) =>
          generate(model, rows, { ...options, interventions, ...extra }).then(
            (done) => done.rows,
            // Positions that are never computed when it acts are an error of both.
            (error: Error) => error.message,
          );
        const [cached, again] = [await run({ cache: true }), await run({ cache: false })];
        if (typeof cached === "string" || typeof again === "string") {
          expect(cached).toBe(again);
          return;
        }
        const near = (a: typeof again, b: typeof again): void => {
          for (const [r, row] of a.entries()) {
            expect(row.tokens).toEqual(b[r]!.tokens);
            row.logits!.forEach((scores, i) => {
              const other = b[r]!.logits![i]!;
              const most = scores.reduce((m, x, t) => Math.max(m, Math.abs(x - other[t]!)), 0);
              expect(most).toBeLessThan(1e-5);
            });
          }
        };
        near(cached, again);
        for (const r of prompts.keys()) {
          const own = interventions
            .filter(({ rows }) => rows === undefined || Array.from(rows).includes(r))
            .map(({ rows: _, ...rest }) => rest);
          const alone = await run({ interventions: own, firstRow: r }, [prompts[r]!]);
          // Of several prompts one may do what the others do not.
          if (typeof alone !== "string") near(alone, [again[r]!]);
        }
      }),
      { numRuns: Number(process.env["RUNS"] ?? 12), seed: Number(process.env["FCSEED"] ?? 5) },
    );
  }, 60_000);
});
