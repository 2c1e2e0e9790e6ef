import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { ArgumentError, DataError, FileError, FormatError } from "@penfield/core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readFif } from "./fif.ts";
import { loadFifEpochs, loadFifEvoked, loadFifRaw } from "./loadFif.ts";
import {
  expectRobust,
  expectSame,
  golden,
  readGolden,
  type Summary,
  shared,
} from "./testGolden.ts";

const { fif: expected } = readGolden("expected.json");

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "penfield-fif-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const put = (name: string, bytes: Uint8Array): string => {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
};

describe.each(["short", "int", "single", "double"])("a raw file of %s numbers", (kind) => {
  const name = `${kind}_raw.fif`;
  const all = { channels: "all", keepBads: true } as const;

  test("equals MNE in every bit", async () => {
    const series = await loadFifRaw(join(golden, name), all);
    expectSame(series.data.data, series.data.shape, expected[name].data);
    expect(series.samplingRate).toBe(100);
  });

  test("with projections applied equals MNE", async () => {
    const series = await loadFifRaw(join(golden, name), { ...all, applyProjections: true });
    const { at, values, magnitude, shape } = expected[name].projected as Summary;
    expect([...series.data.shape]).toEqual(shape);
    // MNE's basis comes from an SVD, ours from orthogonalization: equal up to rounding.
    at.forEach((i, k) => {
      expect(Math.abs(series.data.data[i]! - values[k]!)).toBeLessThan(1e-14 * magnitude);
    });
  });

  test("has MNE's channels, events and annotations", async () => {
    const series = await loadFifRaw(join(golden, name), all);
    expect(series.targets.map(({ id }) => id)).toEqual(expected[name].names);
    expect(series.targets.map((target) => target.kind)).toEqual(expected[name].kinds);
    const content = await readFif(join(golden, name));
    const bads = content.kind === "raw" ? content.info.channels.filter(({ isBad }) => isBad) : [];
    expect(bads.map((channel) => channel.name)).toEqual(expected[name].bads);
    expect(series.targets.flatMap(({ position }) => position)).toEqual(
      expected[name].positions.map((metres: number) => 1000 * metres),
    );
    expect(series.unit).toBe("V");
    expect(series.targets[1]!.unit).toBe("T/m");
    const events = [
      ...expected[name].events.map(([onset, value]: [number, number]) => [onset, 0, String(value)]),
      ...expected[name].annotations,
    ].sort((a, b) => a[0] - b[0]);
    expect(series.events.map(({ type }) => type)).toEqual(events.map((event) => event[2]));
    // Annotations are stored as float32.
    series.events.forEach(({ onset, duration }, i) => {
      expect(onset).toBeCloseTo(events[i][0], 6);
      expect(duration).toBeCloseTo(events[i][1], 6);
    });
  });
});

describe("loadFifRaw", () => {
  const path = join(golden, "single_raw.fif");

  test("keeps what measures the brain and is not bad, unless asked", async () => {
    const ids = async (options: Parameters<typeof loadFifRaw>[1]) =>
      (await loadFifRaw(path, options)).targets.map(({ id }) => id);
    expect(await ids({})).toEqual(["MEG 0111", "MEG 0112", "EEG 001", "EEG 003"]);
    expect(await ids({ channels: ["eeg", "STI 014"], keepBads: true })).toEqual([
      "EEG 001",
      "EEG 002",
      "EEG 003",
      "STI 014",
    ]);
    await expect(ids({ channels: ["EEG 999"] })).rejects.toThrow(ArgumentError);
    await expect(ids({ channels: ["EEG 002"] })).rejects.toThrow(DataError);
  });

  test("takes events from the channel that is named, or from none", async () => {
    const { events } = await loadFifRaw(path, { trigger: "none" });
    expect(events).toHaveLength(2);
    await expect(loadFifRaw(path, { trigger: "no such" })).rejects.toThrow(ArgumentError);
  });

  test("reads .fif.gz", async () => {
    const zipped = put("z_raw.fif.gz", gzipSync(readFileSync(path)));
    expect((await loadFifRaw(zipped)).data).toEqual((await loadFifRaw(path)).data);
  });

  test("refuses other kinds of files, and what is not there", async () => {
    await expect(loadFifRaw(join(golden, "small-ave.fif.gz"))).rejects.toThrow(
      "loadFifRaw: small-ave.fif.gz: expected a file with raw, got one with evoked",
    );
    await expect(readFif(join(folder, "none.fif"))).rejects.toThrow(FileError);
    await expect(readFif(put("text.fif", new Uint8Array(100)))).rejects.toThrow(
      /byte 0: expected a FIF file/,
    );
  });

  test("stops when asked", async () => {
    await expect(loadFifRaw(path, { signal: AbortSignal.abort() })).rejects.toThrow(/interrupted/);
  });
});

