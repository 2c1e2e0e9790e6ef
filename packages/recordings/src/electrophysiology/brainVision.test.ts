import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FileError, FormatError } from "@penfield/core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadBrainVision, readBrainVision } from "./brainVision.ts";
import { expectRobust, expectSame, readGolden, shared } from "./testGolden.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "penfield-brainvision-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const header = ({
  format = "INT_16",
  orientation = "MULTIPLEXED",
  points = "",
  channels = ["Fz,,0.5,µV", "Cz\\1x,,2,", "Temp,,,C"],
} = {}) =>
  [
    "Brain Vision Data Exchange Header File Version 1.0",
    "; a comment",
    "[Common Infos]",
    "DataFile=hand.eeg",
    "MarkerFile=hand.vmrk",
    "DataFormat=BINARY",
    `DataOrientation=${orientation}`,
    `NumberOfChannels=${channels.length}`,
    ...(points ? [`DataPoints=${points}`] : []),
    "SamplingInterval=2000",
    "[Binary Infos]",
    `BinaryFormat=${format}`,
    "[Channel Infos]",
    ...channels.map((channel, i) => `Ch${i + 1}=${channel}`),
    "[Coordinates]",
    "Ch1=90,90,0",
    "Ch2=1,0,0",
    "[Comment]",
    "Ch1=not this",
  ].join("\r\n");
const markers = [
  "Brain Vision Data Exchange Marker File, Version 1.0",
  "[Marker Infos]",
  "Mk1=New Segment,,1,1,0,20200101000000000000",
  "Mk2=Stimulus,S  1,3,2,0",
  "Mk3=Comment,a\\1b,2,0,0",
].join("\n");

function write(
  text: string | Uint8Array,
  data: ArrayBufferView,
  vmrk: string | undefined = markers,
): string {
  const path = join(folder, "hand.vhdr");
  writeFileSync(path, text);
  writeFileSync(
    join(folder, "hand.eeg"),
    new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
  );
  rmSync(join(folder, "hand.vmrk"), { force: true });
  if (vmrk !== "") writeFileSync(join(folder, "hand.vmrk"), vmrk);
  return path;
}

describe("loadBrainVision", () => {
  const multiplexed = [1, 10, 100, 2, 20, 200, -3, -30, -300];
  const vectorized = [1, 2, -3, 10, 20, -30, 100, 200, -300];
  /** Half a microvolt, two, and degrees. */
  const values = [0.5e-6, 20e-6, 100, 1e-6, 40e-6, 200, -1.5e-6, -60e-6, -300];

  test.each([
    ["INT_16", "MULTIPLEXED", Int16Array.from(multiplexed)],
    ["INT_16", "VECTORIZED", Int16Array.from(vectorized)],
    ["INT_32", "MULTIPLEXED", Int32Array.from(multiplexed)],
    ["IEEE_FLOAT_32", "VECTORIZED", Float32Array.from(vectorized)],
  ])("%s %s", async (format, orientation, data) => {
    const path = write(header({ format, orientation }), data);
    const series = await loadBrainVision(path, { channels: "all" });
    expect(series.data.shape).toEqual([3, 3]);
    series.data.data.forEach((value, i) => {
      expect(value).toBeCloseTo(values[i]!, 15);
    });
    expect(series.samplingRate).toBe(500);
  });

  test("gives names, units, positions and markers", async () => {
    const series = await loadBrainVision(write(header(), Int16Array.from(multiplexed)), {
      channels: "all",
    });
    expect(series).toMatchObject({
      unit: "V",
      targets: [
        { id: "Fz", kind: "eeg" },
        { id: "Cz,x", kind: "eeg", position: undefined },
        { id: "Temp", kind: "misc", unit: "C" },
      ],
    });
    const [x, y, z] = series.targets[0]!.position!;
    expect([x, y, z].map((v) => Math.round(v * 1e9) / 1e9 + 0)).toEqual([90, 0, 0]);
    expect(series.events).toEqual([
      { onset: 0.002, duration: 0, type: "Comment/a,b" },
      { onset: 0.004, duration: 0.004, type: "Stimulus/S  1" },
    ]);
  });

  test("reads text of Windows as well as UTF-8", async () => {
    const latin = Buffer.from(header(), "latin1");
    const series = await loadBrainVision(write(latin, Int16Array.from(multiplexed)));
    expect(series.data.data[0]).toBeCloseTo(0.5e-6, 15);
    expect((await readBrainVision(join(folder, "hand.vhdr"))).channels[0]).toMatchObject({
      unit: "V",
    });
  });

  test("without markers there are no events; without data there is an error", async () => {
    const path = write(header(), Int16Array.from(multiplexed), "");
    expect((await loadBrainVision(path)).events).toEqual([]);
    rmSync(join(folder, "hand.eeg"));
    await expect(loadBrainVision(path)).rejects.toThrow(FileError);
  });

  test.each([
    [header({ format: "INT_12" }), /line \d+: expected one of INT_16, .* got "INT_12"/],
    [header({ orientation: "SIDEWAYS" }), /expected MULTIPLEXED or VECTORIZED/],
    [header({ channels: ["Fz,,x,µV"] }), /expected a resolution as a number/],
    [
      header({ orientation: "VECTORIZED", points: "999999999999" }),
      /expected \[999999999999, 3\] values/,
    ],
    ["[Common Infos]", /expected a BrainVision header/],
  ])("refuses %#", async (text, message) => {
    const path = write(text, Int16Array.from(multiplexed));
    await expect(loadBrainVision(path)).rejects.toThrow(FormatError);
    await expect(loadBrainVision(path)).rejects.toThrow(message);
  });

  test("damaged headers: a recording or a FormatError", async () => {
    await expectRobust(
      new TextEncoder().encode(header()),
      async (bytes) =>
        loadBrainVision(write(bytes, Int16Array.from(multiplexed)), { channels: "all" }),
      100,
      // A changed name of the data file leads nowhere.
      [FormatError, FileError],
    );
  });
});

describe.skipIf(!existsSync(shared))("published files", () => {
  test("equal to MNE in every bit", async () => {
    const { brainvision: real } = readGolden("realFiles.json");
    const series = await loadBrainVision(join(shared, "brainvision/test.vhdr"), {
      channels: "all",
    });
    expectSame(series.data.data, series.data.shape, real.data);
    expect(series.targets.map(({ id }) => id)).toEqual(real.names);
    expect(series.samplingRate).toBe(real.sfreq);
    expect(series.events.map(({ onset, duration, type }) => [onset, duration, type])).toEqual(
      real.events,
    );
  });
});
