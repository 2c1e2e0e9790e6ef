import {
  type CrossnobisOptions,
  concatRdms,
  evaluateModels,
  fixedModels,
  type RdmMethod,
  type RdmOptions,
  type Rdms,
  rdmComparisonMeasures,
  rdmMovie,
  type Searchlights,
  searchlightRdms,
  surfaceSearchlights,
  takeRdms,
  testModels,
  volumeSearchlights,
} from "@penfield/compare";
import {
  InterruptedError,
  ShapeError,
  sha256File,
  tensor,
  throwIfAborted,
  UsageError,
} from "@penfield/core";
import { createLinalg, type Linalg, type Matrix } from "@penfield/linalg";
import {
  type BrainMapSection,
  type MatrixSection,
  type Report,
  type ReportArray,
  type ReportMeasure,
  type TimecoursesSection,
  writeReport,
} from "@penfield/report";
import { benjaminiHochberg, studentTQuantile } from "@penfield/stats";
import { type NumberFile, readNumbers } from "../compare/arrayFile.ts";
import { printFolder } from "../compare/print.ts";
import {
  columns,
  distinct,
  emptyReport,
  inputOf,
  linalgRecord,
  measureRecord,
  shown,
} from "../compare/record.ts";
import { openWork } from "../compare/work.ts";
import { numberOption, type Values } from "../options.ts";
import { createProgressBar, type ProgressBar } from "../progressBar.ts";
import type { Surroundings } from "../surroundings.ts";
import {
  checkRuns,
  type NoiseSource,
  type Patterns,
  patternsOf,
  precisionOf,
  readRdmFile,
} from "./rdmFiles.ts";
import type { RsaSettings } from "./rsa.ts";
import { transformed, transformedAtPlaces, transformTitle } from "./transforms.ts";

/** Where RDMs are computed: at times, or around places of a volume or surface. */
export type PlacesWanted =
  | {
      readonly kind: "movie";
      readonly times: string | undefined;
      readonly nBins: number | undefined;
    }
  | {
      readonly kind: "searchlight";
      readonly file: string;
      readonly radius: number;
      readonly rings: number | undefined;
    };

interface MapSettings extends RsaSettings {
  readonly noises: readonly NoiseSource[];
  readonly threads: number | undefined;
  readonly resume: boolean;
}

/** What `--movie` and `--searchlight` say, refusing what they do not go with. */
export function readPlaces(
  values: Values,
  { method }: RsaSettings,
  models: readonly string[],
): PlacesWanted {
  const movie = Boolean(values["movie"]);
  const file = values["searchlight"] as string | undefined;
  const what = movie ? "--movie" : "--searchlight";
  if (movie && file !== undefined) {
    throw new UsageError("rsa: expected --movie or --searchlight, got both");
  }
  const others = movie ? ["radius", "rings"] : ["times", "bins"];
  const odd = [
    ...["combine", "over", "draws", "test", "permutations", "labels", "by-file", "subjects"],
    ...others,
  ].find((name) => values[name] !== undefined);
  if (odd !== undefined) {
    throw new UsageError(`--${odd}: expected without ${what}, got both`, {
      hint: "Maps give each model's score at each place, with t tests over the files.",
    });
  }
  if (models.length === 0) {
    throw new UsageError(`${what}: expected --models to look for, got none`);
  }
  if (method === "poisson-cv") {
    throw new UsageError(`${what}: expected another --rdm, got poisson-cv`);
  }
  if (movie) {
    if (values["noise"] !== undefined && values["residuals"] === undefined) {
      throw new UsageError("--noise: expected --residuals beside it with --movie, got none");
    }
    return {
      kind: "movie",
      times: values["times"] as string | undefined,
      nBins: numberOption(values, "bins", { whole: true, min: 1, max: 1_000_000 }),
    };
  }
  const radius = numberOption(values, "radius", { min: 0.000001, max: 1000 });
  const rings = numberOption(values, "rings", { whole: true, min: 1, max: 1000 });
  if (radius !== undefined && rings !== undefined) {
    throw new UsageError("--radius: expected with voxels, --rings with a surface, got both");
  }
  return { kind: "searchlight", file: file!, radius: radius ?? 2, rings };
}

