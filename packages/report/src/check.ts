import { FormatError } from "@penfield/core";
import { reportSchema } from "./schema.ts";
import type {
  BrainMapSection,
  DissociationSection,
  IdentificationSection,
  LesionSection,
  MatrixSection,
  ModelComparisonSection,
  RasterSection,
  RateMapSection,
  RdmsSection,
  Report,
  ScoreMapSection,
  Section,
  SelectionSection,
  SimilaritySection,
  TimecoursesSection,
} from "./types.ts";

/** The version that this package writes; it reads no other. */
const VERSION = 1;
const MAX_DEPTH = 32;

type Path = readonly (string | number | symbol)[];
type Fault = { readonly path: Path; readonly expected: string; readonly got: string };

/**
 * Holds a value against the report's schema and against itself: names that are used must be
 * declared, doses must ascend, files and section ids must be unique.
 *
 * @param value - As parsed from JSON, of any origin.
 * @param where - How messages begin, e.g. "readReport: runs/a/report.json".
 * @returns The report with its keys in the schema's order.
 * @throws {FormatError} naming the first field that is wrong.
 */
export function checkReport(value: unknown, where: string): Report {
  const fail = ({ path, expected, got }: Fault, hint?: string): never => {
    throw new FormatError(`${where}: ${fieldName(path)}: expected ${expected}, got ${got}`, {
      hint,
    });
  };
  const odd = findOddity(value);
  if (odd) fail(odd);
  const record = (typeof value === "object" && value !== null ? value : {}) as Partial<Report>;
  if (record.schema !== "penfield.report") {
    const expected = '"penfield.report"';
    fail(
      { path: ["schema"], expected, got: shown(record.schema) },
      "This is not a Penfield report.",
    );
  }
  if (record.version !== VERSION) {
    fail(
      { path: ["version"], expected: String(VERSION), got: shown(record.version) },
      "It was written by another version of Penfield; read it with that one.",
    );
  }
  const parsed = reportSchema.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    if (issue.code === "unrecognized_keys") {
      const path = [...issue.path, issue.keys[0]!];
      fail({ path, expected: "no such field", got: shown(valueAt(value, path)) });
    }
    const expected = issue.message
      .replace(/^Invalid (input|option|string|tuple): (expected )?/, "")
      .replace(/, received .*$/, "")
      .replace(/^(Too \w+): expected \w+ to (be|have) /, "$1; ");
    fail({ path: issue.path, expected, got: shown(valueAt(value, issue.path)) });
  }
  const fault = contradiction(parsed.data!);
  if (fault) fail(fault);
  return parsed.data!;
}

/** Walks without recursion, so that depth itself can be refused. */
function findOddity(value: unknown): Fault | undefined {
  const stack: { value: unknown; path: Path }[] = [{ value, path: [] }];
  while (stack.length > 0) {
    const { value: here, path } = stack.pop()!;
    if (typeof here !== "object" || here === null) continue;
    if (path.length >= MAX_DEPTH) {
      return { path, expected: `at most ${MAX_DEPTH} levels`, got: "a deeper one" };
    }
    for (const [key, inner] of Object.entries(here)) {
      const place = [...path, Array.isArray(here) ? Number(key) : key];
      if (key === "__proto__") return { path: place, expected: "no such field", got: shown(inner) };
      if (typeof inner === "object" && inner !== null) stack.push({ value: inner, path: place });
    }
  }
  return undefined;
}

function contradiction(report: Report): Fault | undefined {
  const seen = new Map<string, number>();
  const files = new Map<string, Path>();
  for (const [index, section] of report.sections.entries()) {
    const at: Path = ["sections", index];
    if (seen.has(section.id)) {
      return { path: [...at, "id"], expected: "an id used once", got: shown(section.id) };
    }
    seen.set(section.id, index);
    for (const [field, file] of sectionFiles(section)) {
      const path = [...at, ...field];
      // Lower case: two names that one file system tells apart may be one file on another.
      const key = file.toLowerCase();
      if (files.has(key)) return { path, expected: "a file named once", got: shown(file) };
      files.set(key, path);
    }
    const inside = sectionFault(section);
    if (inside) return { ...inside, path: [...at, ...inside.path] };
  }
  return undefined;
}

function sectionFault(section: Section): Fault | undefined {
  switch (section.kind) {
    case "selection":
      return selectionFault(section);
    case "lesion":
      return lesionFault(section);
    case "dissociation":
      return dissociationFault(section);
    case "similarity":
      return similarityFault(section);
    case "matrix":
      return matrixFault(section);
    case "rdms":
      return rdmsFault(section);
    case "model-comparison":
      return modelComparisonFault(section);
    case "score-map":
      return scoreMapFault(section);
    case "identification":
      return identificationFault(section);
    case "timecourses":
      return timecoursesFault(section);
    case "raster":
      return rasterFault(section);
    case "rate-map":
      return rateMapFault(section);
    case "brain-map":
      return brainMapFault(section);
    default:
      return undefined;
  }
}

