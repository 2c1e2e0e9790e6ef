import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createRng, sha256 } from "@penfield/core";

/** A tiny GPT-2 with random weights: 2 layers, 24 coordinates, 96 tokens, a context of 32. */
export const gpt2: string = fileURLToPath(new URL("../../../test/fixtures/gpt2", import.meta.url));

export async function temporaryFolder(): Promise<{ path: string; remove(): Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), "penfield-store-"));
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}

/** Rows of random tokens of random length. */
export function randomRows(n: number, longest: number, seed = 1): number[][] {
  const rng = createRng(seed);
  const whole = (below: number) => Math.floor(rng.uniform() * below);
  return Array.from({ length: n }, () =>
    Array.from({ length: 1 + whole(longest) }, () => whole(96)),
  );
}

/** Every file below a folder with the hash of its bytes. */
export async function hashes(folder: string): Promise<Record<string, string>> {
  const names = (await readdir(folder, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort();
  const pairs = names.map(
    async (name) => [name, sha256(await readFile(join(folder, name)))] as const,
  );
  return Object.fromEntries(await Promise.all(pairs));
}
