import { type Activations, DataError, ShapeError, tensor } from "@penfield/core";

/**
 * What a trivial model knows about stimuli: where each stands in the list, how many words it has and
 * how many characters. A language model that predicts a brain no better than these does not show
 * that it shares anything with it but reading along.
 *
 * @param stimuli - In the recording's order, at least 2; or, for a row that averages several texts, the
 *   list of these.
 * @returns `[nStimuli, 3]`: position, words, characters, each z-scored over stimuli (0 if it does not vary).
 * @throws {ShapeError} if there are fewer than 2 stimuli.
 * @throws {DataError} if a row has no text.
 *
 * Source: controls of Feghhi et al. (2024), positional and word-rate features.
 *
 * @example
 * const floor = positionLengthFloor([{ text: "one two" }, { text: "three" }]);
 * Array.from(floor.data).join(" ") // => "-1 1 1 1 -1 -1"
 */
export function positionLengthFloor(
  stimuli: readonly ({ readonly text: string } | readonly { readonly text: string }[])[],
): Activations {
  if (stimuli.length < 2) {
    throw new ShapeError(`positionLengthFloor: expected at least 2 stimuli, got ${stimuli.length}`);
  }
  const columns: number[][] = [[], [], []];
  stimuli.forEach((row, i) => {
    const texts = "text" in row ? [row] : row;
    if (texts.length === 0) {
      throw new DataError(`positionLengthFloor: expected a text for stimulus ${i}, got none`);
    }
    const mean = (count: (text: string) => number) =>
      texts.reduce((sum, { text }) => sum + count(text), 0) / texts.length;
    columns[0]!.push(i);
    columns[1]!.push(mean((text) => text.split(/\s+/).filter((word) => word !== "").length));
    columns[2]!.push(mean((text) => [...text].length));
  });
  const z = columns.map(zScores);
  const data = Float64Array.from(stimuli.flatMap((_, i) => z.map((column) => column[i]!)));
  return tensor(data, ["stimulus", "unit"], [stimuli.length, 3]);
}

/** About their mean, over their deviation; all 0 if they do not vary. */
export function zScores(values: readonly number[]): readonly number[] {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const deviation = Math.sqrt(values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / values.length);
  // What rounding leaves of equal values is not variance.
  return values.map((v) => (deviation > 1e-12 * Math.abs(mean) ? (v - mean) / deviation : 0));
}
