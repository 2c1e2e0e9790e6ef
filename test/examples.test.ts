import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("../", import.meta.url));

/** Some lines of code from a comment or a README. */
interface Block {
  readonly file: string;
  /** Line of the file on which `lines[0]` stands, from 1. */
  readonly line: number;
  readonly lines: readonly string[];
}

const PROMISE = /^(.*?);?\s*\/\/ => (.*)$/;

/** The `@example` blocks of a TypeScript file, without the stars of their comments. */
function examplesOf(file: string, text: string): Block[] {
  const blocks: Block[] = [];
  let current: { line: number; lines: string[] } | undefined;
  let inComment = false;
  const end = () => {
    if (current) blocks.push({ file, ...current });
    current = undefined;
  };
  text.split("\n").forEach((raw, i) => {
    if (!inComment) {
      if (!/^\s*\/\*\*/.test(raw) || raw.includes("*/")) return;
      inComment = true;
      return;
    }
    if (/^\s*\*\/|\*\/\s*$/.test(raw)) {
      end();
      inComment = false;
      return;
    }
    const line = raw.replace(/^\s*\* ?/, "");
    if (/^@\w/.test(line)) {
      end();
      if (line.startsWith("@example")) current = { line: i + 2, lines: [] };
      return;
    }
    // A fence inside an example is for editors; blank, so that lines keep their numbers.
    current?.lines.push(line.startsWith("```") ? "" : line);
  });
  return blocks;
}

/** The fenced ts blocks of a Markdown file. */
function fencesOf(file: string, text: string): Block[] {
  const blocks: Block[] = [];
  let current: { line: number; lines: string[] } | undefined;
  text.split("\n").forEach((raw, i) => {
    if (!current) {
      if (/^```ts\s*$/.test(raw)) current = { line: i + 2, lines: [] };
      return;
    }
    if (raw.startsWith("```")) {
      blocks.push({ file, ...current });
      current = undefined;
      return;
    }
    current.lines.push(raw);
  });
  return blocks;
}

const AsyncFunction = (async () => {}).constructor as new (
  ...parts: string[]
) => (...values: unknown[]) => Promise<unknown>;

function compiles(expression: string): boolean {
  try {
    new AsyncFunction(`return (${expression}\n)`);
    return true;
  } catch {
    return false;
  }
}

/** `import { a, b as c } from "x"` as a statement that a function body may hold. */
const importToConst = (code: string): string =>
  code
    .replace(/^\s*import\s+type\s.*$/gm, "")
    .replace(
      /import\s*\{([^}]*)\}\s*from\s*(["'][^"']+["']);?/g,
      (_, names: string, from: string) =>
        `const {${names.replace(/\btype\s+\w+\s*,?/g, "").replace(/\s+as\s+/g, ": ")}} = await $import(${from});`,
    );

/** Runs a block and compares every promised value; errors name file and line. */
async function run(block: Block, scope: Record<string, unknown>): Promise<number> {
  const pieces: string[] = [];
  let waiting: string[] = [];
  let nPromises = 0;
  block.lines.forEach((raw, i) => {
    const promise = PROMISE.exec(raw);
    if (!promise) {
      waiting.push(raw);
      return;
    }
    // The expression may have begun on lines above.
    let expression = promise[1]!;
    const above = [...waiting];
    while (!compiles(expression) && above.length > 0) expression = `${above.pop()}\n${expression}`;
    pieces.push(...above);
    waiting = [];
    nPromises++;
    const where = JSON.stringify(`${block.file}:${block.line + i}: ${raw.trim()}`);
    pieces.push(`$check(${where}, (${expression}\n), (${promise[2]}\n));`);
  });
  const locals = importToConst([...pieces, ...waiting].join("\n"));
  // Names that the block itself declares hide those in scope.
  const names = Object.keys(scope).filter(
    (name) =>
      !new RegExp(`\\b(?:const|let|function|class)\\s+(?:\\{[^}]*\\b)?${name}\\b`).test(locals),
  );
  const place = `${block.file}:${block.line}`;
  let body: (...values: unknown[]) => Promise<unknown>;
  try {
    body = new AsyncFunction("$check", "$import", ...names, `"use strict";\n${locals}`);
  } catch (cause) {
    throw new Error(
      `${place}: the example is no plain JavaScript (types are not stripped): ${(cause as Error).message}`,
      { cause },
    );
  }
  const check = (where: string, got: unknown, expected: unknown): void => {
    const plain =
      ArrayBuffer.isView(got) && Array.isArray(expected) ? Array.from(got as never) : got;
    expect(plain, where).toEqual(expected);
  };
  try {
    await body(check, (name: string) => import(name), ...names.map((name) => scope[name]));
  } catch (cause) {
    const { message } = cause as Error;
    throw message.includes(block.file) ? cause : new Error(`${place}: ${message}`, { cause });
  }
  return nPromises;
}

