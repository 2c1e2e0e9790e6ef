import { defineConfig } from "vitest/config";

// `npm run test:real`: published models, minutes rather than seconds, never part of `npm test`.
const source = { conditions: ["@penfield/source"] };

export default defineConfig({
  resolve: source,
  ssr: { resolve: source },
  test: {
    pool: "forks",
    include: ["test/real-models/**/*.test.ts"],
    testTimeout: 30 * 60_000,
    hookTimeout: 10 * 60_000,
  },
});
