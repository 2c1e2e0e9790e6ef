import { measures } from "@penfield/compare";
import { DataError, ShapeError, tensor, UsageError } from "@penfield/core";
import { createLinalg, type Linalg } from "@penfield/linalg";
import { unitKinds } from "@penfield/localize";
import {
  type MatrixSection,
  type Report,
  type ReportArray,
  type SimilaritySection,
  type SimilarityValue,
  writeReport,
} from "@penfield/report";
import { choiceOption, numberOption, type Options, readWords, type Values } from "../options.ts";
import { createProgressBar } from "../progressBar.ts";
import type { Surroundings } from "../surroundings.ts";
import { type NumberFile, readNumbers } from "./arrayFile.ts";
import {
  chooseMeasures,
  type Item,
  type PairMeasure,
  pairMeasures,
  plainRdmMethods,
} from "./measures.ts";
import { compareModels } from "./models.ts";
import {
  type Comparing,
  countCells,
  type MeasuredMatrix,
  mapOf,
  measureMatrix,
  scopedTo,
  shuffledOrders,
} from "./pairs.ts";
import { printFolder, printMatrix } from "./print.ts";
import {
  columns,
  condense,
  distinct,
  emptyReport,
  gathered,
  inputOf,
  linalgRecord,
  measureRecord,
  shown,
} from "./record.ts";
import type { CompareSettings } from "./settings.ts";
import { openWork, readDestination, valueStore } from "./work.ts";

const string = { type: "string" } as const;
const flag = { type: "boolean" } as const;

/** What `penfield compare` understands. */
export const compareOptions: Options = {
  metric: { type: "string", multiple: true },
  all: flag,
  list: flag,
  rdm: string,
  shuffles: string,
  models: flag,
  file: string,
  stimuli: string,
  condition: string,
  units: string,
  pooling: string,
  "max-tokens": string,
  bos: flag,
  "no-bos": flag,
  seed: string,
  threads: string,
  out: string,
  replace: flag,
  resume: flag,
  json: flag,
};

const onlyModels = [
  "file",
  "stimuli",
  "condition",
  "units",
  "pooling",
  "max-tokens",
  "bos",
  "no-bos",
];

/** Sets representations beside each other: files of numbers, or layers of two models. */
export async function compare(args: readonly string[], io: Surroundings): Promise<void> {
  const { values, positionals } = readWords(args, compareOptions);
  if (values["list"]) return list(values, positionals, io);
  const settings = readCompareSettings(values);
  if (values["models"]) {
    return compareModels(
      positionals,
      {
        ...settings,
        file: values["file"] as string | undefined,
        stimuli: values["stimuli"] as string | undefined,
        condition: values["condition"] as string | undefined,
        units: choiceOption(values, "units", unitKinds) ?? "resid",
        pooling: choiceOption(values, "pooling", ["mean", "last"] as const) ?? "mean",
        maxTokens: numberOption(values, "max-tokens", { whole: true, min: 1 }),
        prependBos: values["bos"] ? true : values["no-bos"] ? false : undefined,
      },
      await readDestination(values),
      io,
    );
  }
  const odd = onlyModels.find((name) => values[name] !== undefined);
  if (odd !== undefined) {
    throw new UsageError(`--${odd}: expected only with --models, got it with files`);
  }
  if (positionals.length < 2) {
    throw new UsageError(
      `compare: expected at least two files, got ${positionals.length === 0 ? "none" : JSON.stringify(positionals[0])}`,
      { hint: "penfield compare a.npy b.npy --metric linear-cka; --list names the measures." },
    );
  }
  await compareFiles(positionals, settings, await readDestination(values), io);
}

