import { ArgumentError } from "@penfield/core";
import type express from "express";
import type { Request, Response } from "express";
import {
  formOf,
  isCanonical,
  NotFound,
  nearest,
  type Shown,
  sendFigure,
  sendShown,
} from "../answers.ts";
import type { Exhibit } from "../figures/exhibit.ts";
import { addressWith, type Query, queryOf } from "../query.ts";
import { censusFigures, censusPage, censusTable } from "../views/censusView.ts";
import {
  type Comparison,
  compareFigures,
  comparePage,
  compareTable,
  MAX_COMPARED,
} from "../views/compareUnitsView.ts";
import { setsFigures, setsPage, setsTable } from "../views/setsView.ts";
import {
  foundFigure,
  PAGE_SIZE,
  searchPage,
  unitsAddress,
  unitsPage,
  unitsTable,
} from "../views/unitsView.ts";
import { readShading, unitFigures, unitPage, unitTable } from "../views/unitView.ts";
import { listCensuses } from "./findCensus.ts";
import type { LiveResult, LiveRunner } from "./live.ts";
import {
  hookKey,
  hookOf,
  type OpenCensus,
  type OpenCensuses,
  unitAddress,
  unitName,
  unitOf,
} from "./openCensuses.ts";
import { partnersOf } from "./partners.ts";
import { ReportLinks } from "./reportLinks.ts";
import { readUnitQuery } from "./unitIndex.ts";
import { readUnitRecord, type UnitRecord } from "./unitRecord.ts";

/** A page, and the address that it should have. */
interface Addressed extends Shown {
  readonly canonical: string;
}

/** Hits of each kind on a page of search results. */
const N_HITS = 50;

/** Pages of the censuses in a folder, each also as .json, .csv and .svg. */
export function addCensusRoutes(
  app: express.Express,
  {
    folder,
    censuses,
    live,
  }: {
    readonly folder: string;
    readonly censuses: OpenCensuses;
    readonly live: LiveRunner | undefined;
  },
): void {
  const around: Around = { censuses, links: new ReportLinks(folder), folder };

  const find = async (id: string): Promise<OpenCensus> => {
    const open = await censuses.get(id);
    if (open) return open;
    const names = (await listCensuses(folder)).map(({ name }) => name);
    throw new NotFound(
      "There is no such census.",
      nearest(id, names).map((name) => ({
        title: name,
        address: `/censuses/${encodeURIComponent(name)}`,
      })),
    );
  };
  const findUnit = async (request: Request, digits: string): Promise<[OpenCensus, number]> => {
    const open = await find(param(request, "id"));
    const hook = hookOf(open.meta, param(request, "layer"));
    const index = /^\d{1,9}$/.test(digits) ? Number(digits) : Number.NaN;
    if (hook && index < hook.nUnits) return [open, hook.firstUnit + index];
    const wanted = Number.isNaN(index) ? 0 : index;
    const hooks = hook ? [hook] : nearestHooks(open, param(request, "layer"));
    throw new NotFound(
      hook
        ? `Units here are 0 to ${hook.nUnits - 1}.`
        : `There is no such layer; this census has ${open.meta.hooks
            .slice(0, 20)
            .map(({ name }) => name)
            .join(", ")}.`,
      hooks.map((one) => {
        const unit = one.firstUnit + Math.min(wanted, one.nUnits - 1);
        return { title: `unit ${unitName(open, unit)}`, address: unitAddress(open, unit) };
      }),
    );
  };
  const pages: Readonly<Record<string, (open: OpenCensus, query: Query) => Promise<Addressed>>> = {
    units: (open, query) => showUnits(open, query, around),
    search: showSearch,
    compare: (open, query) => showComparison(open, query, around),
    sets: (open) => showSets(open, around),
  };
  const showPage = async (request: Request, name: string): Promise<Addressed> => {
    const show = Object.hasOwn(pages, name) ? pages[name] : undefined;
    if (!show) {
      const base = `/censuses/${encodeURIComponent(param(request, "id"))}`;
      throw new NotFound(
        "There is no such page.",
        nearest(name, Object.keys(pages)).map((own) => ({ title: own, address: `${base}/${own}` })),
      );
    }
    return show(await find(param(request, "id")), queryOf(request));
  };

  app.get("/censuses/:file", async (request, response) => {
    const file = param(request, "file");
    const whole = await censuses.get(file);
    const [id, form] = whole ? [file, "page" as const] : formOf(file);
    await sendShown(request, response, form, showCensus(whole ?? (await find(id))));
  });
  app.get("/censuses/:id/:file", async (request, response) => {
    const [name, form] = formOf(param(request, "file"));
    const shown = await showPage(request, name);
    if (form === "page" && !isCanonical(request, response, shown.canonical)) return;
    await sendShown(request, response, form, shown);
  });
  app.get("/censuses/:id/figures/:file", async (request, response) => {
    const open = await find(param(request, "id"));
    await sendExhibit(response, param(request, "file"), censusFigures(open));
  });
  app.get("/censuses/:id/:page/figures/:file", async (request, response) => {
    const shown = await showPage(request, param(request, "page"));
    await sendExhibit(response, param(request, "file"), await shown.figures());
  });
  app.get("/censuses/:id/units/:layer/:file", async (request, response) => {
    const [digits, form] = formOf(param(request, "file"));
    const [open, unit] = await findUnit(request, digits);
    const query = queryOf(request);
    const shading = readShading(query["shade"]);
    const text = live ? (query["text"] ?? "").replaceAll("\r\n", "\n") : "";
    const canonical = addressWith(unitAddress(open, unit), {
      text,
      shade: shading === "unit" ? "" : shading,
    });
    if (form === "page" && !isCanonical(request, response, canonical)) return;
    const record = await readUnitRecord(open, unit, around);
    const result =
      live && text !== "" && (form === "page" || form === "json")
        ? await live.run(text, record.hook, record.index, open.meta.model.sha256)
        : undefined;
    const page = () => unitPage(open, record, { shading, live: live && { result } });
    await sendShown(request, response, form, showUnit(open, record, page, result));
  });
  app.get("/censuses/:id/units/:layer/:index/figures/:file", async (request, response) => {
    const [open, unit] = await findUnit(request, param(request, "index"));
    const record = await readUnitRecord(open, unit, around);
    await sendExhibit(response, param(request, "file"), unitFigures(record));
  });
}

