import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import {
  ArgumentError,
  createRng,
  DataError,
  FileError,
  HookPointError,
  readNpy,
  ShapeError,
} from "@penfield/core";
import type { InputRecording, RecordingModel } from "@penfield/hooks";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { captureActivations, openActivations } from "./index.ts";
import { hashes, temporaryFolder } from "./testSetting.ts";

let root: string;
let remove: () => Promise<void>;
beforeEach(async () => {
  ({ path: root, remove } = await temporaryFolder());
});
afterEach(() => remove());
const at = (...parts: string[]) => join(root, ...parts);

const AXES = ["row", "step", "unit"];
const HOOKS = [
  { name: "lif.v", kind: "v", layer: 0, axes: AXES, nUnits: 2 },
  { name: "lif.spikes", kind: "spikes", layer: 0, axes: AXES, nUnits: 2 },
  { name: "inner/lif.v", kind: "v", layer: 1, axes: AXES, nUnits: 2 },
  { name: "fc.weight", kind: "weight", layer: undefined, axes: ["out", "in"], nUnits: 2 },
];

/** Two units with memory: the sum of each channel since the beginning, and 1 where it is odd. */
function counter(changes: Partial<RecordingModel> = {}): RecordingModel & { runs: number } {
  const model = {
    name: "counter.nir",
    sha256: "c".repeat(64),
    dt: 0.001,
    options: { reset: "zero", delayedEdges: undefined },
    hookPoints: HOOKS,
    runs: 0,
    listHooks: (pattern = "*") => HOOKS.filter(({ name }) => name.endsWith(pattern.slice(1))),
    hookPoint(name: string) {
      const found = HOOKS.find((hook) => hook.name === name);
      if (!found) throw new HookPointError(`hookPoint: got ${name}`);
      return found;
    },
    run({ input: { data, shape } }: Parameters<RecordingModel["run"]>[0]) {
      model.runs++;
      const [nRows, nSteps] = shape as [number, number];
      const v = new Float64Array(nRows * nSteps * 2);
      for (let row = 0; row < nRows; row++) {
        for (let t = 0; t < nSteps; t++) {
          for (let c = 0; c < 2; c++) {
            const i = (row * nSteps + t) * 2 + c;
            v[i] = (t > 0 ? v[i - 2]! : 0) + data[i]!;
          }
        }
      }
      const of = (values: Float64Array) => ({ data: values, shape: [nRows, nSteps, 2] });
      const cache = new Map([
        ["lif.v", of(v)],
        ["lif.spikes", of(v.map((sum) => sum % 2))],
      ]);
      return Promise.resolve({ output: of(v), cache });
    },
    ...changes,
  };
  return model;
}

const rng = createRng(4);
const recordings = Array.from({ length: 7 }, (_, i): InputRecording => {
  const nSteps = 3 + ((5 * i) % 7);
  return {
    id: `trial ${i}`,
    data: Array.from({ length: 2 * nSteps }, () => rng.below(3)),
    shape: [nSteps, 2],
  };
});
const nSteps = recordings.reduce((sum, { shape }) => sum + shape[0]!, 0);
/** The sums since the beginning, step by step. */
const sums = recordings.map(({ data, shape }) => {
  const own: number[] = [];
  for (let i = 0; i < 2 * shape[0]!; i++) own.push((own[i - 2] ?? 0) + data[i]!);
  return own;
});
const small = { hooks: ["*.spikes", "lif.v"], shardTokens: 12, batchTokens: 16 };

