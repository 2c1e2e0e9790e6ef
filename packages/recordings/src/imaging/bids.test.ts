import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { ArgumentError, DataError, FileError, FormatError, ShapeError } from "@penfield/core";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { findBids, parseBidsName, readSidecar } from "./bids.ts";
import { readConfounds, readEventsTable } from "./bidsTables.ts";
import { loadBidsRun } from "./loadBidsRun.ts";
import { encodeNifti } from "./writeNifti.ts";

const shared = fileURLToPath(new URL("../../../../../shared/data/", import.meta.url));
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

let root: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "penfield-bids-"));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));
function put(name: string, content: string | Uint8Array): string {
  const path = join(root, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
  return path;
}
const AFFINE = [2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1];
const bold = (trSeconds = 2, nTimes = 5): Uint8Array =>
  encodeNifti(
    Float32Array.from({ length: 4 * nTimes }, (_, i) => (i * i) % 17),
    { shape: [2, 2, 1, nTimes], affine: AFFINE, trSeconds },
  );

describe("parseBidsName", () => {
  test("takes names apart, and what is no such name is undefined", () => {
    expect(
      parseBidsName("/x/sub-01_ses-a_task-rest_run-02_space-MNI_desc-preproc_bold.nii.gz"),
    ).toEqual({
      entities: { sub: "01", ses: "a", task: "rest", run: "02", space: "MNI", desc: "preproc" },
      suffix: "bold",
      extension: ".nii.gz",
    });
    expect(parseBidsName("sub-01_hemi-L_space-fsLR_bold.func.gii")?.extension).toBe(".func.gii");
    expect(parseBidsName("task-rest_bold.json")?.entities).toEqual({ task: "rest" });
    for (const name of [
      "README",
      "bold.json",
      "sub-01_sub-02_bold.nii",
      "sub-01_.nii",
      ".x",
      "a_b.c",
    ])
      expect(parseBidsName(name)).toBeUndefined();
  });

  test("puts together what it took apart", () => {
    const word = fc.stringMatching(/^[a-zA-Z0-9]{1,6}$/);
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.tuple(word, word), { minLength: 1, maxLength: 5, selector: ([k]) => k }),
        word,
        (pairs, suffix) => {
          const name = `${pairs.map((pair) => pair.join("-")).join("_")}_${suffix}.nii.gz`;
          const parsed = parseBidsName(name)!;
          expect(Object.entries(parsed.entities).sort()).toEqual([...pairs].sort());
          expect(parsed.suffix).toBe(suffix);
        },
      ),
    );
  });
});

describe("readEventsTable", () => {
  test("onset, duration, type, and further columns as text", async () => {
    const path = put(
      "events/a_events.tsv",
      "onset\tduration\ttrial_type\tstim_file\tresponse_time\r\n0.5\t1\tface\timages\\table.jpg\tn/a\r\n4\tn/a\tn/a\tx\t0.7\r\n",
    );
    const table = await readEventsTable(path);
    expect(table.nUnknownDurations).toBe(1);
    expect(table.events).toEqual([
      {
        onset: 0.5,
        duration: 1,
        type: "face",
        columns: { stim_file: "images\\table.jpg", response_time: "n/a" },
      },
      { onset: 4, duration: 0, type: "n/a", columns: { stim_file: "x", response_time: "0.7" } },
    ]);
    const byFile = await readEventsTable(path, { typeColumn: "stim_file" });
    expect(byFile.events.map(({ type }) => type)).toEqual(["images\\table.jpg", "x"]);
    const bare = await readEventsTable(utf8("onset\tduration\n1\t2\n"));
    expect(bare.events).toEqual([{ onset: 1, duration: 2, type: "event", columns: undefined }]);
  });

  test.each<[string, string, RegExp]>([
    [
      "no columns",
      "time\tlength\n1\t2\n",
      /expected a column "onset", got the columns time, length/,
    ],
    ["commas", "onset,duration\n1,2\n", /expected a column "onset"/],
    ["no rows", "onset\tduration\n", /got a header only/],
    ["nothing", "", /got an empty file/],
    ["an onset of n/a", "onset\tduration\nn/a\t1\n", /line 2: expected onset as a number/],
    ["a word", "onset\tduration\n1\tlong\n", /line 2: expected duration as a number/],
    ["a negative duration", "onset\tduration\n1\t-1\n", /duration of at least 0/],
    ["a short row", "onset\tduration\n1\t1\n\n2\n", /line 4: expected 2 cells/],
    ["a column twice", "onset\tduration\tonset\n1\t1\t1\n", /"onset" twice/],
  ])("refuses %s", async (_, text, message) => {
    await expect(readEventsTable(utf8(text))).rejects.toThrow(message);
  });

  test("a type column that is not there; a file that is not there", async () => {
    await expect(
      readEventsTable(utf8("onset\tduration\n1\t2\n"), { typeColumn: "word" }),
    ).rejects.toThrow(DataError);
    await expect(readEventsTable(join(root, "none.tsv"))).rejects.toThrow(FileError);
  });

  test.skipIf(!existsSync(shared))("the events of a real run", async () => {
    const { events } = await readEventsTable(join(shared, "haxby/run001/bold_events.tsv"));
    expect(events.length).toBe(8);
    expect(events[0]).toMatchObject({ onset: 15, duration: 22.5, type: "scissors" });
  });
});

