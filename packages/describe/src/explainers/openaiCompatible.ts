import { setTimeout as wait } from "node:timers/promises";
import {
  ArgumentError,
  DownloadError,
  InterruptedError,
  type LongWork,
  sha256,
  throwIfAborted,
} from "@penfield/core";
import { z } from "zod";
import { answerCache, type KeptAnswer } from "./answerCache.ts";
import {
  type ChatAnswer,
  type ChatCounts,
  type ChatExplainer,
  type ChatExplainerOptions,
  type ChatModel,
  type ChatRequest,
  chatExplainer,
  type FailureKind,
} from "./chat.ts";

export interface OpenaiCompatibleOptions extends ChatExplainerOptions, LongWork {
  /** Up to before `/chat/completions`. `https`, or `http` on this machine alone. */
  readonly baseURL: string;
  readonly model: string;
  /** Name of the environment variable that holds the key; without it no key is sent. */
  readonly apiKeyEnv?: string | undefined;
  /** Further attempts after a timeout, a lost connection, or a status 408, 429 or 5xx; default 3. */
  readonly maxRetries?: number | undefined;
  /** Before the first of them; doubled each time, default 0.5. A server's `retry-after` of up to 30 s goes before. */
  readonly retryDelaySeconds?: number | undefined;
  /** Of one attempt; default 60. */
  readonly timeoutSeconds?: number | undefined;
  /** Tokens of questions and answers together after which the work stops; default 1 000 000. Answers from the cache cost none. */
  readonly maxTokens?: number | undefined;
  /** The same as a cost, in the currency of `prices`. */
  readonly maxCost?: number | undefined;
  /** Per million tokens. */
  readonly prices?: { readonly input: number; readonly output: number } | undefined;
  /** Requests at the same time; default 4. */
  readonly concurrency?: number | undefined;
  readonly temperature?: number | undefined;
  /** A folder where answers are kept, by a hash of server, model, question and parameters. */
  readonly cacheFolder?: string | undefined;
}

/** What was asked so far, and what it took. */
export interface Usage extends ChatCounts {
  /** Answers that came from the cache. */
  readonly nCached: number;
  readonly nRetries: number;
  /** As the server reports them; at 4 bytes a token where it does not. */
  readonly promptTokens: number;
  readonly completionTokens: number;
  /** Undefined without prices. */
  readonly cost: number | undefined;
}

export interface OpenaiCompatible extends ChatExplainer {
  usage(): Usage;
}

/** Longest answer that is read, in bytes. */
const MAX_BYTES = 2_000_000;
const MAX_RETRY_AFTER_SECONDS = 30;

const completion = z.object({
  choices: z
    .array(
      z.object({
        message: z.object({ content: z.string().nullable() }),
        logprobs: z
          .object({
            content: z.array(
              z.object({
                token: z.string(),
                logprob: z.number(),
                top_logprobs: z
                  .array(z.object({ token: z.string(), logprob: z.number() }))
                  .default([]),
              }),
            ),
          })
          .nullish()
          .catch(undefined),
      }),
    )
    .min(1),
  usage: z
    .object({
      prompt_tokens: z.number().int().min(0),
      completion_tokens: z.number().int().min(0),
    })
    .optional()
    .catch(undefined),
});

/**
 * An explainer and judge behind an endpoint that speaks OpenAI's `POST /chat/completions`: llama.cpp, vLLM, Ollama and many services. It is used only
 * where it is given: nothing in Penfield asks one by itself.
 *
 * Text of the corpus is sent to the server. The key is read from the environment, sent in a header to this address alone (redirects are
 * refused), and written nowhere. An attempt that fails is repeated; an answer that fails for good is counted and the work goes on.
 * Before a question is sent, its tokens at 4 bytes each and its longest answer must fit into the budget.
 *
 * @throws {ArgumentError} for an address that is neither https nor on this machine, options outside their ranges, a variable without a key,
 *   and `maxCost` without prices.
 * @throws {DownloadError} when it is asked, if the server refuses for good (status 400 to 499 but 408 and 429).
 * @throws {InterruptedError} when it is asked, if the budget is used up or the signal fires.
 *
 * @example
 * const judge = await openaiCompatible({ baseURL: "http://127.0.0.1:8080/v1", model: "small", maxTokens: 100_000 });
 * judge.usage().promptTokens // => 0
 */
