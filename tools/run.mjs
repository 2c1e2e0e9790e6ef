// What the npm scripts run: installs if needed, then does the job. Plain Node, so that it works
// before anything is installed.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const PNPM = "pnpm@10.34.9";
const [task, ...args] = process.argv.slice(2);

const [major, minor] = process.versions.node.split(".").map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  console.error(`Error: expected Node 20.19 or later, got ${process.versions.node}`);
  process.exit(1);
}

/** Runs a program with our streams; resolves to its exit code. Ctrl-C reaches it by itself. */
function run(command, words, { env = {}, quiet = false, cwd = root } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, words, {
      cwd,
      // The package manager's messages must not mix with a command's own output.
      stdio: ["inherit", quiet ? 2 : "inherit", "inherit"],
      env: { ...process.env, ...env },
      shell: process.platform === "win32" && (command === "npx" || command === "npm"),
    });
    const ignore = () => {};
    process.on("SIGINT", ignore);
    child.on("error", reject);
    child.on("close", (code, signal) => {
      process.off("SIGINT", ignore);
      resolve(code ?? (signal === "SIGINT" ? 130 : 1));
    });
  });
}

/** Installs when the lockfile has changed since the last time it was done. */
async function install() {
  const lock = createHash("sha256")
    .update(readFileSync(join(root, "pnpm-lock.yaml")))
    .digest("hex");
  const stamp = join(root, "node_modules", ".penfield-installed");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === lock) return;
  console.error("Installing (once) ...");
  const code = await run(
    "npx",
    ["--yes", PNPM, "install", "--frozen-lockfile", "--reporter=append-only"],
    {
      quiet: true,
      // onnxruntime-node would fetch GPU libraries from outside the registry.
      env: { ONNXRUNTIME_NODE_INSTALL: "skip", npm_config_update_notifier: "false" },
    },
  );
  if (code !== 0) {
    console.error("Error: the installation failed; the messages above say why.");
    process.exit(1);
  }
  writeFileSync(stamp, lock);
}

const node = (file, words, options = {}) =>
  run(
    process.execPath,
    ["--import", "tsx", "--conditions=@penfield/source", join(root, file), ...words],
    {
      ...options,
      cwd: root,
    },
  );
const bin = (name) => join(root, "node_modules", ".bin", name);

/** Types, style, then every test; the last line counts them. */
async function test(words) {
  for (const [name, command] of [
    ["types", ["tsc", "-b"]],
    ["style", ["biome", "check", "."]],
  ]) {
    const [program, ...rest] = command;
    if ((await run(bin(program), rest)) !== 0) {
      console.error(`Error: the check of ${name} failed; npm run format mends style.`);
      console.log("0 passed, 1 failed");
      return 1;
    }
  }
  return vitest(["run", ...words]);
}

async function vitest(words) {
  const folder = join(root, "node_modules", ".cache", "vitest-results");
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `${process.pid}.json`);
  const code = await run(bin("vitest"), [
    ...words,
    "--reporter=default",
    "--reporter=json",
    `--outputFile=${file}`,
  ]);
  let counts = { numPassedTests: 0, numFailedTests: 0, numPendingTests: 0 };
  try {
    counts = JSON.parse(readFileSync(file, "utf8"));
  } catch {
    console.error("Error: the tests left no result.");
  }
  rmSync(file, { force: true });
  const { numPassedTests: passed, numFailedTests: failed, numPendingTests: skipped } = counts;
  // A file that could not be loaded has no test that failed.
  const broken = code !== 0 && failed === 0 ? 1 : failed;
  console.log(`${passed} passed, ${broken} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
  return code;
}

const tasks = {
  start: (words) => node("apps/cli/src/main.ts", ["start", ...words]),
  penfield: (words) => node("apps/cli/src/main.ts", words),
  test,
  "test:real": (words) =>
    vitest(["run", "--config", "test/real-models/vitest.config.ts", ...words]),
  example: ([name, ...words]) => node(`examples/${name}.ts`, words),
  bench: (words) => node("test/bench/run.ts", words),
  golden: (words) => node("test/golden/run.ts", words),
  check: async (words) => (await test(words)) || run(bin("knip"), []),
};

if (!Object.hasOwn(tasks, task)) {
  console.error(`Error: expected one of ${Object.keys(tasks).join(", ")}, got ${task}`);
  process.exit(2);
}
await install();
process.exitCode = await tasks[task](args);
