import {
  bootstrapCrossValidation,
  bootstrapModels,
  classicalMds,
  compareRdms,
  concatRdms,
  crossValidateModels,
  dualBootstrap,
  type Evaluation,
  evaluateModels,
  fitModel,
  fixedModels,
  type ModelTest,
  meanRdm,
  noiseCeiling,
  RDM_COMPARISONS,
  type RdmComparison,
  type RdmModel,
  type Rdms,
  type Resumable,
  rdmComparisonMeasures,
  rdmPermutationTest,
  sampleWarning,
  scoreIntervals,
  squareRdm,
  takeRdms,
  testModels,
} from "@penfield/compare";
import { DataError, InterruptedError, type LongWork, ShapeError, UsageError } from "@penfield/core";
import { createLinalg, type Linalg } from "@penfield/linalg";
import {
  type MatrixSection,
  type ModelComparisonSection,
  type PointMap,
  type RdmsSection,
  type Report,
  type ReportArray,
  writeReport,
} from "@penfield/report";
import { benjaminiHochberg } from "@penfield/stats";
import { printFolder, printMatrix } from "../compare/print.ts";
import {
  columns,
  distinct,
  emptyReport,
  inputOf,
  linalgRecord,
  measureRecord,
  shown,
} from "../compare/record.ts";
import { openWork, readDestination } from "../compare/work.ts";
import { choiceOption, numberOption, type Options, readWords, type Values } from "../options.ts";
import { createProgressBar } from "../progressBar.ts";
import type { Surroundings } from "../surroundings.ts";
import { mapModels, readPlaces } from "./mapping.ts";
import {
  fileKinds,
  listFiles,
  type NoiseMethodName,
  type NoiseSource,
  noiseMethods,
  type RdmFile,
  type RdmMethodName,
  rdmMethodNames,
  readLabels,
  readRdmFile,
  readSubjects,
} from "./rdmFiles.ts";
import { type RdmTransform, readTransforms, transformed, transformTitle } from "./transforms.ts";

const string = { type: "string" } as const;
const flag = { type: "boolean" } as const;

/** What `penfield rsa` understands. */
export const rsaOptions: Options = {
  models: { type: "string", multiple: true },
  combine: string,
  kind: string,
  rdm: string,
  "model-rdm": string,
  transform: string,
  quantiles: string,
  noise: string,
  residuals: { type: "string", multiple: true },
  movie: flag,
  times: string,
  bins: string,
  searchlight: string,
  radius: string,
  rings: string,
  resume: flag,
  comparison: string,
  over: string,
  draws: string,
  test: string,
  fdr: string,
  permutations: string,
  labels: string,
  "by-file": flag,
  subjects: string,
  seed: string,
  threads: string,
  out: string,
  replace: flag,
  json: flag,
};

/** What is drawn, by the names of the docs and by those that people say. */
const overs = {
  none: "none",
  rdms: "rdms",
  subjects: "rdms",
  conditions: "conditions",
  patterns: "conditions",
  both: "both",
} as const;
type Over = (typeof overs)[keyof typeof overs];

/** Comparisons that need every pair, which drawn conditions do not leave. */
const WHOLE: readonly RdmComparison[] = ["bures", "bures-metric", "neg-riemannian"];
const MOST_SECOND_ORDER = 60;

/** Models that are made of all given ones, with parameters. */
const combinations: Readonly<Record<Combination, string>> = {
  select: "the best of them",
  weighted: "weighted sum of them",
  interpolate: "point between two neighbours",
};
type Combination = Exclude<RdmModel["kind"], "fixed">;

export interface RsaSettings {
  readonly combine: readonly Combination[];
  readonly noise: NoiseMethodName | undefined;
  readonly method: RdmMethodName;
  readonly modelMethod: RdmMethodName;
  /** What is done to every RDM of data and models, in this order. */
  readonly transform: readonly RdmTransform[];
  readonly comparison: RdmComparison;
  readonly over: Over | undefined;
  readonly draws: number;
  readonly test: ModelTest;
  readonly fdr: number;
  readonly seed: number;
  readonly byFile: boolean;
  /** Shuffles of conditions that models are held against; 0: none. */
  readonly permutations: number;
}

interface Result {
  readonly data: Rdms;
  readonly models: Rdms | undefined;
  readonly computed: boolean;
  readonly comparison: ModelComparisonSection | undefined;
  readonly permutation: Permutation | undefined;
  readonly ceiling: { readonly lower: number | null; readonly upper: number | null } | null;
  /** The lower bound that t tests took, where it is not that of `ceiling`. */
  readonly testedLower: number | undefined;
  readonly among: { readonly section: MatrixSection; readonly values: Float64Array } | undefined;
  readonly over: Over;
  readonly warnings: readonly string[];
}

