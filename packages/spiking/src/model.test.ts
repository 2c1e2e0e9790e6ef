import { ArgumentError, DataError, HookPointError, readNpy, ShapeError } from "@penfield/core";
import type { H5Array, H5Entry, H5Group } from "@penfield/hdf5";
import { readHdf5 } from "@penfield/hdf5";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { encodeCaptureNpy, encodeNirData } from "./exportData.ts";
import type { SpikingIntervention } from "./interventions.ts";
import { type OpenSpikingOptions, SpikingModel } from "./model.ts";
import { meanOverTime } from "./rates.ts";
import { presets } from "./simulate/options.ts";
import { chain, lif, makeNir, type TestGraph, type TestNode } from "./testNir.ts";

const open = async (
  graph: TestGraph,
  options: Partial<OpenSpikingOptions> = {},
): Promise<SpikingModel> => SpikingModel.fromBytes(await makeNir(graph), { dt: 1e-3, ...options });

const rounded = (values: ArrayLike<number>): number[] =>
  Array.from(values, (v) => Number(v.toFixed(6)));

/** A unit that keeps half of v in each step: tau = 2 dt. */
const halving = lif(1, { tau: [0.002], r: [2] });
const steady = { data: [0.8, 0.8, 0.8, 0.8], shape: [1, 4, 1] };

describe("one unit, by hand", () => {
  test("spec: v' = v/2 + x, strict, set to 0", async () => {
    const model = await open(chain([1], { lif: halving }, [1]));
    const { cache, output } = await model.run({
      input: steady,
      capture: ["lif.v", "lif.vPre", "lif.i"],
    });
    expect(rounded(cache.get("lif.vPre")!.data)).toEqual([0.8, 1.2, 0.8, 1.2]);
    expect(rounded(cache.get("lif.v")!.data)).toEqual([0.8, 0, 0.8, 0]);
    expect(rounded(cache.get("lif.i")!.data)).toEqual([0.8, 0.8, 0.8, 0.8]);
    expect(Array.from(output.data)).toEqual([0, 1, 0, 1]);
  });

  test("subtract keeps what is above the threshold", async () => {
    const model = await open(chain([1], { lif: halving }, [1]), {
      options: { reset: "subtract" },
    });
    const { cache } = await model.run({ input: steady, capture: ["lif.v"] });
    expect(rounded(cache.get("lif.v")!.data)).toEqual([0.8, 0.2, 0.9, 0.25]);
  });

  test(">= and > differ at the threshold alone", async () => {
    const graph = chain([1], { lif: halving }, [1]);
    const input = { data: [1, 0, 0, 0], shape: [1, 4, 1] };
    const strict = await (await open(graph)).run({ input });
    const loose = await (await open(graph, { options: { threshold: ">=" } })).run({ input });
    expect(Array.from(strict.output.data)).toEqual([0, 0, 0, 0]);
    expect(Array.from(loose.output.data)).toEqual([1, 0, 0, 0]);
  });

  test("several spikes at once, as sinabs", async () => {
    const unit: TestNode = { type: "IF", r: [1], v_threshold: [1], v_reset: [0] };
    const model = await open(chain([1], { if: unit }, [1]), { preset: "sinabs" });
    const { output, cache } = await model.run({
      input: { data: [2.5, 0.5, -9, 0], shape: [1, 4, 1] },
      capture: ["if.v"],
    });
    expect(Array.from(output.data)).toEqual([2, 1, 0, 0]);
    expect(rounded(cache.get("if.v")!.data)).toEqual([0.5, 0, -1, -1]);
  });

  test("a delay in a loop is as long as it says", async () => {
    const model = await open(
      chain(
        [1],
        { lif: lif(1, { tau: [0.001], r: [1] }), delay: { type: "Delay", delay: [0.003] } },
        [1],
        [["delay", "lif"]],
      ),
    );
    const { cache } = await model.run({
      input: { data: [2, 0, 0, 0, 0, 0, 0, 0], shape: [1, 8, 1] },
      capture: ["lif.spikes", "lif.vPre"],
    });
    // A spike of step 0 is back in step 3; 1 is not above the threshold of 1.
    expect(rounded(cache.get("lif.vPre")!.data)).toEqual([2, 0, 0, 1, 0, 0, 0, 0]);
  });

  test.each(Object.keys(presets) as (keyof typeof presets)[])("%s runs", async (preset) => {
    const model = await open(chain([1], { lif: halving }, [1]), { preset });
    expect((await model.run({ input: steady })).output.shape).toEqual([1, 4, 1]);
  });
});

