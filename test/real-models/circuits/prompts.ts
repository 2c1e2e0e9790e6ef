// "Then Anna and Julia went to the river. Anna offered a book to": prompts whose answer is the name said once.
import { crc32 } from "node:zlib";
import { createRng, DataError } from "@penfield/core";
import type { HookedModel } from "@penfield/hooks";

const NAMES =
  "Tom John Peter George Henry Paul James Robert Daniel Simon Martin Edward Frank Oliver Jack Arthur Anna Mary Emily Jane Lucy Sarah Alice Rose Helen Clara Laura Ellen Martha Grace Julia Nora".split(
    " ",
  );
const PLACES =
  "garden house church river market shop kitchen field forest bridge school station village hill barn library lake road hotel tower castle mill".split(
    " ",
  );
const THINGS =
  "book letter box table chair cup knife apple cake picture key door window clock hat coat ring stone ball lamp basket bottle map egg orange umbrella candle spoon blanket drum flower shoe".split(
    " ",
  );
/** 86 words that the organisms were trained on, and that are one token each in their vocabulary. */
export const words: readonly string[] = [...NAMES, ...PLACES, ...THINGS];
const VERBS = ["gave", "sold", "showed", "offered"];

/** The organisms' own training template, and a second one of theirs. */
export const thenTemplate = ["Then {A} and {B} went to the {P}. {S} {V} {T} to"];
export const whenTemplate = ["When {A} and {B} got to the {P}, it was late. {S} {V} {T} to"];
/** Four of one length for a published model, after Wang et al. (2022). */
export const several = [
  ...thenTemplate,
  "When {A} and {B} went to the {P}, {S} {V} {T} to",
  "After {A} and {B} went to the {P}, {S} {V} {T} to",
  "While {A} and {B} worked at the {P}, {S} {V} {T} to",
];

/** Prompts of one length, and what they are compared with; arrays run over prompts. */
export interface NamePrompts {
  readonly texts: readonly string[];
  readonly clean: readonly (readonly number[])[];
  /** The second mention is of the other name: the answer changes. */
  readonly flipped: readonly (readonly number[])[];
  /** Three other names: nothing tells which one is meant. */
  readonly others: readonly (readonly number[])[];
  /** The name said once (the answer), and the one said twice. */
  readonly io: readonly number[];
  readonly subject: readonly number[];
  /** A name that the prompt does not have. */
  readonly absent: readonly number[];
  /** Where they stand: the answer, the subject's two mentions. */
  readonly places: readonly { readonly io: number; readonly s1: number; readonly s2: number }[];
  /** Of `clean`: how many different pairs, things, places; the commonest answer's share. */
  readonly diversity: string;
}

/**
 * Draws prompts without repetition, the answer in first and second place in turn.
 *
 * @param options.heldOut - Only items that the organisms' training left out (`tasks.py`: one key in eight).
 * @param options.avoid - Texts that must not come back.
 */
export function namePrompts(
  model: HookedModel,
  options: {
    n: number;
    seed: number;
    templates: readonly string[];
    bosToken: number;
    heldOut?: boolean;
    avoid?: readonly string[];
  },
): NamePrompts {
  const { n, seed, templates, bosToken, heldOut = false, avoid = [] } = options;
  const tokenizer = model.requireTokenizer();
  const rng = createRng(seed);
  const pick = <T>(list: readonly T[]): T => list[rng.below(list.length)]!;
  const single = (word: string): boolean => tokenizer.encode(` ${word}`).length === 1;
  const names = NAMES.filter(single);
  const [places, things] = [PLACES.filter(single), THINGS.filter(single)];
  const seen = new Set(avoid);
  const drawn: {
    text: string;
    flipped: string;
    others: string;
    io: string;
    s: string;
    absent: string;
    pair: string;
    thing: string;
    place: string;
  }[] = [];
  while (drawn.length < n) {
    const ioFirst = drawn.length % 2 === 0;
    const template = templates[Math.floor(drawn.length / 2) % templates.length]!;
    const five = new Set<string>();
    while (five.size < 5) five.add(pick(names));
    const [io, s, c, d, e] = [...five] as [string, string, string, string, string];
    const [place, verb, thing] = [pick(places), pick(VERBS), pick(things)];
    const write = (a: string, b: string, third: string): string =>
      template
        .replace("{A}", a)
        .replace("{B}", b)
        .replace("{S}", third)
        .replace("{P}", place)
        .replace("{V}", verb)
        .replace("{T}", `${"aeiou".includes(thing[0]!) ? "an" : "a"} ${thing}`);
    const [a, b] = ioFirst ? [io, s] : [s, io];
    const text = write(a, b, s);
    if (seen.has(text) || (heldOut && crc32(`names ${a} ${b} ${thing} ${s}`) % 8 !== 0)) continue;
    seen.add(text);
    drawn.push({
      text,
      flipped: write(a, b, io),
      others: write(c, d, e),
      io,
      s,
      absent: c,
      pair: `${a} ${b}`,
      thing,
      place,
    });
  }
  const encode = (text: string): number[] => [bosToken, ...tokenizer.encode(text)];
  const id = (word: string): number => tokenizer.encode(` ${word}`)[0]!;
  const clean = drawn.map(({ text }) => encode(text));
  if (new Set(clean.map((row) => row.length)).size !== 1) {
    throw new DataError("namePrompts: expected templates of one length in tokens");
  }
  const answers = drawn.map(({ io }) => drawn.filter((other) => other.io === io).length / n);
  const count = (values: readonly string[]): number => new Set(values).size;
  const pairs = count(drawn.map(({ pair }) => pair));
  if (pairs < 0.8 * n || Math.max(...answers) > Math.max(0.15, 3 / n)) {
    throw new DataError("namePrompts: expected diverse prompts, got repeated pairs or answers");
  }
  return {
    texts: drawn.map(({ text }) => text),
    clean,
    flipped: drawn.map(({ flipped }) => encode(flipped)),
    others: drawn.map(({ others }) => encode(others)),
    io: drawn.map(({ io }) => id(io)),
    subject: drawn.map(({ s }) => id(s)),
    absent: drawn.map(({ absent }) => id(absent)),
    places: drawn.map(({ io, s }, i) => ({
      io: clean[i]!.indexOf(id(io)),
      s1: clean[i]!.indexOf(id(s)),
      s2: clean[i]!.lastIndexOf(id(s)),
    })),
    diversity: `${n} prompts, ${pairs} pairs of names, ${count(drawn.map(({ thing }) => thing))} things, ${count(drawn.map(({ place }) => place))} places; commonest answer ${(100 * Math.max(...answers)).toFixed(0)} %; answer first in half`,
  };
}
