import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ArgumentError, createRng, FormatError, readNpy, tensor, writeNpy } from "@penfield/core";
import { createLinalg } from "@penfield/linalg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ridgeCv } from "./ridgeCv.ts";
import { npyTargets, ridgeCvStream } from "./ridgeCvStream.ts";

const linalg = createLinalg();
let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "penfield-stream-"));
});
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  await linalg.dispose();
});

const [n, p, nTargets] = [20, 4, 11];
const rng = createRng(1);
const fill = (size: number) => Float32Array.from({ length: size }, () => rng.normal());
const x = tensor(fill(n * p), ["stimulus", "unit"], [n, p]);
const y = tensor(fill(n * nTargets), ["stimulus", "target"], [n, nTargets]);
const options = { alphas: [0.1, 1, 10, 100], folds: 4, targetBatch: 3, linalg };
const names = ["best_alphas", "cv_scores", "intercept", "coefficients"];
const read = (at: string, name: string) => readNpy(readFileSync(join(at, `${name}.npy`)));

function file(): string {
  const path = join(folder, "y.npy");
  writeFileSync(path, writeNpy(y.data, y.shape));
  return path;
}

describe("ridgeCvStream", () => {
  test("equals ridgeCv", async () => {
    const targets = npyTargets(file());
    const out = join(folder, "whole");
    const result = await ridgeCvStream(x, targets, out, options);
    targets.close();
    const model = await ridgeCv(x, y, options);
    expect(result.resumedAt).toBe(0);
    expect([...(read(out, "best_alphas").data as Float64Array)]).toEqual([...model.bestAlphas]);
    const { data, shape } = read(out, "coefficients");
    expect(shape).toEqual([nTargets, p]);
    model.coefficients.data.forEach((value, i) => {
      const turned = (i % nTargets) * p + Math.floor(i / nTargets);
      expect((data as Float32Array)[turned]).toBeCloseTo(value, 5);
    });
    const intercepts = read(out, "intercept").data as Float64Array;
    model.intercept.forEach((value, t) => {
      expect(intercepts[t]).toBeCloseTo(value, 5);
    });
  });

  test("goes on where it was stopped, to the same bytes", async () => {
    const path = file();
    const whole = join(folder, "at-once");
    const parts = join(folder, "in-parts");
    const run = async (out: string, stopAfter = Number.POSITIVE_INFINITY) => {
      const targets = npyTargets(path);
      const stop = new AbortController();
      try {
        return await ridgeCvStream(x, targets, out, {
          ...options,
          signal: stop.signal,
          onProgress: ({ done }) => {
            if (done >= stopAfter) stop.abort();
          },
        });
      } finally {
        targets.close();
      }
    };
    await run(whole);
    await expect(run(parts, 3)).rejects.toThrow();
    await expect(run(parts, 9)).rejects.toThrow();
    const last = await run(parts);
    expect(last.resumedAt).toBe(9);
    for (const name of names) {
      expect(readFileSync(join(parts, `${name}.npy`))).toEqual(
        readFileSync(join(whole, `${name}.npy`)),
      );
    }
    // Asked again, nothing is left to do.
    expect((await run(parts)).resumedAt).toBe(nTargets);
  });

  test("refuses results of another question and files that are none", async () => {
    const targets = npyTargets(file());
    const out = join(folder, "other");
    await ridgeCvStream(x, targets, out, { ...options, coefficients: false });
    await expect(ridgeCvStream(x, targets, out, options)).rejects.toThrow(ArgumentError);
    await expect(
      ridgeCvStream(x, targets, out, { ...options, coefficients: false, alphas: [1] }),
    ).rejects.toThrow("of the same data and options");
    targets.close();
    const bad = join(folder, "bad.npy");
    writeFileSync(bad, writeNpy(new Int32Array(4), [2, 2]));
    expect(() => npyTargets(bad)).toThrow(FormatError);
    writeFileSync(bad, writeNpy(new Float32Array(4), [2, 2]).subarray(0, 130));
    expect(() => npyTargets(bad)).toThrow("got 130");
  });
});
