import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { HookPointError, ModelError } from "@penfield/core";
import { encodeModel, makeModel, makeNode, makeTensor, makeValueInfo } from "@penfield/onnx";
import { describe, expect, test } from "vitest";
import type { SpikingIntervention } from "../interventions.ts";
import { StepModel } from "./stepModel.ts";

const shared = fileURLToPath(new URL("../../../../../shared/data/spiking/onnx/", import.meta.url));

/** One step of a leaky unit for each input: `mem' = 0.5 mem + x - spike before`, spike where mem' > 1. */
function leakyStep(n: number): Uint8Array {
  const scalar = (name: string, value: number) => makeTensor(name, "float32", [], [value]);
  return encodeModel(
    makeModel({
      nodes: [
        makeNode("Sub", ["mem", "one"], ["/l/before"]),
        makeNode("Greater", ["/l/before", "zero"], ["/l/g0"]),
        makeNode("Cast", ["/l/g0"], ["/l/reset"], { to: 1n }),
        makeNode("Mul", ["mem", "half"], ["/l/decayed"]),
        makeNode("Add", ["/l/decayed", "x"], ["/l/driven"]),
        makeNode("Sub", ["/l/driven", "/l/reset"], ["mem_out"]),
        makeNode("Sub", ["mem_out", "one"], ["/l/above"]),
        makeNode("Greater", ["/l/above", "zero"], ["/l/g1"]),
        makeNode("Cast", ["/l/g1"], ["spk"], { to: 1n }),
      ],
      inputs: [makeValueInfo("x", "float32", ["b", n]), makeValueInfo("mem", "float32", ["b", n])],
      outputs: [
        makeValueInfo("spk", "float32", ["b", n]),
        makeValueInfo("mem_out", "float32", ["b", n]),
      ],
      initializers: [scalar("one", 1), scalar("zero", 0), scalar("half", 0.5)],
    }),
  );
}

const input = { data: [0.8, 0.8, 0.8, 0.8, 0.8, 0.8], shape: [1, 6, 1] };