describe("layers", () => {
  const one = async (
    node: TestNode,
    shape: readonly number[],
    out: readonly number[],
    x: number[],
  ) => {
    const model = await open(chain(shape, { n: node }, out));
    return rounded((await model.run({ input: { data: x, shape: [1, 1, ...shape] } })).output.data);
  };

  test("Conv1d with same padding pads more at the end", async () => {
    const conv: TestNode = {
      type: "Conv1d",
      weight: { data: Float64Array.of(1, 10), shape: [1, 1, 2] },
      bias: [0],
      stride: 1,
      padding: "same",
      dilation: 1,
      groups: 1,
    };
    expect(await one(conv, [1, 3], [1, 3], [1, 2, 3])).toEqual([21, 32, 3]);
  });

  test("Conv2d with groups, stride, dilation and padding equals the sum it stands for", async () => {
    const w = Float64Array.from({ length: 4 * 2 * 3 * 2 }, (_, k) => ((k * 7) % 11) - 5);
    const conv: TestNode = {
      type: "Conv2d",
      weight: { data: w, shape: [4, 2, 3, 2] },
      bias: [1, 2, 3, 4],
      stride: [2, 1],
      padding: [1, 2],
      dilation: [1, 2],
      groups: 2,
    };
    const x = Array.from({ length: 4 * 6 * 5 }, (_, k) => ((k * 5) % 7) - 3);
    const [outHeight, outWidth] = [3, 7];
    const expected: number[] = [];
    for (let o = 0; o < 4; o++) {
      for (let oy = 0; oy < outHeight; oy++) {
        for (let ox = 0; ox < outWidth; ox++) {
          let sum = o + 1;
          for (let c = 0; c < 2; c++) {
            for (let ky = 0; ky < 3; ky++) {
              for (let kx = 0; kx < 2; kx++) {
                const [y, xx] = [oy * 2 - 1 + ky, ox - 2 + kx * 2];
                if (y < 0 || y >= 6 || xx < 0 || xx >= 5) continue;
                const channel = (o < 2 ? 0 : 2) + c;
                sum += w[((o * 2 + c) * 3 + ky) * 2 + kx]! * x[(channel * 6 + y) * 5 + xx]!;
              }
            }
          }
          expected.push(sum);
        }
      }
    }
    expect(await one(conv, [4, 6, 5], [4, 3, 7], x)).toEqual(expected);
  });

  test("pools add up or average, padding counted", async () => {
    const pool = { kernel_size: [2, 2], stride: [2, 2], padding: [1, 1] };
    const x = [1, 2, 3, 4];
    expect(await one({ type: "SumPool2d", ...pool }, [1, 2, 2], [1, 2, 2], x)).toEqual(x);
    expect(await one({ type: "AvgPool2d", ...pool }, [1, 2, 2], [1, 2, 2], x)).toEqual([
      0.25, 0.5, 0.75, 1,
    ]);
  });

  test("a Delay holds back by its steps, the same for all units if it has one value", async () => {
    const model = await open(chain([2], { d: { type: "Delay", delay: 0.002 } }, [2]));
    expect(model.warnings).toEqual([]);
    const { output } = await model.run({ input: { data: [1, 2, 3, 4, 5, 6], shape: [1, 3, 2] } });
    expect(Array.from(output.data)).toEqual([0, 0, 0, 0, 1, 2]);
  });

  test("Linear takes leading axes as rows", async () => {
    expect(await one({ type: "Linear", weight: [[1, 10]] }, [2, 2], [2, 1], [1, 2, 3, 4])).toEqual([
      21, 43,
    ]);
  });
});

/** A recurrent network whose sums are exact in any order: weights are whole 64ths. */
function recurrent(nIn: number, n: number, seed: number): TestGraph {
  const w = (k: number) => (((k * 2654435761 + seed * 40503) >>> 8) % 129) / 64 - 1;
  const rows = (nOut: number, m: number, from: number) =>
    Array.from({ length: nOut }, (_, o) =>
      Array.from({ length: m }, (_, i) => w(from + o * m + i)),
    );
  const all = (value: number) => new Array<number>(n).fill(value);
  const cuba: TestNode = {
    type: "CubaLIF",
    tau_syn: all(0.004),
    tau_mem: all(0.01),
    r: all(4),
    v_leak: all(0),
    v_threshold: all(1),
    w_in: all(2),
  };
  return chain(
    [nIn],
    {
      fc: { type: "Affine", weight: rows(n, nIn, 1), bias: all(0.25) },
      lif: cuba,
      out: { type: "Linear", weight: rows(3, n, 777) },
      last: lif(3, { r: [8, 8, 8] }),
    },
    [3],
  );
}

