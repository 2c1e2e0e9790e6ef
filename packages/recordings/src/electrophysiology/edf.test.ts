import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ArgumentError, DataError, FileError, FormatError } from "@penfield/core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadEdf, readEdf } from "./edf.ts";
import { expectRobust, expectSame, golden, readGolden, shared } from "./testGolden.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "penfield-edf-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const put = (name: string, bytes: Uint8Array): string => {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
};

interface HandSignal {
  readonly label: string;
  readonly unit: string;
  readonly physical: readonly [number, number];
  readonly digital: readonly [number, number];
  /** One list per record. */
  readonly records: readonly (readonly number[])[];
}

/** A file by hand: the head's text fields, then records of 2 or 3 bytes per sample. */
function edf(
  signals: readonly HandSignal[],
  {
    bdf = false,
    reserved = "",
    seconds = 1,
    told,
  }: { bdf?: boolean; reserved?: string; seconds?: number; told?: number } = {},
): Uint8Array {
  const n = signals.length;
  const nRecords = signals[0]!.records.length;
  const field = (value: string | number, width: number): string =>
    String(value).padEnd(width).slice(0, width);
  const head = [
    field(bdf ? "\u00ffBIOSEMI" : "0", 8),
    field("X X X X", 80),
    field("Startdate X X X X", 80),
    field("01.01.20", 8),
    field("00.00.00", 8),
    field(256 * (n + 1), 8),
    field(reserved, 44),
    field(told ?? nRecords, 8),
    field(seconds, 8),
    field(n, 4),
    ...signals.map((s) => field(s.label, 16)),
    ...signals.map(() => field("", 80)),
    ...signals.map((s) => field(s.unit, 8)),
    ...signals.map((s) => field(s.physical[0], 8)),
    ...signals.map((s) => field(s.physical[1], 8)),
    ...signals.map((s) => field(s.digital[0], 8)),
    ...signals.map((s) => field(s.digital[1], 8)),
    ...signals.map(() => field("", 80)),
    ...signals.map((s) => field(s.records[0]!.length, 8)),
    ...signals.map(() => field("", 32)),
  ].join("");
  const width = bdf ? 3 : 2;
  const samples = Array.from({ length: nRecords }, (_, r) =>
    signals.flatMap((s) => s.records[r]!),
  ).flat();
  const data = Buffer.alloc(samples.length * width);
  samples.forEach((value, i) => {
    data.writeIntLE(value, i * width, width);
  });
  return new Uint8Array(Buffer.concat([Buffer.from(head, "latin1"), data]));
}

/** Text as the numbers of an annotation signal. */
function listed(text: string, samples: number, width: 2 | 3): number[] {
  const bytes = Buffer.alloc(samples * width);
  bytes.write(text, "utf8");
  return Array.from({ length: samples }, (_, i) => bytes.readIntLE(i * width, width));
}

const signal = (label: string, records: number[][], unit = "uV"): HandSignal => ({
  label,
  unit,
  physical: [-100, 100],
  digital: [-1000, 1000],
  records,
});

describe("a file by edfio", () => {
  const path = join(golden, "small.edf");
  const { edf: expected } = readGolden("expected.json");

  test("equals MNE in every bit, one rate at a time", async () => {
    const fast = await loadEdf(path, { channels: ["EEG Fz", "EOG left"] });
    expectSame(fast.data.data, fast.data.shape, expected.fast);
    expect(fast).toMatchObject({ samplingRate: 50, unit: "V" });
    expect(fast.targets.map(({ kind }) => kind)).toEqual(["eeg", "eog"]);
    const slow = await loadEdf(path, { channels: "all", samplingRate: 10 });
    expectSame(slow.data.data, slow.data.shape, expected.slow);
    expect(slow).toMatchObject({ unit: "degC" });
    expect(fast.events.map(({ onset, duration, type }) => [onset, duration, type])).toEqual(
      expected.annotations,
    );
  });

  test("names the channels of each rate, and takes those of the most", async () => {
    const file = await readEdf(path);
    expect(file).toMatchObject({ format: "EDF+C", nRecords: 5 });
    expect(file.notes).toEqual(["50 Hz: EEG Fz, EOG left", "10 Hz: TEMP"]);
    expect((await loadEdf(path, { channels: "all" })).targets.map(({ id }) => id)).toEqual([
      "EEG Fz",
      "EOG left",
    ]);
    await expect(loadEdf(path, { channels: "all", samplingRate: 7 })).rejects.toThrow(
      /expected one of the rates 50, 10 Hz, got 7/,
    );
    await expect(loadEdf(path, { channels: ["EEG Fz", "TEMP"] })).rejects.toThrow(DataError);
  });
});

