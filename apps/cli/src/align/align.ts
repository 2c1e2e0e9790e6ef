import { UsageError } from "@penfield/core";
import { createLinalg } from "@penfield/linalg";
import { writeReport } from "@penfield/report";
import { printFolder } from "../compare/print.ts";
import { columns, shown } from "../compare/record.ts";
import { openWork, readDestination } from "../compare/work.ts";
import { type Layers, readLayers } from "../layers.ts";
import { readWords, refuseWords } from "../options.ts";
import { createProgressBar } from "../progressBar.ts";
import type { Surroundings } from "../surroundings.ts";
import { identificationSection } from "./identification.ts";
import {
  type AlignResult,
  alignReport,
  alignWarnings,
  bestSet,
  type ScoreTable,
  scoreTable,
} from "./report.ts";
import { layerSets, openFeatures, type SubjectScores, scoreSubject } from "./scores.ts";
import { alignOptions, readAlignSettings } from "./settings.ts";
import { openSubjects, openTexts } from "./subjects.ts";

/** How well a model's layers predict recordings, between floors and ceilings, and whether that says anything. */
export async function align(args: readonly string[], io: Surroundings): Promise<void> {
  const { values, positionals } = readWords(args, alignOptions);
  refuseWords(
    "align",
    positionals,
    "Recordings go behind --recordings, activations behind --features.",
  );
  const settings = readAlignSettings(values);
  const destination = await readDestination(values);
  const bar = createProgressBar(io.err);
  const linalg = createLinalg({ threads: settings.threads });
  const { onProgress } = bar;
  const { signal } = io;
  let result: AlignResult;
  let clear: () => Promise<void>;
  try {
    const texts = await openTexts(settings);
    const subjects = await openSubjects(settings, texts, linalg, signal);
    const given = await openFeatures(settings.features);
    const work = await openWork(
      "align",
      [
        { ...settings, resume: null, json: null, threads: null },
        texts?.set.sha256 ?? null,
        subjects.map(({ recording }) => recording.sha256),
      ],
      settings.resume,
    );
    clear = work.clear;
    let layers: Layers | undefined;
    if (settings.model !== undefined) {
      const lines = texts!.set.stimuli.map(({ text }) => text);
      layers = await readLayers(
        "align",
        settings.model,
        lines,
        settings,
        work.store,
        onProgress,
        signal,
      );
    }
    const untrained =
      layers && settings.floors
        ? layerSets(
            await readLayers(
              "align",
              settings.model!,
              texts!.set.stimuli.map(({ text }) => text),
              { ...settings, untrained: settings.seed },
              work.store,
              onProgress,
              signal,
            ),
          )
        : undefined;
    const sets = layers ? layerSets(layers) : given;
    if (settings.identify && sets.length < 2) {
      throw new UsageError("--identify: expected at least two feature sets to tell apart, got one");
    }
    const scored: SubjectScores[] = [];
    for (const subject of subjects) {
      scored.push(
        await scoreSubject(subject, sets, {
          settings,
          texts,
          untrained,
          linalg,
          onProgress,
          signal,
        }),
      );
    }
    result = {
      settings,
      model: layers?.record,
      texts,
      sets,
      subjects: scored,
      identification: settings.identify
        ? await identificationSection(sets, scored[0]!, settings, {
            linalg,
            work: work.store,
            onProgress,
            signal,
          })
        : undefined,
    };
  } finally {
    bar.finish();
    await linalg.dispose();
  }
  const table = scoreTable(result);
  if (destination) {
    const { report, arrays, maps } = alignReport(result, table, destination.folder);
    await writeReport(
      destination.folder,
      { report, arrays, maps },
      { replace: destination.replace },
    );
  }
  await clear();
  if (settings.json) {
    io.out.write(`${JSON.stringify(asJson(result, table, destination?.folder))}\n`);
    return;
  }
  print(result, table, io);
  if (destination) printFolder(destination.folder, io);
}