describe("recordings", () => {
  test("are captured step by step, in their order, as if each were run alone", async () => {
    const model = counter();
    const summary = await captureActivations(model, recordings, at("s"), small);
    expect(summary).toMatchObject({
      hooks: ["lif.v", "lif.spikes"],
      nTexts: 7,
      nTokens: nSteps,
      nRows: nSteps,
    });
    expect(summary.nShards).toBeGreaterThan(2);
    expect(model.runs).toBeLessThan(7);
    const store = await openActivations(at("s"));
    expect(store.index.model).toMatchObject({ dt: 0.001, conventions: { reset: "zero" } });
    expect(Array.from((await store.read("lif.v")).data)).toEqual(sums.flat());
    expect(Array.from((await store.read("lif.spikes")).data)).toEqual(
      sums.flat().map((sum) => sum % 2),
    );
    expect(store.place(nSteps - 1)).toEqual({
      text: 6,
      id: "trial 6",
      position: sums[6]!.length / 2 - 1,
    });
    const active = recordings.map(({ data, shape }) =>
      Array.from(
        { length: shape[0]! },
        (_, t) => Number(data[2 * t] !== 0) + Number(data[2 * t + 1] !== 0),
      ),
    );
    expect(Array.from(await store.tokensOf(3))).toEqual(active[3]);
    expect(readNpy(await readFile(at("s", "shard-00000", "lif.v.npy"))).data).toBeInstanceOf(
      Float32Array,
    );
  });

  test.each(["last", "mean"] as const)("%s: one row for each", async (positions) => {
    await captureActivations(counter(), recordings, at("s"), { ...small, positions });
    const { data } = await (await openActivations(at("s"))).read("lif.v");
    const expected = sums.flatMap((own) => {
      if (positions === "last") return own.slice(-2);
      const n = own.length / 2;
      const of = (c: number) => own.reduce((sum, v, i) => sum + (i % 2 === c ? v / n : 0), 0);
      return [of(0), of(1)];
    });
    expect(data.length).toBe(14);
    data.forEach((value, i) => {
      expect(value).toBeCloseTo(expected[i]!, 5);
    });
  });

  test("maxTokens keeps their first steps", async () => {
    await captureActivations(counter(), recordings, at("s"), { ...small, maxTokens: 4 });
    const { data } = await (await openActivations(at("s"))).read("lif.v");
    expect(Array.from(data)).toEqual(sums.flatMap((own) => own.slice(0, 8)));
  });

  test("what was stopped goes on to the same bytes", async () => {
    await captureActivations(counter(), recordings, at("whole"), small);
    await captureActivations(counter(), recordings, at("cut"), small);
    await rm(at("cut", "shard-00001"), { recursive: true });
    const model = counter();
    const resumed = await captureActivations(model, recordings, at("cut"), {
      ...small,
      resume: true,
    });
    expect(resumed.nResumed).toBe(resumed.nShards - 1);
    expect(await hashes(at("cut"))).toEqual(await hashes(at("whole")));
  });

  test.each<[RegExp, Partial<RecordingModel>, readonly InputRecording[]]>([
    [/a dt of 0.001 s/, { dt: 0.002 }, recordings],
    [/conventions of another simulator/, { options: { reset: "subtract" } }, recordings],
    [
      /conventions of another simulator, or another precision/,
      { precision: "float32" },
      recordings,
    ],
    [/another model/, { sha256: "d".repeat(64) }, recordings],
    [
      /another corpus/,
      {},
      [
        { ...recordings[0]!, data: recordings[0]!.shape.flatMap(() => [9, 9, 9]) },
        ...recordings.slice(1),
      ],
    ],
  ])("does not go on with %s", async (message, changes, others) => {
    await captureActivations(counter(), recordings, at("s"), small);
    const again = captureActivations(counter(changes), others, at("s"), { ...small, resume: true });
    await expect(again).rejects.toThrow(FileError);
    await expect(again).rejects.toThrow(message);
  });

  test.each<[string, readonly InputRecording[], object, unknown]>([
    ["none", [], {}, DataError],
    ["one without steps", [{ id: "e", data: [], shape: [0, 2] }], {}, DataError],
    ["other channels", [recordings[0]!, { id: "z", data: [1], shape: [1, 1] }], {}, ShapeError],
    ["fewer values than the shape says", [{ id: "z", data: [1], shape: [2, 2] }], {}, ShapeError],
    ["a beginning-of-text token", recordings, { prependBos: true }, ArgumentError],
    ["pieces", recordings, { longTexts: "split" }, ArgumentError],
    ["weights", recordings, { hooks: "fc.weight" }, HookPointError],
    ["a name that no file can have", recordings, { hooks: "inner/lif.v" }, HookPointError],
    ["an unknown hook", recordings, { hooks: "*.nothing" }, HookPointError],
    ["no hook", recordings, { hooks: [] }, HookPointError],
  ])("refuses %s", async (_, given, options, error) => {
    const captured = captureActivations(counter(), given, at("s"), { ...small, ...options });
    await expect(captured).rejects.toThrow(error as never);
  });
});
