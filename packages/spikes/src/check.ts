import { ArgumentError, DataError, ShapeError } from "@penfield/core";
import type { SpikeTrain } from "./spikeTrain.ts";

/** Throws unless `value` is finite and more than 0. */
export function checkPositive(name: string, what: string, value: number, hint?: string): void {
  if (!(Number.isFinite(value) && value > 0)) {
    throw new ArgumentError(`${name}: expected ${what} above 0, got ${value}`, { hint });
  }
}

/** Throws unless `value` is 0 or more; infinity is allowed. */
export function checkNotNegative(name: string, what: string, value: number): void {
  if (!(value >= 0)) {
    throw new ArgumentError(`${name}: expected ${what} of 0 or more, got ${value}`);
  }
}

/** Throws unless `value` is a whole number of at least `least`. */
export function checkCount(name: string, what: string, value: number, least: number): void {
  if (!Number.isSafeInteger(value) || value < least) {
    throw new ArgumentError(
      `${name}: expected ${what} to be a whole number of at least ${least}, got ${value}`,
    );
  }
}

/** Throws unless 0 <= value <= 1. */
export function checkShare(name: string, what: string, value: number): void {
  if (!(value >= 0 && value <= 1)) {
    throw new ArgumentError(`${name}: expected ${what} within 0..1, got ${value}`);
  }
}

/** Throws unless every value is a finite number. */
export function checkFinite(name: string, what: string, values: ArrayLike<number>): void {
  for (let i = 0; i < values.length; i++) {
    if (!Number.isFinite(values[i]!)) {
      throw new DataError(`${name}: expected finite ${what}, got ${values[i]} at ${i}`);
    }
  }
}

/** Throws unless every value is a whole number of at least `least`. */
export function checkCounts(
  name: string,
  what: string,
  values: ArrayLike<number>,
  least: number,
): void {
  for (let i = 0; i < values.length; i++) {
    if (!Number.isSafeInteger(values[i]!) || values[i]! < least) {
      throw new DataError(
        `${name}: expected ${what} to be whole numbers of at least ${least}, got ${values[i]} at ${i}`,
      );
    }
  }
}

/** Throws unless both trains were recorded over the same time. */
export function checkSameWindow(name: string, a: SpikeTrain, b: SpikeTrain): void {
  if (a.tStart !== b.tStart || a.tStop !== b.tStop) {
    throw new ShapeError(
      `${name}: expected trains recorded over the same time, got ${windowOf(a)} and ${windowOf(b)}`,
      { hint: "Cut both with sliceTrain(train, { tStart, tStop })." },
    );
  }
}

export const windowOf = ({ tStart, tStop }: { tStart: number; tStop: number }): string =>
  `[${tStart}, ${tStop}] s`;