const number = (value: number | undefined): number | null =>
  value !== undefined && Number.isFinite(value) ? value : null;

function asJson(result: AlignResult, table: ScoreTable, folder: string | undefined): unknown {
  const { sets, subjects, model, identification } = result;
  const n = table.columns.labels.length;
  const rows = (values: Float64Array) =>
    sets.map((_, i) => Array.from(values.subarray(i * n, (i + 1) * n), number));
  return {
    model: model ?? null,
    featureSets: sets.map(({ title }) => title),
    columns: table.columns.labels,
    scores: rows(table.values),
    normalized: table.normalized ? rows(table.normalized) : null,
    ceiling: table.ceiling?.map(number) ?? null,
    floors: table.floors.map(({ title, values }) => ({ title, values: values.map(number) })),
    subjects: subjects.map(({ subject, scores, ceiling }) => ({
      name: subject.name,
      nStimuli: subject.recording.data.shape[1],
      nTargets: subject.recording.data.shape[2],
      nRepeats: subject.recording.data.shape[0],
      reliability: number(ceiling?.medianReliability),
      scores: scores.map((score) => ({
        median: number(score.median),
        interval: score.interval ? [number(score.interval.low), number(score.interval.high)] : null,
        p: number(score.significance?.medianP),
        nSignificant: score.significance?.nSignificant ?? null,
        nUndefined: score.nUndefined,
      })),
    })),
    identification: identification ?? null,
    warnings: alignWarnings(result),
    folder: folder ?? null,
  };
}

/** Regions side by side on a terminal, at most. */
const MOST_COLUMNS = 8;

function print(result: AlignResult, table: ScoreTable, io: Surroundings): void {
  const { sets, subjects, identification, model } = result;
  const { labels } = table.columns;
  const n = labels.length;
  const shownColumns = labels.slice(0, MOST_COLUMNS);
  for (const { subject, ceiling } of subjects) {
    const [nRepeats, nStimuli, nTargets] = subject.recording.data.shape;
    io.out.write(
      `${subject.name}: ${nStimuli} stimuli, ${nTargets} targets, ${nRepeats} ${nRepeats === 1 ? "repeat" : "repeats"}${ceiling ? `, reliability ${shown(ceiling.medianReliability)}` : ""}\n`,
    );
  }
  io.out.write(
    `\nMedian held-out r${subjects.length > 1 ? ", mean over subjects" : ""} (rows: ${model ? `layers of ${model.name}` : "feature sets"})\n`,
  );
  const line = (title: string, values: ArrayLike<number>): string[] => [
    title,
    ...shownColumns.map((_, j) => shown(values[j])),
  ];
  io.out.write(
    columns([
      ["", ...shownColumns.map((text) => text.slice(0, 14))],
      ...sets.map(({ title }, i) => line(title, table.values.subarray(i * n, (i + 1) * n))),
      ...table.floors.map(({ title, values }) => line(`floor: ${title}`, values)),
      ...(table.ceiling ? [line("ceiling", table.ceiling)] : []),
    ]),
  );
  if (n > MOST_COLUMNS) {
    io.out.write(
      `${n - MOST_COLUMNS} more ${table.columns.title}s: --json or --out DIR has them all\n`,
    );
  }
  const best = bestSet(table, sets.length);
  io.out.write(`\nHighest over all: ${model ? "layer " : ""}${sets[best]!.title}\n`);
  if (identification) {
    const { methods, candidates, nBrains } = identification;
    io.out.write(
      `\nWould we know? ${candidates.length} candidates, ${nBrains} simulated brains; guessing ${shown(1 / candidates.length)}\n`,
    );
    io.out.write(
      columns(
        methods.map(({ title, rate }) => [
          title,
          shown(rate.value),
          `[${shown(rate.interval?.[0])}, ${shown(rate.interval?.[1])}]`,
        ]),
      ),
    );
  }
  for (const warning of alignWarnings(result)) io.out.write(`\nNote: ${warning}\n`);
}