/** Where each file's noise is estimated; residuals are named in the order of the data. */
async function noiseSources(
  values: Values,
  { noise }: RsaSettings,
  dataFiles: readonly string[],
): Promise<readonly NoiseSource[]> {
  const given = ((values["residuals"] as string[] | undefined) ?? []).flatMap((list) =>
    list.split(","),
  );
  if (noise === undefined) {
    if (given.length > 0) throw new UsageError("--residuals: expected --noise beside it, got none");
    return [];
  }
  const files = await listFiles(given);
  if (files.length > 0 && files.length !== dataFiles.length) {
    throw new UsageError(
      `--residuals: expected one file for each of ${dataFiles.length} data files, got ${files.length}`,
    );
  }
  return dataFiles.map((_, i) => ({ method: noise, residuals: files[i] }));
}

/** Options of movies and searchlights, without either. */
function checkAlone(values: Values): void {
  const odd = ["times", "bins", "radius", "rings"].find((name) => values[name] !== undefined);
  if (odd !== undefined) {
    throw new UsageError(`--${odd}: expected --movie or --searchlight beside it, got neither`);
  }
}

/** Computes RDMs or reads them, compares data with models, and tests the models. */
export async function rsa(args: readonly string[], io: Surroundings): Promise<void> {
  const { values, positionals } = readWords(args, rsaOptions);
  if (positionals.length === 0) {
    throw new UsageError("rsa: expected files or folders with data, got none", {
      hint: "penfield rsa subjects/ --models models/ --rdm correlation --comparison rho-a",
    });
  }
  const settings = readRsaSettings(values);
  const kind = choiceOption(values, "kind", fileKinds) ?? "auto";
  const threads = numberOption(values, "threads", { whole: true, min: 1, max: 256 });
  const modelPaths = ((values["models"] as string[] | undefined) ?? []).flatMap((list) =>
    list.split(","),
  );
  const labelFile = values["labels"] as string | undefined;
  const subjectFile = values["subjects"] as string | undefined;
  if (subjectFile !== undefined && settings.byFile) {
    throw new UsageError("rsa: expected --subjects or --by-file, got both");
  }
  if (settings.permutations > 0 && modelPaths.length === 0) {
    throw new UsageError("--permutations: expected --models to shuffle, got none");
  }
  const destination = await readDestination(values);
  const [dataFiles, modelFiles] = [await listFiles(positionals), await listFiles(modelPaths)];
  const noises = await noiseSources(values, settings, dataFiles);
  if (values["movie"] || values["searchlight"] !== undefined) {
    const places = readPlaces(values, settings, modelFiles);
    return mapModels(
      dataFiles,
      modelFiles,
      { ...settings, noises, threads, resume: Boolean(values["resume"]) },
      places,
      destination,
      {
        ...io,
        json: Boolean(values["json"]),
      },
    );
  }
  checkAlone(values);
  const bar = createProgressBar(io.err);
  const linalg = createLinalg({ threads });
  let read: { data: readonly RdmFile[]; models: readonly RdmFile[] };
  let result: Result;
  let clear: () => Promise<void>;
  try {
    const total = dataFiles.length + modelFiles.length;
    let done = 0;
    const readAll = async (
      paths: readonly string[],
      method: RdmMethodName,
      noises: readonly NoiseSource[],
    ) => {
      const out: RdmFile[] = [];
      for (const path of paths) {
        bar.onProgress({ stage: "reading RDMs", done: done++, total, unit: "files" });
        out.push(await readRdmFile(path, { kind, method, linalg, noise: noises[out.length] }));
      }
      return out;
    };
    read = {
      data: await readAll(dataFiles, settings.method, noises),
      models: await readAll(modelFiles, settings.modelMethod, []),
    };
    checkConditions([...read.data, ...read.models]);
    const change = (file: RdmFile): RdmFile => ({
      ...file,
      rdms: transformed(file.rdms, settings.transform),
    });
    read = { data: read.data.map(change), models: read.models.map(change) };
    const n = read.data[0]!.rdms.nConditions;
    const names = labelFile === undefined ? undefined : await readLabels(labelFile, n);
    const subjects = await subjectsOf(read.data, settings, subjectFile);
    const files = [...read.data, ...read.models].map(({ file }) => [file.name, file.sha256]);
    const work = await openWork("rsa", [files, settings, subjects], Boolean(values["resume"]));
    clear = work.clear;
    result = await analyse(read.data, read.models, names, subjects, settings, {
      linalg,
      onProgress: bar.onProgress,
      signal: io.signal,
      keep: work.store,
    });
  } catch (cause) {
    if (!(cause instanceof InterruptedError)) throw cause;
    throw new InterruptedError("rsa: interrupted", {
      hint: "The same command with --resume goes on from what was computed.",
      cause,
    });
  } finally {
    bar.finish();
    await linalg.dispose();
  }
  if (destination) {
    const { report, arrays } = rsaReport(read, result, settings, linalg, destination.folder);
    await writeReport(destination.folder, { report, arrays }, { replace: destination.replace });
  }
  await clear();
  if (values["json"]) {
    const transform = transformTitle(settings.transform);
    io.out.write(`${JSON.stringify({ transform, ...asJson(result, destination?.folder) })}\n`);
  } else print(result, settings, destination?.folder, io);
}

