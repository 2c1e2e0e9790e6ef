/**
 * Regression beside himalaya and scikit-learn, in the same run:
 *
 *   npm run bench -- align [--python PATH] [--threads 1,2] [--jobs LIST] [--runs N] [--scale S] [--json FILE]
 *
 * `pip install -r test/bench/requirements-align.txt` makes the Python; without one Penfield is measured alone. Inputs are made
 * here from fixed seeds and given to both sides as files; results are compared before anything is timed again. Runs of all
 * sides alternate, in another order each time; medians [smallest .. largest], and ratios round by round, of processor
 * time and of time on the wall. `--jobs memory` looks at peak memory, each in a process of its own (Linux).
 * `--scale 0.2` tries everything on small inputs.
 */
import { fork } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { readNpy, writeNpy } from "@penfield/core";
import { createLinalg } from "@penfield/linalg";
import { type AlignJob, alignJobs, type Found } from "./alignJobs.ts";
import type { AlignMemory } from "./alignWorker.ts";
import { summary } from "./hooksFigures.ts";
import { type Peers, startPeers } from "./peers.ts";

const { values } = parseArgs({
  args: process.argv.slice(3),
  options: {
    python: { type: "string", default: process.env["PENFIELD_PYTHON"] ?? "python3" },
    threads: { type: "string", default: "1,2" },
    jobs: { type: "string", default: [...alignJobs.map((j) => j.name), "memory"].join() },
    runs: { type: "string", default: "3" },
    scale: { type: "string", default: "1" },
    /** A file for the seconds of every run. */
    json: { type: "string" },
  },
});
const wanted = values.jobs.split(",");
const [runs, scale] = [Number(values.runs), Number(values.scale)];
const folder = mkdtempSync(join(tmpdir(), "penfield-bench-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

/** Seconds that passed, and that processors worked: the second is what a call takes on a machine that does nothing else. */
interface Time {
  readonly wall: number;
  readonly processor: number;
}

interface Answer {
  readonly seconds: number;
  readonly processor: number;
  /** Largest resident memory less that before the call, MiB. */
  readonly over?: number;
}

const script = fileURLToPath(new URL("peers_align.py", import.meta.url));

/** Of every run, by job and threads, then by side. */
const everything: Record<string, Record<string, Time[]>> = {};

async function measure(
  job: AlignJob,
  threads: number,
  peers: Peers<Answer> | undefined,
): Promise<void> {
  const linalg = createLinalg({ threads });
  const own = join(folder, job.name);
  mkdirSync(own, { recursive: true });
  const { run, agree } = job.prepare((name, data, shape) => {
    writeFileSync(join(own, `${name}.npy`), writeNpy(data, shape));
  }, scale);
  const found: Found = (name) =>
    readNpy(readFileSync(join(own, `of-${name}.npy`))).data as Float64Array;
  let result: unknown;
  const here = async (): Promise<Time> => {
    const start = performance.now();
    const before = process.cpuUsage();
    result = await run(linalg);
    const { user, system } = process.cpuUsage(before);
    return { wall: (performance.now() - start) / 1000, processor: (user + system) / 1e6 };
  };
  const there = async (peer: string): Promise<Time> => {
    const { seconds, processor } = await peers!.ask({ job: job.name, peer });
    return { wall: seconds, processor };
  };
  console.log(`\n${job.title}`);
  const names = ["penfield", ...(peers ? job.peers : [])];
  const times: Record<string, Time[]> = Object.fromEntries(names.map((name) => [name, []]));
  for (let round = 0; round < runs; round++) {
    for (let i = 0; i < names.length; i++) {
      const name = names[(i + round) % names.length]!;
      times[name]!.push(name === "penfield" ? await here() : await there(name));
      // What peers leave is the same in every round; the first comparison says whether the rest is worth the time.
      if (round === 0 && name !== "penfield" && name !== "sklearn-loo") {
        console.log(`  beside ${name}: ${agree(result, found)}`);
      }
    }
  }
  await linalg.dispose();
  everything[`${job.name} ${threads}`] = times;
  console.log(
    `  goal: at most ${job.goal} of the time of each peer; load ${loadavg()[0]!.toFixed(1)}`,
  );
  for (const [name, list] of Object.entries(times)) {
    const of = (pick: (t: Time) => number) => summary(list.map(pick));
    console.log(
      `  ${name.padEnd(14)} processor ${of((t) => t.processor)} s   wall ${of((t) => t.wall)} s`,
    );
    if (name === "penfield") continue;
    const by = (pick: (t: Time) => number) =>
      summary(
        list.map((t, i) => pick(times["penfield"]![i]!) / pick(t)),
        3,
      );
    console.log(
      `    Penfield takes, of its time: processor ${by((t) => t.processor)}, wall ${by((t) => t.wall)}`,
    );
  }
}

for (const threads of values.threads.split(",").map(Number)) {
  const jobs = alignJobs.filter((job) => wanted.includes(job.name));
  if (jobs.length === 0) break;
  const peers = await startPeers<Answer>(values.python, script, folder, threads);
  const versions = Object.entries(peers?.about ?? {}).map(([k, v]) => `${k} ${v}`);
  console.log(
    `\n${cpus()[0]?.model.trim()}, ${threads} thread${threads > 1 ? "s" : ""} each, Node ${process.versions.node}, onnxruntime 1.30.0; ${versions.join(", ")}; load ${loadavg()[0]!.toFixed(1)}`,
  );
  for (const job of jobs) await measure(job, threads, peers);
  peers?.close();
}

if (wanted.includes("memory")) {
  console.log("\npeak memory over inputs, MiB (coefficients are part of it)");
  for (const what of ["ridge", "banded", "stream-20000", "stream-100000"]) {
    const report = await new Promise<AlignMemory>((resolve, reject) => {
      const child = fork(fileURLToPath(new URL("alignWorker.ts", import.meta.url)), [what, "1"], {
        execArgv: [...process.execArgv, "--expose-gc"],
      });
      child.on("message", (message) => resolve(message as AlignMemory));
      child.on("exit", (code) => reject(new Error(`${what} ended with ${code}`)));
    });
    const { inputs, over, results } = report;
    console.log(
      `  penfield ${what.padEnd(14)}${over.toFixed(0).padStart(6)}   inputs ${inputs.toFixed(0)}, coefficients ${results.toFixed(0)}`,
    );
    const job = alignJobs.find(({ name }) => name === what);
    for (const peer of job?.peers ?? []) {
      // A new process for each: what it has once taken it keeps.
      const peers = await startPeers<Answer>(values.python, script, folder, 1);
      if (!peers) break;
      mkdirSync(join(folder, what), { recursive: true });
      job!.prepare((name, data, shape) => {
        writeFileSync(join(folder, what, `${name}.npy`), writeNpy(data, shape));
      }, scale);
      const { over: theirs } = await peers.ask({ job: what, peer, memory: true });
      console.log(`  ${peer} ${what}: ${theirs!.toFixed(0)}`);
      peers.close();
    }
  }
}
if (values.json) writeFileSync(values.json, JSON.stringify(everything));
process.exit();
