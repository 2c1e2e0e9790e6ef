import { ArgumentError, ShapeError } from "@penfield/core";
import type { Fold } from "../folds.ts";

/** What a split does to stimuli that have an order. */
export interface FoldDescription {
  /**
   * `grouped`: no group is on both sides of any fold. `contiguous`: held-out stimuli form blocks, so that fewer than
   * half of them stand beside one that the model is fitted to. `shuffled`: all else.
   */
  readonly kind: "contiguous" | "grouped" | "shuffled";
  /**
   * Share of held-out stimuli with a neighbour (in time, and of the same group if groups are known) among those
   * fitted to.
   */
  readonly besideTraining: number;
  /** Mean number of stimuli in an unbroken held-out block. */
  readonly meanBlockLength: number;
  /** Groups with stimuli on both sides of some fold; 0 without groups. */
  readonly nSplitGroups: number;
  /** What a reader must be told; undefined if nothing. */
  readonly warning: string | undefined;
}

/**
 * Says how folds hold out stimuli: in blocks, by groups, or shuffled, which inflates scores over stimuli that
 * resemble their neighbours.
 *
 * @param folds - At least one.
 * @param options.nStimuli - How many there are. Default: the largest index + 1.
 * @param options.groups - A label per stimulus (story, run): stimuli of different groups are no neighbours.
 * @param options.order - When each stimulus was shown, as numbers that ascend. Default: the order of the rows.
 * @returns The kind, what it rests on, and the warning for reports.
 * @throws {ArgumentError} if there are no folds, or one names a stimulus that is not there.
 * @throws {ShapeError} if there is not one group or place per stimulus.
 *
 * Source: what shuffling does: Feghhi et al. (2024); Hadidi et al. (2025).
 *
 * @example
 * describeFolds(contiguousFolds(20, 4)).kind // => "contiguous"
 * describeFolds(shuffledFolds(20, 4)).kind // => "shuffled"
 */
export function describeFolds(
  folds: readonly Fold[],
  {
    nStimuli,
    groups,
    order,
  }: {
    nStimuli?: number | undefined;
    groups?: ArrayLike<string | number> | undefined;
    order?: ArrayLike<number> | undefined;
  } = {},
): FoldDescription {
  if (folds.length === 0) throw new ArgumentError("describeFolds: expected folds, got none");
  const sides = folds.flatMap(({ train, test }) => [train, test]);
  const largest = sides.reduce((most, side) => side.reduce((a, b) => Math.max(a, b), most), -1);
  const n = nStimuli ?? largest + 1;
  const outside = sides
    .map((side) => side.find((i) => !(i >= 0 && i < n)))
    .find((i) => i !== undefined);
  if (outside !== undefined) {
    throw new ArgumentError(`describeFolds: expected stimuli within 0..${n - 1}, got ${outside}`);
  }
  for (const [name, values] of Object.entries({ groups, order })) {
    if (values !== undefined && values.length !== n) {
      throw new ShapeError(
        `describeFolds: expected ${n} ${name}, one per stimulus, got ${values.length}`,
      );
    }
  }
  const neighbours = neighboursOf(n, groups, order);
  let nHeld = 0;
  let nBeside = 0;
  let nBlocks = 0;
  const splitGroups = new Set<string | number>();
  for (const { train, test } of folds) {
    const fitted = new Set(train);
    const held = new Set(test);
    for (const i of held) {
      const [before, after] = neighbours[i]!;
      nHeld++;
      if (fitted.has(before) || fitted.has(after)) nBeside++;
      if (!held.has(before)) nBlocks++;
    }
    if (groups === undefined) continue;
    const fittedGroups = new Set(Array.from(train, (i) => groups[i]!));
    for (const i of held) if (fittedGroups.has(groups[i]!)) splitGroups.add(groups[i]!);
  }
  const besideTraining = nHeld === 0 ? 0 : nBeside / nHeld;
  const nSplitGroups = splitGroups.size;
  const kind =
    groups !== undefined && nSplitGroups === 0
      ? "grouped"
      : besideTraining < 0.5
        ? "contiguous"
        : "shuffled";
  return {
    kind,
    besideTraining,
    meanBlockLength: nBlocks === 0 ? 0 : nHeld / nBlocks,
    nSplitGroups,
    warning: warningOf(kind, besideTraining, nSplitGroups),
  };
}

/** No stimulus has this index. */
const NONE = -1;

/** The stimuli shown just before and after each, within its group. */
function neighboursOf(
  n: number,
  groups: ArrayLike<string | number> | undefined,
  order: ArrayLike<number> | undefined,
): readonly (readonly [before: number, after: number])[] {
  const shown = Array.from({ length: n }, (_, i) => i);
  if (order !== undefined) shown.sort((a, b) => order[a]! - order[b]!);
  const out: [number, number][] = shown.map(() => [NONE, NONE]);
  const last = new Map<string | number, number>();
  for (const i of shown) {
    const group = groups?.[i] ?? 0;
    const before = last.get(group);
    if (before !== undefined) {
      out[i]![0] = before;
      out[before]![1] = i;
    }
    last.set(group, i);
  }
  return out;
}

function warningOf(
  kind: FoldDescription["kind"],
  beside: number,
  nSplitGroups: number,
): string | undefined {
  if (kind === "shuffled") {
    return `Folds are shuffled: ${Math.round(100 * beside)} % of held-out stimuli stand beside one that the model was fitted to. If neighbours resemble each other (one story, one run), scores are inflated, and a model of time alone scores too: compare with autocorrelationFloor, or use contiguous or grouped folds.`;
  }
  return nSplitGroups > 0
    ? `${nSplitGroups} groups have stimuli on both sides of a fold: what is common to a group (a story, a run) helps to predict. Use groupedFolds.`
    : undefined;
}
