import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  ArgumentError,
  DataError,
  FileError,
  FormatError,
  ShapeError,
  writeNpy,
} from "@penfield/core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { meanOverRepeats } from "./ceilings/repeats.ts";
import { groupByStimulus, matchStimuli } from "./matchStimuli.ts";
import { loadRecording } from "./recording.ts";
import { loadStimulusSet } from "./stimulusSet.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "penfield-recording-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
function put(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}
const npy = (name: string, shape: number[], data?: Parameters<typeof writeNpy>[0]) =>
  put(
    name,
    writeNpy(
      data ?? Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => i),
      shape,
    ),
  );

describe("loadRecording", () => {
  test("reads [stimulus, target] and [repeat, stimulus, target] with ids and targets from tables", async () => {
    const stimuli = put("stimuli.tsv", "id\ttext\nb\tx\na\ty\n");
    const targets = put(
      "targets.tsv",
      "id\tregion\tsubject\nv1\tIFG\ts01\nv2\t\ts01\nv3\tMTG\ts02\n",
    );
    const two = await loadRecording(npy("two.npy", [2, 3]), { stimuli, targets });
    expect(two.data.shape).toEqual([1, 2, 3]);
    expect(two.data.data).toBeInstanceOf(Float32Array);
    expect(two.stimulusIds).toEqual(["b", "a"]);
    expect(two.targets[1]).toEqual({ id: "v2", region: undefined, subject: "s01" });
    expect(two).toMatchObject({ name: "two", simulated: false });
    const three = await loadRecording(npy("three.npy", [4, 2, 3]), {
      stimuli: ["x", "y"],
      name: "n",
    });
    expect(three.data.shape).toEqual([4, 2, 3]);
    expect(three.targets.map(({ id }) => id)).toEqual(["t0", "t1", "t2"]);
  });

  test("turns integers into float64", async () => {
    const path = npy("int.npy", [2, 1], BigInt64Array.of(3n, -4n));
    const { data } = await loadRecording(path, { stimuli: ["a", "b"] });
    expect([...data.data]).toEqual([3, -4]);
    expect(data.data).toBeInstanceOf(Float64Array);
  });

  test("reads a text table in which words look like missing values", async () => {
    const path = put("words.txt", "word v0 v1\nnan 1.5 2\nnull -1 3e-2\nNA 0 1\n");
    const recording = await loadRecording(path);
    expect(recording.stimulusIds).toEqual(["nan", "null", "NA"]);
    expect(recording.targets.map(({ id }) => id)).toEqual(["v0", "v1"]);
    expect([...recording.data.data]).toEqual([1.5, 2, -1, 0.03, 0, 1]);
    const csv = await loadRecording(put("words.csv", 'id,v0\n"a, b",1\nc,2\n'));
    expect(csv.stimulusIds).toEqual(["a, b", "c"]);
  });

  test.each([
    [
      "no ids",
      npyOf([2, 3]),
      {},
      DataError,
      "expected the stimuli's ids beside the array, got none",
    ],
    [
      "few ids",
      npyOf([2, 3]),
      { stimuli: ["a"] },
      ShapeError,
      "expected 2 stimulus ids, one per row, got 1",
    ],
    [
      "few targets",
      npyOf([2, 3]),
      { stimuli: ["a", "b"], targets: [{ id: "x" }] },
      ShapeError,
      "expected 3 targets, one per column, got 1",
    ],
    ["an id twice", npyOf([2, 3]), { stimuli: ["a", "a"] }, DataError, 'got "a" in rows 0 and 1'],
    [
      "one axis",
      npyOf([6]),
      { stimuli: ["a"] },
      ShapeError,
      "expected [stimulus, target] or [repeat, stimulus, target], got [6]",
    ],
    ["no values", npyOf([0, 3]), { stimuli: [] }, DataError, "expected values, got [0, 3]"],
    ["other bytes", new Uint8Array(20), { stimuli: ["a"] }, FormatError, "expected a .npy file"],
    [
      "NaN",
      writeNpy(
        Float64Array.of(1, 2, Number.NaN, 4, Number.NaN, Number.POSITIVE_INFINITY, 7, 8),
        [2, 2, 2],
      ),
      { stimuli: ["a", "b"] },
      DataError,
      'got 3 that are NaN or infinite, first NaN in repeat 0, stimulus "b", target 0',
    ],
  ])("refuses %s", async (name, bytes, options, type, message) => {
    const path = put(`${name}.npy`, bytes);
    await expect(loadRecording(path, options)).rejects.toThrow(type);
    await expect(loadRecording(path, options)).rejects.toThrow(message);
  });

  test.each([
    ["text.txt", "word v0\na x\n", FormatError, 'line 2: expected a number under v0, got "x"'],
    [
      "missing.tsv",
      "word\tv0\tv1\na\t1\t\nb\tnan\t2\n",
      DataError,
      'got 2 that are NaN or infinite, first NaN in repeat 0, stimulus "a", target 1',
    ],
    ["narrow.txt", "word\na\n", FormatError, "got one column"],
    ["twice.txt", "word v0\na 1\na 2\n", DataError, 'got "a" in rows 0 and 1'],
  ])("refuses the table %s", async (name, text, type, message) => {
    const path = put(name, text);
    await expect(loadRecording(path)).rejects.toThrow(type);
    await expect(loadRecording(path)).rejects.toThrow(message);
  });

  test("refuses a file that is not there", async () => {
    await expect(loadRecording(join(folder, "nowhere.npy"))).rejects.toThrow(FileError);
  });
});

