import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FileError, FormatError, PenfieldError } from "@penfield/core";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  listReports,
  type MatrixSection,
  type RdmsSection,
  type Report,
  readReport,
  readReportArray,
  readReportTable,
  reportBytes,
  reportFiles,
  type Section,
  type SelectionSection,
  type SimilaritySection,
  writeReport,
} from "./index.ts";

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "penfield-report-"));
});
afterAll(() => rm(root, { recursive: true, force: true }));

const nothing = { value: null, interval: null };
const selection: SelectionSection = {
  kind: "selection",
  id: "selection",
  title: "Units",
  reading: "Read it so.",
  hook: "blocks.*.hook_resid_post",
  nLayers: 2,
  nUnits: 3,
  statistic: { name: "Welch t", magnitude: true, pooling: "last", maxTokens: null },
  selected: { k: 1, percent: 16.7, scope: "global", nSelected: 1 },
  layers: [0, 1].map((layer) => ({
    layer,
    nSelected: layer,
    quantiles: { p5: -1, p25: 0, p50: 0.1, p75: 1, p95: 2, max: 3.5 },
    tMean: 0.2,
    nSignificant: 1,
  })),
  heldOut: { nSplits: 2, jaccard: nothing, selectivity: nothing, randomSelectivity: nothing },
  arrays: { t: "t.npy", q: "q.npy", mask: "mask.npy" },
};
const plain: Report = {
  schema: "penfield.report",
  version: 1,
  id: "a-report",
  kind: "language-network",
  title: "A report",
  question: "Is there anything?",
  intervals: { level: 0.95, method: "percentile bootstrap over items, 1000 samples" },
  model: {
    name: "m",
    source: "here",
    sha256: "0".repeat(64),
    nLayers: 2,
    dModel: 3,
    dVocab: 10,
  },
  software: { penfield: "0.1.0", node: "20", onnxruntime: "1.30.0" },
  seed: 1,
  settings: {},
  stimuli: [],
  warnings: [],
  verdicts: [],
  sections: [selection, unitsSection("units.parquet")],
};
const arrays = {
  "t.npy": { data: new Float32Array([1, 2, 3, 4, 5, 6]), shape: [2, 3] },
  "q.npy": { data: new Float32Array(6), shape: [2, 3] },
  "mask.npy": { data: new Uint8Array(6), shape: [2, 3] },
};
const matrices = {
  "matrix.npy": { data: Float64Array.of(1, 2, 3, 4, 5, Number.NaN), shape: [2, 3] },
  "floor.npy": { data: new Float64Array(6), shape: [2, 3] },
  "rdms.npy": { data: Float64Array.of(1, 2, 3), shape: [1, 3] },
};
const tables = { "units.parquet": { columns: ["unit", "name"], rows: [[1, "1"]] } };

function unitsSection(table: string): Report["sections"][number] {
  return { kind: "units", id: "units", title: "", reading: "", table, top: [] };
}

// ---- arbitrary reports ----

const text = fc.string({ unit: "binary", maxLength: 12 });
const num = fc.double({ noNaN: true, noDefaultInfinity: true }).map((x) => x + 0);
const stat = fc.option(num);
const count = fc.nat();
const interval = fc
  .tuple(num, num)
  .map(([a, b]) => (a <= b ? ([a, b] as const) : ([b, a] as const)));
const estimate = fc.record({ value: stat, interval: fc.option(interval) });
const metric = fc.constantFrom("accuracy" as const, "loss" as const);
const head = { title: text, reading: text };
const task = { title: text, metric, higherIsBetter: fc.boolean() };