describe("readConfounds", () => {
  const table = utf8(
    "trans_x\ttrans_x_derivative1\ta_comp_cor_00\ta_comp_cor_01\n1\tn/a\t0.1\t0.2\n2\t1\t0.3\t0.4\n",
  );

  test("by name and pattern, in this order; n/a in the first row is 0 and said", async () => {
    const read = await readConfounds(table, { columns: ["a_comp_cor_0?", "trans_*", "trans_x"] });
    expect(read.names).toEqual([
      "a_comp_cor_00",
      "a_comp_cor_01",
      "trans_x",
      "trans_x_derivative1",
    ]);
    expect([...read.data.data]).toEqual([0.1, 0.2, 1, 0, 0.3, 0.4, 2, 1]);
    expect(read.data.shape).toEqual([2, 4]);
    expect(read.zeroedFirst).toEqual(["trans_x_derivative1"]);
  });

  test("refuses what is not there, n/a further down, words", async () => {
    await expect(readConfounds(table)).rejects.toThrow(/matches "trans_y"/);
    await expect(readConfounds(table, { columns: ["csf.*"] })).rejects.toThrow(DataError);
    await expect(readConfounds(utf8("a\n1\nn/a\n"), { columns: ["a"] })).rejects.toThrow(
      /line 3, column "a": expected a number, got n\/a/,
    );
    await expect(readConfounds(utf8("a\nx\n"), { columns: ["a"] })).rejects.toThrow(FormatError);
  });
});