describe("a graph of one step", () => {
  test("keeps its state from step to step", async () => {
    const model = StepModel.fromBytes(leakyStep(1));
    expect(model.states).toEqual([["mem", "mem_out"]]);
    expect(model.hookPoints.map((h) => h.name)).toEqual(["mem.v", "mem.reset", "mem.spikes"]);
    const { output, cache } = await model.run({ input, capture: ["mem.v", "mem.spikes"] });
    // By hand: 0.8, 1.2 (spike), 0.4, 1.0, 1.3 (spike), 0.45
    const v = Array.from(cache.get("mem.v")!.data, (x) => Number(x.toFixed(4)));
    expect(v).toEqual([0.8, 1.2, 0.4, 1, 1.3, 0.45]);
    expect(Array.from(output.data)).toEqual([0, 1, 0, 0, 1, 0]);
    expect(cache.get("mem.spikes")!.data).toEqual(output.data);
  });

  test("gives the same in pieces", async () => {
    const model = StepModel.fromBytes(leakyStep(1));
    const whole = await model.run({ input });
    const first = await model.run({ input: { data: input.data.slice(0, 2), shape: [1, 2, 1] } });
    const second = await model.run({
      input: { data: input.data.slice(2), shape: [1, 4, 1] },
      state: first.state,
    });
    expect([...first.output.data, ...second.output.data]).toEqual([...whole.output.data]);
  });

  test("sends what it is told to, in the steps it is told to", async () => {
    const model = StepModel.fromBytes(leakyStep(1));
    const silent = await model.runWithInterventions(input, [
      { hook: "mem.spikes", op: { type: "zero" }, window: { to: 3 } },
    ]);
    expect(Array.from(silent.data)).toEqual([0, 0, 0, 0, 1, 0]);
    const forced = await model.runWithInterventions(input, [
      { hook: "l.spikes", op: { type: "constant", value: 1 }, positions: [0, 3] },
    ]);
    expect(Array.from(forced.data)).toEqual([1, 1, 0, 1, 1, 0]);
  });

  test("goes on from a clamped state", async () => {
    const model = StepModel.fromBytes(leakyStep(1));
    const { output } = await model.run({
      input,
      interventions: [{ hook: "mem.v", op: { type: "clamp", max: 0.1 } }],
    });
    // 0.05 + 0.8 never reaches the threshold.
    expect(Array.from(output.data)).toEqual([0, 0, 0, 0, 0, 0]);
  });

  test("equals itself with wires that do nothing", async () => {
    const model = StepModel.fromBytes(leakyStep(1));
    const plain = await model.run({ input, capture: ["*"] });
    const wired = await model.run({
      input,
      capture: ["*"],
      interventions: [
        { hook: "mem.spikes", op: { type: "scale", factor: 1 } },
        { hook: "mem.reset", op: { type: "add", value: 0 } },
      ],
    });
    for (const [name, { data }] of plain.cache) expect(wired.cache.get(name)!.data).toEqual(data);
  });

  const two = {
    data: [0.8, 0.2, 0.8, 0.2, 0.8, 0.2, 0.8, 0.2, 1.5, 1.5, 0, 0, 0, 0, 0, 0],
    shape: [2, 4, 2],
  };
  const sent = async (interventions: readonly SpikingIntervention[], input = two) =>
    Array.from(
      (await StepModel.fromBytes(leakyStep(2)).runWithInterventions(input, interventions)).data,
    );

  test("takes spikes of other rows, and changes them after", async () => {
    // By row: step and unit.
    const plain = [0, 0, 1, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0];
    expect(await sent([])).toEqual(plain);
    const resample = { hook: "mem.spikes", op: { type: "resample", source: [1, 0] } } as const;
    expect(await sent([resample])).toEqual([...plain.slice(8), ...plain.slice(0, 8)]);
    expect(await sent([{ ...resample, rows: [0], units: [1] }])).toEqual([0, 1, ...plain.slice(2)]);
    expect(await sent([{ ...resample, window: { from: 1 } }])).toEqual([
      ...[0, 0, 0, 0, 0, 0, 0, 0],
      ...[1, 1, 1, 0, 0, 0, 0, 0],
    ]);
    expect(
      await sent([resample, { hook: "mem.spikes", op: { type: "scale", factor: 3 }, units: [0] }]),
    ).toEqual([3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0]);
    await expect(
      sent([{ hook: "mem.spikes", op: { type: "zero" }, units: [0] }, resample]),
    ).rejects.toThrow(/resample before other changes/);
  });

  test("sends spikes later, all of them, also across pieces", async () => {
    expect(await sent([{ hook: "mem.spikes", op: { type: "shift", steps: 2 } }])).toEqual([
      ...[0, 0, 0, 0, 0, 0, 1, 0],
      ...[0, 0, 0, 0, 1, 1, 0, 0],
    ]);
    expect(
      await sent([{ hook: "mem.spikes", op: { type: "shift", steps: 1 }, units: [0], rows: [1] }]),
    ).toEqual([0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]);
    const model = StepModel.fromBytes(leakyStep(1));
    const nSteps = 40;
    const data = Array.from({ length: nSteps }, (_, t) => (t < 30 && t % 2 === 0 ? 1.5 : 0));
    const interventions: SpikingIntervention[] = [
      { hook: "mem.spikes", op: { type: "jitter", maxSteps: 4, seed: 5 } },
    ];
    const piece = (from: number, to: number) => ({
      data: data.slice(from, to),
      shape: [1, to - from, 1],
    });
    const plain = await model.run({ input: piece(0, nSteps) });
    const whole = await model.run({ input: piece(0, nSteps), interventions });
    const sum = (values: ArrayLike<number>) => Array.from(values).reduce((a, b) => a + b, 0);
    expect(sum(whole.output.data)).toBe(sum(plain.output.data));
    expect(whole.output.data).not.toEqual(plain.output.data);
    const first = await model.run({ input: piece(0, 17), interventions });
    const second = await model.run({ input: piece(17, nSteps), interventions, state: first.state });
    expect([...first.output.data, ...second.output.data]).toEqual([...whole.output.data]);
  });

  test("clamps spikes, and adds noise that depends on the seed alone", async () => {
    expect(await sent([{ hook: "mem.spikes", op: { type: "clamp", max: 0.5 } }])).toEqual([
      0, 0, 0.5, 0, 0, 0, 0, 0, 0.5, 0.5, 0, 0, 0, 0, 0, 0,
    ]);
    const noise = {
      hook: "mem.spikes",
      op: { type: "noise", standardDeviation: 1, seed: 2 },
    } as const;
    expect(await sent([noise])).toEqual(await sent([noise]));
    expect(await sent([noise])).not.toEqual(await sent([]));
  });

  test("is captured in parts and as events", async () => {
    const model = StepModel.fromBytes(leakyStep(2));
    const { cache } = await model.run({
      input: two,
      capture: [
        { hook: "mem.v", units: [1], from: 1, every: 2 },
        { hook: "mem.spikes", as: "events" },
      ],
    });
    expect(cache.get("mem.v")).toMatchObject({ shape: [2, 2, 1], steps: { from: 1, every: 2 } });
    const { row, step, unit } = cache.get("mem.spikes")!.events!;
    expect(Array.from(row, (r, k) => [r, step[k], unit[k]])).toEqual([
      [1, 0, 0],
      [1, 0, 1],
      [0, 1, 0],
    ]);
    await expect(
      model.run({ input: two, capture: [{ hook: "mem.v", units: [2] }] }),
    ).rejects.toThrow(/mem.v: expected units within 0..1, got 2/);
  });

  test("an empty recording is no error", async () => {
    const model = StepModel.fromBytes(leakyStep(1));
    const { output, cache } = await model.run({
      input: { data: [], shape: [1, 0, 1] },
      capture: ["mem.spikes"],
    });
    expect(output.data.length + cache.get("mem.spikes")!.data.length).toBe(0);
  });

  test("refuses what it cannot do", async () => {
    const model = StepModel.fromBytes(leakyStep(1));
    expect(() => model.hookPoint("mem2.v")).toThrow(HookPointError);
    await expect(
      model.run({
        input,
        interventions: [{ hook: "mem.v", op: { type: "attendFirst" } }],
      }),
    ).rejects.toThrow(/an operation for spiking networks, got "attendFirst"/);
    await expect(
      model.run({
        input,
        interventions: [{ hook: "mem.spikes", op: { type: "zero" }, units: [1] }],
      }),
    ).rejects.toThrow(/units within 0..0, got 1/);
    await expect(
      model.run({
        input,
        interventions: [{ hook: "mem.spikes", op: { type: "zero" }, heads: [0] } as never],
      }),
    ).rejects.toThrow(/expected units, got heads at mem.spikes/);
    await expect(
      model.run({
        input,
        interventions: [{ hook: "mem.spikes", op: { type: "zero" }, resetFollows: true }],
      }),
    ).rejects.toThrow(/expected resetFollows of NIR networks alone/);
    expect(() => StepModel.fromBytes(leakyStep(1), { states: [["mem", "gone"]] })).toThrow(
      ModelError,
    );
    await expect(StepModel.fromOnnx("/nowhere.onnx")).rejects.toThrow(/nowhere/);
  });
});