function readRsaSettings(values: Values): RsaSettings {
  const method = choiceOption(values, "rdm", rdmMethodNames) ?? "correlation";
  // Models come without runs as a rule: what the cross-validated distance estimates is computed from them plainly.
  const plain =
    method === "crossnobis" || method === "mahalanobis"
      ? "euclidean"
      : method === "poisson-cv"
        ? "poisson"
        : method;
  const overName = choiceOption(values, "over", Object.keys(overs) as (keyof typeof overs)[]);
  const comparisonText = values["comparison"] as string | undefined;
  // The registry calls them rdm-pearson, ...; both are understood.
  const comparison =
    choiceOption(
      { comparison: comparisonText?.replace(/^rdm-/, "") },
      "comparison",
      RDM_COMPARISONS,
    ) ?? "pearson";
  const over = overName === undefined ? undefined : overs[overName];
  const test = choiceOption(values, "test", ["t", "bootstrap", "signed-rank"] as const) ?? "t";
  if (WHOLE.includes(comparison) && (over === "conditions" || over === "both")) {
    throw new UsageError(
      `--over: expected none or subjects with --comparison ${comparison}, got ${overName}: a condition drawn twice has no distance to itself`,
    );
  }
  if (test === "signed-rank" && over !== undefined && over !== "none") {
    throw new UsageError(`--test signed-rank: expected --over none, got ${overName}`, {
      hint: "It ranks the scores of the RDMs themselves.",
    });
  }
  if (test === "bootstrap" && over === "none") {
    throw new UsageError(
      "--test bootstrap: expected --over subjects, conditions or both, got none",
    );
  }
  const combine = [
    ...new Set((values["combine"] as string | undefined)?.split(",").map((name) => name.trim())),
  ].map((name) => {
    const kinds = Object.keys(combinations) as Combination[];
    return choiceOption({ combine: name }, "combine", kinds)!;
  });
  if (combine.length > 0 && WHOLE.includes(comparison)) {
    throw new UsageError(
      `--combine: expected a comparison that can be cross-validated, got --comparison ${comparison}`,
    );
  }
  if (combine.length > 0 && test === "signed-rank") {
    throw new UsageError("--test: expected t or bootstrap with --combine, got signed-rank");
  }
  const noiseNames = Object.keys(noiseMethods) as NoiseMethodName[];
  const noise = choiceOption(values, "noise", noiseNames);
  if (noise !== undefined && method !== "crossnobis" && method !== "mahalanobis") {
    throw new UsageError(`--noise: expected --rdm mahalanobis or crossnobis, got ${method}`);
  }
  return {
    combine,
    noise,
    method,
    modelMethod: choiceOption(values, "model-rdm", rdmMethodNames) ?? plain,
    transform: readTransforms(values),
    comparison,
    over: test === "signed-rank" ? "none" : over,
    draws: numberOption(values, "draws", { whole: true, min: 10, max: 1_000_000 }) ?? 1000,
    test,
    fdr: numberOption(values, "fdr", { min: 0.000001, max: 1 }) ?? 0.05,
    seed: numberOption(values, "seed", { whole: true, max: 2 ** 31 }) ?? 42,
    byFile: Boolean(values["by-file"]),
    permutations: numberOption(values, "permutations", { whole: true, max: 1_000_000 }) ?? 0,
  };
}

function checkConditions(files: readonly RdmFile[]): void {
  const [first] = files;
  for (const { file, rdms } of files) {
    const [n, m] = [first!.rdms.nConditions, rdms.nConditions];
    if (n !== m) {
      throw new ShapeError(
        `rsa: expected the same conditions in every file, got ${n} in ${first!.file.name} and ${m} in ${file.name}`,
        { hint: "Conditions are matched by position." },
      );
    }
    if (m < 3) {
      throw new DataError(`rsa: ${file.name}: expected at least 3 conditions, got ${m}`);
    }
  }
}

