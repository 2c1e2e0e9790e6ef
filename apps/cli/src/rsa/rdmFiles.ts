import { readdir, readFile, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import {
  type CovarianceMethod,
  calcRdm,
  condensedRdm,
  crossnobisRdm,
  noisePrecision,
  poissonCvRdm,
  type RdmMethod,
  type Rdms,
  rdms,
} from "@penfield/compare";
import { DataError, FormatError, fileError, ShapeError, tensor } from "@penfield/core";
import type { Linalg, Matrix } from "@penfield/linalg";
import { type NumberFile, readNumbers } from "../compare/arrayFile.ts";

/** Dissimilarities that `--rdm` names; the last two hold runs against each other. */
export const rdmMethodNames = [
  "correlation",
  "euclidean",
  "cosine",
  "mahalanobis",
  "poisson",
  "crossnobis",
  "poisson-cv",
] as const;
export type RdmMethodName = (typeof rdmMethodNames)[number];

/** How `--noise` estimates the covariance of channels, by the names of the library and those that people say. */
export const noiseMethods: Readonly<Record<NoiseMethodName, CovarianceMethod>> = {
  full: "full",
  diagonal: "diag",
  "shrinkage-eye": "shrinkage_eye",
  "shrinkage-diagonal": "shrinkage_diag",
};
export type NoiseMethodName = "full" | "diagonal" | "shrinkage-eye" | "shrinkage-diagonal";

/** Where a file's noise is estimated: from residuals `[nTimes, nChannels]`, or else from what runs differ in. */
export interface NoiseSource {
  readonly method: NoiseMethodName;
  readonly residuals?: string | undefined;
}

/** What a file of numbers is taken for. */
export const fileKinds = ["auto", "rdms", "patterns"] as const;
export type FileKind = (typeof fileKinds)[number];

/** One file with its RDMs. */
export interface RdmFile {
  readonly file: NumberFile;
  readonly rdms: Rdms;
  /** Whether the RDMs were computed from patterns. */
  readonly computed: boolean;
}

const ENDS = /\.(npy|npz|mat|safetensors)$/i;

/** Paths of files; of a folder, those of its files that hold numbers, by name. */
export async function listFiles(paths: readonly string[]): Promise<readonly string[]> {
  const files: string[] = [];
  for (const path of paths) {
    // Of a file that is not there (or has an array's name behind a colon) the reader tells.
    const state = await stat(path).catch(() => undefined);
    if (!state?.isDirectory()) {
      files.push(path);
      continue;
    }
    const names = await readdir(path).catch((cause) => {
      throw fileError("rsa", path, cause);
    });
    const found = names.filter((name) => ENDS.test(name) && !name.startsWith(".")).sort();
    if (found.length === 0) {
      throw new DataError(
        `rsa: ${path}: expected .npy, .npz, .mat or .safetensors files, got none among ${names.length} files`,
      );
    }
    files.push(...found.map((name) => join(path, name)));
  }
  return files;
}

/** Reads a file of RDMs, or of patterns that RDMs are computed from. */
export async function readRdmFile(
  path: string,
  {
    kind,
    method,
    noise,
    linalg,
  }: {
    readonly kind: FileKind;
    readonly method: RdmMethodName;
    readonly noise?: NoiseSource | undefined;
    readonly linalg: Linalg;
  },
): Promise<RdmFile> {
  const file = await readNumbers("rsa", path, { allowNaN: true });
  const is = kind === "auto" ? seen(file) : kind;
  if (is === "rdms") return { file, rdms: givenRdms(file), computed: false };
  const patterns = patternsOf(file);
  const rdm = await computedRdms(patterns, method, noise, linalg);
  return { file, rdms: rdm, computed: true };
}

/** Whether every matrix of [k, n, n] is symmetric with a diagonal of zeros (or NaN). */
function areSquareRdms(data: Float64Array, k: number, n: number): boolean {
  for (let m = 0; m < k; m++) {
    const at = m * n * n;
    let largest = 0;
    for (let i = 0; i < n * n; i++) largest = Math.max(largest, Math.abs(data[at + i]!) || 0);
    for (let i = 0; i < n; i++) {
      const own = data[at + i * n + i]!;
      if (Math.abs(own) > 1e-8 * largest) return false;
      for (let j = i + 1; j < n; j++) {
        const [a, b] = [data[at + i * n + j]!, data[at + j * n + i]!];
        if (Number.isNaN(a) !== Number.isNaN(b) || Math.abs(a - b) > 1e-8 * largest) return false;
      }
    }
  }
  return true;
}

/** One list of dissimilarities, and square symmetric matrices without a diagonal, are RDMs; all else is patterns. */
function seen({ data, shape, names }: NumberFile): "rdms" | "patterns" {
  if (shape.length === 1 || names) return "rdms";
  const [n, m] = shape.slice(-2) as [number, number];
  if (shape.length > 3 || n !== m) return "patterns";
  return areSquareRdms(data, shape.length === 3 ? shape[0]! : 1, n) ? "rdms" : "patterns";
}

function givenRdms({ name, data, shape, names }: NumberFile): Rdms {
  const stem = name.replace(ENDS, "");
  const namesOf = (k: number): readonly string[] =>
    names ?? (k === 1 ? [stem] : Array.from({ length: k }, (_, i) => `${stem} ${i + 1}`));
  const [k, n] = shape.length === 3 ? [shape[0]!, shape[1]!] : [1, shape[0]!];
  const square = shape.length >= 2 && shape.at(-1) === shape.at(-2);
  if (shape.length === 3 || (shape.length === 2 && square)) {
    if (!square) {
      throw new ShapeError(
        `rsa: ${name}: expected [nRdms, nConditions, nConditions], got [${shape.join(", ")}]`,
      );
    }
    const size = n * n;
    const rows = Array.from({ length: k }, (_, i) => {
      const part = data.subarray(i * size, (i + 1) * size);
      try {
        return condensedRdm({ data: part, nRows: n, nColumns: n });
      } catch (cause) {
        if (!(cause instanceof DataError)) throw cause;
        throw new DataError(`rsa: ${name}: ${cause.message}`, { cause });
      }
    });
    return rdms(rows, { names: namesOf(k) });
  }
  if (shape.length > 2) {
    throw new ShapeError(`rsa: ${name}: expected at most 3 axes, got [${shape.join(", ")}]`);
  }
  const nRdms = shape.length === 2 ? shape[0]! : 1;
  const nPairs = shape.at(-1)!;
  try {
    return rdms(
      Array.from({ length: nRdms }, (_, i) => data.subarray(i * nPairs, (i + 1) * nPairs)),
      { names: namesOf(nRdms) },
    );
  } catch (cause) {
    if (!(cause instanceof ShapeError)) throw cause;
    throw new ShapeError(
      `rsa: ${name}: expected n (n - 1) / 2 dissimilarities of an RDM, got ${nPairs}`,
      {
        hint: "Patterns of conditions are [nConditions, nChannels]; --kind patterns says so.",
        cause,
      },
    );
  }
}

/** Observations of conditions in runs, and what they are measured in: channels, or channels over time. */
export interface Patterns {
  readonly name: string;
  /** `[nRuns nConditions, ...rest]`. */
  readonly data: Float64Array;
  readonly nRuns: number;
  readonly nConditions: number;
  readonly nChannels: number;
  /** 1 without a time axis. */
  readonly nTimes: number;
  readonly conditions: Int32Array;
  readonly runs: Int32Array;
}

/** Patterns `[nConditions, nChannels]` or `[nRuns, nConditions, nChannels]`, each with times as a last axis if asked for. */
export function patternsOf({ name, data, shape }: NumberFile, withTime = false): Patterns {
  const bad = data.findIndex(Number.isNaN);
  if (bad >= 0) {
    throw new DataError(`rsa: ${name}: expected finite patterns, got NaN among them`, {
      hint: "Leave out those channels. NaN may stand in RDMs alone, for pairs that were not measured.",
    });
  }
  const nTimes = withTime ? (shape.at(-1) ?? 1) : 1;
  const plain = withTime ? shape.slice(0, -1) : shape;
  if (plain.length < 2 || plain.length > 3) {
    const axes = withTime ? "nChannels, nTimes" : "nChannels";
    throw new ShapeError(
      `rsa: ${name}: expected patterns [nConditions, ${axes}] or [nRuns, nConditions, ${axes}], got [${shape.join(", ")}]`,
    );
  }
  const [nRuns, nConditions, nChannels] = (plain.length === 3 ? plain : [1, ...plain]) as [
    number,
    number,
    number,
  ];
  if (nConditions < 3) {
    throw new DataError(`rsa: ${name}: expected at least 3 conditions, got ${nConditions}`, {
      hint: "Rows are conditions, columns are channels.",
    });
  }
  const nRows = nRuns * nConditions;
  return {
    name: name.replace(ENDS, ""),
    data,
    nRuns,
    nConditions,
    nChannels,
    nTimes,
    conditions: Int32Array.from({ length: nRows }, (_, i) => i % nConditions),
    runs: Int32Array.from({ length: nRows }, (_, i) => Math.floor(i / nConditions)),
  };
}

/** Refuses distances between runs where there is one. */
export function checkRuns(
  { name, nRuns, nConditions, nChannels }: Patterns,
  method: RdmMethodName,
): void {
  if (nRuns >= 2 || (method !== "crossnobis" && method !== "poisson-cv")) return;
  const shape = nRuns === 1 ? [nConditions, nChannels] : [nRuns, nConditions, nChannels];
  throw new DataError(
    `rsa: ${name}: expected [nRuns, nConditions, nChannels] with at least 2 runs for ${method}, got [${shape.join(", ")}]`,
    {
      hint: "It holds runs against each other; without runs use --rdm euclidean or correlation.",
    },
  );
}

/** The inverse of the noise covariance of a file's channels. */
export async function precisionOf(
  { name, data, nRuns, nConditions, nChannels, conditions }: Patterns,
  { method, residuals }: NoiseSource,
  linalg: Linalg,
): Promise<Matrix<Float64Array>> {
  if (residuals !== undefined) {
    const file = await readNumbers("rsa", residuals);
    if (file.shape.length !== 2 || file.shape[1] !== nChannels) {
      throw new ShapeError(
        `rsa: ${file.name}: expected residuals [nTimes, ${nChannels}] as ${name} has ${nChannels} channels, got [${file.shape.join(", ")}]`,
      );
    }
    const x = tensor(file.data, ["stimulus", "unit"], file.shape as [number, number]);
    return noisePrecision(x, { method: noiseMethods[method], linalg });
  }
  if (nRuns < 2) {
    throw new DataError(
      `rsa: ${name}: expected [nRuns, nConditions, nChannels] with at least 2 runs to estimate noise from, got one`,
      { hint: "Or name residuals of a model of the data: --residuals DIR." },
    );
  }
  const x = tensor(data, ["stimulus", "unit"], [nRuns * nConditions, nChannels]);
  return noisePrecision(x, { method: noiseMethods[method], conditions, linalg });
}

async function computedRdms(
  patterns: Patterns,
  method: RdmMethodName,
  noise: NoiseSource | undefined,
  linalg: Linalg,
): Promise<Rdms> {
  const { name, data, nRuns, nConditions, nChannels, conditions, runs } = patterns;
  checkRuns(patterns, method);
  const x = tensor(data, ["stimulus", "unit"], [nRuns * nConditions, nChannels]);
  const precision = noise && (await precisionOf(patterns, noise, linalg));
  const options = { conditions, linalg, name, ...(precision ? { precision } : {}) };
  if (method === "crossnobis") return crossnobisRdm(x, { ...options, runs });
  if (method === "poisson-cv") return poissonCvRdm(x, { conditions, linalg, name, runs });
  return calcRdm(x, { ...options, method: method as RdmMethod });
}

/** Names of conditions, one a line. */
export async function readLabels(path: string, n: number): Promise<readonly string[]> {
  const text = await readFile(path, "utf8").catch((cause) => {
    throw fileError("rsa", path, cause);
  });
  const lines = text.replace(/^\ufeff/, "").split(/\r?\n/);
  while (lines.at(-1) === "") lines.pop();
  if (lines.length !== n) {
    throw new FormatError(
      `rsa: ${basename(path)}: expected ${n} lines, one for each condition, got ${lines.length}`,
    );
  }
  return lines.map((line) => line.slice(0, 200));
}

/**
 * Whose each RDM is, from a table of two columns: a file (with or without its ending) or an RDM, and its subject. Tabs or commas
 * between them; a first line "file, subject" may say so.
 */
export async function readSubjects(
  path: string,
  all: readonly { readonly rdm: string; readonly file: string }[],
): Promise<readonly string[]> {
  const where = `rsa: ${basename(path)}`;
  const text = await readFile(path, "utf8").catch((cause) => {
    throw fileError("rsa", path, cause);
  });
  const subjectOf = new Map<string, string>();
  for (const [at, line] of text
    .replace(/^\ufeff/, "")
    .split(/\r?\n/)
    .entries()) {
    if (line.trim() === "") continue;
    const cells = line.split(line.includes("\t") ? "\t" : ",").map((cell) => cell.trim());
    const [name, subject] = cells;
    if (cells.length !== 2 || !name || !subject) {
      throw new FormatError(
        `${where}: line ${at + 1}: expected a file and its subject, got ${JSON.stringify(line.slice(0, 80))}`,
        { hint: "Two columns, tabs or commas between: sub-01_ses-1.npy, sub-01" },
      );
    }
    if (at === 0 && subject.toLowerCase() === "subject") continue;
    if (subjectOf.has(name)) {
      throw new FormatError(
        `${where}: line ${at + 1}: expected every file once, got ${name} again`,
      );
    }
    subjectOf.set(name, subject);
  }
  const used = new Set<string>();
  const found = all.map(({ rdm, file }) => {
    const name = [rdm, file, file.replace(ENDS, "")].find((one) => subjectOf.has(one));
    if (name === undefined) {
      throw new FormatError(
        `${where}: expected the subject of ${rdm} (${file}), got no line for it`,
      );
    }
    used.add(name);
    return subjectOf.get(name)!;
  });
  const unused = [...subjectOf.keys()].find((name) => !used.has(name));
  if (unused !== undefined) {
    throw new FormatError(`${where}: expected files or RDMs of the data, got ${unused}`, {
      hint: `The data are ${[...new Set(all.map(({ file }) => file))].slice(0, 10).join(", ")}.`,
    });
  }
  return found;
}
