import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join, posix } from "node:path";
import {
  ArgumentError,
  DataError,
  fileError,
  type LongWork,
  throwIfAborted,
  writeFileAtomic,
  writeFolderAtomic,
} from "@penfield/core";
import { listReports } from "@penfield/report";
import { publicFolder } from "./answers.ts";
import { listCensuses } from "./censuses/findCensus.ts";
import { hookKey } from "./censuses/openCensuses.ts";
import { startViewer } from "./server.ts";

export interface ExportOptions extends LongWork {
  readonly reportsFolder: string;
  /** Of each census, the pages of its first units; default 200, at most 5000. */
  readonly nUnits?: number | undefined;
}

/** What an export may hold. */
const MAX_BYTES = 500 * 2 ** 20;
const MAX_FILES = 50_000;
const MAX_EXPORTED_UNITS = 5000;
const MAX_SINGLE_BYTES = 5 * 2 ** 20;

interface Answer {
  readonly path: string;
  readonly isPage: boolean;
  readonly bytes: Buffer;
}

/**
 * Writes what the viewer shows as files that open from disk: every page, figure and table of the reports in a folder, and of each census
 * its pages with its first units. Links lead from file to file; what was not written is no link, and forms are left out.
 *
 * @param destination - A folder that does not exist or is empty.
 * @returns How many files and bytes were written.
 * @throws {DataError} above 500 MiB or 50 000 files.
 * @throws {FileError} if the folder is in use or cannot be written.
 *
 * Cost: one request to the viewer for each file.
 */
export async function exportSite(
  destination: string,
  options: ExportOptions,
): Promise<{ readonly nFiles: number; readonly nBytes: number }> {
  const { reportsFolder, nUnits = 200, signal, onProgress } = options;
  if (!(Number.isInteger(nUnits) && nUnits >= 0 && nUnits <= MAX_EXPORTED_UNITS)) {
    throw new ArgumentError(
      `exportSite: expected 0 to ${MAX_EXPORTED_UNITS} units of a census, got ${nUnits}`,
    );
  }
  const isWanted = await wantedUnits(reportsFolder, nUnits);
  const viewer = await startViewer({ reportsFolder, port: 0 });
  let nBytes = 0;
  let nFiles = 0;
  try {
    const answers = new Map<string, Answer>();
    const queue = ["/"];
    const known = new Set(queue);
    await writeFolderAtomic(destination, async (folder) => {
      for (let address = queue.shift(); address !== undefined; address = queue.shift()) {
        throwIfAborted(signal, "exportSite");
        const answer = await ask(viewer.url, address);
        if (!answer) continue;
        nBytes += answer.bytes.length;
        if (nBytes > MAX_BYTES || ++nFiles > MAX_FILES) {
          throw new DataError(
            `exportSite: expected at most ${MAX_BYTES / 2 ** 20} MiB in ${MAX_FILES} files, got more`,
            { hint: "Export one report, or fewer units of a census." },
          );
        }
        if (answer.isPage) {
          answers.set(address, answer);
          for (const found of addressesIn(answer.bytes.toString("utf8"))) {
            if (known.has(found) || !isWanted(found)) continue;
            known.add(found);
            queue.push(found);
          }
        } else {
          answers.set(address, { ...answer, bytes: Buffer.alloc(0) });
          await writeOne(folder, answer.path, answer.bytes);
        }
        onProgress?.({
          stage: "writing pages",
          done: nFiles,
          total: nFiles + queue.length,
          unit: "files",
        });
      }
      for (const { path, isPage, bytes } of answers.values()) {
        if (!isPage) continue;
        await writeOne(folder, path, relativeMarkup(bytes.toString("utf8"), path, answers));
      }
    });
  } finally {
    await viewer.close();
  }
  return { nFiles, nBytes };
}

/** Which addresses of censuses are written: their own pages, the first units, and the tables that lead to these. */
async function wantedUnits(
  reportsFolder: string,
  nUnits: number,
): Promise<(address: string) => boolean> {
  const first = new Set<string>();
  const after = new Set<string>();
  for (const listed of await listCensuses(reportsFolder)) {
    if (!("meta" in listed)) continue;
    const { meta, name } = listed;
    const base = `/censuses/${encodeURIComponent(name)}/units`;
    for (const hook of meta.hooks) {
      const key = hookKey(meta, hook);
      for (let i = 0; i < hook.nUnits && hook.firstUnit + i < nUnits; i++) {
        first.add(`${base}/${encodeURIComponent(key)}/${i}`);
        if (hook.firstUnit + i + 1 < nUnits) {
          after.add(`${base}?after=${encodeURIComponent(`${key}.${i}`)}`);
        }
      }
    }
  }
  return (address) => {
    const [path = "", query] = address.split("?");
    const unit = /^(\/censuses\/[^/]+\/units\/[^/]+\/\d+)(?:\.json|\.csv|\/figures\/.+)?$/.exec(
      path,
    );
    if (unit) return query === undefined && first.has(unit[1]!);
    if (query !== undefined) return after.has(address);
    return !/^\/censuses\/[^/]+\/(?:search|compare)/.test(path);
  };
}