/** Places in order, and the RDMs of a file at some of them. */
interface Places {
  readonly count: number;
  readonly titles: readonly string[];
  readonly rdmsOf: (file: Prepared, from: number, to: number, linalg: Linalg) => Promise<Rdms>;
}

interface Prepared {
  readonly patterns: Patterns;
  readonly precision: Matrix<Float64Array> | undefined;
}

/** Places whose RDMs are in memory at once, and are kept when interrupted. */
const BLOCK = 64;

/** Scores of models at places; `null` where undefined. */
interface Block {
  /** `[nModels][nPlaces]` each. */
  readonly score: readonly (readonly (number | null)[])[];
  readonly half: readonly (readonly (number | null)[])[];
  readonly p: readonly (readonly (number | null)[])[];
  /** `[nPlaces]` */
  readonly lower: readonly (number | null)[];
  readonly upper: readonly (number | null)[];
}

/** RDMs at every time or place of every file, and how well the models predict them. */
export async function mapModels(
  dataPaths: readonly string[],
  modelPaths: readonly string[],
  settings: MapSettings,
  wanted: PlacesWanted,
  destination: { readonly folder: string; readonly replace: boolean } | undefined,
  io: Surroundings & { readonly json: boolean },
): Promise<void> {
  const bar = createProgressBar(io.err);
  const linalg = createLinalg({ threads: settings.threads });
  try {
    const read = await readAll(dataPaths, modelPaths, settings, wanted, linalg);
    const { places, section } = await placesOf(read.files, wanted, settings);
    const inputs = [
      ...[...read.dataFiles, ...read.modelFiles].map(({ sha256, name }) => [name, sha256]),
      [wanted, settings.method, settings.modelMethod, settings.comparison, settings.noises],
      settings.transform,
      // By content: files may change between a command and its resumption.
      await hashes([
        wanted.kind === "movie" ? wanted.times : wanted.file,
        ...settings.noises.map(({ residuals }) => residuals),
      ]),
    ];
    const { store, clear } = await openWork("rsa-map", inputs, settings.resume);
    const blocks: Block[] = [];
    for (let from = 0; from < places.count; from += BLOCK) {
      const to = Math.min(places.count, from + BLOCK);
      throwIfAborted(io.signal, "rsa");
      bar.onProgress({ stage: "computing RDMs", done: from, total: places.count, unit: "places" });
      const known = (await store.getJson(`${from}`)) as Block | undefined;
      const block = known ?? (await scoreBlock(read, places, from, to, settings, linalg, bar, io));
      if (!known) await store.putJson(`${from}`, block);
      blocks.push(block);
    }
    bar.finish();
    const result = joinBlocks(blocks, read.models, settings);
    if (destination) {
      const { folder, replace } = destination;
      const made = mapReport(read, section, result, settings, linalg, wanted, folder);
      await writeReport(folder, made, { replace });
    }
    await clear();
    if (io.json) {
      const lists = {
        transform: transformTitle(settings.transform),
        places: places.titles,
        models: result.names.map((name, m) => ({
          name,
          score: result.score[m],
          p: result.p[m],
          q: result.q[m],
        })),
        ceiling: { lower: result.lower, upper: result.upper },
        folder: destination?.folder ?? null,
      };
      io.out.write(`${JSON.stringify(lists)}\n`);
    } else {
      printMap(read, places, result, settings, io);
      if (destination) printFolder(destination.folder, io);
    }
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
}

/** Of files, without the name of an array behind a colon; of none, nothing. */
async function hashes(paths: readonly (string | undefined)[]): Promise<readonly string[]> {
  const files = paths.flatMap((path) => (path ? [path.replace(ARRAY_NAME, "$1")] : []));
  const found: string[] = [];
  for (const file of files) found.push(await sha256File(file));
  return found;
}

const ARRAY_NAME = /(\.(?:npz|mat|safetensors)):[^:]+$/i;

interface Read {
  readonly files: readonly Prepared[];
  readonly dataFiles: readonly NumberFile[];
  readonly modelFiles: readonly NumberFile[];
  readonly models: Rdms;
}

async function readAll(
  dataPaths: readonly string[],
  modelPaths: readonly string[],
  { noises, method, modelMethod, transform }: MapSettings,
  wanted: PlacesWanted,
  linalg: Linalg,
): Promise<Read> {
  const dataFiles: NumberFile[] = [];
  const files: Prepared[] = [];
  for (const [i, path] of dataPaths.entries()) {
    const file = await readNumbers("rsa", path, { allowNaN: true });
    const patterns = patternsOf(file, wanted.kind === "movie");
    checkRuns(patterns, method);
    const noise = noises[i];
    dataFiles.push(file);
    files.push({ patterns, precision: noise && (await precisionOf(patterns, noise, linalg)) });
  }
  const modelFiles: NumberFile[] = [];
  const all: Rdms[] = [];
  for (const path of modelPaths) {
    const { file, rdms } = await readRdmFile(path, { kind: "auto", method: modelMethod, linalg });
    modelFiles.push(file);
    all.push(rdms);
  }
  const joined = concatRdms(all);
  const n = files[0]!.patterns.nConditions;
  for (const [{ name }, m] of [
    ...files.map(({ patterns }) => [patterns, patterns.nConditions] as const),
    ...modelFiles.map((file, i) => [file, all[i]!.nConditions] as const),
  ]) {
    if (m !== n) {
      throw new ShapeError(
        `rsa: expected the same conditions in every file, got ${n} in ${files[0]!.patterns.name} and ${m} in ${name}`,
        { hint: "Conditions are matched by position." },
      );
    }
  }
  const conditions = Array.from({ length: n }, (_, i) => i);
  return {
    files,
    dataFiles,
    modelFiles,
    models: {
      ...transformed(joined, transform),
      names: distinct(joined.names.map(String)),
      conditions,
    },
  };
}

/** Options that calcRdm or crossnobis gets. */
function methodOptions(
  { patterns: { conditions, runs }, precision }: Prepared,
  method: MapSettings["method"],
  linalg: Linalg,
): { readonly rdm: RdmOptions } | { readonly crossnobis: CrossnobisOptions } {
  const shared = { conditions, linalg, ...(precision ? { precision } : {}) };
  return method === "crossnobis"
    ? { crossnobis: { ...shared, runs } }
    : { rdm: { ...shared, method: method as RdmMethod } };
}

type Draw = (
  read: Read,
  result: MapResult,
) => {
  readonly sections: Report["sections"];
  readonly arrays: Readonly<Record<string, ReportArray>>;
};

async function placesOf(
  files: readonly Prepared[],
  wanted: PlacesWanted,
  { method }: MapSettings,
): Promise<{ readonly places: Places; readonly section: Draw }> {
  return wanted.kind === "movie"
    ? moviePlaces(files, wanted, method)
    : lightPlaces(files, wanted, method);
}

async function moviePlaces(
  files: readonly Prepared[],
  { times: timeFile, nBins }: Extract<PlacesWanted, { kind: "movie" }>,
  method: MapSettings["method"],
): Promise<{ readonly places: Places; readonly section: Draw }> {
  const { nTimes } = files[0]!.patterns;
  checkSame(files, "times", ({ nTimes: n }) => n);
  const given = timeFile === undefined ? undefined : await readNumbers("rsa", timeFile);
  if (given && given.data.length !== nTimes) {
    throw new ShapeError(
      `rsa: ${given.name}: expected ${nTimes} times, as the data have, got ${given.data.length}`,
    );
  }
  const times = given?.data ?? Float64Array.from({ length: nTimes }, (_, i) => i);
  const count = Math.min(nBins ?? nTimes, nTimes);
  const bins = Array.from({ length: count }, (_, b) =>
    Array.from(
      times.subarray(Math.floor((b * nTimes) / count), Math.floor(((b + 1) * nTimes) / count)),
    ),
  );
  const centers = bins.map((bin) => bin.reduce((sum, t) => sum + t, 0) / bin.length);
  return {
    places: {
      count,
      titles: centers.map((t) => `${Number(t.toPrecision(6))}`),
      rdmsOf: (file, from, to, linalg) => {
        const { data, nRuns, nConditions, nChannels } = file.patterns;
        const x = tensor(
          data,
          ["stimulus", "unit", "time"],
          [nRuns * nConditions, nChannels, nTimes],
        );
        return rdmMovie(x, {
          ...methodOptions(file, method, linalg),
          times,
          bins: bins.slice(from, to),
        });
      },
    },
    section: (_read, result) => {
      const series = [
        ...result.names.map((title) => ({ title, group: "models" })),
        { title: "noise ceiling, lower", group: "ceiling" },
        { title: "noise ceiling, upper", group: "ceiling" },
      ];
      const rows = [...result.score, result.lower, result.upper];
      const ends = (sign: 1 | -1) =>
        rows.flatMap((row, m) => {
          const half = result.half[m];
          return row.map((v, i) =>
            v === null || half?.[i] == null ? Number.NaN : v + sign * half[i]!,
          );
        });
      const section: TimecoursesSection = {
        kind: "timecourses",
        id: "movie",
        title: "How well each model predicts the geometry, over time",
        reading:
          "A model's curve between both ceilings explains what subjects share at that time. Bands: 95 % intervals over files, of each time by itself.",
        x: given ? "time" : "sample",
        y: "score",
        nTimes: count,
        times: "times.npy",
        series,
        array: "movie.npy",
        low: result.tested ? "movie-low.npy" : null,
        high: result.tested ? "movie-high.npy" : null,
        spans: [],
        lines: [{ title: "no relation", value: 0 }],
      };
      const shape = [series.length, count];
      const flat = rows.flatMap((row) => row.map((v) => v ?? Number.NaN));
      return {
        sections: [section],
        arrays: {
          "times.npy": { data: Float64Array.from(centers), shape: [1, count] },
          "movie.npy": { data: Float64Array.from(flat), shape },
          ...(result.tested
            ? {
                "movie-low.npy": { data: Float64Array.from(ends(-1)), shape },
                "movie-high.npy": { data: Float64Array.from(ends(1)), shape },
              }
            : {}),
        },
      };
    },
  };
}

async function lightPlaces(
  files: readonly Prepared[],
  { file, radius, rings }: Extract<PlacesWanted, { kind: "searchlight" }>,
  method: MapSettings["method"],
): Promise<{ readonly places: Places; readonly section: Draw }> {
  const { nChannels } = files[0]!.patterns;
  checkSame(files, "channels", ({ nChannels: n }) => n);
  const given = await readNumbers("rsa", file);
  const surface = rings === undefined ? undefined : surfaceOf(given, nChannels, rings);
  const volume = surface ? undefined : volumeOf(given, nChannels, radius);
  const lights = (surface ?? volume!.lights) satisfies Searchlights;
  const count = lights.centers.length;
  return {
    places: {
      count,
      titles: Array.from(lights.centers, (at) => volume?.titles[at] ?? `${at}`),
      rdmsOf: (one, from, to, linalg) => {
        const { data, nRuns, nConditions } = one.patterns;
        const x = tensor(data, ["stimulus", "unit"], [nRuns * nConditions, nChannels]);
        const part = {
          centers: lights.centers.slice(from, to),
          neighbors: lights.neighbors.slice(from, to),
        };
        return searchlightRdms(x, part, methodOptions(one, method, linalg));
      },
    },
    section: (read, result) => {
      const maps = Float64Array.from(
        result.score.flatMap((row) => row.map((v) => v ?? Number.NaN)),
      );
      const shape = [result.names.length, count];
      const arrays = { "searchlight.npy": { data: maps, shape } };
      const reading =
        "The score of each model around each place, mean over files. A high score next to a low noise ceiling is as good as a place can tell.";
      if (!volume) {
        const section: MatrixSection = {
          kind: "matrix",
          id: "searchlight",
          title: "Models around every vertex",
          reading,
          measure: result.measure,
          rows: { title: "model", labels: result.names },
          columns: { title: "vertex", labels: Array.from(lights.centers, String) },
          nStimuli: read.models.nConditions,
          array: "searchlight.npy",
          floor: null,
          map: null,
          triangle: null,
        };
        return { sections: [section], arrays };
      }
      const [nx, ny] = volume.shape;
      const indices = Float64Array.from(lights.centers, (at) => {
        const [i, j, k] = volume.coordinates[at]!;
        return i + nx * (j + ny * k);
      });
      const section: BrainMapSection = {
        kind: "brain-map",
        id: "searchlight",
        title: "Models around every voxel",
        reading,
        shape: volume.shape,
        affine: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1],
        nTargets: count,
        indices: "voxels.npy",
        array: "searchlight.npy",
        maps: result.names.map((title) => ({ title, file: null })),
      };
      return {
        sections: [section],
        arrays: { ...arrays, "voxels.npy": { data: indices, shape: [1, count] } },
      };
    },
  };
}

