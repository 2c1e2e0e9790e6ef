import { ArgumentError } from "@penfield/core";
import type { Table } from "@penfield/report";
import type express from "express";
import type { Request, Response } from "express";
import { NotFound, sendFigure } from "../answers.ts";
import { csvText } from "../csv.ts";
import type { Exhibit } from "../figures/exhibit.ts";
import { censusFigures, censusPage } from "../views/censusView.ts";
import {
  type Comparison,
  compareFigures,
  comparePage,
  compareTable,
  MAX_COMPARED,
} from "../views/compareUnitsView.ts";
import { PAGE_SIZE, searchPage, unitsPage, unitsTable } from "../views/unitsView.ts";
import { unitFigures, unitPage, unitTable } from "../views/unitView.ts";
import { listCensuses } from "./findCensus.ts";
import type { LiveResult, LiveRunner } from "./live.ts";
import {
  hookOf,
  type OpenCensus,
  OpenCensuses,
  unitAddress,
  unitName,
  unitOf,
} from "./openCensuses.ts";
import { ReportLinks } from "./reportLinks.ts";
import { readUnitQuery } from "./unitIndex.ts";
import { readUnitRecord, type UnitRecord } from "./unitRecord.ts";

type Query = Readonly<Record<string, string>>;

/** One thing in its three forms: a page to read, data, and a table. */
interface Shown {
  readonly page: () => string | Promise<string>;
  readonly json: () => unknown | Promise<unknown>;
  readonly table: () => Table | Promise<Table>;
  readonly name: string;
}

type Form = "page" | "json" | "csv";

/** Hits of each kind on a page of search results. */
const N_HITS = 50;

/** Pages of the censuses in a folder, each also as .json and .csv. */
export function addCensusRoutes(
  app: express.Express,
  { folder, live }: { readonly folder: string; readonly live: LiveRunner | undefined },
): void {
  const censuses = new OpenCensuses(folder);
  const around = { censuses, links: new ReportLinks(folder) };

  const find = async (id: string): Promise<OpenCensus> => {
    const open = await censuses.get(id);
    if (!open) throw new NotFound("There is no such census.");
    return open;
  };
  const findUnit = async (request: Request, digits: string): Promise<[OpenCensus, number]> => {
    const open = await find(param(request, "id"));
    const hook = hookOf(open.meta, param(request, "layer"));
    const index = /^\d{1,9}$/.test(digits) ? Number(digits) : Number.NaN;
    if (!hook || !(index < hook.nUnits)) {
      throw new NotFound(
        hook
          ? `Units here are 0 to ${hook.nUnits - 1}.`
          : `There is no such layer; this census has ${open.meta.hooks
              .slice(0, 20)
              .map(({ name }) => name)
              .join(", ")}.`,
      );
    }
    return [open, hook.firstUnit + index];
  };
  const pages: Readonly<Record<string, (open: OpenCensus, query: Query) => Promise<Shown>>> = {
    units: showUnits,
    search: showSearch,
    compare: (open, query) => showComparison(open, query, folder, around),
  };

  app.get("/censuses/:file", async (request, response) => {
    const file = param(request, "file");
    const whole = await censuses.get(file);
    const [id, form] = whole ? [file, "page" as const] : formOf(file);
    await send(response, form, showCensus(whole ?? (await find(id))));
  });
  app.get("/censuses/:id/:file", async (request, response) => {
    const [name, form] = formOf(param(request, "file"));
    const show = Object.hasOwn(pages, name) ? pages[name] : undefined;
    if (!show) throw new NotFound("There is no such page.");
    const open = await find(param(request, "id"));
    await send(response, form, await show(open, queryOf(request)));
  });
  app.get("/censuses/:id/figures/:file", async (request, response) => {
    const open = await find(param(request, "id"));
    await sendExhibit(response, param(request, "file"), censusFigures(open));
  });
  app.get("/censuses/:id/compare/figures/:file", async (request, response) => {
    const open = await find(param(request, "id"));
    const comparison = await readComparison(open, queryOf(request), folder, around);
    await sendExhibit(response, param(request, "file"), compareFigures(comparison));
  });
  app.get("/censuses/:id/units/:layer/:file", async (request, response) => {
    const [digits, form] = formOf(param(request, "file"));
    const [open, unit] = await findUnit(request, digits);
    const { text = "" } = queryOf(request);
    const record = await readUnitRecord(open, unit, around);
    const result =
      live && text !== "" && form !== "csv"
        ? await live.run(text, record.hook, record.index, open.meta.model.sha256)
        : undefined;
    await send(response, form, showUnit(open, record, live && { result }));
  });
  app.get("/censuses/:id/units/:layer/:index/figures/:file", async (request, response) => {
    const [open, unit] = await findUnit(request, param(request, "index"));
    const record = await readUnitRecord(open, unit, around);
    await sendExhibit(response, param(request, "file"), unitFigures(record));
  });
}

