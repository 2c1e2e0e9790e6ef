import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { createRng, readNpy } from "@penfield/core";
import { describe, expect, test } from "vitest";
import { type OpenSpikingOptions, SpikingModel } from "./model.ts";

const shared = fileURLToPath(new URL("../../../../shared/data/spiking/", import.meta.url));

interface Recording {
  readonly input: number[];
  readonly v: number[];
  readonly spike: number[];
}

function readRecording(platform: string): Recording {
  const rows = readFileSync(`${shared}lif/lif_${platform}.csv`, "utf8")
    .trim()
    .split("\n")
    .map((line) => line.split(",").map(Number));
  const column = (k: number) => rows.map((row) => row[k]!);
  return { input: column(0), v: column(1), spike: column(2) };
}

async function runLif(
  input: readonly number[],
  options: Partial<OpenSpikingOptions>,
): Promise<{ v: number[]; spike: number[] }> {
  const model = await SpikingModel.fromNir(`${shared}lif/lif_norse.nir`, { dt: 1e-4, ...options });
  const [neuron] = model.listHooks("*.spikes");
  const { cache } = await model.run({
    input: { data: input, shape: [1, input.length, 1] },
    capture: [`${neuron!.node}.v`, `${neuron!.node}.spikes`],
  });
  return {
    v: Array.from(cache.get(`${neuron!.node}.v`)!.data),
    spike: Array.from(cache.get(`${neuron!.node}.spikes`)!.data),
  };
}

const mismatches = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Array.from(a).filter((value, i) => value !== b[i]).length;

function largest(a: readonly number[], b: readonly number[], scale: number): number {
  const size = Math.max(...b.map(Math.abs));
  return Math.max(...a.map((value, i) => Math.abs(value * scale - b[i]!))) / size;
}

describe.skipIf(!existsSync(shared))(
  "recordings of one LIF, published with NIR (need ../shared/data/spiking)",
  () => {
    // How each platform scales v, delays its trace, and how close it is (its own rounding, float32).
    test.each([
      ["norse", { preset: "norse" }, 1, 0, 1e-6],
      ["snntorch", { preset: "snntorch" }, 25, 0, 1e-6],
      ["spinnaker2", { preset: "spinnaker2" }, 24.995, 0, 1e-4],
      ["lava_cpu_float", { preset: "spec" }, 1, 1, 1e-6],
      ["nengo", { preset: "nengo" }, 10, 0, 1e-6],
      ["sinabs", { preset: "sinabs" }, 1, 0, 1e-6],
      ["rockpool", { preset: "rockpool" }, 1, 0, 1e-6],
      ["spyx", { preset: "spyx" }, 1, 0, 1e-6],
    ] as const)("%s", async (platform, options, scale, late, tolerance) => {
      const recording = readRecording(platform);
      // sinabs' input is recorded after its gain of dt / tau.
      const input =
        platform === "sinabs" ? recording.input.map((x) => x / 0.04) : [...recording.input];
      for (const precision of ["float64", "float32"] as const) {
        const { v, spike } = await runLif(input, { ...options, precision });
        const delay = <T>(values: T[], start: T[]): T[] =>
          late ? [...start, ...values.slice(0, -late)] : values;
        expect(mismatches(delay(spike, [0]), recording.spike)).toBe(0);
        expect(largest(delay(v, [0]), recording.v, scale)).toBeLessThan(tolerance);
      }
    });

    test("lava on Loihi's integers: spikes alone", async () => {
      for (const platform of ["lava_cpu_fixed", "lava_loihi_fixed"]) {
        const recording = readRecording(platform);
        const { spike } = await runLif(readRecording("norse").input, { preset: "spec" });
        expect(mismatches([0, ...spike.slice(0, -1)], recording.spike)).toBe(0);
      }
    });
  },
);

interface Expected {
  readonly nir: string;
  readonly dt: number;
  readonly options: { readonly reset: string; readonly rec0: "apply" | "zero" };
  readonly node: string;
}

describe.skipIf(!existsSync(shared))(
  "recordings of the braille network, published with NIR (need ../shared/data/spiking)",
  () => {
    test.each([
      ["snntorch", "noDelay_bias_zero", 9728, { preset: "snntorch" }],
      ["norse", "noDelay_bias_zero", 9728, { preset: "norse" }],
      [
        "snntorch",
        "noDelay_noBias_subtract",
        10240,
        { preset: "snntorch", options: { reset: "subtract_snntorch" } },
      ],
      ["norse", "noDelay_noBias_subtract", 10240, { preset: "norse" }],
    ] as const)("%s, %s: no mismatch of %d", async (platform, variant, count, options) => {
      const read = (path: string) => readFileSync(`${shared}braille/${path}`);
      const input = readNpy(read("input_ds_test_0.npy"));
      const recorded = readNpy(read(`${platform}_activity_${variant}.npy`));
      const expected = JSON.parse(
        read(`expected_${platform}_${variant.replace("noDelay_", "")}.json`).toString(),
      ) as Expected;
      for (const precision of ["float64", "float32"] as const) {
        const model = await SpikingModel.fromNir(`${shared}braille/braille_${variant}.nir`, {
          dt: expected.dt,
          ...options,
          precision,
        });
        const data = Float64Array.from(input.data as ArrayLike<number>);
        const { cache } = await model.run({
          input: { data, shape: [1, ...input.shape] },
          capture: [`${expected.node}.spikes`],
        });
        const spikes = cache.get(`${expected.node}.spikes`)!;
        expect(spikes.data.length).toBe(count);
        expect(mismatches(spikes.data, recorded.data as ArrayLike<number>)).toBe(0);
      }
    });

    test("the subgraph files of the paper name a node that is not there, and are refused", async () => {
      const path = `${shared}braille/braille_noDelay_bias_zero_subgraph.nir`;
      await expect(SpikingModel.fromNir(path, { dt: 1e-4 })).rejects.toThrow(
        /nodes of lif1, got input -> lif: there is no node "lif"/,
      );
    });
  },
);

