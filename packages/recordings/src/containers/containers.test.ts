import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DataError, FileError, FormatError, ShapeError, writeNpy } from "@penfield/core";
import { writeHdf5 } from "@penfield/hdf5";
import { zipSync } from "fflate";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  expectRobust,
  expectSame,
  golden,
  readGolden,
  shared,
} from "../electrophysiology/testGolden.ts";
import { loadAssembly, loadTimedAssembly, readAssembly } from "./assembly.ts";
import { loadNpzRecording, readNpz } from "./npz.ts";
import { loadNwb, readNwb } from "./nwb.ts";
import { loadParquetRecording } from "./parquet.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "penfield-containers-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const put = (name: string, bytes: Uint8Array): string => {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
};

describe("NWB", () => {
  const path = join(golden, "small.nwb");

  test("says what it holds: series, trials, units with their spikes", async () => {
    const file = await readNwb(path);
    expect(file).toMatchObject({ version: "2.6.0", identifier: "abc", subject: "mouse" });
    expect(file.series).toEqual([
      {
        path: "/acquisition/lfp",
        type: "ElectricalSeries",
        shape: [50, 3],
        unit: "volts",
        samplingRate: 250,
      },
      {
        path: "/processing/behavior/licks",
        type: "TimeSeries",
        shape: [3],
        unit: undefined,
        samplingRate: undefined,
      },
      {
        path: "/processing/behavior/speed",
        type: "TimeSeries",
        shape: [5],
        unit: "m/s",
        samplingRate: undefined,
      },
    ]);
    expect(file.units).toEqual([
      { id: "3", times: Float64Array.of(0.1, 0.2, 0.35), columns: { quality: "good" } },
      { id: "5", times: new Float64Array(0), columns: { quality: "good" } },
      { id: "6", times: Float64Array.of(1.5), columns: { quality: "noise" } },
    ]);
    expect(file.events[0]).toMatchObject({
      onset: 10.1,
      type: "trials",
      columns: { stimulus: "left", hit: "true" },
    });
  });

  test("series are scaled, with electrodes as targets and events from the first sample", async () => {
    const series = await loadNwb(path);
    // Ours multiplies in one order, numpy in another: equal up to rounding.
    const { nwb: expected } = readGolden("expected.json");
    expect([...series.data.shape]).toEqual(expected.shape);
    expected.at.forEach((at: number, k: number) => {
      expect(Math.abs(series.data.data[at]! - expected.values[k])).toBeLessThan(1e-17);
    });
    expect(series).toMatchObject({ samplingRate: 250, unit: "volts" });
    expect(series.targets).toMatchObject([
      { id: "9", region: "V4", position: [0.5, 0, -0.25] },
      { id: "7", region: "V1", position: [1, 0, 0] },
      { id: "8", region: "V1" },
    ]);
    expect(series.events[0]!.onset).toBeCloseTo(0.1, 12);
  });

  test("timestamps must be even", async () => {
    const speed = await loadNwb(path, { series: "speed" });
    expect(speed.samplingRate).toBe(2);
    expect(speed.events[0]!.onset).toBeCloseTo(7.1, 12);
    await expect(loadNwb(path, { series: "/processing/behavior/licks" })).rejects.toThrow(
      /expected even timestamps, 2 s apart, got 2 s at sample 1/,
    );
    await expect(loadNwb(path, { series: "none" })).rejects.toThrow(DataError);
  });

  test("other HDF5 files are refused", async () => {
    await expect(readNwb(join(golden, "kinds.h5"))).rejects.toThrow(FormatError);
    await expect(readNwb(join(folder, "none.nwb"))).rejects.toThrow(FileError);
  });

  test("damaged files: a result or an error that says so", async () => {
    await expectRobust(readFileSync(path), async (bytes) => loadNwb(put("damaged.nwb", bytes)), 8, [
      FormatError,
      DataError,
    ]);
  });
});

describe("assemblies", () => {
  const path = join(golden, "assembly.nc");

  test("are read with their dimensions and levels", async () => {
    const assembly = await readAssembly(path);
    expect(assembly).toMatchObject({
      name: "data",
      dimensions: ["neuroid", "presentation", "time_bin"],
      shape: [2, 5, 3],
    });
    expect(assembly.coordinates.get("region")).toMatchObject({
      dimension: "neuroid",
      values: ["V4", "IT"],
    });
    expect(assembly.coordinates.get("time_bin_start")?.numbers).toEqual(
      Float64Array.of(70, 90, 110),
    );
  });

  test("become recordings: repetitions on their axis, time bins on theirs", async () => {
    const timed = await loadTimedAssembly(path);
    expect(timed.stimulusIds).toEqual(["a", "b"]);
    expect(timed.data.shape).toEqual([3, 2, 2, 3]);
    expect(timed.targets).toMatchObject([
      { id: "n1", region: "V4" },
      { id: "n2", region: "IT" },
    ]);
    expect(timed.samplingRate).toBeCloseTo(50, 9);
    expect(Array.from(timed.times)).toEqual([0.07, 0.09, 0.11]);
    const at = (r: number, s: number, n: number) =>
      Array.from(timed.data.data.slice(((r * 2 + s) * 2 + n) * 3, ((r * 2 + s) * 2 + n) * 3 + 3));
    // Presentations a1 b0 a0 b1 a2; a value is 15 neuroid + 3 presentation + bin.
    expect(at(0, 0, 0)).toEqual([6, 7, 8]);
    expect(at(1, 0, 1)).toEqual([15, 16, 17]);
    expect(at(1, 1, 0)).toEqual([9, 10, 11]);
    expect(at(2, 1, 0)).toEqual([Number.NaN, Number.NaN, Number.NaN]);
    await expect(loadAssembly(path)).rejects.toThrow(/expected one time bin, got 3/);
  });

  test("without stimuli or with missing values are refused", async () => {
    await expect(loadTimedAssembly(path, { stimuli: "none" })).rejects.toThrow(
      /a coordinate that names stimuli, got \[neuroid, presentation, time_bin\] with .*stimulus_id/,
    );
    const plain = put("plain.nc", await writeHdf5({ arrays: { x: { data: Float64Array.of(1) } } }));
    await expect(loadAssembly(plain)).rejects.toThrow(
      /expected an array over named dimensions, got x/,
    );
  });

  test("damaged: a result or an error that says so", async () => {
    await expectRobust(
      readFileSync(path),
      async (bytes) => loadTimedAssembly(put("damaged.nc", bytes)),
      5,
      [FormatError, DataError],
    );
  });
});