function readCompareSettings(values: Values): CompareSettings {
  const rdmMethod = choiceOption(values, "rdm", plainRdmMethods) ?? "correlation";
  const known = pairMeasures(rdmMethod);
  const names = [
    ...new Set(
      ((values["metric"] as string[] | undefined) ?? [])
        .flatMap((text) => text.split(","))
        .map((name) => name.trim()),
    ),
  ];
  if (values["all"] && names.length > 0) {
    throw new UsageError("compare: expected --metric or --all, got both");
  }
  return {
    measures: names.length === 0 ? undefined : chooseMeasures("compare", names, known),
    all: Boolean(values["all"]),
    known,
    rdmMethod,
    shuffles: numberOption(values, "shuffles", { whole: true, max: 10_000 }),
    seed: numberOption(values, "seed", { whole: true, max: 2 ** 31 }) ?? 42,
    threads: numberOption(values, "threads", { whole: true, min: 1, max: 256 }),
    resume: Boolean(values["resume"]),
    json: Boolean(values["json"]),
  };
}

/** The registry, as a table or as JSON. */
function list(values: Values, positionals: readonly string[], io: Surroundings): void {
  const other = Object.keys(values).find((name) => name !== "list" && name !== "json");
  if (positionals.length > 0 || other !== undefined) {
    throw new UsageError(
      `compare: expected --list alone, got ${other ? `--${other}` : positionals[0]} too`,
    );
  }
  if (values["json"]) {
    io.out.write(`${JSON.stringify(measures.map(({ minSample, ...rest }) => rest))}\n`);
    return;
  }
  const kinds: Readonly<Record<(typeof measures)[number]["kind"], string>> = {
    rdm: "Dissimilarity matrices of one representation (penfield rsa --rdm NAME)",
    "rdm-comparison": "Two dissimilarity matrices (penfield compare; penfield rsa, without rdm-)",
    representation: "Two representations, [nStimuli, nUnits] each",
    stochastic: "Two representations with repeats, [nTrials, nStimuli, nUnits] each",
    dynamics: "Two trajectories, [nTimes, nUnits] or [nTrials, nTimes, nUnits] each",
  };
  for (const [kind, title] of Object.entries(kinds)) {
    io.out.write(`${title}\n`);
    for (const info of measures.filter((one) => one.kind === kind)) {
      const traits = [
        info.metric ? "a metric" : "no metric",
        ...(info.symmetric ? [] : ["not symmetric"]),
        `larger is ${info.larger}`,
      ];
      io.out.write(
        `\n  ${info.name}\n      ${info.title}: ${traits.join(", ")} (${info.source})\n` +
          `      no difference to it: ${info.invariances.join(", ") || "nothing"}\n` +
          `      of what does not vary: ${info.withoutVariation}; needs ${info.minSampleRule}\n      cost: ${info.cost}; memory: ${info.memory}\n`,
      );
    }
    io.out.write("\n");
  }
}

/** Files as items: the same stimuli in all of them, at least three. */
function itemsOf(files: readonly NumberFile[]): readonly Item[] {
  const titles = distinct(files.map(({ name }) => name));
  const items = files.map(({ data, shape }, i): Item => {
    const title = titles[i]!;
    if (shape.length === 2) {
      const [n, p] = shape as [number, number];
      return { title, matrix: tensor(data, ["stimulus", "unit"], [n, p]) };
    }
    if (shape.length === 3) return trialsItem(title, data, shape as [number, number, number]);
    throw new ShapeError(
      `compare: ${title}: expected [nStimuli, nUnits] or [nTrials, nStimuli, nUnits], got [${shape.join(", ")}]`,
    );
  });
  const [first] = items;
  for (const item of items) {
    const [n, m] = [first!.matrix.shape[0], item.matrix.shape[0]];
    if (n !== m) {
      throw new ShapeError(
        `compare: expected the same stimuli in every file, got ${n} in ${first!.title} and ${m} in ${item.title}`,
        { hint: "Rows are matched by position: leave out the stimuli that one of them lacks." },
      );
    }
    if (m < 3) {
      throw new DataError(`compare: ${item.title}: expected at least 3 stimuli, got ${m}`, {
        hint: "Rows are stimuli, columns are units.",
      });
    }
  }
  return items;
}