describe("loadEdf", () => {
  test("scales by hand: 24 bits, signs, microvolts", async () => {
    const values = [
      [-1000, 0, 8_388_607],
      [500, -8_388_608, 1],
    ];
    const status = [
      [0, 65536 + 7, 7],
      [7, 9, 0],
    ];
    const path = put(
      "hand.bdf",
      edf([signal("Cz", values), { ...signal("Status", status, "Boolean") }], {
        bdf: true,
        seconds: 3,
      }),
    );
    const series = await loadEdf(path);
    expect(series.targets).toMatchObject([{ id: "Cz", kind: "eeg" }]);
    expect(series.data.shape).toEqual([6, 1]);
    // -1000 is -100 uV, 500 is 50 uV.
    expect(series.data.data[0]).toBeCloseTo(-100e-6, 18);
    expect(series.data.data[3]).toBeCloseTo(50e-6, 18);
    expect(series.data.data[2]).toBeCloseTo(838860.7e-6, 12);
    // The state bits above the 16 of the trigger do not count.
    expect(series.events).toEqual([
      { onset: 1, duration: 0, type: "7" },
      { onset: 4, duration: 0, type: "9" },
    ]);
    expect((await loadEdf(path, { trigger: "none" })).events).toEqual([]);
    await expect(loadEdf(path, { trigger: "x" })).rejects.toThrow(ArgumentError);
  });

  test("leaves zeros where a discontinuous file has gaps, and says so", async () => {
    const path = put(
      "gap.edf",
      edf(
        [
          signal("Cz", [
            [10, 20],
            [30, 40],
          ]),
          {
            ...signal(
              "EDF Annotations",
              [
                listed("+5\x14\x14\0+5.5\x14first\x14\0", 20, 2),
                listed("+8\x14\x14\0+8\x151.5\x14ä\x14b\x14\0", 20, 2),
              ],
              "",
            ),
            digital: [-32768, 32767],
          },
        ],
        { reserved: "EDF+D" },
      ),
    );
    const series = await loadEdf(path);
    expect(Array.from(series.data.data, (v) => Math.round(v * 1e6))).toEqual([
      1, 2, 0, 0, 0, 0, 3, 4,
    ]);
    expect(series.events).toEqual([
      { onset: 0.5, duration: 0, type: "first" },
      { onset: 1, duration: 2, type: "BAD_ACQ_SKIP" },
      { onset: 3, duration: 1.5, type: "ä" },
      { onset: 3, duration: 1.5, type: "b" },
    ]);
  });

  test("reads the whole records of a file that was not closed, and says so", async () => {
    const bytes = edf(
      [
        signal("Cz", [
          [1, 2],
          [3, 4],
        ]),
      ],
      { told: -1 },
    );
    expect((await loadEdf(put("open.edf", bytes))).data.shape).toEqual([4, 1]);
    const cut = put("cut.edf", bytes.slice(0, bytes.length - 1));
    expect((await loadEdf(cut)).data.shape).toEqual([2, 1]);
    expect((await readEdf(cut)).notes).toEqual(["the head promises -1 records, the file has 1"]);
  });

  test("does not believe gaps without end", async () => {
    const list = (text: string) => listed(text, 20, 2);
    const bytes = edf(
      [
        signal("Cz", [[1], [2]]),
        signal("EDF Annotations", [list("+0\x14\x14\0"), list("+999999999999\x14\x14\0")]),
      ],
      { reserved: "EDF+D" },
    );
    await expect(loadEdf(put("lie.edf", bytes))).rejects.toThrow(FormatError);
  });

  test("refuses what is no such file", async () => {
    await expect(loadEdf(join(folder, "none.edf"))).rejects.toThrow(FileError);
    await expect(
      loadEdf(put("text.edf", new TextEncoder().encode("not EDF".repeat(99)))),
    ).rejects.toThrow(
      "loadEdf: text.edf: byte 0: expected an EDF or BDF file, got bytes that do not begin as one",
    );
  });
});

test("damaged files: a recording or a FormatError", async () => {
  const path = join(folder, "damaged.edf");
  await expectRobust(
    readFileSync(join(golden, "small.edf")),
    async (bytes) => {
      writeFileSync(path, bytes);
      await loadEdf(path, { channels: "all", keepBads: true });
    },
    100,
  );
});

describe.skipIf(!existsSync(shared))("published files", () => {
  const { edf: real } = readGolden("realFiles.json");
  test.each(["test.edf", "test.bdf", "test_uneven_samp.edf"])(
    "%s equals MNE in every bit",
    async (name) => {
      const { data, names, sfreq, events, annotations } = real[name];
      const series = await loadEdf(join(shared, "edf", name), { channels: names });
      expectSame(series.data.data, series.data.shape, data);
      expect(series.samplingRate).toBe(sfreq);
      const all = [
        ...events.map(([onset, value]: [number, number]) => [onset, 0, String(value)]),
        ...annotations,
      ].sort((a, b) => a[0] - b[0] || (a[2] < b[2] ? -1 : 1));
      const got = series.events.map(
        ({ onset, duration, type }) => [onset, duration, type] as const,
      );
      expect([...got].sort((a, b) => a[0] - b[0] || (a[2] < b[2] ? -1 : 1))).toEqual(all);
    },
  );
});
