import { UsageError } from "@penfield/core";
import { helpOf, helpText, overview } from "./help.ts";
import type { Surroundings } from "./surroundings.ts";

type Command = (args: readonly string[], surroundings: Surroundings) => Promise<void>;

/** A verb's code is loaded when it is asked for: `view` starts without the runtime of models. */
const lazily =
  (load: () => Promise<Command>): Command =>
  async (args, io) =>
    (await load())(args, io);

export const commands: Readonly<Record<string, Command>> = {
  run: lazily(async () => (await import("./run/run.ts")).run),
  hooks: lazily(async () => (await import("./hooks.ts")).hooks),
  capture: lazily(async () => (await import("./capture.ts")).capture),
  compare: lazily(async () => (await import("./compare/compare.ts")).compare),
  rsa: lazily(async () => (await import("./rsa/rsa.ts")).rsa),
  align: lazily(async () => (await import("./align/align.ts")).align),
  ceiling: lazily(async () => (await import("./ceiling.ts")).ceiling),
  census: lazily(async () => (await import("./census.ts")).census),
  describe: lazily(async () => (await import("./describe.ts")).describe),
  recordings: lazily(async () => (await import("./recordings.ts")).recordings),
  corpora: lazily(async () => (await import("./corpora.ts")).corpora),
  view: lazily(async () => (await import("./view/view.ts")).view),
  start: lazily(async () => (await import("./run/run.ts")).start),
  help: async ([verb], io) => {
    const text = verb === undefined ? overview() : verb === "all" ? helpText : helpOf(verb);
    if (text === undefined) {
      throw new UsageError(
        `help: expected all or a verb (${Object.keys(commands).join(", ")}), got ${JSON.stringify(verb)}`,
      );
    }
    io.out.write(text);
  },
};
