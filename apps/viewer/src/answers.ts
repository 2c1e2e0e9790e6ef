import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Table } from "@penfield/report";
import type { Request, Response } from "express";
import { csvText } from "./csv.ts";
import { drawSvg, type Exhibit, stackSvg } from "./figures/exhibit.ts";

export const publicFolder: string = fileURLToPath(new URL("../public", import.meta.url));

/** A page that is not there, and perhaps what was meant. */
export class NotFound extends Error {
  readonly near: readonly Near[];

  constructor(message: string, near: readonly Near[] = []) {
    super(message);
    this.name = "NotFound";
    this.near = near;
  }
}

/** A page that is there, near one that is not. */
export interface Near {
  readonly title: string;
  readonly address: string;
}

/** Too much at once: asking again later helps. */
export class Busy extends Error {}

/** The names that are most like one, by the changes of single letters between them; those that share nothing with it are left out. */
export function nearest(name: string, names: readonly string[], size = 5): readonly string[] {
  const wanted = name.slice(0, 60).toLowerCase();
  return names
    .map((own) => ({ own, far: distance(wanted, own.slice(0, 60).toLowerCase()) }))
    .filter(({ own, far }) => far < Math.max(wanted.length, Math.min(own.length, 60)))
    .sort((a, b) => a.far - b.far)
    .slice(0, size)
    .map(({ own }) => own);
}

/** Levenshtein's: letters put in, left out or changed. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, change));
    }
    row = next;
  }
  return row[b.length]!;
}

/** One thing in its forms: a page to read, data, a table, and its figures as one drawing. */
export interface Shown {
  readonly name: string;
  readonly page: () => string | Promise<string>;
  readonly json: () => unknown | Promise<unknown>;
  readonly table: () => Table | Promise<Table>;
  readonly figures: () => readonly Exhibit[] | Promise<readonly Exhibit[]>;
}

export type Form = "page" | "json" | "csv" | "svg";

/** "units.json": the units, as data. */
export function formOf(file: string): [name: string, form: Form] {
  const [, name, form] = /^(.+)\.(json|csv|svg)$/.exec(file) ?? [];
  return name === undefined ? [file, "page"] : [name, form as Form];
}

/** Pages of other programs on this machine, such as notebooks, may hold what was asked for with `embed=1`. */
const MAY_EMBED = "frame-ancestors http://127.0.0.1:* http://localhost:*";

/** Sends one thing in the form that its address asks for. */
export async function sendShown(
  request: Request,
  response: Response,
  form: Form,
  shown: Shown,
): Promise<void> {
  switch (form) {
    case "json":
      response.json(await shown.json());
      break;
    case "csv":
      response.attachment(`${shown.name}.csv`).send(csvText(await shown.table()));
      break;
    case "svg": {
      const exhibits = (await shown.figures()).filter(({ drawing }) => drawing);
      if (exhibits.length === 0) throw new NotFound("This page has no figures.");
      response.set("Content-Security-Policy", DRAWING_POLICY);
      response.type("svg").send(stackSvg(exhibits, await drawingStyle()));
      break;
    }
    case "page": {
      const markup = await shown.page();
      const embeds = request.query["embed"] === "1";
      const policy = String(response.get("Content-Security-Policy"));
      // Forms ask this viewer, and nobody else.
      response.set(
        "Content-Security-Policy",
        embeds
          ? policy.replace("frame-ancestors 'none'", MAY_EMBED)
          : policy.replace("form-action 'none'", "form-action 'self'"),
      );
      if (embeds) response.removeHeader("X-Frame-Options");
      response.send(embeds ? embedded(markup) : markup);
    }
  }
}

/** A page without what leads elsewhere, to stand in a frame of another one; its links open outside of the frame. */
function embedded(markup: string): string {
  return markup
    .replace(/<(form|nav|header|footer)\b[\s\S]*?<\/\1>/g, "")
    .replace(/<a class="skip"[^>]*>[^<]*<\/a>\n?/, "")
    .replace(/<section class="live"[\s\S]*?<\/section>/, "")
    .replaceAll(' href="/', ' target="_blank" href="/')
    .replace('<link rel="stylesheet" target="_blank"', '<link rel="stylesheet"')
    .replace('<link rel="icon" target="_blank"', '<link rel="icon"')
    .replace("<body>", '<body class="embedded">');
}

/** One thing, one address: sends those who ask otherwise, such as a form with empty fields, to the canonical one. */
export function isCanonical(request: Request, response: Response, canonical: string): boolean {
  const [path, query = ""] = canonical.split("?");
  const wanted = new URLSearchParams(query);
  if (request.query["embed"] === "1") wanted.set("embed", "1");
  const asked = new URLSearchParams(request.originalUrl.split("?")[1] ?? "");
  if (asked.toString() === wanted.toString()) return true;
  response.redirect(302, `${path}${wanted.size > 0 ? `?${wanted}` : ""}`);
  return false;
}

/** A drawing by itself carries its own style; nothing else may be loaded or run. */
const DRAWING_POLICY = "default-src 'none'; style-src 'unsafe-inline'";

/** A figure by itself, or its numbers. */
export async function sendFigure(
  response: Response,
  exhibit: Exhibit,
  form: "csv" | "svg",
): Promise<void> {
  if (form === "csv") {
    response.attachment(`${exhibit.id}.csv`).send(csvText(exhibit.numbers));
    return;
  }
  response.set("Content-Security-Policy", DRAWING_POLICY);
  response.type("svg").send(drawSvg(exhibit, await drawingStyle()).markup);
}

/** The part of the style sheet that drawings need. */
async function drawingStyle(): Promise<string> {
  const css = await readFile(join(publicFolder, "viewer.css"), "utf8");
  return css.slice(0, css.indexOf("/* ---- pages ---- */"));
}
