import { Tokenizer } from "@huggingface/tokenizers";
import { ArgumentError, FormatError, TokenizerError } from "@penfield/core";

/** Text to token ids and back, as the model's publisher defines it. */
export interface TextTokenizer {
  readonly vocabularySize: number;
  /** The token that marks the beginning of a text, if the model has one. */
  readonly bosId: number | undefined;
  /** The token that ends a text, if the tokenizer's files name one. */
  readonly eosId?: number | undefined;
  readonly padId: number;
  /**
   * @param options.prependBos - Put the beginning-of-text token first; by default the tokenizer's
   *   own behaviour.
   * @param options.maxTokens - Keep only so many tokens from the start.
   * @throws {TokenizerError} if there is no beginning-of-text token to prepend, or a word is outside
   *   the vocabulary and there is no token for such words.
   */
  encode(text: string, options?: EncodeOptions): number[];
  decode(ids: readonly number[]): string;
  /** Each token as text. */
  toStrTokens(ids: readonly number[]): string[];
}

export interface EncodeOptions {
  readonly prependBos?: boolean | undefined;
  readonly maxTokens?: number | undefined;
}

/**
 * Opens a tokenizer from the two JSON files that hub folders carry.
 *
 * @throws {FormatError} if the files do not describe a tokenizer.
 */
export function createTokenizer(tokenizerJson: object, tokenizerConfig: object): TextTokenizer {
  let tokenizer: Tokenizer;
  try {
    // The library takes a word-level model's token for unknown words from the configuration alone.
    const { model } = tokenizerJson as { model?: { unk_token?: unknown } };
    const unknown = typeof model?.unk_token === "string" ? { unk_token: model.unk_token } : {};
    tokenizer = new Tokenizer(tokenizerJson, { ...unknown, ...tokenizerConfig });
  } catch (cause) {
    throw new FormatError(
      `createTokenizer: tokenizer.json is not a tokenizer: ${(cause as Error).message}`,
      {
        hint: "Fetch tokenizer.json and tokenizer_config.json of the model again.",
        cause,
      },
    );
  }
  const vocabulary = tokenizer.get_vocab(true);
  let largest = -1;
  for (const id of vocabulary.values()) if (id > largest) largest = id;
  const special = (key: string): number | undefined => {
    const value = (tokenizerConfig as Record<string, unknown>)[key];
    const content =
      typeof value === "string" ? value : (value as { content?: string } | null)?.content;
    return content === undefined ? undefined : tokenizer.token_to_id(content);
  };
  // Spaces before punctuation are kept: places in the decoded text must be places in the text itself.
  const decode = (ids: readonly number[]): string =>
    ids.length === 0 ? "" : tokenizer.decode([...ids], { clean_up_tokenization_spaces: false });
  const bosId = special("bos_token") ?? special("cls_token");
  const eosId = special("eos_token");
  return {
    vocabularySize: largest + 1,
    bosId,
    ...(eosId === undefined ? {} : { eosId }),
    padId: special("pad_token") ?? eosId ?? bosId ?? 0,
    encode(text, { prependBos, maxTokens } = {}) {
      let ids: number[];
      if (prependBos === undefined) ids = tokenizer.encode(text).ids;
      else {
        ids = tokenizer.encode(text, { add_special_tokens: false }).ids;
        if (prependBos) {
          if (bosId === undefined) {
            throw new TokenizerError(
              "encode: expected a beginning-of-text token, got a tokenizer without one",
              {
                hint: "Leave prependBos out.",
              },
            );
          }
          ids = [bosId, ...ids];
        }
      }
      if (ids.some((id) => id === undefined)) {
        throw new TokenizerError(
          `encode: expected text of the tokenizer's vocabulary, got a word outside it in ${JSON.stringify(text.slice(0, 60))}`,
          { hint: "The tokenizer has no token for unknown words; change the text." },
        );
      }
      return maxTokens === undefined ? ids : ids.slice(0, maxTokens);
    },
    decode,
    toStrTokens: (ids) => ids.map((id) => decode([id])),
  };
}

/**
 * The content of a tokenizer.json with one token per word, for models with a small vocabulary of their own. Words stand between
 * spaces; a word's id is its place in the list.
 *
 * @param words - All different.
 * @param unknown - The word that stands for those outside the list. Default: the first.
 * @throws {ArgumentError} for no words, a word twice, or an `unknown` that is not one of them.
 *
 * @example
 * const file = wordLevelTokenizer(["<s>", "<unk>", "the", "dog"], "<unk>");
 * createTokenizer(file, { bos_token: "<s>" }).encode("the dog barks").join() // => "2,3,1"
 */
export function wordLevelTokenizer(
  words: readonly string[],
  unknown: string | undefined = words[0],
): object {
  const seen = new Set<string>();
  const twice = words.find((word) => seen.size === seen.add(word).size);
  if (unknown === undefined || twice !== undefined || !seen.has(unknown)) {
    const got =
      unknown === undefined
        ? "none"
        : twice === undefined
          ? `no ${JSON.stringify(unknown)} among them`
          : `${JSON.stringify(twice)} twice`;
    throw new ArgumentError(
      `wordLevelTokenizer: expected different words, the one for unknown words among them, got ${got}`,
    );
  }
  return {
    version: "1.0",
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: { type: "WhitespaceSplit" },
    post_processor: null,
    decoder: null,
    model: {
      type: "WordLevel",
      vocab: Object.fromEntries(words.map((word, id) => [word, id])),
      unk_token: unknown,
    },
  };
}
