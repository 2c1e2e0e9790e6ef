import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { replay } from "./replay.ts";
import { casesOfMeasures, replayMeasure } from "./spikingMeasures.ts";

const shared = fileURLToPath(new URL("../../../shared/golden/spiking/", import.meta.url));

describe("reference measures of spike trains", () => {
  test.skipIf(!existsSync(shared))("all pass (skipped without ../shared)", async () => {
    const lines: string[] = [];
    const tally = await replay(casesOfMeasures(shared), replayMeasure, (line) => lines.push(line));
    expect(tally, lines.join("\n")).toEqual({ passed: 22, failed: 0, unmapped: 0 });
  });

  test("a folder without measures has none, and measures that are not known are unmapped", async () => {
    const folder = await mkdtemp(join(tmpdir(), "penfield-measures-"));
    try {
      expect(casesOfMeasures(folder)).toEqual([]);
      await writeFile(join(folder, "metrics.json"), JSON.stringify({ T: 1, unheard_of: {} }));
      const tally = await replay(casesOfMeasures(folder), replayMeasure, () => {});
      expect(tally).toEqual({ passed: 0, failed: 0, unmapped: 1 });
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});
