import { ArgumentError, DataError, throwIfAborted } from "@penfield/core";
import { generateStream, HookedModel, type RunnableModel, topK } from "@penfield/hooks";
import type { AnswerToken } from "./answers.ts";
import {
  type ChatAnswer,
  type ChatCounts,
  type ChatExplainerOptions,
  type ChatRequest,
  chatExplainer,
  type FailureKind,
} from "./chat.ts";
import type { AskOptions, Explainer, Judge, JudgeContext } from "./explainer.ts";
import { fillPrompt, readPrompt } from "./prompts.ts";
import { MAX_EXPLANATION } from "./untrusted.ts";

export interface LocalTextModelOptions extends ChatExplainerOptions {
  /** An opened causal model with its tokenizer, */
  readonly model?: RunnableModel | undefined;
  /** or what to open one from: a folder laid out like a hub repository. */
  readonly folder?: string | undefined;
  /**
   * How it judges: `surprisal` (default) by how much likelier a description makes a text, which needs no model that follows instructions; `answers` as a
   * model behind an endpoint does.
   */
  readonly judge?: "surprisal" | "answers" | undefined;
  /** Contexts in one run of the surprisal judge; default 8. */
  readonly batchSize?: number | undefined;
}

export interface LocalTextModel extends Explainer, Judge {
  readonly prompts: Judge["prompts"];
  readonly name: string;
  /** What was asked of it in words; judgements by surprisal are not among them. */
  counts(): ChatCounts;
  /** Closes the model if it was opened from a folder. */
  dispose(): Promise<void>;
}

/**
 * An explainer and judge by a causal language model on this machine, through its hooks; nothing is sent anywhere.
 *
 * Models of less than a billion parameters rarely keep to the form of an answer: those answers count as failed. What they can do is judge by surprisal.
 * A model without instructions does not end its answer: the first line is taken.
 *
 * @throws {ArgumentError} unless one of model and folder is given.
 * @throws {ModelError} if the folder holds no model.
 * @throws {TokenizerError} if the model has no tokenizer.
 *
 * @example
 * import { organismFolder } from "@penfield/organisms";
 * const local = await localTextModel({ folder: organismFolder("organism-a") });
 * (await local.classify("horses", [{ tokens: ["A", " horse"] }])).length // => 1
 * await local.dispose();
 */
export async function localTextModel(options: LocalTextModelOptions): Promise<LocalTextModel> {
  if ((options.model === undefined) === (options.folder === undefined)) {
    throw new ArgumentError("localTextModel: expected a model or a folder, and not both");
  }
  const model =
    options.model ?? (await HookedModel.fromPretrained(options.folder!, { verify: "none" }));
  model.requireTokenizer();
  const name = `local:${model.cfg.modelName}`;
  // One answer after the other: runs block each other anyway, and would fill the memory.
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const next = last.then(work);
    last = next.catch(() => undefined);
    return next;
  };
  const explainer = await chatExplainer(
    {
      name,
      complete: (request, ask) => inTurn(() => answer(model, request, ask?.signal)),
    },
    options,
  );
  const own = {
    ...explainer,
    async dispose() {
      if (options.model === undefined) await model.dispose();
    },
  };
  if (options.judge === "answers") return own;
  const judge = await surprisalJudge(model, options);
  return {
    ...own,
    prompts: { explain: explainer.prompts["explain"]!, ...judge.prompts },
    classify: (text, contexts, ask) => inTurn(() => judge.classify(text, contexts, ask)),
    simulate: undefined, // Surprisal says nothing about levels.
  };
}

async function answer(
  model: RunnableModel,
  { system, user, maxTokens, logprobs }: ChatRequest,
  signal: AbortSignal | undefined,
): Promise<ChatAnswer | { failure: FailureKind }> {
  const tokenizer = model.requireTokenizer();
  const prompt = tokenizer.encode(`${system}\n\n${user}\n`);
  if (prompt.length + maxTokens > (model.cfg.nCtx ?? Number.POSITIVE_INFINITY)) {
    return { failure: "tooLong" };
  }
  const stream = generateStream(model, [prompt], {
    maxNewTokens: maxTokens,
    temperature: 0,
    keepLogits: logprobs,
    signal,
  });
  let text = "";
  const tokens: AnswerToken[] = [];
  for await (const { token, text: added, logProb, logits } of stream) {
    text += added ?? "";
    if (logits) {
      const [top] = topK({ data: logits, shape: [1, 1, logits.length] }, { k: 20 });
      tokens.push({
        token: tokenizer.decode([token]),
        logprob: logProb,
        top: top!.map((own) => ({
          token: tokenizer.decode([own.token]),
          logprob: Math.log(own.prob),
        })),
      });
    }
    if (text.trimStart().includes("\n")) break;
  }
  return {
    text: text.trimStart().split("\n")[0]!,
    tokens: logprobs ? tokens : undefined,
  };
}

