/**
 * Comparing representations beside rsatoolbox, netrep and numpy, in the same run:
 *
 *   npm run bench -- similarity [--python PATH] [--threads 1,2] [--jobs LIST] [--runs N] [--slow N] [--json FILE]
 *
 * `pip install -r test/bench/requirements-similarity.txt` makes the Python; without one Penfield is
 * measured alone. Inputs are made here from fixed seeds and given to both sides as files; results are compared before
 * anything is timed. Runs of all sides alternate, in another order each time; medians [smallest .. largest], and
 * ratios round by round, of processor time (which a busy machine changes little) and of time on the wall. `--jobs memory` looks at peak memory, each in a process of its own (Linux).
 */
import { fork } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { createLinalg } from "@penfield/linalg";
import { summary } from "./hooksFigures.ts";
import { type Peers, startPeers } from "./peers.ts";
import {
  prepareJob,
  type SimilarityJob,
  type SimilarityPeer,
  similarityJobs,
} from "./similarityJobs.ts";
import type { MemoryReport } from "./similarityWorker.ts";

const { values } = parseArgs({
  args: process.argv.slice(3),
  options: {
    python: { type: "string", default: process.env["PENFIELD_PYTHON"] ?? "python3" },
    threads: { type: "string", default: "1,2" },
    jobs: { type: "string", default: [...similarityJobs.map((j) => j.name), "memory"].join() },
    runs: { type: "string", default: "9" },
    /** Rounds in which peers that take seconds run as well. */
    slow: { type: "string", default: "3" },
    /** A file for the seconds of every run. */
    json: { type: "string" },
  },
});
const wanted = values.jobs.split(",");
const [runs, slow] = [Number(values.runs), Number(values.slow)];
const folder = mkdtempSync(join(tmpdir(), "penfield-bench-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

/** Seconds that passed, and that processors worked: the second is what a call takes on a machine that does nothing else. */
interface Time {
  readonly wall: number;
  readonly processor: number;
}

/** Of every run, by side. */
const everything: Record<string, Record<string, Time[]>> = {};

interface SimilarityAnswer {
  readonly seconds?: number;
  readonly processor?: number;
  readonly missing?: boolean;
}

const peersScript = fileURLToPath(new URL("peers_similarity.py", import.meta.url));

async function measure(
  job: SimilarityJob,
  threads: number,
  peers: Peers<SimilarityAnswer> | undefined,
) {
  const linalg = createLinalg({ threads });
  const { run, agree, found } = prepareJob(job, folder);
  const here = async (): Promise<Time> => {
    const start = performance.now();
    const before = process.cpuUsage();
    for (let i = 0; i < job.calls; i++) await run(linalg);
    const { user, system } = process.cpuUsage(before);
    const wall = (performance.now() - start) / 1000 / job.calls;
    return { wall, processor: (user + system) / 1e6 / job.calls };
  };
  const there = async (peer: SimilarityPeer, save: boolean): Promise<Time | undefined> => {
    const calls = peer.slow ? 1 : job.calls;
    const { draws } = peer;
    const answer = await peers?.ask({ job: job.name, peer: peer.name, draws, save, calls });
    if (!answer || answer.missing) return undefined;
    const scale = 1000 / (draws ?? 1000);
    return { wall: answer.seconds! * scale, processor: answer.processor! * scale };
  };
  console.log(`\n${job.title}`);
  const first: Record<string, Time> = {};
  for (const peer of job.peers) {
    const time = await there(peer, true);
    if (time === undefined) continue;
    // Where a call takes seconds, the first is as good as any.
    if (peer.slow) first[peer.name] = time;
    console.log(`  beside ${peer.name}: ${await agree(linalg, found, peer.name)}`);
  }
  await here();
  const times: Record<string, Time[]> = {};
  const pairs: Record<string, [Time, Time][]> = {};
  for (let round = 0; round < runs; round++) {
    const now: Record<string, Time> = round === 0 ? { ...first } : {};
    const sides = [
      undefined,
      ...job.peers.filter((p) => !p.slow || (round < slow && (round > 0 || !first[p.name]))),
    ];
    for (let i = 0; i < sides.length; i++) {
      const peer = sides[(i + round) % sides.length];
      const time = peer ? await there(peer, false) : await here();
      if (time) now[peer?.name ?? "penfield"] = time;
    }
    for (const [name, time] of Object.entries(now)) {
      times[name] = [...(times[name] ?? []), time];
      pairs[name] = [...(pairs[name] ?? []), [now["penfield"]!, time]];
    }
  }
  await linalg.dispose();
  everything[`${job.name} ${threads}`] = times;
  const inMs = Math.min(...times["penfield"]!.map((t) => t.processor)) < 0.1;
  const shown = (list: readonly number[]) =>
    inMs
      ? `${summary(
          list.map((s) => s * 1000),
          1,
        )} ms`
      : `${summary(list)} s`;
  const goal =
    "seconds" in job.goal ? `${job.goal.seconds} s` : `${job.goal.times} times ${job.goal.of}`;
  console.log(`  goal: at most ${goal}; load ${loadavg()[0]!.toFixed(1)}`);
  for (const name of ["penfield", ...job.peers.map((p) => p.name)]) {
    const list = times[name];
    if (!list) continue;
    const [wall, processor] = [list.map((t) => t.wall), list.map((t) => t.processor)];
    console.log(`  ${name.padEnd(11)} processor ${shown(processor)}   wall ${shown(wall)}`);
    if (name === "penfield") continue;
    const draws = job.peers.find((p) => p.name === name)?.draws;
    const by = (of: (t: Time) => number) =>
      summary(
        pairs[name]!.map(([a, b]) => of(a) / of(b)),
        3,
      );
    console.log(
      `    Penfield takes, of its time: processor ${by((t) => t.processor)}, wall ${by((t) => t.wall)}${draws ? ` (from ${draws} draws)` : ""}`,
    );
  }
}

for (const threads of values.threads.split(",").map(Number)) {
  const jobs = similarityJobs.filter((job) => wanted.includes(job.name));
  if (jobs.length === 0) break;
  const peers = await startPeers<SimilarityAnswer>(values.python, peersScript, folder, threads);
  const versions = Object.entries(peers?.about ?? {}).map(([k, v]) => `${k} ${v}`);
  console.log(
    `\n${cpus()[0]?.model.trim()}, ${threads} thread${threads > 1 ? "s" : ""} each, Node ${process.versions.node}, onnxruntime 1.30.0; ${versions.join(", ")}; load ${loadavg()[0]!.toFixed(1)}`,
  );
  for (const job of jobs) await measure(job, threads, peers);
  peers?.close();
}

if (wanted.includes("memory")) {
  console.log("\npeak memory over inputs (largest seen, MiB), and what two kernels take");
  for (const what of ["rdm", "cka-feature", "cka-gram", "cka-rbf", "cka-tiled"]) {
    const script = fileURLToPath(new URL("similarityWorker.ts", import.meta.url));
    const report = await new Promise<MemoryReport>((resolve, reject) => {
      const child = fork(script, [what], { execArgv: [...process.execArgv, "--expose-gc"] });
      child.on("message", (message) => resolve(message as MemoryReport));
      child.on("exit", (code) => reject(new Error(`${what} ended with ${code}`)));
    });
    const { inputs, over, kernels } = report;
    console.log(
      `  ${report.title.padEnd(44)}${over.toFixed(0).padStart(5)}   two kernels ${kernels.toFixed(0).padStart(4)}, inputs ${inputs.toFixed(0)}`,
    );
  }
}
if (values.json) writeFileSync(values.json, JSON.stringify(everything));
process.exit();
