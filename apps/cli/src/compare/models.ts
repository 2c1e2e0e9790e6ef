import { DataError, UsageError } from "@penfield/core";
import { createLinalg, type Linalg } from "@penfield/linalg";
import { loadStimulusSet, type StimulusSet } from "@penfield/recordings";
import { type MatrixSection, type Report, type ReportArray, writeReport } from "@penfield/report";
import { type Layers, type Reading, readLayers } from "../layers.ts";
import { createProgressBar } from "../progressBar.ts";
import { corpusPath } from "../shipped.ts";
import type { Surroundings } from "../surroundings.ts";
import type { PairMeasure } from "./measures.ts";
import {
  type Comparing,
  countCells,
  type MeasuredMatrix,
  measureMatrix,
  scopedTo,
  shuffledOrders,
} from "./pairs.ts";
import { printFolder, printMatrix } from "./print.ts";
import { condense, emptyReport, linalgRecord, measureRecord, shown } from "./record.ts";
import type { CompareSettings } from "./settings.ts";
import { openWork, valueStore } from "./work.ts";

/** What `penfield compare --models` is told. */
export interface ModelSettings extends CompareSettings, Omit<Reading, "threads"> {
  readonly stimuli: string | undefined;
  readonly condition: string | undefined;
}

const DEFAULT_STIMULI = "language-localizer";

/** Every layer of one model with every layer of another, by one measure or more. */
export async function compareModels(
  names: readonly string[],
  settings: ModelSettings,
  destination: { folder: string; replace: boolean } | undefined,
  io: Surroundings,
): Promise<void> {
  if (names.length !== 2) {
    throw new UsageError(
      `compare --models: expected two models, got ${names.length === 0 ? "none" : names.join(", ")}`,
      { hint: "penfield compare --models organism-a organism-b" },
    );
  }
  const chosen = settings.measures ?? usual(settings);
  const bad = chosen.find(
    ({ info }) => info.kind !== "representation" && info.kind !== "rdm-comparison",
  );
  if (bad) {
    throw new UsageError(
      `--metric: expected a measure of two representations, got ${bad.info.name}: a model gives one response to each stimulus`,
    );
  }
  const set = await openStimuli(settings);
  const texts = set.stimuli.map(({ text }) => text);
  const bar = createProgressBar(io.err);
  const linalg = createLinalg({ threads: settings.threads });
  const { file, units, pooling, maxTokens, prependBos, seed, rdmMethod } = settings;
  const shuffles = settings.shuffles ?? 1;
  const reading = { units, pooling, maxTokens: maxTokens ?? null, prependBos: prependBos ?? null };
  const inputs = [
    names,
    file ?? null,
    set.sha256,
    settings.condition ?? null,
    reading,
    ...[chosen.map(({ info }) => info.name), shuffles, seed, rdmMethod],
  ];
  const { store, clear } = await openWork("compare-models", inputs, settings.resume);
  const work = await valueStore(store);
  const warnings = new Set<string>();
  const matrices: { section: MatrixSection; measured: MeasuredMatrix }[] = [];
  let models: readonly [Layers, Layers];
  try {
    const read = (name: string): Promise<Layers> =>
      readLayers("compare", name, texts, settings, store, bar.onProgress, io.signal);
    const first = await read(names[0]!);
    const same = names[0] === names[1];
    models = [first, same ? first : await read(names[1]!)];
    const [{ items: rows }, { items: columns }] = models;
    const total = chosen.reduce(
      (sum, one) => sum + countCells(one, rows.length, columns.length, same, shuffles),
      0,
    );
    const progress = { done: 0, total, unit: "pairs of layers" };
    const orders = shuffledOrders(texts.length, shuffles, seed);
    // By content: a model that has changed meanwhile finds nothing of its predecessor.
    const scope = models.map(({ record }) => record.sha256).join(" ");
    const comparing: Comparing = {
      linalg,
      onProgress: bar.onProgress,
      signal: io.signal,
      work,
      lenient: settings.all,
      // Of many layers, the same warning in other numbers says nothing more.
      warn: (text) => warnings.add(text),
    };
    for (const measure of chosen) {
      const measured = await measureMatrix(
        measure,
        rows,
        columns,
        same,
        orders,
        scopedTo(comparing, scope),
        progress,
      );
      matrices.push({ section: matrixSection(measure, models, measured, texts.length), measured });
    }
  } finally {
    bar.finish();
    await work.flush();
    await linalg.dispose();
  }
  const notes = condense([...warnings]);
  if (destination) {
    const report = modelsReport(
      models,
      set,
      settings,
      shuffles,
      notes,
      matrices,
      linalg,
      destination.folder,
    );
    const arrays: Record<string, ReportArray> = {};
    for (const { section, measured } of matrices) {
      const shape = [section.rows.labels.length, section.columns.labels.length];
      arrays[section.array] = { data: measured.values, shape };
      if (section.floor) arrays[section.floor.array] = { data: measured.floor!, shape };
    }
    await writeReport(destination.folder, { report, arrays }, { replace: destination.replace });
  }
  await clear();
  if (settings.json) {
    io.out.write(
      `${JSON.stringify({
        models: models.map(({ record }) => record),
        stimuli: { name: set.name, sha256: set.sha256, nItems: texts.length },
        matrices: matrices.map(({ section, measured }) => ({
          measure: section.measure.name,
          values: nested(measured.values, section.columns.labels.length),
          floor: measured.floor ? nested(measured.floor, section.columns.labels.length) : null,
        })),
        warnings: notes,
        folder: destination?.folder ?? null,
      })}\n`,
    );
    return;
  }
  const [a, b] = models;
  io.out.write(
    `${a.record.name} (rows, ${a.items.length} layers) with ${b.record.name} (columns, ${b.items.length} layers), ${texts.length} stimuli of ${set.name}\n`,
  );
  for (const { section, measured } of matrices) {
    printMatrix(section, measured.values, io);
    if (measured.floor) {
      io.out.write(`With stimuli shuffled: ${summary(measured.floor)}\n`);
    }
  }
  for (const warning of notes) io.out.write(`\nNote: ${warning}\n`);
  if (destination) printFolder(destination.folder, io);
}

