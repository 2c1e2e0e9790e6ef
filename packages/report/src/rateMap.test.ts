import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FormatError } from "@penfield/core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type RateMapSection,
  type Report,
  readReport,
  readReportArray,
  reportFiles,
  writeReport,
} from "./index.ts";

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "penfield-rates-"));
});
afterAll(() => rm(root, { recursive: true, force: true }));

const section: RateMapSection = {
  kind: "rate-map",
  id: "rates",
  title: "Rates",
  reading: "",
  measure: "spikes/s",
  nUnits: 3,
  units: "rate-units.npy",
  groups: [
    { title: "selected", nUnits: 1 },
    { title: "others", nUnits: 2 },
  ],
  columns: { kind: "time", title: "time (s)", from: 0, to: 1, nBins: 4 },
  maps: [{ title: "left" }, { title: "right" }],
  array: "rates.npy",
};
const report = (one: object): Report => ({
  schema: "penfield.report",
  version: 1,
  id: "rates",
  kind: "rates",
  title: "Rates",
  question: "?",
  intervals: { level: 0.95, method: "none" },
  software: { penfield: "0", node: "20", onnxruntime: "1" },
  seed: 1,
  settings: {},
  stimuli: [],
  warnings: [],
  verdicts: [],
  sections: [one as RateMapSection],
});
const units = { data: Float64Array.of(2, 0, 1), shape: [1, 3] };
const arraysOf = (nColumns: number) => ({
  "rate-units.npy": units,
  "rates.npy": {
    data: Float64Array.from({ length: 6 * nColumns }, (_, i) => (i === 5 ? Number.NaN : i)),
    shape: [2, 3 * nColumns],
  },
});

describe("a rate map", () => {
  test("is read as it was written, over time and by conditions", async () => {
    const conditions = {
      ...section,
      columns: { kind: "conditions" as const, title: "odour", labels: ["a", "b"] },
    };
    for (const [name, one, n] of [
      ["time", section, 4],
      ["conditions", conditions, 2],
    ] as const) {
      const folder = join(root, name);
      await writeReport(folder, { report: report(one), arrays: arraysOf(n) });
      const read = await readReport(folder);
      expect(read.sections).toEqual([one]);
      expect(reportFiles(read)).toEqual(["arrays/rate-units.npy", "arrays/rates.npy"]);
      expect((await readReportArray(folder, read, "rates.npy")).shape).toEqual([2, 3 * n]);
      expect((await readReportArray(folder, read, "rates.npy")).data[5]).toBeNaN();
    }
  });

  test("has arrays of the sizes that it says", async () => {
    const folder = join(root, "sizes");
    await expect(
      writeReport(folder, { report: report(section), arrays: arraysOf(3) }),
    ).rejects.toThrow("arrays/rates.npy: expected the sizes [2, 12], got [2, 9]");
    const short = { ...arraysOf(4), "rate-units.npy": { ...units, shape: [3, 1] } };
    await expect(writeReport(folder, { report: report(section), arrays: short })).rejects.toThrow(
      "arrays/rate-units.npy: expected the sizes [1, 3]",
    );
  });

  test.each<[string, object, string]>([
    [
      "units in no group",
      { nUnits: 4 },
      "sections[0].groups: expected 4 units in all groups, got 3",
    ],
    [
      "endless groups",
      { nUnits: 1001, groups: Array(1001).fill({ title: "", nUnits: 1 }) },
      "sections[0].groups: expected at most 1000 groups, got 1001",
    ],
    ["groups of no units", { groups: [] }, "sections[0].groups: expected"],
    [
      "bins without length",
      { columns: { ...section.columns, to: 0 } },
      "sections[0].columns.to: expected more than 0",
    ],
    [
      "no bins",
      { columns: { ...section.columns, nBins: 0 } },
      "sections[0].columns.nBins: expected",
    ],
    [
      "a time that is no number",
      { columns: { ...section.columns, from: "0" } },
      "sections[0].columns.from: expected number",
    ],
    [
      "columns of another kind",
      { columns: { kind: "space" } },
      "sections[0].columns.kind: expected",
    ],
    [
      "a field too many",
      { columns: { ...section.columns, labels: ["a"] } },
      "sections[0].columns.labels: expected no such field",
    ],
    [
      "endless labels",
      { columns: { kind: "conditions", title: "", labels: Array(10_001).fill("x") } },
      "sections[0].columns.labels: expected at most 10000 labels",
    ],
    [
      "a label that fills a page",
      { measure: "x".repeat(1001) },
      "sections[0].measure: expected at most 1000 characters",
    ],
    [
      "no conditions",
      { columns: { kind: "conditions", title: "", labels: [] } },
      "sections[0].columns.labels: expected",
    ],
    ["no maps", { maps: [] }, "sections[0].maps: expected"],
    [
      "more values than a machine has",
      { nUnits: 2 ** 40, groups: [{ title: "", nUnits: 2 ** 40 }] },
      "sections[0].nUnits: expected at most 2^27 values",
    ],
    [
      "a file elsewhere",
      { array: "../rates.npy" },
      "sections[0].array: expected the plain name of a .npy file",
    ],
    [
      "one file for two things",
      { units: "Rates.npy" },
      "sections[0].array: expected a file named once",
    ],
  ])("with %s is refused", async (name, changes, message) => {
    const folder = join(root, name);
    await writeReport(folder, { report: report(section), arrays: arraysOf(4) });
    const path = join(folder, "report.json");
    const json = JSON.parse(await readFile(path, "utf8"));
    await writeFile(path, JSON.stringify({ ...json, sections: [{ ...section, ...changes }] }));
    await expect(readReport(folder)).rejects.toThrow(FormatError);
    await expect(readReport(folder)).rejects.toThrow(message);
  });
});