function withLoop(graph: TestGraph, n: number, seed: number): TestGraph {
  const weight = Array.from({ length: n }, (_, o) =>
    Array.from({ length: n }, (_, i) => (((o * 31 + i * 17 + seed) % 65) - 32) / 64),
  );
  return {
    nodes: { ...graph.nodes, rec: { type: "Linear", weight } },
    edges: [...graph.edges, ["lif", "rec"], ["rec", "lif"]],
  };
}

const randomInput = (nRows: number, nSteps: number, n: number, seed: number) => ({
  data: Float64Array.from({ length: nRows * nSteps * n }, (_, k) =>
    ((k * 2246822519 + seed * 3266489917) >>> 7) % 5 === 0 ? 1 : 0,
  ),
  shape: [nRows, nSteps, n],
});

const CAPTURE = ["lif.spikes", "lif.v", "lif.vPre", "lif.i", "last.v", "rec.out"];
const sizes = fc.record({
  seed: fc.nat(1000),
  nRows: fc.integer({ min: 1, max: 4 }),
  nSteps: fc.integer({ min: 1, max: 25 }),
  n: fc.integer({ min: 1, max: 9 }),
  precision: fc.constantFrom("float64" as const, "float32" as const),
  reset: fc.constantFrom("v_reset", "zero", "subtract", "subtract_snntorch") as fc.Arbitrary<
    "v_reset" | "zero" | "subtract" | "subtract_snntorch"
  >,
});
const made = ({
  seed,
  n,
  precision,
  reset,
}: { seed: number; n: number } & Record<string, unknown>) =>
  open(withLoop(recurrent(4, n, seed), n, seed), {
    precision,
    options: { reset },
  } as Partial<OpenSpikingOptions>);

const RUNS = { numRuns: 15 };

