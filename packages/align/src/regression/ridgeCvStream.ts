import {
  closeSync,
  existsSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  statSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import {
  type Activations,
  ArgumentError,
  FileError,
  type FloatArray,
  FormatError,
  fileError,
  ShapeError,
  sha256,
  tensor,
  throwIfAborted,
  writeFileAtomic,
} from "@penfield/core";
import { inPrecision, type Precision } from "./arrays.ts";
import { checkFinite } from "./columns.ts";
import { npyHeader, openNpyRows } from "./npyRows.ts";
import { choosePenalties } from "./penaltySearch.ts";
import type { Responses, RidgeOptions } from "./ridgeCv.ts";
import { prepareRidge, searchBatch, shrunkTotals, withLinalg } from "./ridgeEngine.ts";
import { planRidge } from "./ridgePlan.ts";

/** Responses that need not fit into memory, read some targets at a time. */
export interface TargetSource {
  readonly nStimuli: number;
  readonly nTargets: number;
  /** What a resumed run compares to know that the targets are still the same. */
  readonly identity: string;
  /** Targets `from` to `to`, `[nStimuli, to - from]`. */
  read(from: number, to: number): Promise<Responses> | Responses;
  close(): void;
}

/** How a streamed model is fitted. */
export interface RidgeStreamOptions extends Omit<RidgeOptions, "perTarget" | "targetBatch"> {
  /** How many targets are read at a time. Default 2000. */
  readonly targetBatch?: number | undefined;
  /** Whether coefficients are written as well. Default true. */
  readonly coefficients?: boolean | undefined;
}

/** Where a streamed model lies. */
export interface RidgeStreamResult {
  readonly nTargets: number;
  /** Targets that an earlier run had done. */
  readonly resumedAt: number;
  /** Paths of the files: best_alphas.npy, cv_scores.npy, intercept.npy `[nTargets]`; coefficients.npy `[nTargets, nUnits]`. */
  readonly files: readonly string[];
}

interface Manifest {
  readonly version: 1;
  readonly question: string;
  readonly nTargets: number;
  readonly done: number;
}

/**
 * `ridgeCv` for targets that do not fit into memory (whole brains, many subjects): read in batches, results written batch
 * by batch. A run that was stopped goes on where it was, and leaves the same bytes as one that was not.
 *
 * @param x - Activations, `[nStimuli, nUnits]`, finite.
 * @param targets - From `npyTargets`, or of one's own.
 * @param folder - Where results are written: .npy files, and manifest.json, which says how far they are good. Made if it is not there.
 * @param options - As `ridgeCv`'s; every target has a penalty of its own.
 * @returns Where the results are. Coefficients lie target by target, `[nTargets, nUnits]`, so that a batch is one piece of the file.
 * @throws {ShapeError} if the numbers of stimuli differ.
 * @throws {DataError} if a value is not finite; what was written before stays.
 * @throws {ArgumentError} if an option is out of range, or the folder holds results of other data or options.
 * @throws {FileError} if a file cannot be written.
 * @throws {InterruptedError} if the signal fires.
 *
 * Cost: as `ridgeCv`; memory does not grow with the number of targets. Results are float32 where the precision is, else float64.
 */
export async function ridgeCvStream(
  x: Activations,
  targets: TargetSource,
  folder: string,
  options: RidgeStreamOptions = {},
): Promise<RidgeStreamResult> {
  const name = "ridgeCvStream";
  const { targetBatch = 2000, coefficients: wanted = true, onProgress, signal } = options;
  const { nTargets } = targets;
  const [nStimuli, nUnits] = x.shape;
  if (targets.nStimuli !== nStimuli) {
    throw new ShapeError(
      `${name}: expected as many stimuli in x as in the targets, got ${nStimuli} and ${targets.nStimuli}`,
    );
  }
  if (!Number.isInteger(targetBatch) || targetBatch < 1 || nTargets < 1) {
    throw new ArgumentError(
      `${name}: expected targets and a positive whole number for targetBatch, got ${nTargets} and ${targetBatch}`,
    );
  }
  const first = await targets.read(0, Math.min(nTargets, targetBatch));
  const plan = planRidge(x, first, { ...options, targetBatch, perTarget: true }, name);
  const question = sha256(
    Buffer.from(
      JSON.stringify([
        sha256(bytesOf(x.data)),
        x.shape,
        targets.identity,
        nTargets,
        { ...plan, folds: plan.folds.map(({ train, test }) => [[...train], [...test]]), nTargets },
        wanted,
      ]),
    ),
  );
  const done = await openFolder(folder, question, nTargets);
  const precision = plan.precision;
  const files = [
    resultFile(folder, "best_alphas", [nTargets], "float64", done),
    resultFile(folder, "cv_scores", [nTargets], "float64", done),
    resultFile(folder, "intercept", [nTargets], "float64", done),
    ...(wanted ? [resultFile(folder, "coefficients", [nTargets, nUnits], precision, done)] : []),
  ];
  const [alphasFile, scoresFile, interceptFile, coefficientsFile] = files;
  try {
    await withLinalg(options.linalg, async (linalg) => {
      if (done >= nTargets) return;
      const prepared = await prepareRidge(x, plan, linalg, { signal });
      const v = inPrecision(await prepared.spectrum.v(), precision);
      const { xMeans } = prepared.spectrum;
      for (let from = done; from < nTargets; from += targetBatch) {
        throwIfAborted(signal, name);
        const to = Math.min(nTargets, from + targetBatch);
        const y = from === 0 ? first : await targets.read(from, to);
        if (y.shape[0] !== nStimuli || y.shape[1] !== to - from) {
          throw new ShapeError(
            `${name}: expected targets ${from} to ${to} as ${nStimuli} x ${to - from}, got ${y.shape.join(" x ")}`,
          );
        }
        if (from > 0) checkFinite(name, `responses (from target ${from})`, y.data, to - from);
        const whole = { data: y.data, nRows: nStimuli, nColumns: to - from };
        const found = await searchBatch(whole, 0, to - from, prepared, plan, linalg, { signal });
        const { chosen, cvScores } = choosePenalties(found.scores, plan);
        const alphas = Float64Array.from(chosen, (a) => plan.alphas[a]!);
        const shrunk = shrunkTotals(found.total, prepared, alphas);
        const fitted = await linalg.matmul(shrunk, v, { transposeB: true }); // [nBatch, nUnits]
        const intercept = found.batch.means.map((mean, t) => {
          let sum = 0;
          for (let u = 0; u < nUnits; u++) sum += xMeans[u]! * fitted.data[t * nUnits + u]!;
          return mean - sum;
        });
        alphasFile!.write(alphas, from);
        scoresFile!.write(cvScores, from);
        interceptFile!.write(intercept, from);
        coefficientsFile?.write(fitted.data, from * nUnits);
        // Only now do these targets count.
        await writeManifest(folder, { version: 1, question, nTargets, done: to });
        onProgress?.({ stage: "fitting", done: to, total: nTargets, unit: "targets" });
      }
    });
  } finally {
    for (const file of files) file.close();
  }
  return { nTargets, resumedAt: done, files: files.map(({ path }) => path) };
}

/**
 * The columns of a .npy file, `[nStimuli, nTargets]`, float32 or float64, row-major: read in batches of targets, never whole.
 *
 * @throws {FileError} if the file cannot be read.
 * @throws {FormatError} if it holds something else.
 */
export function npyTargets(path: string): TargetSource {
  const rows = openNpyRows(path);
  return {
    nStimuli: rows.nRows,
    nTargets: rows.nColumns,
    identity: `${rows.nRows} x ${rows.nColumns} ${rows.type}, ${rows.size} bytes, modified ${rows.modified}`,
    read: (from, to) =>
      tensor(rows.readColumns(from, to), ["stimulus", "target"], [rows.nRows, to - from]),
    close: () => rows.close(),
  };
}

const bytesOf = ({ buffer, byteOffset, byteLength }: FloatArray): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);