const param = (request: Request, name: string): string => String(request.params[name] ?? "");

/** Each key of the query once, as text. */
function queryOf(request: Request): Query {
  return Object.fromEntries(
    Object.entries(request.query).map(([key, value]) => {
      const first = Array.isArray(value) ? value[0] : value;
      return [key, typeof first === "string" ? first : ""];
    }),
  );
}

/** "units.json": the units, as data. */
function formOf(file: string): [name: string, form: Form] {
  const [, name, form] = /^(.+)\.(json|csv)$/.exec(file) ?? [];
  return name === undefined ? [file, "page"] : [name, form as Form];
}

async function send(response: Response, form: Form, shown: Shown): Promise<void> {
  if (form === "json") response.json(await shown.json());
  else if (form === "csv") {
    response.attachment(`${shown.name}.csv`).send(csvText(await shown.table()));
  } else {
    const markup = await shown.page();
    // Forms ask this viewer, and nobody else.
    const policy = String(response.get("Content-Security-Policy"));
    response.set(
      "Content-Security-Policy",
      policy.replace("form-action 'none'", "form-action 'self'"),
    );
    response.send(markup);
  }
}

async function sendExhibit(
  response: Response,
  file: string,
  exhibits: readonly Exhibit[],
): Promise<void> {
  const [, id, form] = /^(.+)\.(csv|svg)$/.exec(file) ?? [];
  const exhibit = exhibits.find((one) => one.id === id);
  if (!exhibit || (form === "svg" && !exhibit.drawing)) {
    throw new NotFound("There is no such figure.");
  }
  await sendFigure(response, exhibit, form as "csv" | "svg");
}

function showCensus(open: OpenCensus): Shown {
  const { meta, index, id } = open;
  const layers = () =>
    meta.hooks.map((hook) => ({
      hook: hook.name,
      nUnits: hook.nUnits,
      ...index.countDescribed(hook),
      types: Object.fromEntries(
        index.countTypes(hook).map((count, i) => [index.typeNames[i] ?? "none", count]),
      ),
    }));
  return {
    name: id,
    page: () => censusPage(open),
    json: () => ({ id, meta, layers: layers() }),
    table: () => ({
      columns: ["hook", "n_units", "n_described", "n_refused", ...index.typeNames, "none"],
      rows: layers().map(({ hook, nUnits, described, refused, types }) => [
        hook,
        nUnits,
        described,
        refused,
        ...Object.values(types),
      ]),
    }),
  };
}

async function showUnits(open: OpenCensus, query: Query): Promise<Shown> {
  const wanted = readUnitQuery(
    query,
    (key) => hookOf(open.meta, key),
    (name) => unitOf(open.meta, name),
  );
  const found = await open.index.find(wanted, PAGE_SIZE);
  const last = found.units.at(-1);
  return {
    name: `${open.id}-units`,
    page: () => unitsPage(open, wanted, found),
    json: async () => {
      const { columns, rows } = await unitsTable(open, found.units);
      return {
        nFound: found.nFound,
        nBefore: found.nBefore,
        next: found.hasMore && last !== undefined ? unitName(open, last) : null,
        units: rows.map((row) => Object.fromEntries(columns.map((name, i) => [name, row[i]]))),
      };
    },
    table: () => unitsTable(open, found.units),
  };
}