describe("whatever the network", () => {
  test("a batch gives what its rows give alone, bit for bit", async () => {
    await fc.assert(
      fc.asyncProperty(sizes, async (size) => {
        const model = await made(size);
        const input = randomInput(size.nRows, size.nSteps, 4, size.seed);
        const together = await model.run({ input, capture: CAPTURE });
        for (let row = 0; row < size.nRows; row++) {
          const length = size.nSteps * 4;
          const alone = await model.run({
            input: {
              data: input.data.slice(row * length, (row + 1) * length),
              shape: [1, size.nSteps, 4],
            },
            capture: CAPTURE,
          });
          for (const [hook, { data }] of alone.cache) {
            const all = together.cache.get(hook)!.data;
            expect(all.slice(row * data.length, (row + 1) * data.length)).toEqual(data);
          }
        }
      }),
      RUNS,
    );
  });

  test("a stream gives what the whole gives, bit for bit, noise and jitter included", async () => {
    const interventions: SpikingIntervention[] = [
      { hook: "lif.i", op: { type: "noise", standardDeviation: 0.5, seed: 3 } },
      { hook: "last.spikes", op: { type: "jitter", maxSteps: 3, seed: 1 } },
      { hook: "rec.weight", op: { type: "scale", factor: 0.5 }, window: { from: 4, to: 9 } },
    ];
    await fc.assert(
      fc.asyncProperty(sizes, fc.integer({ min: 1, max: 24 }), async (size, cut) => {
        const model = await made(size);
        const { nRows, nSteps } = size;
        const input = randomInput(nRows, nSteps, 4, size.seed);
        const first = Math.min(cut, nSteps);
        const piece = (from: number, to: number) => ({
          data: Array.from({ length: nRows }, (_, row) =>
            Array.from(input.data.slice((row * nSteps + from) * 4, (row * nSteps + to) * 4)),
          ).flat(),
          shape: [nRows, to - from, 4],
        });
        const whole = await model.run({ input, capture: CAPTURE, interventions });
        const stream = model.stream(nRows, { capture: CAPTURE, interventions });
        const parts = [await stream.run(piece(0, first)), await stream.run(piece(first, nSteps))];
        expect(stream.step).toBe(nSteps);
        for (const [hook, { data, shape }] of whole.cache) {
          const n = shape[2];
          for (let row = 0; row < nRows; row++) {
            const joined = parts.flatMap((part) => {
              const one = part.cache.get(hook)!;
              const length = one.shape[1] * n;
              return Array.from(one.data.slice(row * length, (row + 1) * length));
            });
            expect(joined).toEqual(
              Array.from(data.slice(row * nSteps * n, (row + 1) * nSteps * n)),
            );
          }
        }
      }),
      RUNS,
    );
  });

  test("adding up events gives what matrix products give", async () => {
    await fc.assert(
      fc.asyncProperty(sizes, async (size) => {
        const graph = withLoop(recurrent(4, size.n, size.seed), size.n, size.seed);
        const input = randomInput(size.nRows, size.nSteps, 4, size.seed);
        const run = async (products: "event" | "matmul") =>
          (await open(graph, { precision: size.precision, products })).run({
            input,
            capture: CAPTURE,
          });
        const [event, matrix] = [await run("event"), await run("matmul")];
        for (const [hook, { data }] of event.cache) {
          expect(matrix.cache.get(hook)!.data).toEqual(data);
        }
      }),
      { numRuns: 8 },
    );
  });

  test("convolutions go through onnxruntime, or input after input, to the same end", async () => {
    const shapes = fc.record({
      seed: fc.nat(1000),
      flat: fc.boolean(),
      groups: fc.integer({ min: 1, max: 2 }),
      kernel: fc.tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 4 })),
      stride: fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 3 })),
      padding: fc.oneof(
        fc.tuple(fc.nat(3), fc.nat(3)),
        fc.constantFrom("same" as const, "valid" as const),
      ),
      dilation: fc.tuple(fc.integer({ min: 1, max: 2 }), fc.integer({ min: 1, max: 2 })),
    });
    await fc.assert(
      fc.asyncProperty(shapes, async ({ seed, flat, groups, padding, ...two }) => {
        // Sums of whole 64ths are exact in any order.
        const [nIn, nOut] = [2 * groups, 3 * groups];
        const [kernel, stride, dilation] = [two.kernel, two.stride, two.dilation].map((pair) =>
          flat ? pair.slice(1) : pair,
        ) as [number[], number[], number[]];
        const sizes = [nOut, nIn / groups, ...kernel];
        const weight = Float64Array.from(
          { length: sizes.reduce((a, b) => a * b, 1) },
          (_, k) => ((((k + seed) * 2654435761) >>> 9) % 129) / 64 - 1,
        );
        const conv = {
          type: flat ? "Conv1d" : "Conv2d",
          weight: { data: weight, shape: sizes },
          bias: Array.from({ length: nOut }, (_, o) => o / 64),
          stride: padding === "same" ? stride.map(() => 1) : stride,
          padding: typeof padding === "string" ? padding : flat ? padding.slice(1) : padding,
          dilation,
          groups,
        } as TestNode;
        const image = flat ? [nIn, 13] : [nIn, 9, 11];
        const size = image.reduce((a, b) => a * b, 1);
        const input = randomInput(2, 3, size, seed);
        const pads = padding === "valid" ? [0, 0] : flat ? padding.slice(1) : padding;
        const out = image.slice(1).map((length, d) => {
          if (padding === "same") return length;
          const room = length + 2 * Number(pads[d]) - dilation[d]! * (kernel[d]! - 1) - 1;
          return Math.floor(room / stride[d]!) + 1;
        });
        const graph = chain(image, { conv }, [nOut, ...out]);
        const [event, matrix] = await Promise.all(
          (["event", "matmul"] as const).map(async (products) => {
            const model = await open(graph, { precision: "float32", products });
            return model.run({ input: { ...input, shape: [2, 3, ...image] } });
          }),
        );
        expect(matrix!.output.data).toEqual(event!.output.data);
        expect(event!.output.data.some((value) => value !== 0)).toBe(true);
      }),
      RUNS,
    );
  });

  test("convolutions of many active inputs go through onnxruntime by themselves, of few they do not", async () => {
    const weight = Float64Array.from({ length: 16 * 4 * 9 }, (_, k) => ((k * 7) % 11) / 7 - 0.7);
    const conv = {
      type: "Conv2d",
      weight: { data: weight, shape: [16, 4, 3, 3] },
      bias: new Array(16).fill(0.1),
      stride: [1, 1],
      padding: [1, 1],
      dilation: [1, 1],
      groups: 1,
    } as TestNode;
    const graph = chain([4, 12, 12], { conv }, [16, 12, 12]);
    // Sums of thirds round differently in another order: bits tell which way was taken.
    const run = async (products: "auto" | "event" | "matmul", every: number) => {
      const model = await open(graph, { precision: "float32", products });
      const data = Float32Array.from({ length: 10 * 576 }, (_, k) => (k % every === 0 ? 1 / 3 : 0));
      return (await model.run({ input: { data, shape: [1, 10, 4, 12, 12] } })).output.data;
    };
    expect(await run("auto", 2)).toEqual(await run("matmul", 2));
    expect(await run("auto", 2)).not.toEqual(await run("event", 2));
    expect(await run("auto", 101)).toEqual(await run("event", 101));
  });

  test("capture and interventions that change nothing change nothing, bit for bit", async () => {
    const nothing: SpikingIntervention[] = ["i", "vPre", "v", "spikes"].map((place) => ({
      hook: `lif.${place}`,
      op: { type: "scale", factor: 1 },
    }));
    const edges: SpikingIntervention[] = [
      { hook: "rec->lif", op: { type: "scale", factor: 1 } },
      { hook: "fc.weight", op: { type: "scale", factor: 1 } },
      { hook: "out.out", op: { type: "add", value: 0 } },
      { hook: "fc.input", op: { type: "clamp" } },
    ];
    await fc.assert(
      fc.asyncProperty(sizes, async (size) => {
        const model = await made(size);
        const input = randomInput(size.nRows, size.nSteps, 4, size.seed);
        const plain = await model.run({ input });
        const watched = await model.run({ input, capture: ["*"] });
        const wired = await model.run({
          input,
          capture: ["*"],
          interventions: [...nothing, ...edges],
        });
        expect(watched.output.data).toEqual(plain.output.data);
        for (const [hook, { data }] of watched.cache) {
          expect(wired.cache.get(hook)!.data).toEqual(data);
        }
      }),
      RUNS,
    );
  });

  test("float32 spikes as float64 does, where no membrane is close to its threshold", async () => {
    const graph = withLoop(recurrent(4, 8, 5), 8, 5);
    const input = randomInput(3, 40, 4, 9);
    const double = await (await open(graph)).run({ input, capture: ["lif.spikes", "lif.v"] });
    const single = await (await open(graph, { precision: "float32" })).run({
      input,
      capture: ["lif.spikes", "lif.v"],
    });
    expect(double.cache.get("lif.spikes")!.data.some((z) => z === 1)).toBe(true);
    expect(Array.from(single.cache.get("lif.spikes")!.data)).toEqual(
      Array.from(double.cache.get("lif.spikes")!.data),
    );
    const v = double.cache.get("lif.v")!.data;
    single.cache.get("lif.v")!.data.forEach((value, k) => {
      expect(Math.abs(value - v[k]!)).toBeLessThan(1e-4);
    });
  });
});