const promises = (block: Block): boolean => block.lines.some((line) => PROMISE.test(line));

const filesBelow = (folder: string, wanted: RegExp): string[] =>
  existsSync(join(root, folder))
    ? readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
        const path = `${folder}/${entry.name}`;
        if (["node_modules", "dist"].includes(entry.name)) return [];
        if (entry.isDirectory()) return filesBelow(path, wanted);
        return wanted.test(path) ? [path] : [];
      })
    : [];

const read = (file: string): string => readFileSync(join(root, file), "utf8");

/** Everything that the package of a file exports, and core. */
async function scopeOf(folder: string | undefined): Promise<Record<string, unknown>> {
  const core = await import("@penfield/core");
  const own = folder === undefined ? {} : await import(`@penfield/${folder}`);
  return { ...core, ...own };
}

const packages = readdirSync(join(root, "packages")).filter((name) =>
  existsSync(join(root, "packages", name, "package.json")),
);

describe.each(packages)("@example blocks of packages/%s", (name) => {
  const blocks = filesBelow(`packages/${name}/src`, /(?<!\.(test|bench|d))\.ts$/)
    .flatMap((file) => examplesOf(file, read(file)))
    .filter(promises);
  test.each(blocks.map((block) => [`${block.file}:${block.line}`, block] as const))(
    "%s",
    async (_, block) => {
      expect(await run(block, await scopeOf(name))).toBeGreaterThan(0);
    },
  );
  test.skipIf(blocks.length > 0)("(none that promises a value)", () => {});
});

describe("ts blocks of README.md files", () => {
  const readmes = [
    "README.md",
    ...["packages", "apps", "probes", "corpora"].flatMap((f) => filesBelow(f, /\/README\.md$/)),
  ].filter((file) => existsSync(join(root, file)));
  const blocks = readmes.flatMap((file) => fencesOf(file, read(file))).filter(promises);
  test.each(blocks.map((block) => [`${block.file}:${block.line}`, block] as const))(
    "%s",
    async (_, block) => {
      const name = /^packages\/([^/]+)\//.exec(block.file)?.[1];
      expect(await run(block, await scopeOf(name))).toBeGreaterThan(0);
    },
  );
});

describe("the runner itself", () => {
  const source = [
    "/**",
    " * Doubles.",
    " *",
    " * @param x - A number.",
    " *",
    " * @example",
    " * const two = await Promise.resolve(2);",
    " * double(two) // => 4",
    ' * [two, "a"]; // => [2, "a"]',
    " * double(",
    " *   5,",
    " * ) // => 10",
    " * new Float32Array([1, 2]) // => [1, 2]",
    " * @see nothing",
    " * double(1) // => 7",
    " */",
  ];
  const scope = { double: (x: number) => 2 * x };
  const [block] = examplesOf("x.ts", source.join("\n"));

  test("finds the block and runs its promises", async () => {
    expect(block).toMatchObject({ file: "x.ts", line: 7 });
    expect(await run(block!, scope)).toBe(4);
  });

  test("a wrong value fails with file, line and text", async () => {
    const wrong = { ...block!, lines: ["double(1)", "double(2) // => 5"] };
    await expect(run(wrong, scope)).rejects.toThrow(/x\.ts:8: double\(2\) \/\/ => 5/);
    await expect(run({ ...wrong, lines: ["1 // => '1'"] }, scope)).rejects.toThrow(/x\.ts:7/);
  });

  test("an error in the example names file and line", async () => {
    const thrown = { ...block!, lines: ["missing() // => 1"] };
    await expect(run(thrown, scope)).rejects.toThrow(/^x\.ts:7: missing is not defined/);
    const typed = { ...block!, lines: ["const a: number = 1;", "a // => 1"] };
    await expect(run(typed, scope)).rejects.toThrow(/^x\.ts:7: the example is no plain JavaScript/);
  });

  test("fenced blocks import what they use", async () => {
    const [fence, ...rest] = fencesOf(
      "README.md",
      [
        "# X",
        "```ts",
        'import { sha256 as hash, type Rng } from "@penfield/core";',
        'hash("").slice(0, 4); // => "e3b0"',
        "```",
        "```sh",
        "x // => y",
        "```",
      ].join("\n"),
    );
    expect(rest).toEqual([]);
    expect(await run(fence!, {})).toBe(1);
  });

  test("names that a block declares hide those in scope", async () => {
    const shadow = { ...block!, lines: ["const double = 3;", "double // => 3"] };
    expect(await run(shadow, scope)).toBe(1);
  });
});
