import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ArgumentError, FileError, FormatError, ModelError } from "@penfield/core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { SpikingModel } from "./model.ts";
import { openSpiking } from "./openSpiking.ts";
import { chain, lif, makeNir } from "./testNir.ts";

const graph = chain(
  [3],
  {
    fc: {
      type: "Linear",
      weight: [
        [1, 2, 3],
        [4, 5, 6],
      ],
    },
    lif: lif(2),
  },
  [2],
);
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "penfield-spiking-"));
  await writeFile(join(folder, "net.nir"), await makeNir(graph));
});
afterAll(() => rm(folder, { recursive: true, force: true }));
const write = (config: object) =>
  writeFile(join(folder, "config.json"), JSON.stringify({ file: "net.nir", ...config }));

describe("openSpiking", () => {
  test("opens the network as its config says, and as told", async () => {
    await write({
      dt: 0.001,
      preset: "norse",
      population: "lif",
      channels: ["a", "b", "c"],
      note: 1,
    });
    const { model, config } = await openSpiking(folder, { dt: undefined });
    expect([model.dt, model.options.reset]).toEqual([0.001, "zero"]);
    expect(config).toMatchObject({ population: "lif", channels: ["a", "b", "c"] });
    const other = await openSpiking(folder, { dt: 0.002, preset: "spec" });
    expect([other.model.dt, other.model.options.reset]).toEqual([0.002, "v_reset"]);
  });

  test.each<[string, object, unknown]>([
    ["no dt", {}, ArgumentError],
    ["a dt in words", { dt: "1 ms" }, FormatError],
    ["an unknown preset", { dt: 1, preset: "brian" }, FormatError],
    ["a file elsewhere", { dt: 1, file: "../net.nir" }, FormatError],
    ["no file of that name", { dt: 1, file: "other.nir" }, FileError],
    ["channels without names", { dt: 1, channels: [1] }, FormatError],
  ])("refuses %s", async (_, config, error) => {
    await write(config);
    await expect(openSpiking(folder)).rejects.toThrow(error as never);
  });
});

describe("untrained", () => {
  test("holds the same weights in another order, from the seed, and nothing else is changed", async () => {
    const bytes = await makeNir(graph);
    const open = (untrained?: number) => SpikingModel.fromBytes(bytes, { dt: 0.001, untrained });
    const models = [await open(), await open(1), await open(1), await open(2)];
    const weights = models.map((model) => Array.from(model.weights("fc.weight").data));
    expect(weights[0]).toEqual([1, 2, 3, 4, 5, 6]);
    expect(weights[1]).toEqual(weights[2]);
    expect(weights[1]).not.toEqual(weights[0]);
    expect(weights[3]).not.toEqual(weights[1]);
    expect([...weights[1]!].sort()).toEqual(weights[0]);
    expect(models[1]!.sha256).toBe(models[2]!.sha256);
    expect(new Set(models.map(({ sha256 }) => sha256)).size).toBe(3);
    const lone = await makeNir(chain([1], { lif: lif(1) }, [1]));
    await expect(SpikingModel.fromBytes(lone, { dt: 1, untrained: 1 })).rejects.toThrow(ModelError);
  });
});
