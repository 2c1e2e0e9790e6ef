import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { AutoModelForCausalLM, AutoTokenizer, env } from "@huggingface/transformers";
import { HookedModel } from "@penfield/hooks";
import { organismFolder, organisms } from "@penfield/organisms";
import { describe, expect, test } from "vitest";

describe.each(organisms)("%s", (name) => {
  const folder = organismFolder(name);
  const text = "The keys to the cabinet are on the table, and 27+14=41.";

  test("its files are there", () => {
    for (const file of [
      "config.json",
      "tokenizer.json",
      "onnx/model.onnx",
      "README.md",
      "provenance.json",
      "loss.csv",
    ]) {
      expect(existsSync(join(folder, file)), file).toBe(true);
    }
  });

  test("hooks leave it bit-equal", async () => {
    const model = await HookedModel.fromPretrained(folder);
    expect(model.identity).toEqual({ state: "exact", maxAbsDifference: 0 });
    expect(model.hookPoints.filter((h) => h.writable && !h.verified)).toEqual([]);
    await model.dispose();
  });

  test("transformers.js opens it too, with the same tokens and logits", async () => {
    env.allowRemoteModels = false;
    env.localModelPath = `${dirname(folder)}/`;
    const tokenizer = await AutoTokenizer.from_pretrained(name);
    const theirs = await AutoModelForCausalLM.from_pretrained(name, {
      dtype: "fp32",
      device: "cpu",
    });
    const inputs = tokenizer(text);
    const { logits } = await theirs(inputs);
    const model = await HookedModel.fromPretrained(folder, { verify: "none" });
    const ids = model.requireTokenizer().encode(text);
    expect(ids).toEqual(Array.from(inputs.input_ids.data as BigInt64Array, Number));
    const ours = (await model.run({ tokens: [ids] })).logits!;
    const difference = ours.data.reduce(
      (max, v, i) => Math.max(max, Math.abs(v - logits.data[i])),
      0,
    );
    // Their session runs at a higher optimisation level.
    expect(difference).toBeLessThan(1e-3);
    await model.dispose();
    await theirs.dispose();
  });
});