/** A FIF file by hand: tags with big-endian content, blocks as lists. */
type Tag = readonly [kind: number, type: number, content: readonly number[] | string];
const start = (kind: number): Tag => [104, 3, [kind]];
const end = (kind: number): Tag => [105, 3, [kind]];
function fif(tags: readonly Tag[]): Uint8Array {
  const parts = [[100, 31, [0, 0, 0, 0, 0]] as Tag, ...tags].map(([kind, type, content]) => {
    const width = type === 2 || type === 16 ? 2 : type === 10 ? 1 : 4;
    const bytes = Buffer.alloc(16 + width * content.length);
    [kind, type, width * content.length, 0].forEach((word, i) => {
      bytes.writeInt32BE(word, 4 * i);
    });
    for (const [i, value] of Array.from<number | string>(content).entries()) {
      const at = 16 + width * i;
      if (typeof value === "string") bytes.writeUInt8(value.charCodeAt(0), at);
      else if (type === 4) bytes.writeFloatBE(value, at);
      else if (width === 2) bytes.writeInt16BE(value, at);
      else bytes.writeInt32BE(value, at);
    }
    return bytes;
  });
  return new Uint8Array(Buffer.concat(parts));
}
/** Channel of EEG in volts: range 2, calibration 0.5. */
const channel = (name: string): Tag => {
  const view = new DataView(new ArrayBuffer(96));
  view.setInt32(8, 2);
  view.setFloat32(12, 2);
  view.setFloat32(16, 0.5);
  view.setInt32(72, 107);
  Array.from(name, (c, i) => view.setUint8(80 + i, c.charCodeAt(0)));
  return [203, 30, Array.from({ length: 24 }, (_, i) => view.getInt32(4 * i))];
};
const measured = (raw: readonly Tag[]): Uint8Array =>
  fif([
    start(100),
    start(101),
    [200, 3, [2]],
    [201, 4, [10]],
    channel("A"),
    channel("B"),
    end(101),
    start(102),
    ...raw,
    end(102),
    end(100),
  ]);

describe("raw data", () => {
  test("with gaps: zeros in between, and a first gap moves the start", async () => {
    const bytes = measured([
      [208, 3, [100]],
      [301, 3, [2]],
      [300, 16, [1, 2, 3, 4]],
      [301, 3, [1]],
      [300, 16, [5, 6, 7, 8]],
    ]);
    const path = put("gap_raw.fif", bytes);
    const raw = await readFif(path);
    expect(raw).toMatchObject({ kind: "raw", firstSample: 104, nSamples: 6, nSkipped: 2 });
    const { data, events } = await loadFifRaw(path);
    expect(Array.from(data.data)).toEqual([1, 2, 3, 4, 0, 0, 0, 0, 5, 6, 7, 8]);
    expect(events).toEqual([{ onset: 0.2, duration: 0.2, type: "BAD_ACQ_SKIP" }]);
  });

  test("in parts: the next file is named in the first", async () => {
    const part = (values: number[], next?: string) =>
      measured([
        [300, 2, values],
        ...(next ? [start(118), [115, 3, [2]] as Tag, [118, 10, next] as Tag, end(118)] : []),
      ]);
    const first = put("split_raw.fif", part([1, 2, 3, 4], "split_raw-1.fif"));
    await expect(loadFifRaw(first)).rejects.toThrow(FileError);
    put("split_raw-1.fif", part([5, 6]));
    const series = await loadFifRaw(first);
    expect(Array.from(series.data.data)).toEqual([1, 2, 3, 4, 5, 6]);
    put("split_raw-1.fif", part([5, 6], "split_raw.fif"));
    await expect(loadFifRaw(first)).rejects.toThrow(/a next part that was not read before/);
  });

  test("that promise gaps without end are refused", async () => {
    const bytes = measured([
      [300, 2, [1, 2]],
      [301, 3, [100_000_000]],
      [300, 2, [1, 2]],
    ]);
    await expect(loadFifRaw(put("lie_raw.fif", bytes))).rejects.toThrow(FormatError);
  });
});