/** RDMs of several files as one, with distinct names and the conditions' labels. */
function joined(files: readonly RdmFile[], labels: readonly string[] | undefined): Rdms {
  const all = concatRdms(files.map(({ rdms }) => rdms));
  return {
    ...all,
    names: distinct(all.names.map(String)),
    conditions: labels ?? Array.from({ length: all.nConditions }, (_, i) => i),
  };
}

/** Whose RDM each is. */
async function subjectsOf(
  files: readonly RdmFile[],
  { byFile }: RsaSettings,
  subjectFile: string | undefined,
): Promise<readonly string[]> {
  const all = files.flatMap(({ file, rdms }, at) =>
    Array.from({ length: rdms.nRdms }, (_, i) => ({ at, i, file, name: String(rdms.names[i]) })),
  );
  if (subjectFile !== undefined) {
    return readSubjects(
      subjectFile,
      all.map(({ name, file }) => ({ rdm: name, file: file.name })),
    );
  }
  return all.map(({ at, i }) => (byFile ? `${at}` : `${at} ${i}`));
}

/** What long work is done with. */
interface Working extends Required<LongWork>, Required<Resumable> {
  readonly linalg: Linalg;
}

async function analyse(
  dataFiles: readonly RdmFile[],
  modelFiles: readonly RdmFile[],
  labels: readonly string[] | undefined,
  subjects: readonly string[],
  settings: RsaSettings,
  working: Working,
): Promise<Result> {
  const { comparison: method } = settings;
  const { linalg } = working;
  const data = joined(dataFiles, labels);
  const models = modelFiles.length === 0 ? undefined : joined(modelFiles, labels);
  const nSubjects = new Set(subjects).size;
  const warnings = warningsOf(data, models, method);
  const options = { method, subjects, linalg };
  const ceiling = nSubjects < 2 ? null : finite(await noiseCeiling(data, options));
  if (nSubjects < 2) {
    warnings.push("There is one subject: no noise ceiling says how well a model could do.");
  }
  const over = settings.over ?? usualOver(method, nSubjects);
  let comparison: ModelComparisonSection | undefined;
  let permutation: Permutation | undefined;
  let testedLower: number | undefined;
  if (models) {
    const { draws: nDraws, seed, combine } = settings;
    const combined = combine.map(
      (kind): RdmModel => ({ name: combinations[kind], kind, rdms: models }),
    );
    const fixed = [...fixedModels(models), ...combined];
    const folds = { ...options, ...working, seed };
    const single =
      combine.length === 0
        ? await evaluateModels(fixed, data, options)
        : await crossValidateModels(fixed, data, folds);
    const drawn = { ...folds, nDraws };
    for (const model of combined) {
      const weights = await fitModel(model, data, options);
      warnings.push(
        `${model.name}, fitted to all data (its score is of data that it was not fitted to): ${models.names.map((name, i) => `${name} ${shown(weights[i])}`).join(", ")}`,
      );
    }
    const evaluation =
      over === "none"
        ? single
        : combine.length > 0
          ? await bootstrapCrossValidation(fixed, data, { ...drawn, over })
          : over === "both"
            ? await dualBootstrap(fixed, data, drawn)
            : await bootstrapModels(fixed, data, { ...drawn, over });
    if (evaluation.nUndefined > 0) {
      warnings.push(
        `${evaluation.nUndefined} of ${evaluation.nSamples} draws say nothing and are left out: fewer than three different conditions, or a model without variation among them. If they are many use --over subjects, or --comparison rho-a or tau-a, which are 0 there.`,
      );
    }
    testedLower = otherLower(evaluation, ceiling, settings);
    comparison = comparisonSection(
      evaluation,
      single,
      data,
      nSubjects,
      over,
      { ceiling, testedLower },
      settings,
    );
    if (over === "none" && nSubjects < data.nRdms) {
      warnings.push(
        "Without draws every RDM counts by itself in intervals and tests, though several are of one subject: use --over subjects.",
      );
    }
    permutation = await permutationOf(models, data, settings, working, warnings);
  }
  const all = models ? concatRdms([data, models]) : data;
  const among =
    all.nRdms < 2 || all.nRdms > MOST_SECOND_ORDER
      ? undefined
      : await amongRdms(all, settings, linalg);
  const computed = dataFiles.some((file) => file.computed);
  return {
    ...{ data, models, computed, comparison, permutation },
    ...{ ceiling, testedLower, among, over, warnings },
  };
}

/** The mean of the lower bound over draws or folds, which t tests take, where it is another than that of all data. */
function otherLower(
  { ceiling: { lower } }: Evaluation,
  ceiling: Result["ceiling"],
  { test }: RsaSettings,
): number | undefined {
  const defined = lower.filter((v) => !Number.isNaN(v));
  if (test !== "t" || ceiling?.lower == null || defined.length === 0) return undefined;
  const mean = defined.reduce((sum, v) => sum + v, 0) / defined.length;
  return Math.abs(mean - ceiling.lower) < 1e-9 ? undefined : mean;
}

