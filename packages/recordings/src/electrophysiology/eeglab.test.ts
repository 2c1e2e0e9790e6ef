import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DataError, FileError, FormatError } from "@penfield/core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadEeglab, loadEeglabEpochs, readEeglab } from "./eeglab.ts";
import { expectRobust, expectSame, golden, readGolden, shared } from "./testGolden.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "penfield-eeglab-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const { eeglab: expected } = readGolden("expected.json");
const continuous = join(golden, "continuous.set");
const epoched = join(golden, "epoched.set");

describe("loadEeglab", () => {
  test("equals MNE in every bit: samples, kinds, events", async () => {
    const series = await loadEeglab(continuous, { channels: "all" });
    expectSame(series.data.data, series.data.shape, expected.continuous);
    expect(series).toMatchObject({ unit: "V", samplingRate: 100 });
    expect(series.targets.map(({ kind }) => kind)).toEqual(expected.kinds);
    expect(series.targets[1]!.position).toEqual([-20, 10, 30]);
    const got = series.events.map(({ onset, duration, type }) => [onset, duration, type]);
    // MNE writes the number 7 as "7.0".
    const events = expected.events.map(([onset, duration, type]: [number, number, string]) => [
      onset,
      duration,
      type.replace(/\.0$/, ""),
    ]);
    expect(got).toEqual(events);
    expect(series.events[0]!.columns).toMatchObject({ word: "a" });
  });

  test("believes a number of channels only when their samples are there", async () => {
    const before = process.memoryUsage().heapTotal;
    await expect(loadEeglab(join(golden, "lie.set"))).rejects.toThrow(
      /expected EEG.data as \[67108864, 5, 1\], got 5 values/,
    );
    expect(process.memoryUsage().heapTotal - before).toBeLessThan(2 ** 28);
  });

  test("refuses epochs, and what is no EEGLAB file", async () => {
    await expect(loadEeglab(epoched)).rejects.toThrow(DataError);
    await expect(loadEeglabEpochs(continuous, { stimuli: "none" })).rejects.toThrow(DataError);
    await expect(loadEeglab(join(golden, "plain.mat"))).rejects.toThrow(
      /expected EEG.nbchan as a whole number from 1 on, got none/,
    );
    await expect(loadEeglab(join(folder, "none.set"))).rejects.toThrow(FileError);
  });
});

describe("loadEeglabEpochs", () => {
  test("names epochs by the event at time 0, or by another field of it", async () => {
    const timed = await loadEeglabEpochs(epoched, { channels: "all" });
    expect(timed.stimulusIds).toEqual(["a", "b"]);
    expect(timed.data.shape).toEqual([2, 2, 3, 20]);
    expect(timed.times[0]).toBeCloseTo(-0.1, 12);
    expect(timed.data.data[3 * 60]).toBeNaN();
    const words = await loadEeglabEpochs(epoched, { channels: "all", stimuli: "word" });
    expect(words.stimulusIds).toEqual(["x", "z"]);
    const { epoched: golden } = expected;
    // Repeat 0 of x, repeat 0 of z, repeat 1 of x.
    const { data } = words.data;
    const inOrder = [...data.slice(0, 60), ...data.slice(120, 180), ...data.slice(60, 120)];
    expectSame(inOrder, golden.shape, golden);
    expect((await readEeglab(epoched)).events[1]).toMatchObject({
      epoch: 0,
      time: expect.closeTo(0.04, 12),
    });
  });

  test("finds the .fdt of a renamed file, and refuses one of another size", async () => {
    const path = join(folder, "renamed.set");
    copyFileSync(epoched, path);
    await expect(loadEeglabEpochs(path)).rejects.toThrow(FileError);
    copyFileSync(join(golden, "epoched.fdt"), join(folder, "renamed.fdt"));
    expect((await loadEeglabEpochs(path)).stimulusIds).toEqual(["a", "b"]);
    writeFileSync(join(folder, "renamed.fdt"), new Uint8Array(100));
    await expect(loadEeglabEpochs(path)).rejects.toThrow(
      /renamed.fdt: byte 0: expected 4 bytes for each of \[3, 20, 3\] samples, got 100 bytes/,
    );
  });

  test("damaged files: a recording or an error that says so", async () => {
    const path = join(folder, "damaged.set");
    await expectRobust(
      readFileSync(continuous),
      async (bytes) => {
        writeFileSync(path, bytes);
        await loadEeglab(path, { channels: "all" });
      },
      150,
      [FormatError, DataError, FileError],
    );
  });
});

describe.skipIf(!existsSync(shared))("published files", () => {
  test("epochs equal MNE in every bit", async () => {
    const { eeglab: real } = readGolden("realFiles.json");
    const path = join(shared, "eeglab/eeglab_data_epochs_ica.set");
    const file = await readEeglab(path);
    expect(file.channels.map(({ name }) => name)).toEqual(real.names);
    expect(file.channels.map(({ kind }) => kind)).toEqual(real.kinds);
    file.channels.forEach(({ position }, i) => {
      expect(position === undefined).toBe(real.positions[i] === null);
      position?.forEach((value, axis) => {
        expect(value).toBeCloseTo(real.positions[i][axis], 9);
      });
    });
    const timed = await loadEeglabEpochs(path, { channels: "all" });
    const [nRepeats, nStimuli, nTargets, nTimes] = timed.data.shape;
    const inOrder = new Float64Array(real.first.length * nTargets * nTimes);
    const seen = new Map<string, number>();
    real.first.forEach((id: string, epoch: number) => {
      const repeat = seen.get(id) ?? 0;
      seen.set(id, repeat + 1);
      const from = (repeat * nStimuli + timed.stimulusIds.indexOf(id)) * nTargets * nTimes;
      inOrder.set(
        timed.data.data.subarray(from, from + nTargets * nTimes),
        epoch * nTargets * nTimes,
      );
    });
    expect(nRepeats).toBe(Math.max(...seen.values()));
    expectSame(inOrder, [real.first.length, nTargets, nTimes], real.data);
    expect([timed.times[0], timed.times.at(-1)]).toEqual(real.times);
  });
});