const lesion = fc
  .uniqueArray(fc.integer({ min: 1, max: 100 }), { minLength: 1, maxLength: 3 })
  .map((doses) => doses.sort((a, b) => a - b))
  .chain((doses) =>
    fc.record({
      kind: fc.constant("lesion" as const),
      id: fc.constant("lesion"),
      ...head,
      hook: text,
      doses: fc.constant(doses),
      mainDose: fc.constantFrom(...doses),
      tasks: fc.tuple(
        fc.record({
          id: fc.constant("blimp"),
          ...task,
          kind: fc.constantFrom(
            "language" as const,
            "main" as const,
            "control" as const,
            "text" as const,
          ),
          nItems: count,
          chance: stat,
          baseline: estimate,
        }),
      ),
      curves: fc.uniqueArray(
        fc.record({
          task: fc.constant("blimp"),
          set: fc.constantFrom(
            "localized" as const,
            "random" as const,
            "layer-matched" as const,
            "least-selective" as const,
          ),
          points: fc.array(
            fc.record({
              dose: fc.constantFrom(...doses),
              nUnits: count,
              value: estimate,
              draws: fc.array(stat),
            }),
            { maxLength: 3 },
          ),
        }),
        { selector: ({ set }) => set, maxLength: 4 },
      ),
      effects: fc.array(
        fc.record({
          task: fc.constant("blimp"),
          dose: fc.constantFrom(...doses),
          effect: estimate,
          randomMean: stat,
          randomSd: stat,
          z: stat,
          p: stat,
          nRandom: count,
        }),
        { maxLength: 3 },
      ),
      groups: fc.array(
        fc.record({
          task: fc.constant("blimp"),
          group: text,
          nItems: count,
          baseline: stat,
          ablated: stat,
          randomMean: stat,
        }),
        { maxLength: 3 },
      ),
    }),
  );

const dissociation = fc.record({
  kind: fc.constant("dissociation" as const),
  id: fc.constant("dissociation"),
  ...head,
  localizers: fc.tuple(fc.record({ id: fc.constant("language"), title: text })),
  tasks: fc.tuple(fc.record({ id: fc.constant("sums"), ...task })),
  cells: fc.array(
    fc.record({ localizer: fc.constant("language"), task: fc.constant("sums"), effect: estimate }),
    { maxLength: 2 },
  ),
  interactions: fc.array(
    fc.record({
      a: fc.constant("language"),
      b: fc.constant("language"),
      taskA: fc.constant("sums"),
      taskB: fc.constant("sums"),
      value: estimate,
      p: stat,
    }),
    { maxLength: 2 },
  ),
});

const alignment = fc.record(
  {
    kind: fc.constant("alignment" as const),
    id: fc.constant("alignment"),
    ...head,
    recording: fc.record({
      name: text,
      simulated: fc.boolean(),
      nStimuli: count,
      nTargets: count,
      nRepeats: count,
    }),
    metric: text,
    folds: fc.record({
      n: fc.integer({ min: 1, max: 20 }),
      kind: fc.constantFrom("contiguous" as const, "grouped" as const, "shuffled" as const),
    }),
    ceiling: fc.option(estimate),
    rows: fc.array(
      fc.record({
        set: fc.constantFrom(
          "localized" as const,
          "random" as const,
          "all" as const,
          "floor" as const,
        ),
        nUnits: count,
        score: estimate,
        draws: fc.array(stat),
        normalized: stat,
      }),
      { maxLength: 4 },
    ),
    p: stat,
    layers: fc.array(fc.record({ layer: count, score: estimate }), { maxLength: 3 }),
    identification: fc.record({
      rate: fc.double({ min: 0, max: 1, noNaN: true }),
      guessing: fc.double({ min: 0, max: 1, noNaN: true }),
      nCandidates: fc.integer({ min: 2, max: 20 }),
      nBrains: fc.integer({ min: 1, max: 500 }),
      signalToNoise: fc.double({ min: 0, max: 100, noNaN: true }),
      noiseEstimated: fc.boolean(),
    }),
  },
  {
    requiredKeys: [
      "kind",
      "id",
      "title",
      "reading",
      "recording",
      "metric",
      "folds",
      "ceiling",
      "rows",
      "p",
    ],
  },
);

const measure = fc.record({
  name: fc.constant("linear-cka"),
  title: text,
  larger: fc.constantFrom("more alike" as const, "less alike" as const),
  metric: fc.boolean(),
});
const map = (n: number) =>
  fc.option(
    fc.record({
      distance: text,
      points: fc.array(fc.tuple(num, num), { minLength: n, maxLength: n }),
      explained: stat,
    }),
  );

