import { type AnswerToken, expectedLevels, parseExplanations, parseLevels } from "./answers.ts";
import type { Evidence, EvidenceContext } from "./evidence.ts";
import type {
  AskOptions,
  Explainer,
  Explanation,
  Judge,
  JudgeContext,
  JudgeQuestion,
} from "./explainer.ts";
import { fillPrompt, type Prompt, type PromptName, readPrompt } from "./prompts.ts";
import { fenceOf, MAX_EXPLANATION, quoteText, quoteTokens } from "./untrusted.ts";

/** One question to a language model. */
export interface ChatRequest {
  /** What it is told about its task. */
  readonly system: string;
  readonly user: string;
  /** Longest answer. */
  readonly maxTokens: number;
  /** Whether the likeliest tokens in each place are of use. */
  readonly logprobs: boolean;
}

/** Why there is no answer: too slow, a status that says so, no connection, longer than allowed, or not what was asked for. */
export type FailureKind = "timeout" | "status" | "connection" | "tooLong" | "unparsable";

export interface ChatAnswer {
  readonly text: string;
  /** Undefined where the model does not tell. */
  readonly tokens?: readonly AnswerToken[] | undefined;
}

/** A language model that answers questions, wherever it runs. A failure is a value: it is counted, and the work goes on. */
export interface ChatModel {
  readonly name: string;
  complete(
    request: ChatRequest,
    options?: AskOptions,
  ): Promise<ChatAnswer | { readonly failure: FailureKind }>;
}

/** What was asked so far, and what of it failed. */
export interface ChatCounts {
  readonly nRequests: number;
  readonly nFailures: number;
  readonly failures: Readonly<Record<FailureKind, number>>;
}

export interface ChatExplainerOptions {
  /** A folder with prompt files in place of the package's own. */
  readonly promptFolder?: string | undefined;
  /** Contexts that a judge is asked about at once; default 5. */
  readonly contextsPerRequest?: number | undefined;
  /** Explanations that are asked for; default 1. */
  readonly nExplanations?: number | undefined;
  /** Ask for the likeliest tokens, so that a judgement is P(1) / (P(0) + P(1)) and a level an expected value; default false. */
  readonly logprobs?: boolean | undefined;
}

/** An explainer and judge in one, and what it was asked. */
export interface ChatExplainer extends Explainer, Judge {
  readonly name: string;
  readonly prompts: Judge["prompts"];
  readonly simulate: NonNullable<Judge["simulate"]>;
  counts(): ChatCounts;
}

/**
 * An explainer and judge from any language model that answers questions. Text from the corpus goes into prompts as quoted, cut and escaped
 * lines between lines that it cannot counterfeit; answers are read strictly, and one that is not what was asked for counts as failed.
 *
 * @throws {FileError} if a prompt cannot be read.
 * @throws {FormatError} if a prompt lacks a placeholder.
 *
 * Source: detection and fuzzing after Paulo et al. (2024), simulation after Bills et al. (2023) as an expected value over the levels 0 to 10.
 *
 * @example
 * const yes = { name: "yes", complete: () => Promise.resolve({ text: "[1]" }) };
 * const judge = await chatExplainer(yes);
 * await judge.classify("cats", [{ tokens: ["a", " cat"] }]) // => [1]
 */