describe("spikes that have another axis before rows", () => {
  /** Spikes where x is above 0.5, twice: `[2, row, unit]`. */
  function twice(): Uint8Array {
    const float = ["b", 2];
    return encodeModel(
      makeModel({
        nodes: [
          makeNode("Unsqueeze", ["x", "axis"], ["one"]),
          makeNode("Mul", ["one", "gain"], ["more"]),
          makeNode("Concat", ["one", "more"], ["both"], { axis: 0n }),
          makeNode("Greater", ["both", "half"], ["above"]),
          makeNode("Cast", ["above"], ["spikes"], { to: 1n }),
          makeNode("ReduceSum", ["spikes", "axis"], ["y"], { keepdims: 0n }),
        ],
        inputs: [makeValueInfo("x", "float32", float)],
        outputs: [makeValueInfo("y", "float32", float)],
        initializers: [
          makeTensor("axis", "int64", [1], [0]),
          makeTensor("half", "float32", [], [0.5]),
          makeTensor("gain", "float32", [], [2]),
        ],
      }),
    );
  }

  test("rows come first, and are changed as rows", async () => {
    const model = StepModel.fromBytes(twice());
    const x = { data: [0.6, 0.3, 0.3, 0.1, 0.1, 0.9], shape: [3, 1, 2] };
    const { output, cache } = await model.run({ input: x, capture: ["spikes.spikes"] });
    expect(Array.from(output.data)).toEqual([2, 1, 1, 0, 0, 2]);
    expect(cache.get("spikes.spikes")!.shape).toEqual([3, 1, 4]);
    expect(Array.from(cache.get("spikes.spikes")!.data)).toEqual([
      1, 0, 1, 1, 0, 0, 1, 0, 0, 1, 0, 1,
    ]);
    const changed = async (one: Omit<SpikingIntervention, "hook">) =>
      Array.from((await model.runWithInterventions(x, [{ ...one, hook: "spikes" }])).data);
    expect(await changed({ op: { type: "zero" }, rows: [0], units: [2, 3] })).toEqual([
      1, 0, 1, 0, 0, 2,
    ]);
    expect(await changed({ op: { type: "resample", source: [2, 2, 0] } })).toEqual([
      0, 2, 0, 2, 2, 1,
    ]);
  });
});

