import { type Activations, ArgumentError, DataError, ShapeError, tensor } from "@penfield/core";
import { column, type Table } from "../table.ts";
import type { FeatureSeries } from "./hemodynamicResponse.ts";
import { resampleSignal } from "./resample.ts";
import { checkRate } from "./series.ts";

/** A range of characters of a text, `end` not included. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** A word, and when it was heard or seen. */
export interface TimedWord {
  readonly text: string;
  /** Seconds from the first sample. */
  readonly onset: number;
  /** Seconds; where the table says it. */
  readonly offset: number | undefined;
}

/**
 * Words with their times from a table with the columns `word`, `onset` and, as known, `offset` or `duration`
 * (seconds).
 *
 * @param table - From `parseTable`.
 * @param options.word - Name of the column with the words. Default "word".
 * @param options.file - How error messages call it. Default "table".
 * @returns In the order of the table.
 * @throws {DataError} if a column is not there, or with the line, if a time is no number or an onset lies before that
 *   of the word before.
 *
 * @example
 * timedWords(parseTable("word\tonset\tduration\nnull\t0.5\t0.25\n"))[0].offset // => 0.75
 */
export function timedWords(
  table: Table,
  { word = "word", file = "table" }: { word?: string; file?: string } = {},
): readonly TimedWord[] {
  const texts = column(table, word, file);
  const seconds = (name: string): readonly number[] | undefined =>
    table.columns.includes(name)
      ? column(table, name, file).map((cell, i) => {
          const value = cell.trim() === "" ? Number.NaN : Number(cell);
          if (!Number.isFinite(value)) {
            throw new DataError(
              `timedWords: ${file}: line ${table.lines[i]}: expected seconds under ${name}, got ${JSON.stringify(cell)}`,
            );
          }
          return value;
        })
      : undefined;
  const onsets = seconds("onset") ?? column(table, "onset", file).map(Number);
  const durations = seconds("duration");
  const offsets = seconds("offset") ?? durations?.map((length, i) => onsets[i]! + length);
  const early = onsets.findIndex((onset, i) => i > 0 && onset < onsets[i - 1]!);
  if (early >= 0) {
    throw new DataError(
      `timedWords: ${file}: line ${table.lines[early]}: expected onsets in the order of time, got ${onsets[early]} after ${onsets[early - 1]}`,
    );
  }
  return texts.map((text, i) => ({ text, onset: onsets[i]!, offset: offsets?.[i] }));
}

/**
 * Where words stand in the text that a model read: each is searched for after the one before.
 *
 * @param text - The text as the model got it.
 * @param words - In reading order, spelled as in the text; capital letters may differ.
 * @returns One span per word, in UTF-16 units, as JavaScript counts.
 * @throws {DataError} if a word is not there (which, after what), or is empty.
 *
 * @example
 * locateWords("Alice was, was tired.", ["alice", "was", "was"])[2].start // => 11
 */
export function locateWords(text: string, words: readonly string[]): readonly Span[] {
  const lower = [...text].some((c) => c.toLowerCase().length !== c.length)
    ? text
    : text.toLowerCase();
  let from = 0;
  return words.map((word, i) => {
    const exact = text.indexOf(word, from);
    const found = lower.indexOf(word.toLowerCase(), from);
    const start = exact < 0 ? found : found < 0 ? exact : Math.min(exact, found);
    if (start < 0 || word === "") {
      throw new DataError(
        `locateWords: expected word ${i} (${JSON.stringify(word)}) in the text, got ${JSON.stringify(text.slice(from, from + 40))}`,
        { hint: "Spell the words as the text does, without the marks around them." },
      );
    }
    from = start + word.length;
    return { start, end: from };
  });
}

/**
 * Where tokens stand in a text, from their strings: each is looked for at the place where the one before it ended, white
 * space aside. For tokenizers that do not tell.
 *
 * @param text - As it was given to the tokenizer.
 * @param tokens - Each as text (`toStrTokens`), in order. A leading `##` of word pieces is understood; capital letters may
 *   differ; tokens in `<...>` or `[...]` that are not in the text are special and get an empty span.
 * @returns One span per token, without white space around it. Tokens that are parts of one character share its span.
 * @throws {DataError} if a token is not there (which, and what is): the tokenizer changes the text, such as its accents.
 *
 * @example
 * tokenOffsets("Un cat", ["<s>", "Un", " cat"]).map(({ start, end }) => `${start}-${end}`).join(" ") // => "0-0 0-2 3-6"
 */