/** [nTrials, nStimuli, nUnits] of a file as trials by stimulus, and their means. */
function trialsItem(
  title: string,
  data: Float64Array,
  [nRepeats, nStimuli, nUnits]: readonly [number, number, number],
): Item {
  const trials = new Float64Array(data.length);
  const means = new Float64Array(nStimuli * nUnits);
  for (let r = 0; r < nRepeats; r++) {
    for (let i = 0; i < nStimuli; i++) {
      const from = (r * nStimuli + i) * nUnits;
      trials.set(data.subarray(from, from + nUnits), (i * nRepeats + r) * nUnits);
      for (let j = 0; j < nUnits; j++) means[i * nUnits + j]! += data[from + j]! / nRepeats;
    }
  }
  return {
    title,
    matrix: tensor(means, ["stimulus", "unit"], [nStimuli, nUnits]),
    trials: { data: trials, nStimuli, nRepeats, nUnits },
  };
}

/** Floors are taken from so many shuffles unless told otherwise; of many files none, for there are many pairs. */
const SHUFFLES_OF_TWO = 5;

interface Result {
  readonly items: readonly Item[];
  readonly measured: readonly (MeasuredMatrix & { readonly measure: PairMeasure })[];
  readonly values: readonly SimilarityValue[];
  readonly matrices: readonly { section: MatrixSection; values: Float64Array }[];
  readonly warnings: readonly string[];
}

async function compareFiles(
  paths: readonly string[],
  settings: CompareSettings,
  destination: { folder: string; replace: boolean } | undefined,
  io: Surroundings,
): Promise<void> {
  const files: NumberFile[] = [];
  for (const path of paths) files.push(await readNumbers("compare", path));
  const items = itemsOf(files);
  const chosen = settings.measures ?? usualMeasures(items, settings);
  const shuffles = settings.shuffles ?? (items.length === 2 ? SHUFFLES_OF_TWO : 0);
  const inputs = [
    files.map((file) => [file.name, file.sha256]),
    ...[chosen.map(({ info }) => info.name), shuffles, settings.seed, settings.rdmMethod],
  ];
  const { store, clear } = await openWork("compare", inputs, settings.resume);
  const work = await valueStore(store);
  const bar = createProgressBar(io.err);
  const linalg = createLinalg({ threads: settings.threads });
  const warnings = new Set<string>();
  let result: Result;
  try {
    const comparing: Comparing = {
      linalg,
      onProgress: bar.onProgress,
      signal: io.signal,
      work,
      lenient: settings.all,
      warn: (text) => warnings.add(text),
    };
    result = await measureFiles(items, chosen, shuffles, settings.seed, comparing, warnings);
  } finally {
    bar.finish();
    await work.flush();
    await linalg.dispose();
  }
  if (destination) {
    const { report, arrays } = filesReport(
      files,
      result,
      settings,
      shuffles,
      linalg,
      destination.folder,
    );
    await writeReport(destination.folder, { report, arrays }, { replace: destination.replace });
  }
  await clear();
  if (settings.json) io.out.write(`${JSON.stringify(asJson(result, destination?.folder))}\n`);
  else print(result, destination?.folder, io);
}

/** Without --metric: linear CKA without bias; of all measures those that the files' axes allow. */
function usualMeasures(items: readonly Item[], { all, known }: CompareSettings) {
  const repeated = items.every(({ trials }) => trials !== undefined && trials.nRepeats >= 2);
  if (!all) return known.filter(({ info }) => info.name === "linear-cka-unbiased");
  return known.filter(
    ({ info }) => info.kind !== "dynamics" && (info.kind !== "stochastic" || repeated),
  );
}