describe("other files", () => {
  test("epochs equal MNE's; repeats of a stimulus, NaN where there are fewer", async () => {
    const path = join(golden, "small-epo.fif");
    const content = await readFif(path);
    if (content.kind !== "epochs") throw new Error(content.kind);
    expectSame(content.data, content.shape, expected["small-epo.fif"].data);
    expect(Array.from(content.times)).toEqual(expected["small-epo.fif"].times);
    expect(Array.from(content.events.data)).toEqual(expected["small-epo.fif"].events);
    const timed = await loadFifEpochs(path, { channels: ["EEG 003"] });
    // MNE dropped the first epoch, which overlaps "BAD blink".
    expect(timed.stimulusIds).toEqual(["right/far", "left"]);
    expect(timed.data.shape).toEqual([2, 2, 1, 51]);
    expect(timed.data.data[0]).toBe(content.data[4 * 51]);
    expect(timed.data.data[51]).toBe(content.data[(7 + 4) * 51]);
    expect(timed.data.data[2 * 51]).toBeNaN();
    const words = await loadFifEpochs(path, { stimuli: "word" });
    expect(words.stimulusIds).toEqual(["b", "c", "d"]);
    await expect(loadFifEpochs(path, { stimuli: "none" })).rejects.toThrow(
      /expected a column "none" in the epochs' metadata, got index, word, length/,
    );
  });

  test("evoked responses of all aspects equal MNE's", async () => {
    const path = join(golden, "small-ave.fif.gz");
    const content = await readFif(path);
    if (content.kind !== "evoked") throw new Error(content.kind);
    expected["small-ave.fif.gz"].forEach(
      (one: { data: Summary; comment: string; nave: number; times: number[] }, i: number) => {
        const { data, channels, times, comment, nAverages } = content.evokeds[i]!;
        expectSame(data, [channels.length, times.length], one.data);
        expect({ comment, nave: nAverages, times: Array.from(times) }).toMatchObject({
          comment: one.comment,
          nave: one.nave,
          times: one.times,
        });
      },
    );
    expect((await loadFifEvoked(path)).stimulusIds).toEqual(["left", "right"]);
    expect((await loadFifEvoked(path, { aspect: "standard error" })).data.shape[1]).toBe(1);
    await expect(loadFifEvoked(path, { aspect: "sample" })).rejects.toThrow(DataError);
  });

  test("covariances, events, annotations, projections equal MNE's", async () => {
    const cov = await readFif(join(golden, "small-cov.fif"));
    if (cov.kind !== "covariance") throw new Error(cov.kind);
    expectSame(cov.data, [cov.names.length, cov.names.length], expected["small-cov.fif"].data);
    expect(cov).toMatchObject({
      nFree: expected["small-cov.fif"].nfree,
      names: expected["small-cov.fif"].names,
    });
    const events = await readFif(join(golden, "small-eve.fif"));
    expect(events.kind === "events" && Array.from(events.data)).toEqual(expected["small-eve.fif"]);
    const notes = await readFif(join(golden, "small-annot.fif"));
    expect(notes).toMatchObject({
      kind: "annotations",
      annotations: [{ text: "BAD blink" }, { text: "word: one", duration: 0 }],
    });
    const projections = await readFif(join(golden, "small-proj.fif"));
    expect(projections).toMatchObject({
      kind: "projections",
      projections: [
        { name: "two of EEG", nVectors: 2, isActive: false },
        { name: "one of MEG", channels: ["MEG 0111", "MEG 0112"] },
      ],
    });
  });
});

