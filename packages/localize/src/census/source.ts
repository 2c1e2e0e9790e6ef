import { ArgumentError, HookPointError } from "@penfield/core";
import type { RunnableModel } from "@penfield/hooks";
import { batchesByLength } from "../readUnits.ts";

/**
 * What tokens are: parts of a `language`, or `symbols` of what comes in, one for each time bin of a recording. Symbols have no endings, capitals, initial letters or
 * parts of speech: rules and classes about them ask for none.
 */
export type TokenKind = "language" | "symbols";

/** A place whose units a census counts. */
export interface CensusHook {
  readonly name: string;
  readonly layer: number | undefined;
  readonly nUnits: number;
}

/**
 * Where a census gets its values from: a transformer (`modelSource`), a spiking network with one time bin per
 * token (`spikingSource`), or anything else that gives one value per unit and token.
 */
export interface UnitSource {
  readonly name: string;
  /** Identifies the model: a census is only resumed with the same one. */
  readonly sha256: string;
  readonly hooks: readonly CensusHook[];
  /** Tokens are 0 to `vocabularySize` - 1. */
  readonly vocabularySize: number;
  /** Longest document, in tokens. */
  readonly maxTokens?: number | undefined;
  /** Left out of the census where it begins a document: its values are unlike all others. */
  readonly bosId?: number | undefined;
  /** Default `language`. */
  readonly tokens?: TokenKind | undefined;
  /** A token as text; without it words are token numbers. */
  readonly tokenText?: ((token: number) => string) | undefined;
  /**
   * The values at each hook, `[nTokens, nUnits]`, the documents' tokens one after the other.
   *
   * @param ids - The documents' names, for sources whose values do not follow from tokens alone. A census gives them always.
   */
  read(
    documents: readonly (readonly number[])[],
    ids?: readonly string[],
  ): Promise<readonly Float32Array[]>;
}

export interface ModelSourceOptions {
  /** Names, aliases or patterns with axes batch, pos, units. Default `blocks.*.mlp.hook_post`. `attn.hook_z` gives heads: the length of each one's vector. */
  readonly hooks?: string | readonly string[] | undefined;
  /** Tokens, padding included, in one run of the model; default 2048. */
  readonly batchTokens?: number | undefined;
}

/**
 * The units of a model as a source for `takeCensus`.
 *
 * @throws {HookPointError} if no hook point fits, or one has other axes than batch, pos and units.
 *
 * Cost: one forward pass without the output's scores for each document; rows of similar length share a batch.
 *
 * @example
 * import { HookedModel } from "@penfield/hooks";
 * const model = await HookedModel.fromPretrained("test/fixtures/gpt2", { verify: "none" });
 * modelSource(model).hooks.map(({ nUnits }) => nUnits).join() // => "96,96"
 * await model.dispose();
 */
export function modelSource(model: RunnableModel, options: ModelSourceOptions = {}): UnitSource {
  const { hooks: wanted = "blocks.*.mlp.hook_post", batchTokens = 2048 } = options;
  if (!(Number.isInteger(batchTokens) && batchTokens >= 1)) {
    throw new ArgumentError(`modelSource: expected batchTokens from 1, got ${batchTokens}`);
  }
  const patterns = typeof wanted === "string" ? [wanted] : wanted;
  const points = model.hookPoints.filter((point) =>
    patterns.some((pattern) => model.listHooks(pattern).includes(point)),
  );
  if (points.length === 0) {
    throw new HookPointError(
      `modelSource: expected a hook point, got none for ${patterns.join(", ")}`,
      { hint: "listHooks() names them all." },
    );
  }
  const { nHeads = 1 } = model.cfg;
  const hooks = points.map(({ name, axes, layer, nUnits }): CensusHook => {
    if (axes.length !== 3 || axes[1] !== "pos" || nUnits === undefined) {
      throw new HookPointError(
        `modelSource: expected a hook point with axes batch, pos and units, got ${name} with ${axes.join(", ")}`,
      );
    }
    return { name, layer, nUnits: name.endsWith("hook_z") ? nHeads : nUnits };
  });
  const tokenizer = model.tokenizer;
  return {
    name: model.cfg.modelName,
    sha256: model.sha256,
    hooks,
    vocabularySize: model.cfg.dVocab ?? tokenizer?.vocabularySize ?? 0,
    maxTokens: model.cfg.nCtx,
    bosId: tokenizer?.bosId,
    tokenText: tokenizer ? (token) => tokenizer.toStrTokens([token])[0]! : undefined,
    async read(documents) {
      const starts = [0];
      for (const { length } of documents) starts.push(starts.at(-1)! + length);
      const out = hooks.map(({ nUnits }) => new Float32Array(starts.at(-1)! * nUnits));
      // Rows of dynamically quantised models depend on their batch: they are run one by one.
      const perRun = model.cfg.batchDependent ? 1 : batchTokens;
      for (const batch of batchesByLength(documents, perRun)) {
        const tokens = batch.map((i) => documents[i]!);
        const { cache } = await model.run({
          tokens,
          capture: hooks.map(({ name }) => name),
          head: "none",
        });
        hooks.forEach(({ name, nUnits }, h) => {
          const { data, shape } = cache.get(name)!;
          const [, length, width] = shape as [number, number, number];
          batch.forEach((document, row) => {
            const size = tokens[row]!.length;
            const values = data.subarray(row * length * width, (row * length + size) * width);
            const target = out[h]!.subarray(starts[document]! * nUnits);
            if (width === nUnits) target.set(values);
            else vectorLengths(values, width / nUnits, target);
          });
        });
      }
      return out;
    },
  };
}

function vectorLengths(values: Float32Array, size: number, out: Float32Array): void {
  for (let i = 0; i * size < values.length; i++) {
    let square = 0;
    for (let j = 0; j < size; j++) square += values[i * size + j]! ** 2;
    out[i] = Math.sqrt(square);
  }
}