/** The files that a section names, each with the field that names it; "arrays/t.npy". */
function sectionFiles(section: Section): readonly NamedFile[] {
  switch (section.kind) {
    case "selection":
      return Object.entries(section.arrays).map(([key, file]) => [
        ["arrays", key],
        `arrays/${file}`,
      ]);
    case "matrix":
      return [
        [["array"], `arrays/${section.array}`],
        ...(section.floor ? [[["floor", "array"], `arrays/${section.floor.array}`] as const] : []),
      ];
    case "rdms":
      return [[["array"], `arrays/${section.array}`]];
    case "score-map":
      return named(section, ["array", "normalized", "p"]).concat(
        section.subjects ? [[["subjects", "array"], `arrays/${section.subjects.array}`]] : [],
      );
    case "timecourses":
      return named(section, ["times", "array", "low", "high"]);
    case "raster":
      return named(section, ["array"]);
    case "rate-map":
      return named(section, ["units", "array"]);
    case "brain-map":
      return named(section, ["indices", "array"]).concat(
        section.maps.flatMap(({ file }, i) =>
          file === null ? [] : [[["maps", i, "file"], `maps/${file}`]],
        ),
      );
    case "units":
      return [[["table"], `tables/${section.table}`]];
    default:
      return [];
  }
}

type NamedFile = readonly [Path, string];

/** The arrays that a section names in these fields. */
function named<K extends string>(
  section: { readonly [key in K]: string | null },
  fields: readonly K[],
): NamedFile[] {
  return fields.flatMap((field): NamedFile[] =>
    section[field] === null ? [] : [[[field], `arrays/${section[field]}`]],
  );
}

/**
 * Every file that a report names, relative to its folder, in order.
 *
 * @example
 * reportFiles({ sections: [] }).length // => 0
 */
export function reportFiles(report: Pick<Report, "sections">): readonly string[] {
  return report.sections.flatMap((section) => sectionFiles(section).map(([, file]) => file));
}

/** The sizes that an array file of the report must have. */
export function arrayShape(report: Report, file: string): readonly [number, number] | undefined {
  for (const section of report.sections) {
    if (section.kind === "selection" && Object.values(section.arrays).includes(file)) {
      return [section.nLayers, section.nUnits];
    }
    if (section.kind === "matrix" && [section.array, section.floor?.array].includes(file)) {
      return [section.rows.labels.length, section.columns.labels.length];
    }
    if (section.kind === "rdms" && section.array === file) {
      const n = section.conditions.length;
      return [section.rdms.length, (n * (n - 1)) / 2];
    }
    const found = shapesOf(section).find(([name]) => name === file);
    if (found) return found[1];
  }
  return undefined;
}

/** The arrays of sections about recordings and time, with their sizes. */
function shapesOf(
  section: Section,
): readonly (readonly [string | null, readonly [number, number]])[] {
  switch (section.kind) {
    case "score-map": {
      const sizes = [section.rows.labels.length, section.columns.labels.length] as const;
      const { subjects } = section;
      return [
        ...[section.array, section.normalized, section.p].map((file) => [file, sizes] as const),
        ...(subjects
          ? [[subjects.array, [subjects.labels.length, sizes[0] * sizes[1]]] as const]
          : []),
      ];
    }
    case "timecourses": {
      const sizes = [section.series.length, section.nTimes] as const;
      return [
        [section.times, [1, section.nTimes]],
        ...[section.array, section.low, section.high].map((file) => [file, sizes] as const),
      ];
    }
    case "raster":
      return [[section.array, [section.nSpikes, 3]]];
    case "rate-map":
      return [
        [section.units, [1, section.nUnits]],
        [section.array, [section.maps.length, section.nUnits * columnsOf(section)]],
      ];
    case "brain-map":
      return [
        [section.indices, [1, section.nTargets]],
        [section.array, [section.maps.length, section.nTargets]],
      ];
    default:
      return [];
  }
}

