import { createRequire } from "node:module";
import { basename } from "node:path";
import type { MeasureInfo } from "@penfield/compare";
import type { Linalg } from "@penfield/linalg";
import type { Report, ReportInput, ReportMeasure, ReportSoftware } from "@penfield/report";
import type { NumberFile } from "./arrayFile.ts";

const require = createRequire(import.meta.url);

/** The versions that a result was made with. */
function softwareVersions(): ReportSoftware {
  const own = require("../../package.json") as { version: string };
  const runtime = require("onnxruntime-node") as { env?: { versions?: { node?: string } } };
  return {
    penfield: own.version,
    node: process.versions.node,
    onnxruntime: runtime.env?.versions?.node ?? "unknown",
  };
}

/** What is the same in the reports of all comparisons. */
export function emptyReport(
  kind: string,
  folder: string,
): Pick<
  Report,
  "schema" | "version" | "id" | "kind" | "software" | "stimuli" | "verdicts" | "warnings"
> {
  const id = basename(folder)
    .replace(/[^A-Za-z0-9._-]/g, "-")
    .replace(/^[^A-Za-z0-9]+/, "")
    .slice(0, 100);
  return {
    schema: "penfield.report",
    version: 1,
    id: id || kind,
    kind,
    software: softwareVersions(),
    stimuli: [],
    verdicts: [],
    warnings: [],
  };
}

/** Who computed, and on how many threads: the last digits of decompositions depend on both. */
export const linalgRecord = ({
  backend,
  threads,
}: Pick<Linalg, "backend" | "threads">): {
  readonly linalg: string;
  readonly threads: number | string;
} => ({
  linalg: `products by onnxruntime, decompositions ${backend}`,
  threads,
});

export const inputOf = (role: string, { name, sha256, shape }: NumberFile): ReportInput => ({
  role,
  name,
  sha256,
  shape,
});

export const measureRecord = ({ name, title, larger, metric }: MeasureInfo): ReportMeasure => ({
  name,
  title,
  larger,
  metric,
});

/** Titles that tell items apart: names alone where they differ, else with a number. */
export function distinct(names: readonly string[]): readonly string[] {
  return names.map((name, i) => {
    if (names.filter((other) => other === name).length === 1) return name;
    return `${name} (${names.slice(0, i + 1).filter((other) => other === name).length})`;
  });
}

/** Columns of text for a terminal; the first flush left, the others right. */
export function columns(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, i) => {
      widths[i] = Math.max(widths[i] ?? 0, cell.length);
    });
  }
  return rows
    .map((row) =>
      row
        .map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
        .join("  ")
        .trimEnd(),
    )
    .map((line) => `${line}\n`)
    .join("");
}

/** A share as it is printed. */
export const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

/** A number for a terminal: four decimals, or three digits where it is large or tiny. */
export function shown(value: number | null | undefined): string {
  if (value === null || value === undefined || Number.isNaN(value)) return "undefined";
  if (value !== 0 && (Math.abs(value) >= 1e5 || Math.abs(value) < 1e-4)) {
    return value.toExponential(2);
  }
  return value.toFixed(4).replace(/^-(0\.0+)$/, "$1");
}

/** The first of the warnings that differ only in numbers, with how many there were. */
export function condense(warnings: readonly string[]): readonly string[] {
  const groups = new Map<string, string[]>();
  for (const text of warnings) {
    const key = text.replace(/\d+/g, "#");
    groups.set(key, [...(groups.get(key) ?? []), text]);
  }
  return [...groups.values()].map(([first, ...more]) =>
    more.length === 0 ? first! : `${first} (and the like for ${more.length} more)`,
  );
}

/** Notes for a terminal: what is said of several measures is said once. */
export function gathered(notes: readonly string[]): readonly string[] {
  const bodies = new Map<string, string[]>();
  for (const note of notes) {
    const [, name = "", body = note] = /^([a-z][a-z0-9-]*): (.*)$/s.exec(note) ?? [];
    bodies.set(body, [...(bodies.get(body) ?? []), name]);
  }
  return [...bodies].map(([body, names]) => {
    const said = names.filter((name) => name !== "");
    if (said.length === 0) return body;
    const more = said.length > 4 ? ` and ${said.length - 3} more` : "";
    return `${said.slice(0, more ? 3 : 4).join(", ")}${more}: ${body}`;
  });
}