type Around = {
  readonly censuses: OpenCensuses;
  readonly links: ReportLinks;
  readonly folder: string;
};

const param = (request: Request, name: string): string => String(request.params[name] ?? "");

/** Layers near a number, or hook points with a name like it. */
function nearestHooks({ meta }: OpenCensus, key: string): OpenCensus["meta"]["hooks"] {
  const layer = /^\d{1,7}$/.test(key) ? Number(key) : undefined;
  if (layer === undefined) {
    const names = nearest(key, meta.hooks.map(({ name }) => name).slice(0, 2000), 3);
    return meta.hooks.filter(({ name }) => names.includes(name));
  }
  const far = (hook: (typeof meta.hooks)[number]): number =>
    hook.layer === null ? Number.POSITIVE_INFINITY : Math.abs(hook.layer - layer);
  return [...meta.hooks].sort((a, b) => far(a) - far(b)).slice(0, 3);
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
  return {
    name: id,
    page: () => censusPage(open),
    json: () => ({
      id,
      meta,
      layers: meta.hooks.map((hook) => ({
        hook: hook.name,
        nUnits: hook.nUnits,
        ...index.countDescribed(hook),
        types: Object.fromEntries(
          index.countTypes(hook).map((count, i) => [index.typeNames[i] ?? "none", count]),
        ),
      })),
    }),
    table: () => censusTable(open),
    figures: () => censusFigures(open),
  };
}

async function showSets(open: OpenCensus, { links }: Around): Promise<Addressed> {
  const sets = await links.sets(open);
  return {
    name: `${open.id}-sets`,
    canonical: `${open.base}/sets`,
    page: () => setsPage(open, sets),
    json: () => ({
      census: open.id,
      sets: sets.map(({ mask, ...rest }) => ({
        ...rest,
        units: Array.from(mask.keys())
          .filter((unit) => mask[unit] === 1)
          .map((unit) => unitName(open, unit)),
      })),
      table: setsTable(open, sets),
    }),
    table: () => setsTable(open, sets),
    figures: () => setsFigures(open, sets),
  };
}

