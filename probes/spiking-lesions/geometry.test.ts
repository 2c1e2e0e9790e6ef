import { activations } from "@penfield/core";
import { expect, test } from "vitest";
import { euclideanRdm } from "./geometry.ts";

test("distances of all pairs of rows, in the columns asked for", () => {
  const x = activations([
    [0, 0, 7],
    [3, 4, 7],
    [0, 4, 1],
  ]);
  expect(Array.from(euclideanRdm(x, [0, 1]))).toEqual([5, 4, 3]);
  expect(Array.from(euclideanRdm(x))[0]).toBe(5);
  expect(euclideanRdm(x)[1]).toBeCloseTo(Math.sqrt(52), 12);
});