export function tokenOffsets(text: string, tokens: readonly string[]): readonly Span[] {
  const spans: Span[] = [];
  let at = 0;
  /** Tokens that hold parts of a character and wait for the next whole one. */
  let waiting: number[] = [];
  const place = (end: number): void => {
    if (waiting.length === 0) return;
    const whole = { start: at, end: at + text.slice(at, end).trimEnd().length };
    for (const t of waiting) spans[t] = whole;
    waiting = [];
    at = end;
  };
  tokens.forEach((token, t) => {
    const piece = token.trim();
    if (piece.includes("\uFFFD")) {
      at = afterSpace(text, at);
      spans.push({ start: at, end: at });
      waiting.push(t);
      return;
    }
    const found = placeOf(text, piece, at, waiting.length > 0);
    if (found !== undefined) {
      place(found.start);
      spans.push(found);
      at = found.end;
    } else if (/^(?:<.*>|\[.*\]|)$/s.test(piece)) {
      spans.push({ start: at, end: at });
    } else {
      throw new DataError(
        `tokenOffsets: expected token ${t} (${JSON.stringify(token)}) in the text, got ${JSON.stringify(text.slice(at, at + 20))}`,
        { hint: "Give the text as the tokenizer leaves it: some change accents or spaces." },
      );
    }
  });
  place(text.length);
  return spans;
}

function afterSpace(text: string, at: number): number {
  let place = at;
  while (place < text.length && /\s/.test(text[place]!)) place++;
  return place;
}

/** A piece at a place (white space aside), or, where characters in between are not known, the next one. */
function placeOf(text: string, piece: string, at: number, later: boolean): Span | undefined {
  if (piece === "") return undefined;
  for (const form of piece.startsWith("##") ? [piece, piece.slice(2)] : [piece]) {
    const from = afterSpace(text, at);
    const last = later ? text.length - form.length : from;
    for (let start = from; start <= last; start++) {
      const own = text.slice(start, start + form.length);
      if (own === form || own.toLowerCase() === form.toLowerCase()) {
        return { start, end: start + form.length };
      }
    }
  }
  return undefined;
}

/**
 * Which tokens make up each word: those that share a character with it.
 *
 * @param words - From `locateWords`.
 * @param tokens - From `tokenOffsets`, or the tokenizer's own offsets into the same text, in order. Tokens without characters (start and end of
 *   text) belong to no word. A token with a leading space may begin before its word.
 * @returns One list of token indices per word.
 * @throws {DataError} if a word has no token (it was cut off, say).
 *
 * @example
 * const words = locateWords("unhappy cat", ["unhappy", "cat"]);
 * tokensOfWords(words, [{ start: 0, end: 0 }, { start: 0, end: 2 }, { start: 2, end: 7 }, { start: 7, end: 11 }])
 *   .map((tokens) => tokens.join("+")).join(" ") // => "1+2 3"
 */
export function tokensOfWords(
  words: readonly Span[],
  tokens: readonly Span[],
): readonly (readonly number[])[] {
  let first = 0;
  return words.map(({ start, end }, w) => {
    while (first < tokens.length && tokens[first]!.end <= start) first++;
    const own: number[] = [];
    for (let t = first; t < tokens.length && tokens[t]!.start < end; t++) {
      if (tokens[t]!.end > Math.max(start, tokens[t]!.start)) own.push(t);
    }
    if (own.length === 0) {
      throw new DataError(
        `tokensOfWords: expected tokens for word ${w} (characters ${start} to ${end}), got none`,
        { hint: "The text may have been cut at the model's longest input." },
      );
    }
    return own;
  });
}

/** How the values of several rows become one. */
export type Pooling = "first" | "last" | "mean" | "sum";

/**
 * One row of values per word from the rows of its tokens.
 *
 * @param activations - `[nTokens, nUnits]`; its first axis is called `stimulus`, as everywhere.
 * @param groups - From `tokensOfWords`.
 * @param how - `last` (default: a causal model has read the whole word only there), `first`, `mean` or `sum`.
 * @returns `[nWords, nUnits]`, float64.
 * @throws {ShapeError} if a group names a row that is not there, or none.
 * @throws {ArgumentError} if `how` is another word.
 *
 * @example
 * poolRows(activations([[1], [3], [8]]), [[0, 1], [2]], "mean").data.join(" ") // => "2 8"
 */
