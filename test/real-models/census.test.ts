import { existsSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createRng, sampleWithoutReplacement } from "@penfield/core";
import { type Descriptions, describeUnits } from "@penfield/describe";
import { HookedModel } from "@penfield/hooks";
import { unitFacets } from "@penfield/localize";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  describeLayer,
  type LayerCensus,
  layerHooks,
  spreadOf,
  summarize,
  takeLayerCensus,
  typesAt,
  unitsOf,
} from "./census/layer.ts";
import { type Mediation, mediation, mediationText } from "./census/mediation.ts";
import { type CorpusText, corpusTexts, groupOf } from "./census/texts.ts";

// The figures of docs/results/census-smollm2.md: `PENFIELD_CENSUS=512 npm run test:real -- census` describes so many neurons over all texts; without PENFIELD_CENSUS it is 60 over a
// tenth of the texts.
// Censuses, descriptions and numbers go to reports/census-smollm2; a run that was stopped goes on there.

const cache = process.env["PENFIELD_CACHE"] ?? join(homedir(), ".cache", "penfield");
const folder = join(cache, "real-models", "smollm2-135m-instruct");
const made = existsSync(join(folder, "onnx", "model.onnx"));
const root = fileURLToPath(new URL("../../", import.meta.url));
const wanted = process.env["PENFIELD_CENSUS"];
const whole = wanted !== undefined;
const out = join(root, "reports", whole ? "census-smollm2" : "census-smollm2-part");

const LAYER = 15;
const N_UNITS = 1536;
const SEED = 1;
const hooks = layerHooks(LAYER);