describe("damaged files", () => {
  test.each(["short_raw.fif", "small-epo.fif", "small-cov.fif", "small-proj.fif", "small-eve.fif"])(
    "%s: a result or a FormatError",
    async (name) => {
      const path = join(folder, name);
      await expectRobust(
        readFileSync(join(golden, name)),
        async (bytes) => {
          writeFileSync(path, bytes);
          const content = await readFif(path);
          if (content.kind === "raw") await loadFifRaw(path, { channels: "all", keepBads: true });
          if (content.kind === "epochs")
            await loadFifEpochs(path, { channels: "all", keepBads: true });
        },
        60,
        // A changed trigger channel or epoch count may leave nothing to load.
        [FormatError, DataError],
      );
    },
  );
});

describe.skipIf(!existsSync(shared))("published files", () => {
  const { fif: real } = readGolden("realFiles.json");
  const path = (name: string) => join(shared, "fif", name);

  test.each(["test_bin_raw.fif", "test_ctf_comp_raw.fif"])(
    "%s equals MNE in every bit",
    async (name) => {
      const series = await loadFifRaw(path(name), { channels: "all", keepBads: true });
      expectSame(series.data.data, series.data.shape, real[name].data);
      expect(series.targets.map(({ kind }) => kind)).toEqual(real[name].kinds);
      const content = await readFif(path(name));
      expect(content.kind === "raw" && content.info.compensations.length).toBe(real[name].nComps);
      if (real[name].events.length > 0) {
        expect(series.events.map(({ onset, type }) => [onset, Number(type)])).toEqual(
          real[name].events,
        );
      }
    },
  );

  test("evoked responses equal MNE, with projections up to rounding", async () => {
    const content = await readFif(path("test-ave.fif.gz"));
    if (content.kind !== "evoked") throw new Error(content.kind);
    const projected = await loadFifEvoked(path("test-ave.fif.gz"), {
      channels: "all",
      keepBads: true,
      applyProjections: true,
    });
    real["test-ave.fif.gz"].forEach(
      (
        one: { data: Summary; comment: string; nave: number; projected: Summary; bads: string[] },
        i: number,
      ) => {
        const evoked = content.evokeds[i]!;
        expectSame(evoked.data, one.data.shape, one.data);
        expect(evoked).toMatchObject({ comment: one.comment, nAverages: one.nave });
        expect(content.info.bads).toEqual(one.bads);
        const offset = i * one.data.shape[0]! * one.data.shape[1]!;
        one.projected.at.forEach((at, k) => {
          const got = projected.data.data[offset + at]!;
          expect(Math.abs(got - one.projected.values[k]!)).toBeLessThan(
            1e-12 * Math.max(1e-6, Math.abs(got)),
          );
        });
      },
    );
  });

  test("covariance, events and projections equal MNE", async () => {
    const cov = await readFif(path("test-cov.fif.gz"));
    if (cov.kind !== "covariance") throw new Error(cov.kind);
    expectSame(cov.data, [cov.names.length, cov.names.length], real["test-cov.fif.gz"].data);
    for (const name of ["test-eve.fif", "test_raw-eve.fif"]) {
      const events = await readFif(path(name));
      if (events.kind !== "events") throw new Error(events.kind);
      expectSame(events.data, [events.nEvents, 3], real[name]);
    }
    const projections = await readFif(path("test-proj.fif"));
    if (projections.kind !== "projections") throw new Error(projections.kind);
    real["test-proj.fif"].forEach((one: { name: string; data: Summary }, i: number) => {
      const { name, vectors, nVectors, channels } = projections.projections[i]!;
      expect(name).toBe(one.name);
      expectSame(vectors, [nVectors, channels.length], one.data);
    });
  });
});
