import { ArgumentError, createRng, PenfieldError, permutation } from "@penfield/core";
import { type Intervention, type IsolatedModel, openIsolated } from "@penfield/hooks";
import type { LiveLesion, LiveModel } from "@penfield/viewer";
import { modelPath } from "../shipped.ts";

/** Other units of the hook point that are silenced one by one, to compare with. */
const N_OTHERS = 16;

/**
 * A model for the texts that readers of the viewer type. It is opened in a process of its own when the first text comes; if that
 * process ends, the next text opens it again.
 */
export function liveModel(name: string, file?: string): LiveModel & { dispose(): Promise<void> } {
  let opened: Promise<IsolatedModel> | undefined;
  const open = (): Promise<IsolatedModel> => {
    opened ??= openIsolated(modelPath(name), {
      file,
      verify: "none",
    }).catch((error) => {
      opened = undefined;
      throw error;
    });
    return opened;
  };
  return {
    name,
    async activations({ text, hook, index, signal }) {
      const model = await open();
      const tokenizer = model.requireTokenizer();
      const { nCtx, nHeads = 1 } = model.cfg;
      // As in a census: the model begins with its beginning-of-text token, whose own value is left out.
      const hasBos = tokenizer.bosId !== undefined;
      const tokens = tokenizer.encode(text, hasBos ? { prependBos: true } : {});
      if (nCtx !== undefined && tokens.length > nCtx) {
        throw new ArgumentError(
          `the text has ${tokens.length} tokens, and the model reads at most ${nCtx}`,
        );
      }
      const { cache } = await model.run(
        { tokens: [tokens], capture: [hook], head: "none" },
        { signal },
      );
      const { data, shape } = cache.get(hook)!;
      const width = shape.at(-1)!;
      const skip = hasBos ? 1 : 0;
      const perUnit = hook.endsWith("hook_z") ? width / nHeads : 1;
      const values = tokens.slice(skip).map((_, i) => {
        const at = (i + skip) * width + index * perUnit;
        const own = data.subarray(at, at + perUnit);
        return perUnit === 1 ? own[0]! : Math.hypot(...own);
      });
      const words = tokenizer.toStrTokens(tokens).slice(skip);
      const silenced = await lesionOf(model, { tokens, hook, index, skip, signal });
      return { tokens: words, values, sha256: model.sha256, silenced };
    },
    async dispose() {
      await (await opened?.catch(() => undefined))?.dispose();
    },
  };
}

/**
 * What a text loses without one unit, and without single random ones of the same hook point: rows of one batch, row 0 as it is.
 *
 * @returns undefined where the hook point cannot be written to, or the model predicts no tokens.
 */
async function lesionOf(
  model: IsolatedModel,
  {
    tokens,
    hook,
    index,
    skip,
    signal,
  }: {
    readonly tokens: readonly number[];
    readonly hook: string;
    readonly index: number;
    readonly skip: number;
    readonly signal: AbortSignal;
  },
): Promise<LiveLesion | undefined> {
  const point = model.hookPoint(hook);
  const byHead = hook.endsWith("hook_z");
  const nUnits = byHead ? model.cfg.nHeads : point.nUnits;
  if (!point.writable || nUnits === undefined) return undefined;
  const others = [...permutation(nUnits, createRng(index))]
    .filter((unit) => unit !== index)
    .slice(0, N_OTHERS);
  const units = [index, ...others];
  const interventions = units.map(
    (unit, i): Intervention => ({
      hook,
      op: { type: "zero" },
      rows: [i + 1],
      ...(byHead ? { heads: [unit] } : { units: [unit] }),
    }),
  );
  try {
    const { tokenLogProbs } = await model.run(
      {
        tokens: Array.from({ length: units.length + 1 }, () => [...tokens]),
        interventions,
        head: "tokenLogProbs",
      },
      { signal },
    );
    if (!tokenLogProbs) return undefined;
    const { data, shape } = tokenLogProbs;
    const width = shape[1]!;
    const row = (i: number): number[] =>
      tokens
        .slice(skip)
        .map((_, at) => (at + skip === 0 ? Number.NaN : data[i * width + at + skip]!));
    const plain = row(0);
    const change = (i: number): number => {
      const known = row(i).flatMap((value, at) =>
        Number.isNaN(value) ? [] : [value - plain[at]!],
      );
      return known.reduce((sum, value) => sum + value, 0) / known.length;
    };
    return {
      logProbs: plain,
      silencedLogProbs: row(1),
      others: others.map((_, i) => change(i + 2)),
    };
  } catch (error) {
    // An encoder gives no log-probabilities of next tokens; the values stand without them.
    if (error instanceof PenfieldError && !signal.aborted) return undefined;
    throw error;
  }
}
