import { DataError, type Tensor, tensor } from "@penfield/core";

const LARGEST_BYTES = 2 ** 32;

/** What is measured per presentation of a stimulus. */
export interface Presentations {
  /** `[nPresentations, nValues]`. */
  readonly data: ArrayLike<number>;
  readonly nValues: number;
  /** One per presentation. */
  readonly ids: readonly string[];
  /** Which repeat of its stimulus each presentation is; default the order of presentations. */
  readonly repeats?: readonly string[] | undefined;
}

/**
 * Presentations of stimuli as repeats: stimuli in the order in which they first appear, repeats in the order of
 * their numbers (those of one number in the order of the file); NaN where a stimulus was not presented as often as another.
 *
 * @throws {DataError} if there are no values, or filling up takes more than 4 GiB.
 */
export function presentationsToRepeats(
  { data, nValues, ids, repeats }: Presentations,
  where: string,
): {
  data: Tensor<readonly ["repeat", "stimulus", "target"]>;
  stimulusIds: readonly string[];
} {
  const groups = new Map<string, number[]>();
  for (const [i, id] of ids.entries()) {
    const group = groups.get(id);
    if (group) group.push(i);
    else groups.set(id, [i]);
  }
  if (repeats) {
    for (const rows of groups.values()) rows.sort((a, b) => compare(repeats[a]!, repeats[b]!));
  }
  const stimulusIds = [...groups.keys()];
  const nRepeats = [...groups.values()].reduce((most, rows) => Math.max(most, rows.length), 0);
  const shape = [nRepeats, stimulusIds.length, nValues] as const;
  const size = shape.reduce((a, b) => a * b, 1);
  if (size === 0 || size * 8 > LARGEST_BYTES) {
    throw new DataError(
      `${where}: expected [repeat, stimulus, target] of at most ${LARGEST_BYTES} bytes, got [${shape.join(", ")}]`,
    );
  }
  const Values = data instanceof Float32Array ? Float32Array : Float64Array;
  const out = new Values(size).fill(Number.NaN);
  [...groups.values()].forEach((rows, stimulus) => {
    rows.forEach((row, repeat) => {
      const to = (repeat * stimulusIds.length + stimulus) * nValues;
      for (let k = 0; k < nValues; k++) out[to + k] = data[row * nValues + k]!;
    });
  });
  return { data: tensor(out, ["repeat", "stimulus", "target"], shape), stimulusIds };
}

/** Numbers by size, other text by letters. */
function compare(a: string, b: string): number {
  const difference = Number(a) - Number(b);
  if (Number.isFinite(difference)) return difference;
  return a < b ? -1 : a > b ? 1 : 0;
}

/**
 * Refuses values that no score can be computed from; NaN only stands where a stimulus was not repeated.
 *
 * @throws {DataError} with the count and the first place.
 */
export function checkFinite(data: ArrayLike<number>, nValues: number, where: string): void {
  let bad = 0;
  let first = -1;
  for (let i = 0; i < data.length; i++) {
    if (Number.isFinite(data[i])) continue;
    if (bad++ === 0) first = i;
  }
  if (bad === 0) return;
  throw new DataError(
    `${where}: expected finite values, got ${bad} that are NaN or infinite, first in presentation ${Math.floor(first / nValues)}, value ${first % nValues}`,
    { hint: "Leave out the targets or stimuli that were not measured." },
  );
}
