import { defineConfig } from "vitest/config";

// Tests run from the TypeScript sources: no build step stands between an edit and its test.
const source = { conditions: ["@penfield/source"] };

export default defineConfig({
  resolve: source,
  ssr: { resolve: source },
  test: {
    // onnxruntime-node crashes in worker threads that are ended early; a process of its own per file is safe.
    pool: "forks",
    testTimeout: 60_000,
    hookTimeout: 60_000,
    projects: [
      {
        extends: true,
        test: {
          name: "unit",
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
