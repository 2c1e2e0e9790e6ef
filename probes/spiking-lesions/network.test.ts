import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ArgumentError, FileError, sha256 } from "@penfield/core";
import { spikingOrganismFolder, spikingOrganisms } from "@penfield/organisms";
import { describe, expect, test } from "vitest";
import { inputOf, judge, openNetwork } from "./network.ts";
import { makeTrials, TRIAL } from "./task.ts";

interface Golden {
  readonly trials: { readonly n: number; readonly seed: number; readonly sha256: string };
  readonly spikes: readonly (readonly string[])[];
  readonly output: readonly (readonly number[])[];
}

interface Provenance {
  readonly evaluation: {
    readonly trials: { readonly n: number; readonly seed: number; readonly sha256: string };
    readonly accuracy: Record<"remember" | "report", { n: number; accuracy: number }>;
    readonly meanRate: number;
  };
  readonly nir: { readonly sha256: string; readonly bytes: number };
}

describe.each(spikingOrganisms)("%s", (name) => {
  const file = (path: string) => readFileSync(join(spikingOrganismFolder(name), path));
  const golden = JSON.parse(file("golden.json").toString()) as Golden;
  const provenance = JSON.parse(file("provenance.json").toString()) as Provenance;

  test("is the file that its card names", () => {
    const bytes = file("network.nir");
    expect(sha256(bytes)).toBe(provenance.nir.sha256);
    expect(bytes.length).toBeLessThan(300_000);
    expect(file("README.md").toString()).toContain(provenance.nir.sha256);
  });

  test.each(["spec", "snntorch", "norse"])(
    "spikes as in PyTorch, with preset %s",
    async (preset) => {
      const network = await openNetwork(spikingOrganismFolder(name));
      const model =
        preset === "spec"
          ? network.model
          : await (await import("@penfield/spiking")).SpikingModel.fromNir(
              join(spikingOrganismFolder(name), "network.nir"),
              { dt: network.model.dt, preset: preset as "norse" },
            );
      const { n, seed, sha256: hash } = golden.trials;
      const trials = makeTrials(n, seed);
      expect(trials.sha256).toBe(hash);
      const { cache, output } = await model.run({
        input: inputOf(trials),
        capture: [network.spikes],
      });
      const { data } = cache.get(network.spikes)!;
      const spikes = Array.from({ length: n }, (_, i) =>
        Array.from({ length: TRIAL.nSteps }, (_, t) => {
          const from = (i * TRIAL.nSteps + t) * network.nUnits;
          return Array.from(data.subarray(from, from + network.nUnits))
            .flatMap((z, unit) => (z === 0 ? [] : [unit]))
            .join(" ");
        }),
      );
      expect(spikes).toEqual(golden.spikes);
      golden.output.forEach((values, i) => {
        const last = ((i + 1) * TRIAL.nSteps - 1) * 2;
        values.forEach((value, k) => {
          expect(Math.abs(output.data[last + k]! - value)).toBeLessThan(1e-9);
        });
      });
    },
  );

  test("does the held-out trials exactly as its card says", async () => {
    const { model } = await openNetwork(name);
    const { n, seed, sha256: hash } = provenance.evaluation.trials;
    const trials = makeTrials(n, seed);
    expect(trials.sha256).toBe(hash);
    const right = judge((await model.run({ input: inputOf(trials) })).output.data, trials);
    for (const task of ["remember", "report"] as const) {
      const some = right.filter((_, i) => trials.list[i]!.task === task);
      const accuracy = some.reduce((sum, v) => sum + v, 0) / some.length;
      expect(some.length).toBe(provenance.evaluation.accuracy[task].n);
      expect(accuracy.toFixed(4)).toBe(provenance.evaluation.accuracy[task].accuracy.toFixed(4));
    }
  });
});

test("a folder without a network is refused", async () => {
  await expect(openNetwork("no/such/folder")).rejects.toThrow(FileError);
});

test("equal outputs are neither right nor wrong", () => {
  const trials = makeTrials(2, 1);
  expect([...judge(new Float64Array(2 * TRIAL.nSteps * 2), trials)]).toEqual([0.5, 0.5]);
  const { answer } = trials.list[0]!;
  const output = new Float64Array(2 * TRIAL.nSteps * 2);
  output[(TRIAL.nSteps - 1) * 2 + answer] = 1;
  // Before the response nothing counts.
  output[1 - answer] = 100;
  expect(judge(output, trials)[0]).toBe(1);
});

test("a network for other trials is refused", async () => {
  const { mkdtemp, writeFile, copyFile, rm } = await import("node:fs/promises");
  const { tmpdir } = await import("node:os");
  const folder = await mkdtemp(join(tmpdir(), "penfield-spiking-"));
  try {
    await copyFile(
      join(spikingOrganismFolder("spiking-a"), "network.nir"),
      join(folder, "network.nir"),
    );
    const write = (config: unknown) =>
      writeFile(
        join(folder, "config.json"),
        typeof config === "string" ? config : JSON.stringify(config),
      );
    await write("{");
    await expect(openNetwork(folder)).rejects.toMatchObject({ code: "ERR_FORMAT" });
    await write({ file: "network.nir", dt: 0.005 });
    await expect(openNetwork(folder)).rejects.toMatchObject({ code: "ERR_FORMAT" });
    await write({ file: "network.nir", population: "recurrent" });
    await expect(openNetwork(folder)).rejects.toThrow(ArgumentError);
    await write({ file: "network.nir", dt: 0.005, population: "nothing" });
    await expect(openNetwork(folder)).rejects.toMatchObject({ code: "ERR_HOOK_POINT" });
  } finally {
    await rm(folder, { recursive: true });
  }
});
