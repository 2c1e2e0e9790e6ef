import type { Evidence } from "./evidence.ts";

/** What a unit is said to do, and who said so. */
export interface Explanation {
  /** One line of at most 300 characters. */
  readonly text: string;
  /** Name of the explainer. */
  readonly source: string;
  /** SHA-256 of the prompt file that was asked with; undefined where there was none. */
  readonly promptSha256: string | undefined;
}

/** A stretch of text for a judge. */
export interface JudgeContext {
  /** Its tokens as text, with their spaces. */
  readonly tokens: readonly string[];
  /** Places of the tokens in question, from 0. With them the question is whether the unit is active on those; without, whether it is active at all. */
  readonly marked?: readonly number[] | undefined;
}

/** What is asked about a context: `detect` active somewhere in it, `fuzz` active on the marked tokens, `output` made more likely by the unit. */
export type JudgeQuestion = "detect" | "fuzz" | "output";

export interface AskOptions {
  readonly signal?: AbortSignal | undefined;
}

/** Says in words what a unit does. */
export interface Explainer {
  readonly name: string;
  /** SHA-256 of each prompt that it asks with, by the prompt's name. */
  readonly prompts?: Readonly<Record<string, string>> | undefined;
  /** An answer that failed gives an empty list; the explainer counts it. */
  explain(evidence: Evidence, options?: AskOptions): Promise<readonly Explanation[]>;
}

/** Reads a description as a claim, without having seen the unit. */
export interface Judge {
  readonly name: string;
  /** SHA-256 of each prompt that it asks with, by the prompt's name. */
  readonly prompts: Readonly<Record<string, string>>;
  /** For each context how far the description claims it: 0 to 1, or any number that grows with it. NaN where the answer failed. */
  classify(
    explanation: string,
    contexts: readonly JudgeContext[],
    options?: AskOptions & { readonly question?: JudgeQuestion | undefined },
  ): Promise<readonly number[]>;
  /** For each token of each context the expected level, 0 to 10; an empty list where the answer failed. Absent where a judge cannot. */
  readonly simulate?:
    | ((
        explanation: string,
        contexts: readonly JudgeContext[],
        options?: AskOptions,
      ) => Promise<readonly (readonly number[])[]>)
    | undefined;
}
