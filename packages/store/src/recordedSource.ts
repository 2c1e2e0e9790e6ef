import { createHash } from "node:crypto";
import { ArgumentError, DataError, HookPointError, ShapeError } from "@penfield/core";
import type { InputRecording, RecordingHook, RecordingModel } from "@penfield/hooks";
import type { CaptureOptions } from "./capture.ts";
import type { CaptureSource, RunValues } from "./captureSource.ts";
import type { EncodedCorpus } from "./encode.ts";
import { hookFile, isHookName, type StoredHook } from "./storeIndex.ts";

/** A spiking network with recordings. Those that share a run are padded with silence at their ends, which no step before knows of. */
export function recordedSource(
  model: RecordingModel,
  recordings: readonly InputRecording[],
  options: CaptureOptions,
): CaptureSource {
  for (const name of ["prependBos", "longTexts"] as const) {
    if (options[name] === undefined) continue;
    throw new ArgumentError(`capture: expected ${name} for texts alone, got it with recordings`);
  }
  const hooks = chooseHooks(model, options.hooks);
  const channels = checkRecordings(recordings);
  const nChannels = channels.reduce((a, b) => a * b, 1);
  const corpus = encodeRecordings(recordings, nChannels, options.maxTokens);
  const lengthOf = (text: number) => corpus.starts[text + 1]! - corpus.starts[text]!;
  return {
    model: {
      name: model.name,
      sha256: model.sha256,
      ...(model.dt === undefined ? {} : { dt: model.dt }),
      ...(model.options || model.precision === "float32"
        ? { conventions: conventionsOf(model) }
        : {}),
    },
    corpus,
    hooks,
    unit: "steps",
    alone: false,
    async run(texts, last) {
      const nSteps = Math.max(...texts.map(lengthOf));
      const data = new Float64Array(texts.length * nSteps * nChannels);
      texts.forEach((text, row) => {
        const { data: own } = recordings[text]!;
        const n = lengthOf(text) * nChannels;
        for (let i = 0; i < n; i++) data[row * nSteps * nChannels + i] = own[i]!;
      });
      const { cache } = await model.run({
        input: { data, shape: [texts.length, nSteps, ...channels] },
        capture: hooks.map(({ name }) => name),
      });
      return new Map(
        hooks.map(({ name, nUnits }): [string, RunValues] => {
          const values = cache.get(name)!.data;
          if (!last) {
            return [
              name,
              { data: Float32Array.from(values), shape: [texts.length, nSteps, nUnits] },
            ];
          }
          const ends = new Float32Array(texts.length * nUnits);
          texts.forEach((text, row) => {
            const from = (row * nSteps + lengthOf(text) - 1) * nUnits;
            ends.set(values.subarray(from, from + nUnits), row * nUnits);
          });
          return [name, { data: ends, shape: [texts.length, nUnits] }];
        }),
      );
    },
  };
}

/** What the same file is run by. Double precision is not said. */
function conventionsOf({ options, precision }: RecordingModel): Record<string, unknown> {
  const own = precision === "float32" ? { ...options, precision } : { ...options };
  return JSON.parse(JSON.stringify(own)) as Record<string, unknown>;
}

function chooseHooks(model: RecordingModel, wanted: string | readonly string[]): StoredHook[] {
  const stored = ({ name, axes, nUnits }: RecordingHook) =>
    axes.join() === "row,step,unit" && nUnits !== undefined && isHookName(name);
  const names = new Set<string>();
  for (const pattern of typeof wanted === "string" ? [wanted] : wanted) {
    const found = pattern.includes("*") ? model.listHooks(pattern) : [model.hookPoint(pattern)];
    const fitting = found.filter(stored);
    if (fitting.length === 0) {
      throw new HookPointError(
        `capture: expected a hook point with axes row, step and unit, and a name that a file can have, got ${found.map(({ name }) => name).join(", ") || `none that fits ${JSON.stringify(pattern)}`}`,
        { hint: "listHooks() names them all." },
      );
    }
    for (const { name } of fitting) names.add(name);
  }
  if (names.size === 0) {
    throw new HookPointError("capture: expected at least one hook point, got none");
  }
  return model.hookPoints
    .filter(({ name }) => names.has(name))
    .map(({ name, nUnits }) => ({
      name,
      axes: ["unit"],
      shape: [nUnits!],
      nUnits: nUnits!,
      file: hookFile(name),
    }));
}

/** The sizes of the input after its steps. */
function checkRecordings(recordings: readonly InputRecording[]): readonly number[] {
  const [first] = recordings;
  if (!first) throw new DataError("capture: expected at least one recording, got none");
  const channels = first.shape.slice(1);
  for (const { id, data, shape } of recordings) {
    const size = shape.reduce((a, b) => a * b, 1);
    if (shape.length >= 2 && shape.slice(1).join() === channels.join() && data.length === size) {
      if (shape[0]! >= 1) continue;
      throw new DataError(`capture: ${id}: expected at least one step, got none`);
    }
    throw new ShapeError(
      `capture: ${id}: expected [step, ${channels.join(", ") || "channel"}], got [${shape.join(", ")}] with ${data.length} values`,
    );
  }
  return channels;
}

/** Steps in the place of tokens: each is the number of channels that are active. The hash is of all values. */
function encodeRecordings(
  recordings: readonly InputRecording[],
  nChannels: number,
  maxSteps = Number.POSITIVE_INFINITY,
): EncodedCorpus {
  const hash = createHash("sha256");
  const starts = [0];
  for (const { shape } of recordings) starts.push(starts.at(-1)! + Math.min(maxSteps, shape[0]!));
  const tokens = new Int32Array(starts.at(-1)!);
  recordings.forEach(({ id, data }, i) => {
    const [from, to] = [starts[i]!, starts[i + 1]!];
    const own = Float64Array.from({ length: (to - from) * nChannels }, (_, k) => data[k]!);
    hash.update(JSON.stringify([id, to - from])).update(own);
    own.forEach((value, k) => {
      if (value !== 0) tokens[from + Math.floor(k / nChannels)]!++;
    });
  });
  const ids = recordings.map(({ id }) => id);
  return { ids, tokens, starts: Float64Array.from(starts), sha256: hash.digest("hex") };
}
