import { sha256 } from "@penfield/core";

/** Longest token, stretch and description that goes into a prompt, in characters. */
const MAX_TOKEN = 40;
const MAX_CONTEXT = 800;
export const MAX_EXPLANATION = 300;

/** Control, format, private and unpaired characters, line separators: what can hide text or change its direction. */
const HIDDEN = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}]/gu;
/** Two of these are a mark, also where two tokens meet. */
const ANGLES = /[<>]/g;

const codePoint = (character: string): string => `\\u{${character.codePointAt(0)!.toString(16)}}`;

/** Text cut to a length, without hidden characters, quotes and marks. */
const inner = (text: string, length: number): string => {
  // A cut may not leave half a character.
  const short =
    text.length <= length ? text : `${text.slice(0, length - 1).replace(/[\uD800-\uDBFF]$/, "")}…`;
  return short
    .replace(/["\\]/g, (character) => `\\${character}`)
    .replace(HIDDEN, codePoint)
    .replace(ANGLES, codePoint);
};

/** Text from strangers as one line of a prompt: in quotes, cut, and with what is hidden shown as `\u{202e}`. */
export function quoteText(text: string, length: number = MAX_TOKEN): string {
  return `"${inner(text, length)}"`;
}

/** A stretch of tokens as one line, the marked ones between `<<` and `>>`. */
export function quoteTokens(tokens: readonly string[], marked: readonly number[] = []): string {
  const isMarked = new Set(marked);
  const parts: string[] = [];
  let length = 0;
  for (const [i, token] of tokens.entries()) {
    const text = inner(token, MAX_TOKEN);
    length += text.length;
    if (length > MAX_CONTEXT) {
      parts.push("…");
      break;
    }
    parts.push(isMarked.has(i) ? `<<${text}>>` : text);
  }
  return `"${parts.join("")}"`;
}

/** A name for the lines around data that the data cannot hold: it depends on them. */
export function fenceOf(parts: readonly string[]): string {
  return sha256(JSON.stringify(parts)).slice(0, 16);
}