describe.skipIf(!existsSync(shared))("the published CNN (needs ../shared/data/spiking)", () => {
  // No input that was recorded with it is in reach: what its nodes do is held against plain loops over what they were given.
  test("convolutions, pools and spikes are what their equations say", async () => {
    const model = await SpikingModel.fromNir(`${shared}cnn/cnn_sinabs.nir`, {
      dt: 1,
      preset: "sinabs",
    });
    const nodes = new Map(model.network.nodes.map((node) => [node.name, node]));
    const nSteps = 12;
    const shape = nodes.get("input")!.shape;
    const size = shape.reduce((a, b) => a * b, 1);
    const rng = createRng(1);
    const input = Float32Array.from({ length: nSteps * size }, () => (rng.uniform() < 0.1 ? 1 : 0));
    const { cache } = await model.run({
      input: { data: input, shape: [1, nSteps, ...shape] },
      capture: ["*.input", "*.out", "*.spikes", "*.i"],
    });
    const worst = (a: ArrayLike<number>, b: ArrayLike<number>) =>
      Array.from(a).reduce((most, v, k) => Math.max(most, Math.abs(v - b[k]!)), 0);
    let seen = 0;
    for (const { name, node, inputShape, shape: outShape } of model.network.nodes) {
      if (node.type === "Conv2d" || node.type === "SumPool2d") {
        const x = cache.get(`${name}.input`)!.data;
        const [channels, height, width] = inputShape as [number, number, number];
        const [nOut, outHeight, outWidth] = outShape as [number, number, number];
        const conv = "weight" in node;
        const [ky, kx] = conv ? node.weight.shape.slice(2) : node.kernel;
        const [padY, padX] = node.padding as readonly [number, number];
        const groups = conv ? node.groups : channels;
        const expected = new Float64Array(nSteps * nOut * outHeight * outWidth);
        let at = 0;
        for (let t = 0; t < nSteps; t++) {
          for (let o = 0; o < nOut; o++) {
            const first = Math.floor(o / (nOut / groups)) * (channels / groups);
            for (let oy = 0; oy < outHeight; oy++) {
              for (let ox = 0; ox < outWidth; ox++, at++) {
                let sum = conv ? (node.bias?.data[o] ?? 0) : 0;
                for (let c = 0; c < channels / groups; c++) {
                  for (let a = 0; a < ky!; a++) {
                    for (let b = 0; b < kx!; b++) {
                      const y = oy * node.stride[0] - padY + a * (conv ? node.dilation[0] : 1);
                      const z = ox * node.stride[1] - padX + b * (conv ? node.dilation[1] : 1);
                      if (y < 0 || z < 0 || y >= height || z >= width) continue;
                      const value = x[((t * channels + first + c) * height + y) * width + z]!;
                      const k = ((o * (channels / groups) + c) * ky! + a) * kx! + b;
                      sum += value * (conv ? node.weight.data[k]! : 1);
                    }
                  }
                }
                expected[at] = sum;
              }
            }
          }
        }
        expect(worst(cache.get(`${name}.out`)!.data, expected)).toBeLessThan(1e-12);
        seen++;
      }
      if (node.type === "IF") {
        const x = cache.get(`${name}.i`)!.data;
        const spikes = cache.get(`${name}.spikes`)!.data;
        const n = x.length / nSteps;
        const v = new Float64Array(n);
        const expected = new Float64Array(x.length);
        for (let k = 0; k < x.length; k++) {
          const j = k % n;
          const of = ({ data: values }: typeof node.r) => values[values.length === 1 ? 0 : j]!;
          const threshold = of(node.vThreshold);
          v[j] = Math.max(-threshold, v[j]! + of(node.r) * x[k]!);
          expected[k] = v[j]! >= threshold ? Math.floor(v[j]! / threshold) : 0;
          v[j]! -= expected[k]! * (threshold - of(node.vReset));
        }
        expect(Array.from(spikes)).toEqual(Array.from(expected));
        expect(expected.some((s) => s > 0)).toBe(true);
        seen++;
      }
    }
    expect(seen).toBe(10);
  });
});
