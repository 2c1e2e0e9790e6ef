import { ArgumentError, ShapeError } from "@penfield/core";
import { describe, expect, test } from "vitest";
import { type SpikeTrain, spikeTrain } from "./spikeTrain.ts";
import { meanOverPairs, pairwise, spikeTrainRdm } from "./spikeTrainRdm.ts";
import { vanRossum } from "./vanRossum.ts";

const train = (...times: number[]): SpikeTrain => spikeTrain(times, { tStop: 1 });
const counts = (a: SpikeTrain, b: SpikeTrain): number => Math.abs(a.times.length - b.times.length);

describe("spikeTrainRdm", () => {
  const responses = [
    [train(), train()],
    [train(0.1, 0.2, 0.3), train(0.1, 0.2, 0.3, 0.4)],
    [train(0.5), train()],
  ];

  test("combines units as lengths or costs, upper triangle by rows", () => {
    expect(Array.from(spikeTrainRdm(responses, counts))).toEqual([5, 1, Math.sqrt(20)]);
    expect(Array.from(spikeTrainRdm(responses, counts, { combine: "sum" }))).toEqual([7, 1, 6]);
  });

  test("does not change with the order of units", () => {
    const distance = (a: SpikeTrain, b: SpikeTrain) => vanRossum(a, b, { tauSeconds: 0.1 });
    const turned = responses.map((units) => [...units].reverse());
    const [x, y] = [spikeTrainRdm(responses, distance), spikeTrainRdm(turned, distance)];
    for (let i = 0; i < x.length; i++) expect(y[i]).toBeCloseTo(x[i]!, 14);
  });

  test("refuses one stimulus, units that differ, unknown ways to combine", () => {
    expect(() => spikeTrainRdm(responses.slice(1, 2), counts)).toThrow(ShapeError);
    expect(() => spikeTrainRdm([[train()], [train(), train()]], counts)).toThrow(
      "spikeTrainRdm: expected the same units for every stimulus (1), got 2 for stimulus 1",
    );
    expect(() => spikeTrainRdm([[], []], counts)).toThrow(ShapeError);
    expect(() => spikeTrainRdm(responses, counts, { combine: "max" as "sum" })).toThrow(
      ArgumentError,
    );
  });
});

describe("pairs", () => {
  test("need trains", () => {
    expect(() => pairwise([], counts)).toThrow("pairwise: expected at least one train, got none");
    expect(() => meanOverPairs([train()], counts)).toThrow(
      "meanOverPairs: expected at least 2 trains, got 1",
    );
    expect(meanOverPairs([train(), train(0.1), train(0.1, 0.2)], counts)).toBeCloseTo(4 / 3, 14);
  });
});
