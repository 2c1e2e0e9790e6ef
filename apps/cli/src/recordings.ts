import { extname } from "node:path";
import { ArgumentError, UsageError } from "@penfield/core";
import {
  inspectContainer,
  inspectElectrophysiology,
  inspectImaging,
  loadRecording,
} from "@penfield/recordings";
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
const TABLE = [".tsv", ".csv", ".txt"];
const SIGNAL = /\.(fif(\.gz)?|edf|bdf|vhdr|vmrk|eeg|set|fdt|nwb)$/i;
const CONTAINER = /\.(mat|h5|hdf5|nc4?|npz|npy|parquet)$/i;

async function inspect(file: string): Promise<Facts> {
  if (IMAGE.test(file)) return { ...(await inspectImaging(file)) };
  if (SIGNAL.test(file)) return { ...(await inspectElectrophysiology(file)) };
  if (CONTAINER.test(file)) return { ...(await inspectContainer(file)) };
  if (TABLE.includes(extname(file).toLowerCase())) return inspectTable(file);
  throw new ArgumentError(
    `recordings: expected an image (.nii, .gii), a recording of sensors (.fif, .edf, .bdf, .vhdr, .set, .nwb), a container (.mat, .h5, .nc, .npz, .npy, .parquet) or a table (${TABLE.join(", ")}), got ${JSON.stringify(file)}`,
  );
}

async function inspectTable(file: string): Promise<Facts> {
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

interface Channel {
  readonly name: string;
  readonly kind?: string;
  readonly unit?: string;
}

/** Channels by kind and unit: how many, and the first names. */
function channelLines(channels: readonly Channel[]): readonly string[] {
  const kinds = new Map<string, string[]>();
  for (const { name, kind = "channel", unit } of channels) {
    const key = unit ? `${kind} (${unit})` : kind;
    kinds.set(key, [...(kinds.get(key) ?? []), name]);
  }
  return [...kinds].map(
    ([kind, names]) =>
      `${names.length} ${kind}: ${names.slice(0, 4).join(", ")}${names.length > 4 ? ", ..." : ""}`,
  );
}

/** Entries of a list that a terminal shows; --json has all. */
const MOST_LINES = 20;

const listed = (values: readonly unknown[]): string =>
  `${values.slice(0, MOST_LINES).join(", ")}${values.length > MOST_LINES ? `, ... (${values.length})` : ""}`;

const recordOf = (value: unknown): string =>
  Object.entries(value as Record<string, unknown>)
    .map(([name, inner]) => `${name} ${Array.isArray(inner) ? `[${listed(inner)}]` : inner}`)
    .join(", ");

/** A fact as lines: lists behind their name, records one line for each entry. */
function linesOf(key: string, value: unknown): readonly string[] {
  if (Array.isArray(value)) {
    if (value.length === 0) return [];
    if (key === "notes") return value.map((text) => `note: ${text}`);
    if (key === "channels") return channelLines(value as readonly Channel[]);
    return value.every((one) => typeof one !== "object")
      ? [`${key}: ${listed(value)}`]
      : value.slice(0, MOST_LINES).map((one) => `${key}: ${recordOf(one)}`);
  }
  if (typeof value === "object" && value !== null) {
    return Object.entries(value).map(
      ([name, inner]) =>
        `${key}.${name}: ${typeof inner === "object" && inner !== null ? recordOf(inner) : inner}`,
    );
  }
  return [`${key}: ${value}`];
}