describe("findBids and readSidecar", () => {
  beforeAll(() => {
    put("set/dataset_description.json", "{}");
    put("set/bold.json", '{"RepetitionTime": 9, "Scanner": "top"}');
    put("set/task-rest_bold.json", '{"RepetitionTime": 3, "Task": "rest"}');
    put("set/task-other_bold.json", '{"RepetitionTime": 5}');
    for (const run of ["1", "2"]) {
      put(`set/sub-01/func/sub-01_task-rest_run-${run}_bold.nii.gz`, "");
      put(
        `set/derivatives/prep/sub-01/func/sub-01_task-rest_run-${run}_space-MNI_desc-preproc_bold.nii.gz`,
        "",
      );
    }
    put("set/sub-01/func/sub-01_task-rest_run-2_bold.json", '{"RepetitionTime": 2}');
    put("set/sub-02/func/sub-02_task-rest_run-01_bold.nii.gz", "");
    put("set/sourcedata/sub-09_task-rest_bold.nii.gz", "");
    put("set/.git/sub-09_task-rest_bold.nii.gz", "");
    symlinkSync("nowhere", join(root, "set/sub-02/func/sub-02_task-rest_run-02_bold.nii.gz"));
  });
  const find = async (query: Parameters<typeof findBids>[1]) =>
    (await findBids(join(root, "set"), query)).map(({ path }) => relative(join(root, "set"), path));

  test("by entities, suffix and pipeline", async () => {
    expect(await find({ sub: "01", suffix: "bold", extension: ".nii.gz", pipeline: null })).toEqual(
      [
        "sub-01/func/sub-01_task-rest_run-1_bold.nii.gz",
        "sub-01/func/sub-01_task-rest_run-2_bold.nii.gz",
      ],
    );
    expect(await find({ sub: "sub-01", run: "01", space: "MNI", desc: "preproc" })).toEqual([
      "derivatives/prep/sub-01/func/sub-01_task-rest_run-1_space-MNI_desc-preproc_bold.nii.gz",
    ]);
    expect(await find({ run: ["1", "7"], space: null, extension: ".nii.gz" })).toEqual([
      "sub-01/func/sub-01_task-rest_run-1_bold.nii.gz",
      "sub-02/func/sub-02_task-rest_run-01_bold.nii.gz",
    ]);
    expect(await find({ pipeline: "prep", run: "2" })).toHaveLength(1);
    expect(await find({ sub: "09" })).toEqual([]);
    const links = await findBids(join(root, "set"), { sub: "02", run: "2" });
    expect(links.map(({ isFetched }) => isFetched)).toEqual([false]);
    await expect(findBids(join(root, "none"))).rejects.toThrow(FileError);
  });

  test("sidecars inherit: nearer and more specific ones have the last word", async () => {
    const at = (name: string) => readSidecar(join(root, "set/sub-01/func", name));
    const second = await at("sub-01_task-rest_run-2_bold.nii.gz");
    expect(second.values).toEqual({ RepetitionTime: 2, Scanner: "top", Task: "rest" });
    expect(second.files.length).toBe(3);
    const first = await at("sub-01_task-rest_run-1_bold.nii.gz");
    expect(first.values["RepetitionTime"]).toBe(3);
    await expect(readSidecar("bold.nii")).rejects.toThrow(FormatError);
    put("bad/sub-01_bold.json", "{");
    await expect(readSidecar(join(root, "bad/sub-01_bold.nii"))).rejects.toThrow(/expected JSON/);
    put("bad/sub-02_bold.json", "[]");
    await expect(readSidecar(join(root, "bad/sub-02_bold.nii"))).rejects.toThrow(/JSON object/);
  });
});

