import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const packages = readdirSync(fileURLToPath(new URL("../packages/", import.meta.url)), {
  withFileTypes: true,
})
  .filter((entry) => entry.isDirectory())
  .map((entry) => entry.name)
  .sort();

/**
 * What each package exports, by name. A change shows up in the review of the snapshot; accept it
 * with `npx vitest run test/api.test.ts -u`.
 */
describe("exported names", () => {
  test.each(packages)("@penfield/%s", async (name) => {
    const exported = await import(`@penfield/${name}`);
    expect(Object.keys(exported).sort()).toMatchSnapshot();
  });
});
