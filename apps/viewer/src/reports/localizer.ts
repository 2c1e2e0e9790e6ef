import { ArgumentError } from "@penfield/core";
import type { SelectionSection } from "@penfield/report";
import type { Query } from "../query.ts";

/** What a localizer found for each unit, `[nLayers * nUnits]`. */
export interface LocalizerArrays {
  readonly t: ArrayLike<number>;
  readonly q: ArrayLike<number>;
  readonly mask: ArrayLike<number>;
}

/** Which units are shown: those of the report where neither is given. */
export interface Threshold {
  /** t at least this. */
  readonly t: number | undefined;
  /** q at most this. */
  readonly q: number | undefined;
}

/** The units that a threshold takes. */
export interface Chosen {
  readonly threshold: Threshold;
  /** 1 for each unit that is taken. */
  readonly mask: Uint8Array;
  /** Layer times nUnits plus unit, from the highest t. */
  readonly units: readonly number[];
  readonly byLayer: readonly number[];
  /** Units of the report's own selection among them. */
  readonly nSelected: number;
}

/** @throws {ArgumentError} for what is not a number. */
export function readThreshold(query: Query): Threshold {
  const number = (name: string, low: number, high: number): number | undefined => {
    const text = (query[name] ?? "").trim();
    if (text === "") return undefined;
    const value = Number(text.slice(0, 40));
    if (Number.isFinite(value) && value >= low && value <= high) return value;
    throw new ArgumentError(
      `${name} is a number from ${low} to ${high}, not ${JSON.stringify(text.slice(0, 40))}.`,
    );
  };
  return { t: number("t", -1e6, 1e6), q: number("q", 0, 1) };
}

export function chooseUnits(
  { nLayers, nUnits }: SelectionSection,
  { t, q, mask: selected }: LocalizerArrays,
  threshold: Threshold,
): Chosen {
  const asItIs = threshold.t === undefined && threshold.q === undefined;
  const mask = new Uint8Array(nLayers * nUnits);
  const units: number[] = [];
  const byLayer = new Array<number>(nLayers).fill(0);
  let nSelected = 0;
  for (let at = 0; at < mask.length; at++) {
    const isIn = asItIs
      ? selected[at] === 1
      : t[at]! >= (threshold.t ?? Number.NEGATIVE_INFINITY) &&
        (threshold.q === undefined || q[at]! <= threshold.q);
    if (!isIn) continue;
    mask[at] = 1;
    units.push(at);
    byLayer[Math.floor(at / nUnits)]!++;
    if (selected[at] === 1) nSelected++;
  }
  units.sort((a, b) => t[b]! - t[a]! || a - b);
  return { threshold, mask, units, byLayer, nSelected };
}