describe("loadBidsRun", () => {
  const EVENTS = "onset\tduration\ttrial_type\n-1\t1\ta\n0\t2\tb\n4\t2\ta\n10\t1\tb\n";
  const prep = "study/derivatives/prep/sub-03/func/sub-03_task-read_run-1";
  beforeAll(() => {
    put("study/dataset_description.json", "{}");
    put("study/task-read_events.tsv", EVENTS);
    put("study/task-read_bold.json", '{"RepetitionTime": 2.0}');
    put("study/sub-03/func/sub-03_task-read_run-1_bold.nii", bold());
    put("study/derivatives/prep/dataset_description.json", "{}");
    put(`${prep}_space-MNI_desc-preproc_bold.nii`, bold());
    put(`${prep}_space-MNI_desc-preproc_bold.json`, '{"RepetitionTime": 2}');
    put(
      `${prep}_space-MNI_desc-brain_mask.nii`,
      encodeNifti([1, 0, 1, 1], { shape: [2, 2, 1], affine: AFFINE }),
    );
    put(
      `${prep}_space-T1w_desc-brain_mask.nii`,
      encodeNifti([1, 0, 0, 0], { shape: [2, 2, 1], affine: AFFINE }),
    );
    put(`${prep}_desc-confounds_timeseries.tsv`, "csf\tfd\n1\tn/a\n2\t1\n3\t1\n4\t1\n5\t1\n");
  });

  test("a derivative with its mask and confounds, and the events of the raw run", async () => {
    const run = await loadBidsRun(join(root, `${prep}_space-MNI_desc-preproc_bold.nii`), {
      confounds: ["csf", "fd"],
    });
    expect(run.data.shape).toEqual([5, 3]);
    expect(run).toMatchObject({ samplingRate: 0.5, nLateEvents: 1, nEarlyEvents: 1 });
    expect(run.events.map(({ type }) => type)).toEqual(["a", "b", "a", "b"]);
    expect(run.confounds).toMatchObject({ names: ["csf", "fd"], zeroedFirst: ["fd"] });
    expect(run.targets[0]!.subject).toBe("03");
    expect(relative(root, run.files.mask!)).toBe(`${prep}_space-MNI_desc-brain_mask.nii`);
    expect(relative(root, run.files.events!)).toBe("study/task-read_events.tsv");
    expect(run.files.sidecars.length).toBe(1);
  });

  test("a raw run without confounds; events of one's own, or none", async () => {
    const raw = join(root, "study/sub-03/func/sub-03_task-read_run-1_bold.nii");
    const run = await loadBidsRun(raw);
    expect([run.events.length, run.confounds, run.files.mask]).toEqual([4, undefined, undefined]);
    expect((await loadBidsRun(raw, { events: null })).events).toEqual([]);
    const own = put("own.tsv", "onset\tduration\tword\n1\t1\thello\n");
    const words = await loadBidsRun(raw, { events: own, typeColumn: "word" });
    expect(words.events[0]!.type).toBe("hello");
    await expect(loadBidsRun(raw, { confounds: ["csf"] })).rejects.toThrow(/confounds_timeseries/);
  });

  test("TRs that disagree are an error with both, until one is given", async () => {
    const image = put("tr/sub-01_task-x_bold.nii", bold(2));
    put("tr/sub-01_task-x_bold.json", '{"RepetitionTime": 1.5}');
    await expect(loadBidsRun(image)).rejects.toThrow(/RepetitionTime, 1.5 s, got 2 s/);
    expect((await loadBidsRun(image, { trSeconds: 1.5 })).samplingRate).toBe(1 / 1.5);
    put("tr/sub-01_task-x_bold.json", '{"RepetitionTime": "2"}');
    await expect(loadBidsRun(image)).rejects.toThrow(/in seconds, got "2"/);
  });

  test("a surface has its TR from the sidecar", async () => {
    const arrays = ["1 2", "2 3", "5 4"].map(
      (data) =>
        `<DataArray Intent="NIFTI_INTENT_TIME_SERIES" DataType="NIFTI_TYPE_FLOAT32" Dimensionality="1" Dim0="2" Encoding="ASCII"><Data>${data}</Data></DataArray>`,
    );
    const gii = put(
      "gii/sub-01_task-x_hemi-R_bold.func.gii",
      `<GIFTI Version="1.0">${arrays.join("")}</GIFTI>`,
    );
    await expect(loadBidsRun(gii)).rejects.toThrow(/expected RepetitionTime in a sidecar/);
    put("gii/sub-01_task-x_bold.json", '{"RepetitionTime": 0.8}');
    const run = await loadBidsRun(gii);
    expect(run.targets.map(({ id }) => id)).toEqual(["right_0", "right_1"]);
    expect(run.samplingRate).toBe(1.25);
  });

  test("grayordinates: their step and the sidecar's must agree too", async () => {
    const golden = JSON.parse(
      readFileSync(new URL("../../../../test/golden/imaging.json", import.meta.url), "utf8"),
    ) as { cifti: { name: string; bytes: string }[] };
    const packed = golden.cifti.find(({ name }) => name === "dtseries")!.bytes;
    const image = put(
      "cifti/sub-01_task-x_bold.dtseries.nii",
      gunzipSync(Buffer.from(packed, "base64")),
    );
    expect((await loadBidsRun(image)).data.shape).toEqual([6, 15]);
    put("cifti/sub-01_task-x_bold.json", '{"RepetitionTime": 0.8}');
    await expect(loadBidsRun(image)).rejects.toThrow(/RepetitionTime, 0.8 s, got 0.72 s/);
  });

  test("refuses other names, and confounds of another length", async () => {
    await expect(loadBidsRun("bold.nii.gz")).rejects.toThrow(ArgumentError);
    await expect(loadBidsRun("sub-01_bold.mat")).rejects.toThrow(ArgumentError);
    const image = put("short/sub-01_task-x_bold.nii", bold(2));
    put("short/sub-01_task-x_desc-confounds_regressors.tsv", "csf\n1\n2\n");
    await expect(loadBidsRun(image, { confounds: ["csf"] })).rejects.toThrow(ShapeError);
  });
});