/** Models against their own RDMs with conditions in other orders. */
interface Permutation {
  readonly nDraws: number;
  readonly models: readonly {
    readonly name: string;
    readonly observed: number;
    readonly p: number;
    /** Against the best of all models in each shuffle. */
    readonly pMax: number;
  }[];
}

async function permutationOf(
  models: Rdms,
  data: Rdms,
  { permutations: nDraws, comparison: method, seed }: RsaSettings,
  working: Working,
  warnings: string[],
): Promise<Permutation | undefined> {
  if (nDraws === 0) return undefined;
  const info = rdmComparisonMeasures.find(({ name }) => name === `rdm-${method}`)!;
  const tail = info.larger === "more alike" ? "greater" : "less";
  // Models that vary alone have a relation to be tested.
  const { data: similar } = await compareRdms(models, data, { method, linalg: working.linalg });
  const isDefined = (m: number): boolean =>
    similar.subarray(m * data.nRdms, (m + 1) * data.nRdms).every((v) => !Number.isNaN(v));
  const tested = Array.from({ length: models.nRdms }, (_, m) => m).filter(isDefined);
  if (tested.length < models.nRdms) {
    const left = models.names.filter((_, m) => !isDefined(m));
    warnings.push(`Shuffled conditions: ${left.join(", ")} left out, undefined for some RDM.`);
  }
  if (tested.length === 0) return undefined;
  const some = takeRdms(models, tested);
  const { observed, p, pMax } = await rdmPermutationTest(some, data, {
    ...working,
    method,
    nDraws,
    seed,
    tail,
  });
  return {
    nDraws,
    models: some.names.map((name, m) => ({
      name: String(name),
      observed: observed[m]!,
      p: p[m]!,
      pMax: pMax[m]!,
    })),
  };
}

const usualOver = (method: RdmComparison, nSubjects: number): Over =>
  WHOLE.includes(method)
    ? nSubjects < 2
      ? "none"
      : "rdms"
    : nSubjects < 2
      ? "conditions"
      : "both";

const statistic = (value: number | undefined): number | null =>
  value !== undefined && Number.isFinite(value) ? value : null;

const finite = ({ lower, upper }: { readonly lower: number; readonly upper: number }) => ({
  lower: statistic(lower),
  upper: statistic(upper),
});

function warningsOf(data: Rdms, models: Rdms | undefined, method: RdmComparison): string[] {
  const warnings: string[] = [];
  const info = rdmComparisonMeasures.find(({ name }) => name === `rdm-${method}`)!;
  const few = sampleWarning(info, data.nConditions, 1);
  if (info.larger === "less alike") {
    warnings.push(`${method}: larger is less alike; the best model has the lowest score.`);
  }
  if (few) warnings.push(few);
  else if (data.nConditions < 10) {
    warnings.push(
      `${data.nConditions} conditions make ${data.nPairs} pairs: with fewer than about 10 conditions chance is too close to everything.`,
    );
  }
  for (const set of models ? [data, models] : [data]) {
    for (let k = 0; k < set.nRdms; k++) {
      const row = set.data.subarray(k * set.nPairs, (k + 1) * set.nPairs);
      const absent = row.filter(Number.isNaN).length;
      if (absent > 0) {
        warnings.push(
          `${set.names[k]}: ${absent} of ${set.nPairs} dissimilarities are undefined (pairs not measured, or constant or all-zero patterns); these pairs are left out of all comparisons.`,
        );
      }
      const present = row.filter((v) => !Number.isNaN(v));
      if (present.length > 0 && present.every((v) => v === present[0])) {
        warnings.push(
          `${set.names[k]}: all dissimilarities are ${present[0]}: it says nothing, and correlations with it are undefined.`,
        );
      }
    }
  }
  return warnings;
}

/** q of p, over those that are defined. */
function adjusted(p: ArrayLike<number>): (number | null)[] {
  const all = Array.from(p);
  const defined = all.filter((v) => !Number.isNaN(v));
  const q = defined.length === 0 ? [] : benjaminiHochberg(defined);
  let at = 0;
  return all.map((v) => (Number.isNaN(v) ? null : statistic(q[at++])));
}

const generalizes: Readonly<Record<Over, string>> = {
  none: "new subjects, for these conditions",
  rdms: "new subjects, for these conditions",
  conditions: "new conditions, for these subjects",
  both: "new subjects and new conditions",
};