function checkSame(
  files: readonly Prepared[],
  what: string,
  of: (patterns: Patterns) => number,
): void {
  const [first] = files;
  for (const { patterns } of files) {
    const [n, m] = [of(first!.patterns), of(patterns)];
    if (n !== m) {
      throw new ShapeError(
        `rsa: expected as many ${what} in every file, got ${n} in ${first!.patterns.name} and ${m} in ${patterns.name}`,
      );
    }
  }
}

type Voxel = readonly [number, number, number];

/** Voxels `[nChannels, 3]`, or a mask `[nx, ny, nz]` whose voxels other than 0 are the channels, row-major. */
function volumeOf({ name, data, shape }: NumberFile, nChannels: number, radius: number) {
  const coordinates: Voxel[] = [];
  let size: Voxel;
  if (shape.length === 3) {
    size = shape as unknown as Voxel;
    data.forEach((v, at) => {
      const [ny, nz] = [size[1], size[2]];
      if (v !== 0)
        coordinates.push([Math.floor(at / (ny * nz)), Math.floor(at / nz) % ny, at % nz]);
    });
  } else if (shape.length === 2 && shape[1] === 3) {
    const most = [0, 0, 0];
    for (let i = 0; i < shape[0]!; i++) {
      const place = [0, 1, 2].map((axis) => data[3 * i + axis]!);
      if (place.some((v) => !Number.isInteger(v) || v < 0)) {
        throw new ShapeError(
          `rsa: ${name}: expected voxels as whole numbers of at least 0, got [${place.join(", ")}] in row ${i}`,
          { hint: "Millimetres become voxels by the inverse of the image's affine." },
        );
      }
      place.forEach((v, axis) => {
        most[axis] = Math.max(most[axis]!, v + 1);
      });
      coordinates.push(place as unknown as Voxel);
    }
    size = most as unknown as Voxel;
  } else {
    throw new ShapeError(
      `rsa: ${name}: expected voxels [nChannels, 3] or a mask [nx, ny, nz], got [${shape.join(", ")}]`,
      { hint: "Triangles or edges of a surface go with --rings." },
    );
  }
  if (coordinates.length !== nChannels) {
    throw new ShapeError(
      `rsa: ${name}: expected ${nChannels} voxels, one for each channel, got ${coordinates.length}`,
    );
  }
  const [, ny, nz] = size;
  const mask = new Float64Array(size[0] * ny * nz);
  const channelOf = new Int32Array(mask.length);
  coordinates.forEach(([i, j, k], channel) => {
    mask[(i * ny + j) * nz + k] = 1;
    channelOf[(i * ny + j) * nz + k] = channel;
  });
  const found = volumeSearchlights(mask, [size[0], ny, nz], {
    radius,
    threshold: 0,
    truncate: true,
  });
  return {
    shape: size,
    coordinates,
    titles: coordinates.map((place) => place.join(" ")),
    lights: {
      centers: found.centers.map((at) => channelOf[at]!),
      neighbors: found.neighbors.map((list) => list.map((at) => channelOf[at]!)),
    },
  };
}