/** Stands in a prompt where nothing is said. */
const ANY_TEXT = "any text";

/**
 * A judge without answers: how much likelier a description makes a context,
 *
 *   log p(context | description) - log p(context),
 *
 * summed over its tokens, or over the marked ones; p(context) is that under the same prompt with the description "any text". In nats, no
 * probability; areas under curves need none.
 *
 * @param options.promptFolder - A folder with another `surprisal.txt`; the context must be its end.
 * @throws {TokenizerError} if the model has no tokenizer.
 * @throws {DataError} when it is asked, if prompt and context do not fit into the model.
 *
 * Cost: two runs of prompt and context for each context.
 * Source: surprisal scoring of Paulo et al. (2024); as a difference it is the pointwise mutual information of MILAN (Hernandez et al. 2022).
 *
 * @example
 * import { HookedModel } from "@penfield/hooks";
 * import { organismFolder } from "@penfield/organisms";
 * const model = await HookedModel.fromPretrained(organismFolder("organism-a"), { verify: "none" });
 * const judge = await surprisalJudge(model);
 * (await judge.classify("any text", [{ tokens: ["A", " horse"] }]))[0] // => 0
 * await model.dispose();
 */
export async function surprisalJudge(
  model: RunnableModel,
  { promptFolder, batchSize = 8 }: Pick<LocalTextModelOptions, "promptFolder" | "batchSize"> = {},
): Promise<Judge> {
  const tokenizer = model.requireTokenizer();
  const { user, sha256 } = await readPrompt("surprisal", promptFolder);
  if (!user.endsWith("{context}")) {
    throw new ArgumentError("surprisalJudge: expected a prompt that ends with {context}");
  }
  const before = user.slice(0, -"{context}".length);
  const prefixOf = (explanation: string): number[] =>
    tokenizer.encode(fillPrompt(before, { explanation: explanation.slice(0, MAX_EXPLANATION) }));
  /** Log-probability of each context's tokens in question after a prefix. */
  const score = async (
    explanation: string,
    contexts: readonly JudgeContext[],
    { signal }: AskOptions,
  ): Promise<number[]> => {
    const prefix = prefixOf(explanation);
    const out: number[] = [];
    for (let from = 0; from < contexts.length; from += batchSize) {
      throwIfAborted(signal, "surprisalJudge");
      const some = contexts
        .slice(from, from + batchSize)
        .map((context) => contextTokens(context, model));
      const tokens = some.map(({ ids }) => [...prefix, ...ids]);
      const longest = Math.max(...tokens.map(({ length }) => length));
      if (longest > (model.cfg.nCtx ?? Number.POSITIVE_INFINITY)) {
        throw new DataError(
          `surprisalJudge: expected at most ${model.cfg.nCtx} tokens of description and context, got ${longest}`,
        );
      }
      const { tokenLogProbs } = await model.run({ tokens, head: "tokenLogProbs" });
      const { data, shape } = tokenLogProbs!;
      some.forEach(({ inQuestion }, row) => {
        let sum = 0;
        for (const i of inQuestion) sum += data[row * shape[1]! + prefix.length + i]!;
        out.push(sum);
      });
    }
    return out;
  };
  return {
    name: `surprisal:${model.cfg.modelName}`,
    prompts: { surprisal: sha256 },
    async classify(explanation, contexts, ask = {}) {
      const described = await score(explanation, contexts, ask);
      const plain = await score(ANY_TEXT, contexts, ask);
      return described.map((value, i) => value - plain[i]!);
    },
  };
}

/** A context in the judge's own tokens, and which of them are asked about. */
function contextTokens(
  { tokens, marked }: JudgeContext,
  model: RunnableModel,
): { ids: number[]; inQuestion: number[] } {
  const tokenizer = model.requireTokenizer();
  const isMarked = new Set(marked);
  const ids: number[] = [];
  const inQuestion: number[] = [];
  // Token by token, so that marks stay where they are, whoever's tokens they were.
  for (const [i, token] of tokens.entries()) {
    const own = tokenizer.encode(token, { prependBos: false });
    if (!marked || isMarked.has(i)) inQuestion.push(...own.map((_, j) => ids.length + j));
    ids.push(...own);
  }
  return { ids, inQuestion };
}
