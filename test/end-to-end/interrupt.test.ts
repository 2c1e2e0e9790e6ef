import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  expectError,
  expectNothingWritten,
  makeSetting,
  penfield,
  type Ran,
  type Setting,
} from "./setting.ts";

const repository = fileURLToPath(new URL("../../", import.meta.url));
const main = join(repository, "apps/cli/src/main.ts");
const node = ["--import", "tsx", "--conditions=@penfield/source", main];

let setting: Setting;
beforeAll(async () => {
  setting = await makeSetting();
});
afterAll(() => setting.remove());

/** The command line in a process of its own. */
function start(args: readonly string[]): { child: ChildProcess; ended: Promise<Ran> } {
  const child = spawn(process.execPath, [...node, ...args], {
    cwd: repository,
    env: process.env,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [out, err] = ["", ""];
  child.stdout!.on("data", (bytes) => {
    out += bytes;
  });
  child.stderr!.on("data", (bytes) => {
    err += bytes;
  });
  const ended = new Promise<Ran>((resolve) => {
    child.once("close", (code) => resolve({ code: code ?? -1, out, err }));
  });
  return { child, ended };
}
const work = (): string => join(setting.root, "cache", "work");
const partsEndingWith = (end: string): string[] =>
  existsSync(work())
    ? readdirSync(work(), { recursive: true, encoding: "utf8" }).filter((name) =>
        name.endsWith(end),
      )
    : [];
const keptParts = (): string[] => partsEndingWith(".json");

describe("an experiment from beginning to end", () => {
  const run = (out: string, more: readonly string[] = []): string[] => [
    ...["run", "language-network", ...setting.words, "--out", out],
    ...more,
  ];
  let whole: string;
  beforeAll(async () => {
    whole = join(setting.root, "reports", "same-name");
    const { code, err } = await penfield(run(whole));
    expect(err).not.toMatch(/Error/);
    expect(code).toBe(0);
  });

  test("leaves a report, and nothing beside it", async () => {
    expect(await readdir(join(whole, ".."))).toEqual(["same-name"]);
    expect(keptParts()).toEqual([]);
    const report = JSON.parse(readFileSync(join(whole, "report.json"), "utf8"));
    expect(report.verdicts.length).toBeGreaterThanOrEqual(4);
    expect(report.model.name).toBe("model");
    // Nothing of the user's machine goes into a report.
    expect(JSON.stringify(report)).not.toContain(setting.root);
  });

  test("Ctrl-C in the middle keeps what is finished; --resume ends with the very same report", async () => {
    const out = join(setting.root, "interrupted", "same-name");
    // More lesions than the report above, so that there is time to interrupt.
    const long = [...["--random", "40"]];
    const { child, ended } = start(run(out, long));
    while (keptParts().length < 4 && child.exitCode === null) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    child.kill("SIGINT");
    const ran = await ended;
    expectError(ran, { code: "ERR_INTERRUPTED", message: /interrupted/, hint: /--resume/ });
    expectNothingWritten(out);
    const kept = keptParts().length;
    expect(kept).toBeGreaterThanOrEqual(4);

    // A part that did not survive is made anew.
    const [first] = keptParts();
    await writeFile(join(work(), first!), '[{"task":"pai');
    const [array] = partsEndingWith(".npy");
    await writeFile(join(work(), array!), "not an array");

    const resumed = await penfield(run(out, [...long, "--resume"]));
    expect(resumed.code, resumed.err).toBe(0);
    expect(keptParts()).toEqual([]);
    const plain = join(setting.root, "uninterrupted", "same-name");
    expect((await penfield(run(plain, long))).code).toBe(0);
    const files = (folder: string) =>
      readdirSync(folder, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
        .sort();
    expect(files(out)).toEqual(files(plain));
    for (const file of files(plain)) {
      const same = readFileSync(join(out, file)).equals(readFileSync(join(plain, file)));
      expect(same, file).toBe(true);
    }
  });

  test("an interruption before anything is done, and one without --resume starts anew", async () => {
    const out = join(setting.root, "aborted", "report");
    const ran = await penfield(run(out), AbortSignal.abort());
    expectError(ran, { code: "ERR_INTERRUPTED", message: /interrupted/ });
    expectNothingWritten(out);
  });

  test("an older report is replaced only if that is said", async () => {
    const before = readFileSync(join(whole, "report.json"));
    expectError(await penfield(run(whole)), { code: "ERR_FILE", message: /same-name: expected/ });
    const { code } = await penfield(run(whole, ["--replace", "--json"]));
    expect(code).toBe(0);
    expect(readFileSync(join(whole, "report.json")).equals(before)).toBe(true);
    expect(await readdir(join(whole, ".."))).toEqual(["same-name"]);
  });
});

describe("a full disk", () => {
  const mount = (folder: string, kilobytes: number, command: string): readonly string[] => [
    "-rm",
    "sh",
    "-c",
    `mount -t tmpfs -o size=${kilobytes}k tmpfs "${folder}" && ${command}`,
  ];
  const possible = spawnSync("unshare", mount("/mnt", 64, "true")).status === 0;

  test.skipIf(!possible)(
    "ends with an error that says so, and without half a report (skipped where no small disk can be mounted)",
    async () => {
      const disk = join(setting.root, "disk");
      await mkdir(disk);
      const words = ["run", "planted-circuit", "--random", "2", "--out", join(disk, "report")];
      const quoted = [process.execPath, ...node, ...words].map((word) => `'${word}'`).join(" ");
      // The disk lives and dies with the process: what is left on it is listed there.
      const command = `{ ${quoted}; code=$?; echo "left: $(ls -A "${disk}")"; exit $code; }`;
      const ran = spawnSync("unshare", mount(disk, 16, command), {
        cwd: repository,
        env: process.env,
        encoding: "utf8",
      });
      expect(ran.stderr).toMatch(/^Error: .*the disk is full$/m);
      expect(ran.stderr).toMatch(/^Hint: Free some room/m);
      expect(ran.stderr).toMatch(/^Code: ERR_FILE$/m);
      expect(ran.stdout).toBe("left: \n");
      expect(ran.status).toBe(1);
    },
  );
});
