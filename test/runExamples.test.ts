import { execFile } from "node:child_process";
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));
const files = readdirSync(`${root}/examples`).filter((name) => name.endsWith(".ts"));

test.each(files)("examples/%s runs", async (name) => {
  const { stdout, stderr } = await promisify(execFile)(
    process.execPath,
    ["--import", "tsx", "--conditions=@penfield/source", `examples/${name}`],
    { cwd: root },
  );
  expect(stderr).toBe("");
  expect(stdout.trim().split("\n").length).toBeGreaterThan(1);
  expect(stdout).not.toMatch(/NaN|undefined/);
});