describe("loadRecording, missing values", () => {
  const nan = Number.NaN;
  const load = (values: number[], options: Parameters<typeof loadRecording>[1]) =>
    loadRecording(put("missing.npy", writeNpy(Float64Array.from(values), [2, 2, 3])), {
      stimuli: ["a", "b"],
      targets: [{ id: "x" }, { id: "y" }, { id: "z" }],
      ...options,
    });

  test("mask leaves out targets with a value missing or without variance, and names them", async () => {
    const recording = await load([1, nan, 7, 2, 3, 7, 4, 5, 7, 5, 6, 7], { missing: "mask" });
    expect(recording).toMatchObject({ nMasked: 2, maskedTargets: ["y", "z"] });
    expect(recording.targets).toEqual([{ id: "x" }]);
    expect([...recording.data.data]).toEqual([1, 2, 4, 5]);
    await expect(load(new Array(12).fill(1), { missing: "mask" })).rejects.toThrow("got none of 3");
  });

  test("repeats keeps NaN, flags constant targets and refuses stimuli without a repeat", async () => {
    const recording = await load([1, 2, 7, 3, 4, 7, nan, nan, nan, 5, 6, 7], {
      missing: "repeats",
    });
    expect(recording.constantTargets).toEqual(["z"]);
    expect([...meanOverRepeats(recording).data]).toEqual([1, 2, 7, 4, 5, 7]);
    await expect(
      load([nan, 2, 7, 3, 4, 7, nan, nan, nan, 5, 6, 7], { missing: "repeats" }),
    ).rejects.toThrow('got none of 1 stimuli ("a"), first for target "x"');
    const infinite = [Number.POSITIVE_INFINITY, 2, 7, 3, 4, 7, nan, nan, nan, 5, 6, 7];
    await expect(load(infinite, { missing: "repeats" })).rejects.toThrow("got 1 that are infinite");
    // @ts-expect-error: not a word for it
    await expect(load(infinite, { missing: "drop" })).rejects.toThrow(ArgumentError);
    const constant = await load([1, 2, 7, 3, 4, 7, 1, 1, 7, 5, 6, 7], {});
    expect(constant.constantTargets).toEqual(["z"]);
  });

  test("axes in another order", async () => {
    const path = npy("axes.npy", [3, 2, 4]); // [target, stimulus, repeat]
    const recording = await loadRecording(path, {
      stimuli: ["a", "b"],
      axes: ["target", "stimulus", "repeat"],
    });
    expect(recording.data.shape).toEqual([4, 2, 3]);
    // Repeat 1, stimulus 1, target 2 of 0, 1, 2, ...
    expect(recording.data.data[1 * 6 + 1 * 3 + 2]).toBe(2 * 8 + 1 * 4 + 1);
    const two = await loadRecording(npy("axes2.npy", [3, 2]), {
      stimuli: ["a", "b"],
      axes: ["target", "stimulus"],
    });
    expect([...two.data.data]).toEqual([0, 2, 4, 1, 3, 5]);
    await expect(
      loadRecording(path, { stimuli: ["a"], axes: ["target", "stimulus"] }),
    ).rejects.toThrow("expected [target, stimulus], got [3, 2, 4]");
    await expect(
      loadRecording(path, { stimuli: ["a"], axes: ["target", "target", "stimulus"] }),
    ).rejects.toThrow(ArgumentError);
  });
});

