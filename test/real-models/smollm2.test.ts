import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { sha256File } from "@penfield/core";
import { HookedModel } from "@penfield/hooks";
import { defaultSettings, noStore, probes } from "@penfield/probes";
import { writeReport } from "@penfield/report";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const cache = process.env["PENFIELD_CACHE"] ?? join(homedir(), ".cache", "penfield");
const folder = join(cache, "real-models", "smollm2-135m-instruct");
const data = fileURLToPath(new URL("../../../shared/data", import.meta.url));
const made = existsSync(join(folder, "onnx", "model.onnx"));
const published = existsSync(join(data, "stimuli", "langloc"));

describe.skipIf(!made)(
  `SmolLM2-135M-Instruct${made ? "" : " (skipped: run test/real-models/make_smollm2.py first)"}`,
  () => {
    let model: HookedModel;
    beforeAll(async () => {
      model = await HookedModel.fromPretrained(folder);
    });
    afterAll(() => model?.dispose());

    test("the export is the one whose logits were checked against PyTorch", async () => {
      const check = JSON.parse(readFileSync(join(folder, "check.json"), "utf8"));
      expect(await sha256File(join(folder, "onnx", "model.onnx"))).toBe(check.onnxSha256);
      expect(check.maxAbsDifference).toBeLessThan(1e-3);
    });

    test("hooks leave it bit-equal, and each of them was seen to work", () => {
      expect(model.identity).toEqual({ state: "exact", maxAbsDifference: 0 });
      expect(model.hookPoints.filter((h) => h.writable && !h.verified)).toEqual([]);
      expect(model.cfg).toMatchObject({
        nLayers: 30,
        dModel: 576,
        nHeads: 9,
        nKeyValueHeads: 3,
        dMlp: 1536,
        dVocab: 49152,
        gatedMlp: true,
      });
    });

    test("residual identities hold exactly in all 30 layers", async () => {
      const ids = model.requireTokenizer().encode("The keys to the cabinet are on the table.");
      const { cache: values } = await model.runWithCache([ids], { namesFilter: "blocks.*" });
      for (let l = 0; l < model.cfg.nLayers; l++) {
        const at = (name: string) => values.get(`blocks.${l}.${name}`)!.data;
        expect(
          at("hook_resid_mid").every(
            (v, i) => v === Math.fround(at("hook_resid_pre")[i]! + at("hook_attn_out")[i]!),
          ),
        ).toBe(true);
        expect(
          at("hook_resid_post").every(
            (v, i) => v === Math.fround(at("hook_resid_mid")[i]! + at("hook_mlp_out")[i]!),
          ),
        ).toBe(true);
      }
    });

    test("it prefers grammatical sentences", async () => {
      const score = async (text: string): Promise<number> => {
        const { tokenLogProbs } = await model.run({
          tokens: [model.requireTokenizer().encode(text)],
          head: "tokenLogProbs",
        });
        return tokenLogProbs!.data.reduce((a, b) => a + b, 0);
      };
      expect(await score("The keys to the cabinet are on the table.")).toBeGreaterThan(
        await score("The keys to the cabinet is on the table."),
      );
    });

    test.skipIf(!published)(
      "the main job runs on published stimuli, tasks and a recording",
      async () => {
        await model.dispose();
        const probe = probes.find((p) => p.id === "language-network")!;
        const result = await probe.run({
          settings: {
            ...defaultSettings,
            model: folder,
            stimuli: join(data, "stimuli", "langloc"),
            tasks: [
              join(data, "stimuli", "blimp", "BLiMP.zip"),
              join(data, "stimuli", "syntaxgym"),
            ],
            recordings: join(data, "pereira2018", "scaled_500_pereira_targets_M02.txt"),
            recordingStimuli: join(data, "stimuli", "pereira180", "screen_sentences.csv"),
            recordingKey: "concept",
            doses: [1],
            nRandom: 2,
            itemsPerGroup: 1,
          },
          work: noStore,
        });
        const out = await mkdtemp(join(tmpdir(), "penfield-real-"));
        await writeReport(join(out, "report"), result);
        await rm(out, { recursive: true });
        expect(result.report.sections.map((s) => s.kind)).toEqual([
          "selection",
          "lesion",
          "alignment",
          "units",
        ]);
        expect(result.report.verdicts.length).toBeGreaterThanOrEqual(3);
      },
    );
  },
);
