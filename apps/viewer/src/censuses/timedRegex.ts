import { createContext, Script } from "node:vm";
import { ArgumentError } from "@penfield/core";

/** A pattern that takes longer over all texts is stopped. */
const MILLISECONDS = 500;

const script = new Script(
  "(function (pattern, texts, out) { for (let i = 0; i < texts.length; i++) if (pattern.test(texts[i])) out[i] = 1; })(pattern, texts, out)",
);

/**
 * Which texts a regular expression is found in, capitals or not: 1 for each that it is found in. JavaScript's own patterns; one that
 * backtracks without end is stopped after half a second, in which the viewer does nothing else. The empty text fits no pattern.
 *
 * @throws {ArgumentError} for what is not a pattern, or takes too long.
 */
export function matchAll(source: string, texts: readonly string[]): Uint8Array {
  let pattern: RegExp;
  try {
    // Classes such as \p{L} need the slower kind.
    pattern = new RegExp(source, /\\[pP]\{/.test(source) ? "iu" : "i");
  } catch (cause) {
    throw new ArgumentError(`This is not a regular expression: ${(cause as Error).message}`, {
      cause,
    });
  }
  const out = new Uint8Array(texts.length);
  try {
    script.runInContext(createContext({ pattern, texts, out }), { timeout: MILLISECONDS });
  } catch (cause) {
    throw new ArgumentError(
      `The pattern was stopped after ${MILLISECONDS} ms: it tries too many ways to fit.`,
      { hint: "Leave out a repetition inside a repetition, as in (a+)+.", cause },
    );
  }
  texts.forEach((text, i) => {
    if (text === "") out[i] = 0;
  });
  return out;
}