async function measureFiles(
  items: readonly Item[],
  chosen: readonly PairMeasure[],
  shuffles: number,
  seed: number,
  comparing: Comparing,
  warnings: Set<string>,
): Promise<Result> {
  const n = items.length;
  const nStimuli = items[0]!.matrix.shape[0];
  const orders = shuffledOrders(nStimuli, shuffles, seed);
  const two = n === 2;
  // Two files: the one pair, both ways where that matters. More: all with all.
  const total = chosen.reduce(
    (sum, one) =>
      sum +
      (two
        ? (1 + (one.shuffles ? shuffles : 0)) * (one.info.symmetric ? 1 : 2)
        : countCells(one, n, n, true, shuffles)),
    0,
  );
  const progress = { done: 0, total, unit: "values" };
  if (chosen.some(({ info }) => info.kind === "representation")) {
    for (const { title, trials } of items) {
      if (trials) {
        warnings.add(
          `${title}: measures of two representations take the mean over its ${trials.nRepeats} trials`,
        );
      }
    }
  }
  const values: SimilarityValue[] = [];
  const matrices: { section: MatrixSection; values: Float64Array }[] = [];
  const measured: (MeasuredMatrix & { readonly measure: PairMeasure })[] = [];
  for (const measure of chosen) {
    const { info } = measure;
    if (two) {
      for (const [a, b] of info.symmetric
        ? [[0, 1]]
        : [
            [0, 1],
            [1, 0],
          ]) {
        const scoped = scopedTo(comparing, `${a}`);
        const one = await measureMatrix(
          measure,
          [items[a!]!],
          [items[b!]!],
          false,
          orders,
          scoped,
          progress,
        );
        values.push(pairValue(info.name, a!, b!, 0, one));
        if (isSameShuffled(one)) {
          warnings.add(
            `${info.name}: the same with stimuli shuffled: here it does not depend on which stimulus is where`,
          );
        }
      }
      continue;
    }
    const one = await measureMatrix(measure, items, items, true, orders, comparing, progress);
    measured.push({ ...one, measure });
    for (let a = 0; a < n; a++) {
      for (let b = info.symmetric ? a + 1 : 0; b < n; b++) {
        if (a !== b) values.push(pairValue(info.name, a, b, a * n + b, one));
      }
    }
    const { map, triangle, problem } = mapOf(measure, one.values, n);
    if (problem) warnings.add(problem);
    if (info.metric && triangle && triangle.nViolations > 0) {
      warnings.add(
        `${info.name}: ${triangle.nViolations} of ${triangle.nInequalities} triangle inequalities fail although it is a metric: an alignment stopped at a local minimum`,
      );
    }
    const axis = { title: "representation", labels: items.map(({ title }) => title) };
    matrices.push({
      values: one.values,
      section: {
        kind: "matrix",
        id: `matrix-${info.name}`,
        title: `${info.title}, all pairs`,
        reading: `Larger is ${info.larger}.${map ? " The map places alike representations near each other; only distances mean something in it." : ""}`,
        measure: measureRecord(info),
        rows: axis,
        columns: axis,
        nStimuli,
        array: `${info.name}.npy`,
        floor: one.floor ? { array: `${info.name}-floor.npy`, nDraws: shuffles } : null,
        map,
        triangle,
      },
    });
  }
  // Too few stimuli for files of many sizes is one thing to say; what is said of a file is said of each.
  const isFew = (text: string): boolean => / are fewer than the /.test(text);
  const notes = [...warnings];
  const said = [...condense(notes.filter(isFew)), ...notes.filter((text) => !isFew(text))];
  return { items, measured, values, matrices, warnings: said };
}

const statistic = (value: number): number | null => (Number.isFinite(value) ? value : null);

/** Whether shuffled stimuli leave a value as it is, but for rounding. */
function isSameShuffled({ values, draws }: MeasuredMatrix): boolean {
  const value = values[0]!;
  const isSame = (draw: Float64Array): boolean =>
    Math.abs(draw[0]! - value) <= 1e-6 * Math.abs(value);
  return draws.length > 0 && draws.every(isSame);
}

function pairValue(
  measure: string,
  a: number,
  b: number,
  at: number,
  { values, draws }: MeasuredMatrix,
): SimilarityValue {
  const floors = draws.map((draw) => draw[at]!);
  const mean = floors.reduce((sum, v) => sum + v, 0) / floors.length;
  return {
    measure,
    a,
    b,
    value: statistic(values[at]!),
    floor:
      floors.length === 0
        ? null
        : {
            mean: statistic(mean),
            low: statistic(Math.min(...floors)),
            high: statistic(Math.max(...floors)),
            nDraws: floors.length,
          },
  };
}