const similarity = fc.record({
  kind: fc.constant("similarity" as const),
  id: fc.constant("similarity"),
  ...head,
  items: fc.array(
    fc.record({
      title: text,
      nStimuli: fc.integer({ min: 1 }),
      nUnits: fc.integer({ min: 1 }),
      nRepeats: fc.integer({ min: 1 }),
    }),
    { minLength: 2, maxLength: 3 },
  ),
  measures: fc.tuple(measure),
  values: fc.array(
    fc.record({
      measure: fc.constant("linear-cka"),
      a: fc.constantFrom(0, 1),
      b: fc.constantFrom(0, 1),
      value: stat,
      floor: fc.option(
        fc.record({ mean: stat, low: stat, high: stat, nDraws: fc.integer({ min: 1 }) }),
      ),
    }),
    { maxLength: 3 },
  ),
});

const matrix = fc.record({
  kind: fc.constant("matrix" as const),
  id: fc.constant("matrix"),
  ...head,
  measure,
  rows: fc.record({ title: text, labels: fc.tuple(text, text) }),
  columns: fc.record({ title: text, labels: fc.tuple(text, text, text) }),
  nStimuli: fc.integer({ min: 1 }),
  array: fc.constant("matrix.npy"),
  floor: fc.constant({ array: "floor.npy", nDraws: 2 }),
  map: map(2),
  triangle: fc.option(fc.record({ nViolations: count, nInequalities: count, worst: stat })),
});

const rdms = fc.record({
  kind: fc.constant("rdms" as const),
  id: fc.constant("rdms"),
  ...head,
  method: text,
  conditions: fc.tuple(text, text, text),
  rdms: fc.tuple(
    fc.record({ title: text, role: fc.constantFrom("data" as const, "model" as const) }),
  ),
  array: fc.constant("rdms.npy"),
  map: map(3),
});

const tested = fc.record({ p: stat, q: stat });
const modelComparison = fc.record({
  kind: fc.constant("model-comparison" as const),
  id: fc.constant("models"),
  ...head,
  comparison: fc.record({ name: fc.constant("rho-a"), title: text }),
  design: text,
  generalizesTo: text,
  nSubjects: fc.integer({ min: 1 }),
  nRdms: fc.integer({ min: 1 }),
  nConditions: fc.integer({ min: 1 }),
  nDraws: count,
  nUndefined: count,
  test: fc.constantFrom("t" as const, "bootstrap" as const, "signed-rank" as const, null),
  fdr: fc.constant(0.05),
  ceiling: fc.option(fc.record({ lower: stat, upper: stat })),
  models: fc.array(
    fc.record({
      title: text,
      score: estimate,
      zero: tested,
      ceiling: tested,
      draws: fc.array(stat),
    }),
    { minLength: 2, maxLength: 3 },
  ),
  pairs: fc.array(
    fc.record({
      a: fc.constantFrom(0, 1),
      b: fc.constantFrom(0, 1),
      difference: stat,
      p: stat,
      q: stat,
    }),
    { maxLength: 2 },
  ),
});

const unitsAndNote = fc.tuple(
  fc.record({
    kind: fc.constant("units" as const),
    id: fc.constant("units"),
    ...head,
    table: fc.constant("units.parquet"),
    top: fc.array(
      fc.record({
        rank: fc.integer({ min: 1 }),
        layer: count,
        unit: count,
        t: stat,
        q: stat,
        d: stat,
        heldOutT: stat,
      }),
      { maxLength: 3 },
    ),
  }),
  fc.record({
    kind: fc.constant("note" as const),
    id: fc.constant("note"),
    ...head,
    paragraphs: fc.array(text, { maxLength: 3 }),
  }),
);

const sections = fc
  .tuple(
    fc.tuple(fc.constant(selection), lesion, dissociation, alignment),
    fc.tuple(similarity, matrix, rdms, modelComparison),
    unitsAndNote,
  )
  .map((parts) => parts.flat());

const reports: fc.Arbitrary<Report> = fc.record({
  schema: fc.constant("penfield.report" as const),
  version: fc.constant(1 as const),
  id: fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,20}$/),
  kind: fc.constant("language-network"),
  title: text,
  question: text,
  intervals: fc.record({ level: fc.constant(0.95 as const), method: text }),
  model: fc.constant(plain.model!),
  software: fc.record({ penfield: text, node: text, onnxruntime: text }),
  seed: fc.integer(),
  settings: fc.dictionary(
    text.filter((key) => key !== "__proto__"),
    fc.oneof(text, num, fc.boolean(), fc.constant(null), fc.array(num), fc.record({ inner: text })),
    { noNullPrototype: true },
  ),
  stimuli: fc.array(
    fc.record({
      role: text,
      name: text,
      title: text,
      sha256: fc.constant("a".repeat(64)),
      licence: text,
      nItems: count,
    }),
    { maxLength: 2 },
  ),
  warnings: fc.array(text, { maxLength: 2 }),
  verdicts: fc.array(
    fc.record({
      expectation: text,
      outcome: fc.constantFrom("seen" as const, "not seen" as const, "undecided" as const),
      text,
    }),
    { maxLength: 2 },
  ),
  sections,
});

