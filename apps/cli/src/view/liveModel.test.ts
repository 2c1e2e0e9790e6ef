import { ArgumentError } from "@penfield/core";
import { HookedModel } from "@penfield/hooks";
import { organismFolder } from "@penfield/organisms";
import { afterAll, expect, test } from "vitest";
import { liveModel } from "./liveModel.ts";

const live = liveModel("organism-a");
const { signal } = new AbortController();
const hook = "blocks.3.mlp.hook_post";
afterAll(() => live.dispose());

test("values are those of the model in this process, without the beginning-of-text token", async () => {
  const text = "The long water was never the same.";
  const { tokens, values, sha256 } = await live.activations({ text, hook, index: 18, signal });
  const model = await HookedModel.fromPretrained(organismFolder("organism-a"), { verify: "none" });
  const ids = model.requireTokenizer().encode(text, { prependBos: true });
  const { cache } = await model.run({ tokens: [ids], capture: [hook], head: "none" });
  const { data, shape } = cache.get(hook)!;
  const expected = ids.slice(1).map((_, i) => data[(i + 1) * shape.at(-1)! + 18]);
  expect(Array.from(values)).toEqual(expected);
  expect(tokens.join("")).toBe(text);
  expect(sha256).toBe(model.sha256);
  await model.dispose();
});

test("silencing the unit alone changes log probabilities as it does in this process", async () => {
  const text = "The long water was never the same.";
  const { silenced, tokens } = await live.activations({ text, hook, index: 18, signal });
  const model = await HookedModel.fromPretrained(organismFolder("organism-a"), { verify: "none" });
  const ids = model.requireTokenizer().encode(text, { prependBos: true });
  const rows = await Promise.all(
    [[], [{ hook, op: { type: "zero" } as const, units: [18] }]].map((interventions) =>
      model.run({ tokens: [ids], interventions, head: "tokenLogProbs" }),
    ),
  );
  const [plain, without] = rows.map(({ tokenLogProbs }) => [...tokenLogProbs!.data].slice(1));
  expect(silenced!.logProbs).toHaveLength(tokens.length);
  for (const [got, expected] of [
    [silenced!.logProbs, plain!],
    [silenced!.silencedLogProbs, without!],
  ] as const) {
    // A batch is summed in another order than a row.
    for (const [i, value] of expected.entries()) expect(got[i]).toBeCloseTo(value, 4);
  }
  expect(silenced!.others.length).toBeGreaterThan(10);
  await model.dispose();
});

test("a text that the model cannot hold is refused, and the next one is read", async () => {
  const ask = (text: string) => live.activations({ text, hook, index: 0, signal });
  await expect(ask("water ".repeat(300))).rejects.toThrow(ArgumentError);
  expect((await ask("water")).values.length).toBeGreaterThan(0);
});
