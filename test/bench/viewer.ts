/**
 * The viewer of units against its budgets, on a synthetic census:
 *
 *   npm run bench -- viewer [--units N] [--requests N] [--keep FOLDER]
 *
 * The census (about 1.4 GB with 100 000 units) is written to a temporary folder, or to FOLDER, where it is found again. `penfield view`
 * runs in a process of its own; requests go one after the other, as one reader's do, over one connection.
 */
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { Agent, get } from "node:http";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { createRng } from "@penfield/core";
import { quantile } from "@penfield/stats";
import { wordOf, writeSyntheticCensus } from "./viewerCensus.ts";

const { values } = parseArgs({
  args: process.argv.slice(process.argv[2] === "viewer" ? 3 : 2),
  options: {
    units: { type: "string", default: "100000" },
    requests: { type: "string", default: "200" },
    keep: { type: "string" },
  },
});
const nUnits = Number(values.units);
const nRequests = Number(values.requests);
const root = values.keep ?? mkdtempSync(join(tmpdir(), "penfield-bench-"));
if (values.keep === undefined) {
  process.on("exit", () => rmSync(root, { recursive: true, force: true }));
}
const census = join(root, "synthetic");
if (!existsSync(join(census, "meta.json"))) {
  process.stderr.write(`writing a census of ${nUnits} units to ${census}\n`);
  writeSyntheticCensus(census, nUnits);
}

const main = fileURLToPath(import.meta.resolve("@penfield/cli/package.json")).replace(
  "package.json",
  "src/main.ts",
);
const begun = performance.now();
const child = spawn(
  process.execPath,
  ["--import", "tsx", "--conditions=@penfield/source", main, "view", root, "--port", "0", "--json"],
  { stdio: ["ignore", "pipe", "inherit"] },
);
process.on("exit", () => child.kill());
const [line] = (await createInterface({ input: child.stdout })[Symbol.asyncIterator]().next()).value
  .split("\n")
  .slice(-1);
const { url } = JSON.parse(line) as { url: string };
const started = (performance.now() - begun) / 1000;

const agent = new Agent({ keepAlive: true, maxSockets: 1 });
interface Answer {
  readonly milliseconds: number;
  readonly bytes: number;
}
function ask(path: string): Promise<Answer> {
  const start = performance.now();
  return new Promise((resolve, reject) => {
    get(new URL(path, url), { agent }, (response) => {
      let bytes = 0;
      response.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
      });
      response.on("end", () => {
        if (response.statusCode !== 200) reject(new Error(`${response.statusCode} ${path}`));
        else resolve({ milliseconds: performance.now() - start, bytes });
      });
    }).on("error", reject);
  });
}

/** Memory of the viewer's process in MB: now, and at its highest. */
function memory(): { now: number; peak: number } {
  const text = existsSync(`/proc/${child.pid}/status`)
    ? readFileSync(`/proc/${child.pid}/status`, "utf8")
    : "";
  const of = (name: string): number =>
    Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(text)?.[1] ?? Number.NaN) / 1024;
  return { now: of("VmRSS"), peak: of("VmHWM") };
}

const base = "/censuses/synthetic";
const rng = createRng(3);
const unitPath = (): string => {
  const unit = rng.below(nUnits);
  return `${base}/units/${Math.floor(unit / 4000)}/${unit % 4000}`;
};
const word = (): string =>
  encodeURIComponent(wordOf(Math.floor(rng.uniform() ** 2 * 32_000)).trim());
const sorts = ["unit", "-r", "r", "-frequency", "kurtosis", "-skewness", "-max"];
const afterUnit = (): string => {
  const unit = rng.below(nUnits);
  return `${Math.floor(unit / 4000)}.${unit % 4000}`;
};
const jobs: Readonly<Record<string, () => string>> = {
  "model card": () => base,
  "page of a unit": unitPath,
  "unit as .json": () => `${unitPath()}.json`,
  "table, a page": () => {
    const sort = sorts[rng.below(sorts.length)];
    return `${base}/units?${sort === "unit" ? "" : `sort=${sort}&`}after=${afterUnit()}`;
  },
  "table, filtered": () =>
    `${base}/units?layer=${rng.below(Math.ceil(nUnits / 4000))}&type=positional&described=described&sort=-r`,
  "search, a word": () => `${base}/search?q=${word()}`,
  "search in the table": () => `${base}/units?q=${word()}&sort=-r`,
  "search, a pattern": () =>
    `${base}/units?q=${encodeURIComponent(`'${decodeURIComponent(word())}.*but not`)}&how=regex&in=descriptions`,
  "compare four": () => `${base}/compare?n=${[0, 1, 2, 3].map(afterUnit).join(",")}`,
};

const before = memory();
const first = await ask(base);
console.log(
  `${cpus()[0]?.model}, ${cpus().length} processors, load ${loadavg()[0]!.toFixed(1)}, Node ${process.version}; ${nUnits} units`,
);
console.log(
  `start: ${started.toFixed(2)} s until it listens (TypeScript run from source), ${(first.milliseconds / 1000).toFixed(2)} s until the census's first page`,
);
const firstSearch = await ask(`${base}/search?q=${word()}`);
console.log(`first search: ${firstSearch.milliseconds.toFixed(0)} ms`);
console.log(
  "\n| request | median ms | p95 ms | largest ms | largest kB |\n| --- | ---: | ---: | ---: | ---: |",
);
async function measure(name: string, path: () => string, n = nRequests): Promise<void> {
  const answers: Answer[] = [];
  for (let i = 0; i < n; i++) answers.push(await ask(path()));
  const times = answers.map(({ milliseconds }) => milliseconds);
  const kB = Math.max(...answers.map(({ bytes }) => bytes)) / 1000;
  console.log(
    `| ${name} | ${quantile(times, 0.5).toFixed(1)} | ${quantile(times, 0.95).toFixed(1)} | ${Math.max(...times).toFixed(0)} | ${kB.toFixed(0)} |`,
  );
}
for (const [name, path] of Object.entries(jobs)) await measure(name, path);

// A pattern that would never end keeps a thread busy, again and again; pages are asked for meanwhile.
let isOver = false;
const hostile = (async () => {
  while (!isOver) {
    const q = encodeURIComponent(`(\\w+ ?)+!${rng.below(1e6)}$`);
    const response = await fetch(new URL(`${base}/units?q=${q}&how=regex&in=descriptions`, url));
    if (response.status !== 400) throw new Error(`a hostile pattern got ${response.status}`);
    await response.arrayBuffer();
  }
})();
await measure("page of a unit, beside a hostile pattern", unitPath, 50);
isOver = true;
await hostile;

const { now, peak } = memory();
console.log(
  `\nmemory of the viewer's process: ${before.now.toFixed(0)} MB when it listens, ${now.toFixed(0)} MB at the end, ${peak.toFixed(0)} MB at its highest`,
);
agent.destroy();
child.kill("SIGINT");