describe("writeReport and readReport", () => {
  test("what is written is what is read, for any report", async () => {
    const folder = join(root, "identity");
    await fc.assert(
      fc.asyncProperty(reports, async (report) => {
        await writeReport(
          folder,
          { report, arrays: { ...arrays, ...matrices }, tables },
          { replace: true },
        );
        expect(await readReport(folder)).toEqual(report);
      }),
      { numRuns: 60 },
    );
    expect(await readReportArray(folder, await readReport(folder), "t.npy")).toEqual(
      arrays["t.npy"],
    );
    expect(await readReportTable(folder, await readReport(folder), "units.parquet")).toEqual(
      tables["units.parquet"],
    );
  });

  test("equal reports give equal bytes, whatever the order of their keys", () => {
    fc.assert(
      fc.property(reports, (report) => {
        const turned = JSON.parse(JSON.stringify(report), (_, value) =>
          typeof value === "object" && value !== null && !Array.isArray(value)
            ? Object.fromEntries(Object.entries(value).reverse())
            : value,
        );
        expect(reportBytes(turned)).toEqual(reportBytes(report));
      }),
      { numRuns: 60 },
    );
  });

  test("every file of the folder has the same bytes when written again", async () => {
    const bytes = async (folder: string) => {
      await writeReport(folder, { report: plain, arrays, tables });
      const names = (await readdir(folder, { recursive: true })).filter((name) => /\./.test(name));
      return Promise.all(
        names.sort().map(async (name) => [name, await readFile(join(folder, name))]),
      );
    };
    const first = await bytes(join(root, "same-1"));
    expect(first.map(([name]) => name)).toEqual([
      "arrays/mask.npy",
      "arrays/q.npy",
      "arrays/t.npy",
      "report.json",
      "tables/units.parquet",
    ]);
    expect(await bytes(join(root, "same-2"))).toEqual(first);
  });

  test("NaN and Infinity become null, and an interval with such an end is none", () => {
    const report: Report = {
      ...plain,
      settings: { depth: Number.NaN },
      sections: [
        {
          ...selection,
          heldOut: {
            ...selection.heldOut,
            jaccard: { value: Number.NaN, interval: [0, Number.POSITIVE_INFINITY] },
          },
        },
      ],
    };
    const read = JSON.parse(new TextDecoder().decode(reportBytes(report)));
    expect(read.sections[0].heldOut.jaccard).toEqual({ value: null, interval: null });
    expect(read.settings).toEqual({ depth: null });
  });

  test("NaN where a count must stand is refused by name", () => {
    const report = { ...plain, seed: Number.NaN };
    expect(() => reportBytes(report)).toThrow("writeReport: report: seed: expected");
  });

  test("an old report stays unless replacing is allowed", async () => {
    const folder = join(root, "old");
    await writeReport(folder, { report: plain, arrays, tables });
    await expect(writeReport(folder, { report: plain, arrays, tables })).rejects.toThrow(FileError);
    await writeReport(
      folder,
      { report: { ...plain, title: "new" }, arrays, tables },
      { replace: true },
    );
    expect((await readReport(folder)).title).toBe("new");
  });

  test.each([
    ["a missing file", { arrays: {} }, "arrays/t.npy: expected the file's content, got nothing"],
    [
      "a file that no section names",
      { tables: { ...tables, "more.parquet": tables["units.parquet"] } },
      "tables/more.parquet: expected only files that the report names",
    ],
    [
      "an array of other sizes",
      { arrays: { ...arrays, "t.npy": { data: new Float32Array(4), shape: [2, 2] } } },
      "arrays/t.npy: expected the sizes [2, 3], got [2, 2]",
    ],
  ])("nothing is written with %s", async (name, change, message) => {
    const folder = join(root, name);
    const writing = writeReport(folder, { report: plain, arrays, tables, ...change });
    await expect(writing).rejects.toThrow(FormatError);
    await expect(writing).rejects.toThrow(message);
    expect(await readdir(root)).not.toContain(name);
  });
});

