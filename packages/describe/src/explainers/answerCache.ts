import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileError, writeFileAtomic } from "@penfield/core";
import { z } from "zod";
import type { AnswerToken } from "./answers.ts";

/** An answer as it is kept: what the model wrote, and what it took. */
export interface KeptAnswer {
  readonly text: string;
  readonly tokens?: readonly AnswerToken[] | undefined;
  readonly promptTokens: number;
  readonly completionTokens: number;
}

const token = { token: z.string(), logprob: z.number() };
const keptAnswer: z.ZodType<KeptAnswer> = z.object({
  text: z.string(),
  tokens: z.array(z.object({ ...token, top: z.array(z.object(token)) })).optional(),
  promptTokens: z.number(),
  completionTokens: z.number(),
});

/** Answers in a folder, one file for each question; without a folder nothing is kept. */
export interface AnswerCache {
  get(key: string): Promise<KeptAnswer | undefined>;
  put(key: string, answer: KeptAnswer): Promise<void>;
}

export function answerCache(folder: string | undefined): AnswerCache {
  return {
    async get(key) {
      if (folder === undefined) return undefined;
      const path = join(folder, `${key}.json`);
      const text = await readFile(path, "utf8").catch((cause: NodeJS.ErrnoException) => {
        if (cause.code === "ENOENT") return undefined;
        throw fileError("openaiCompatible", path, cause);
      });
      if (text === undefined) return undefined;
      try {
        return keptAnswer.safeParse(JSON.parse(text)).data;
      } catch {
        return undefined; // A broken file is asked for again, and overwritten.
      }
    },
    async put(key, answer) {
      if (folder === undefined) return;
      const path = join(folder, `${key}.json`);
      try {
        await mkdir(folder, { recursive: true });
        await writeFileAtomic(path, `${JSON.stringify(answer)}\n`);
      } catch (cause) {
        throw fileError("openaiCompatible", path, cause);
      }
    },
  };
}
