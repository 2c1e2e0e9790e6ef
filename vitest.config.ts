import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

// Tests run from the TypeScript sources: no build step stands between an edit and its test.
const source = { conditions: ["@penfield/source"] };

/**
 * Property tests try the same cases in every run: what fails once fails again. FAST_CHECK_SEED=random looks for
 * new cases, and a number repeats what such a run has found.
 */
const wanted = process.env["FAST_CHECK_SEED"] ?? "20261122";
const seededProperties = {
  name: "seeded-properties",
  transform(code: string, id: string): string | undefined {
    if (wanted === "random" || !/\.test\.ts$/.test(id) || !/from "fast-check"/.test(code)) return;
    return `${code}\nimport seeded from "fast-check";\nseeded.configureGlobal({ seed: ${Number(wanted)} });\n`;
  },
};

export default defineConfig({
  plugins: [seededProperties],
  resolve: source,
  ssr: { resolve: source },
  test: {
    // onnxruntime-node crashes in worker threads that are ended early; a process of its own per file is safe.
    pool: "forks",
    // One process per core: by itself vitest leaves one core idle, which of two is half of the machine.
    maxWorkers: availableParallelism(),
    testTimeout: 60_000,
    hookTimeout: 60_000,
    projects: [
      {
        extends: true,
        test: {
          name: "unit",
          // Files of one process share what they import: most of the time of a small test is loading.
          isolate: false,
          include: ["{packages,apps}/*/src/**/*.test.ts", "probes/**/*.test.ts"],
          benchmark: { include: ["packages/*/src/**/*.bench.ts"] },
        },
      },
      {
        extends: true,
        test: {
          name: "cross",
          include: ["test/**/*.test.ts"],
          exclude: ["test/real-models/**", "**/node_modules/**"],
          benchmark: { include: [] },
        },
      },
    ],
  },
});