async function showUnits(open: OpenCensus, query: Query, { links }: Around): Promise<Addressed> {
  const asked = readUnitQuery(
    query,
    (key) => hookOf(open.meta, key),
    (name) => unitOf(open.meta, name),
  );
  const sets = await links.sets(open);
  const set = sets.find(({ name }) => name === query["set"]);
  if (query["set"] && !set) {
    const names = sets.map(({ name }) => name).join(", ");
    throw new ArgumentError(
      `There is no set ${JSON.stringify(query["set"].slice(0, 60))} of units of this model.`,
      { hint: names === "" ? undefined : `There are ${names}.` },
    );
  }
  const wanted = { ...asked, set };
  // Not before it is known that the address is the canonical one.
  const find = () => open.index.find(wanted, PAGE_SIZE);
  return {
    name: `${open.id}-units`,
    canonical: unitsAddress(open, wanted),
    page: async () => unitsPage(open, wanted, await find(), sets),
    json: async () => {
      const found = await find();
      const last = found.units.at(-1);
      const { columns, rows } = await unitsTable(open, found.units);
      return {
        nFound: found.nFound,
        nBefore: found.nBefore,
        byLayer: Object.fromEntries(
          open.meta.hooks.map((hook, i) => [hookKey(open.meta, hook), found.byHook[i]!]),
        ),
        next: found.hasMore && last !== undefined ? unitName(open, last) : null,
        units: rows.map((row) => Object.fromEntries(columns.map((name, i) => [name, row[i]]))),
      };
    },
    table: async () => unitsTable(open, (await find()).units),
    figures: async () => [foundFigure(open, (await find()).byHook)],
  };
}

async function showSearch(open: OpenCensus, query: Query): Promise<Addressed> {
  const { q, how } = readUnitQuery(
    { q: query["q"] ?? "", how: query["how"] ?? "" },
    () => undefined,
    () => undefined,
  );
  const word = await open.census.words();
  const find = async () => {
    const [{ units: descriptions, nFound }, tokens] = await Promise.all([
      q === "" ? { units: [], nFound: 0 } : open.index.findDescriptions({ q, how }, N_HITS),
      q === "" ? [] : open.index.findTokens({ q, how }, N_HITS),
    ]);
    return { q, how, descriptions, nFound, tokens };
  };
  const hits = ({ descriptions, tokens }: Awaited<ReturnType<typeof find>>) => [
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
    canonical: addressWith(`${open.base}/search`, { q, how: how === "text" ? "" : how }),
    page: async () => searchPage(open, await find(), word),
    json: async () => ({ q, how, hits: hits(await find()) }),
    table: async () => ({
      columns: ["unit", "address", "found", "text", "score"],
      rows: hits(await find()).map(({ unit, address, found, text, score }) => [
        unit,
        address,
        found,
        text,
        score,
      ]),
    }),
    figures: () => [],
  };
}

function showUnit(
  open: OpenCensus,
  record: UnitRecord,
  page: () => string,
  live: LiveResult | undefined,
): Shown {
  return {
    name: `${open.id}-${record.name}`,
    page,
    json: () => (live ? { ...record, live } : record),
    table: () => unitTable(record),
    figures: () => unitFigures(record),
  };
}

async function showComparison(open: OpenCensus, query: Query, around: Around): Promise<Addressed> {
  const comparison = await readComparison(open, query, around);
  const { other, units, partners } = comparison;
  return {
    name: `${open.id}-compare`,
    canonical: `${open.base}/compare${comparison.query && `?${comparison.query}`}`,
    page: () => comparePage(comparison),
    json: () => ({
      census: open.id,
      with: other?.id ?? null,
      units: units.map(({ record }) => record),
      ...(units.length === 0 && { models: compareTable(comparison) }),
      ...(partners && { partners: partners.best.slice(0, 1000) }),
    }),
    table: () => compareTable(comparison),
    figures: () => compareFigures(comparison),
  };
}

async function readComparison(open: OpenCensus, query: Query, around: Around): Promise<Comparison> {
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
  const listed = await listCensuses(around.folder);
  const names = (own: OpenCensus): string =>
    places
      .filter((place) => place.own === own)
      .map(({ unit }) => unitName(own, unit))
      .join(",");
  return {
    open,
    other,
    partners: other && (await partnersOf(open, other)),
    units: await Promise.all(
      places.map(async ({ own, unit }) => ({
        record: await readUnitRecord(own, unit, { ...around, kinds: ["top"] }),
        address: unitAddress(own, unit),
      })),
    ),
    query: addressWith("", {
      n: names(open),
      with: other?.id ?? "",
      m: other ? names(other) : "",
    }).slice(1),
    names: listed.filter((item) => "meta" in item).map(({ name }) => name),
  };
}
