import { DataError } from "@penfield/core";
import type { CensusBatch } from "./batch.ts";
import {
  CONTEXT_BYTES,
  type ContextKeeper,
  createKeeper,
  keyToBeat,
  takePlace,
  writeContext,
} from "./contexts.ts";
import { createHeavyHitters, type HeavyHitters } from "./heavyHitters.ts";
import { addMoments, type MomentSums } from "./moments.ts";
import { addToSketch, SKETCH_BUCKETS } from "./quantileSketch.ts";
import { byteScale, toByte } from "./quantize.ts";

/** Contexts kept of each unit, by kind. */
export interface ContextCounts {
  readonly top: number;
  readonly sampled: number;
  readonly nearMiss: number;
  readonly random: number;
}

/** Where values of a hook count as active, and the range of its histogram. */
export interface HookSettings {
  readonly threshold: number;
  readonly histogram: readonly [low: number, high: number];
}

/** Bars of the histogram; values outside its range are counted in the first and last. */
export const HISTOGRAM_BARS = 256;

/** Everything that is counted, per unit; sizes do not depend on how much has been read. */
export interface CensusState {
  /** Tokens and documents so far. */
  readonly totals: Float64Array;
  readonly moments: Omit<MomentSums, "n">;
  readonly sumAbs: Float64Array;
  readonly sumActive: Float64Array;
  readonly nActive: Float64Array;
  readonly nDocumentsActive: Uint32Array;
  readonly min: Float32Array;
  readonly max: Float32Array;
  readonly sketch: Uint32Array;
  readonly histogram: Uint32Array;
  /** How often each position bin was seen, active values there, and the sum of all values there. */
  readonly positionTokens: Float64Array;
  readonly positionActive: Uint32Array;
  readonly positionSum: Float64Array;
  /** How often each token was seen, and how often as the one before another. */
  readonly tokenCounts: Uint32Array;
  readonly previousCounts: Uint32Array;
  readonly ngrams: readonly HeavyHitters[];
  readonly top: ContextKeeper;
  readonly sampled: ContextKeeper;
  readonly nearMiss: ContextKeeper;
  readonly random: ContextKeeper;
}

export interface StateSizes {
  readonly nUnits: number;
  readonly nPositionBins: number;
  readonly vocabularySize: number;
  readonly nNgramKinds: number;
  readonly contexts: ContextCounts;
}

export function createState(sizes: StateSizes): CensusState {
  const { nUnits, nPositionBins, vocabularySize, nNgramKinds, contexts } = sizes;
  const doubles = () => new Float64Array(nUnits);
  return {
    totals: new Float64Array(2),
    moments: { mean: doubles(), m2: doubles(), m3: doubles(), m4: doubles() },
    sumAbs: doubles(),
    sumActive: doubles(),
    nActive: doubles(),
    nDocumentsActive: new Uint32Array(nUnits),
    min: new Float32Array(nUnits).fill(Number.POSITIVE_INFINITY),
    max: new Float32Array(nUnits).fill(Number.NEGATIVE_INFINITY),
    sketch: new Uint32Array(nUnits * SKETCH_BUCKETS),
    histogram: new Uint32Array(nUnits * HISTOGRAM_BARS),
    positionTokens: new Float64Array(nPositionBins),
    positionActive: new Uint32Array(nUnits * nPositionBins),
    positionSum: new Float64Array(nUnits * nPositionBins),
    tokenCounts: new Uint32Array(vocabularySize),
    previousCounts: new Uint32Array(vocabularySize),
    ngrams: Array.from({ length: nNgramKinds }, () => createHeavyHitters(nUnits)),
    top: createKeeper(nUnits, contexts.top),
    sampled: createKeeper(nUnits, contexts.sampled),
    nearMiss: createKeeper(nUnits, contexts.nearMiss),
    random: createKeeper(1, contexts.random),
  };
}

/** All arrays of a state in one fixed order, to write it down and to read it back. */
export function arraysOf(state: CensusState, randomRecords: Uint8Array): ArrayBufferView[] {
  const keeper = (k: ContextKeeper) => [k.keys, k.used, k.tokens, k.lowest, k.records];
  const { moments, ngrams, top, sampled, nearMiss, random, ...plain } = state;
  return [
    ...Object.values(moments),
    ...Object.values(plain),
    ...ngrams.flatMap((hitters) => Object.values(hitters)),
    ...[top, sampled, nearMiss, random].flatMap(keeper),
    randomRecords,
  ] as ArrayBufferView[];
}

