import { Worker } from "node:worker_threads";
import type { Progress } from "@penfield/core";
import type { TextTokenizer } from "../tokenizer.ts";
import { HookedModel, type OpenOptions } from "../transformer/model.ts";
import {
  type Description,
  type FromChild,
  methods,
  type OpenCommand,
  packError,
  type ToChild,
} from "./messages.ts";

// The process that openIsolated starts: it opens one model and answers one request after the other.

/** While a run blocks this process, only another thread can see that nobody waits for it any more. */
const WATCHDOG = `
const { workerData } = require("node:worker_threads");
setInterval(() => {
  if (process.ppid !== workerData) process.kill(process.pid, "SIGKILL");
}, 250);
`;

/** A tokenizer that is with the parent; nothing is encoded here. */
function absent({ vocabularySize, padId }: NonNullable<OpenCommand["tokenizer"]>): TextTokenizer {
  const refuse = (): never => {
    throw new TypeError("the tokenizer is in the parent process");
  };
  return {
    vocabularySize,
    padId,
    bosId: undefined,
    encode: refuse,
    decode: refuse,
    toStrTokens: refuse,
  };
}

async function open(
  { source, options, tokenizer }: OpenCommand,
  onProgress: (progress: Progress) => void,
): Promise<HookedModel> {
  const all: OpenOptions = { ...options, onProgress };
  return typeof source === "string"
    ? HookedModel.fromPretrained(source, all)
    : HookedModel.fromBytes(source, { ...all, ...(tokenizer && { tokenizer: absent(tokenizer) }) });
}

function main(): void {
  new Worker(WATCHDOG, { eval: true, workerData: process.ppid, execArgv: [] }).unref();
  process.on("disconnect", () => process.exit(0));

  const send = (message: FromChild) => process.send?.(message);
  let model: HookedModel | undefined;
  const answer = async (message: ToChild): Promise<unknown> => {
    if ("open" in message) {
      model = await open(message.open, (progress) => send({ id: message.id, progress }));
      const { cfg, hookPoints, sha256, identity } = model;
      return { cfg, hookPoints, sha256, identity } satisfies Description;
    }
    if (!model || !methods.includes(message.method)) {
      throw new TypeError(`no model, or no method ${message.method}`);
    }
    const method = model[message.method] as (...args: unknown[]) => Promise<unknown>;
    return method.apply(model, [...message.args]);
  };
  process.on("message", async (message: ToChild) => {
    const { id } = message;
    try {
      send({ id, value: await answer(message) });
    } catch (error) {
      send({ id, error: packError(error) });
    }
  });
}

main();
