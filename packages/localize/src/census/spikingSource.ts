import { createHash } from "node:crypto";
import {
  ArgumentError,
  DataError,
  type FloatArray,
  HookPointError,
  ShapeError,
  sha256,
} from "@penfield/core";
import type { InputRecording, RecordingHook, RecordingModel } from "@penfield/hooks";
import type { CensusHook, UnitSource } from "./source.ts";
import type { CensusDocument } from "./takeCensus.ts";

/** The input of one time bin, from which its symbol is made. */
export interface SymbolWindow {
  /** The recording's id. */
  readonly id: string;
  /** Number of the bin in its recording. */
  readonly bin: number;
  /** Its first step, and the one after its last. */
  readonly from: number;
  readonly to: number;
  /** Of each channel the sum of its values' sizes: pulses, where the input is 0 or 1. */
  readonly activity: Float64Array;
}

export interface SpikingSourceOptions {
  /** Names, aliases or patterns. Default `*.spikes`: every population. */
  readonly hooks?: string | readonly string[] | undefined;
  /** Time steps of a bin, which is a token; default 1. What is left at the end of a recording is not read. */
  readonly binSteps?: number | undefined;
  /** Names for the input channels, one or several to a name. Default: `ch0`, `ch1`, ... for up to 64 channels. */
  readonly channels?: Readonly<Record<string, readonly number[]>> | undefined;
  /**
   * A bin is called after `all` named channels that are active in it (default: `#left+#report`), or after the `strongest`, those with the most
   * activity per channel, where many are active at once. A silent bin is `#none`.
   */
  readonly naming?: "all" | "strongest" | undefined;
  /** Activity above which channels count as active, per channel and bin; default 0. */
  readonly activeAbove?: number | undefined;
  /** Your own symbols in place of names of channels. */
  readonly symbolOf?: ((window: SymbolWindow) => string) | undefined;
  /** Values, inputs and captures, that are in memory at once (one recording's at least); default 4 million. */
  readonly batchValues?: number | undefined;
}

/** The units of a spiking network, and its input in the place of text. */
export interface SpikingSource {
  readonly source: UnitSource;
  /** A document for each recording under its id, a token for each time bin. */
  readonly documents: readonly (CensusDocument & { readonly id: string })[];
  /** What each token stands for. */
  readonly symbols: readonly string[];
}

/**
 * The units of a spiking network as a source for `takeCensus`, and with it for `describeUnits`: each recording is a document, each time bin a token that says what came in, and
 * a unit's value is the number of its spikes in the bin (at other hook points, as `.v`, the mean over the bin). Rules then say when a unit answers: `active on '#left'`, `right after
 * '#left'`, `at the end of '#left #left'`, `in time bins 6 to 10 of a recording`.
 *
 * Its tokens are `symbols`: no rule and no class asks for endings, capitals or parts of speech. A unit answers some steps after its cause: choose bins of about the membrane's time constant, and expect rules about the bin before.
 *
 * @param recordings - Of any lengths, all with the same channels.
 * @returns `source` reads the documents that are given here, by their ids. Its `sha256` is of the model, its dt
 *   and options, the recordings and the bins.
 * @throws {HookPointError} if no hook point fits, or one has other axes than row, step and unit.
 * @throws {ShapeError} for recordings of different channels, or with other numbers of values than their shape says.
 * @throws {DataError} for a recording shorter than a bin.
 * @throws {ArgumentError} for channels that do not exist, and for names or ids that are equal.
 *
 * Cost: one pass over the inputs; then, as the census reads, one run of every recording, those of similar length together and padded with silence at the end.
 *
 * @example
 * // In place of a network: two units that fire with their channel.
 * const hook = { name: "lif.spikes", kind: "spikes", layer: 0, axes: ["row", "step", "unit"], nUnits: 2 };
 * const model = {
 *   ...{ name: "two", sha256: "", listHooks: () => [hook] },
 *   run: async ({ input }) => ({ cache: new Map([[hook.name, { ...input, data: input.data.map((v) => Number(v > 0)) }]]) }),
 * };
 * const data = [2, 0, 0, 2, 0, 0, 2, 2];
 * const { source, documents, symbols } = spikingSource(model, [{ id: "a", data, shape: [4, 2] }], { channels: { left: [0], right: [1] } });
 * documents[0].tokens.map((token) => symbols[token]).join(" ") // => "#left #right #none #left+#right"
 * Array.from((await source.read([documents[0].tokens], ["a"]))[0]).join("") // => "10010011"
 */
