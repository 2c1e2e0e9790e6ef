import model from "wink-eng-lite-web-model";
import winkNLP from "wink-nlp";

/** What the tagger says of the word that a token belongs to. */
export interface TaggedWord {
  /** Universal part of speech. */
  readonly tag: string;
  readonly lemma: string;
}

/** Tags the words of documents. */
export interface Tagger {
  /** For each token of a document the word that holds most of it; undefined for white space. */
  tag(tokens: readonly string[]): (TaggedWord | undefined)[];
}

let opened: Tagger | undefined;

/**
 * The tagger, one for the process: each opening makes a text inside the package's model twice as long, until at the 21st it is too long for a string.
 *
 * Source: wink-nlp and its English model (MIT).
 */
export function sharedTagger(): Tagger {
  opened ??= openTagger();
  return opened;
}

function openTagger(): Tagger {
  const nlp = winkNLP(model, ["sbd", "pos"]);
  const { its } = nlp;
  return {
    tag(tokens) {
      const text = tokens.join("");
      const words = nlp.readDoc(text).tokens();
      const values = words.out(its.value) as string[];
      const spaces = words.out(its.precedingSpaces) as string[];
      const tags = words.out(its.pos) as string[];
      const lemmas = words.out(its.lemma as unknown as typeof its.value) as string[];
      // Which word each character belongs to.
      const wordAt = new Int32Array(text.length).fill(-1);
      let at = 0;
      values.forEach((value, i) => {
        at += spaces[i]!.length;
        // The tagger may write a character in another way; its place is then found by its own text.
        const found = text.startsWith(value, at) ? at : text.indexOf(value, at);
        if (found < 0) return;
        wordAt.fill(tags[i] === "SPACE" ? -1 : i, found, found + value.length);
        at = found + value.length;
      });
      let start = 0;
      return tokens.map((token) => {
        const from = start;
        start += token.length;
        const counts = new Map<number, number>();
        for (let c = from; c < start; c++) {
          const word = wordAt[c]!;
          if (word >= 0) counts.set(word, (counts.get(word) ?? 0) + 1);
        }
        const [best] = [...counts].sort((a, b) => b[1] - a[1])[0] ?? [];
        return best === undefined ? undefined : { tag: tags[best]!, lemma: lemmas[best]! };
      });
    },
  };
}