/** Triangles `[nTriangles, 3]` or edges `[nEdges, 2]` between channels. */
function surfaceOf(
  { name, data, shape }: NumberFile,
  nChannels: number,
  rings: number,
): Searchlights {
  const width = shape[1] ?? 0;
  if (shape.length !== 2 || (width !== 2 && width !== 3)) {
    throw new ShapeError(
      `rsa: ${name}: expected triangles [nTriangles, 3] or edges [nEdges, 2], got [${shape.join(", ")}]`,
    );
  }
  const edges = Array.from({ length: shape[0]! }, (_, i) =>
    Array.from(data.subarray(i * width, (i + 1) * width)),
  );
  return surfaceSearchlights(edges, nChannels, { rings });
}

const statistic = (value: number | undefined): number | null =>
  value !== undefined && Number.isFinite(value) ? value : null;

async function scoreBlock(
  { files, models }: Read,
  places: Places,
  from: number,
  to: number,
  { comparison, transform }: MapSettings,
  linalg: Linalg,
  bar: ProgressBar,
  { signal }: Surroundings,
): Promise<Block> {
  const all: Rdms[] = [];
  for (const file of files) {
    throwIfAborted(signal, "rsa");
    all.push(transformedAtPlaces(await places.rdmsOf(file, from, to, linalg), transform));
  }
  const fixed = fixedModels(models);
  const n = files.length;
  const quantile = n < 2 ? Number.NaN : studentTQuantile(0.975, n - 1);
  const block = {
    score: fixed.map((): (number | null)[] => []),
    half: fixed.map((): (number | null)[] => []),
    p: fixed.map((): (number | null)[] => []),
    lower: [] as (number | null)[],
    upper: [] as (number | null)[],
  };
  for (let at = from; at < to; at++) {
    // Small comparisons never let Ctrl-C through by themselves.
    if (at % 16 === 0) await new Promise((resume) => setImmediate(resume));
    throwIfAborted(signal, "rsa");
    const data = concatRdms(
      all.map((one, i) => ({
        ...takeRdms(one, [at - from]),
        names: [i],
        conditions: models.conditions,
      })),
    );
    const found = sharePair(data, models)
      ? await evaluateModels(fixed, data, { method: comparison, linalg })
      : undefined;
    const p = found?.variances && n > 1 ? testModels(found).zero : undefined;
    fixed.forEach((_, m) => {
      block.score[m]!.push(statistic(found?.means[m]));
      block.half[m]!.push(
        statistic(quantile * Math.sqrt(found?.variances?.models[m] ?? Number.NaN)),
      );
      block.p[m]!.push(statistic(p?.[m]));
    });
    block.lower.push(n < 2 ? null : statistic(found?.ceiling.lower[0]));
    block.upper.push(n < 2 ? null : statistic(found?.ceiling.upper[0]));
    if (at % 16 === 0) {
      bar.onProgress({ stage: "comparing", done: at, total: places.count, unit: "places" });
    }
  }
  return block;
}

