import { z } from "zod";
import { MAX_EXPLANATION } from "./untrusted.ts";

/** A token of an answer and the likeliest ones in its place. */
export interface AnswerToken {
  readonly token: string;
  readonly logprob: number;
  readonly top: readonly { readonly token: string; readonly logprob: number }[];
}

/** Longest answer that is looked at, in characters. */
const MAX_ANSWER = 20_000;

const explanations = z.strictObject({ explanations: z.array(z.string()).min(1) });

/** JSON that is all of an answer, or all of one fenced block that is all of it. */
function jsonOf(answer: string): unknown {
  if (answer.length > MAX_ANSWER) return undefined;
  const text = answer.trim();
  const block = /^```(?:json)?\n([\s\S]*)\n```$/.exec(text);
  try {
    return JSON.parse(block ? block[1]! : text) as unknown;
  } catch {
    return undefined;
  }
}

/** The explanations of an answer, each on one line; undefined unless it is what was asked for. */
export function parseExplanations(answer: string, most: number): string[] | undefined {
  const parsed = explanations.safeParse(jsonOf(answer));
  if (!parsed.success || parsed.data.explanations.length > most) return undefined;
  const texts = parsed.data.explanations.map((text) => text.replace(/\s+/g, " ").trim());
  return texts.every((text) => text !== "" && text.length <= MAX_EXPLANATION) ? texts : undefined;
}

/** A list of exactly `n` whole numbers from 0 to `max`; undefined unless the answer is that. */
export function parseLevels(answer: string, n: number, max: number): number[] | undefined {
  const list = z.array(z.number().int().min(0).max(max)).length(n).safeParse(jsonOf(answer));
  return list.success ? list.data : undefined;
}

/**
 * The expected value of each number of an answer, sum k p(k) / sum p(k) over the numbers from 0 to `max` among the likeliest tokens in its
 * place; for 0 and 1 that is P(1) / (P(0) + P(1)). Undefined if the tokens do not show the `n` numbers of the list.
 */
export function expectedLevels(
  tokens: readonly AnswerToken[],
  levels: readonly number[],
  max: number,
): number[] | undefined {
  const numbers = tokens.filter(({ token }) => numberIn(token, max) !== undefined);
  if (numbers.length !== levels.length) return undefined;
  const expected = numbers.map(({ token, logprob, top }, i) => {
    if (numberIn(token, max) !== levels[i]) return Number.NaN;
    const weights = new Map<number, number>();
    for (const own of [
      ...top,
      ...(top.some((t) => t.token === token) ? [] : [{ token, logprob }]),
    ]) {
      const level = numberIn(own.token, max);
      if (level !== undefined) {
        weights.set(level, (weights.get(level) ?? 0) + Math.exp(Math.min(0, own.logprob)));
      }
    }
    let sum = 0;
    let whole = 0;
    for (const [level, weight] of weights) {
      sum += level * weight;
      whole += weight;
    }
    return sum / whole;
  });
  return expected.every(Number.isFinite) ? expected : undefined;
}

/** The number that a token holds beside brackets, commas and spaces. */
function numberIn(token: string, max: number): number | undefined {
  const match = /^[[,\s]*(\d{1,2})[\],\s]*$/.exec(token);
  const level = match ? Number(match[1]) : undefined;
  return level !== undefined && level <= max ? level : undefined;
}
