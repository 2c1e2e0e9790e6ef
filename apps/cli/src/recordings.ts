import { readFile } from "node:fs/promises";
import { extname } from "node:path";
import { ArgumentError, fileError, readNpy, UsageError } from "@penfield/core";
import { inspectImaging, loadRecording } from "@penfield/recordings";
import { readWords } from "./options.ts";
import type { Surroundings } from "./surroundings.ts";

/** `penfield recordings inspect FILE`: what a file of recordings holds, as plain facts. */
export async function recordings(args: readonly string[], io: Surroundings): Promise<void> {
  const { values, positionals } = readWords(args, { json: { type: "boolean" } });
  const [action, ...files] = positionals;
  if (action !== "inspect" || files.length === 0) {
    throw new UsageError(
      `recordings: expected "recordings inspect FILE", got ${JSON.stringify(positionals.join(" "))}`,
    );
  }
  const found: { file: string; facts: Facts }[] = [];
  for (const file of files) found.push({ file, facts: await inspect(file) });
  if (values["json"]) {
    io.out.write(`${JSON.stringify(files.length === 1 ? found[0]!.facts : found)}\n`);
    return;
  }
  for (const { file, facts } of found) {
    io.out.write(`${file}\n`);
    for (const [key, value] of Object.entries(facts)) {
      if (value === undefined || value === null) continue;
      for (const line of linesOf(key, value)) io.out.write(`  ${line}\n`);
    }
  }
}

type Facts = Readonly<Record<string, unknown>>;

const IMAGE = /\.(nii|hdr|img|gii)(\.gz)?$/i;
const TABLE = [".npy", ".tsv", ".csv", ".txt"];

async function inspect(file: string): Promise<Facts> {
  if (IMAGE.test(file)) return { ...(await inspectImaging(file)) };
  if (TABLE.includes(extname(file).toLowerCase())) return inspectTable(file);
  throw new ArgumentError(
    `recordings: expected an image (.nii, .gii) or a table (${TABLE.join(", ")}), got ${JSON.stringify(file)}`,
  );
}

async function inspectTable(file: string): Promise<Facts> {
  if (/\.npy$/i.test(file)) {
    const bytes = await readFile(file).catch((cause: unknown) => {
      throw fileError("recordings", file, cause);
    });
    const { data, shape } = readNpy(bytes, file);
    return {
      format: "NumPy array",
      shape,
      dtype: Array.isArray(data)
        ? "text"
        : data.constructor.name.replace("Array", "").toLowerCase(),
      notes: ["rows have no names in the file: --stimuli names them"],
    };
  }
  const { data, stimulusIds, targets, sha256 } = await loadRecording(file, { missing: "repeats" });
  const [nRepeats, nStimuli, nTargets] = data.shape;
  return {
    format: `table of responses (${extname(file).slice(1)})`,
    repeats: nRepeats,
    stimuli: nStimuli,
    targets: nTargets,
    firstStimuli: stimulusIds.slice(0, 5),
    firstTargets: targets.slice(0, 5).map(({ id }) => id),
    sha256,
  };
}

/** A fact as lines: lists behind their name, records one line for each entry. */
function linesOf(key: string, value: unknown): readonly string[] {
  if (Array.isArray(value)) {
    if (value.length === 0) return [];
    return key === "notes" ? value.map((text) => `note: ${text}`) : [`${key}: ${value.join(", ")}`];
  }
  if (typeof value === "object" && value !== null) {
    return Object.entries(value).map(([name, inner]) => `${key}.${name}: ${inner}`);
  }
  return [`${key}: ${value}`];
}
