import { ArgumentError, DataError } from "@penfield/core";
import type { HookedModel } from "../transformer/model.ts";

/** Numbers of one kind in memory at once: 256 MB of scores, 512 MB of row numbers. */
const MAX_NUMBERS = 2 ** 26;

/**
 * Rows in one run: as many as were asked for, or 128, and fewer where scores or the row numbers of
 * patches would not fit.
 *
 * @param width - Values at each position for which a row number is fed; 0 if none are.
 */
export function rowsInRun(
  model: HookedModel,
  length: number,
  width: number,
  batchSize: number | undefined,
  name: string,
): number {
  if (batchSize === undefined) {
    const perRow = length * Math.max(model.cfg.dVocab ?? 1, width);
    return Math.max(1, Math.min(128, Math.floor(MAX_NUMBERS / perRow)));
  }
  if (!Number.isInteger(batchSize) || batchSize < 1) {
    throw new ArgumentError(`${name}: expected a batch of at least 1 row, got ${batchSize}`);
  }
  return batchSize;
}

/** The one length of some prompts. @throws {DataError} if there are none, or they differ. */
export function lengthOfPrompts(tokens: readonly (readonly number[])[], name: string): number {
  const lengths = [...new Set(tokens.map((row) => row.length))];
  if (lengths.length === 1) return lengths[0]!;
  throw new DataError(
    `${name}: expected prompts of one length, got ${lengths.length === 0 ? "none" : `lengths ${lengths.join(", ")}`}`,
  );
}

/** The one length of clean and corrupted prompts. @throws {DataError} if they do not correspond. */
export function lengthOfPairs(
  clean: readonly (readonly number[])[],
  corrupted: readonly (readonly number[])[],
  name: string,
): number {
  const lengths = [...new Set([...clean, ...corrupted].map((row) => row.length))];
  if (clean.length === 0 || clean.length !== corrupted.length || lengths.length !== 1) {
    throw new DataError(
      `${name}: expected as many corrupted prompts as clean ones, all of one length, got ${clean.length} clean, ${corrupted.length} corrupted, lengths ${lengths.join(", ")}`,
      { hint: "Positions correspond only between prompts of one length." },
    );
  }
  return lengths[0]!;
}

/** Consecutive prompts, from `start` up to before `end`. */
export interface PromptChunk {
  readonly start: number;
  readonly end: number;
}

/** Blocks of rows that a run should have room for; fewer waste much on rows that every run needs. */
const BLOCKS = 8;

/** All prompts together where a run has room for several blocks of them; else parts that leave room. */
export function promptChunks(nPrompts: number, batchSize: number): PromptChunk[] {
  const fits = Math.max(1, Math.floor(batchSize / BLOCKS));
  return Array.from({ length: Math.ceil(nPrompts / fits) }, (_, i) => ({
    start: i * fits,
    end: Math.min((i + 1) * fits, nPrompts),
  }));
}

/** Mean of each run of `n` values: `[group * n]` to `[group]`. */
export function meansOf(values: ArrayLike<number>, n: number): number[] {
  return Array.from({ length: values.length / n }, (_, group) => {
    let sum = 0;
    for (let i = 0; i < n; i++) sum += values[group * n + i]!;
    return sum / n;
  });
}

/** Rows `n * block` to `n * (block + 1)`: those that carry the same prompts another time. */
export function blockOfRows(block: number, n: number): number[] {
  return Array.from({ length: n }, (_, i) => block * n + i);
}
