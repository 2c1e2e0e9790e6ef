import { createRng } from "@penfield/core";
import { mix } from "./batch.ts";
import type { UnitSource } from "./source.ts";

/** A unit whose answer is known because it was made. */
export interface PlantedUnit {
  readonly name: string;
  /** Whether it answers at a place of a document; for `noise`, how often it does so, whatever stands there. */
  readonly active: ((words: readonly string[], position: number) => boolean) | { noise: number };
}

export interface PlantedOptions {
  /** The vocabulary; token i is word i. */
  readonly words: readonly string[];
  readonly units: readonly PlantedUnit[];
  readonly maxTokens?: number | undefined;
  /** Share of answers left out, default 0.02, and of other places with an answer, default 0.0005. */
  readonly misses?: number | undefined;
  readonly falseAnswers?: number | undefined;
  readonly seed?: number | undefined;
}

/**
 * A source of units with known answers, to see what a census and its descriptions find: active values are drawn about 1.5,
 * all others are 0. The same document always gets the same values.
 *
 * Source: the idea of planted units with misses and false answers; values |1.5 + 0.4 z|, z normal, are a choice.
 *
 * @example
 * const source = plantedSource({ words: ["a", "b"], units: [{ name: "b", active: (w, i) => w[i] === "b" }], misses: 0, falseAnswers: 0 });
 * (await source.read([[0, 1, 0]]))[0].map((v) => (v > 0 ? 1 : 0)).join("") // => "010"
 */
export function plantedSource({
  words,
  units,
  maxTokens = 512,
  misses = 0.02,
  falseAnswers = 0.0005,
  seed = 0,
}: PlantedOptions): UnitSource {
  return {
    name: "planted",
    sha256: `planted-${seed}-${units.map(({ name }) => name).join(",")}`,
    hooks: [{ name: "planted", layer: undefined, nUnits: units.length }],
    vocabularySize: words.length,
    maxTokens,
    tokenText: (token) => words[token]!,
    read(documents) {
      const parts = documents.map((tokens) => {
        const text = tokens.map((token) => words[token]!);
        const rng = createRng(tokens.reduce((hash, token) => mix(hash ^ token, seed), 1));
        return text.flatMap((_, position) =>
          units.map(({ active }) => {
            const chance = rng.uniform();
            const size = Math.abs(1.5 + 0.4 * rng.normal());
            const answers =
              typeof active === "function"
                ? active(text, position)
                  ? chance >= misses
                  : chance < falseAnswers
                : chance < active.noise;
            return answers ? size : 0;
          }),
        );
      });
      return Promise.resolve([Float32Array.from(parts.flat())]);
    },
  };
}
