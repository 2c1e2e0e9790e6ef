import { createHash } from "node:crypto";
import { setImmediate as turn } from "node:timers/promises";
import { DataError, type LongWork, throwIfAborted } from "@penfield/core";
import type { RunnableModel } from "@penfield/hooks";
import { type Corpus, corpusItems } from "./corpus.ts";

export interface EncodeCorpusOptions extends LongWork {
  readonly maxTokens?: number | undefined;
  readonly prependBos?: boolean | undefined;
  readonly longTexts?: "refuse" | "split" | undefined;
}

/** A corpus as tokens: 4 bytes a token, however long the texts are. */
export interface EncodedCorpus {
  readonly ids: readonly string[];
  /** Of all texts, one after the other. */
  readonly tokens: Int32Array;
  /** Where each text starts, and at the end where the last one ends. `[nTexts + 1]`. */
  readonly starts: Float64Array;
  /** Of ids and tokens. */
  readonly sha256: string;
}

/** Texts between two looks at the signal. */
const TEXTS_AT_ONCE = 500;

/** Turns a corpus into tokens, and refuses what the model could not run, before anything is run. */
export async function encodeCorpus(
  model: RunnableModel,
  corpus: Corpus,
  options: EncodeCorpusOptions,
): Promise<EncodedCorpus> {
  const { maxTokens, prependBos, longTexts = "refuse", signal, onProgress } = options;
  const { nCtx = Number.POSITIVE_INFINITY, dVocab = 2 ** 31 } = model.cfg;
  const items = corpusItems(corpus);
  if (items.length === 0) throw new DataError("capture: expected at least one text, got none");
  const hash = createHash("sha256");
  const ids: string[] = [];
  const starts: number[] = [0];
  let tokens = new Int32Array(1 << 16);
  let used = 0;
  const add = (id: string, row: readonly number[]) => {
    if (used + row.length > tokens.length) {
      const larger = new Int32Array(Math.max(2 * tokens.length, used + row.length));
      larger.set(tokens);
      tokens = larger;
    }
    tokens.set(row, used);
    hash.update(JSON.stringify([id, row.length]));
    hash.update(new Uint8Array(tokens.buffer, used * 4, row.length * 4));
    used += row.length;
    ids.push(id);
    starts.push(used);
  };
  for (const [i, item] of items.entries()) {
    if (i % TEXTS_AT_ONCE === 0) {
      throwIfAborted(signal, "capture");
      onProgress?.({ stage: "reading texts", done: i, total: items.length, unit: "texts" });
      await turn();
    }
    const row =
      "text" in item
        ? model.requireTokenizer().encode(item.text, { maxTokens, prependBos })
        : item.tokens.slice(0, maxTokens);
    const wrong = row.findIndex((id) => !(Number.isInteger(id) && id >= 0 && id < dVocab));
    if (wrong >= 0) {
      throw new DataError(
        `capture: expected token ids, whole numbers below ${dVocab}, got ${row[wrong]} in text ${item.id}`,
        { hint: "The tokens come from another model's tokenizer." },
      );
    }
    if (row.length === 0 || (row.length > nCtx && longTexts === "refuse")) {
      throw new DataError(
        `capture: expected 1 to ${nCtx} tokens, got ${row.length} in text ${item.id}`,
        {
          hint:
            row.length === 0
              ? "Leave the text out."
              : "Keep the first of its tokens (--max-tokens), or cut it into pieces (--split).",
        },
      );
    }
    if (row.length <= nCtx) add(item.id, row);
    else {
      for (let piece = 0; piece * nCtx < row.length; piece++) {
        add(`${item.id}#${piece}`, row.slice(piece * nCtx, (piece + 1) * nCtx));
      }
    }
  }
  return {
    ids,
    tokens: tokens.subarray(0, used),
    starts: Float64Array.from(starts),
    sha256: hash.digest("hex"),
  };
}
