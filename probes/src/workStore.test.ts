import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FileError } from "@penfield/core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { clearStore, folderStore, noStore, scopedStore, type WorkStore } from "./workStore.ts";

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "penfield-work-"));
});
afterAll(() => rm(root, { recursive: true, force: true }));

const values = Float32Array.of(1, 2.5, -3, 0.1, 5, 6);
async function filled(name: string): Promise<{ folder: string; store: WorkStore }> {
  const folder = join(root, name);
  const store = folderStore(folder);
  await store.putJson("lesion 1", { value: [1, 2] });
  await store.putArray("units", values, [2, 3]);
  return { folder, store };
}
const fileOf = async (folder: string, end: string): Promise<string> =>
  join(folder, (await readdir(folder)).find((f) => f.endsWith(end))!);

describe("folderStore", () => {
  test("gives back what was kept, also to a store opened later", async () => {
    const { folder } = await filled("plain");
    const later = folderStore(folder);
    expect(await later.getJson("lesion 1")).toEqual({ value: [1, 2] });
    expect(await later.getArray("units")).toEqual({ data: values, shape: [2, 3] });
    expect(await later.getJson("lesion 2")).toBeUndefined();
    expect(await later.getArray("lesion 1")).toBeUndefined();
    expect(await folderStore(join(root, "nowhere")).getJson("lesion 1")).toBeUndefined();
  });

  test("keys may hold anything that is no file name", async () => {
    const store = folderStore(join(root, "keys"));
    await store.putJson("../../a/b: *?\n", 1);
    expect(await store.getJson("../../a/b: *?\n")).toBe(1);
    expect(await readdir(join(root, "keys"))).toHaveLength(1);
  });

  test("a part that was cut off or damaged counts as not there, and can be kept anew", async () => {
    const { folder, store } = await filled("damaged");
    const [text, array] = [await fileOf(folder, ".json"), await fileOf(folder, ".npy")];
    const whole = { text: await readFile(text), array: await readFile(array) };
    for (let length = 0; length < whole.text.length; length += 3) {
      await writeFile(text, whole.text.subarray(0, length));
      expect(await store.getJson("lesion 1"), `json cut at ${length}`).toBeUndefined();
    }
    for (let length = 0; length < whole.array.length; length += 7) {
      await writeFile(array, whole.array.subarray(0, length));
      expect(await store.getArray("units"), `array cut at ${length}`).toBeUndefined();
    }
    await truncate(array, 0);
    await writeFile(array, "this is no array");
    expect(await store.getArray("units")).toBeUndefined();
    await store.putArray("units", values, [6]);
    expect(await store.getArray("units")).toEqual({ data: values, shape: [6] });
  });

  test("a folder that cannot be read is an error, not an empty store", async () => {
    const path = join(root, "a file");
    await writeFile(path, "x");
    await expect(folderStore(path).getJson("lesion 1")).rejects.toThrow(FileError);
    await expect(folderStore(path).putJson("lesion 1", 1)).rejects.toThrow(FileError);
  });

  test("is forgotten as a whole", async () => {
    const { folder, store } = await filled("cleared");
    await clearStore(folder);
    expect(await store.getArray("units")).toBeUndefined();
    await clearStore(folder);
  });
});

describe("scopedStore", () => {
  test("parts of other inputs are never found", async () => {
    const { store } = await filled("scoped");
    const a = scopedStore(store, ["model a", { seed: 1 }]);
    const b = scopedStore(store, ["model a", { seed: 2 }]);
    await a.putJson("lesion 1", "a");
    await a.putArray("units", values, [6]);
    expect(await b.getJson("lesion 1")).toBeUndefined();
    expect(await b.getArray("units")).toBeUndefined();
    await b.putJson("lesion 1", "b");
    expect(await a.getJson("lesion 1")).toBe("a");
    expect(await scopedStore(store, ["model a", { seed: 1 }]).getJson("lesion 1")).toBe("a");
    expect(await store.getJson("lesion 1")).toEqual({ value: [1, 2] });
  });
});

test("noStore keeps nothing", async () => {
  await noStore.putJson("a", 1);
  await noStore.putArray("a", values, [6]);
  expect([await noStore.getJson("a"), await noStore.getArray("a")]).toEqual([undefined, undefined]);
});