describe("interventions", () => {
  const pair = chain([2], { a: lif(2, { tau: [0.001, 0.001], r: [1, 1] }) }, [2]);
  const input = { data: [2, 2, 0, 0, 2, 0, 0, 2], shape: [2, 2, 2] };
  const spikes = async (...interventions: SpikingIntervention[]) =>
    Array.from((await (await open(pair)).runWithInterventions(input, interventions)).data);

  test("silence, force, and only where and when they are told to", async () => {
    expect(await spikes()).toEqual([1, 1, 0, 0, 1, 0, 0, 1]);
    expect(await spikes({ hook: "a.spikes", op: { type: "zero" }, units: [0] })).toEqual([
      0, 1, 0, 0, 0, 0, 0, 1,
    ]);
    expect(await spikes({ hook: "a.spikes", op: { type: "zero" }, rows: [1] })).toEqual([
      1, 1, 0, 0, 0, 0, 0, 0,
    ]);
    expect(
      await spikes({ hook: "a.spikes", op: { type: "constant", value: 1 }, positions: [1] }),
    ).toEqual([1, 1, 1, 1, 1, 0, 1, 1]);
    expect(await spikes({ hook: "a.v", op: { type: "zero" } })).toEqual(await spikes());
    expect(await spikes({ hook: "a.vPre", op: { type: "clamp", max: 0.5 } })).toEqual(
      new Array(8).fill(0),
    );
    expect(
      await spikes({ hook: "a.i", op: { type: "mean", values: [0, 3] }, window: { from: 1 } }),
    ).toEqual([1, 1, 0, 1, 1, 0, 0, 1]);
  });

  test("resample takes other rows as they were", async () => {
    expect(await spikes({ hook: "a.spikes", op: { type: "resample", source: [1, 0] } })).toEqual([
      1, 0, 0, 1, 1, 1, 0, 0,
    ]);
  });

  test("shift moves spikes on; jitter loses none on the way", async () => {
    expect(await spikes({ hook: "a.spikes", op: { type: "shift", steps: 1 } })).toEqual([
      0, 0, 1, 1, 0, 0, 1, 0,
    ]);
    const model = await open(chain([1], { a: lif(1, { tau: [0.001], r: [1] }) }, [1]));
    const data = Array.from({ length: 60 }, (_, t) => (t < 50 && t % 3 === 0 ? 2 : 0));
    const run = async (seed: number) =>
      model.runWithInterventions({ data, shape: [1, 60, 1] }, [
        { hook: "a.spikes", op: { type: "jitter", maxSteps: 4, seed } },
      ]);
    const [one, again, other] = [await run(1), await run(1), await run(2)];
    expect(Array.from(one.data).reduce((a, b) => a + b, 0)).toBe(17);
    expect(again.data).toEqual(one.data);
    expect(other.data).not.toEqual(one.data);
  });

  test("a forced spike resets only if asked to", async () => {
    const model = await open(chain([1], { lif: halving }, [1]));
    const v = async (resetFollows: boolean) => {
      const { cache } = await model.run({
        input: { data: [0.8, 0, 0], shape: [1, 3, 1] },
        capture: ["lif.v"],
        interventions: [
          { hook: "lif.spikes", op: { type: "constant", value: 1 }, positions: [0], resetFollows },
        ],
      });
      return rounded(cache.get("lif.v")!.data);
    };
    expect(await v(false)).toEqual([0.8, 0.4, 0.2]);
    expect(await v(true)).toEqual([0, 0, 0]);
  });

  test("synapses and edges are scaled and dropped", async () => {
    const model = await open(chain([2], { fc: { type: "Linear", weight: [[1, 10]] } }, [1]));
    const x = { data: [1, 1, 1, 1], shape: [1, 2, 2] };
    const out = async (...interventions: SpikingIntervention[]) =>
      Array.from((await model.runWithInterventions(x, interventions)).data);
    expect(await out()).toEqual([11, 11]);
    expect(await out({ hook: "fc.weight", op: { type: "zero" }, sources: [1] })).toEqual([1, 1]);
    expect(
      await out({ hook: "fc.weight", op: { type: "scale", factor: 2 }, window: { from: 1 } }),
    ).toEqual([11, 22]);
    expect(await out({ hook: "input->fc", op: { type: "zero" }, positions: [0] })).toEqual([0, 11]);
    expect(Array.from(model.weights("fc.weight").data)).toEqual([1, 10]);
  });

  test.each([
    [{ hook: "a.spike", op: { type: "zero" } }, HookPointError, /got "a.spike"/],
    [
      { hook: "a.spikes", op: { type: "zero" }, units: [2] },
      ArgumentError,
      /units within 0..1, got 2/,
    ],
    [
      { hook: "a.spikes", op: { type: "zero" }, rows: [2] },
      ArgumentError,
      /rows within 0..1, got 2/,
    ],
    [
      { hook: "a.spikes", op: { type: "project", directions: [] } },
      HookPointError,
      /an operation for spiking/,
    ],
    [{ hook: "a.v", op: { type: "shift", steps: 1 } }, HookPointError, /expected shift at spikes/],
    [{ hook: "a.v", op: { type: "constant", value: Number.NaN } }, ArgumentError, /a finite value/],
    [
      { hook: "a.v", op: { type: "resample", source: [0] } },
      ArgumentError,
      /a source row for each of 2/,
    ],
    [
      { hook: "a.v", op: { type: "zero" }, window: { from: 3, to: 1 } },
      ArgumentError,
      /from <= to/,
    ],
  ] as const)("%j is refused", async (intervention, error, message) => {
    await expect(spikes(intervention as SpikingIntervention)).rejects.toThrow(error);
    await expect(spikes(intervention as SpikingIntervention)).rejects.toThrow(message);
  });
});

