import { ArgumentError, PenfieldError } from "@penfield/core";
import { listReports } from "@penfield/report";
import express, { type NextFunction, type Request, type Response } from "express";
import { Busy, formOf, isCanonical, NotFound, publicFolder, sendShown } from "./answers.ts";
import { listCensuses } from "./censuses/findCensus.ts";
import { type LiveModel, LiveRunner } from "./censuses/live.ts";
import { OpenCensuses } from "./censuses/openCensuses.ts";
import { addCensusRoutes } from "./censuses/routes.ts";
import { guard } from "./guard.ts";
import { addressWith, queryOf } from "./query.ts";
import { addReportRoutes } from "./reports/routes.ts";
import { showList } from "./views/listView.ts";
import { errorPage } from "./views/parts.ts";

export interface ViewerOptions {
  readonly reportsFolder: string;
  readonly live?: LiveModel | undefined;
  readonly liveTimeoutSeconds?: number | undefined;
  readonly token?: string | undefined;
}

/**
 * The viewer as an Express application: pages of the reports and censuses in a folder, which is read anew at each
 * request. It only reads.
 *
 * @param options.reportsFolder - A folder of reports and censuses, or one of them.
 * @param options.live - A model for the texts that readers type on the pages of units. Without it, these have no such field.
 * @param options.liveTimeoutSeconds - How long a text may take, opening the model included; default 60.
 * @param options.token - Whoever asks must have it, from an address with `token=` or a cookie. Without one, only requests are
 *   answered that were made to this machine by name (127.0.0.1 or localhost, with the port it listens on).
 */
export function createViewer({
  reportsFolder,
  live,
  liveTimeoutSeconds,
  token,
}: ViewerOptions): express.Express {
  const app = express();
  app.disable("x-powered-by");
  app.use(guard(token));
  const censuses = new OpenCensuses(reportsFolder);

  app.get(["/", "/index.json", "/index.csv"], async (request, response) => {
    const listed = await Promise.all([listReports(reportsFolder), listCensuses(reportsFolder)]);
    const { q = "" } = queryOf(request);
    const form = request.path === "/" ? "page" : formOf(request.path)[1];
    if (form === "page" && !isCanonical(request, response, addressWith("/", { q }))) return;
    await sendShown(request, response, form, showList(...listed, reportsFolder, q));
  });
  for (const name of ["viewer.css", "viewer.js", "icon.svg"]) {
    app.get(`/${name}`, (_request, response) => {
      response.sendFile(name, { root: publicFolder, cacheControl: false });
    });
  }
  app.get("/healthz", (_request, response) => {
    response.json({ status: "ok" });
  });
  addReportRoutes(app, { folder: reportsFolder, censuses });
  addCensusRoutes(app, {
    folder: reportsFolder,
    censuses,
    live: live && new LiveRunner(live, liveTimeoutSeconds),
  });
  app.use(() => {
    throw new NotFound("There is no such page.");
  });
  app.use(sendError);
  return app;
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
    response.status(404).send(errorPage("Not found", error.message, undefined, error.near));
  } else if (error instanceof Busy) {
    response.status(503).set("Retry-After", "2").send(errorPage("Busy", error.message));
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