describe.skipIf(!existsSync(shared))(
  "snnTorch's export, 20-50-10 (needs ../shared/data/spiking/onnx)",
  () => {
    const read = (name: string): Float32Array => {
      const bytes = readFileSync(`${shared}${name}`);
      return new Float32Array(new Uint8Array(bytes).buffer);
    };

    test("no mismatch of spikes or membranes over 200 steps", async () => {
      const model = await StepModel.fromOnnx(`${shared}snntorch_step_20-50-10.onnx`);
      expect(model.states).toEqual([
        ["mem1", "mem1_out"],
        ["mem2", "mem2_out"],
      ]);
      expect(model.listHooks("l1.spikes").map((h) => h.name)).toEqual(["mem1.spikes"]);
      const [nSteps, nRows] = [200, 4];
      const byStep = read("X_T200_B4_20.f32");
      const data = new Float32Array(byStep.length);
      for (let t = 0; t < nSteps; t++) {
        for (let b = 0; b < nRows; b++) {
          const from = (t * nRows + b) * 20;
          data.set(byStep.subarray(from, from + 20), (b * nSteps + t) * 20);
        }
      }
      const { output, cache } = await model.run({
        input: { data, shape: [nRows, nSteps, 20] },
        capture: ["mem1.v", "mem2.spikes"],
      });
      const expected = (name: string, n: number) => {
        const values = read(name);
        const out = new Float32Array(values.length);
        for (let t = 0; t < nSteps; t++) {
          for (let b = 0; b < nRows; b++) {
            const from = (t * nRows + b) * n;
            out.set(values.subarray(from, from + n), (b * nSteps + t) * n);
          }
        }
        return out;
      };
      const spikes = expected("spk2_T200_B4_10.f32", 10);
      expect(spikes.some((z) => z === 1)).toBe(true);
      expect(output.data.filter((z, k) => z !== spikes[k]).length).toBe(0);
      expect(cache.get("mem2.spikes")!.data).toEqual(spikes);
      const mem = expected("mem1_T200_B4_50.f32", 50);
      expect(Math.max(...mem.map((v, k) => Math.abs(v - cache.get("mem1.v")!.data[k]!)))).toBe(0);
    });
  },
);

/** A spiking transformer with its steps in the graph: test/golden/make_spikformer.py. */
interface Spikformer {
  readonly steps: number;
  readonly width: Readonly<Record<string, number>>;
  readonly shape: readonly [number, number, number];
  readonly input: readonly number[];
  readonly output: readonly number[];
  /** By layer and step: which of `[row, token and channel]`. */
  readonly spikes: Readonly<Record<string, readonly (readonly number[])[]>>;
  readonly silence: readonly number[];
  readonly resample: readonly number[];
  readonly force: readonly number[];
  readonly noWeights: readonly number[];
  readonly onnx: string;
}

describe("an unrolled spiking transformer, beside torch", () => {
  const path = new URL("../../../../test/golden/spikformer.json", import.meta.url);
  const golden = JSON.parse(readFileSync(path, "utf8")) as Spikformer;
  const [nRows, ...rest] = golden.shape;
  const model = StepModel.fromBytes(gunzipSync(Buffer.from(golden.onnx, "base64")));
  const input = { data: golden.input, shape: [nRows, 1, ...rest] };
  const close = (got: ArrayLike<number>, expected: readonly number[]) => {
    expect(got.length).toBe(expected.length);
    expected.forEach((value, k) => {
      expect(Math.abs(got[k]! - value)).toBeLessThan(1e-5);
    });
  };
  const layers = Object.keys(golden.spikes);
  const stepsOf = (layer: string) =>
    Array.from({ length: golden.steps }, (_, t) => `${layer}.spikes.${t}`);
  const sent = async (
    layer: string,
    change: Omit<SpikingIntervention, "hook">,
    steps = stepsOf(layer),
  ) =>
    (
      await model.runWithInterventions(
        input,
        steps.map((hook) => ({ ...change, hook })),
      )
    ).data;

  test("has no state, and every spike of every layer and step the same", async () => {
    expect(model.recurrent).toBe(false);
    const { output, cache } = await model.run({ input, capture: ["*.spikes.*"] });
    close(output.data, golden.output);
    expect(cache.size).toBe(layers.length * golden.steps);
    for (const layer of layers) {
      golden.spikes[layer]!.forEach((expected, t) => {
        const { data, shape } = cache.get(model.hookPoint(`${layer}.spikes.${t}`).name)!;
        expect(shape).toEqual([nRows, 1, golden.width[layer]! * rest[0]!]);
        expect(Array.from(data.keys()).filter((k) => data[k] !== 0)).toEqual(expected);
      });
    }
  });

  test("silenced, forced, taken from other rows, without some synapses", async () => {
    const channels = [2, 3, 4];
    const units = Array.from({ length: rest[0]! }, (_, token) =>
      channels.map((c) => token * golden.width["block.v_lif"]! + c),
    ).flat();
    close(await sent("block.v_lif", { op: { type: "zero" }, units }), golden.silence);
    close(
      await sent("block.fc1_lif", { op: { type: "resample", source: [1, 2, 0] } }),
      golden.resample,
    );
    close(
      await sent("embed_lif", { op: { type: "constant", value: 1 } }, ["embed_lif.spikes.2"]),
      golden.force,
    );
    close(
      await model
        .runWithInterventions(input, [
          { hook: "block.fc1.weight", op: { type: "zero" }, units: [0, 1, 2, 3] },
        ])
        .then(({ data }) => data),
      golden.noWeights,
    );
    expect(model.weights("block.fc1.weight").shape).toEqual([16, 8]);
  });
});
