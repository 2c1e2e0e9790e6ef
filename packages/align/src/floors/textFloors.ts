import { type Activations, ArgumentError, DataError, ShapeError, tensor } from "@penfield/core";
import { positionLengthFloor, zScores } from "./positionLengthFloor.ts";

/** A text per stimulus; or, for a row that averages several, the list of these. */
export type FloorStimuli = Parameters<typeof positionLengthFloor>[0];

/** Where frequencies come from. */
export interface FrequencyOptions {
  /**
   * How often each word is used, by the word in lower case. Default: counted in the stimuli themselves, all of them:
   * no response is used.
   */
  readonly counts?: ReadonlyMap<string, number> | Readonly<Record<string, number>> | undefined;
}

/**
 * How usual the words of stimuli are: a control for everything that goes with frequency.
 *
 *   log10((count + 1) / (total + number of different words)), over the words of a stimulus: mean, and that of the
 *   rarest
 *
 * @param stimuli - In the recording's order, at least 2; or lists of texts for rows that average several.
 * @param options.counts - Default: counted in the stimuli themselves.
 * @returns `[nStimuli, 2]`: mean and rarest, each z-scored over stimuli (0 if it does not vary). Words are runs of
 *   letters, digits and apostrophes, in lower case.
 * @throws {ShapeError} if there are fewer than 2 stimuli.
 * @throws {DataError} if a stimulus has no word.
 * @throws {ArgumentError} if a count is negative or not finite.
 *
 * Source: add-one smoothing after Brysbaert & Diependaele (2013), Behav Res Methods 45:422-430.
 *
 * @example
 * wordFrequencyFloor([{ text: "the the the cat" }, { text: "aardvark" }]).data[0] // => 1
 */
export function wordFrequencyFloor(
  stimuli: FloorStimuli,
  { counts }: FrequencyOptions = {},
): Activations {
  if (stimuli.length < 2) {
    throw new ShapeError(`wordFrequencyFloor: expected at least 2 stimuli, got ${stimuli.length}`);
  }
  const words = stimuli.map((row, i) => {
    const texts = "text" in row ? [row] : row;
    const own = texts.flatMap(({ text }) => wordsOf(text));
    if (own.length === 0) {
      throw new DataError(`wordFrequencyFloor: expected words in stimulus ${i}, got none`);
    }
    return own;
  });
  const table = counts === undefined ? counted(words.flat()) : tableOf(counts);
  let total = table.size;
  for (const count of table.values()) total += count;
  const columns = [
    words.map((own) => own.reduce((sum, word) => sum + logOf(word, table, total), 0) / own.length),
    words.map((own) => Math.min(...own.map((word) => logOf(word, table, total)))),
  ].map(zScores);
  return tensor(
    Float64Array.from(stimuli.flatMap((_, i) => columns.map((column) => column[i]!))),
    ["stimulus", "unit"],
    [stimuli.length, 2],
  );
}

const wordsOf = (text: string): readonly string[] =>
  text.toLowerCase().match(/[\p{L}\p{N}]+(?:['’][\p{L}]+)*/gu) ?? [];

const logOf = (word: string, table: ReadonlyMap<string, number>, total: number): number =>
  Math.log10(((table.get(word) ?? 0) + 1) / total);

function counted(words: readonly string[]): ReadonlyMap<string, number> {
  const table = new Map<string, number>();
  for (const word of words) table.set(word, (table.get(word) ?? 0) + 1);
  return table;
}

function tableOf(counts: NonNullable<FrequencyOptions["counts"]>): ReadonlyMap<string, number> {
  const table = counts instanceof Map ? counts : new Map(Object.entries(counts));
  for (const [word, count] of table) {
    if (!(count >= 0 && Number.isFinite(count))) {
      throw new ArgumentError(
        `wordFrequencyFloor: expected counts from 0, got ${count} for ${JSON.stringify(word)}`,
      );
    }
  }
  return table;
}

/**
 * All that is known of a text without understanding it: position, words, characters ({@link positionLengthFloor}) and
 * frequency ({@link wordFrequencyFloor}).
 *
 * @param stimuli - In the recording's order, at least 2; or lists of texts for rows that average several.
 * @param options.counts - Default: counted in the stimuli themselves.
 * @returns `[nStimuli, 5]`, z-scored.
 * @throws {ShapeError} if there are fewer than 2 stimuli.
 * @throws {DataError} if a stimulus has no word.
 *
 * @example
 * textFloor([{ text: "one two" }, { text: "three" }]).shape.join() // => "2,5"
 */
export function textFloor(stimuli: FloorStimuli, options: FrequencyOptions = {}): Activations {
  const parts = [positionLengthFloor(stimuli), wordFrequencyFloor(stimuli, options)];
  const rows = stimuli.flatMap((_, i) =>
    parts.flatMap(({ data, shape }) => [...data.subarray(i * shape[1], (i + 1) * shape[1])]),
  );
  return tensor(Float64Array.from(rows), ["stimulus", "unit"], [stimuli.length, 5]);
}