describe("inputs and captures", () => {
  const graph = chain([2], { a: lif(2, { tau: [0.001, 0.001], r: [1, 1] }) }, [2]);

  test("of a wrong width, or with values that are none, are refused", async () => {
    const model = await open(graph);
    await expect(model.run({ input: { data: [1, 2, 3], shape: [1, 1, 3] } })).rejects.toThrow(
      ShapeError,
    );
    await expect(model.run({ input: { data: [1, 2, 3], shape: [1, 1, 3] } })).rejects.toThrow(
      "run: input: expected an input of [row, step, 2], got [1, 1, 3]",
    );
    await expect(model.run({ input: { data: [1, Number.NaN], shape: [1, 1, 2] } })).rejects.toThrow(
      DataError,
    );
    await expect(model.run({ input: { events: [[0, 5, 0]], nSteps: 5 } })).rejects.toThrow(
      /events \[row, step, unit\] within \[1, 5, 2\], got \[0, 5, 0\]/,
    );
  });

  test("as events are the same as dense ones", async () => {
    const model = await open(graph);
    const events = [
      [0, 0, 1],
      [0, 0, 1],
      [0, 2, 0],
    ] as const;
    const a = await model.run({ input: { events, nSteps: 3 } });
    const b = await model.run({ input: { data: [0, 2, 0, 0, 1, 0], shape: [1, 3, 2] } });
    expect(a.output.data).toEqual(b.output.data);
  });

  test("an empty recording is no error", async () => {
    const { output } = await (await open(graph)).run({ input: { data: [], shape: [1, 0, 2] } });
    expect(output.shape).toEqual([1, 0, 2]);
  });

  test("come of some units and steps, or as events", async () => {
    const model = await open(graph);
    const input = { data: [2, 0, 0, 2, 2, 0, 0, 2, 2, 2], shape: [1, 5, 2] };
    const part = await model.run({
      input,
      capture: [{ hook: "a.spikes", units: [1], from: 1, every: 2 }],
    });
    expect(part.cache.get("a.spikes")).toMatchObject({
      shape: [1, 2, 1],
      steps: { from: 1, every: 2 },
      data: Float64Array.of(1, 1),
    });
    const list = await model.run({ input, capture: [{ hook: "a.spikes", as: "events" }] });
    const { step, unit } = list.cache.get("a.spikes")!.events!;
    expect(Array.from(step)).toEqual([0, 1, 2, 3, 4, 4]);
    expect(Array.from(unit)).toEqual([0, 1, 0, 1, 0, 1]);
  });

  test("are averaged for analyses that know no time", async () => {
    const model = await open(graph);
    const input = { data: [2, 0, 2, 0, 0, 2, 0, 0], shape: [2, 2, 2] };
    const rates = await meanOverTime(model, input, { hook: "a.spikes" });
    expect(rates.axes).toEqual(["stimulus", "unit"]);
    expect(Array.from(rates.data)).toEqual([1, 0, 0, 0.5]);
  });

  test("become NIRData and .npy", async () => {
    const model = await open(graph);
    const input = { data: [2, 0, 2, 2, 0, 2], shape: [1, 3, 2] };
    const { cache } = await model.run({ input, capture: ["a.spikes", "a.vPre"] });
    const bytes = await encodeNirData(cache, { dt: model.dt });
    const file: H5Group = await readHdf5(bytes);
    const at = (...path: string[]): H5Array => {
      let found: H5Entry = file;
      for (const name of path) found = (found as H5Group).children.get(name)!;
      return found as H5Array;
    };
    expect(at("nodes", "a", "observables", "vPre", "data")).toMatchObject({ shape: [1, 3, 2] });
    const time = at("nodes", "a", "observables", "spikes", "time");
    expect(rounded(time.data as Float64Array)).toEqual([0.001, 0.002, 0.002, 0.003]);
    expect(
      Array.from(at("nodes", "a", "observables", "spikes", "idx").data as BigInt64Array, Number),
    ).toEqual([0, 0, 1, 1]);
    expect(readNpy(encodeCaptureNpy(cache.get("a.vPre")!)).shape).toEqual([1, 3, 2]);
  });
});

