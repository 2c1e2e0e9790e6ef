import { ArgumentError } from "@penfield/core";

/** Which stimuli a model is fitted to, and which it is then asked about. */
export interface Fold {
  readonly train: Int32Array;
  readonly test: Int32Array;
}

/**
 * k blocks of neighbouring stimuli, each held out once; sizes differ by at most one, the larger first.
 *
 * Neighbours often resemble each other (sentences of one story, samples of a slow signal). Held out as a
 * block they cannot help to predict each other, as they do when stimuli are shuffled.
 *
 * @param n - How many stimuli.
 * @param k - How many folds, 2..n.
 * @throws {ArgumentError} if k is out of range.
 *
 * Matches sklearn.model_selection.KFold(k) without shuffling.
 *
 * @example
 * contiguousFolds(5, 2).map(({ test }) => test.join("")).join(" ") // => "012 34"
 */
export function contiguousFolds(n: number, k: number): readonly Fold[] {
  if (!Number.isInteger(n) || !Number.isInteger(k) || k < 2 || k > n) {
    throw new ArgumentError(`contiguousFolds: expected 2..${n} folds of ${n} stimuli, got ${k}`);
  }
  const foldOf = new Int32Array(n);
  let at = 0;
  for (let fold = 0; fold < k; fold++) {
    const size = Math.floor(n / k) + (fold < n % k ? 1 : 0);
    foldOf.fill(fold, at, at + size);
    at += size;
  }
  return foldsFrom(foldOf, k);
}

/**
 * k folds that keep stimuli of one group (a story, a run, a concept) together. The largest groups are
 * placed first, each into the fold that is smallest so far; with k groups each fold leaves one out.
 *
 * @param groups - A label per stimulus.
 * @param k - How many folds, from 2 to the number of groups. Default: that number.
 * @throws {ArgumentError} if k is out of range.
 *
 * @example
 * groupedFolds(["a", "b", "a", "c"], 2).map(({ test }) => test.join("")).join(" ") // => "02 13"
 */
export function groupedFolds(groups: ArrayLike<string | number>, k?: number): readonly Fold[] {
  const members = new Map<string | number, number[]>();
  for (let i = 0; i < groups.length; i++) {
    const group = members.get(groups[i]!);
    if (group) group.push(i);
    else members.set(groups[i]!, [i]);
  }
  const nFolds = k ?? members.size;
  if (!Number.isInteger(nFolds) || nFolds < 2 || nFolds > members.size) {
    throw new ArgumentError(
      `groupedFolds: expected 2..${members.size} folds of ${members.size} groups, got ${nFolds}`,
    );
  }
  const sizes = new Array<number>(nFolds).fill(0);
  const foldOf = new Int32Array(groups.length);
  for (const group of [...members.values()].sort((a, b) => b.length - a.length)) {
    const fold = sizes.indexOf(Math.min(...sizes));
    sizes[fold]! += group.length;
    for (const i of group) foldOf[i] = fold;
  }
  return foldsFrom(foldOf, nFolds);
}

function foldsFrom(foldOf: Int32Array, k: number): readonly Fold[] {
  const all = foldOf.map((_, i) => i);
  return Array.from({ length: k }, (_, fold) => ({
    train: all.filter((i) => foldOf[i] !== fold),
    test: all.filter((i) => foldOf[i] === fold),
  }));
}

/** Refuses folds that name stimuli that are not there, or have too few to fit or to test. */
export function checkFolds(name: string, folds: readonly Fold[], n: number): void {
  if (folds.length === 0) throw new ArgumentError(`${name}: expected at least one fold, got none`);
  folds.forEach(({ train, test }, fold) => {
    if (train.length < 2 || test.length < 1) {
      throw new ArgumentError(
        `${name}: expected at least 2 stimuli to fit and 1 to test in fold ${fold}, got ${train.length} and ${test.length}`,
      );
    }
    const fitted = new Set(train);
    for (const side of [train, test]) {
      for (const i of side) {
        if (!(i >= 0 && i < n)) {
          throw new ArgumentError(
            `${name}: expected stimuli within 0..${n - 1} in fold ${fold}, got ${i}`,
          );
        }
      }
    }
    const both = test.find((i) => fitted.has(i));
    if (both !== undefined) {
      throw new ArgumentError(
        `${name}: expected stimuli either to fit or to test in fold ${fold}, got ${both} in both`,
      );
    }
  });
}
