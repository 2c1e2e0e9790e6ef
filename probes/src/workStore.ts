import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileError, readNpy, sha256, writeFileAtomic, writeNpy } from "@penfield/core";

/** Finished parts of a run, kept until the run is complete. */
export interface WorkStore {
  getJson(key: string): Promise<unknown>;
  putJson(key: string, value: unknown): Promise<void>;
  getArray(key: string): Promise<{ data: Float32Array; shape: readonly number[] } | undefined>;
  putArray(key: string, data: Float32Array, shape: readonly number[]): Promise<void>;
}

/**
 * A store in a folder. A part that cannot be read, such as one cut off by a full disk, counts as not
 * there.
 *
 * @param folder - Made when the first part is kept.
 */
export function folderStore(folder: string): WorkStore {
  const path = (key: string, end: string): string =>
    join(folder, `${sha256(key).slice(0, 24)}${end}`);
  const read = async (file: string): Promise<Buffer | undefined> =>
    readFile(file).catch((cause) => {
      if (cause.code === "ENOENT") return undefined;
      throw fileError("folderStore", file, cause);
    });
  return {
    async getJson(key) {
      const bytes = await read(path(key, ".json"));
      if (!bytes) return undefined;
      try {
        return JSON.parse(bytes.toString("utf8"));
      } catch {
        return undefined;
      }
    },
    putJson: (key, value) => writeFileAtomic(path(key, ".json"), JSON.stringify(value)),
    async getArray(key) {
      const bytes = await read(path(key, ".npy"));
      if (!bytes) return undefined;
      try {
        const { data, shape } = readNpy(bytes);
        return data instanceof Float32Array ? { data, shape } : undefined;
      } catch {
        return undefined;
      }
    },
    putArray: (key, data, shape) => writeFileAtomic(path(key, ".npy"), writeNpy(data, shape)),
  };
}

/**
 * A part of a store, for what was made from the given inputs: other inputs never find its parts.
 */
export function scopedStore(store: WorkStore, inputs: unknown): WorkStore {
  const scope = sha256(JSON.stringify(inputs));
  return {
    getJson: (key) => store.getJson(`${scope} ${key}`),
    putJson: (key, value) => store.putJson(`${scope} ${key}`, value),
    getArray: (key) => store.getArray(`${scope} ${key}`),
    putArray: (key, data, shape) => store.putArray(`${scope} ${key}`, data, shape),
  };
}

/** A store that keeps nothing. */
export const noStore: WorkStore = {
  getJson: async () => undefined,
  putJson: async () => undefined,
  getArray: async () => undefined,
  putArray: async () => undefined,
};

/** Forgets what a run has kept. */
export async function clearStore(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true });
}