/** Units of a hook that are looked at together: their values are turned so that each unit's lie in a row. */
const TILE = 16;

/** Adds what does not depend on the unit; returns which random contexts are new: places and tokens. */
export function addBatch(
  state: CensusState,
  batch: CensusBatch,
  positionBin: number,
): readonly (readonly [place: number, token: number])[] {
  const { totals, tokenCounts, previousCounts, positionTokens, random } = state;
  totals[1]! += batch.starts.length - 1;
  const fresh = new Map<number, number>();
  for (let i = 0; i < batch.nTokens; i++) {
    tokenCounts[batch.tokens[i]!]!++;
    positionTokens[Math.floor(batch.positions[i]! / positionBin)]!++;
    if (batch.positions[i]! > 0) previousCounts[batch.tokens[i - 1]!]!++;
    const key = -batch.otherPriority[i]!;
    if (random.size === 0 || key <= keyToBeat(random, 0)) continue;
    const record = takePlace(random, 0, key, batch.tokens[i]!);
    fresh.set((record.byteOffset - random.records.byteOffset) / CONTEXT_BYTES, i);
    // Only to be ranked like the others; the values are written unit by unit.
    new DataView(record.buffer, record.byteOffset).setUint32(0, batch.firstToken + i, true);
  }
  return [...fresh];
}

/** The kept values of a batch as bytes, `[nUnits, nKept]`, and their scales, `[nUnits, 2]`: scale and zero. */
export interface KeptBlock {
  readonly bytes: Uint8Array;
  readonly scales: Float32Array;
}

/** Adds the values of one hook, `[rows, nUnits]`, to a state. */
export function addHook(
  state: CensusState,
  batch: CensusBatch,
  values: Float32Array,
  place: {
    readonly name: string;
    readonly firstUnit: number;
    readonly nUnits: number;
    readonly settings: HookSettings;
    readonly positionBin: number;
    readonly fresh: readonly (readonly [number, number])[];
    readonly randomRecords: Uint8Array;
    readonly kept: KeptBlock;
  },
): void {
  const { nTokens, rows } = batch;
  const { nUnits } = place;
  const tile = new Float32Array(TILE * nTokens);
  const active = new Int32Array(nTokens);
  for (let first = 0; first < nUnits; first += TILE) {
    const width = Math.min(TILE, nUnits - first);
    for (let t = 0; t < nTokens; t++) {
      const from = rows[t]! * nUnits + first;
      for (let u = 0; u < width; u++) tile[u * nTokens + t] = values[from + u]!;
    }
    for (let u = 0; u < width; u++) {
      const column = tile.subarray(u * nTokens, (u + 1) * nTokens);
      addUnit(state, batch, place.firstUnit + first + u, column, active, place);
    }
  }
}

function addUnit(
  state: CensusState,
  batch: CensusBatch,
  unit: number,
  values: Float32Array,
  active: Int32Array,
  place: Parameters<typeof addHook>[3],
): void {
  const { settings, positionBin } = place;
  const { threshold, histogram } = settings;
  const n = values.length;
  let sum = 0;
  let sumAbs = 0;
  let sumActive = 0;
  let min = state.min[unit]!;
  let max = state.max[unit]!;
  let nActive = 0;
  for (let i = 0; i < n; i++) {
    const value = values[i]!;
    sum += value;
    sumAbs += Math.abs(value);
    if (value < min) min = value;
    if (value > max) max = value;
    if (value > threshold) {
      active[nActive++] = i;
      sumActive += value;
    }
  }
  if (!Number.isFinite(sum)) {
    throw new DataError(
      `takeCensus: ${place.name}: expected finite values, got ${values.find((v) => !Number.isFinite(v)) ?? sum}`,
    );
  }
  addMoments(state.moments, unit, state.totals[0]!, values, sum / n);
  state.sumAbs[unit]! += sumAbs;
  state.sumActive[unit]! += sumActive;
  state.nActive[unit]! += nActive;
  state.min[unit] = min;
  state.max[unit] = max;
  addToSketch(
    values,
    new Uint32Array(values.buffer, values.byteOffset, n),
    state.sketch.subarray(unit * SKETCH_BUCKETS, (unit + 1) * SKETCH_BUCKETS),
  );
  addToHistogram(
    values,
    histogram,
    state.histogram.subarray(unit * HISTOGRAM_BARS, (unit + 1) * HISTOGRAM_BARS),
  );
  const nBins = state.positionTokens.length;
  const positionSum = state.positionSum.subarray(unit * nBins, (unit + 1) * nBins);
  for (let i = 0; i < n; i++) {
    positionSum[Math.floor(batch.positions[i]! / positionBin)]! += values[i]!;
  }
  const positionActive = state.positionActive.subarray(unit * nBins, (unit + 1) * nBins);
  for (let i = 0; i < nActive; i++) {
    positionActive[Math.floor(batch.positions[active[i]!]! / positionBin)]!++;
  }
  state.ngrams.forEach((hitters, k) => {
    batch.ngrams[k]!.addTo(hitters, unit, active, nActive);
  });
  addContexts(state, batch, unit, values, active.subarray(0, nActive), threshold);
  for (const [slot, token] of place.fresh) {
    const at = (unit * state.random.size + slot) * CONTEXT_BYTES;
    writeContext(place.randomRecords.subarray(at, at + CONTEXT_BYTES), values, token, batch);
  }
  keepValues(batch.kept, values, threshold, place.kept, unit);
}