/** A written report whose report.json was changed afterwards. */
async function spoiled(
  name: string,
  change: (json: string, folder: string) => string | Uint8Array | Promise<string>,
): Promise<string> {
  const folder = join(root, name.replaceAll("/", " "));
  await writeReport(folder, { report: plain, arrays, tables }, { replace: true });
  const path = join(folder, "report.json");
  await writeFile(path, await change(await readFile(path, "utf8"), folder));
  return folder;
}

const set = (path: string, value: unknown) => (json: string) => {
  const report = JSON.parse(json);
  const keys = path.split(".");
  const last = keys.pop()!;
  keys.reduce((here, key) => here[key], report)[last] = value;
  return JSON.stringify(report);
};

describe("a broken report.json gives a FormatError that names the field", () => {
  test.each<[string, (json: string) => string | Uint8Array, string]>([
    ["cut short", (json) => json.slice(0, 200), "expected JSON in UTF-8"],
    ["not UTF-8", () => new Uint8Array([0xff, 0xfe]), "expected JSON in UTF-8"],
    ["not an object", () => "[]", 'schema: expected "penfield.report", got nothing'],
    ["null", () => "null", 'schema: expected "penfield.report", got nothing'],
    ["another schema", set("schema", "x"), 'schema: expected "penfield.report", got "x"'],
    ["a later version", set("version", 2), "version: expected 1, got 2"],
    ["a field missing", set("title", undefined), "title: expected string, got nothing"],
    ["a field too many", set("titel", 1), "titel: expected no such field, got 1"],
    [
      "a wrong type",
      set("sections.0.layers.1.tMean", "2"),
      'sections[0].layers[1].tMean: expected number, got "2"',
    ],
    [
      "a wrong hash",
      set("model.sha256", "abc"),
      'model.sha256: expected 64 hexadecimal digits, got "abc"',
    ],
    [
      "a number that overflows",
      (json) => json.replace('"seed": 1', '"seed": 1e999'),
      "seed: expected",
    ],
    ["an unknown section", set("sections.0.kind", "magic"), "sections[0].kind: expected"],
    [
      "an inverted interval",
      set("sections.0.heldOut.jaccard.interval", [2, 1]),
      "sections[0].heldOut.jaccard.interval: expected an interval whose low end",
    ],
    [
      "a path up",
      set("sections.0.arrays.t", "../../secret.npy"),
      "sections[0].arrays.t: expected the plain name of a .npy file",
    ],
    [
      "an absolute path",
      set("sections.1.table", "/etc/passwd"),
      "sections[1].table: expected the plain name of a .parquet file",
    ],
    [
      "a hidden file",
      set("sections.1.table", ".parquet"),
      "sections[1].table: expected the plain name",
    ],
    [
      "a file named twice",
      set("sections.0.arrays.q", "T.npy"),
      'sections[0].arrays.q: expected a file named once, got "arrays/T.npy"',
    ],
    [
      "a section id used twice",
      set("sections.1.id", "selection"),
      'sections[1].id: expected an id used once, got "selection"',
    ],
    [
      "too few layers",
      set("sections.0.layers", []),
      "sections[0].layers: expected 2 layers, got 0",
    ],
    [
      "a sum that is wrong",
      set("sections.0.selected.nSelected", 9),
      "sections[0].selected.nSelected: expected the layers' sum, 1, got 9",
    ],
    [
      "too deep",
      set("settings", JSON.parse(`${"[".repeat(90)}${"]".repeat(90)}`)),
      "at most 32 levels",
    ],
    [
      "far too deep",
      (json) =>
        json.replace('"settings": {}', `"settings": ${"[".repeat(200_000)}${"]".repeat(200_000)}`),
      "at most 32 levels",
    ],
    [
      "__proto__",
      (json) => json.replace('"settings": {}', '"settings": {"__proto__": 1}'),
      "settings.__proto__: expected no such field",
    ],
    ["too large", (json) => json + " ".repeat(2 ** 24), "expected at most 16777216 bytes"],
    ["a file that is not there", set("sections.1.table", "gone.parquet"), "there is no such file"],
  ])("%s", async (name, change, message) => {
    const folder = await spoiled(`broken ${name}`, change);
    const reading = readReport(folder);
    await expect(reading).rejects.toThrow(PenfieldError);
    await expect(reading).rejects.toThrow(message);
    if (name !== "a file that is not there") await expect(reading).rejects.toThrow(FormatError);
  });

  test("lesion and dissociation sections must agree with themselves", async () => {
    const [made] = fc.sample(fc.tuple(lesion, dissociation), { numRuns: 1, seed: 1 });
    const [cut, double] = made!;
    const bytes = (section: unknown) => () =>
      reportBytes({ ...plain, sections: [section as Report["sections"][number]] });
    expect(bytes({ ...cut, mainDose: 99.5 })).toThrow("sections[0].mainDose: expected one of");
    expect(bytes({ ...cut, doses: [2, 1] })).toThrow("sections[0].doses: expected ascending doses");
    const curve = { task: "none", set: "random", points: [] };
    expect(bytes({ ...cut, curves: [curve] })).toThrow(
      'sections[0].curves[0].task: expected one of blimp, got "none"',
    );
    const twice = { ...curve, task: "blimp" };
    expect(bytes({ ...cut, curves: [twice, twice] })).toThrow(
      "sections[0].curves[1]: expected each",
    );
    const cells = [{ localizer: "nobody", task: "sums", effect: nothing }];
    expect(bytes({ ...double, cells })).toThrow("sections[0].cells[0].localizer: expected one of");
  });

  test("links in place of files or folders are refused", async () => {
    const file = await spoiled("link", async (json, folder) => {
      await rm(join(folder, "tables/units.parquet"));
      await symlink("/etc/passwd", join(folder, "tables/units.parquet"));
      return json;
    });
    await expect(readReport(file)).rejects.toThrow("expected a plain file");
    const inside = await spoiled("link to folder", async (json, folder) => {
      await rm(join(folder, "tables"), { recursive: true });
      await symlink(join(root, "same-1/tables"), join(folder, "tables"));
      return json;
    });
    await expect(readReport(inside)).rejects.toThrow("expected a plain folder");
  });

  test("files are read only by names that the report gives", async () => {
    const folder = await spoiled("names", (json) => json);
    const report = await readReport(folder);
    await expect(readReportArray(folder, report, "../report.json")).rejects.toThrow(
      "expected one of arrays/t.npy",
    );
    await writeFile(join(folder, "arrays/t.npy"), "nonsense");
    await expect(readReportArray(folder, report, "t.npy")).rejects.toThrow(FormatError);
  });
});

