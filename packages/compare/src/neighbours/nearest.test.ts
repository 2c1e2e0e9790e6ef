import { ArgumentError, activations, ShapeError } from "@penfield/core";
import { createLinalg } from "@penfield/linalg";
import { afterAll, expect, test } from "vitest";
import {
  cknna,
  cycleKnn,
  knnJaccard,
  lcsKnn,
  mutualKnn,
  rankJaccard,
  rankSimilarity,
  secondOrderCosine,
} from "./nearest.ts";

const linalg = createLinalg({ threads: 1 });
afterAll(() => linalg.dispose());

const at = (...degrees: number[]) =>
  activations(degrees.map((d) => [Math.cos((d * Math.PI) / 180), Math.sin((d * Math.PI) / 180)]));

// Angles 0, 10, 25 and 45 degrees: neighbours in order are 123, 023, 130, 210.
const x = at(0, 10, 25, 45);
// The first two change places.
const y = at(10, 0, 25, 45);

test("mutual neighbours, Jaccard and cycles by hand", async () => {
  expect(await mutualKnn(linalg, x, x, { k: 2 })).toBe(1);
  // Nearest of x: 1, 0, 1, 2; of y: 1, 0, 0, 2.
  expect(await mutualKnn(linalg, x, y, { k: 1 })).toBe(0.75);
  expect(await knnJaccard(linalg, x, y, { k: 1 })).toBe(0.75);
  // From 2 to 0 in y, and from 0 to 1 in x: not back. From 3 to 2 and on to 1: not back.
  expect(await cycleKnn(linalg, x, y, { k: 1 })).toBe(0.5);
});

test("ranks and subsequences by hand", async () => {
  // All three others: 123|123, 023|023, 130|031, 210|201.
  expect(await lcsKnn(linalg, x, y, { k: 3 })).toBe((3 + 3 + 1 + 2) / 4);
  const most = 1 + 1 / 2 + 1 / 3;
  const swapped = (2 / (3 * 4) + 2 / 4 + 2 / (3 * 4)) / most;
  const later = (2 / 2 + 2 / (2 * 5) + 2 / (2 * 5)) / most;
  const expected = (1 + 1 + swapped + later) / 4;
  expect(await rankSimilarity(linalg, x, y, { k: 3 })).toBeCloseTo(expected, 12);
  expect(await rankJaccard(linalg, x, y, { k: 3 })).toBeCloseTo(expected, 12);
  expect(await secondOrderCosine(linalg, x, x, { k: 2 })).toBeCloseTo(1, 12);
});

test("CKNNA of all neighbours is unbiased CKA; too few stimuli and too many neighbours are refused", async () => {
  expect(await cknna(linalg, x, x, { k: 3 })).toBeCloseTo(1, 3);
  await expect(mutualKnn(linalg, x, y, { k: 4 })).rejects.toThrow(ArgumentError);
  await expect(mutualKnn(linalg, x, y)).rejects.toThrow(
    "mutualKnn: expected k to be a whole number, 1 to 3, got 10",
  );
  await expect(cknna(linalg, at(0, 1, 2), at(0, 1, 2), { k: 1 })).rejects.toThrow(ShapeError);
});