export function spikingSource(
  model: RecordingModel,
  recordings: readonly InputRecording[],
  options: SpikingSourceOptions = {},
): SpikingSource {
  const { binSteps = 1, batchValues = 2 ** 22 } = options;
  for (const [name, value] of Object.entries({ binSteps, batchValues })) {
    if (Number.isSafeInteger(value) && value >= 1) continue;
    throw new ArgumentError(
      `spikingSource: expected ${name}, a whole number from 1, got ${String(value)}`,
    );
  }
  const points = chooseHooks(model, options.hooks ?? "*.spikes");
  const channels = checkRecordings(recordings, binSteps);
  const nChannels = channels.reduce((a, b) => a * b, 1);
  const symbolOf = options.symbolOf ?? channelSymbols(nChannels, options);

  const numbers = new Map<string, number>();
  const documents = recordings.map((recording) => {
    const nBins = Math.floor(recording.shape[0]! / binSteps);
    const tokens = Array.from({ length: nBins }, (_, bin) => {
      const symbol = symbolOf(windowOf(recording, bin, binSteps, nChannels));
      const token = numbers.get(symbol) ?? numbers.size;
      numbers.set(symbol, token);
      return token;
    });
    return { id: recording.id, tokens };
  });
  const symbols = [...numbers.keys()];
  const places = new Map(documents.map(({ id }, i) => [id, i]));
  if (places.size < documents.length) {
    const twice = documents.find(({ id }, i) => places.get(id) !== i)!;
    throw new ArgumentError(
      `spikingSource: expected recordings with different ids, got ${JSON.stringify(twice.id)} twice`,
    );
  }
  const recordingOf = (id: string, tokens: readonly number[]): InputRecording => {
    const place = places.get(id);
    const own = place === undefined ? undefined : documents[place]!.tokens;
    if (own && own.length === tokens.length && own.every((token, i) => token === tokens[i])) {
      return recordings[place!]!;
    }
    throw new DataError(
      `spikingSource: ${id}: expected ${own ? "the tokens of this recording" : "a recording of this source"}, got others`,
      { hint: "Read whole documents of spikingSource under their own ids." },
    );
  };
  const hooks = points.map(
    ({ name, layer, nUnits }): CensusHook => ({ name, layer, nUnits: nUnits! }),
  );
  const perStep = nChannels + hooks.reduce((sum, { nUnits }) => sum + nUnits, 0);

  async function read(
    wanted: readonly (readonly number[])[],
    ids: readonly string[] = [],
  ): Promise<Float32Array[]> {
    if (ids.length !== wanted.length) {
      throw new ArgumentError(
        `spikingSource: expected the ids of ${wanted.length} documents, got ${ids.length}`,
        { hint: "Recordings with the same symbols are told apart by their ids." },
      );
    }
    const starts = [0];
    for (const { length } of wanted) starts.push(starts.at(-1)! + length);
    const out = hooks.map(({ nUnits }) => new Float32Array(starts.at(-1)! * nUnits));
    const rows = wanted.map((tokens, document) => ({
      recording: recordingOf(ids[document]!, tokens),
      document,
    }));
    for (const batch of batches(rows, Math.floor(batchValues / perStep))) {
      const nSteps = batch.at(-1)!.recording.shape[0]!;
      const data = new Float64Array(batch.length * nSteps * nChannels);
      batch.forEach(({ recording }, row) => {
        for (let i = 0; i < recording.data.length; i++) {
          data[row * nSteps * nChannels + i] = recording.data[i]!;
        }
      });
      const input = { data, shape: [batch.length, nSteps, ...channels] };
      const { cache } = await model.run({ input, capture: hooks.map(({ name }) => name) });
      points.forEach(({ name, kind }, h) => {
        const values = cache.get(name)!.data;
        const { nUnits } = hooks[h]!;
        batch.forEach(({ document }, row) => {
          const from = row * nSteps * nUnits;
          addBins(values.subarray(from, from + nSteps * nUnits), {
            nUnits,
            binSteps,
            weight: kind === "spikes" ? 1 : 1 / binSteps,
            out: out[h]!.subarray(starts[document]! * nUnits, starts[document + 1]! * nUnits),
          });
        });
      });
    }
    return out;
  }

  return {
    documents,
    symbols,
    source: {
      name: model.name,
      sha256: sha256(
        JSON.stringify([
          ...[model.sha256, model.dt, model.options, binSteps, inputHash(recordings)],
          // Double precision is not said.
          ...(model.precision === "float32" ? ["float32"] : []),
        ]),
      ),
      hooks,
      vocabularySize: symbols.length,
      tokens: "symbols",
      maxTokens: documents.reduce((most, { tokens }) => Math.max(most, tokens.length), 1),
      tokenText: (token) => ` ${symbols[token]!}`,
      read,
    },
  };
}

function chooseHooks(
  model: RecordingModel,
  wanted: string | readonly string[],
): readonly RecordingHook[] {
  const patterns = typeof wanted === "string" ? [wanted] : wanted;
  const points = new Map(
    patterns.flatMap((pattern) => model.listHooks(pattern).map((hook) => [hook.name, hook])),
  );
  if (points.size === 0) {
    throw new HookPointError(
      `spikingSource: expected a hook point, got none for ${patterns.join(", ")}`,
      { hint: "listHooks() names them all." },
    );
  }
  for (const { name, axes, nUnits } of points.values()) {
    if (axes.join() === "row,step,unit" && nUnits !== undefined) continue;
    throw new HookPointError(
      `spikingSource: expected a hook point with axes row, step and unit, got ${name} with ${axes.join(", ") || "none"}`,
    );
  }
  return [...points.values()];
}