function usual({ all, known }: CompareSettings): readonly PairMeasure[] {
  if (!all) return known.filter(({ info }) => info.name === "linear-cka");
  return known.filter(
    ({ info }) => info.kind === "representation" || info.kind === "rdm-comparison",
  );
}

/** A set that ships with Penfield by its name, or a folder or file. */
async function openStimuli(settings: ModelSettings): Promise<StimulusSet> {
  const { stimuli = DEFAULT_STIMULI, condition } = settings;
  const set = await loadStimulusSet(corpusPath(stimuli));
  const chosen =
    condition === undefined
      ? set.stimuli
      : set.stimuli.filter((stimulus) => stimulus.condition === condition);
  if (chosen.length < 3) {
    const names = [...new Set(set.stimuli.map((stimulus) => stimulus.condition ?? "(none)"))];
    throw new DataError(
      `compare: expected at least 3 stimuli, got ${chosen.length}${condition === undefined ? "" : ` of condition ${JSON.stringify(condition)}`} in ${set.name}`,
      { hint: condition === undefined ? undefined : `It has ${names.slice(0, 20).join(", ")}.` },
    );
  }
  return { ...set, stimuli: chosen };
}

function matrixSection(
  { info }: PairMeasure,
  [a, b]: readonly [Layers, Layers],
  { values, floor, draws }: MeasuredMatrix,
  nStimuli: number,
): MatrixSection {
  const axis = ({ record, items }: Layers) => ({
    title: `layer of ${record.name}`,
    labels: items.map((_, layer) => String(layer)),
  });
  const shuffled = floor
    ? ` With the stimuli of ${b.record.name} in random order it is ${summary(floor)}: only what lies ${info.larger === "more alike" ? "above" : "below"} that says something.`
    : "";
  return {
    kind: "matrix",
    id: `layers-${info.name}`,
    title: `${info.title}, layer by layer`,
    reading: `Each cell sets a layer of ${a.record.name} (row) beside one of ${b.record.name} (column); larger is ${info.larger}. Values are from ${range(values)}.${shuffled}`,
    measure: measureRecord(info),
    rows: axis(a),
    columns: axis(b),
    nStimuli,
    array: `layers-${info.name}.npy`,
    floor: floor ? { array: `layers-${info.name}-floor.npy`, nDraws: draws.length } : null,
    map: null,
    triangle: null,
  };
}

function range(values: Float64Array): string {
  const finite = values.filter((v) => !Number.isNaN(v));
  return `${shown(Math.min(...finite))} to ${shown(Math.max(...finite))}`;
}

function summary(values: Float64Array): string {
  const finite = values.filter((v) => !Number.isNaN(v));
  const mean = finite.reduce((sum, v) => sum + v, 0) / finite.length;
  return `${shown(mean)} on average (${range(values)})`;
}

const nested = (values: Float64Array, width: number): (number | null)[][] =>
  Array.from({ length: values.length / width }, (_, i) =>
    Array.from(values.subarray(i * width, (i + 1) * width), (v) => (Number.isFinite(v) ? v : null)),
  );

function modelsReport(
  [a, b]: readonly [Layers, Layers],
  set: StimulusSet,
  settings: ModelSettings,
  shuffles: number,
  warnings: readonly string[],
  matrices: readonly { section: MatrixSection }[],
  linalg: Pick<Linalg, "backend" | "threads">,
  folder: string,
): Report {
  const { units, pooling, maxTokens, prependBos, seed, rdmMethod, condition } = settings;
  const same = a === b;
  return {
    ...emptyReport("compare-models", folder),
    title: same
      ? `Layers of ${a.record.name} with each other`
      : `Layers of ${a.record.name} and ${b.record.name}`,
    question: same
      ? `Which layers of ${a.record.name} represent the stimuli alike?`
      : `Which layers of ${a.record.name} represent the stimuli as which layers of ${b.record.name} do?`,
    intervals: { level: 0.95, method: "none: values are of these stimuli" },
    model: a.record,
    ...(same ? {} : { comparedWith: [b.record] }),
    seed,
    settings: {
      units,
      pooling,
      maxTokens: maxTokens ?? null,
      prependBos: prependBos ?? null,
      condition: condition ?? null,
      shuffles,
      rdm: rdmMethod,
      ...linalgRecord(linalg),
    },
    stimuli: [
      {
        role: "stimuli",
        name: set.name,
        title: set.title,
        sha256: set.sha256,
        licence: set.licence,
        nItems: set.stimuli.length,
      },
    ],
    warnings,
    sections: matrices.map(({ section }) => section),
  };
}