async function showSearch(open: OpenCensus, query: Query): Promise<Shown> {
  const { q, how } = readUnitQuery(
    { q: query["q"] ?? "", how: query["how"] ?? "" },
    () => undefined,
    () => undefined,
  );
  const [descriptions, tokens, word] = await Promise.all([
    q === "" ? [] : open.index.findDescriptions({ q, how }, N_HITS),
    q === "" ? [] : open.index.findTokens({ q, how }, N_HITS),
    open.census.words(),
  ]);
  const hits = () => [
    ...descriptions.map((unit) => ({
      unit: unitName(open, unit),
      address: unitAddress(open, unit),
      found: "description",
      text: open.index.sentence(unit),
      score: open.index.r(unit),
    })),
    ...tokens.map(({ unit, token, share }) => ({
      unit: unitName(open, unit),
      address: unitAddress(open, unit),
      found: "token",
      text: word(token),
      score: share,
    })),
  ];
  return {
    name: `${open.id}-search`,
    page: () => searchPage(open, { q, how, descriptions, tokens }, word),
    json: () => ({ q, how, hits: hits() }),
    table: () => ({
      columns: ["unit", "address", "found", "text", "score"],
      rows: hits().map(({ unit, address, found, text, score }) => [
        unit,
        address,
        found,
        text,
        score,
      ]),
    }),
  };
}

function showUnit(
  open: OpenCensus,
  record: UnitRecord,
  live: { readonly result: LiveResult | undefined } | undefined,
): Shown {
  return {
    name: `${open.id}-${record.name}`,
    page: () => unitPage(open, record, live),
    json: () => (live?.result ? { ...record, live: live.result } : record),
    table: () => unitTable(record),
  };
}

type Around = { readonly censuses: OpenCensuses; readonly links: ReportLinks };

async function showComparison(
  open: OpenCensus,
  query: Query,
  folder: string,
  around: Around,
): Promise<Shown> {
  const comparison = await readComparison(open, query, folder, around);
  return {
    name: `${open.id}-compare`,
    page: () => comparePage(comparison),
    json: () => ({
      census: open.id,
      with: comparison.other?.id ?? null,
      units: comparison.units.map(({ record }) => record),
      ...(comparison.units.length === 0 && { models: compareTable(comparison) }),
    }),
    table: () => compareTable(comparison),
  };
}

async function readComparison(
  open: OpenCensus,
  query: Query,
  folder: string,
  around: Around,
): Promise<Comparison> {
  const { n = "", m = "", with: beside = "" } = query;
  const other = beside === "" ? undefined : await around.censuses.get(beside);
  if (beside !== "" && !other) throw new NotFound("There is no such census to compare with.");
  const named = (own: OpenCensus, list: string) =>
    list
      .slice(0, 400)
      .split(",")
      .map((name) => name.trim())
      .filter((name) => name !== "")
      .map((name) => {
        const unit = unitOf(own.meta, name);
        if (unit === undefined) {
          throw new ArgumentError(
            `There is no unit ${JSON.stringify(name.slice(0, 60))} in ${own.id}.`,
            {
              hint: "A unit is named layer.unit, as 3.17.",
            },
          );
        }
        return { own, unit };
      });
  const places = [...named(open, n), ...(other ? named(other, m) : [])];
  if (places.length > MAX_COMPARED) {
    throw new ArgumentError(
      `At most ${MAX_COMPARED} units stand side by side, got ${places.length}.`,
    );
  }
  const listed = await listCensuses(folder);
  return {
    open,
    other,
    units: await Promise.all(
      places.map(async ({ own, unit }) => ({
        record: await readUnitRecord(own, unit, { ...around, kinds: ["top"] }),
        address: unitAddress(own, unit),
      })),
    ),
    query: Object.entries({ n, m, with: beside })
      .filter(([, value]) => value !== "")
      .map(([name, value]) => `${name}=${encodeURIComponent(value)}`)
      .join("&"),
    names: listed.filter((item) => "meta" in item).map(({ name }) => name),
  };
}