async function ask(url: string, address: string): Promise<Answer | undefined> {
  const response = await fetch(new URL(address, url));
  const bytes = Buffer.from(await response.arrayBuffer());
  // A report that is broken has an error page, and the list says so: nothing leads there.
  if (!response.ok) return undefined;
  const isPage = (response.headers.get("content-type") ?? "").startsWith("text/html");
  return { path: fileOf(address, isPage), isPage, bytes };
}

/** Where an address is written. */
function fileOf(address: string, isPage: boolean): string {
  const [path = "", query] = address.split("?");
  if (path === "/") return "index.html";
  const parts = path
    .slice(1)
    .split("/")
    .map((part) => plain(decodeURIComponent(part)));
  const asked = query === undefined ? "" : `@${plain(decodeURIComponent(query))}`;
  return `${parts.join("/")}${asked}${isPage ? ".html" : ""}`;
}

/** A name that every file system takes. */
const plain = (name: string): string =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they must not stand in a name.
  name.replace(/[<>:"|?*\\/\u0000-\u001f]/g, "_").replace(/^\.+$/, "_");

async function writeOne(folder: string, path: string, bytes: string | Buffer): Promise<void> {
  const target = join(folder, path);
  try {
    await mkdir(dirname(target), { recursive: true });
    await writeFile(target, bytes);
  } catch (cause) {
    throw fileError("exportSite", target, cause);
  }
}

const LINK = /\s(href|src)="([^"]*)"/g;

const addressOf = (written: string): string => written.replaceAll("&amp;", "&");

function addressesIn(markup: string): string[] {
  return [...withoutForms(markup).matchAll(LINK)]
    .map(([, , written]) => addressOf(written!).split("#")[0]!)
    .filter((address) => address.startsWith("/"));
}

/** Forms ask a viewer, and there is none behind a file. */
const withoutForms = (markup: string): string => markup.replace(/<form[\s\S]*?<\/form>/g, "");

function relativeMarkup(
  markup: string,
  from: string,
  answers: ReadonlyMap<string, Answer>,
): string {
  return withoutForms(markup).replace(LINK, (whole, name: string, written: string) => {
    if (!written.startsWith("/")) return whole;
    const [address = "", part] = addressOf(written).split("#");
    const target = answers.get(address);
    if (!target) return "";
    const path = posix.relative(posix.dirname(from), target.path);
    const encoded = path.split("/").map(encodeURIComponent).join("/");
    return ` ${name}="${encoded}${part === undefined ? "" : `#${part}`}"`;
  });
}

/**
 * Writes one report as one file that opens from disk and asks nothing of any place: style and figures are inside it, and the whole
 * `report.json` too, as data. Links to other files are left out.
 *
 * @param options.reportsFolder - A report, or a folder with exactly one.
 * @throws {ArgumentError} if there is not exactly one report.
 * @throws {DataError} above 5 MiB.
 */
export async function exportPage(
  destination: string,
  { reportsFolder }: { readonly reportsFolder: string },
): Promise<{ readonly nFiles: number; readonly nBytes: number }> {
  const listed = await listReports(reportsFolder);
  const [only] = listed;
  if (!only || listed.length > 1) {
    throw new ArgumentError(`exportPage: expected one report, got ${listed.length}`, {
      hint: "Name the report's own folder.",
    });
  }
  if (!("report" in only)) throw only.error;
  const viewer = await startViewer({ reportsFolder, port: 0 });
  try {
    const base = `/reports/${encodeURIComponent(only.name)}`;
    const [shown, record] = await Promise.all([
      ask(viewer.url, base),
      ask(viewer.url, `${base}/report.json`),
    ]);
    if (!shown || !record) {
      throw new DataError(`exportPage: expected a report that can be shown, got ${only.name}`);
    }
    const style = await readFile(join(publicFolder, "viewer.css"), "utf8");
    const policy = "default-src 'none'; style-src 'unsafe-inline'";
    const json = record.bytes.toString("utf8").replaceAll("<", "\\u003c");
    const markup = withoutForms(shown.bytes.toString("utf8"))
      .replace(/<link rel="(?:stylesheet|icon)"[^>]*>\n?|<script src[^>]*><\/script>\n?/g, "")
      .replace(
        "<title>",
        () => `<meta http-equiv="Content-Security-Policy" content="${policy}">\n<title>`,
      )
      .replace("</head>", () => `<style>\n${style}</style>\n</head>`)
      .replace(LINK, (whole, _name: string, written: string) =>
        written.startsWith("#") ? whole : "",
      )
      .replace(
        "</body>",
        () => `<script type="application/json" id="report">${json}</script>\n</body>`,
      );
    const nBytes = Buffer.byteLength(markup);
    if (nBytes > MAX_SINGLE_BYTES) {
      throw new DataError(
        `exportPage: expected at most ${MAX_SINGLE_BYTES / 2 ** 20} MiB, got ${(nBytes / 2 ** 20).toFixed(1)} MiB`,
        { hint: "Export it as a folder." },
      );
    }
    await writeFileAtomic(destination, markup);
    return { nFiles: 1, nBytes };
  } finally {
    await viewer.close();
  }
}
