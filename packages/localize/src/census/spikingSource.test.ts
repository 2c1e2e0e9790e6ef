import { ArgumentError, DataError, HookPointError, ShapeError } from "@penfield/core";
import type { InputRecording, RecordingModel } from "@penfield/hooks";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type SpikingSource, spikingSource } from "./spikingSource.ts";

const point = (name: string, kind: string, nUnits: number, axes = ["row", "step", "unit"]) => ({
  ...{ name, kind, nUnits, axes },
  layer: 0,
});

/** Unit 0 copies channel 0, unit 1 adds all channels; `v` is ten times that. Counts its runs. */
function sumModel(nChannels: number): RecordingModel & { readonly shapes: number[][] } {
  const shapes: number[][] = [];
  const hooks = [
    point("a.spikes", "spikes", 2),
    point("a.v", "v", 2),
    point("a.weight", "weight", 2, ["out", "in"]),
  ];
  return {
    name: "sum",
    sha256: "0".repeat(64),
    shapes,
    hookPoints: hooks,
    hookPoint: (name) => hooks.find((hook) => hook.name === name)!,
    listHooks: (pattern = "*") =>
      hooks.filter(({ name }) => name === pattern || name.endsWith(pattern.slice(1))),
    run({ input: { data, shape } }) {
      shapes.push([...shape]);
      const [nRows, nSteps] = shape as [number, number];
      const spikes = new Float64Array(nRows * nSteps * 2);
      for (let i = 0; i < nRows * nSteps; i++) {
        for (let c = 0; c < nChannels; c++) {
          const value = data[i * nChannels + c]!;
          if (c === 0) spikes[2 * i] = value;
          spikes[2 * i + 1]! += value;
        }
      }
      const of = (data_: Float64Array) => ({ data: data_, shape: [nRows, nSteps, 2] });
      return Promise.resolve({
        output: of(spikes),
        cache: new Map([
          ["a.spikes", of(spikes)],
          ["a.v", of(spikes.map((s) => 10 * s))],
        ]),
      });
    },
  };
}

const recording = (id: string, rows: readonly (readonly number[])[]): InputRecording => ({
  id,
  data: rows.flat(),
  shape: [rows.length, rows[0]!.length],
});
const L = [1, 0, 0];
const R = [0, 1, 0];
const C = [0, 0, 1];
const O = [0, 0, 0];
const channels = { left: [0], right: [1], "the cue": [2] };

const readAll = ({ source, documents }: Pick<SpikingSource, "source" | "documents">) =>
  source.read(
    documents.map(({ tokens }) => tokens),
    documents.map(({ id }) => id),
  );