/** Whether any pair of conditions is in all RDMs: where channels are silent, correlation distances are of none. */
function sharePair(...sets: readonly Rdms[]): boolean {
  return Array.from({ length: sets[0]!.nPairs }, (_, at) => at).some((at) =>
    sets.every(({ data, nRdms, nPairs }) => {
      for (let k = 0; k < nRdms; k++) if (Number.isNaN(data[k * nPairs + at]!)) return false;
      return true;
    }),
  );
}

type Rows = readonly (readonly (number | null)[])[];

interface MapResult {
  readonly names: readonly string[];
  readonly measure: ReportMeasure;
  /** `[nModels][nPlaces]` */
  readonly score: Rows;
  readonly half: Rows;
  readonly p: Rows;
  /** Benjamini-Hochberg over models and places. */
  readonly q: Rows;
  readonly lower: readonly (number | null)[];
  readonly upper: readonly (number | null)[];
  /** False with one file: nothing to test over. */
  readonly tested: boolean;
}

function joinBlocks(
  blocks: readonly Block[],
  models: Rdms,
  { comparison }: MapSettings,
): MapResult {
  const joined = (of: (block: Block) => Rows): Rows =>
    models.names.map((_, m) => blocks.flatMap((block) => of(block)[m]!));
  const p = joined((block) => block.p);
  const defined = p.flat().filter((v) => v !== null);
  const adjusted = defined.length === 0 ? [] : benjaminiHochberg(defined);
  let at = 0;
  const info = rdmComparisonMeasures.find(({ name }) => name === `rdm-${comparison}`)!;
  return {
    names: models.names.map(String),
    measure: measureRecord(info),
    score: joined((block) => block.score),
    half: joined((block) => block.half),
    p,
    q: p.map((row) => row.map((v) => (v === null ? null : statistic(adjusted[at++])))),
    lower: blocks.flatMap(({ lower }) => lower),
    upper: blocks.flatMap(({ upper }) => upper),
    tested: defined.length > 0,
  };
}

