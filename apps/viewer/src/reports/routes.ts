import { basename, resolve } from "node:path";
import { ArgumentError, PenfieldError } from "@penfield/core";
import {
  type Cell,
  type Report,
  readReportArray,
  readReportTable,
  reportFiles,
  type SelectionSection,
  type Table,
} from "@penfield/report";
import type express from "express";
import type { Response } from "express";
import {
  formOf,
  isCanonical,
  NotFound,
  nearest,
  type Shown,
  sendFigure,
  sendShown,
} from "../answers.ts";
import { listCensuses } from "../censuses/findCensus.ts";
import type { OpenCensuses } from "../censuses/openCensuses.ts";
import { csvText } from "../csv.ts";
import type { Exhibit } from "../figures/exhibit.ts";
import { agreementOf, type RdmPair, rdmPairFigures } from "../figures/rdmPair.ts";
import { regionFigure } from "../figures/region.ts";
import { addressWith, type Query, queryOf } from "../query.ts";
import { localizerExhibits, localizerPart, type UnitWords } from "../views/localizerView.ts";
import { rdmPairPart } from "../views/rdmPairView.ts";
import { reportPage, sectionPage, unitLinks } from "../views/reportView.ts";
import { type SectionMaps, sectionExhibits } from "../views/sections.ts";
import { type FoundReport, findReport, MAX_MAP_UNITS, sectionMaps } from "./findReport.ts";
import { type Chosen, chooseUnits, type LocalizerArrays, readThreshold } from "./localizer.ts";

interface Around {
  readonly folder: string;
  readonly censuses: OpenCensuses;
}

/** Pages of the reports in a folder, of their sections one by one, and their files. */
export function addReportRoutes(app: express.Express, around: Around): void {
  const find = (name: string): Promise<FoundReport> => findReport(around.folder, name);

  app.get("/reports/:id", async (request, response) => {
    const { id } = request.params;
    const whole = await find(id).catch((error) => {
      if (error instanceof NotFound && formOf(id)[1] !== "page") return undefined;
      throw error;
    });
    const [name, form] = whole ? [id, "page" as const] : formOf(id);
    const found = whole ?? (await find(name));
    await sendShown(request, response, form, await showReport(found, around));
  });
  app.get("/reports/:id/sections/:file", async (request, response) => {
    const found = await find(request.params.id);
    const { file } = request.params;
    const ids = found.report.sections.map(({ id }) => id);
    const [name, form] = ids.includes(file) ? [file, "page" as const] : formOf(file);
    const { shown, canonical } = await showSection(found, name, queryOf(request), around);
    if (form === "page" && !isCanonical(request, response, canonical)) return;
    await sendShown(request, response, form, shown);
  });
  app.get("/reports/:id/sections/:section/figures/:file", async (request, response) => {
    const found = await find(request.params.id);
    const { section } = request.params;
    const { shown } = await showSection(found, section, queryOf(request), around);
    const [, id, form] = /^(.+)\.(csv|svg)$/.exec(request.params.file) ?? [];
    const exhibit = (await shown.figures()).find((one) => one.id === id);
    if (!exhibit || (form === "svg" && !exhibit.drawing)) {
      throw new NotFound("The section has no such figure.");
    }
    await sendFigure(response, exhibit, form as "csv" | "svg");
  });
  app.get("/reports/:id/report.json", async (request, response) => {
    const { folder } = await find(request.params.id);
    response.sendFile("report.json", { root: resolve(folder), cacheControl: false });
  });
  app.get("/reports/:id/units.csv", async (request, response) => {
    const { folder, report } = await find(request.params.id);
    const units = report.sections.find((section) => section.kind === "units");
    if (!units) throw new NotFound("This report has no table of units.");
    await sendTable(response, { folder, report, table: units.table, name: "units.csv" });
  });
  app.get("/reports/:id/tables/:file", async (request, response) => {
    const { folder, report } = await find(request.params.id);
    const { file } = request.params;
    const table = file.replace(/\.csv$/, ".parquet");
    if (table === file || !reportFiles(report).includes(`tables/${table}`)) {
      throw new NotFound("The report names no such table.");
    }
    await sendTable(response, { folder, report, table, name: file });
  });
  app.get("/reports/:id/files/*path", async (request, response) => {
    const { folder, report } = await find(request.params.id);
    const file = request.params.path.join("/");
    if (!reportFiles(report).includes(file)) {
      throw new NotFound("The report names no such file.");
    }
    response.attachment(basename(file));
    response.sendFile(file, { root: resolve(folder), cacheControl: false });
  });
  app.get("/reports/:id/figures/:file", async (request, response) => {
    const { folder, report } = await find(request.params.id);
    const [, id, form] = /^(.+)\.(csv|svg)$/.exec(request.params.file) ?? [];
    for (const section of report.sections) {
      if (!id?.startsWith(`${section.id}-`)) continue;
      const maps = await sectionMaps(folder, report, section);
      const exhibit = sectionExhibits(section, maps).find((one) => one.id === id);
      if (!exhibit || (form === "svg" && !exhibit.drawing)) continue;
      await sendFigure(response, exhibit, form as "csv" | "svg");
      return;
    }
    throw new NotFound("The report has no such figure.");
  });
}

