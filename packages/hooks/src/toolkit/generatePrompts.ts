import { ArgumentError, DataError, ModelError } from "@penfield/core";
import type { RunnableModel } from "../isolation/runnableModel.ts";
import type { TextTokenizer } from "../tokenizer.ts";
import type { ModelInputs, TokenRows } from "../transformer/inputs.ts";
import { isWholeEncoderDecoder } from "./generateEngine.ts";

/**
 * What is continued: texts, rows of tokens, or named inputs with tokens. Where `decoderTokens` are
 * given, these are continued and `tokens` are what the encoder reads.
 */
export type GenerationPrompts = string | readonly string[] | TokenRows | ModelInputs;

/** Prompts as tokens, and what goes with them. */
export interface ReadPrompts {
  readonly tokens: TokenRows;
  readonly encoderTokens: TokenRows | undefined;
  readonly inputs: ModelInputs["inputs"];
}

/** Inputs that say where tokens stand; they change from run to run. */
const MADE_HERE =
  /^(past_key_values\.\d+\.(decoder\.)?(key|value)|(decoder_)?attention_mask|position_ids|cache_position|(decoder_)?input_ids|use_cache_branch)$/;

/** Texts become tokens; what is continued and what the encoder reads are told apart. */
export function readPrompts(
  model: RunnableModel,
  prompts: GenerationPrompts,
  prependBos: boolean | undefined,
): ReadPrompts {
  const whole = isWholeEncoderDecoder(model);
  const none = { encoderTokens: undefined, inputs: undefined };
  if (typeof prompts === "string" || Array.isArray(prompts)) {
    const list = typeof prompts === "string" ? [prompts] : (prompts as readonly unknown[]);
    const tokens = list.map((row) =>
      typeof row === "string"
        ? model.requireTokenizer().encode(row, { prependBos })
        : [...(row as readonly number[])],
    );
    if (whole) throw withoutDecoderTokens();
    return { tokens, ...none };
  }
  const { tokens, decoderTokens, inputs } = prompts as ModelInputs;
  const made = Object.keys(inputs ?? {}).find(
    (name) => MADE_HERE.test(name) && !(name === "attention_mask" && decoderTokens),
  );
  if (made !== undefined) {
    throw new ArgumentError(`generate: expected inputs beside tokens, got ${made}`, {
      hint: "It follows from the tokens, and changes with each new one; leave it out.",
    });
  }
  if (whole && !decoderTokens) throw withoutDecoderTokens();
  if (!whole && decoderTokens && tokens) {
    throw new ArgumentError(
      "generate: expected tokens or decoder tokens, got both for a file without an encoder",
      { hint: 'Give the encoder\'s states: inputs: { "encoder_hidden_states": { data, shape } }.' },
    );
  }
  if (decoderTokens && tokens && tokens.length !== decoderTokens.length) {
    throw new DataError(
      `generate: expected as many rows of tokens as of decoder tokens, got ${tokens.length} and ${decoderTokens.length}`,
    );
  }
  if (!decoderTokens) return { tokens: tokens ?? [], encoderTokens: undefined, inputs };
  return { tokens: decoderTokens, encoderTokens: tokens, inputs };
}

const withoutDecoderTokens = (): DataError =>
  new DataError("generate: expected decoderTokens for a file with encoder and decoder, got none", {
    hint: "Give { tokens, decoderTokens }: what the encoder reads, and what is continued.",
  });

/** Refuses prompts that cannot be continued by so many tokens. */
export function checkPrompts(model: RunnableModel, tokens: TokenRows, maxNewTokens: number): void {
  const { nCtx, dVocab, stacks, attentionDir, modelName } = model.cfg;
  const empty = tokens.findIndex((row) => row.length === 0);
  if (tokens.length === 0 || empty >= 0) {
    throw new DataError(
      `generate: expected at least one token in each prompt, got ${tokens.length === 0 ? "no prompt" : `none in prompt ${empty}`}`,
      { hint: "Begin with the beginning-of-text token to generate from nothing." },
    );
  }
  if (stacks.length < 2 && attentionDir !== "causal") {
    throw new ModelError(
      `generate: expected a causal language model, got ${modelName}, whose positions see later ones`,
      { hint: "Encoders such as BERT do not generate." },
    );
  }
  tokens.forEach((row, r) => {
    const wrong = row.find(
      (id) => !(Number.isSafeInteger(id) && id >= 0 && id < (dVocab ?? 2 ** 53)),
    );
    if (wrong !== undefined) {
      throw new DataError(
        `generate: expected token ids within 0..${(dVocab ?? 2 ** 53) - 1}, got ${wrong} in prompt ${r}`,
        { hint: "The tokens come from another model's tokenizer." },
      );
    }
    // The last new token is not read.
    if (nCtx === undefined || row.length + maxNewTokens - 1 <= nCtx) return;
    throw new DataError(
      `generate: expected prompt and new tokens within a context of ${nCtx}, got ${row.length} tokens in prompt ${r} and ${maxNewTokens} new ones`,
      {
        hint: `Shorten the prompt, or ask for at most ${Math.max(0, nCtx - row.length + 1)} new tokens.`,
      },
    );
  });
}

/** The id of a token, by id or by its text. @throws {ArgumentError} if it is none, or several. */
export function stopToken(model: RunnableModel, stop: number | string): number {
  const { dVocab = Number.POSITIVE_INFINITY } = model.cfg;
  if (typeof stop === "number") {
    if (Number.isInteger(stop) && stop >= 0 && stop < dVocab) return stop;
    throw new ArgumentError(`generate: expected stop tokens within 0..${dVocab - 1}, got ${stop}`);
  }
  const ids = model.requireTokenizer().encode(stop, { prependBos: false });
  if (ids.length === 1) return ids[0]!;
  throw new ArgumentError(
    `generate: expected a stop text that is one token, got ${JSON.stringify(stop)}, which is ${ids.length}`,
    { hint: "Name tokens, or cut the text afterwards." },
  );
}

/** What tokenizers call the end of a text, or of a turn. */
const END_NAMES = [
  ...["<|endoftext|>", "</s>", "<eos>", "<|end_of_text|>", "<|eot_id|>", "<|im_end|>", "<|end|>"],
  ...["<end_of_turn>", "<|eos|>", "[EOS]"],
];

/** The tokens that end a text, as far as the tokenizer has some. */
export function endsOfText(tokenizer: TextTokenizer): number[] {
  const named = END_NAMES.flatMap((name) => {
    try {
      const ids = tokenizer.encode(name, { prependBos: false });
      return ids.length === 1 && tokenizer.decode(ids) === name ? ids : [];
    } catch {
      // A tokenizer without a token for unknown words does not know this one.
      return [];
    }
  });
  return tokenizer.eosId === undefined ? named : [tokenizer.eosId, ...named];
}
