import { readFileSync } from "node:fs";
import type { FloatArray } from "@penfield/core";
import { describe, expect, test } from "vitest";
import { detrend, driftCosines, highPassCosines } from "./detrend.ts";
import { bandFilter, butterworth, notchFilter, zeroPhase } from "./filter.ts";
import { regressConfounds } from "./regressConfounds.ts";
import { resample } from "./resample.ts";
import { timeSeriesOf } from "./timeSeriesOf.ts";

type Rows = readonly (readonly number[])[];
const golden = JSON.parse(
  readFileSync(new URL("../../../../test/golden/preparation.json", import.meta.url), "utf8"),
);
const x: Rows = golden.x;

/** Both scaled by the largest value of the reference. */
function expectClose(got: FloatArray, expected: Rows, share: number): void {
  const flat = expected.flat();
  expect(got).toHaveLength(flat.length);
  const scale = Math.max(...flat.map(Math.abs));
  const worst = Math.max(...flat.map((value, i) => Math.abs(value - got[i]!)));
  expect(worst / scale).toBeLessThan(share);
}

describe("against scipy and numpy", () => {
  test.each(
    golden.filters as { kind: "lowpass"; order: number; cutoff: number; rate: number; y: Rows }[],
  )("$kind of order $order at $cutoff Hz", ({ kind, order, cutoff, rate, y }) => {
    const sections = butterworth({ kind, cutoff }, { order, samplingRate: rate });
    for (const column of [0, 1]) {
      const values = Float64Array.from(x, (row) => row[column]!);
      expectClose(
        zeroPhase(sections, values),
        y.map((row) => [row[column]!]),
        1e-10,
      );
    }
    const series = timeSeriesOf({ values: x, samplingRate: rate });
    const [low, high] = Array.isArray(cutoff) ? cutoff : [cutoff, cutoff];
    if (kind === ("bandstop" as string)) return;
    const { data } = bandFilter(series, {
      order,
      ...(kind === "lowpass" ? {} : { highPass: low }),
      ...(kind === ("highpass" as string) ? {} : { lowPass: high }),
    });
    expectClose(data.data, y, 1e-10);
  });

  test.each(golden.notches as { frequency: number; quality: number; rate: number; y: Rows }[])(
    "notch at $frequency Hz",
    ({ frequency, quality, rate, y }) => {
      const series = timeSeriesOf({ values: x, samplingRate: rate });
      expectClose(notchFilter(series, { frequencies: [frequency], quality }).data.data, y, 1e-11);
    },
  );

  test.each(golden.resampled as { up: number; down: number; y: Rows }[])(
    "resampling by $up / $down",
    ({ up, down, y }) => {
      const series = timeSeriesOf({ values: x, samplingRate: 7 });
      expectClose(resample(series, (7 * up) / down).data.data, y, 1e-12);
    },
  );

  test("a line", () => {
    expectClose(detrend(timeSeriesOf({ values: x })).data.data, golden.detrended, 1e-13);
  });

  test("SPM's cosines", () => {
    const { trSeconds, cutoffSeconds, basis, y } = golden.cosines;
    const columns = driftCosines(x.length, 1 / trSeconds, cutoffSeconds);
    expectClose(
      Float64Array.from(x.flatMap((_, i) => columns.map((column) => column[i]!))),
      basis,
      1e-14,
    );
    const series = timeSeriesOf({ values: x, samplingRate: 1 / trSeconds });
    expectClose(highPassCosines(series, { cutoffSeconds }).data.data, y, 1e-13);
  });

  test("confounds, one of them a combination of the others", async () => {
    const { confounds, plain, expanded } = golden.regression;
    const series = timeSeriesOf({ values: x });
    const given = { data: Float64Array.from(confounds.flat()), nConfounds: 3 };
    const tensor = { data: given.data, axes: ["time", "confound"], shape: [90, 3] } as const;
    expectClose((await regressConfounds(series, tensor)).series.data.data, plain, 1e-12);
    const more = await regressConfounds(series, tensor, { derivatives: true, squares: true });
    expectClose(more.series.data.data, expanded, 1e-10);
  });
});
