import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("../", import.meta.url));

/**
 * The house from its cellar up. A package may use those of layers to its left, never its own layer
 * or one to its right. A new package must be given its place here.
 */
const layers: readonly (readonly string[])[] = [
  ["core"],
  ["linalg", "stats", "onnx", "organisms", "report", "hdf5"],
  ["hooks"],
  ["recordings", "spiking"],
  ["localize", "ablate", "align", "compare", "spikes", "store"],
  ["describe"],
  ["probes"],
  ["viewer"],
  ["cli"],
  ["examples", "test"],
];

/** Those that may use less than their layer allows. */
const narrow: Record<string, readonly string[]> = { viewer: ["core", "localize", "report"] };

/** Dependencies within a layer or upwards, each with its reason; the fewer the better. */
const exceptions: Record<string, readonly string[]> = {
  // Lesions are measured on the units that a localizer found, and its unit sets are their argument.
  ablate: ["localize"],
};

interface Workspace {
  readonly name: string;
  readonly folder: string;
  readonly manifest: {
    name: string;
    dependencies?: Record<string, string>;
    devDependencies?: Record<string, string>;
    exports?: Record<string, unknown>;
  };
}

const workspaces: readonly Workspace[] = [
  ...["packages", "apps"].flatMap((group) =>
    readdirSync(join(root, group), { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => join(group, entry.name)),
  ),
  "probes",
  "examples",
  "test",
]
  .filter((folder) => existsSync(join(root, folder, "package.json")))
  .map((folder) => ({
    name: folder.split(/[\\/]/).at(-1)!,
    folder,
    manifest: JSON.parse(readFileSync(join(root, folder, "package.json"), "utf8")),
  }));

const ours = (dependencies: Record<string, string> = {}): string[] =>
  Object.keys(dependencies)
    .filter((name) => name.startsWith("@penfield/"))
    .map((name) => name.slice("@penfield/".length));

const layerOf = (name: string): number => layers.findIndex((layer) => layer.includes(name));

const sources = (folder: string): string[] =>
  readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (["node_modules", "dist"].includes(entry.name)) return [];
    if (entry.isDirectory()) return sources(path);
    return /\.(ts|mts|js|mjs)$/.test(entry.name) && !entry.name.endsWith(".d.ts") ? [path] : [];
  });

/** What a file imports by a quoted name: `from "x"`, `import "x"`, `import("x")`. */
const importsOf = (path: string): string[] =>
  [
    ...readFileSync(join(root, path), "utf8").matchAll(
      /(?:\bfrom\s*|\bimport\s*\(\s*|^\s*import\s*)["']([^"'\n]+)["']/gm,
    ),
  ].map((match) => match[1]!);

test("every workspace has its place, and every place a workspace", () => {
  expect(workspaces.map(({ name }) => name).sort()).toEqual(layers.flat().sort());
});

describe.each(workspaces)("$folder", ({ name, folder, manifest }) => {
  test("is named after its folder", () => {
    expect(manifest.name).toBe(`@penfield/${name}`);
  });

  test("depends downwards only", () => {
    const dependencies = [...ours(manifest.dependencies), ...ours(manifest.devDependencies)];
    const wrong = dependencies.filter(
      (other) =>
        !(layerOf(other) >= 0 && layerOf(other) < layerOf(name)) &&
        !exceptions[name]?.includes(other),
    );
    expect(wrong, `${name} may not use`).toEqual([]);
    if (narrow[name]) {
      expect(dependencies.filter((other) => !narrow[name]!.includes(other))).toEqual([]);
    }
  });

  test("declares every package of ours that it imports, and imports none by its insides", () => {
    const declared = new Map(
      workspaces
        .filter((other) => {
          const all = { ...manifest.dependencies, ...manifest.devDependencies };
          return other.manifest.name in all || other.name === name;
        })
        .map((other) => [other.manifest.name, Object.keys(other.manifest.exports ?? {})]),
    );
    const wrong = sources(folder).flatMap((path) =>
      importsOf(path)
        .filter((specifier) => specifier.startsWith("@penfield/"))
        .filter((specifier) => {
          const [scope, base, ...rest] = specifier.split("/");
          const entries = declared.get(`${scope}/${base}`);
          return !entries?.includes([".", ...rest].join("/"));
        })
        .map((specifier) => `${path}: ${specifier}`),
    );
    expect(wrong).toEqual([]);
  });

  test("reaches no other workspace by a relative path", () => {
    const wrong = sources(folder).flatMap((path) =>
      importsOf(path)
        .filter((specifier) => specifier.startsWith("."))
        .filter((specifier) => relative(folder, join(path, "..", specifier)).startsWith(".."))
        .map((specifier) => `${path}: ${specifier}`),
    );
    expect(wrong).toEqual([]);
  });

  test.skipIf(name === "probes" || name === "test")("has a README.md", () => {
    expect(existsSync(join(root, folder, "README.md"))).toBe(true);
  });
});

test("no package depends on itself, however far round", () => {
  const edges = new Map(
    workspaces.map(({ name, manifest }) => [
      name,
      [...ours(manifest.dependencies), ...ours(manifest.devDependencies)],
    ]),
  );
  const visit = (name: string, path: readonly string[]): void => {
    expect(path, `a cycle: ${[...path, name].join(" -> ")}`).not.toContain(name);
    for (const next of edges.get(name) ?? []) visit(next, [...path, name]);
  };
  for (const name of edges.keys()) visit(name, []);
});

test("the root declares no package of ours: an undeclared import must fail, not be found there", () => {
  const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  expect([...ours(manifest.dependencies), ...ours(manifest.devDependencies)]).toEqual([]);
});

test("imports are found in all the ways they are written", () => {
  const path = "test/architecture.test.ts";
  expect(importsOf(path)).toContain("vitest");
  expect(importsOf(path)).toContain("node:fs");
});