describe.skipIf(!made)(
  `one layer of SmolLM2-135M-Instruct${made ? "" : " (skipped: run test/real-models/make_smollm2.py first)"}`,
  () => {
    let model: HookedModel;
    let texts: CorpusText[];
    let own: LayerCensus;
    let random: LayerCensus;
    let found: Descriptions;
    const keep = (name: string, value: unknown) =>
      writeFile(join(out, `${name}.json`), `${JSON.stringify(value, undefined, 1)}\n`);

    beforeAll(async () => {
      if (!whole) await rm(out, { recursive: true, force: true });
      await mkdir(out, { recursive: true });
      const all = await corpusTexts(join(root, "corpora"), join(root, "..", "shared", "data"));
      texts = whole ? all : all.filter((_, i) => i % 10 === 0);
      const verify = "none";
      random = await takeLayerCensus(
        () => HookedModel.fromPretrained(folder, { untrained: SEED, verify }),
        texts,
        LAYER,
        join(out, "random"),
      );
      model = await HookedModel.fromPretrained(folder, { verify });
      own = await takeLayerCensus(
        () => HookedModel.fromPretrained(folder, { verify }),
        texts,
        LAYER,
        join(out, "own"),
      );
    }, 30 * 60_000);
    afterAll(async () => {
      await own?.census.close();
      await random?.census.close();
      await model?.dispose();
    });

    test("a census of all neurons, and their types", async () => {
      const { nTokens, nDocuments, corpusSha256 } = own.census.meta;
      expect(own.census.hook(hooks.turned).nUnits).toBe(N_UNITS);
      expect(random.census.meta).toMatchObject({ nTokens, nDocuments, corpusSha256 });
      const types: Record<string, unknown> = {};
      for (const [name, { census }] of Object.entries({ own, random })) {
        for (const [kind, hook] of Object.entries(hooks)) {
          const { counts, classes } = await typesAt(census, hook);
          types[`${name} ${kind}`] = counts;
          expect(classes.length).toBe(N_UNITS);
          // Nobody can be dead and active on more than half of the tokens.
          for (const unit of classes) {
            expect(unit.types.includes("dead") && unit.types.includes("dense")).toBe(false);
            expect(unit.types.includes("dead")).toBe(unit.nActive === 0);
          }
        }
      }
      const negative = own.turned.signs.filter((sign) => sign < 0).length;
      await keep("types", {
        ...{ nTokens, nDocuments, types, negative },
      });
      console.log(JSON.stringify(types));
    });

    test(
      "descriptions stand beside all three floors, and rules fitted to nothing reach nothing",
      async () => {
        const since = performance.now();
        found = await describeLayer(own.census, random.census, {
          hook: hooks.turned,
          n: whole ? Number(wanted) : 60,
          nFloorUnits: whole ? 200 : 30,
          name: "turned",
        });
        const seconds = (performance.now() - since) / 1000;
        const summary = summarize(found);
        await keep("descriptions", { ...summary, seconds, floors: found.floors });
        console.log(JSON.stringify(summary, undefined, 1));
        expect(Math.abs(summary.shuffledR.median)).toBeLessThan(0.02);
        expect(summary.randomModelR!.n).toBe(found.floors.shuffled.nUnits);
        const limit = found.floors.shuffled.r[Math.ceil(0.95 * found.floors.shuffled.nUnits) - 1]!;
        for (const unit of found.units) {
          if (unit.refusal !== undefined) continue;
          expect(unit.rule).toBeDefined();
          expect(unit.r).toBeGreaterThanOrEqual(0.3);
          expect(unit.scores!.rLow).toBeGreaterThan(Math.max(unit.otherRuleR ?? 0, limit));
        }
      },
      60 * 60_000,
    );

    test("the same units again give the same descriptions", async () => {
      const units = found.units.slice(0, 5).map(({ unit }) => unit);
      const options = { units, groupOf, nFloorUnits: 2 };
      expect(await describeUnits(own.census, options)).toEqual(
        await describeUnits(own.census, options),
      );
    });

    test(
      "facets and their names, beside the network with shuffled weights",
      async () => {
        const counts: Record<string, object> = {};
        for (const [name, { census }] of Object.entries({ own, random })) {
          const units = unitsOf(census, hooks.turned, whole ? 300 : 40, 2);
          const notes = await unitFacets(census, { units });
          const facets = notes.flatMap((note) => note.facets);
          const named = facets.filter(({ phrase }) => phrase !== null);
          const nNamed = notes.map(
            (note) => note.facets.filter(({ phrase }) => phrase !== null).length,
          );
          counts[name] = {
            nUnits: units.length,
            nUnitsByFacets: [0, 1, 2, 3, 4].map(
              (n) => notes.filter((note) => note.facets.length === n).length,
            ),
            nUnitsByNames: [0, 1, 2, 3, 4].map((n) => nNamed.filter((own) => own === n).length),
            nFacets: facets.length,
            nNamed: named.length,
            share: spreadOf(named.map(({ share }) => share ?? undefined)),
            otherShare: spreadOf(named.map(({ otherShare }) => otherShare ?? undefined)),
          };
          for (const { share, otherShare } of named) {
            expect(share! - otherShare!).toBeGreaterThanOrEqual(0.5);
          }
        }
        await keep("facets", counts);
      },
      30 * 60_000,
    );

    test(
      "the plain product in place of the heavier side",
      async () => {
        const plain = await describeLayer(own.census, random.census, {
          hook: hooks.product,
          n: whole ? 100 : 20,
          nFloorUnits: whole ? 50 : 10,
          name: "plain",
        });
        const { firstUnit } = own.census.hook(hooks.turned);
        const indices = new Set(plain.units.map(({ index }) => firstUnit + index));
        const same = { ...found, units: found.units.filter(({ unit }) => indices.has(unit)) };
        await keep("plain", { plain: summarize(plain), turned: summarize(same) });
        expect(Math.abs(summarize(plain).shuffledR.median)).toBeLessThan(0.02);
      },
      30 * 60_000,
    );

    test(
      "interchanges of described and of refused neurons, beside neurons that change as much",
      async () => {
        const since = performance.now();
        const text = await mediationText(model, own);
        const results: Record<string, Mediation[]> = {};
        const n = whole ? 20 : 3;
        for (const kind of ["described", "refused"] as const) {
          const pool = found.units.filter(
            ({ refusal, rule }) => (refusal === undefined) === (kind === "described") && rule,
          );
          const chosen = sampleWithoutReplacement(
            pool.length,
            Math.min(n, pool.length),
            createRng(SEED, 7),
          );
          results[kind] = [];
          for (const i of chosen) {
            const { index, rule } = pool[i]!;
            const asked = { index, rule: kind === "described" ? rule : undefined };
            const options = { nPairs: whole ? 8 : 4, nRandom: whole ? 19 : 5, seed: SEED };
            results[kind].push(await mediation(model, own, text, hooks, asked, options));
          }
          await keep("mediation", { ...results, seconds: (performance.now() - since) / 1000 });
        }
        for (const { scores } of Object.values(results).flat()) {
          if (!scores) continue;
          // Answers are the model's own, so every pair is usable and differs.
          expect(scores.nUsable).toBe(scores.nPairs);
          expect(Number.isFinite(scores.effect)).toBe(true);
          expect(scores.random.length).toBe(whole ? 19 : 5);
        }
      },
      60 * 60_000,
    );
  },
);