function mapReport(
  read: Read,
  draw: Draw,
  result: MapResult,
  settings: MapSettings,
  linalg: Linalg,
  wanted: PlacesWanted,
  folder: string,
): { readonly report: Report; readonly arrays: Readonly<Record<string, ReportArray>> } {
  const { sections, arrays } = draw(read, result);
  const movie = wanted.kind === "movie";
  const { method, modelMethod, transform, comparison, noise, seed } = settings;
  const nFiles = read.files.length;
  return {
    arrays,
    report: {
      ...emptyReport(movie ? "rsa-movie" : "rsa-searchlight", folder),
      title: `${result.names.length} ${result.names.length === 1 ? "model" : "models"} ${movie ? "over time" : "at every place"}`,
      question: movie
        ? "When does which model predict the geometry of the data?"
        : "Where does which model predict the geometry of the data?",
      intervals: {
        level: 0.95,
        method: result.tested
          ? `t over ${nFiles} files, of each ${movie ? "time" : "place"} by itself`
          : "none: one file",
      },
      inputs: [
        ...read.dataFiles.map((file) => inputOf("data", file)),
        ...read.modelFiles.map((file) => inputOf("model", file)),
      ],
      seed,
      settings: {
        rdm: method,
        modelRdm: modelMethod,
        transform: transformTitle(transform),
        comparison,
        noise: noise ?? null,
        ...(movie
          ? { bins: wanted.nBins ?? null }
          : {
              radius: wanted.rings === undefined ? wanted.radius : null,
              rings: wanted.rings ?? null,
            }),
        ...linalgRecord(linalg),
      },
      warnings: warningsOf(read, result),
      sections,
    },
  };
}

