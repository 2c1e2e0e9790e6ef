import { ArgumentError, createRng, numpyRandom, permutation } from "@penfield/core";

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

/**
 * k folds of stimuli in random order. For stimuli that do not resemble their neighbours only: else held-out stimuli have
 * near-copies among those fitted to, and scores are inflated.
 *
 * @param n - How many stimuli.
 * @param k - How many folds, 2..n.
 * @param seed - Default 0.
 * @throws {ArgumentError} if k is out of range.
 *
 * Source: what it does to scores: Feghhi et al. (2024); Kaufman et al. (2012), ACM TKDD 6:15.
 *
 * @example
 * shuffledFolds(6, 3, 1).flatMap(({ test }) => [...test]).sort().join("") // => "012345"
 */
export function shuffledFolds(n: number, k: number, seed = 0): readonly Fold[] {
  const order = permutation(n, createRng(seed));
  return contiguousFolds(n, k).map(({ train, test }) => ({
    train: train.map((i) => order[i]!).sort(),
    test: test.map((i) => order[i]!).sort(),
  }));
}

/**
 * k folds with as equal a share of each class as possible, each class in contiguous pieces.
 *
 * @param labels - A class per stimulus, at least k of each.
 * @param k - How many folds, at least 2.
 * @throws {ArgumentError} if k is out of range or a class has fewer than k stimuli.
 *
 * Matches sklearn.model_selection.StratifiedKFold(k) without shuffling.
 *
 * @example
 * stratifiedFolds(["a", "b", "a", "b"], 2).map(({ test }) => test.join("")).join(" ") // => "01 23"
 */
export function stratifiedFolds(labels: ArrayLike<string | number>, k: number): readonly Fold[] {
  const all = Array.from(labels);
  const classes = [...new Set(all)];
  if (!Number.isInteger(k) || k < 2) {
    throw new ArgumentError(`stratifiedFolds: expected at least 2 folds, got ${k}`);
  }
  // How many of each class a fold gets: classes in order of appearance, dealt out as if sorted.
  const sorted = classes.flatMap((label) => all.filter((other) => other === label));
  const quota = new Map(classes.map((label) => [label, new Array<number>(k).fill(0)]));
  sorted.forEach((label, i) => {
    quota.get(label)![i % k]!++;
  });
  const foldOf = new Int32Array(all.length);
  for (const label of classes) {
    const members = all.flatMap((other, i) => (other === label ? [i] : []));
    if (members.length < k) {
      throw new ArgumentError(
        `stratifiedFolds: expected at least ${k} stimuli of each class, got ${members.length} of ${label}`,
      );
    }
    let at = 0;
    quota.get(label)!.forEach((count, fold) => {
      for (let c = 0; c < count; c++) foldOf[members[at++]!] = fold;
    });
  }
  return foldsFrom(foldOf, k);
}

/**
 * Random splits as scikit-learn draws them, for published recipes that name a `random_state`.
 *
 * @param n - How many stimuli.
 * @param options.nSplits - Default 10.
 * @param options.trainShare - Default 0.9.
 * @param options.randomState - Default 1.
 * @throws {ArgumentError} if a side would be empty.
 *
 * Matches sklearn.model_selection.ShuffleSplit(nSplits, train_size=trainShare, random_state=randomState), orders included.
 *
 * @example
 * sklearnShuffleSplits(10)[0].test.join() // => "2"
 */
export function sklearnShuffleSplits(
  n: number,
  {
    nSplits = 10,
    trainShare = 0.9,
    randomState = 1,
  }: { nSplits?: number; trainShare?: number; randomState?: number } = {},
): readonly Fold[] {
  const nTrain = Math.floor(trainShare * n);
  if (nTrain < 1 || nTrain >= n || !Number.isInteger(nSplits) || nSplits < 1) {
    throw new ArgumentError(
      `sklearnShuffleSplits: expected splits of ${n} stimuli with both sides filled, got ${nSplits} with ${nTrain} to fit`,
    );
  }
  const random = numpyRandom(randomState);
  return Array.from({ length: nSplits }, () => {
    const order = random.permutation(n);
    return { train: order.slice(n - nTrain), test: order.slice(0, n - nTrain) };
  });
}

/**
 * Folds of whole groups in random order as scikit-learn draws them, for published recipes that name a `random_state`.
 *
 * @param groups - A label per stimulus; labels are ordered as numpy.unique does (numbers by value, text by code point).
 * @param k - How many folds, from 2 to the number of groups.
 * @param options.randomState - Default 1234.
 * @throws {ArgumentError} if k is out of range.
 *
 * Matches sklearn.model_selection.GroupKFold(k, shuffle=True, random_state=randomState) of scikit-learn 1.6 and later.
 *
 * @example
 * sklearnGroupFolds(["b", "a", "b", "c"], 3).map(({ test }) => test.join("")).sort().join(" ") // => "02 1 3"
 */
export function sklearnGroupFolds(
  groups: ArrayLike<string | number>,
  k: number,
  { randomState = 1234 }: { randomState?: number } = {},
): readonly Fold[] {
  const all = Array.from(groups);
  const unique = [...new Set(all)].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  if (!Number.isInteger(k) || k < 2 || k > unique.length) {
    throw new ArgumentError(
      `sklearnGroupFolds: expected 2..${unique.length} folds of ${unique.length} groups, got ${k}`,
    );
  }
  const order = numpyRandom(randomState).permutation(unique.length);
  const foldOfGroup = new Map<string | number, number>();
  for (const [fold, { test }] of contiguousFolds(unique.length, k).entries()) {
    for (const at of test) foldOfGroup.set(unique[order[at]!]!, fold);
  }
  return foldsFrom(
    Int32Array.from(all, (group) => foldOfGroup.get(group)!),
    k,
  );
}
