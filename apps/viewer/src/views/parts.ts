import type { Cell, Table } from "@penfield/report";
import { drawSvg, type Exhibit } from "../figures/exhibit.ts";
import { ABSENT, short } from "../format.ts";
import { type Html, html, type Part } from "../html.ts";

/** A page above this one. */
export interface Crumb {
  readonly title: string;
  readonly address: string;
}

/** A whole page. */
export function page({
  title,
  home,
  above = [],
  search,
  main,
}: {
  readonly title: string;
  /** Whether this is the list itself. */
  readonly home?: boolean;
  /** What it is part of, from the largest down. */
  readonly above?: readonly Crumb[];
  /** A field at the top, where the page has none of its own. */
  readonly search?: Part;
  readonly main: Part;
}): string {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title} · Penfield</title>
<link rel="stylesheet" href="/viewer.css">
<link rel="icon" href="/icon.svg" type="image/svg+xml">
<script src="/viewer.js" defer></script>
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<header class="top"><p>${home ? html`<strong>Penfield</strong> reports` : html`<a href="/"><strong>Penfield</strong> reports</a>`}${above.map(({ title: name, address }) => html` <span aria-hidden="true">›</span> <a href="${address}">${name}</a>`)}</p>${search}</header>
<main id="main">
${main}
</main>
</body>
</html>
`.markup;
}

export function errorPage(
  title: string,
  message: string,
  hint?: string | undefined,
  near: readonly Crumb[] = [],
): string {
  return page({
    title,
    main: html`<h1>${title}</h1><p class="message">${message}</p>${hint && html`<p>${hint}</p>`}${
      near.length > 0 &&
      html`<p>Perhaps you meant:</p><ul>${near.map(({ title: name, address }) => html`<li><a href="${address}">${name}</a></li>`)}</ul>`
    }<p><a href="/">All reports</a></p>`,
  });
}

export interface Column {
  readonly title: Part;
  /** Numbers stand at the right; text at the left. */
  readonly numeric?: boolean;
  /** Sentences: not so narrow that they stand a word on a line. */
  readonly wide?: boolean;
}

/** A table that scrolls in its own box where it is wider than the page. The first cell of a row names it. */
export function dataTable(
  caption: string,
  columns: readonly Column[],
  rows: readonly (readonly Part[])[],
): Html {
  return html`<div class="scroll" role="region" aria-label="${caption}" tabindex="0"><table><caption>${caption}</caption>
<thead><tr>${columns.map(({ title, numeric, wide }) => html`<th scope="col"${numeric ? html` class="number"` : wide && html` class="wide"`}>${title}</th>`)}</tr></thead>
<tbody>${rows.map(
    (row) =>
      html`<tr>${row.map((cell, i) =>
        i === 0
          ? html`<th scope="row"${columns[i]?.numeric ? html` class="number"` : isShort(cell) && html` class="short"`}>${cell}</th>`
          : html`<td${columns[i]?.numeric && html` class="number"`}>${cell}</td>`,
      )}</tr>\n`,
  )}</tbody></table></div>`;
}

/** A short name is not cut in two, whatever else the table holds. */
const isShort = (cell: Part): boolean =>
  html`${cell}`.markup.replace(/<small[\s\S]*|<[^>]*>/g, "").length <= 20;

/** The numbers of an exhibit as they stand in its .csv, rounded to five digits. */
function plainTable(caption: string, { columns, rows }: Table, limit = 200): Html {
  const numeric = columns.map((_, i) => rows.every((row) => typeof row[i] !== "string"));
  const shown = (cell: Cell) =>
    cell === null ? ABSENT : typeof cell === "number" ? short(cell, 5) : cell;
  return html`${dataTable(
    caption,
    columns.map((title, i) => ({ title: title.replaceAll("_", " "), numeric: numeric[i]! })),
    rows.slice(0, limit).map((row) => row.map(shown)),
  )}${rows.length > limit && html`<p>The first ${limit} of ${rows.length} rows; the .csv has all.</p>`}`;
}

/** A drawing with its caption, its numbers, and links to both as files; `query` is part of their addresses. */
export function figure(exhibit: Exhibit, base: string, query = ""): Html {
  const { id, title, caption, numbers } = exhibit;
  const address = `${base}/figures/${encodeURIComponent(id)}`;
  const asked = query && `?${query}`;
  const wide = exhibit.drawing!.width > 400;
  return html`<figure id="${id}"><h4>${title}</h4>
<div class="${wide ? "drawing scroll" : "drawing"}"${wide && html` role="region" aria-label="${title}" tabindex="0"`}>${drawSvg(exhibit)}</div>
<figcaption>${caption}</figcaption>
<details><summary>Numbers</summary>${plainTable(title, numbers, exhibit.nShown)}<p class="files"><a href="${address}.csv${asked}">.csv</a> <a href="${address}.svg${asked}">.svg</a></p></details></figure>`;
}

/** Where a table of the page can be had as a file. */
export function csvLink(exhibit: Exhibit, base: string): Html {
  return html`<p class="files"><a href="${base}/figures/${encodeURIComponent(exhibit.id)}.csv">This table as .csv</a></p>`;
}

const outcomes = {
  seen: { sign: "✓", kind: "seen" },
  "not seen": { sign: "✗", kind: "not-seen" },
  undecided: { sign: "?", kind: "undecided" },
} as const;

/** "✓ seen": sign, word and colour. */
export function outcomeMark(outcome: keyof typeof outcomes): Html {
  const { sign, kind } = outcomes[outcome];
  return html`<span class="outcome ${kind}"><span aria-hidden="true">${sign}</span> ${outcome}</span>`;
}
