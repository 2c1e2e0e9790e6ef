import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { type PresetName, SpikingModel } from "@penfield/spiking";
import { describe, expect, test } from "vitest";

interface SimulatorCase {
  readonly name: string;
  readonly simulator: string;
  readonly preset: PresetName;
  readonly dt: number;
  /** The bytes of the file, compressed, as base64. */
  readonly nir: string;
  readonly shape: readonly number[];
  readonly input: readonly number[];
  /** By node: step, unit, how many. */
  readonly spikes?: Readonly<Record<string, readonly (readonly [number, number, number])[]>>;
  readonly output?: readonly number[];
}

const { cases } = JSON.parse(readFileSync(new URL("spiking.json", import.meta.url), "utf8")) as {
  readonly cases: readonly SimulatorCase[];
};

describe("networks in NIR, beside the simulators that the presets are called after", () => {
  test.each(cases.map((one) => [one.name, one.simulator, one] as const))(
    "%s (%s)",
    async (_, __, one) => {
      const { name, preset, dt, shape, input, spikes = {}, output } = one;
      const bytes = gunzipSync(Buffer.from(one.nir, "base64"));
      for (const [precision, products] of [
        ["float64", "auto"],
        ["float32", "event"],
        ["float32", "matmul"],
      ] as const) {
        const model = await SpikingModel.fromBytes(bytes, {
          dt,
          preset,
          precision,
          products,
          name,
        });
        const result = await model.run({
          input: { data: input, shape: [1, ...shape] },
          capture: Object.keys(spikes).map((node) => ({ hook: `${node}.spikes`, as: "events" })),
        });
        for (const [node, expected] of Object.entries(spikes)) {
          const { step, unit, value } = result.cache.get(`${node}.spikes`)!.events!;
          const got = Array.from(step, (t, k) => [t, unit[k]!, value[k]!]);
          expect(got).toEqual(expected);
        }
        if (!output) continue;
        const worst = output.reduce(
          (most, value, k) => Math.max(most, Math.abs(value - result.output.data[k]!)),
          0,
        );
        expect(result.output.data.length).toBe(output.length);
        // Of values up to some tens, added up in single or double precision.
        expect(worst).toBeLessThan(precision === "float64" ? 1e-10 : 1e-4);
      }
    },
  );
});