function filesReport(
  files: readonly NumberFile[],
  { items, values, matrices, measured, warnings }: Result,
  settings: CompareSettings,
  shuffles: number,
  linalg: Pick<Linalg, "backend" | "threads">,
  folder: string,
): { report: Report; arrays: Record<string, ReportArray> } {
  const infos = settings.known
    .map(({ info }) => info)
    .filter(({ name }) => values.some(({ measure }) => measure === name));
  const similarity: SimilaritySection = {
    kind: "similarity",
    id: "similarity",
    title: "How alike the representations are",
    reading:
      shuffles > 0
        ? "No measure is on the scale of another. Beside each value stands what it gives when the stimuli of one representation are in random order: a value means something as far as it differs from that."
        : "No measure is on the scale of another, and none was measured with stimuli in random order: compare a value with others of the same measure only.",
    items: items.map(({ title, matrix, trials }) => ({
      title,
      nStimuli: matrix.shape[0],
      nUnits: matrix.shape[1],
      nRepeats: trials?.nRepeats ?? 1,
    })),
    measures: infos.map(measureRecord),
    values,
  };
  const arrays: Record<string, ReportArray> = {};
  matrices.forEach(({ section, values: matrix }, i) => {
    const shape = [items.length, items.length];
    arrays[section.array] = { data: matrix, shape };
    if (section.floor) arrays[section.floor.array] = { data: measured[i]!.floor!, shape };
  });
  const report: Report = {
    ...emptyReport("compare", folder),
    title: `${items.length} representations of the same stimuli`,
    question: `How alike are ${items.map(({ title }) => title).join(", ")}?`,
    intervals: { level: 0.95, method: "none: values are of these stimuli" },
    inputs: files.map((file) => inputOf("representation", file)),
    seed: settings.seed,
    settings: { shuffles, rdm: settings.rdmMethod, all: settings.all, ...linalgRecord(linalg) },
    warnings,
    sections: [...matrices.map(({ section }) => section), similarity],
  };
  return { report, arrays };
}

function asJson(result: Result, folder: string | undefined): object {
  const { items, values, matrices, warnings } = result;
  const n = items.length;
  return {
    items: items.map(({ title, matrix, trials }) => ({
      title,
      nStimuli: matrix.shape[0],
      nUnits: matrix.shape[1],
      nRepeats: trials?.nRepeats ?? 1,
    })),
    values,
    matrices: matrices.map(({ section: { measure, map, triangle }, values: all }) => ({
      measure: measure.name,
      values: Array.from({ length: n }, (_, i) =>
        Array.from(all.subarray(i * n, (i + 1) * n), statistic),
      ),
      map,
      triangle,
    })),
    warnings,
    folder: folder ?? null,
  };
}

function floorText({ mean, low, high, nDraws }: NonNullable<SimilarityValue["floor"]>): string {
  return nDraws === 1 || mean === null
    ? shown(mean)
    : `${shown(mean)} (${shown(low)} to ${shown(high)})`;
}

function print(result: Result, folder: string | undefined, io: Surroundings): void {
  const { items, values, matrices, warnings } = result;
  const known = new Map(measures.map((info) => [info.name, info]));
  io.out.write(
    columns(
      items.map(({ title, matrix: { shape }, trials }) => [
        title,
        `${shape[0]} stimuli`,
        `${shape[1]} units`,
        ...(trials ? [`${trials.nRepeats} trials`] : []),
      ]),
    ),
  );
  if (items.length === 2) {
    const rows = values.map(({ measure, a, value, floor }) => [
      `${measure}${known.get(measure)!.symmetric ? "" : a === 0 ? " (1st, 2nd)" : " (2nd, 1st)"}`,
      shown(value),
      floor ? floorText(floor) : "",
      known.get(measure)!.larger,
    ]);
    io.out.write(`\n${columns([["measure", "value", "stimuli shuffled", "larger is"], ...rows])}`);
  } else {
    for (const { section, values: matrix } of matrices) printMatrix(section, matrix, io);
  }
  for (const note of gathered(warnings)) io.out.write(`\nNote: ${note}\n`);
  if (folder) printFolder(folder, io);
}
