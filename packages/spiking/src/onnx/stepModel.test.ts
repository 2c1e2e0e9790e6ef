import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { HookPointError, ModelError } from "@penfield/core";
import { encodeModel, makeModel, makeNode, makeTensor, makeValueInfo } from "@penfield/onnx";
import { describe, expect, test } from "vitest";
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

  test("refuses what it cannot do", async () => {
    const model = StepModel.fromBytes(leakyStep(1));
    expect(() => model.hookPoint("mem2.v")).toThrow(HookPointError);
    await expect(
      model.run({
        input,
        interventions: [{ hook: "mem.spikes", op: { type: "shift", steps: 1 } }],
      }),
    ).rejects.toThrow(/at spikes of a step graph, got shift/);
    expect(() => StepModel.fromBytes(leakyStep(1), { states: [["mem", "gone"]] })).toThrow(
      ModelError,
    );
    await expect(StepModel.fromOnnx("/nowhere.onnx")).rejects.toThrow(/nowhere/);
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