function comparisonSection(
  evaluation: Evaluation,
  single: Evaluation,
  data: Rdms,
  nSubjects: number,
  over: Over,
  { ceiling, testedLower }: Pick<Result, "ceiling" | "testedLower">,
  { comparison, test, fdr, draws, combine }: RsaSettings,
): ModelComparisonSection {
  const { names, means, variances, degreesOfFreedom, nUndefined } = evaluation;
  const testable = test === "bootstrap" || (variances !== undefined && degreesOfFreedom > 0);
  const tested = testable ? testModels(evaluation, { test }) : undefined;
  const intervals =
    testable && test !== "signed-rank"
      ? scoreIntervals(evaluation, { kind: test === "bootstrap" ? "bootstrap" : "t" })
      : undefined;
  const n = names.length;
  const order = pairsOf(n);
  const pairP = order.map(([a, b]) => tested?.pairwise[a * n + b] ?? Number.NaN);
  const q = {
    zero: adjusted(tested?.zero ?? []),
    ceiling: adjusted(tested?.ceiling ?? []),
    pairs: adjusted(pairP),
  };
  const { nParts } = single;
  const title = rdmComparisonMeasures.find(({ name }) => name === `rdm-${comparison}`)!.title;
  return {
    kind: "model-comparison",
    id: "models",
    title: "Which model predicts the data best",
    reading: `A model between both bounds of the noise ceiling explains what subjects share; below the lower one structure is left that it misses. Scores of other comparisons are not on this scale.${testedLower === undefined ? "" : ` ${testedLowerSaid(testedLower, combine.length > 0)}.`}`,
    comparison: { name: comparison, title },
    design: `${combine.length > 0 ? `Cross-validated over ${nParts} folds. ` : ""}${designOf(over, draws)}`,
    generalizesTo: generalizes[over],
    nSubjects,
    nRdms: data.nRdms,
    nConditions: data.nConditions,
    nDraws: over === "none" ? 0 : draws,
    nUndefined,
    test: tested ? test : null,
    fdr,
    ceiling,
    models: names.map((name, m) => {
      const [low, high] = [intervals?.low[m], intervals?.high[m]];
      return {
        title: String(name),
        score: {
          value: statistic(means[m]),
          interval:
            low !== undefined && high !== undefined && Number.isFinite(low) && Number.isFinite(high)
              ? [low, high]
              : null,
        },
        zero: { p: statistic(tested?.zero[m]), q: q.zero[m] ?? null },
        // With one subject the ceiling is the data themselves.
        ceiling: ceiling
          ? { p: statistic(tested?.ceiling[m]), q: q.ceiling[m] ?? null }
          : { p: null, q: null },
        draws: Array.from(single.evaluations.subarray(m * nParts, (m + 1) * nParts), statistic),
      };
    }),
    pairs: order.map(([a, b], i) => ({
      a,
      b,
      difference: statistic(means[a]! - means[b]!),
      p: statistic(pairP[i]),
      q: q.pairs[i] ?? null,
    })),
  };
}

/** A model above the bound may well differ from it: that is no failing. */
const testedLowerSaid = (lower: number, ofFolds: boolean): string =>
  `p at ceiling: does a model differ, up or down, from the mean of the lower bound over ${ofFolds ? "draws and folds" : "draws"}, ${shown(lower)}`;

const pairsOf = (n: number): (readonly [number, number])[] =>
  Array.from({ length: n }, (_, a) => a).flatMap((a) =>
    Array.from({ length: n - a - 1 }, (_, i) => [a, a + 1 + i] as const),
  );

function designOf(over: Over, draws: number): string {
  switch (over) {
    case "none":
      return "Scores of each RDM, nothing drawn";
    case "rdms":
      return `Bootstrap over subjects, ${draws} draws`;
    case "conditions":
      return `Bootstrap over conditions, ${draws} draws`;
    case "both":
      return `Bootstrap over subjects and conditions, variances corrected, ${draws} draws`;
  }
}

/** Every RDM with every other. */
async function amongRdms(
  all: Rdms,
  { comparison }: RsaSettings,
  linalg: Linalg,
): Promise<NonNullable<Result["among"]>> {
  const { data } = await compareRdms(all, all, { method: comparison, linalg });
  const n = all.nRdms;
  const info = rdmComparisonMeasures.find(({ name }) => name === `rdm-${comparison}`)!;
  const labels = all.names.map(String);
  const axis = { title: "RDM", labels };
  const d = data.map((_, at) => {
    const [i, j] = [Math.floor(at / n), at % n];
    const both = (data[at]! + data[j * n + i]!) / 2;
    return i === j ? 0 : info.larger === "more alike" ? Math.max(0, 1 - both) : both;
  });
  const distance = info.larger === "more alike" ? "1 - comparison" : "the comparison";
  return {
    values: data,
    section: {
      kind: "matrix",
      id: "among",
      title: "RDMs with each other",
      reading: `How alike every RDM is to every other; larger is ${info.larger}.`,
      measure: measureRecord(info),
      rows: axis,
      columns: axis,
      nStimuli: all.nConditions,
      array: "among.npy",
      floor: null,
      map: n < 3 || comparison === "neg-riemannian" ? null : placed(d, n, distance),
      triangle: null,
    },
  };
}