/** A table file as .csv, made anew at each request. */
async function sendTable(
  response: Response,
  {
    folder,
    report,
    table,
    name,
  }: {
    readonly folder: string;
    readonly report: Report;
    readonly table: string;
    readonly name: string;
  },
): Promise<void> {
  const text = csvText(await readReportTable(folder, report, table));
  response.attachment(name).send(text);
}

async function showReport(found: FoundReport, { folder }: Around): Promise<Shown> {
  const { name, report, base } = found;
  const maps = new Map<string, SectionMaps>();
  for (const section of report.sections) {
    maps.set(section.id, await sectionMaps(found.folder, report, section));
  }
  const exhibits = (): Exhibit[] =>
    report.sections.flatMap((section) => [...sectionExhibits(section, maps.get(section.id))]);
  return {
    name,
    page: async () => reportPage(report, maps, base, await listCensuses(folder)),
    json: () => report,
    table: () => longTable(exhibits()),
    figures: exhibits,
  };
}

/** All numbers of several figures and tables, one on a line. */
function longTable(exhibits: readonly Exhibit[]): Table {
  return {
    columns: ["figure", "row", "column", "value"],
    rows: exhibits.flatMap(({ id, numbers: { columns, rows } }) =>
      rows.flatMap((row, i) =>
        row.map((cell, j): Cell[] => [
          id,
          i + 1,
          columns[j]!,
          typeof cell === "number" && !Number.isFinite(cell) ? null : cell,
        ]),
      ),
    ),
  };
}

/** One section by itself; of localizers with other thresholds, of score maps one region. */
async function showSection(
  found: FoundReport,
  id: string,
  query: Query,
  around: Around,
): Promise<{ readonly shown: Shown; readonly canonical: string }> {
  const { report, base } = found;
  const section = report.sections.find((one) => one.id === id);
  if (!section) {
    const ids = report.sections.map((one) => one.id);
    throw new NotFound(
      "The report has no such section.",
      nearest(id, ids, 20).map((own) => ({
        title: own,
        address: `${base}/sections/${encodeURIComponent(own)}`,
      })),
    );
  }
  const address = `${base}/sections/${encodeURIComponent(id)}`;
  if (section.kind === "selection") return showLocalizer(found, section, address, query, around);
  const maps = await sectionMaps(found.folder, report, section);
  const { column = "" } = query;
  const pair =
    section.kind === "rdms" && maps && "values" in maps
      ? rdmPairOf(section.rdms.length, query)
      : undefined;
  const beside =
    section.kind === "rdms" && pair && maps && "values" in maps
      ? rdmPairFigures(section, maps.values, pair)
      : [];
  const region =
    section.kind === "score-map" && column !== "" && maps && "fields" in maps
      ? regionFigure(section, maps, regionOf(section.columns.labels, column))
      : undefined;
  const exhibits = [...(region ? [region] : []), ...beside, ...sectionExhibits(section, maps)];
  const asked: Record<string, string> = region
    ? { column }
    : pair
      ? { a: String(pair.a + 1), b: String(pair.b + 1) }
      : {};
  return {
    canonical: addressWith(address, asked),
    shown: {
      name: `${found.name}-${id}`,
      page: async () =>
        sectionPage(report, section, maps, {
          ...{ base, address, query: addressWith("", asked).slice(1), region },
          links: unitLinks(report, await listCensuses(around.folder)),
          hasFigures: exhibits.some(({ drawing }) => drawing),
          more: section.kind === "rdms" && rdmPairPart(section, pair, beside, address),
        }),
      json: () => ({
        ...{ report: found.name, section },
        ...(region && { column: region.numbers }),
        ...(section.kind === "rdms" &&
          pair &&
          maps &&
          "values" in maps && { agreement: agreementOf(section, maps.values, pair) }),
      }),
      table: () =>
        section.kind === "units"
          ? readReportTable(found.folder, report, section.table)
          : (region?.numbers ?? beside[0]?.numbers ?? longTable(exhibits)),
      figures: () => exhibits,
    },
  };
}