/** How many targets the folder holds results of. */
async function openFolder(folder: string, question: string, nTargets: number): Promise<number> {
  const path = join(folder, "manifest.json");
  try {
    mkdirSync(folder, { recursive: true });
  } catch (cause) {
    throw fileError("ridgeCvStream", folder, cause);
  }
  if (!existsSync(path)) {
    await writeManifest(folder, { version: 1, question, nTargets, done: 0 });
    return 0;
  }
  let manifest: Manifest;
  try {
    manifest = JSON.parse(readFileSync(path, "utf8"));
  } catch (cause) {
    throw new FormatError(
      `ridgeCvStream: ${path}: expected JSON, got ${(cause as Error).message}`,
      {
        cause,
      },
    );
  }
  if (manifest.question !== question || manifest.nTargets !== nTargets) {
    throw new ArgumentError(
      `ridgeCvStream: ${folder}: expected results of the same data and options, got others`,
      { hint: "Name another folder, or delete this one." },
    );
  }
  return manifest.done;
}

async function writeManifest(folder: string, manifest: Manifest): Promise<void> {
  await writeFileAtomic(join(folder, "manifest.json"), `${JSON.stringify(manifest)}\n`);
}

interface ResultFile {
  readonly path: string;
  write(values: FloatArray, at: number): void;
  close(): void;
}

/** A .npy file of its final size, filled piece by piece. */
function resultFile(
  folder: string,
  name: string,
  shape: readonly number[],
  precision: Precision,
  done: number,
): ResultFile {
  const path = join(folder, `${name}.npy`);
  const single = precision === "float32";
  const itemBytes = single ? 4 : 8;
  const header = npyHeader(precision, shape);
  const size = header.length + itemBytes * shape.reduce((a, b) => a * b, 1);
  let file: number;
  try {
    if (done > 0 && !(existsSync(path) && statSync(path).size === size)) {
      throw new FileError(`ridgeCvStream: ${path}: expected the ${size} bytes of an earlier run`, {
        hint: "Delete the folder and start again.",
      });
    }
    file = openSync(path, done > 0 ? "r+" : "w+");
    if (done === 0) {
      writeSync(file, header, 0, header.length, 0);
      ftruncateSync(file, size);
    }
  } catch (cause) {
    if (cause instanceof FileError) throw cause;
    throw fileError("ridgeCvStream", path, cause);
  }
  return {
    path,
    write(values, at) {
      const bytes = bytesOf(values);
      let sent = 0;
      try {
        while (sent < bytes.length) {
          const place = header.length + at * itemBytes + sent;
          sent += writeSync(file, bytes, sent, bytes.length - sent, place);
        }
      } catch (cause) {
        throw fileError("ridgeCvStream", path, cause);
      }
    },
    close: () => closeSync(file),
  };
}