function placed(d: Float64Array, n: number, distance: string): PointMap | null {
  if (d.some((v) => !(v >= 0 && Number.isFinite(v)))) return null;
  const { points, explained } = classicalMds({ data: d, nRows: n, nColumns: n });
  return {
    distance,
    points: Array.from({ length: n }, (_, i) => [
      points.data[2 * i]! + 0,
      points.data[2 * i + 1]! + 0,
    ]),
    explained: statistic(explained),
  };
}

/** Conditions on a plane, from the mean of the data RDMs. */
function conditionMap(data: Rdms, computed: boolean): PointMap | null {
  const n = data.nConditions;
  const mean = meanRdm(data).data;
  // What is computed here is squared, and may be negative where it is cross-validated.
  const d = squareRdm(mean.map((v) => (computed ? Math.sqrt(Math.max(0, v)) : Math.max(0, v))));
  const what = computed ? "square root of the mean dissimilarity" : "mean dissimilarity";
  return placed(
    d.data,
    n,
    `${what}${mean.some((v) => v < 0) ? ", negative ones taken for 0" : ""}`,
  );
}

function rsaReport(
  read: { readonly data: readonly RdmFile[]; readonly models: readonly RdmFile[] },
  { data, models, computed, comparison, permutation, among, over, warnings }: Result,
  settings: RsaSettings,
  linalg: Pick<Linalg, "backend" | "threads">,
  folder: string,
): { report: Report; arrays: Record<string, ReportArray> } {
  const all = models ? concatRdms([data, models]) : data;
  const allComputed = read.data.every((file) => file.computed);
  const transform = transformTitle(settings.transform);
  const made = !computed
    ? "as given in the files"
    : allComputed
      ? settings.method
      : `${settings.method}, or as given in the files`;
  const method = transform ? `${made}; then ${transform}` : made;
  const section: RdmsSection = {
    kind: "rdms",
    id: "rdms",
    title: "The RDMs",
    reading:
      "Each picture shows how dissimilar every condition is from every other, on colours of its own; its diagonal says nothing.",
    method,
    conditions: data.conditions.map(String),
    rdms: all.names.map((name, i) => ({
      title: String(name),
      role: i < data.nRdms ? "data" : "model",
    })),
    array: "rdms.npy",
    // A transform makes other than squared distances of them.
    map: conditionMap(data, allComputed && transform === null),
  };
  const { comparison: name, draws, test, fdr, byFile, modelMethod, seed } = settings;
  const shape = [all.nRdms, all.nRdms];
  return {
    arrays: {
      "rdms.npy": { data: all.data, shape: [all.nRdms, all.nPairs] },
      ...(among ? { "among.npy": { data: among.values, shape } } : {}),
    },
    report: {
      ...emptyReport("rsa", folder),
      title: models
        ? `${models.nRdms} ${models.nRdms === 1 ? "model" : "models"} of ${data.nRdms} data RDMs`
        : `${data.nRdms} data RDMs`,
      question: models
        ? "Which model predicts the geometry of the data best, and how well could any model do?"
        : "How dissimilar are the conditions, and do the RDMs agree?",
      intervals: { level: 0.95, method: intervalMethod(over, test, comparison) },
      inputs: [
        ...read.data.map(({ file }) => inputOf("data", file)),
        ...read.models.map(({ file }) => inputOf("model", file)),
      ],
      seed,
      settings: {
        rdm: settings.method,
        modelRdm: modelMethod,
        transform,
        comparison: name,
        over,
        draws,
        test,
        fdr,
        byFile,
        permutations: settings.permutations,
        combine: settings.combine.join(",") || null,
        noise: settings.noise ?? null,
        ...linalgRecord(linalg),
      },
      warnings,
      sections: [
        ...(comparison ? [withPermutation(comparison, permutation)] : []),
        section,
        ...(among ? [among.section] : []),
      ],
    },
  };
}

/** What shuffles say stands with the models in a report. */
function withPermutation(
  comparison: ModelComparisonSection,
  permutation: Permutation | undefined,
): ModelComparisonSection {
  if (!permutation) return comparison;
  const each = permutation.models.map(
    ({ name, p, pMax }) => `${name} ${pShown(p)} (${pShown(pMax)})`,
  );
  const reading = `${comparison.reading} Against ${permutation.nDraws} shuffles of the conditions, p of each model, and in brackets against the best of all: ${each.join(", ")}.`;
  return { ...comparison, reading };
}