function npyOf(shape: number[]): Uint8Array {
  return writeNpy(new Float32Array(shape.reduce((a, b) => a * b, 1)), shape);
}

describe("matchStimuli", () => {
  const recordingOf = async (ids: string[]) =>
    loadRecording(npy("match.npy", [ids.length, 1]), { stimuli: ids, name: "rec" });

  test("gives rows of both sides in the recording's order", async () => {
    const match = matchStimuli(["a", "b", "c"], await recordingOf(["c", "a", "b"]));
    expect([...match.setIndices]).toEqual([2, 0, 1]);
    expect([...match.recordingIndices]).toEqual([0, 1, 2]);
  });

  test("says what is missing, or keeps what both have", async () => {
    const recording = await recordingOf(["c", "x", "a"]);
    expect(() => matchStimuli(["a", "b", "c"], recording)).toThrow(
      'matchStimuli: rec: expected the same ids on both sides, got 1 recorded ones without a stimulus ("x") and 1 stimuli without a recording ("b")',
    );
    const match = matchStimuli(["a", "b", "c"], recording, { allowMissing: true });
    expect([...match.setIndices]).toEqual([2, 0]);
    expect([...match.recordingIndices]).toEqual([0, 2]);
    expect(match).toMatchObject({ notRecorded: ["b"], notInSet: ["x"] });
    expect(() => matchStimuli(["q"], recording, { allowMissing: true })).toThrow(DataError);
    expect(() => matchStimuli(["a", "a"], recording)).toThrow(
      "expected each stimulus id once, got 1 repeated",
    );
  });
});

const shared = fileURLToPath(new URL("../../../../shared/data/", import.meta.url));
describe.skipIf(!existsSync(shared))(
  "recordings and stimuli of ../shared/data (skipped when absent)",
  () => {
    test("Pereira 2018: 180 concepts, six sentences each, meet one subject's voxels", async () => {
      const set = await loadStimulusSet(join(shared, "stimuli/pereira180"));
      expect(set.stimuli).toHaveLength(1080);
      const recording = await loadRecording(
        join(shared, "pereira2018/scaled_500_pereira_targets_M02.txt"),
      );
      expect(recording.data.shape).toEqual([1, 180, 500]);
      const features = {
        data: new Float64Array(1080),
        axes: ["stimulus", "unit"],
        shape: [1080, 1],
      } as const;
      const grouped = groupByStimulus(
        features,
        set.stimuli.map(({ columns: { concept } }) => concept!),
      );
      expect(new Set(grouped.counts)).toEqual(new Set([6]));
      expect(matchStimuli(grouped.ids, recording).setIndices).toHaveLength(180);
    });

    test("every Mitchell 2008 table has 60 nouns by 1000 voxels", async () => {
      for (const name of readdirSync(join(shared, "mitchell2008")).filter((n) =>
        n.endsWith(".txt"),
      )) {
        const { data } = await loadRecording(join(shared, "mitchell2008", name));
        expect(data.shape).toEqual([1, 60, 1000]);
      }
    });
  },
);