function warningsOf({ files }: Read, { names, score, measure }: MapResult): readonly string[] {
  const nPlaces = score[0]!.length;
  return [
    ...(files.length < 2
      ? ["There is one file: no noise ceiling, no intervals and no tests over subjects."]
      : []),
    ...(measure.larger === "less alike"
      ? [`${measure.name}: larger is less alike; the best model has the lowest score.`]
      : []),
    ...names.flatMap((name, m) => {
      const absent = score[m]!.filter((v) => v === null).length;
      return absent === 0
        ? []
        : [`${name}: its score is undefined at ${absent} of ${nPlaces} places.`];
    }),
  ];
}

function printMap(
  read: Read,
  { titles, count }: Places,
  result: MapResult,
  { fdr, transform }: MapSettings,
  io: Surroundings,
): void {
  const nFiles = read.files.length;
  const { names, score, q, lower, upper, measure } = result;
  io.out.write(
    `${nFiles} ${nFiles === 1 ? "file" : "files"}, ${names.length} ${names.length === 1 ? "model" : "models"}, ${count} places\n${transform.length > 0 ? `Transformed: ${transformTitle(transform)}\n` : ""}${measure.title}; t tests over files, q by Benjamini-Hochberg over models and places\n\n`,
  );
  const rows = names.map((name, m) => {
    const values = score[m]!;
    const sign = measure.larger === "more alike" ? 1 : -1;
    let best = -1;
    values.forEach((v, i) => {
      if (v !== null && (best < 0 || sign * v > sign * values[best]!)) best = i;
    });
    const passed = q[m]!.filter((v) => v !== null && v <= fdr).length;
    return [
      name,
      best < 0 ? "" : titles[best]!,
      shown(values[best]),
      best < 0 || lower[best] === null ? "" : `${shown(lower[best])} to ${shown(upper[best])}`,
      result.tested ? shown(q[m]![best]) : "",
      result.tested ? `${passed} of ${count}` : "",
    ];
  });
  io.out.write(
    columns([["model", "best at", "score", "noise ceiling", "q", `q <= ${fdr}`], ...rows]),
  );
  for (const warning of warningsOf(read, result)) io.out.write(`\nNote: ${warning}\n`);
}