export async function openaiCompatible(
  options: OpenaiCompatibleOptions,
): Promise<OpenaiCompatible> {
  const client = new ChatClient(options);
  const explainer = await chatExplainer(client, options);
  return { ...explainer, usage: () => ({ ...explainer.counts(), ...client.spent() }) };
}

/** Asks a server, within a budget, a few questions at a time. */
class ChatClient implements ChatModel {
  readonly name: string;
  readonly #options: OpenaiCompatibleOptions;
  readonly #url: string;
  readonly #key: string | undefined;
  readonly #cache: ReturnType<typeof answerCache>;
  readonly #limits: { maxTokens: number; maxCost: number; retries: number; seconds: number };
  readonly #free: (() => void)[] = [];
  #running = 0;
  #begun = 0;
  #done = 0;
  #nCached = 0;
  #nRetries = 0;
  #promptTokens = 0;
  #completionTokens = 0;
  /** Tokens of questions on their way, at most. */
  #reserved: { prompt: number; completion: number } = { prompt: 0, completion: 0 };

  constructor(options: OpenaiCompatibleOptions) {
    this.#options = options;
    this.#url = checkedUrl(options.baseURL);
    this.#key = readKey(options.apiKeyEnv);
    this.#cache = answerCache(options.cacheFolder);
    this.#limits = checkedLimits(options);
    this.name = `openai-compatible:${options.model}`;
  }

  spent(): Omit<Usage, keyof ChatCounts> {
    const { prices } = this.#options;
    return {
      nCached: this.#nCached,
      nRetries: this.#nRetries,
      promptTokens: this.#promptTokens,
      completionTokens: this.#completionTokens,
      cost: prices && this.#cost(this.#promptTokens, this.#completionTokens),
    };
  }