function selectionFault(section: SelectionSection): Fault | undefined {
  const { layers, nLayers, nUnits, selected } = section;
  if (layers.length !== nLayers) {
    return { path: ["layers"], expected: `${nLayers} layers`, got: String(layers.length) };
  }
  if (nLayers * nUnits > 2 ** 27) {
    return { path: ["nUnits"], expected: "at most 2^27 units in all", got: shown(nUnits) };
  }
  for (const [i, { layer, nSelected, nSignificant }] of layers.entries()) {
    if (layer !== i) return { path: ["layers", i, "layer"], expected: `${i}`, got: `${layer}` };
    for (const [key, n] of Object.entries({ nSelected, nSignificant })) {
      if (n > nUnits) {
        return { path: ["layers", i, key], expected: `at most ${nUnits} units`, got: `${n}` };
      }
    }
  }
  const total = layers.reduce((sum, layer) => sum + layer.nSelected, 0);
  return total === selected.nSelected
    ? undefined
    : {
        path: ["selected", "nSelected"],
        expected: `the layers' sum, ${total}`,
        got: shown(selected.nSelected),
      };
}

function lesionFault(section: LesionSection): Fault | undefined {
  const { doses, mainDose, tasks } = section;
  if (doses.some((dose, i) => i > 0 && dose <= doses[i - 1]!)) {
    return { path: ["doses"], expected: "ascending doses", got: shown(doses) };
  }
  if (!doses.includes(mainDose)) {
    return { path: ["mainDose"], expected: `one of ${doses.join(", ")}`, got: shown(mainDose) };
  }
  return (
    repeated("tasks", tasks) ??
    undeclared(section, ["curves", "effects", "groups"], "task", tasks) ??
    repeated(
      "curves",
      section.curves.map(({ task, set }) => ({ id: `${task} ${set}` })),
    )
  );
}

function dissociationFault(section: DissociationSection): Fault | undefined {
  const { localizers, tasks } = section;
  return (
    repeated("localizers", localizers) ??
    repeated("tasks", tasks) ??
    undeclared(section, ["cells"], "localizer", localizers) ??
    undeclared(section, ["cells"], "task", tasks) ??
    undeclared(section, ["interactions"], "a", localizers) ??
    undeclared(section, ["interactions"], "b", localizers) ??
    undeclared(section, ["interactions"], "taskA", tasks) ??
    undeclared(section, ["interactions"], "taskB", tasks)
  );
}

/** Values a section draws into a page, so that no file can make it endless. */
const MAX_LABELS = 10_000;

function outside(path: Path, index: number, length: number): Fault | undefined {
  if (index < length) return undefined;
  return { path, expected: `a place from 0 to ${length - 1}`, got: shown(index) };
}

function pairFault(
  list: string,
  pairs: readonly { readonly a: number; readonly b: number }[],
  length: number,
): Fault | undefined {
  for (const [i, { a, b }] of pairs.entries()) {
    const fault = outside([list, i, "a"], a, length) ?? outside([list, i, "b"], b, length);
    if (fault) return fault;
  }
  return undefined;
}

function similarityFault({ items, measures, values }: SimilaritySection): Fault | undefined {
  const names = measures.map(({ name }) => ({ id: name }));
  const known = new Set(measures.map(({ name }) => name));
  const at = values.findIndex(({ measure }) => !known.has(measure));
  if (at >= 0) {
    const expected = "one of the section's measures";
    return { path: ["values", at, "measure"], expected, got: shown(values[at]!.measure) };
  }
  return repeated("measures", names) ?? pairFault("values", values, items.length);
}

function matrixFault({ rows, columns, map }: MatrixSection): Fault | undefined {
  for (const [key, { labels }] of Object.entries({ rows, columns })) {
    if (labels.length > MAX_LABELS) {
      const got = String(labels.length);
      return { path: [key, "labels"], expected: `at most ${MAX_LABELS} labels`, got };
    }
  }
  return mapFault(map, rows.labels.length);
}

function rdmsFault({ conditions, map }: RdmsSection): Fault | undefined {
  if (conditions.length > MAX_LABELS) {
    const got = String(conditions.length);
    return { path: ["conditions"], expected: `at most ${MAX_LABELS} conditions`, got };
  }
  return mapFault(map, conditions.length);
}

function mapFault(map: MatrixSection["map"], length: number): Fault | undefined {
  if (map === null || map.points.length === length) return undefined;
  const got = String(map.points.length);
  return { path: ["map", "points"], expected: `${length} points, one for each label`, got };
}

function modelComparisonFault({ models, pairs }: ModelComparisonSection): Fault | undefined {
  return pairFault("pairs", pairs, models.length);
}

function repeated(list: string, items: readonly { readonly id: string }[]): Fault | undefined {
  const i = items.findIndex(({ id }, at) => items.findIndex((other) => other.id === id) !== at);
  return i < 0
    ? undefined
    : { path: [list, i], expected: "each one once", got: shown(items[i]!.id) };
}