describe(".npz", () => {
  const path = join(golden, "arrays.npz");

  test("named arrays become a recording", async () => {
    const recording = await loadNpzRecording(path);
    expect(recording.stimulusIds).toEqual(["a", "b", "c"]);
    expect(recording.data.shape).toEqual([2, 3, 2]);
    expect(recording.data.data).toBeInstanceOf(Float32Array);
    const { NaN: nan } = Number;
    expect(Array.from(recording.data.data)).toEqual([0, 1, 2, 3, 6, 7, 4, 5, nan, nan, nan, nan]);
    expect(recording.targets).toMatchObject([
      { id: "n1", region: "V1" },
      { id: "n2", region: "V2" },
    ]);
  });

  test("what does not fit is named", async () => {
    const x = writeNpy(new Float64Array(4), [2, 2]);
    const path = put("odd.npz", zipSync({ "x.npy": x, "note.txt": new Uint8Array(3) }));
    await expect(loadNpzRecording(path)).rejects.toThrow(ShapeError);
    await expect(loadNpzRecording(path, { data: "y" })).rejects.toThrow(
      /expected data \[presentation, target\] or \[repeat, stimulus, target\], got x \[2, 2\]/,
    );
    expect(() => readNpz(new Uint8Array(30))).toThrow(FormatError);
  });

  test("damaged: a result or an error that says so", async () => {
    await expectRobust(readFileSync(path), (bytes) => readNpz(bytes), 150);
  });
});

describe("Parquet", () => {
  test.each(["snappy", "gzip"])("tables packed with %s become a recording", async (packing) => {
    const recording = await loadParquetRecording(join(golden, `${packing}.parquet`));
    expect(recording.stimulusIds).toEqual(["a", "b"]);
    expect(recording.targets).toEqual([{ id: "v1" }, { id: "v2" }]);
    const { NaN: nan } = Number;
    expect(Array.from(recording.data.data)).toEqual([1.5, 1, 2.5, 2, 3.5, 3, nan, nan]);
    const notes = await loadParquetRecording(join(golden, `${packing}.parquet`), {
      stimuli: "note",
      targets: ["v2"],
    });
    expect(notes.stimulusIds).toEqual(["x", "y", "z"]);
  });

  test("what does not fit is named", async () => {
    const path = join(golden, "snappy.parquet");
    await expect(loadParquetRecording(path, { stimuli: "word" })).rejects.toThrow(
      /expected a column of stimulus ids and columns of numbers, got id, v1, v2, note/,
    );
    await expect(loadParquetRecording(path, { targets: ["note"] })).rejects.toThrow(DataError);
    await expect(loadParquetRecording(put("x.parquet", new Uint8Array(50)))).rejects.toThrow(
      FormatError,
    );
    await expect(loadParquetRecording(join(folder, "none.parquet"))).rejects.toThrow(FileError);
  });

  test("damaged: a result or an error that says so", async () => {
    await expectRobust(
      readFileSync(join(golden, "snappy.parquet")),
      async (bytes) => loadParquetRecording(put("damaged.parquet", bytes)),
      80,
      [FormatError, DataError],
    );
  });
});

describe.skipIf(!existsSync(shared))("published files", () => {
  const { assembly: real } = readGolden("realFiles.json");
  const nc = (name: string) => join(shared, "brainio_nc", name);

  test("assemblies equal h5py", async () => {
    for (const name of ["alexnet-probabilities.nc", "alexnet-rgb-None.nc", "assy_test_TestMe.nc"]) {
      const { data, shape } = await readAssembly(nc(name));
      expectSame(data, shape, real[name]);
    }
    const probabilities = await loadAssembly(nc("alexnet-probabilities.nc"), {
      targets: "choice_",
    });
    expect(probabilities.data.shape).toEqual([1, 240, 24]);
    expect(probabilities.targets[2]!.id).toBe("calc01");
    const repeated = await loadAssembly(nc("assy_test_TestMe.nc"));
    expect(repeated.stimulusIds.slice(0, 2)).toEqual(["n0", "n1"]);
    expect(repeated.targets.map(({ id }) => id)).toEqual(["alpha", "beta", "gamma"]);
    expect(Array.from(repeated.data.data.slice(0, 3))).toEqual([1, 2, 3]);
    // One value per event is no recording of presentations by neuroids.
    await expect(loadAssembly(nc("assy_test_package_assembly_extras.nc"))).rejects.toThrow(
      DataError,
    );
  });

  test("NWB files of PyNWB", async () => {
    const file = await readNwb(join(shared, "nwb/pynwb_2.2.0_subject_no_age.nwb"));
    expect(file).toMatchObject({ series: [], units: [], events: [] });
    expect(file.subject).toBe("RAT123");
  });
});
