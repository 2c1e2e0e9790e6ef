import { existsSync } from "node:fs";
import { join } from "node:path";
import { FileError, FormatError } from "@penfield/core";
import { describe, expect, test } from "vitest";
import { inspectContainer } from "../containers/inspect.ts";
import { inspectElectrophysiology } from "./inspect.ts";
import { golden, shared } from "./testGolden.ts";

const inspect = (name: string) => inspectElectrophysiology(join(golden, name));
const contain = (name: string) => inspectContainer(join(golden, name));

describe("inspectElectrophysiology", () => {
  test("says what a raw FIF file holds", async () => {
    const outline = await inspect("short_raw.fif");
    expect(outline).toMatchObject({ format: "FIF raw", samplingRate: 100, duration: 2.5 });
    expect(outline.channels[3]).toEqual({ name: "EEG 002", kind: "eeg", unit: "V", isBad: true });
    expect(outline.events).toEqual({ "BAD blink": 1, "word: one": 1, "3": 1, "5": 2 });
    expect(outline.notes).toContain("bad channels: EEG 002, a channel with a long name");
    expect(outline.notes).toContain("2 projections, 0 of them applied");
    // Plain values only: what is printed as JSON comes back the same.
    expect(JSON.parse(JSON.stringify(outline))).toEqual(outline);
  });

  test.each([
    ["small-epo.fif", { format: "FIF epochs", events: { left: 2, "right/far": 1 } }],
    [
      "small-ave.fif.gz",
      { format: "FIF evoked", notes: expect.arrayContaining(["left: average of 2"]) },
    ],
    ["small-cov.fif", { format: "FIF covariance" }],
    ["small-eve.fif", { format: "FIF events", events: { "3": 1, "5": 2 } }],
    ["small-annot.fif", { format: "FIF annotations", events: { "BAD blink": 1, "word: one": 1 } }],
    [
      "small-proj.fif",
      { format: "FIF projections", notes: ["two of EEG: 2 vectors", "one of MEG: 1 vectors"] },
    ],
    [
      "small.edf",
      { format: "EDF+C", samplingRate: 50, duration: 5, events: { start: 1, Wörter: 1, b: 1 } },
    ],
    ["continuous.set", { format: "EEGLAB", duration: 0.6, events: { square: 1, "7": 1 } }],
    ["epoched.fdt", { format: "EEGLAB epochs", events: { a: 2, b: 1, later: 1 } }],
    [
      "small.nwb",
      {
        format: "NWB 2.6.0",
        events: { trials: 2 },
        notes: expect.arrayContaining(["3 sorted units"]),
      },
    ],
  ])("%s", async (name, expected) => {
    expect(await inspect(name)).toMatchObject(expected);
  });

  test("refuses other endings, and what is not there", async () => {
    await expect(inspect("plain.mat")).rejects.toThrow(FormatError);
    await expect(inspect("none.edf")).rejects.toThrow(FileError);
  });
});

describe("inspectContainer", () => {
  test.each([
    ["plain.mat", "MATLAB 5", { name: "cube", type: "double", shape: [2, 3, 4] }],
    ["v73.mat", "MATLAB 7.3", { name: "records", type: "struct: name, onset", shape: [1, 2] }],
    ["kinds.h5", "HDF5", { name: "/compound", type: "unread: compound values", shape: [2] }],
    ["small.nwb", "NWB", { name: "/acquisition/lfp/data", type: "integer", shape: [50, 3] }],
    ["assembly.nc", "netCDF-4", { name: "/data", type: "float", shape: [2, 5, 3] }],
    ["arrays.npz", ".npz", { name: "data", type: "float32", shape: [4, 2] }],
    ["snappy.parquet", "Parquet", { name: "v1", type: "numbers", shape: [3] }],
  ])("%s", async (name, format, entry) => {
    const outline = await contain(name);
    expect(outline.format).toBe(format);
    expect(outline.contents).toContainEqual(entry);
  });

  test("refuses other endings", async () => {
    await expect(contain("small.edf")).rejects.toThrow(FormatError);
  });
});

test.skipIf(!existsSync(shared))("published BrainVision file, by any of its three", async () => {
  for (const ending of ["vhdr", "eeg", "vmrk"]) {
    const outline = await inspectElectrophysiology(join(shared, `brainvision/test.${ending}`));
    expect(outline).toMatchObject({
      format: "BrainVision INT_16",
      samplingRate: 1000,
      duration: 7.9,
    });
    expect(outline.events["Stimulus/S255"]).toBe(5);
  }
});