function undeclared<S extends Section>(
  section: S,
  lists: readonly (keyof S & string)[],
  field: string,
  declared: readonly { readonly id: string }[],
): Fault | undefined {
  const ids = new Set(declared.map(({ id }) => id));
  for (const list of lists) {
    for (const [i, item] of (section[list] as readonly Record<string, string>[]).entries()) {
      if (!ids.has(item[field]!)) {
        const expected = ids.size === 0 ? "a declared id" : `one of ${[...ids].join(", ")}`;
        return { path: [list, i, field], expected, got: shown(item[field]) };
      }
    }
  }
  return undefined;
}

const valueAt = (value: unknown, path: Path): unknown =>
  path.reduce<unknown>(
    (here, key) => (here as Record<string | number | symbol, unknown> | undefined)?.[key],
    value,
  );

function shown(value: unknown): string {
  if (value === undefined) return "nothing";
  const text = JSON.stringify(value) ?? typeof value;
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

function fieldName(path: Path): string {
  if (path.length === 0) return "the whole";
  const text = path.reduce<string>(
    (name, key) =>
      typeof key === "number" ? `${name}[${key}]` : name ? `${name}.${String(key)}` : String(key),
    "",
  );
  return text.length > 200 ? `${text.slice(0, 197)}...` : text;
}

const counted = (path: Path, expected: number, what: string, got: number): Fault | undefined =>
  expected === got ? undefined : { path, expected: `${expected} ${what}`, got: String(got) };

function scoreMapFault({ columns, ceiling, floors }: ScoreMapSection): Fault | undefined {
  const n = columns.labels.length;
  const lists = [
    ...(ceiling ? [[["ceiling"], ceiling] as const] : []),
    ...floors.map(({ values }, i) => [["floors", i, "values"], values] as const),
  ];
  for (const [path, values] of lists) {
    const fault = counted(path, n, "values, one for each column", values.length);
    if (fault) return fault;
  }
  return undefined;
}

function identificationFault({
  candidates,
  methods,
  curves,
}: IdentificationSection): Fault | undefined {
  for (const [m, { confusion }] of methods.entries()) {
    const at: Path = ["methods", m, "confusion"];
    const rows = counted(at, candidates.length, "rows", confusion.length);
    if (rows) return rows;
    for (const [i, row] of confusion.entries()) {
      const fault = counted([...at, i], candidates.length, "columns", row.length);
      if (fault) return fault;
    }
  }
  const names = methods.map((method) => method.name);
  const c = curves.findIndex(({ method }) => !names.includes(method));
  return c < 0
    ? undefined
    : { path: ["curves", c, "method"], expected: names.join(", "), got: shown(curves[c]!.method) };
}

function timecoursesFault({ series, spans }: TimecoursesSection): Fault | undefined {
  const s = spans.findIndex((one) => one.series >= series.length || one.from > one.to);
  return s < 0
    ? undefined
    : {
        path: ["spans", s],
        expected: `a span of one of ${series.length} series that does not end before it begins`,
        got: shown(spans[s]),
      };
}

/** Columns of a rate map. */
const columnsOf = ({ columns }: RateMapSection): number =>
  columns.kind === "time" ? columns.nBins : columns.labels.length;

function rateMapFault(section: RateMapSection): Fault | undefined {
  const { columns, maps, nUnits } = section;
  const n = columnsOf(section);
  if (columns.kind === "time" && columns.from >= columns.to) {
    const expected = `more than ${columns.from}, where the first bin begins`;
    return { path: ["columns", "to"], expected, got: shown(columns.to) };
  }
  if (columns.kind === "conditions" && n > MAX_LABELS) {
    const expected = `at most ${MAX_LABELS} labels`;
    return { path: ["columns", "labels"], expected, got: String(n) };
  }
  if (nUnits * n * maps.length > 2 ** 27) {
    const expected = `at most 2^27 values in all, with ${maps.length} maps of ${n} columns`;
    return { path: ["nUnits"], expected, got: shown(nUnits) };
  }
  return rasterFault(section);
}

/** Parts of the units that a page can tell apart. */
const MAX_GROUPS = 1000;

function rasterFault({
  groups,
  nUnits,
}: Pick<RasterSection, "groups" | "nUnits">): Fault | undefined {
  if (groups.length > MAX_GROUPS) {
    const got = String(groups.length);
    return { path: ["groups"], expected: `at most ${MAX_GROUPS} groups`, got };
  }
  const total = groups.reduce((sum, group) => sum + group.nUnits, 0);
  return counted(["groups"], nUnits, "units in all groups", total);
}

function brainMapFault({ shape, nTargets }: BrainMapSection): Fault | undefined {
  const room = shape.reduce((a, b) => a * b, 1);
  return nTargets <= room
    ? undefined
    : { path: ["nTargets"], expected: `at most ${room} voxels`, got: String(nTargets) };
}