describe("conventions", () => {
  test("that would run another network are refused or warned of", async () => {
    const graph = chain([1], { lif: lif(1, { v_leak: [0.1], v_reset: [0.2] }) }, [1]);
    await expect(open(graph, { preset: "snntorch" })).rejects.toThrow(
      /lif: snntorch expects v_leak = 0, got 0.1/,
    );
    await expect(open(graph, { preset: "spikingjelly" })).rejects.toThrow(/v_leak = v_reset/);
    expect((await open(graph, { preset: "nengo" })).warnings).toEqual([
      'lif: its v_reset is not used with reset "zero"',
    ]);
  });

  const unit = (x: readonly number[]) => ({ data: [...x], shape: [1, x.length, 1] });
  const cuba: TestNode = {
    ...{ type: "CubaLIF", tau_syn: [0.002], tau_mem: [0.002], w_in: [2], r: [2] },
    ...{ v_leak: [0], v_threshold: [1] },
  };
  const ifUnit: TestNode = { type: "IF", r: [2], v_threshold: [9], v_reset: [0] };
  const leaky = lif(1, { tau: [0.002], v_threshold: [9] });
  type Changes = NonNullable<OpenSpikingOptions["options"]>;

  // By hand: v of each step.
  test.each<readonly [Changes, TestNode, readonly number[], readonly number[]]>([
    [{ scheme: "euler" }, leaky, [1, 1], [0.5, 0.75]],
    [{ scheme: "exact" }, leaky, [1, 1], [0.393469, 0.632121]],
    [{ scheme: "jump" }, leaky, [1, 1], [0.5, 0.803265]],
    [{ reset: "v_reset" }, lif(1, { tau: [0.002], r: [2], v_reset: [-1] }), [1.2, 0], [-1, -0.5]],
    [{ reset: "zero" }, lif(1, { tau: [0.002], r: [2], v_reset: [-1] }), [1.2, 0], [0, 0]],
    [
      { reset: "subtract" },
      lif(1, { tau: [0.002], r: [2], v_reset: [-1] }),
      [1.2, 0],
      [-0.8, -0.4],
    ],
    // The threshold is still off v while the v before is above it: 1.55 - 1 does not spike, and loses nothing.
    [
      { reset: "subtract_snntorch" },
      lif(1, { tau: [0.002], r: [2] }),
      [2.5, 0.8, 0.8],
      [1.5, 1.55, 1.575],
    ],
    [{ spikeStep: "next", reset: "subtract" }, halving, [0.8, 0.8, 0.8], [0.8, 1.2, 0.4]],
    [{ cuba: "new" }, cuba, [0.5, 0, 0], [0.5, 0.5, 0.375]],
    [{ cuba: "old" }, cuba, [0.5, 0, 0], [0, 0.5, 0.5]],
    [{ integrate: "dt" }, ifUnit, [1, 1], [0.002, 0.004]],
    [{ integrate: "step" }, ifUnit, [1, 1], [2, 4]],
    [{ floor: "-threshold", integrate: "step" }, ifUnit, [-9, 1], [-9, -7]],
    [{ floor: "none", integrate: "step" }, ifUnit, [-9, 1], [-18, -16]],
    [{ start: "v_reset" }, lif(1, { tau: [0.002], v_reset: [-1] }), [0, 0], [-0.5, -0.25]],
    [{ start: "zero" }, lif(1, { tau: [0.002], v_reset: [-1] }), [0, 0], [0, 0]],
  ])("%j", async (options, node, x, v) => {
    const model = await open(chain([1], { n: node }, [1]), { options });
    for (const capture of [["n.v"], ["n.v", "n.vPre"]]) {
      const { cache } = await model.run({ input: unit(x), capture });
      expect(rounded(cache.get("n.v")!.data)).toEqual(v);
    }
  });

  test("a cycle is cut where it is told to be, and begins as it is told to", async () => {
    const graph = chain(
      [1],
      {
        lif: lif(1, { tau: [0.001], r: [1] }),
        rec: { type: "Affine", weight: [[1]], bias: [0.25] },
      },
      [1],
      [["rec", "lif"]],
    );
    const looped = {
      ...graph,
      edges: [...graph.edges.slice(0, 2), graph.edges[3]!, ["lif", "output"] as const],
    };
    const run = async (options: Changes) => {
      const model = await open(looped, { options });
      const { cache } = await model.run({ input: unit([2, 0, 0]), capture: ["lif.i", "rec.out"] });
      return [
        model.network.delayedEdges.flat().join(">"),
        ...["lif.i", "rec.out"].map((hook) => Array.from(cache.get(hook)!.data).join()),
      ];
    };
    const [back, there] = [
      { delayedEdges: [["rec", "lif"]] },
      { delayedEdges: [["lif", "rec"]] },
    ] as const;
    expect(await run(back)).toEqual(["rec>lif", "2.25,1.25,1.25", "1.25,1.25,1.25"]);
    expect(await run({ ...back, recurrentStart: "zero" })).toEqual([
      ...["rec>lif", "2,1.25,1.25", "1.25,1.25,1.25"],
    ]);
    expect(await run(there)).toEqual(["lif>rec", "2.25,1.25,1.25", "0.25,1.25,1.25"]);
    await expect(run({ delayedEdges: [["lif", "input"]] })).rejects.toThrow(
      /delayedEdges among the edges of the graph, got lif -> input/,
    );
    await expect(run({ delayedEdges: [] })).rejects.toThrow(/that cut every cycle/);
  });

  test("are checked", async () => {
    const graph = chain([1], { lif: lif(1) }, [1]);
    await expect(open(graph, { preset: "brian" as never })).rejects.toThrow(ArgumentError);
    await expect(open(graph, { options: { reset: "soft" as never } })).rejects.toThrow(
      /expected reset of "v_reset", "zero"/,
    );
    await expect(open(graph, { options: { spikeStep: "next" } })).rejects.toThrow(/with spikeStep/);
  });
});