function addToHistogram(
  values: Float32Array,
  [low, high]: readonly [number, number],
  counts: Uint32Array,
): void {
  const perUnit = HISTOGRAM_BARS / (high - low);
  for (let i = 0; i < values.length; i++) {
    const bar = Math.floor((values[i]! - low) * perUnit);
    counts[bar < 0 ? 0 : bar < HISTOGRAM_BARS ? bar : HISTOGRAM_BARS - 1]!++;
  }
}

function addContexts(
  state: CensusState,
  batch: CensusBatch,
  unit: number,
  values: Float32Array,
  active: Int32Array,
  threshold: number,
): void {
  const { top, sampled, nearMiss } = state;
  let beat = keyToBeat(top, unit);
  // The best token of each document competes: else one document could fill all places.
  for (let i = 0; i < active.length; ) {
    const end = batch.documentEnd[active[i]!]!;
    let best = active[i]!;
    for (; i < active.length && active[i]! < end; i++) {
      if (values[active[i]!]! > values[best]!) best = active[i]!;
    }
    state.nDocumentsActive[unit]!++;
    if (top.size === 0 || values[best]! <= beat) continue;
    writeContext(takePlace(top, unit, values[best]!, batch.tokens[best]!), values, best, batch);
    beat = keyToBeat(top, unit);
  }
  if (sampled.size > 0) {
    beat = keyToBeat(sampled, unit);
    for (let i = 0; i < active.length; i++) {
      const at = active[i]!;
      const key = -batch.priority[at]!;
      if (key <= beat) continue;
      writeContext(takePlace(sampled, unit, key, batch.tokens[at]!), values, at, batch);
      beat = keyToBeat(sampled, unit);
    }
  }
  if (nearMiss.size === 0) return;
  beat = keyToBeat(nearMiss, unit);
  const tokens = top.tokens.subarray(unit * top.size, unit * top.size + top.used[unit]!);
  for (let j = 0; j < tokens.length; j++) {
    if (tokens.indexOf(tokens[j]!) < j) continue;
    for (const at of batch.placesOfToken.get(tokens[j]!) ?? []) {
      const key = -batch.priority[at]!;
      if (key <= beat || values[at]! > threshold) continue;
      writeContext(takePlace(nearMiss, unit, key, tokens[j]!), values, at, batch);
      beat = keyToBeat(nearMiss, unit);
    }
  }
}

function keepValues(
  kept: Int32Array,
  values: Float32Array,
  threshold: number,
  { bytes, scales }: KeptBlock,
  unit: number,
): void {
  let min = 0;
  let max = 0;
  for (let i = 0; i < kept.length; i++) {
    const value = values[kept[i]!]!;
    if (value < min) min = value;
    if (value > max) max = value;
  }
  const scale = byteScale(min, max);
  scales[2 * unit] = scale.scale;
  scales[2 * unit + 1] = scale.zero;
  const start = unit * kept.length;
  for (let i = 0; i < kept.length; i++) {
    const value = values[kept[i]!]!;
    const byte = toByte(value, scale);
    // An active value must not turn into a 0: the rules ask when a unit is active.
    bytes[start + i] = threshold === 0 && value > 0 && byte === scale.zero ? byte + 1 : byte;
  }
}