describe("listReports", () => {
  test("names what it cannot read, and passes over what is being written", async () => {
    const folder = join(root, "list");
    await writeReport(join(folder, "b"), { report: plain, arrays, tables });
    await writeReport(join(folder, "a"), { report: plain, arrays, tables });
    await mkdir(join(folder, "broken"));
    await writeFile(join(folder, "broken/report.json"), "{");
    await mkdir(join(folder, "torn/arrays"), { recursive: true });
    await mkdir(join(folder, "something-else"));
    await mkdir(join(folder, ".c.1.ab.partial"));
    await writeFile(join(folder, ".c.1.ab.partial/report.json"), "{");
    await writeFile(join(folder, "README"), "");
    const listed = await listReports(folder);
    expect(listed.map(({ name }) => name)).toEqual(["a", "b", "broken", "torn"]);
    expect(listed.map((item) => ("error" in item ? item.error.code : "fine"))).toEqual([
      "fine",
      "fine",
      "ERR_FORMAT",
      "ERR_FILE",
    ]);
  });

  test("a report's own folder is a list of one", async () => {
    const listed = await listReports(join(root, "list/a"));
    expect(listed.map(({ name }) => name)).toEqual(["a"]);
  });

  test("a folder that is not there is an error", async () => {
    await expect(listReports(join(root, "nowhere"))).rejects.toThrow(FileError);
  });
});

