import { join } from "node:path";
import { ArgumentError, HookPointError, takeColumns, takeRows } from "@penfield/core";
import { HookedModel } from "@penfield/hooks";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { unitSpans } from "./activationStore.ts";
import { type ActivationStore, captureActivations, openActivations } from "./index.ts";
import { gpt2, randomRows, temporaryFolder } from "./testSetting.ts";

const rows = randomRows(30, 10, 5);
const nRows = rows.flat().length;
const hook = "blocks.1.mlp.hook_post";

describe.each(["float32", "float16"] as const)("%s", (dtype) => {
  let store: ActivationStore;
  let remove: () => Promise<void>;
  let all: Awaited<ReturnType<ActivationStore["read"]>>;
  beforeAll(async () => {
    const folder = await temporaryFolder();
    ({ remove } = folder);
    const model = await HookedModel.fromPretrained(gpt2, { threads: 1, verify: "none" });
    const path = join(folder.path, "store");
    await captureActivations(model, rows, path, {
      hooks: [hook, "hook_embed"],
      dtype,
      shardTokens: 33,
    });
    await model.dispose();
    store = await openActivations(path);
    all = await store.read(hook);
  });
  afterAll(() => remove());

  test("any rows, any units, in any order", async () => {
    const range = fc
      .tuple(fc.integer({ min: 0, max: nRows }), fc.integer({ min: 0, max: nRows }))
      .map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const);
    const units = fc.array(fc.integer({ min: 0, max: 95 }), { maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(range, units, async ([from, to], chosen) => {
        const some = takeRows(
          all,
          Array.from({ length: to - from }, (_, i) => from + i),
        );
        expect(await store.read(hook, { from, to })).toEqual(some);
        expect(await store.readUnits(hook, chosen, { from, to })).toEqual(
          takeColumns(some, chosen),
        );
      }),
      { numRuns: 60 },
    );
    expect(await store.readUnits(hook, [3])).toEqual(takeColumns(all, [3]));
    expect(all.axes).toEqual(["stimulus", "unit"]);
  });

  test("batches hold every row once", async () => {
    const seen: number[] = [];
    for await (const { from, values } of store.batches(hook, { rowsAtOnce: 7 })) {
      expect(from).toBe(seen.length / 96);
      expect(values.shape[0]).toBeLessThanOrEqual(7);
      seen.push(...values.data);
    }
    expect(seen).toEqual(Array.from(all.data));
    const { value } = await store.batches(hook).next();
    expect(value).toEqual({ from: 0, values: all });
  });

  test("places", async () => {
    const wanted = rows.flatMap((row, text) =>
      row.map((_, position) => ({ text, id: String(text), position })),
    );
    expect(wanted.map((_, row) => store.place(row))).toEqual(wanted);
    let start = 0;
    for (const [text, row] of rows.entries()) {
      expect(store.rowsOf(text)).toEqual({ from: start, to: start + row.length });
      expect(Array.from(await store.tokensOf(text))).toEqual(row);
      start += row.length;
    }
  });

  test("what is not there", async () => {
    expect(store.listHooks().map(({ name }) => name)).toEqual(["hook_embed", hook]);
    expect(store.listHooks("blocks.*")).toHaveLength(1);
    await expect(store.read("blocks.0.mlp.hook_post")).rejects.toThrow(HookPointError);
    const wrong: (() => Promise<unknown>)[] = [
      () => store.read(hook, { from: -1 }),
      () => store.read(hook, { to: nRows + 1 }),
      () => store.read(hook, { from: 5, to: 4 }),
      () => store.read(hook, { from: 0.5 }),
      () => store.readUnits(hook, [96]),
      () => store.readUnits(hook, [-1]),
      () => store.tokensOf(30),
      async () => store.rowsOf(-1),
      async () => store.place(nRows),
      () => store.batches(hook, { rowsAtOnce: 0 }).next(),
    ];
    for (const call of wrong) await expect(call()).rejects.toThrow(ArgumentError);
  });
});

describe("unitSpans", () => {
  test("by hand: near units together, far ones apart, whole rows where that is cheaper", () => {
    expect(unitSpans([5], 96, 4)).toEqual([[0, 96]]); // a short row
    expect(unitSpans([7, 5], 100_000, 4)).toEqual([[5, 8]]);
    expect(unitSpans([5, 50_000], 100_000, 4)).toEqual([
      [5, 6],
      [50_000, 50_001],
    ]);
    expect(unitSpans([0, 97_999, 20_000, 40_000, 60_000, 80_000], 98_000, 1)).toEqual([
      [0, 98_000],
    ]);
    expect(unitSpans([], 96, 4)).toEqual([]);
  });

  test("every unit lies in a span, and spans do not touch", () => {
    const units = fc.array(fc.integer({ min: 0, max: 99_999 }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(units, fc.constantFrom(2, 4), (chosen, width) => {
        const spans = unitSpans(chosen, 100_000, width);
        for (const unit of chosen) {
          expect(spans.filter(([low, high]) => unit >= low && unit < high)).toHaveLength(1);
        }
        for (let i = 1; i < spans.length; i++)
          expect(spans[i]![0]).toBeGreaterThan(spans[i - 1]![1]);
      }),
    );
  });
});
