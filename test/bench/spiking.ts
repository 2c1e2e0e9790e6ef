/**
 * Spiking networks beside snnTorch and Brian2, in the same run:
 *
 *   npm run bench -- spiking [--python PATH] [--threads 1,2] [--jobs LIST] [--runs N]
 *
 * `pip install -r test/bench/requirements-spiking.txt` makes the Python; without one Penfield is measured alone. Networks and
 * inputs are made here from fixed seeds and given to both sides; spikes are compared before anything is timed. Runs of both
 * sides alternate; medians [smallest .. largest], and ratios round by round, of processor time (which a busy machine
 * changes little) and of time on the wall. Last, what it costs to capture every spike.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { SpikingCapture } from "@penfield/spiking";
import { summary } from "./hooksFigures.ts";
import { type Peers, startPeers } from "./peers.ts";
import { type SpikingJob, spikingJobs } from "./spikingJobs.ts";

const { values } = parseArgs({
  args: process.argv.slice(process.argv[2] === "spiking" ? 3 : 2),
  options: {
    python: { type: "string", default: process.env["PENFIELD_PYTHON"] ?? "python3" },
    threads: { type: "string", default: "1,2" },
    jobs: { type: "string", default: spikingJobs.map((j) => j.name).join() },
    runs: { type: "string", default: "7" },
  },
});
const wanted = values.jobs.split(",");
const runs = Number(values.runs);
const folder = mkdtempSync(join(tmpdir(), "penfield-bench-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

/** Seconds that passed, and that processors worked. */
interface Time {
  readonly wall: number;
  readonly processor: number;
}

async function timed(work: () => Promise<unknown>): Promise<Time> {
  const start = performance.now();
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return { wall: (performance.now() - start) / 1000, processor: (user + system) / 1e6 };
}

const milliseconds = (list: readonly number[]): string =>
  `${summary(
    list.map((s) => 1000 * s),
    0,
  )} ms`;
const show = (name: string, times: readonly Time[]): void =>
  console.log(
    `  ${name.padEnd(26)} processor ${milliseconds(times.map((t) => t.processor))}   wall ${milliseconds(times.map((t) => t.wall))}`,
  );
const ratios = (pairs: readonly (readonly [Time, Time])[], digits = 2): string =>
  (["processor", "wall"] as const)
    .map(
      (of) =>
        `${of} ${summary(
          pairs.map(([a, b]) => a[of] / b[of]),
          digits,
        )}`,
    )
    .join(", ");

type SpikingAnswer =
  | { readonly seconds: number; readonly processor: number }
  | { readonly missing: true };

const peersScript = fileURLToPath(new URL("peers_spiking.py", import.meta.url));

async function measure(
  job: SpikingJob,
  threads: number,
  peers: Peers<SpikingAnswer> | undefined,
): Promise<void> {
  const { hooks, open, input, agree } = { ...job.prepare(folder) };
  const model = open(threads);
  const there = async (record: boolean, save = false): Promise<Time | undefined> => {
    const answer = await peers?.ask({ job: job.name, peer: job.peer, record, save });
    if (!answer || "missing" in answer) return undefined;
    return { wall: answer.seconds, processor: answer.processor };
  };
  const asEvents: SpikingCapture[] = hooks.map((hook) => ({ hook, as: "events" }));
  const captures = { plain: [], events: asEvents, dense: hooks } as const;
  const here = (capture: keyof typeof captures): Promise<Time> =>
    timed(() => model.run({ input, capture: captures[capture] }));

  console.log(`\n${job.title}; load ${loadavg()[0]!.toFixed(1)}`);
  if (await there(true, true)) {
    console.log(`  ${job.peer}: ${await agree.call({ hooks, open, input, agree }, model)}`);
  }
  const kinds = ["plain", "events", "dense"] as const;
  const own: Record<(typeof kinds)[number], Time[]> = { plain: [], events: [], dense: [] };
  const peer: { plain: Time[]; record: Time[] } = { plain: [], record: [] };
  for (const kind of kinds) await here(kind);
  for (let round = 0; round < runs; round++) {
    for (let i = 0; i < kinds.length; i++) {
      const kind = kinds[(i + round) % kinds.length]!;
      own[kind].push(await here(kind));
    }
    const [plain, record] = [await there(false), await there(true)];
    if (plain && record) {
      peer.plain.push(plain);
      peer.record.push(record);
    }
  }
  const beside = (a: readonly Time[], b: readonly Time[]) =>
    a.map((time, i) => [time, b[i]!] as const);
  show("penfield", own.plain);
  if (peer.plain.length > 0) {
    show(job.peer, peer.plain);
    console.log(
      `    Penfield takes, of its time: ${ratios(beside(own.plain, peer.plain))} (goal: at most ${job.goal})`,
    );
  }
  show("penfield, spikes as events", own.events);
  console.log(`    of a plain run: ${ratios(beside(own.events, own.plain))} (goal: at most 1.10)`);
  show("penfield, spikes as arrays", own.dense);
  console.log(`    of a plain run: ${ratios(beside(own.dense, own.plain))}`);
  if (peer.record.length > 0) {
    show(`${job.peer}, spikes kept`, peer.record);
    console.log(`    of its plain run: ${ratios(beside(peer.record, peer.plain))}`);
  }
}

for (const threads of values.threads.split(",").map(Number)) {
  const peers = await startPeers<SpikingAnswer>(values.python, peersScript, folder, threads);
  const versions = Object.entries(peers?.about ?? {}).map(([k, v]) => `${k} ${v}`);
  console.log(
    `\n${cpus()[0]?.model.trim()}, ${threads} thread${threads > 1 ? "s" : ""} each, Node ${process.versions.node}, onnxruntime 1.30.0; ${versions.join(", ")}`,
  );
  for (const job of spikingJobs.filter(({ name }) => wanted.includes(name))) {
    await measure(job, threads, peers);
  }
  peers?.close();
}
process.exit();