export function poolRows(
  activations: Activations,
  groups: readonly (readonly number[])[],
  how: Pooling = "last",
): Activations {
  const [nRows, nUnits] = activations.shape;
  const out = new Float64Array(groups.length * nUnits);
  groups.forEach((group, g) => {
    const bad = group.find((row) => !(Number.isInteger(row) && row >= 0 && row < nRows));
    if (bad !== undefined || group.length === 0) {
      throw new ShapeError(
        `poolRows: expected rows within 0..${nRows - 1} in group ${g}, got ${bad ?? "none"}`,
      );
    }
    pool(activations, group, how, out.subarray(g * nUnits, (g + 1) * nUnits));
  });
  return tensor(out, ["stimulus", "unit"], [groups.length, nUnits]);
}

function pool(
  { data, shape }: Activations,
  rows: readonly number[],
  how: Pooling,
  out: Float64Array,
): void {
  if (how !== "first" && how !== "last" && how !== "mean" && how !== "sum") {
    throw new ArgumentError(`poolRows: expected first, last, mean or sum, got ${how}`);
  }
  const used = how === "first" ? rows.slice(0, 1) : how === "last" ? rows.slice(-1) : rows;
  const weight = how === "mean" ? 1 / used.length : 1;
  for (const row of used) {
    for (let u = 0; u < out.length; u++) out[u]! += weight * data[row * shape[1] + u]!;
  }
}

/** Where and how words become samples. */
export interface WordSampling {
  readonly nTimes: number;
  /** Hz; 1 / TR. */
  readonly samplingRate: number;
  /**
   * `lanczos` (default): a low-pass interpolation over the words around each sample. `mean`, `last`, `sum`: of the
   * words whose time lies in the sample's window; 0 if there is none.
   */
  readonly how?: "lanczos" | Exclude<Pooling, "first"> | undefined;
  /**
   * Seconds from the first word's clock to the first sample. Default: half a TR for lanczos (the middle of a volume),
   * else 0.
   */
  readonly firstSampleSeconds?: number | undefined;
  /** Of Lanczos: lobes to each side. Default 3. */
  readonly window?: number | undefined;
  /** Of Lanczos: the cutoff as a multiple of the Nyquist frequency of the samples. Default 1. */
  readonly cutoff?: number | undefined;
}

/**
 * Features of words, which come at any time, as a regular series of samples.
 *
 *   lanczos: y(t) = sum_w x_w L(f (t - t_w)),  L(z) = window sin(pi z) sin(pi z / window) / (pi z)^2 for |z| <=
 *   window
 *
 * with f = cutoff times the sampling rate. Its weights do not sum to 1: many words in a short time make a large
 * value, so that the word rate is part of every feature. The other ways take the words with
 * sample / rate <= time < (sample + 1) / rate.
 *
 * @param features - `[nWords, nUnits]`; the first axis is called `stimulus`, as everywhere.
 * @param times - [nWords], seconds: onsets, or the middles of words for lanczos.
 * @param options - Where and how.
 * @returns `[nTimes, nUnits]`, float64.
 * @throws {ShapeError} if there is not one time per word.
 * @throws {ArgumentError} if an option is out of range or a time is not finite.
 *
 * Cost: O(nWords 2 window nUnits).
 * Source: Huth et al. (2016), Nature 532:453-458: `lanczosinterp2D` with window 3 and cutoff multiple 1.
 *
 * @example
 * const features = activations([[1], [5], [7]]);
 * wordsToSamples(features, [0.1, 0.4, 2.5], { nTimes: 2, samplingRate: 0.5, how: "sum" }).data.join(" ") // => "6 7"
 */
