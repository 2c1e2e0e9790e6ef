import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { afterAll, describe, test, vi } from "vitest";

const root = fileURLToPath(new URL("../", import.meta.url));
/** Inside examples, so that packages are found as readers find them who try the code there. */
const folder = mkdtempSync(join(root, "examples", ".docs-"));
/** What pages write beside the reader's files. */
const written = ["activations"].map((name) => join(root, name)).filter((path) => !existsSync(path));
afterAll(() => {
  for (const path of [folder, ...written]) rmSync(path, { recursive: true, force: true });
});

/** The pages whose code readers copy: all but what was measured. */
const pages = [
  "README.md",
  ...readdirSync(join(root, "docs")).map((name) => `docs/${name}`),
].filter((name) => name.endsWith(".md"));

/** The TypeScript blocks of a page; a block that imports nothing is a part of another one. */
function blocks(page: string): { line: number; code: string }[] {
  const text = readFileSync(join(root, page), "utf8");
  return [...text.matchAll(/^```ts\n([\s\S]*?)^```/gm)]
    .map((match) => ({
      line: text.slice(0, match.index).split("\n").length + 1,
      code: match[1]!,
    }))
    .filter(({ code }) => /^import /m.test(code));
}

describe.each(pages.filter((page) => blocks(page).length > 0))("the code on %s", (page) => {
  test.each(blocks(page))("runs: line $line", async ({ line, code }) => {
    const file = join(folder, `${page.replace(/\W/g, "_")}_${line}.ts`);
    writeFileSync(file, code);
    const print = vi.spyOn(console, "log").mockImplementation(() => undefined);
    try {
      await import(pathToFileURL(file).href);
    } catch (cause) {
      throw new Error(`${relative(root, file)}: ${(cause as Error).message}`, { cause });
    } finally {
      print.mockRestore();
    }
  });
});
