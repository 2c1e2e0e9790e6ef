import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { lesionStore } from "./lesionStore.ts";
import { folderStore } from "./workStore.ts";

test("outcomes come back to the last bit, whatever they are", async () => {
  const folder = await mkdtemp(join(tmpdir(), "penfield-lesions-"));
  try {
    const store = lesionStore(folderStore(folder));
    expect(await store.get("random-1-0")).toBeUndefined();
    const values = Float64Array.of(0, 1, 0.5, 1 / 3, -1e-300, 7e22, NaN, Infinity, -Infinity);
    const outcomes = [
      { task: "pairs", metric: "accuracy" as const, values },
      { task: "prose", metric: "loss" as const, values: new Float64Array(0) },
    ];
    await store.put("random-1-0", outcomes);
    expect(await lesionStore(folderStore(folder)).get("random-1-0")).toEqual(outcomes);
    expect(await store.get("random-1-1")).toBeUndefined();
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
