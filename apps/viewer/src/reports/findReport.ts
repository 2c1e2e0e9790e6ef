import { lstat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { FormatError, PenfieldError } from "@penfield/core";
import {
  listReports,
  type Report,
  readReport,
  readReportArray,
  type Section,
} from "@penfield/report";
import { NotFound, nearest } from "../answers.ts";
import { fieldFiles, isBrainSection, nValues } from "../views/brainSections.ts";
import type { SectionMaps } from "../views/sections.ts";

/** A report that an address names. */
export interface FoundReport {
  readonly name: string;
  readonly folder: string;
  readonly report: Report;
  /** "/reports/NAME". */
  readonly base: string;
}

/** @throws {NotFound} if there is no such report. @throws {PenfieldError} if it cannot be read. */
export async function findReport(reportsFolder: string, name: string): Promise<FoundReport> {
  const isItself =
    basename(resolve(reportsFolder)) === name &&
    (await isThere(join(reportsFolder, "report.json")));
  const folder = isItself ? reportsFolder : join(reportsFolder, name);
  const plain = !name.startsWith(".") && !/[/\\\0]/.test(name);
  const state = plain ? await lstat(folder).catch(() => undefined) : undefined;
  if (!state?.isDirectory()) {
    const names = (await listReports(reportsFolder)).map((listed) => listed.name);
    throw new NotFound(
      "There is no such report.",
      nearest(name, names).map((own) => ({ title: own, address: addressOf(own) })),
    );
  }
  return { name, folder, report: await readReport(folder), base: addressOf(name) };
}

const addressOf = (name: string): string => `/reports/${encodeURIComponent(name)}`;

const isThere = (path: string): Promise<boolean> =>
  lstat(path).then(
    () => true,
    () => false,
  );

/** Above this, the map of single units is left out: a page must not keep the server busy. */
export const MAX_MAP_UNITS: number = 2 ** 21;

/** Above this, a matrix is left to the readers of its array. */
const MAX_MATRIX_VALUES = 2 ** 20;

/** What a section needs beside report.json. */
export async function sectionMaps(
  folder: string,
  report: Report,
  section: Section,
): Promise<SectionMaps> {
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
