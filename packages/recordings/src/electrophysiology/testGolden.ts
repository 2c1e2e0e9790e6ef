import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { FormatError, sha256 } from "@penfield/core";
import fc from "fast-check";
import { expect } from "vitest";

/** Made by other readers: test/golden/make_electrophysiology.py. */
export const golden: string = fileURLToPath(
  new URL("../../../../test/golden/electrophysiology/", import.meta.url),
);
/** Real recordings, where they are there. */
export const shared: string = fileURLToPath(
  new URL("../../../../../shared/data/", import.meta.url),
);

/** What the maker puts down of an array. */
export interface Summary {
  readonly shape: readonly number[];
  /** Of all values as float64. */
  readonly sha256: string;
  readonly sum: number;
  readonly magnitude: number;
  readonly at: readonly number[];
  readonly values: readonly number[];
}

// biome-ignore lint/suspicious/noExplicitAny: JSON of many shapes, each test knows its own.
export const readGolden = (name: string): any =>
  JSON.parse(readFileSync(`${golden}${name}`, "utf8"));

/** Equal to the last bit, in every value. */
export function expectSame(
  data: ArrayLike<number>,
  shape: readonly number[],
  expected: Summary,
): void {
  expect([...shape]).toEqual(expected.shape);
  expect(expected.at.map((i) => data[i])).toEqual(expected.values);
  // Adding 0 turns -0 into 0, here as in the maker.
  const plain = Float64Array.from(data, (value) => value + 0);
  expect(sha256(new Uint8Array(plain.buffer))).toBe(expected.sha256);
}

/** Any bytes changed, any length: a result, or one FormatError. */
export async function expectRobust(
  bytes: Uint8Array,
  read: (bytes: Uint8Array) => unknown,
  numRuns: number,
  allowed: readonly (new (...rest: never[]) => Error)[] = [FormatError],
): Promise<void> {
  const changes = fc.record({
    places: fc.array(
      fc.tuple(
        fc.oneof(fc.nat(bytes.length - 1), fc.nat(Math.min(2000, bytes.length - 1))),
        fc.nat(255),
      ),
      { maxLength: 6 },
    ),
    length: fc.oneof(fc.constant(bytes.length), fc.nat(bytes.length)),
  });
  await fc.assert(
    fc.asyncProperty(changes, async ({ places, length }) => {
      const copy = Uint8Array.from(bytes).slice(0, length);
      for (const [i, value] of places) if (i < length) copy[i] = value;
      try {
        await read(copy);
      } catch (error) {
        if (!allowed.some((kind) => error instanceof kind)) throw error;
      }
    }),
    { numRuns },
  );
}