  async complete(
    request: ChatRequest,
    { signal }: { signal?: AbortSignal | undefined } = {},
  ): Promise<ChatAnswer | { failure: FailureKind }> {
    const { model, temperature = 0 } = this.#options;
    const messages = [
      ...(request.system === "" ? [] : [{ role: "system", content: request.system }]),
      { role: "user", content: request.user },
    ];
    const parameters = {
      temperature,
      max_tokens: request.maxTokens,
      ...(request.logprobs ? { logprobs: true, top_logprobs: 20 } : {}),
    };
    const body = JSON.stringify({ model, messages, ...parameters });
    const key = sha256(JSON.stringify([this.#url, body]));
    const signals = [signal, this.#options.signal].filter((own) => own !== undefined);
    const stop = signals.length > 0 ? AbortSignal.any(signals) : undefined;

    this.#begun++;
    try {
      throwIfAborted(stop, "openaiCompatible");
      const kept = await this.#cache.get(key);
      if (kept) {
        this.#nCached++;
        return kept;
      }
      await this.#turn();
      try {
        throwIfAborted(stop, "openaiCompatible");
        const estimate = {
          prompt: Math.ceil(Buffer.byteLength(body) / 4),
          completion: request.maxTokens,
        };
        const answer = await this.#spend(estimate, () => this.#attempts(body, estimate, stop));
        if ("failure" in answer) return answer;
        await this.#cache.put(key, answer);
        return answer;
      } finally {
        this.#running--;
        this.#free.shift()?.();
      }
    } finally {
      this.#done++;
      this.#report();
    }
  }

  /** Waits until fewer than `concurrency` questions are on their way. */
  async #turn(): Promise<void> {
    const { concurrency = 4 } = this.#options;
    while (this.#running >= concurrency) {
      await new Promise<void>((resolve) => this.#free.push(resolve));
    }
    this.#running++;
  }

  #cost(prompt: number, answer: number): number {
    const { input = 0, output = 0 } = this.#options.prices ?? {};
    return (prompt * input + answer * output) / 1e6;
  }

  /** Runs a question if it fits into what is left of the budget. */
  async #spend<T>(
    estimate: { prompt: number; completion: number },
    run: () => Promise<T>,
  ): Promise<T> {
    const prompt = this.#promptTokens + this.#reserved.prompt + estimate.prompt;
    const answer = this.#completionTokens + this.#reserved.completion + estimate.completion;
    const { maxTokens, maxCost } = this.#limits;
    if (prompt + answer > maxTokens || this.#cost(prompt, answer) > maxCost) {
      const cost = this.#options.prices ? `, cost ${this.spent().cost!.toFixed(4)}` : "";
      throw new InterruptedError(
        `openaiCompatible: the budget is used up: ${this.#promptTokens + this.#completionTokens} tokens${cost}`,
        { hint: "Raise maxTokens or maxCost; with a cacheFolder the answers so far cost nothing." },
      );
    }
    this.#reserved.prompt += estimate.prompt;
    this.#reserved.completion += estimate.completion;
    try {
      return await run();
    } finally {
      this.#reserved.prompt -= estimate.prompt;
      this.#reserved.completion -= estimate.completion;
    }
  }

  async #attempts(
    body: string,
    estimate: { prompt: number; completion: number },
    stop: AbortSignal | undefined,
  ): Promise<KeptAnswer | { failure: FailureKind }> {
    const { retryDelaySeconds = 0.5 } = this.#options;
    for (let attempt = 0; ; attempt++) {
      const result = await this.#attempt(body, estimate, stop);
      if (!("failure" in result) || !result.again || attempt >= this.#limits.retries) return result;
      this.#nRetries++;
      const seconds = result.afterSeconds ?? retryDelaySeconds * 2 ** attempt;
      await wait(1000 * Math.min(seconds, MAX_RETRY_AFTER_SECONDS), undefined, {
        signal: stop,
      }).catch(() => throwIfAborted(stop, "openaiCompatible"));
    }
  }

  async #attempt(
    body: string,
    estimate: { prompt: number; completion: number },
    stop: AbortSignal | undefined,
  ): Promise<
    KeptAnswer | { failure: FailureKind; again: boolean; afterSeconds?: number | undefined }
  > {
    const timeout = AbortSignal.timeout(1000 * this.#limits.seconds);
    let response: Response;
    let text: string | undefined;
    try {
      response = await fetch(this.#url, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          ...(this.#key === undefined ? {} : { authorization: `Bearer ${this.#key}` }),
        },
        body,
        redirect: "error",
        signal: stop ? AbortSignal.any([stop, timeout]) : timeout,
      });
      text = await limitedText(response);
    } catch {
      throwIfAborted(stop, "openaiCompatible");
      if (!timeout.aborted) return { failure: "connection", again: true };
      // What a server does for an answer that nobody waits for any more is paid for all the same.
      this.#count(estimate);
      return { failure: "timeout", again: true };
    }
    if (!response.ok) return this.#refused(response, text);
    if (text === undefined) {
      this.#count(estimate);
      return { failure: "tooLong", again: false };
    }
    const parsed = completion.safeParse(jsonOrUndefined(text));
    const used = parsed.data?.usage;
    const choice = parsed.data?.choices[0];
    const content = choice?.message.content ?? "";
    // A server that does not say what it took, or says nonsense, is counted by the bytes.
    const spent = used
      ? { prompt: used.prompt_tokens, completion: used.completion_tokens }
      : {
          prompt: estimate.prompt,
          completion: choice ? Math.ceil(Buffer.byteLength(content) / 4) : estimate.completion,
        };
    this.#count(spent);
    if (!choice) return { failure: "unparsable", again: false };
    const clean = <T extends { token: string; logprob: number }>({ token, logprob }: T) => ({
      token: this.#withoutKey(token),
      logprob,
    });
    const tokens = choice.logprobs?.content.map((own) => ({
      ...clean(own),
      top: own.top_logprobs.map(clean),
    }));
    return {
      text: this.#withoutKey(content),
      ...(tokens ? { tokens } : {}),
      promptTokens: spent.prompt,
      completionTokens: spent.completion,
    };
  }

