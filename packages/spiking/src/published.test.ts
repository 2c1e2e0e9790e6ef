import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { readNpy } from "@penfield/core";
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