export function wordsToSamples(
  features: Activations,
  times: ArrayLike<number>,
  {
    nTimes,
    samplingRate,
    how = "lanczos",
    firstSampleSeconds = how === "lanczos" ? 0.5 / samplingRate : 0,
    window = 3,
    cutoff = 1,
  }: WordSampling,
): FeatureSeries {
  const [nWords, nUnits] = features.shape;
  checkRate("wordsToSamples", "samplingRate", samplingRate);
  if (times.length !== nWords) {
    throw new ShapeError(
      `wordsToSamples: expected ${nWords} times, one per word, got ${times.length}`,
    );
  }
  const bad = Array.from(times).findIndex((time) => !Number.isFinite(time));
  if (bad >= 0 || !(window > 0 && cutoff > 0) || !(Number.isInteger(nTimes) && nTimes > 0)) {
    throw new ArgumentError(
      `wordsToSamples: expected finite times, and nTimes, window and cutoff above 0, got ${bad >= 0 ? `${times[bad]} for word ${bad}` : `${nTimes}, ${window} and ${cutoff}`}`,
    );
  }
  const out = new Float64Array(nTimes * nUnits);
  const position = (w: number) => (times[w]! - firstSampleSeconds) * samplingRate;
  if (how === "lanczos") {
    const reach = window / cutoff;
    for (let w = 0; w < nWords; w++) {
      const at = position(w);
      const from = Math.max(0, Math.ceil(at - reach));
      const to = Math.min(nTimes - 1, Math.floor(at + reach));
      for (let i = from; i <= to; i++) {
        const weight = lanczos(cutoff * (i - at), window);
        for (let u = 0; u < nUnits; u++) {
          out[i * nUnits + u]! += weight * features.data[w * nUnits + u]!;
        }
      }
    }
  } else {
    const groups = Array.from({ length: nTimes }, (): number[] => []);
    // Rounding must not move a word that comes with the first moment of a volume.
    for (let w = 0; w < nWords; w++) groups[Math.floor(position(w) + 1e-6)]?.push(w);
    groups.forEach((group, i) => {
      pool(features, group, how, out.subarray(i * nUnits, (i + 1) * nUnits));
    });
  }
  return tensor(out, ["time", "unit"], [nTimes, nUnits]);
}

function lanczos(z: number, window: number): number {
  if (z === 0) return 1;
  if (Math.abs(z) > window) return 0;
  const angle = Math.PI * z;
  return (window * Math.sin(angle) * Math.sin(angle / window)) / (angle * angle);
}

/**
 * A series that is 0 but for the samples in which something began: word onsets and the like, for temporal response
 * functions.
 *
 * @param onsets - Seconds from the first sample.
 * @param options.nTimes - Samples.
 * @param options.samplingRate - Hz.
 * @param options.values - The height of each impulse, such as a word's surprisal. Default 1.
 * @returns `[nTimes, 1]`; two in one sample add up. Onsets outside have no effect.
 * @throws {ShapeError} if there is not one value per onset.
 * @throws {ArgumentError} if the rate is not positive.
 *
 * @example
 * onsetImpulses([0, 0.52], { nTimes: 4, samplingRate: 4 }).data.join("") // => "1010"
 */
export function onsetImpulses(
  onsets: ArrayLike<number>,
  {
    nTimes,
    samplingRate,
    values,
  }: { nTimes: number; samplingRate: number; values?: ArrayLike<number> },
): FeatureSeries {
  checkRate("onsetImpulses", "samplingRate", samplingRate);
  if (values !== undefined && values.length !== onsets.length) {
    throw new ShapeError(
      `onsetImpulses: expected ${onsets.length} values, one per onset, got ${values.length}`,
    );
  }
  const out = new Float64Array(nTimes);
  for (let w = 0; w < onsets.length; w++) {
    const sample = Math.round(onsets[w]! * samplingRate);
    if (sample >= 0 && sample < nTimes) out[sample]! += values?.[w] ?? 1;
  }
  return tensor(out, ["time", "unit"], [nTimes, 1]);
}

/**
 * How loud a sound is, at the rate of a recording: its absolute value, low-pass filtered and resampled, not below 0.
 *
 * @param sound - Samples.
 * @param options.samplingRate - Of the sound, Hz.
 * @param options.outputRate - Hz.
 * @param options.power - Of the result; 0.3 to 0.6 is near to how loudness is felt. Default 1.
 * @returns `[nTimes, 1]`.
 * @throws {ArgumentError} if a rate is not positive, or they are in no ratio of whole numbers.
 *
 * @example
 * const sound = Float64Array.from({ length: 8000 }, (_, i) => Math.sin(i));
 * soundEnvelope(sound, { samplingRate: 8000, outputRate: 100 }).data[50].toFixed(2) // => "0.64"
 */
export function soundEnvelope(
  sound: ArrayLike<number>,
  {
    samplingRate,
    outputRate,
    power = 1,
  }: { samplingRate: number; outputRate: number; power?: number },
): FeatureSeries {
  checkRate("soundEnvelope", "samplingRate", samplingRate);
  checkRate("soundEnvelope", "outputRate", outputRate);
  const loud = Float64Array.from(sound, Math.abs);
  const slow = resampleSignal(loud, samplingRate, outputRate);
  const out = slow.map((value) => Math.max(0, value) ** power);
  return tensor(out, ["time", "unit"], [out.length, 1]);
}