export async function chatExplainer(
  chat: ChatModel,
  options: ChatExplainerOptions = {},
): Promise<ChatExplainer> {
  const { promptFolder, contextsPerRequest = 5, nExplanations = 1, logprobs = false } = options;
  const names = ["explain", "detect", "fuzz", "output", "simulate"] as const;
  const read = await Promise.all(names.map((name) => readPrompt(name, promptFolder)));
  const prompts = new Map<PromptName, Prompt>(read.map((prompt) => [prompt.name, prompt]));
  const failures: Record<FailureKind, number> = {
    ...{ timeout: 0, status: 0, connection: 0, tooLong: 0, unparsable: 0 },
  };
  let nRequests = 0;

  /** An answer that the parser takes, or undefined for one that failed. */
  const ask = async <T>(
    name: PromptName,
    values: Readonly<Record<string, string>>,
    request: { maxTokens: number; logprobs: boolean; signal: AbortSignal | undefined },
    parse: (answer: ChatAnswer) => T | undefined,
  ): Promise<T | undefined> => {
    const { system, user } = prompts.get(name)!;
    const all = { ...values, fence: fenceOf(Object.values(values)) };
    const { maxTokens, logprobs: wanted, signal } = request;
    nRequests++;
    const answer = await chat.complete(
      {
        system: fillPrompt(system, all),
        user: fillPrompt(user, all),
        maxTokens,
        logprobs: wanted,
      },
      { signal },
    );
    const failure = "failure" in answer ? answer.failure : undefined;
    const parsed = "failure" in answer ? undefined : parse(answer);
    if (parsed === undefined) failures[failure ?? "unparsable"]++;
    return parsed;
  };

  const levels = (n: number, max: number) => (answer: ChatAnswer) => {
    const plain = parseLevels(answer.text, n, max);
    return plain && ((answer.tokens && expectedLevels(answer.tokens, plain, max)) ?? plain);
  };

  return {
    name: chat.name,
    prompts: Object.fromEntries(read.map(({ name, sha256 }) => [name, sha256])),
    counts: () => ({
      nRequests,
      nFailures: Object.values(failures).reduce((sum, n) => sum + n, 0),
      failures: { ...failures },
    }),
    async explain(evidence, { signal } = {}) {
      const texts = await ask(
        "explain",
        { ...evidenceLines(evidence), nExplanations: String(nExplanations) },
        { maxTokens: 40 + 60 * nExplanations, logprobs: false, signal },
        ({ text }) => parseExplanations(text, nExplanations),
      );
      const promptSha256 = prompts.get("explain")!.sha256;
      return (texts ?? []).map((text): Explanation => ({ text, source: chat.name, promptSha256 }));
    },
    async classify(explanation, contexts, { signal, question } = {}) {
      const groups = Array.from(
        { length: Math.ceil(contexts.length / contextsPerRequest) },
        (_, i) => contexts.slice(i * contextsPerRequest, (i + 1) * contextsPerRequest),
      );
      const answers = await Promise.all(
        groups.map(async (group) => {
          const found = await ask(
            question ?? questionOf(group),
            {
              explanation: quoteText(explanation, MAX_EXPLANATION),
              contexts: group.map(({ tokens, marked }) => quoteTokens(tokens, marked)).join("\n"),
              n: String(group.length),
            },
            { maxTokens: 8 + 4 * group.length, logprobs, signal },
            levels(group.length, 1),
          );
          return found ?? group.map(() => Number.NaN);
        }),
      );
      return answers.flat();
    },
    async simulate(explanation, contexts, { signal } = {}) {
      return await Promise.all(
        contexts.map(async ({ tokens }) => {
          const found = await ask(
            "simulate",
            {
              explanation: quoteText(explanation, MAX_EXPLANATION),
              tokens: `[${tokens.map((token) => quoteText(token)).join(", ")}]`,
              n: String(tokens.length),
            },
            { maxTokens: 8 + 4 * tokens.length, logprobs, signal },
            levels(tokens.length, 10),
          );
          return found ?? [];
        }),
      );
    },
  };
}

/** Contexts with marks are asked about their marks. */
const questionOf = (contexts: readonly JudgeContext[]): JudgeQuestion =>
  contexts.some(({ marked }) => marked !== undefined) ? "fuzz" : "detect";

/** Tokens that are shown as active: from three tenths of the highest value on, as Delphi highlights. */
const SHOWN_LEVEL = 3;

/** Evidence as the lines of a prompt. */
function evidenceLines({ active, nearMisses, raises, lowers }: Evidence): Record<string, string> {
  const line = ({ tokens, levels, value }: EvidenceContext): string => {
    // Of a weak context the strongest token is shown all the same.
    const least = Math.min(SHOWN_LEVEL, Math.max(1, ...levels));
    const marked = [...levels.keys()].filter((i) => levels[i]! >= least && value > 0);
    const shown = marked.map((i) => `${quoteText(tokens[i]!)} ${levels[i]!}`);
    return `${quoteTokens(tokens, marked)} ${shown.join(", ")}`.trim();
  };
  const list = (tokens: readonly string[]) =>
    tokens.length === 0 ? "(not known)" : tokens.map((token) => quoteText(token)).join(", ");
  return {
    contexts: active.map(line).join("\n"),
    nearMisses: nearMisses.map(({ tokens }) => quoteTokens(tokens)).join("\n") || "(none)",
    raises: list(raises),
    lowers: list(lowers),
  };
}
