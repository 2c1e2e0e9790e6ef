import { type Activations, ArgumentError, DataError, ShapeError, sha256 } from "@penfield/core";
import type { CensusDocument, UnitSource } from "@penfield/localize";
import { quantile } from "@penfield/stats";

/** A stimulus that was read or heard, or the caption of one that was seen. */
export interface RecordedText {
  readonly id: string;
  readonly text: string;
}

export interface RecordingSourceOptions {
  /** Of the recording; default "recording". */
  readonly name?: string | undefined;
  /** Share of the stimuli on which a target counts as active: those with its highest responses. Default 0.2. */
  readonly activeShare?: number | undefined;
}

/** A recording in the place of a model. */
export interface RecordingSource {
  readonly source: UnitSource;
  readonly documents: readonly CensusDocument[];
}

/**
 * The targets of a recording (voxels, sensors) as units, so that `takeCensus` and `describeUnits` say in words what they respond to: the words of each stimulus get
 * the response to it as their value, less the response that a target passes on `activeShare` of the stimuli. Responses may be measured ones, or those that an
 * encoding model predicts for many texts.
 *
 * Stimuli of the same text are one document with their mean response. Rules about documents (`topic`) fit best, as a response belongs to a whole stimulus; r over words
 * counts long stimuli more.
 *
 * @param texts - Of each stimulus, or captions.
 * @param responses - `[nStimuli, nTargets]`, one row for each text; time already brought to stimuli.
 * @throws {ShapeError} if there is not one row for each text.
 * @throws {DataError} for fewer than 2 stimuli, a text without words, or a response that is not finite.
 *
 * Source: the idea of LaVCa (2025), voxels described from the stimuli that drive them most, here with rules in place of a language model.
 *
 * @example
 * const texts = [{ id: "1", text: "a dog" }, { id: "2", text: "a car" }];
 * const { source, documents } = recordingSource(texts, activations([[2], [0]]), { activeShare: 0.5 });
 * const [values] = await source.read(documents.map(({ tokens }) => [...tokens]));
 * Array.from(values, (v) => v > 0).join() // => "true,true,false,false"
 */
export function recordingSource(
  texts: readonly RecordedText[],
  responses: Activations,
  { name = "recording", activeShare = 0.2 }: RecordingSourceOptions = {},
): RecordingSource {
  const [nStimuli, nTargets] = responses.shape;
  if (nStimuli !== texts.length) {
    throw new ShapeError(
      `recordingSource: expected responses to ${texts.length} texts, got ${nStimuli}`,
    );
  }
  if (!(activeShare > 0 && activeShare < 1)) {
    throw new ArgumentError(
      `recordingSource: expected activeShare between 0 and 1, got ${activeShare}`,
    );
  }
  const words = new Map<string, number>();
  const stimuli = new Map<string, { id: string; tokens: number[]; rows: number[] }>();
  texts.forEach(({ id, text }, row) => {
    const tokens = (text.match(WORD) ?? []).map((word) => {
      const token = words.get(word) ?? words.size;
      words.set(word, token);
      return token;
    });
    if (tokens.length === 0) throw new DataError(`recordingSource: stimulus ${id} has no words`);
    const key = tokens.join(" ");
    const known = stimuli.get(key);
    if (known) known.rows.push(row);
    else stimuli.set(key, { id, tokens, rows: [row] });
  });
  if (stimuli.size < 2) {
    throw new DataError(`recordingSource: expected at least 2 stimuli, got ${stimuli.size}`);
  }
  const values = meanResponses(responses, [...stimuli.values()], activeShare);
  const rowOf = new Map([...stimuli.keys()].map((key, row) => [key, row]));
  const spellings = [...words.keys()];
  return {
    documents: Array.from(stimuli.values(), ({ id, tokens }) => ({ id, tokens })),
    source: {
      name,
      sha256: sha256(Buffer.from(JSON.stringify([[...rowOf.keys()], spellings, [...values]]))),
      hooks: [{ name: "targets", layer: undefined, nUnits: nTargets }],
      vocabularySize: spellings.length,
      tokenText: (token) => spellings[token]!,
      read(documents) {
        const out = documents.flatMap((tokens) => {
          const row = rowOf.get(tokens.join(" "));
          if (row === undefined) {
            throw new DataError("recordingSource: expected a stimulus of the recording");
          }
          const own = Array.from(values.subarray(row * nTargets, (row + 1) * nTargets));
          return tokens.map(() => own);
        });
        return Promise.resolve([Float32Array.from(out.flat())]);
      },
    },
  };
}

/** A word with the space before it, or a mark. */
const WORD = /\s?[\p{L}\p{N}]+(?:['’-][\p{L}\p{N}]+)*|\s?[^\s\p{L}\p{N}]/gu;

/** Mean response of each target to each different text, less what it passes on a share of them, `[nTexts, nTargets]`. */
function meanResponses(
  { data, shape: [, nTargets] }: Activations,
  stimuli: readonly { readonly rows: readonly number[] }[],
  activeShare: number,
): Float32Array {
  const out = new Float32Array(stimuli.length * nTargets);
  for (let target = 0; target < nTargets; target++) {
    const means = stimuli.map(({ rows }) => {
      const sum = rows.reduce((total, row) => total + data[row * nTargets + target]!, 0);
      if (!Number.isFinite(sum)) {
        throw new DataError(`recordingSource: expected finite responses, got ${sum}`);
      }
      return sum / rows.length;
    });
    const limit = quantile(means, 1 - activeShare);
    means.forEach((mean, i) => {
      out[i * nTargets + target] = mean - limit;
    });
  }
  return out;
}