function intervalMethod(
  over: Over,
  test: ModelTest,
  comparison: ModelComparisonSection | undefined,
): string {
  if (!comparison || comparison.test === null || test === "signed-rank")
    return "none: nothing was drawn, or ranks alone were tested";
  if (test === "bootstrap") return `quantiles of draws (${comparison.design.toLowerCase()})`;
  return over === "none"
    ? "t over RDMs"
    : `t with the spread of draws (${comparison.design.toLowerCase()})`;
}

function asJson(result: Result, folder: string | undefined): object {
  const { data, models, comparison, permutation, ceiling, testedLower, among, warnings } = result;
  const listed = (set: Rdms | undefined): object[] =>
    set
      ? set.names.map((name, k) => ({
          name: String(name),
          dissimilarities: Array.from(
            set.data.subarray(k * set.nPairs, (k + 1) * set.nPairs),
            statistic,
          ),
        }))
      : [];
  return {
    conditions: data.conditions.map(String),
    data: listed(data),
    models: listed(models),
    ceiling,
    testedLower: testedLower ?? null,
    comparison: comparison ?? null,
    permutation: permutation ?? null,
    among: among
      ? {
          names: among.section.rows.labels,
          measure: among.section.measure.name,
          values: Array.from(among.values, statistic),
        }
      : null,
    warnings,
    folder: folder ?? null,
  };
}

function print(
  result: Result,
  { transform, combine }: RsaSettings,
  folder: string | undefined,
  io: Surroundings,
): void {
  const { data, models, comparison, permutation, ceiling, testedLower, among, warnings } = result;
  io.out.write(
    `${data.nRdms} data ${data.nRdms === 1 ? "RDM" : "RDMs"}${models ? `, ${models.nRdms} model ${models.nRdms === 1 ? "RDM" : "RDMs"}` : ""} of ${data.nConditions} conditions\n${transform.length > 0 ? `Transformed: ${transformTitle(transform)}\n` : ""}`,
  );
  if (comparison) printComparison(comparison, io);
  if (permutation) {
    io.out.write(
      `\nConditions of the models shuffled ${permutation.nDraws} times\n${columns([
        ["model", "similarity", "p", "p against the best"],
        ...permutation.models.map(({ name, observed, p, pMax }) => [
          name,
          shown(observed),
          pShown(p),
          pShown(pMax),
        ]),
      ])}`,
    );
  }
  if (ceiling) {
    io.out.write(
      `\nNoise ceiling: ${shown(ceiling.lower)} to ${shown(ceiling.upper)}\n${testedLower === undefined ? "" : `(${testedLowerSaid(testedLower, combine.length > 0)})\n`}`,
    );
  }
  if (!comparison && among) printMatrix(among.section, among.values, io);
  for (const warning of warnings) io.out.write(`\nNote: ${warning}\n`);
  if (folder) printFolder(folder, io);
}

const pShown = (p: number | null): string =>
  p === null ? "undefined" : p < 0.0001 ? "<0.0001" : p.toFixed(4);

function printComparison(section: ModelComparisonSection, io: Surroundings): void {
  const { models, pairs, comparison, design, generalizesTo, test, fdr } = section;
  io.out.write(
    `${comparison.title}\n${design}: ${generalizesTo}${test ? `; ${test} tests, q by Benjamini-Hochberg` : ""}\n\n`,
  );
  const withCeiling = section.ceiling !== null;
  io.out.write(
    columns([
      [
        "model",
        "score",
        "95 % interval",
        "p above 0",
        "q",
        ...(withCeiling ? ["p at ceiling", "q"] : []),
      ],
      ...models.map(({ title, score, zero, ceiling }) => [
        title,
        shown(score.value),
        score.interval ? `${shown(score.interval[0])} to ${shown(score.interval[1])}` : "",
        pShown(zero.p),
        pShown(zero.q),
        ...(withCeiling ? [pShown(ceiling.p), pShown(ceiling.q)] : []),
      ]),
    ]),
  );
  if (pairs.length === 0 || test === null) return;
  const most = 45;
  io.out.write(
    `\n${columns([
      ["difference", "score", "p", "q"],
      ...pairs
        .slice(0, most)
        .map(({ a, b, difference, p, q }) => [
          `${models[a]!.title} - ${models[b]!.title}`,
          shown(difference),
          pShown(p),
          `${pShown(q)}${q !== null && q < fdr ? " *" : ""}`,
        ]),
    ])}`,
  );
  if (pairs.length > most) {
    io.out.write(`... and ${pairs.length - most} more; --json or --out DIR has them all\n`);
  }
}
