import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { InterruptedError } from "@penfield/core";
import { reportBytes } from "@penfield/report";
import { expect, test } from "vitest";
import { defaultSettings, folderStore, noStore, probes } from "../src/index.ts";

const probe = probes.find((p) => p.id === "spiking-lesions")!;
const planted = fileURLToPath(new URL("planted", import.meta.url));
const { planted: truth } = JSON.parse(readFileSync(`${planted}/config.json`, "utf8")) as {
  planted: number[];
};
// 12 of 64 units are the whole truth.
const percent = 18.75;

const settings = {
  ...defaultSettings,
  ...probe.defaults,
  model: planted,
  percent,
  doses: [percent],
  nRandom: 2,
  itemsPerGroup: 40,
};
const whole = probe.run({ settings, work: noStore });

test("planted memory units are found, all and no others, and their loss is loss of memory alone", async () => {
  const { report, arrays, tables } = await whole;
  const { rows } = tables["units.parquet"]!;
  expect(rows.map((row) => row[2] as number).sort((a, b) => a - b)).toEqual(truth);
  expect(new Set(rows.map((row) => row[3]))).toEqual(new Set(["recurrent.spikes"]));
  expect(report.verdicts.map((v) => v.expectation)).toEqual(probe.expectations);
  // What the recording shows is another network's, so the last expectation is not part of the plan.
  expect(report.verdicts.slice(0, 4).map((v) => v.outcome)).toEqual([
    "seen",
    "seen",
    "seen",
    "seen",
  ]);
  const lesion = report.sections.find((s) => s.kind === "lesion")!;
  const after = (task: string) =>
    lesion.curves.find((c) => c.task === task && c.set === "localized")!.points[0]!.value.value;
  // Nothing is left of the memory: the outputs are equal, and every trial is a toss.
  expect(after("remember")).toBe(0.5);
  expect(after("report")).toBeGreaterThan(0.9);
  // Checks the report against its schema.
  expect(reportBytes(report).length).toBeGreaterThan(1000);
  expect(Object.keys(arrays).sort()).toEqual([
    "membrane-times.npy",
    "membranes.npy",
    "raster.npy",
    "rate-units.npy",
    "rates.npy",
    "selection-mask.npy",
    "selection-q.npy",
    "selection-t.npy",
  ]);
  // The memory units stand at the top of the map of rates, those of one side first.
  const ordered = Array.from(arrays["rate-units.npy"]!.data as Float64Array);
  expect(ordered.slice(0, 12).sort((a, b) => a - b)).toEqual(truth);
  expect([...ordered].sort((a, b) => a - b)).toEqual(Array.from({ length: 64 }, (_, i) => i));
  const sides = ordered.slice(0, 12).map((unit) => (unit <= 30 ? "left" : "right"));
  expect(new Set(sides.slice(0, 6)).size).toBe(1);
});

test("goes on where it was stopped, to the same report", async () => {
  const folder = mkdtempSync(join(tmpdir(), "penfield-spiking-"));
  try {
    const work = folderStore(folder);
    const stop = new AbortController();
    const stopped = probe.run({
      settings,
      work,
      signal: stop.signal,
      onProgress: ({ stage, done }) => {
        if (stage === "dynamics" && done === 1) stop.abort();
      },
    });
    await expect(stopped).rejects.toThrow(InterruptedError);
    const lesions: number[] = [];
    const resumed = await probe.run({
      settings,
      work,
      onProgress: ({ stage, total }) => {
        if (stage === "silencing units") lesions.push(total);
      },
    });
    expect(lesions).toEqual([]);
    expect(reportBytes(resumed.report)).toEqual(reportBytes((await whole).report));
    expect(resumed.arrays).toEqual((await whole).arrays);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("can be interrupted", async () => {
  const run = probe.run({
    settings: { ...defaultSettings, ...probe.defaults, itemsPerGroup: 10 },
    work: noStore,
    signal: AbortSignal.abort(),
  });
  await expect(run).rejects.toThrow(InterruptedError);
});
