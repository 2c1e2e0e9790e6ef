import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Response } from "express";
import { csvText } from "./csv.ts";
import { drawSvg, type Exhibit } from "./figures/exhibit.ts";

export const publicFolder: string = fileURLToPath(new URL("../public", import.meta.url));

/** A page that is not there. */
export class NotFound extends Error {}

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
  // A drawing by itself carries its own style; nothing else may be loaded or run.
  response.set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'");
  response.type("svg").send(drawSvg(exhibit, await drawingStyle()).markup);
}

/** The part of the style sheet that drawings need. */
async function drawingStyle(): Promise<string> {
  const css = await readFile(join(publicFolder, "viewer.css"), "utf8");
  return css.slice(0, css.indexOf("/* ---- pages ---- */"));
}