describe("sections of comparisons", () => {
  const about = { name: "linear-cka", title: "CKA", larger: "more alike", metric: false } as const;
  const head = { title: "", reading: "" };
  const pairs: SimilaritySection = {
    ...{ kind: "similarity", id: "s", ...head },
    items: [1, 2].map((nUnits) => ({ title: "x", nStimuli: 3, nUnits, nRepeats: 1 })),
    measures: [about],
    values: [{ measure: "linear-cka", a: 0, b: 1, value: 0.5, floor: null }],
  };
  const layers: MatrixSection = {
    ...{ kind: "matrix", id: "m", ...head, measure: about, nStimuli: 3, array: "m.npy" },
    rows: { title: "layer", labels: ["0", "1"] },
    columns: { title: "layer", labels: ["0", "1", "2"] },
    ...{ floor: null, map: null, triangle: null },
  };
  const dissimilar: RdmsSection = {
    ...{ kind: "rdms", id: "r", ...head, method: "correlation", array: "r.npy", map: null },
    conditions: ["a", "b", "c"],
    rdms: [{ title: "s", role: "data" }],
  };
  const withSections = (...sections: Section[]): Report => ({ ...plain, sections });

  test("a report may be of files, without a model, or of several models", () => {
    const { model, ...rest } = plain;
    const inputs = [{ role: "data", name: "a.npy", sha256: "0".repeat(64), shape: [3, 4] }];
    const report: Report = { ...rest, inputs, sections: [pairs] };
    const read = JSON.parse(new TextDecoder().decode(reportBytes(report)));
    expect([read.model, read.inputs]).toEqual([undefined, inputs]);
    const two: Report = { ...plain, comparedWith: [plain.model!], sections: [] };
    expect(JSON.parse(new TextDecoder().decode(reportBytes(two))).comparedWith).toHaveLength(1);
  });

  test.each<[string, Section, string]>([
    [
      "an unknown measure",
      { ...pairs, values: [{ ...pairs.values[0]!, measure: "cca" }] },
      'sections[0].values[0].measure: expected one of the section\'s measures, got "cca"',
    ],
    [
      "an unknown representation",
      { ...pairs, values: [{ ...pairs.values[0]!, b: 2 }] },
      "sections[0].values[0].b: expected a place from 0 to 1, got 2",
    ],
    [
      "a measure twice",
      { ...pairs, measures: [about, about] },
      "sections[0].measures[1]: expected each one once",
    ],
    [
      "a map with too few points",
      { ...layers, map: { distance: "", points: [[0, 0]], explained: 1 } },
      "sections[0].map.points: expected 2 points, one for each label, got 1",
    ],
    [
      "more labels than can be drawn",
      { ...layers, rows: { title: "", labels: Array(10_001).fill("x") } },
      "sections[0].rows.labels: expected at most 10000 labels, got 10001",
    ],
    ["one condition", { ...dissimilar, conditions: ["a"] }, "sections[0].conditions: expected"],
    [
      "a file outside",
      { ...dissimilar, array: "../r.npy" },
      "sections[0].array: expected the plain name of a .npy file",
    ],
    [
      "one file for two things",
      { ...layers, floor: { array: "m.npy", nDraws: 1 } },
      "sections[0].floor.array: expected a file named once",
    ],
  ])("%s is refused", (_, section, message) => {
    expect(() => reportBytes(withSections(section))).toThrow(message);
  });

  test("arrays have the sizes that labels and conditions give", async () => {
    const folder = join(root, "sizes");
    const report = withSections(layers, dissimilar);
    const good = { "m.npy": matrices["matrix.npy"], "r.npy": matrices["rdms.npy"] };
    const wrong = { data: new Float64Array(6), shape: [3, 2] };
    await expect(
      writeReport(folder, { report, arrays: { ...good, "m.npy": wrong } }),
    ).rejects.toThrow("arrays/m.npy: expected the sizes [2, 3], got [3, 2]");
    await expect(
      writeReport(folder, { report, arrays: { ...good, "r.npy": wrong } }),
    ).rejects.toThrow("arrays/r.npy: expected the sizes [1, 3], got [3, 2]");
    await writeReport(folder, { report, arrays: good });
    expect((await readReportArray(folder, report, "m.npy")).data[5]).toBeNaN();
  });
});

test("reportFiles lists what the sections name", () => {
  expect(reportFiles(plain)).toEqual([
    "arrays/t.npy",
    "arrays/q.npy",
    "arrays/mask.npy",
    "tables/units.parquet",
  ]);
});
