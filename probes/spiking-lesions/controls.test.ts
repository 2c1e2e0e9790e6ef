import { unitSet } from "@penfield/localize";
import { expect, test } from "vitest";
import { rateMatchedRandom } from "./controls.ts";

test("other units of like rates, the same for the same seed", () => {
  const rates = Float64Array.from({ length: 40 }, (_, i) => Math.floor(i / 4));
  const units = unitSet(1, 40, [0, 5, 10, 39]);
  for (let seed = 0; seed < 20; seed++) {
    const { indices } = rateMatchedRandom(units, rates, seed);
    expect(indices.length).toBe(4);
    for (const i of indices) expect(units.indices.includes(i)).toBe(false);
    // Three others have each unit's own rate.
    expect(Array.from(indices, (i) => rates[i])).toEqual([0, 1, 2, 9]);
    expect(rateMatchedRandom(units, rates, seed).indices).toEqual(indices);
  }
});