/** The sizes of the input after its steps. */
function checkRecordings(
  recordings: readonly InputRecording[],
  binSteps: number,
): readonly number[] {
  const [first] = recordings;
  if (!first) throw new DataError("spikingSource: expected at least one recording, got none");
  const channels = first.shape.slice(1);
  for (const { id, data, shape } of recordings) {
    const size = shape.reduce((a, b) => a * b, 1);
    if (shape.length < 2 || shape.slice(1).join() !== channels.join() || data.length !== size) {
      throw new ShapeError(
        `spikingSource: ${id}: expected [step, ${channels.join(", ") || "channel"}], got [${shape.join(", ")}] with ${data.length} values`,
      );
    }
    if (!(shape[0]! >= binSteps)) {
      throw new DataError(
        `spikingSource: ${id}: expected at least one bin of ${binSteps} steps, got ${shape[0]} steps`,
      );
    }
  }
  return channels;
}

function windowOf(
  { id, data }: InputRecording,
  bin: number,
  binSteps: number,
  nChannels: number,
): SymbolWindow {
  const [from, to] = [bin * binSteps, (bin + 1) * binSteps];
  const activity = new Float64Array(nChannels);
  for (let t = from; t < to; t++) {
    for (let c = 0; c < nChannels; c++) activity[c]! += Math.abs(data[t * nChannels + c]!);
  }
  return { id, bin, from, to, activity };
}

/** So many channels can do without names. */
const MOST_UNNAMED = 64;
const NONE = "#none";

/** Calls a bin after the channels that are active in it. */
function channelSymbols(
  nChannels: number,
  { channels, naming = "all", activeAbove = 0 }: SpikingSourceOptions,
): (window: SymbolWindow) => string {
  if (naming !== "all" && naming !== "strongest") {
    throw new ArgumentError(`spikingSource: expected naming all or strongest, got ${naming}`);
  }
  if (channels === undefined && nChannels > MOST_UNNAMED) {
    throw new ArgumentError(`spikingSource: expected names for ${nChannels} channels, got none`, {
      hint: "Name parts of the input by channels, or make symbols of your own by symbolOf.",
    });
  }
  const named: Readonly<Record<string, readonly number[]>> =
    channels ?? Object.fromEntries(Array.from({ length: nChannels }, (_, c) => [`ch${c}`, [c]]));
  const groups = Object.entries(named).map(([name, members]) => {
    const wrong = members.find((c) => !(Number.isInteger(c) && c >= 0 && c < nChannels));
    if (name !== "" && members.length > 0 && wrong === undefined) {
      return { symbol: `#${name.replace(/[^\p{L}\p{N}_]+/gu, "_")}`, members };
    }
    throw new ArgumentError(
      `spikingSource: ${JSON.stringify(name)}: expected channels within 0..${nChannels - 1}, got ${wrong ?? (name === "" ? "no name" : "none")}`,
    );
  });
  const taken = new Set([NONE, ...groups.map(({ symbol }) => symbol)]);
  if (taken.size <= groups.length) {
    throw new ArgumentError(
      `spikingSource: expected names that differ in their letters and digits, got ${Object.keys(named).join(", ")}`,
      { hint: "none stands for silence." },
    );
  }
  return ({ activity }) => {
    const sizes = groups.map(
      ({ members }) => members.reduce((sum, c) => sum + activity[c]!, 0) / members.length,
    );
    const least = naming === "strongest" ? Math.max(...sizes) : 0;
    const active = groups.filter((_, g) => sizes[g]! > activeAbove && sizes[g]! >= least);
    return active.length === 0 ? NONE : active.map(({ symbol }) => symbol).join("+");
  };
}

/** Rows of similar length, so many at once that their steps, padding included, are no more than `mostSteps`. */
function batches<T extends { readonly recording: InputRecording }>(
  rows: readonly T[],
  mostSteps: number,
): T[][] {
  const length = ({ recording }: T): number => recording.shape[0]!;
  const out: T[][] = [];
  for (const row of [...rows].sort((a, b) => length(a) - length(b))) {
    const last = out.at(-1);
    if (last && (last.length + 1) * length(row) <= mostSteps) last.push(row);
    else out.push([row]);
  }
  return out;
}

/** Sums of bins, times a weight; `out` is `[nBins, nUnits]`. */
function addBins(
  values: FloatArray,
  {
    nUnits,
    binSteps,
    weight,
    out,
  }: { nUnits: number; binSteps: number; weight: number; out: Float32Array },
): void {
  const sums = new Float64Array(nUnits);
  for (let bin = 0; bin * nUnits < out.length; bin++) {
    sums.fill(0);
    for (let t = bin * binSteps; t < (bin + 1) * binSteps; t++) {
      for (let j = 0; j < nUnits; j++) sums[j]! += values[t * nUnits + j]!;
    }
    for (let j = 0; j < nUnits; j++) out[bin * nUnits + j] = weight * sums[j]!;
  }
}

function inputHash(recordings: readonly InputRecording[]): string {
  const hash = createHash("sha256");
  for (const { id, data, shape } of recordings) {
    hash.update(JSON.stringify([id, shape])).update(Float64Array.from(data));
  }
  return hash.digest("hex");
}
