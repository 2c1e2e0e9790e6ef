import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ArgumentError, DataError, InterruptedError, TokenizerError } from "@penfield/core";
import { HookedModel, type RunnableModel } from "@penfield/hooks";
import { organismFolder } from "@penfield/organisms";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { localTextModel, surprisalJudge } from "./localTextModel.ts";
import { readPrompt } from "./prompts.ts";

let model: HookedModel;
beforeAll(async () => {
  model = await HookedModel.fromPretrained(organismFolder("organism-a"), { verify: "none" });
});
afterAll(() => model.dispose());

const words = (text: string) => text.split(/(?= )/);
const contexts = [
  { tokens: words("The horse ran over the field, and the dog after it.") },
  { tokens: words("He had no money left, so he wrote to his uncle.") },
];

describe("surprisalJudge", () => {
  test("is the difference of two log-probabilities, by hand", async () => {
    const judge = await surprisalJudge(model, { batchSize: 1 });
    const found = await judge.classify("horses and dogs", contexts);
    const tokenizer = model.requireTokenizer();
    const sum = async (description: string, text: string) => {
      const prefix = tokenizer.encode(
        `Each of the following texts fits this description: ${description}\n\n`,
      );
      const tokens = [...prefix, ...tokenizer.encode(text, { prependBos: false })];
      const { logits } = await model.run({ tokens: [tokens] });
      const { data, shape } = logits!;
      let total = 0;
      for (let p = prefix.length; p < tokens.length; p++) {
        const scores = data.subarray((p - 1) * shape[2]!, p * shape[2]!);
        const max = Math.max(...scores);
        const whole = max + Math.log(scores.reduce((s, x) => s + Math.exp(x - max), 0));
        total += scores[tokens[p]!]! - whole;
      }
      return total;
    };
    for (const [i, { tokens }] of contexts.entries()) {
      const text = tokens.join("");
      const expected = (await sum("horses and dogs", text)) - (await sum("any text", text));
      expect(found[i]).toBeCloseTo(expected, 3);
    }
    // Together with others the same, up to rounding.
    const together = await (await surprisalJudge(model)).classify("horses and dogs", contexts);
    for (const [i, value] of together.entries()) expect(value).toBeCloseTo(found[i]!, 3);
    expect(judge.prompts["surprisal"]).toMatch(/^[0-9a-f]{64}$/);
    expect((await judge.classify("any text", contexts)).every((value) => value === 0)).toBe(true);
  });

  test("of marked tokens alone: the parts make the whole", async () => {
    const judge = await surprisalJudge(model);
    const { tokens } = contexts[0]!;
    const [whole] = await judge.classify("horses", [{ tokens }]);
    const marks = tokens.map((_, i) => ({ tokens, marked: [i] }));
    const parts = await judge.classify("horses", marks);
    expect(parts.reduce((sum, part) => sum + part, 0)).toBeCloseTo(whole!, 3);
  });

  test("errors", async () => {
    const judge = await surprisalJudge(model);
    const long = { tokens: Array.from({ length: 5000 }, () => " a") };
    await expect(judge.classify("x", [long])).rejects.toThrow(DataError);
    const stop = new AbortController();
    stop.abort();
    await expect(judge.classify("x", contexts, { signal: stop.signal })).rejects.toThrow(
      InterruptedError,
    );
  });
});

describe("localTextModel", () => {
  test("answers that a small model cannot give count as failed; its surprisal judges", async () => {
    const local = await localTextModel({ model });
    expect(local.name).toBe(`local:${model.cfg.modelName}`);
    const evidence = {
      ...{ unit: 0, hook: "x", index: 0, raises: [], lowers: [], nearMisses: [] },
      active: [{ tokens: [" dog"], levels: [10], value: 1, document: 0 }],
    };
    expect(await local.explain(evidence)).toEqual([]);
    const { failures, nFailures } = local.counts();
    expect([nFailures, failures.tooLong + failures.unparsable]).toEqual([1, 1]);
    const own = await surprisalJudge(model);
    expect(await local.classify("dogs", contexts)).toEqual(await own.classify("dogs", contexts));
    const asked = await localTextModel({ model, judge: "answers", logprobs: true });
    expect(await asked.classify("dogs", contexts)).toEqual([Number.NaN, Number.NaN]);
    expect(asked.counts().nFailures).toBe(1);
    await asked.dispose();
    expect(await local.classify("dogs", contexts)).toHaveLength(2); // Not its own model: still open.
  });

  test("a model that keeps to the form is understood, to the end of its first line", async () => {
    // Its weights are the organism's; what it says is set here.
    const said = "[1,0]\nand so on";
    const ids = model.requireTokenizer().encode(said, { prependBos: false });
    let step = 0;
    const scripted = new Proxy<RunnableModel>(model, {
      get(target, key) {
        if (key !== "run") return Reflect.get(target, key, target) as unknown;
        return async (...request: Parameters<RunnableModel["run"]>) => {
          const result = await target.run(...request);
          if (!result.logits) return result;
          const { data, shape } = result.logits;
          data.fill(0);
          const at = data.length - shape[2]! + ids[step++ % ids.length]!;
          data[at] = 50;
          return result;
        };
      },
    });
    // The package's prompts are longer than what the organism reads.
    const promptFolder = await mkdtemp(join(tmpdir(), "penfield-prompts-"));
    for (const name of ["explain", "detect", "fuzz", "output", "simulate"] as const) {
      const { user } = await readPrompt(name);
      const placeholders = new Set(user.match(/\{[a-zA-Z]+\}/g));
      await writeFile(join(promptFolder, `${name}.txt`), [...placeholders].join("\n"));
    }
    const local = await localTextModel({ model: scripted, judge: "answers", promptFolder });
    expect(await local.classify("dogs", contexts)).toEqual([1, 0]);
    expect(step).toBeLessThan(ids.length);
    await rm(promptFolder, { recursive: true });
  });

  test("errors", async () => {
    await expect(localTextModel({})).rejects.toThrow(ArgumentError);
    await expect(localTextModel({ model, folder: "x" })).rejects.toThrow(ArgumentError);
    const bare = await HookedModel.fromPretrained("test/fixtures/gpt2", { verify: "none" });
    await expect(localTextModel({ model: bare })).rejects.toThrow(TokenizerError);
    await bare.dispose();
  });
});
