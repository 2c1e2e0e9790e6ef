import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { ArgumentError, FormatError, TokenizerError } from "@penfield/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createTokenizer, HookedModel, wordLevelTokenizer } from "./index.ts";

const words = ["<s>", "<unk>", "<pad>", "the", "dog", "sees", ",", "."];
const wordLevel = (): object => wordLevelTokenizer(words, "<unk>");
const ids = [3, 4, 5];

describe("createTokenizer", () => {
  const tokenizer = createTokenizer(wordLevel(), {
    bos_token: "<s>",
    pad_token: { content: "<pad>" },
  });

  test("text to ids and back", () => {
    expect(tokenizer.vocabularySize).toBe(8);
    expect(tokenizer.encode("the dog sees")).toEqual(ids);
    expect(tokenizer.encode("the cat sees")).toEqual([3, 1, 5]);
    expect(tokenizer.encode("")).toEqual([]);
    expect(tokenizer.decode(ids)).toBe("the dog sees");
    expect(tokenizer.decode([])).toBe("");
    expect(tokenizer.toStrTokens(ids)).toEqual(["the", "dog", "sees"]);
  });

  test("any text of known words comes back, spaces before punctuation included", () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...words.slice(3)), { minLength: 1 }), (chosen) => {
        const text = chosen.join(" ");
        expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
      }),
    );
  });

  test("beginning-of-text token and limit", () => {
    expect([tokenizer.bosId, tokenizer.padId]).toEqual([0, 2]);
    expect(tokenizer.encode("the dog", { prependBos: true })).toEqual([0, 3, 4]);
    expect(tokenizer.encode("the dog", { prependBos: false })).toEqual([3, 4]);
    expect(tokenizer.encode("the dog sees", { maxTokens: 2 })).toEqual([3, 4]);
    expect(tokenizer.encode("the dog sees", { maxTokens: 2, prependBos: true })).toEqual([0, 3]);
    expect(tokenizer.encode("the dog", { maxTokens: 9 })).toEqual([3, 4]);
  });

  test("without being told, it adds what its own post-processor adds", () => {
    const template = {
      post_processor: {
        type: "TemplateProcessing",
        single: [
          { SpecialToken: { id: "<s>", type_id: 0 } },
          { Sequence: { id: "A", type_id: 0 } },
        ],
        pair: [],
        special_tokens: { "<s>": { id: "<s>", ids: [0], tokens: ["<s>"] } },
      },
    };
    const adding = createTokenizer({ ...wordLevel(), ...template }, { bos_token: "<s>" });
    expect(adding.encode("the dog")).toEqual([0, 3, 4]);
    expect(adding.encode("the dog", { prependBos: false })).toEqual([3, 4]);
    expect(adding.encode("the dog", { prependBos: true })).toEqual([0, 3, 4]);
  });

  test("a word outside the vocabulary, without a token for such words", () => {
    const model = { type: "WordLevel", vocab: { the: 0, dog: 1 } };
    const strict = createTokenizer({ ...wordLevel(), model }, {});
    expect(strict.encode("the dog")).toEqual([0, 1]);
    expect(() => strict.encode("the cat")).toThrow(TokenizerError);
    expect(() => strict.encode("the cat")).toThrow(/got a word outside it in "the cat"/);
  });

  test("special tokens: cls where there is no bos, eos for padding, else the first", () => {
    expect(createTokenizer(wordLevel(), { cls_token: "<s>" }).bosId).toBe(0);
    expect(createTokenizer(wordLevel(), { eos_token: "<unk>" }).padId).toBe(1);
    const bare = createTokenizer(wordLevel(), {});
    expect([bare.bosId, bare.padId]).toEqual([undefined, 0]);
    expect(() => bare.encode("the", { prependBos: true })).toThrow(TokenizerError);
    expect(() => bare.encode("the", { prependBos: true })).toThrow(
      /expected a beginning-of-text token, got a tokenizer without one/,
    );
  });

  test.each([
    ["nothing", {}],
    ["a model that nobody knows", { ...wordLevel(), model: { type: "Abacus" } }],
  ])("what is no tokenizer is refused: %s", (_, json) => {
    expect(() => createTokenizer(json, {})).toThrow(FormatError);
    expect(() => createTokenizer(json, {})).toThrow(/tokenizer\.json is not a tokenizer/);
  });
});

describe("wordLevelTokenizer", () => {
  test("an id is a place in the list; by default the first word stands for unknown ones", () => {
    const tokenizer = createTokenizer(wordLevelTokenizer(["?", "the", "dog"]), {});
    expect(tokenizer.encode("the  cat dog")).toEqual([1, 0, 2]);
    expect(tokenizer.vocabularySize).toBe(3);
  });

  test.each([
    ["no words", [], undefined, /got none$/],
    ["a word twice", ["a", "b", "a"], undefined, /got "a" twice$/],
    ["an unknown word that is not listed", ["a"], "<unk>", /got no "<unk>" among them$/],
  ] as const)("refused: %s", (_, list, unknown, message) => {
    expect(() => wordLevelTokenizer(list, unknown)).toThrow(ArgumentError);
    expect(() => wordLevelTokenizer(list, unknown)).toThrow(message);
  });
});

describe("with a model", () => {
  const bytes = readFileSync(
    fileURLToPath(new URL("../../../test/fixtures/gpt2/model.onnx", import.meta.url)),
  );
  const many = (n: number) =>
    createTokenizer(
      wordLevelTokenizer(["<unk>", ...Array.from({ length: n - 1 }, (_, i) => `w${i}`)]),
      {},
    );

  test("a tokenizer of another vocabulary is refused", async () => {
    const opening = HookedModel.fromBytes(bytes, { tokenizer: many(97), verify: "none" });
    await expect(opening).rejects.toThrow(TokenizerError);
    await expect(opening).rejects.toThrow(
      /expected a tokenizer of at most 96 tokens, got one of 97/,
    );
  });

  test("one that fits is kept; without one, texts are refused", async () => {
    const model = await HookedModel.fromBytes(bytes, { tokenizer: many(96), verify: "none" });
    expect(model.requireTokenizer().vocabularySize).toBe(96);
    await model.dispose();
    const bare = await HookedModel.fromBytes(bytes, { name: "bare", verify: "none" });
    expect(() => bare.requireTokenizer()).toThrow(TokenizerError);
    expect(() => bare.requireTokenizer()).toThrow(/bare came without a tokenizer/);
    await bare.dispose();
  });
});