  #count({ prompt, completion: answer }: { prompt: number; completion: number }): void {
    this.#promptTokens += prompt;
    this.#completionTokens += answer;
  }

  #refused(
    response: Response,
    text: string | undefined,
  ): { failure: FailureKind; again: boolean; afterSeconds?: number | undefined } {
    const { status } = response;
    if (status === 408 || status === 429 || status >= 500) {
      const after = Number(response.headers.get("retry-after") ?? Number.NaN);
      return {
        failure: "status",
        again: true,
        afterSeconds: Number.isFinite(after) && after >= 0 ? after : undefined,
      };
    }
    const said = this.#withoutKey(text ?? "").replace(/[\p{Cc}\p{Cf}\s]+/gu, " ");
    throw new DownloadError(
      `openaiCompatible: expected an answer, got status ${status}: ${said.trim().slice(0, 200)}`,
      {
        hint:
          status === 401 || status === 403
            ? `Check the key in ${this.#options.apiKeyEnv ?? "the environment (apiKeyEnv)"}.`
            : "Check baseURL and model.",
      },
    );
  }

  /** A server may send back what it was sent. */
  #withoutKey(text: string): string {
    return this.#key ? text.replaceAll(this.#key, "[key]") : text;
  }

  #report(): void {
    const tokens = this.#promptTokens + this.#completionTokens;
    const { cost } = this.spent();
    const parts = [
      `${tokens} tokens`,
      ...(cost === undefined ? [] : [`cost ${cost.toFixed(4)}`]),
      `${this.#nCached} answers from the cache`,
    ];
    this.#options.onProgress?.({
      stage: `asking ${this.#options.model} (${parts.join(", ")})`,
      done: this.#done,
      total: this.#begun,
      unit: "requests",
    });
  }
}

function checkedUrl(baseURL: string): string {
  const url = URL.canParse(baseURL) ? new URL(baseURL) : undefined;
  const local = url && ["127.0.0.1", "localhost", "[::1]"].includes(url.hostname);
  if (!url || !(url.protocol === "https:" || (url.protocol === "http:" && local))) {
    throw new ArgumentError(
      `openaiCompatible: expected a baseURL with https, or with http on this machine, got ${JSON.stringify(baseURL.slice(0, 80).replace(/\/\/[^/@]*@/, "//"))}`,
      { hint: "As https://example.org/v1 or http://127.0.0.1:8080/v1." },
    );
  }
  if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "") {
    throw new ArgumentError(
      "openaiCompatible: expected a baseURL without a name, password or query",
      { hint: "Put the key into an environment variable and name it in apiKeyEnv." },
    );
  }
  return `${url.href.replace(/\/+$/, "")}/chat/completions`;
}

function readKey(name: string | undefined): string | undefined {
  if (name === undefined) return undefined;
  const key = process.env[name]?.trim();
  if (!key) {
    throw new ArgumentError(
      `openaiCompatible: expected a key in the environment variable ${name}, got none`,
      { hint: "Set it, or leave apiKeyEnv out if the server wants no key." },
    );
  }
  if (/[^\x21-\x7e]/.test(key)) {
    throw new ArgumentError(
      `openaiCompatible: expected a key of printable characters in the environment variable ${name}`,
    );
  }
  return key;
}

function checkedLimits(options: OpenaiCompatibleOptions): {
  maxTokens: number;
  maxCost: number;
  retries: number;
  seconds: number;
} {
  const { maxRetries: retries = 3, timeoutSeconds: seconds = 60, concurrency = 4 } = options;
  const { maxTokens = 1_000_000, maxCost = Number.POSITIVE_INFINITY, prices } = options;
  const ranges = { maxRetries: [retries, 0], timeoutSeconds: [seconds, 0.001] } as const;
  const more = { concurrency: [concurrency, 1], maxTokens: [maxTokens, 0], maxCost: [maxCost, 0] };
  for (const [name, [value, least]] of Object.entries({ ...ranges, ...more })) {
    if (!(value! >= least!)) {
      throw new ArgumentError(
        `openaiCompatible: expected ${name} of at least ${least}, got ${value}`,
      );
    }
  }
  if (options.maxCost !== undefined && !prices) {
    throw new ArgumentError("openaiCompatible: expected prices with maxCost, got none");
  }
  if (prices && !(prices.input >= 0 && prices.output >= 0)) {
    throw new ArgumentError(
      `openaiCompatible: expected prices from 0, got ${prices.input} and ${prices.output}`,
    );
  }
  return { maxTokens, maxCost, retries, seconds };
}

/** The text of a response, or undefined if it is longer than anything that was asked for. */
async function limitedText(response: Response): Promise<string | undefined> {
  if (!response.body) return "";
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
    size += chunk.length;
    if (size > MAX_BYTES) return undefined; // Leaving the loop closes the connection.
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function jsonOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
