import { readdir, readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { ArgumentError, UsageError } from "@penfield/core";
import { cacheFolder } from "@penfield/hooks";
import { corporaFolder } from "@penfield/probes";
import { fetchCorpus, readSource } from "@penfield/recordings";
import { readWords } from "./options.ts";
import { createProgressBar } from "./progressBar.ts";
import type { Surroundings } from "./surroundings.ts";

const json = { type: "boolean" } as const;

export async function corpora(args: readonly string[], io: Surroundings): Promise<void> {
  const { values, positionals } = readWords(args, { to: { type: "string" }, json });
  const [action, name, ...more] = positionals;
  if (action === undefined) {
    const names = (await readdir(corporaFolder, { withFileTypes: true }))
      .filter((f) => f.isDirectory())
      .map((f) => f.name);
    const sources = (
      await Promise.all(names.map((n) => readSource(join(corporaFolder, n))))
    ).filter((s) => s !== undefined);
    if (values["json"]) io.out.write(`${JSON.stringify(sources)}\n`);
    for (const s of values["json"] ? [] : sources) {
      const published = s.url !== undefined || s.files !== undefined;
      io.out.write(
        `${s.name}\n    ${s.title} (${s.licence})${published ? `; penfield corpora fetch ${s.name}` : ""}\n`,
      );
    }
    return;
  }
  if (action !== "fetch" || name === undefined || more.length > 0) {
    throw new UsageError(
      `corpora: expected "corpora" or "corpora fetch NAME", got ${JSON.stringify(positionals.join(" "))}`,
    );
  }
  // A name of the list, or a source.json of the user's own.
  const source = name.endsWith(".json") ? name : join(corporaFolder, name, "source.json");
  await readFile(source).catch(() => {
    throw new ArgumentError(
      `corpora: expected the name of a stimulus set, got ${JSON.stringify(name)}`,
      {
        hint: "penfield corpora lists them.",
      },
    );
  });
  const destination = resolve(
    (values["to"] as string | undefined) ?? join(cacheFolder(), "corpora"),
  );
  const bar = createProgressBar(io.err);
  const fetched = await fetchCorpus(source, {
    destination,
    onProgress: bar.onProgress,
    signal: io.signal,
  }).finally(bar.finish);
  io.out.write(
    values["json"] ? `${JSON.stringify(fetched)}\n` : `${name} is in ${fetched.folder}\n`,
  );
}
