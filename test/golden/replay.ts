import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { FileError, FormatError, readNpy } from "@penfield/core";

/** The arrays of a reference case, by name; integers of 64 bits as numbers. */
export type CaseArrays = Record<string, { data: ArrayLike<number>; shape: readonly number[] }>;
export type CaseMeta = Record<string, unknown>;

/** One array of ours beside the reference's. */
export interface Check {
  readonly name: string;
  readonly got: ArrayLike<number>;
  readonly expected: ArrayLike<number>;
  /** Passes if |got - expected| <= absolute + relative |expected| everywhere. */
  readonly relative: number;
  readonly absolute: number;
  /** The larger of both tolerances counts, not their sum. */
  readonly largerTolerance?: boolean;
}

/** Why a case is neither passed nor failed: its reference has no value to hold ours against. */
interface NotJudged {
  readonly notJudged: string;
}

/** Replays one case and says what to compare. */
export type CaseReplay = (
  arrays: CaseArrays,
  meta: CaseMeta,
) => Check[] | NotJudged | Promise<Check[] | NotJudged>;

/** A case as it lies in a folder. */
export interface FoundCase {
  readonly name: string;
  readonly meta: CaseMeta;
  readonly read: () => CaseArrays;
}

/** How a check came out. */
export interface Difference {
  readonly name: string;
  readonly count: number;
  readonly maxAbsolute: number;
  readonly maxRelative: number;
  readonly passed: boolean;
}

/**
 * The greatest differences between an array and its reference. Two NaN are equal; one is not. The relative
 * difference is taken where the reference is not 0.
 */
export function compare({
  name,
  got,
  expected,
  relative,
  absolute,
  largerTolerance = false,
}: Check): Difference {
  let maxAbsolute = 0;
  let maxRelative = 0;
  let passed = got.length === expected.length;
  for (let i = 0; i < Math.max(got.length, expected.length); i++) {
    const ours = got[i] ?? Number.NaN;
    const theirs = expected[i] ?? Number.NaN;
    if (Object.is(ours, theirs) || ours === theirs) continue;
    const off = Math.abs(ours - theirs);
    const size = Math.abs(theirs);
    maxAbsolute = Number.isNaN(off) ? Number.NaN : Math.max(maxAbsolute, off);
    if (size > 0) maxRelative = Math.max(maxRelative, off / size);
    const tolerance = largerTolerance
      ? Math.max(absolute, relative * size)
      : absolute + relative * size;
    if (!(off <= tolerance)) passed = false;
  }
  return { name, count: expected.length, maxAbsolute, maxRelative, passed };
}

/** A check to a relative tolerance; `exact(...)` for masks, choices and counts. */
export const within = (
  relative: number,
  name: string,
  got: ArrayLike<number>,
  expected: ArrayLike<number>,
  absolute = 0,
): Check => ({ name, got, expected, relative, absolute });

export const exact = (
  name: string,
  got: ArrayLike<number>,
  expected: ArrayLike<number>,
): Check => ({ name, got, expected, relative: 0, absolute: 0 });

/** The cases of a folder with a manifest.json and one folder of .npy per case. */
export function casesOfManifest(folder: string): FoundCase[] {
  const manifest = readJson(join(folder, "manifest.json")) as Record<
    string,
    { meta?: CaseMeta; arrays?: Record<string, unknown> }
  >;
  return Object.entries(manifest).map(([name, { meta = {}, arrays = {} }]) => ({
    name,
    meta,
    read: () =>
      Object.fromEntries(
        Object.keys(arrays).map((array) => [array, readArray(join(folder, name, `${array}.npy`))]),
      ),
  }));
}

/** The cases of a folder with one .json per case. */
export function casesOfJsonFiles(folder: string): FoundCase[] {
  return readdirSync(folder)
    .filter((file) => file.endsWith(".json"))
    .sort()
    .map((file) => ({
      name: file.slice(0, -".json".length),
      meta: {},
      read: () => ({}),
    }));
}

export function readJson(path: string): unknown {
  if (!existsSync(path)) {
    throw new FileError(`golden: ${path}: there is no such file`, {
      hint: "Name the folder that holds the reference cases of this kind.",
    });
  }
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch (cause) {
    throw new FormatError(`golden: ${path}: expected JSON, got ${(cause as Error).message}`, {
      cause,
    });
  }
}

export function readArray(path: string): { data: ArrayLike<number>; shape: readonly number[] } {
  const { data, shape } = readNpy(readFileSync(path), path);
  const numbers =
    data instanceof BigInt64Array || data instanceof BigUint64Array
      ? Float64Array.from(data, Number)
      : (data as Exclude<typeof data, string[] | BigInt64Array | BigUint64Array>);
  return { data: numbers, shape };
}

/** Counts over the cases of a folder. */
export interface Tally {
  passed: number;
  failed: number;
  unmapped: number;
  /** Only if there is one: the reference raised, or its value is a matter of rounding. */
  notJudged?: number;
}

/** Replays every case that has a mapping, says what came out line by line, and counts. */
export async function replay(
  found: readonly FoundCase[],
  mappings: Record<string, CaseReplay> | ((found: FoundCase) => CaseReplay | undefined),
  say: (line: string) => void,
  notCompared: Record<string, readonly string[]> = {},
): Promise<Tally> {
  const tally: Tally = { passed: 0, failed: 0, unmapped: 0 };
  for (const one of found) {
    const { name, meta, read } = one;
    const mapping =
      typeof mappings === "function"
        ? mappings(one)
        : Object.hasOwn(mappings, name)
          ? mappings[name]
          : undefined;
    if (!mapping) {
      tally.unmapped++;
      say(`unmapped  ${name}`);
      continue;
    }
    try {
      const checks = await mapping(read(), meta);
      if ("notJudged" in checks) {
        tally.notJudged = (tally.notJudged ?? 0) + 1;
        say(`not judged ${name}: ${checks.notJudged}`);
        continue;
      }
      const differences = checks.map(compare);
      const passed = differences.length > 0 && differences.every((d) => d.passed);
      tally[passed ? "passed" : "failed"]++;
      say(`${passed ? "passed  " : "FAILED  "}  ${name}`);
      for (const d of differences) say(`            ${describe(d)}`);
      const left = Object.hasOwn(notCompared, name) ? notCompared[name]! : [];
      if (left.length > 0) say(`            not compared: ${left.join(", ")}`);
    } catch (error) {
      tally.failed++;
      say(`FAILED    ${name}`);
      say(`            ${(error as Error).message}`);
    }
  }
  return tally;
}

const describe = (d: Difference): string =>
  [
    d.name.padEnd(20),
    `${d.count}`.padStart(8),
    `max abs ${d.maxAbsolute.toExponential(1)}`.padStart(18),
    `max rel ${d.maxRelative.toExponential(1)}`.padStart(18),
    d.passed ? "" : "  <-- differs",
  ].join(" ");
