import { lstat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { ArgumentError, FormatError, PenfieldError } from "@penfield/core";
import {
  listReports,
  type Report,
  readReport,
  readReportArray,
  readReportTable,
  reportFiles,
  type Section,
} from "@penfield/report";
import express, { type NextFunction, type Request, type Response } from "express";
import { NotFound, publicFolder, sendFigure } from "./answers.ts";
import { listCensuses } from "./censuses/findCensus.ts";
import { type LiveModel, LiveRunner } from "./censuses/live.ts";
import { addCensusRoutes } from "./censuses/routes.ts";
import { csvText } from "./csv.ts";
import { fieldFiles, isBrainSection, nValues } from "./views/brainSections.ts";
import { listPage } from "./views/listView.ts";
import { errorPage } from "./views/parts.ts";
import { reportPage } from "./views/reportView.ts";
import { type SectionMaps, sectionExhibits } from "./views/sections.ts";

export interface ViewerOptions {
  readonly reportsFolder: string;
  readonly live?: LiveModel | undefined;
  readonly liveTimeoutSeconds?: number | undefined;
}

/** Above this, the map of single units is left out: a page must not keep the server busy. */
const MAX_MAP_UNITS = 2 ** 21;

const HEADERS = {
  "Content-Security-Policy":
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "X-Content-Type-Options": "nosniff",
  "Referrer-Policy": "no-referrer",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Cross-Origin-Opener-Policy": "same-origin",
  "X-Frame-Options": "DENY",
  "Cache-Control": "no-cache",
} as const;

/**
 * The viewer as an Express application: pages of the reports and censuses in a folder, which is read anew at each
 * request. It only reads, sends no script, and answers only requests made to this machine by name
 * (127.0.0.1 or localhost, with the port it listens on).
 *
 * @param options.reportsFolder - A folder of reports and censuses, or one of them.
 * @param options.live - A model for the texts that readers type on the pages of units. Without it, these have no such field.
 * @param options.liveTimeoutSeconds - How long a text may take, opening the model included; default 60.
 */
export function createViewer({
  reportsFolder,
  live,
  liveTimeoutSeconds,
}: ViewerOptions): express.Express {
  const app = express();
  app.disable("x-powered-by");
  app.use(guard);
  app.get("/", async (_request, response) => {
    const [reports, censuses] = await Promise.all([
      listReports(reportsFolder),
      listCensuses(reportsFolder),
    ]);
    response.send(listPage(reports, reportsFolder, censuses));
  });
  app.get("/viewer.css", sendPublic("viewer.css"));
  app.get("/icon.svg", sendPublic("icon.svg"));
  app.get("/reports/:id", async (request, response) => {
    const { folder, report, base } = await findReport(reportsFolder, request.params.id);
    const maps = new Map<string, SectionMaps>();
    for (const section of report.sections) {
      maps.set(section.id, await sectionMaps(folder, report, section));
    }
    const censuses = await listCensuses(reportsFolder);
    response.send(reportPage(report, maps, base, censuses));
  });
  app.get("/reports/:id/report.json", async (request, response) => {
    const { folder } = await findReport(reportsFolder, request.params.id);
    response.sendFile("report.json", { root: resolve(folder), cacheControl: false });
  });
  app.get("/reports/:id/units.csv", async (request, response) => {
    const { folder, report } = await findReport(reportsFolder, request.params.id);
    const units = report.sections.find((section) => section.kind === "units");
    if (!units) throw new NotFound("This report has no table of units.");
    await sendTable(response, { folder, report, table: units.table, name: "units.csv" });
  });
  app.get("/reports/:id/tables/:file", async (request, response) => {
    const { folder, report } = await findReport(reportsFolder, request.params.id);
    const { file } = request.params;
    const table = file.replace(/\.csv$/, ".parquet");
    if (table === file || !reportFiles(report).includes(`tables/${table}`)) {
      throw new NotFound("The report names no such table.");
    }
    await sendTable(response, { folder, report, table, name: file });
  });
  app.get("/reports/:id/files/*path", async (request, response) => {
    const { folder, report } = await findReport(reportsFolder, request.params.id);
    const file = request.params.path.join("/");
    if (!reportFiles(report).includes(file)) {
      throw new NotFound("The report names no such file.");
    }
    response.attachment(basename(file));
    response.sendFile(file, { root: resolve(folder), cacheControl: false });
  });
  app.get("/reports/:id/figures/:file", async (request, response) => {
    const { folder, report } = await findReport(reportsFolder, request.params.id);
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
  addCensusRoutes(app, {
    folder: reportsFolder,
    live: live && new LiveRunner(live, liveTimeoutSeconds),
  });
  app.use(() => {
    throw new NotFound("There is no such page.");
  });
  app.use(sendError);
  return app;
}

/** Sets the headers of every answer, and refuses what a local reader would not send. */
function guard(request: Request, response: Response, next: NextFunction): void {
  response.set(HEADERS);
  const port = request.socket.localPort;
  const allowed = ["127.0.0.1", "localhost"].flatMap((name) =>
    port === 80 ? [name, `${name}:80`] : [`${name}:${port}`],
  );
  if (!allowed.includes((request.headers.host ?? "").toLowerCase())) {
    // A page from elsewhere can make its own name point here; the Host header gives it away.
    const text = `Open http://127.0.0.1:${port}/ instead.`;
    response
      .status(403)
      .send(errorPage("Not this way", "This viewer answers on this machine only.", text));
  } else if (request.method !== "GET" && request.method !== "HEAD") {
    response.status(405).set("Allow", "GET, HEAD");
    response.send(errorPage("Reading only", "This viewer changes nothing, and takes no input."));
  } else next();
}

function sendPublic(name: string) {
  return (_request: Request, response: Response): void => {
    response.sendFile(name, { root: publicFolder, cacheControl: false });
  };
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

async function findReport(
  reportsFolder: string,
  name: string,
): Promise<{ folder: string; report: Report; base: string }> {
  const isItself =
    basename(resolve(reportsFolder)) === name &&
    (await isThere(join(reportsFolder, "report.json")));
  const folder = isItself ? reportsFolder : join(reportsFolder, name);
  const plain = !name.startsWith(".") && !/[/\\\0]/.test(name);
  const state = plain ? await lstat(folder).catch(() => undefined) : undefined;
  if (!state?.isDirectory()) throw new NotFound("There is no such report.");
  return {
    folder,
    report: await readReport(folder),
    base: `/reports/${encodeURIComponent(name)}`,
  };
}

const isThere = (path: string): Promise<boolean> =>
  lstat(path).then(
    () => true,
    () => false,
  );

/** Above this, a matrix is left to the readers of its array. */
const MAX_MATRIX_VALUES = 2 ** 20;

async function sectionMaps(folder: string, report: Report, section: Section): Promise<SectionMaps> {
  const read = async (name: string): Promise<ArrayLike<number>> => {
    const { data } = await readReportArray(folder, report, name);
    if (typeof data[0] === "number") return data as ArrayLike<number>;
    throw new FormatError(`${name}: expected numbers, got ${data.constructor.name}`);
  };
  try {
    switch (section.kind) {
      case "selection": {
        if (section.nLayers * section.nUnits > MAX_MAP_UNITS) {
          return { problem: `it has more than ${MAX_MAP_UNITS} units.` };
        }
        const [t, mask] = await Promise.all([section.arrays.t, section.arrays.mask].map(read));
        return { t: t!, mask: mask! };
      }
      case "matrix": {
        if (section.rows.labels.length * section.columns.labels.length > MAX_MATRIX_VALUES) {
          return { problem: `it has more than ${MAX_MATRIX_VALUES} values.` };
        }
        const floor = section.floor ? await read(section.floor.array) : undefined;
        return { values: await read(section.array), floor };
      }
      case "rdms": {
        // Twelve of them are drawn: what counts is the size of one.
        if (section.conditions.length ** 2 > MAX_MATRIX_VALUES) {
          return { problem: `they have more than ${MAX_MATRIX_VALUES} values each.` };
        }
        return { values: await read(section.array) };
      }
      default: {
        if (!isBrainSection(section)) return undefined;
        if (nValues(section) > MAX_MATRIX_VALUES) {
          return { problem: `they have more than ${MAX_MATRIX_VALUES} values.` };
        }
        const fields: Record<string, ArrayLike<number>> = {};
        for (const [field, file] of Object.entries(fieldFiles(section))) {
          fields[field] = await read(file);
        }
        return { fields };
      }
    }
  } catch (error) {
    if (error instanceof PenfieldError) return { problem: error.message };
    throw error;
  }
}

function sendError(error: unknown, request: Request, response: Response, next: NextFunction): void {
  if (response.headersSent) {
    next(error);
    return;
  }
  response.removeHeader("Content-Disposition");
  response.type("html");
  const status = (error as { status?: unknown }).status;
  if (error instanceof NotFound) {
    response.status(404).send(errorPage("Not found", error.message));
  } else if (error instanceof ArgumentError) {
    response.status(400).send(errorPage("This cannot be asked", error.message, error.hint));
  } else if (error instanceof PenfieldError) {
    const what = request.path.startsWith("/censuses/") ? "census" : "report";
    response.status(500).send(errorPage(`This ${what} cannot be read`, error.message, error.hint));
  } else if (typeof status === "number" && status >= 400 && status < 500) {
    response.status(status).send(errorPage("Not found", "The address cannot be understood."));
  } else {
    const text = error instanceof Error ? error.message : String(error);
    response
      .status(500)
      .send(
        errorPage(
          "Something went wrong",
          text,
          "This is a fault of the viewer; other pages still work.",
        ),
      );
  }
}
