import { ArgumentError } from "@penfield/core";
import { type IsolatedModel, openIsolated } from "@penfield/hooks";
import { isOrganism, organismFolder } from "@penfield/organisms";
import type { LiveModel } from "@penfield/viewer";

/**
 * A model for the texts that readers of the viewer type. It is opened in a process of its own when the first text comes; if that
 * process ends, the next text opens it again.
 */
export function liveModel(name: string, file?: string): LiveModel & { dispose(): Promise<void> } {
  let opened: Promise<IsolatedModel> | undefined;
  const open = (): Promise<IsolatedModel> => {
    opened ??= openIsolated(isOrganism(name) ? organismFolder(name) : name, {
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
      return { tokens: words, values, sha256: model.sha256 };
    },
    async dispose() {
      await (await opened?.catch(() => undefined))?.dispose();
    },
  };
}