/** Two RDMs by their numbers, counted from 1; undefined where none are asked for. */
function rdmPairOf(n: number, { a = "", b = "" }: Query): RdmPair | undefined {
  if (a === "" && b === "") return undefined;
  const place = (text: string): number => {
    if (/^\d{1,6}$/.test(text) && Number(text) >= 1 && Number(text) <= n) return Number(text) - 1;
    throw new ArgumentError(
      `RDMs are numbered from 1 to ${n}; there is no ${JSON.stringify(text.slice(0, 40))}.`,
    );
  };
  return { a: place(a), b: place(b) };
}

function regionOf(labels: readonly string[], name: string): number {
  const at = labels.indexOf(name);
  if (at >= 0) return at;
  throw new ArgumentError(`There is no ${JSON.stringify(name.slice(0, 60))} here.`, {
    hint: `Near it: ${nearest(name, labels).join(", ") || labels.slice(0, 10).join(", ")}.`,
  });
}

/** Units in the .csv and .json of a localizer; the arrays have all. */
const MAX_LISTED = 100_000;

async function showLocalizer(
  found: FoundReport,
  section: SelectionSection,
  address: string,
  query: Query,
  around: Around,
): Promise<{ readonly shown: Shown; readonly canonical: string }> {
  const { report, base } = found;
  const threshold = readThreshold(query);
  const arrays = await localizerArrays(found, section);
  const chosen = "problem" in arrays ? undefined : chooseUnits(section, arrays, threshold);
  const data = "problem" in arrays ? undefined : arrays;
  const maps: SectionMaps = "problem" in arrays ? arrays : { t: arrays.t, mask: arrays.mask };
  const asked = addressWith("", {
    t: threshold.t === undefined ? "" : String(threshold.t),
    q: threshold.q === undefined ? "" : String(threshold.q),
  }).slice(1);
  const exhibits = (): readonly Exhibit[] =>
    chosen && data
      ? [...localizerExhibits(section, data, chosen), ...sectionExhibits(section, maps)]
      : sectionExhibits(section, maps);
  const listed = (): Table =>
    chosen && data ? unitTable(section, data, chosen) : { columns: ["layer", "unit"], rows: [] };
  return {
    canonical: `${address}${asked && `?${asked}`}`,
    shown: {
      name: `${found.name}-${section.id}`,
      page: async () => {
        const censuses = await listCensuses(around.folder);
        const links = unitLinks(report, censuses);
        const words = await unitWords(report, around, censuses);
        return sectionPage(report, section, maps, {
          ...{ base, address, query: asked, links },
          hasFigures: true,
          more:
            chosen &&
            data &&
            localizerPart(section, data, chosen, { address, asked, links, words }),
        });
      },
      json: () => {
        const { columns, rows } = listed();
        return {
          ...{ report: found.name, section, threshold },
          nFound: chosen?.units.length ?? null,
          byLayer: chosen?.byLayer ?? null,
          units: rows.map((row) => Object.fromEntries(columns.map((name, i) => [name, row[i]]))),
        };
      },
      table: listed,
      figures: exhibits,
    },
  };
}

function unitTable(
  { nUnits }: SelectionSection,
  { t, q, mask }: LocalizerArrays,
  { units }: Chosen,
): Table {
  return {
    columns: ["layer", "unit", "t", "q", "selected"],
    rows: units
      .slice(0, MAX_LISTED)
      .map((at) => [Math.floor(at / nUnits), at % nUnits, t[at]!, q[at]!, mask[at]!]),
  };
}

async function localizerArrays(
  { folder, report }: FoundReport,
  { nLayers, nUnits, arrays }: SelectionSection,
): Promise<LocalizerArrays | { readonly problem: string }> {
  if (nLayers * nUnits > MAX_MAP_UNITS) {
    return { problem: `it has more than ${MAX_MAP_UNITS} units.` };
  }
  try {
    const [t, q, mask] = await Promise.all(
      [arrays.t, arrays.q, arrays.mask].map(async (name) => {
        const { data } = await readReportArray(folder, report, name);
        return data as ArrayLike<number>;
      }),
    );
    return { t: t!, q: q!, mask: mask! };
  } catch (error) {
    if (error instanceof PenfieldError) return { problem: error.message };
    throw error;
  }
}

/** What a census of the same model says of a unit. */
async function unitWords(
  report: Report,
  { censuses }: Around,
  listed: Awaited<ReturnType<typeof listCensuses>>,
): Promise<UnitWords> {
  const own = listed.find(
    (item) => "meta" in item && item.meta.model.sha256 === report.model?.sha256,
  );
  const open = own && (await censuses.get(own.name).catch(() => undefined));
  if (!open) return () => undefined;
  return (hook, unit) => {
    const place = open.meta.hooks.find(({ name }) => name === hook);
    return place && unit < place.nUnits ? open.index.sentence(place.firstUnit + unit) : undefined;
  };
}