describe("spikingSource", () => {
  const two = [recording("x", [L, R, O, O, L, C, L]), recording("y", [O, R, R, R])];
  const said = (options: Parameters<typeof spikingSource>[2]) => {
    const { documents, symbols } = spikingSource(sumModel(3), two, options);
    return documents.map(({ tokens }) => tokens.map((token) => symbols[token]).join(" "));
  };

  test("bins are called after the channels that are active in them", () => {
    expect(said({ binSteps: 2, channels })).toEqual([
      "#left+#right #none #left+#the_cue",
      "#right #right",
    ]);
    expect(said({ channels: { pulse: [0, 1] } })[0]).toBe(
      "#pulse #pulse #none #none #pulse #none #pulse",
    );
    expect(said({ binSteps: 4 })[1]).toBe("#ch1");
    expect(said({ binSteps: 4, activeAbove: 1 })).toEqual(["#none", "#ch1"]);
  });

  test("or after the strongest, per channel, and equal ones together", () => {
    const naming = "strongest" as const;
    expect(said({ binSteps: 3, channels, naming })).toEqual([
      "#left+#right #left+#the_cue",
      "#right",
    ]);
    // Pulses are spread over two channels, the cue has one.
    expect(said({ binSteps: 3, channels: { wide: [0, 1], cue: [2] }, naming })[0]).toBe(
      "#wide #cue",
    );
  });

  test("or by symbols of one's own", () => {
    const seen: unknown[] = [];
    const { symbols } = spikingSource(sumModel(3), [two[0]!], {
      binSteps: 3,
      symbolOf: ({ id, bin, from, to, activity }) => {
        seen.push([id, bin, from, to, ...activity]);
        return `n${activity.reduce((a, b) => a + b, 0)}`;
      },
    });
    expect(seen).toEqual([
      ["x", 0, 0, 3, 1, 1, 0],
      ["x", 1, 3, 6, 1, 0, 1],
    ]);
    expect(symbols).toEqual(["n2"]);
  });

  test("values are counts of spikes, and means of all else, whatever runs together", async () => {
    const model = sumModel(3);
    const options = { hooks: ["*.spikes", "*.v"], binSteps: 2, channels };
    const { source, documents } = spikingSource(model, two, options);
    expect(source.hooks).toEqual([
      { name: "a.spikes", layer: 0, nUnits: 2 },
      { name: "a.v", layer: 0, nUnits: 2 },
    ]);
    const [spikes, v] = await readAll({ source, documents });
    expect(Array.from(spikes!)).toEqual([1, 2, 0, 0, 1, 2, 0, 1, 0, 2]);
    expect(Array.from(v!)).toEqual([5, 10, 0, 0, 5, 10, 0, 5, 0, 10]);
    expect(model.shapes).toEqual([[2, 7, 3]]);
    const alone = spikingSource(sumModel(3), two, { ...options, batchValues: 1 });
    const read = await readAll(alone);
    expect(read.map((values) => Array.from(values))).toEqual([Array.from(spikes!), Array.from(v!)]);
    expect([source.vocabularySize, source.maxTokens, source.tokenText?.(0)]).toEqual([
      4,
      3,
      " #left+#right",
    ]);
  });

  test("recordings with the same symbols are told apart by their ids", async () => {
    const [a, b] = [recording("a", [L, O]), recording("b", [O, L])];
    const { source, documents } = spikingSource(sumModel(3), [a, b, recording("c", [R, R])], {
      binSteps: 2,
      hooks: "a.spikes",
      symbolOf: ({ activity }) => (activity[1] === 2 ? "#r" : "#x"),
    });
    const [first, second, third] = documents.map(({ tokens }) => tokens);
    expect(first).toEqual(second);
    const [values] = await source.read([[...third!], [...second!]], ["c", "b"]);
    expect(Array.from(values!)).toEqual([0, 2, 1, 1]);
    await expect(source.read([second!], ["d"])).rejects.toThrow(
      /d: expected a recording of this source/,
    );
    await expect(source.read([third!], ["a"])).rejects.toThrow(/a: expected the tokens of this/);
    await expect(source.read([[0, 0]], ["a"])).rejects.toThrow(DataError);
    await expect(source.read([second!])).rejects.toThrow(/expected the ids of 1 documents, got 0/);
  });

  test("its hash is of the model as it was opened, the inputs and the bins", () => {
    const of = (model: object, list = two, binSteps = 1) =>
      spikingSource({ ...sumModel(3), ...model }, list, { binSteps }).source.sha256;
    const hashes = [
      of({}),
      of({ dt: 0.001 }),
      of({ options: { reset: "zero" } }),
      of({ precision: "float32" }),
      of({}, two, 2),
      of({}, [two[0]!]),
    ];
    expect(new Set(hashes).size).toBe(6);
    expect(of({})).toBe(hashes[0]);
    expect(of({ precision: "float64" })).toBe(hashes[0]);
  });

  test("no value is lost or counted twice", async () => {
    const trial = fc
      .tuple(
        fc.integer({ min: 3, max: 9 }),
        fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 27 }),
      )
      .map(([nSteps, data]) => ({ nSteps, data: data.slice(0, 3 * nSteps) }))
      .filter(({ nSteps, data }) => data.length === 3 * nSteps);
    await fc.assert(
      fc.asyncProperty(fc.array(trial, { minLength: 1, maxLength: 5 }), async (list) => {
        const given = list.map(({ nSteps, data }, i) => ({
          id: String(i),
          data,
          shape: [nSteps, 3],
        }));
        const { source, documents } = spikingSource(sumModel(3), given, {
          binSteps: 3,
          batchValues: 60,
        });
        const [values] = await readAll({ source, documents });
        const expected = list.reduce(
          (sum, { nSteps, data }) =>
            sum + data.slice(0, 9 * Math.floor(nSteps / 3)).reduce((a, b) => a + b, 0),
          0,
        );
        const all = values!.reduce((sum, v, i) => sum + (i % 2 === 1 ? v : 0), 0);
        expect(all).toBe(expected);
      }),
      { numRuns: 30 },
    );
  });

  test.each<
    [string, Parameters<typeof spikingSource>[1], Parameters<typeof spikingSource>[2], unknown]
  >([
    ["no recordings", [], {}, DataError],
    ["a recording shorter than a bin", two, { binSteps: 5 }, DataError],
    ["other channels", [two[0]!, recording("z", [[1]])], {}, ShapeError],
    ["fewer values than its shape says", [{ id: "z", data: [1], shape: [1, 3] }], {}, ShapeError],
    ["no channels", [{ id: "z", data: [1], shape: [1] }], {}, ShapeError],
    ["half a step", two, { binSteps: 1.5 }, ArgumentError],
    ["a channel that is not there", two, { channels: { left: [3] } }, ArgumentError],
    ["a name without channels", two, { channels: { left: [] } }, ArgumentError],
    ["names that read the same", two, { channels: { "a b": [0], a_b: [1] } }, ArgumentError],
    ["a name that stands for silence", two, { channels: { none: [0] } }, ArgumentError],
    [
      "many channels without names",
      [{ id: "z", data: new Float32Array(65), shape: [1, 65] }],
      {},
      ArgumentError,
    ],
    ["two recordings of one id", [two[0]!, two[0]!], {}, ArgumentError],
    ["an unknown way of naming", two, { naming: "first" as never }, ArgumentError],
    ["an unknown hook", two, { hooks: "*.out" }, HookPointError],
    ["a hook of weights", two, { hooks: "a.weight" }, HookPointError],
  ])("refuses %s", (_, recordings, options, error) => {
    expect(() => spikingSource(sumModel(3), recordings, options)).toThrow(error as never);
  });
});
