/**
 * Comparing representations beside rsatoolbox, netrep and numpy, in the same run:
 *
 *   npm run bench -- similarity [--python PATH] [--threads 1,2] [--jobs LIST] [--runs N] [--slow N] [--json FILE]
 *
 * `pip install -r test/bench/requirements-similarity.txt` makes the Python; without one Penfield is
 * measured alone. Inputs are made here from fixed seeds and given to both sides as files; results are compared before
 * anything is timed. Runs of all sides alternate, in another order each time; medians [smallest .. largest], and
 * ratios round by round. `--jobs memory` looks at peak memory, each in a process of its own (Linux).
 */
import { fork, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { createLinalg } from "@penfield/linalg";
import { summary } from "./hooksFigures.ts";
import { prepareJob, type SimilarityJob, similarityJobs } from "./similarityJobs.ts";
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

interface Peers {
  readonly about: Readonly<Record<string, string>>;
  ask(job: Record<string, unknown>): Promise<{ seconds?: number; missing?: boolean }>;
  close(): void;
}

async function startPeers(threads: number): Promise<Peers | undefined> {
  const script = fileURLToPath(new URL("peers_similarity.py", import.meta.url));
  const child = spawn(values.python, [script, folder, String(threads)]);
  let errors = "";
  child.stderr.on("data", (chunk) => {
    errors = `${errors}${chunk}`.slice(-2000);
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const failed = new Promise<undefined>((resolve) => {
    child.on("error", () => resolve(undefined));
    child.on("close", () => resolve(undefined));
  });
  const answer = async (): Promise<string | undefined> =>
    (await Promise.race([lines.next(), failed]))?.value;
  const first = await answer();
  if (first === undefined) {
    console.log(`The peers are left out: ${errors.trim().split("\n").at(-1) || values.python}`);
    return undefined;
  }
  return {
    about: JSON.parse(first),
    async ask(job) {
      child.stdin.write(`${JSON.stringify(job)}\n`);
      const line = await answer();
      if (line === undefined) throw new Error(`the peers stopped: ${errors}`);
      return JSON.parse(line);
    },
    close: () => child.stdin.end(),
  };
}

/** Seconds of every run, by side. */
const everything: Record<string, Record<string, number[]>> = {};

async function measure(job: SimilarityJob, threads: number, peers: Peers | undefined) {
  const linalg = createLinalg({ threads });
  const { run, agree, found } = prepareJob(job, folder);
  const here = async (): Promise<number> => {
    const start = performance.now();
    for (let i = 0; i < job.calls; i++) await run(linalg);
    return (performance.now() - start) / 1000 / job.calls;
  };
  const there = async (peer: SimilarityJob["peers"][number], save: boolean) => {
    const { calls } = job;
    const { draws } = peer;
    const ask = { job: job.name, peer: peer.name, draws, save, calls: peer.slow ? 1 : calls };
    const { seconds, missing } = (await peers?.ask(ask)) ?? { missing: true };
    return missing ? undefined : (seconds! * 1000) / (draws ?? 1000);
  };
  console.log(`\n${job.title}`);
  for (const peer of job.peers) {
    if ((await there(peer, true)) === undefined) continue;
    console.log(`  beside ${peer.name}: ${await agree(linalg, found, peer.name)}`);
  }
  await here();
  const times: Record<string, number[]> = { penfield: [] };
  const ratios: Record<string, number[]> = {};
  for (let round = 0; round < runs; round++) {
    const now: Record<string, number> = {};
    const sides = [undefined, ...job.peers.filter((p) => !p.slow || round < slow)];
    for (let i = 0; i < sides.length; i++) {
      const peer = sides[(i + round) % sides.length];
      const seconds = peer ? await there(peer, false) : await here();
      if (seconds === undefined) continue;
      const name = peer?.name ?? "penfield";
      now[name] = seconds;
      times[name] = [...(times[name] ?? []), seconds];
    }
    for (const [name, seconds] of Object.entries(now)) {
      if (name === "penfield") continue;
      ratios[name] = [...(ratios[name] ?? []), now["penfield"]! / seconds];
    }
  }
  await linalg.dispose();
  everything[`${job.name} ${threads}`] = times;
  const goal =
    "seconds" in job.goal ? `${job.goal.seconds} s` : `${job.goal.times} times ${job.goal.of}`;
  const inMs = Math.min(...times["penfield"]!) < 0.1;
  const shown = (list: readonly number[]) =>
    inMs
      ? `${summary(
          list.map((s) => s * 1000),
          1,
        )} ms`
      : `${summary(list)} s`;
  console.log(`  Penfield    ${shown(times["penfield"]!)}   (goal: at most ${goal})`);
  for (const peer of job.peers) {
    const list = times[peer.name];
    if (!list) continue;
    const scaled = peer.draws ? `, from ${peer.draws} draws` : "";
    console.log(
      `  ${peer.name.padEnd(12)}${shown(list)}${scaled}; Penfield takes ${summary(ratios[peer.name]!, 3)} of its time`,
    );
  }
}

for (const threads of values.threads.split(",").map(Number)) {
  const jobs = similarityJobs.filter((job) => wanted.includes(job.name));
  if (jobs.length === 0) break;
  const peers = await startPeers(threads);
  const versions = Object.entries(peers?.about ?? {}).map(([k, v]) => `${k} ${v}`);
  console.log(
    `\n${cpus()[0]?.model.trim()}, ${threads} thread${threads > 1 ? "s" : ""} each, Node ${process.versions.node}, onnxruntime 1.30.0; ${versions.join(", ")}; load ${loadavg()[0]!.toFixed(1)}`,
  );
  for (const job of jobs) await measure(job, threads, peers);
  peers?.close();
}

if (wanted.includes("memory")) {
  console.log("\npeak memory over inputs (largest seen, MiB), and what two kernels take");
  for (const what of ["rdm", "cka-feature", "cka-gram", "cka-tiled", "cka-rbf"]) {
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
