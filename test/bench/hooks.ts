/**
 * Hooks beside TransformerLens, nnsight and PyTorch's forward hooks, in the same run:
 *
 *   npm run bench -- hooks [--python PATH ...] [--model FOLDER] [--threads 1,2] [--figures LIST] [--runs N]
 *
 * Each Python (`--python`, more than once: say, one with each TransformerLens) starts a process for
 * each library; `pip install -r test/bench/requirements-hooks.txt` makes one. Runs of all sides
 * alternate, in another order each time; ratios are taken round by round and reported as median
 * [min .. max]. Before anything is timed, the values of all sides are compared.
 *
 * Figures: `capture`, `patch`, `ablate` (beside the peers), `open`, `memory`, `store` (Penfield alone).
 */
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { ablationMap } from "@penfield/ablate";
import { createRng } from "@penfield/core";
import { getActPatchResidPre, HookedModel, logitDiff, type OpenOptions } from "@penfield/hooks";
import { isOrganism, organismFolder } from "@penfield/organisms";
import { quantile } from "@penfield/stats";
import {
  CAPTURED,
  type Peer,
  type Resident,
  resident,
  runWorker,
  startPeer,
  summary,
  type Time,
} from "./hooksFigures.ts";

const { values } = parseArgs({
  args: process.argv.slice(3),
  options: {
    model: { type: "string", default: "organism-a" },
    python: { type: "string", multiple: true, default: [] },
    peers: { type: "string", default: "torch,nnsight,tl" },
    threads: { type: "string", default: String(cpus().length) },
    figures: { type: "string", default: "capture,patch,ablate,open,memory,store" },
    variants: { type: "string", default: "default,prepack,all,all+prepack" },
    runs: { type: "string", default: "9" },
    /** Runs of the sweeps, which take minutes. */
    sweeps: { type: "string", default: "3" },
    /** Captured: rows of so many tokens, joined by `x`. */
    batches: { type: "string", default: "16x64" },
    /** Tokens of a prompt that is patched or ablated. */
    prompt: { type: "string", default: "16" },
    tokens: { type: "string", default: "1000000" },
    stored: { type: "string", default: "blocks.*.hook_resid_post" },
    /** A file for the seconds of every run. */
    json: { type: "string" },
  },
});
const folder = isOrganism(values.model) ? organismFolder(values.model) : values.model;
const figures = values.figures.split(",");
const [runs, sweeps, promptLength] = [values.runs, values.sweeps, values.prompt].map(Number) as [
  number,
  number,
  number,
];
const WAYS: Record<string, OpenOptions> = {
  default: {},
  prepack: { prepack: true },
  all: { optimization: "all" },
  "all+prepack": { optimization: "all", prepack: true },
};
const ways = values.variants.split(",");
const rng = createRng(1);
const scratch = await mkdtemp(join(tmpdir(), "penfield-bench-"));

const recorded: object[] = [];

/** One side of a comparison: does the work and says how many seconds it took. */
interface Side {
  readonly name: string;
  readonly ours: boolean;
  capture(ids: number[][]): Promise<Time>;
  patch(prompts: Prompts): Promise<Time>;
  ablate(prompts: Prompts): Promise<Time>;
  /** Does it once, untimed, and returns the values. */
  values(work: (side: Side) => Promise<Time>): Promise<Float32Array>;
}

interface Prompts {
  readonly clean: number[][];
  readonly corrupted: number[][];
  readonly right: number;
  readonly wrong: number;
  readonly layer: number;
}

function ourSide(name: string, model: HookedModel): Side {
  let last = (): number[] | Float32Array => [];
  const timed = async <T>(work: () => Promise<T>, read: (result: T) => number[] | Float32Array) => {
    const [start, before] = [performance.now(), process.cpuUsage()];
    const result = await work();
    const seconds = (performance.now() - start) / 1000;
    const { user, system } = process.cpuUsage(before);
    last = () => read(result);
    return { seconds, cpu: (user + system) / 1e6 };
  };
  const metric = ({ right, wrong }: Prompts) =>
    logitDiff({ tokens: right, incorrectTokens: wrong });
  const side: Side = {
    name: `Penfield, ${name}`,
    ours: true,
    capture: (ids) =>
      timed(
        () => model.runWithCache(ids, { namesFilter: CAPTURED }),
        ({ logits, cache }) => {
          const parts = ["hook_resid_post", "mlp.hook_post"].flatMap((kind) =>
            Array.from(
              { length: model.cfg.nLayers },
              (_, layer) => cache.get(`blocks.${layer}.${kind}`)!.data,
            ),
          );
          return concatenate([...parts, logits.data]);
        },
      ),
    patch: (prompts) =>
      timed(
        () => getActPatchResidPre(model, { ...prompts, metric: metric(prompts) }),
        (result) => Float32Array.from(result.values),
      ),
    ablate: (prompts) =>
      timed(
        () =>
          ablationMap(model, prompts.clean, {
            hook: `blocks.${prompts.layer}.mlp.hook_post`,
            metric: metric(prompts),
            positions: "last",
          }),
        ({ effects, baseline }) => Float32Array.from(effects, (effect) => effect + baseline[0]!),
      ),
    async values(work) {
      await work(side);
      return Float32Array.from(last());
    },
  };
  return side;
}

function peerSide(name: string, peer: Peer, batch?: number): Side {
  const dump = join(scratch, name.replaceAll(/\W+/g, "-"));
  let extra: Record<string, unknown> = batch === undefined ? {} : { batch };
  const run = (job: Record<string, unknown>): Promise<Time> => peer.ask({ ...job, ...extra });
  const side: Side = {
    name,
    ours: false,
    capture: (ids) => run({ do: "capture", ids }),
    patch: ({ clean, corrupted, right, wrong }) =>
      run({ do: "patch", clean, corrupted, tokens: [right, wrong] }),
    ablate: ({ clean, right, wrong, layer }) =>
      run({ do: "ablate", ids: clean, layer, tokens: [right, wrong] }),
    async values(work) {
      const { ...plain } = extra;
      extra = { ...plain, dump };
      await work(side);
      extra = plain;
      const bytes = await readFile(dump);
      return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
    },
  };
  return side;
}

function concatenate(parts: readonly Float32Array[]): Float32Array {
  const out = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** Largest difference, over the largest value. */
function difference(a: Float32Array, b: Float32Array): string {
  if (a.length !== b.length) return `${a.length} values against ${b.length}`;
  let [most, largest] = [0, 0];
  for (let i = 0; i < a.length; i++) {
    most = Math.max(most, Math.abs(a[i]! - b[i]!));
    largest = Math.max(largest, Math.abs(b[i]!));
  }
  return `${most.toExponential(1)} (largest value ${largest.toPrecision(3)})`;
}

/** All sides do the same in turn; each round starts with another. `[side][round]`. */
async function rounds(
  sides: readonly Side[],
  n: number,
  work: (side: Side) => Promise<Time>,
): Promise<Time[][]> {
  const times = sides.map((): Time[] => []);
  for (let round = 0; round < n; round++) {
    for (let i = 0; i < sides.length; i++) {
      const at = (i + round) % sides.length;
      // The threads of the side before go to sleep first.
      await sleep(30);
      times[at]!.push(await work(sides[at]!));
    }
  }
  return times;
}

function table(
  title: string,
  sides: readonly Side[],
  times: readonly (readonly Time[])[],
  rate: { per: number; unit: string } | undefined,
): void {
  recorded.push({ title, times: Object.fromEntries(sides.map((s, i) => [s.name, times[i]])) });
  console.log(`\n${title}; load ${loadavg()[0]!.toFixed(1)}`);
  const reference = times[sides.findIndex((side) => side.ours)]!;
  for (const [i, { name }] of sides.entries()) {
    const own = times[i]!;
    const seconds = own.map((t) => t.seconds);
    const speed = rate
      ? `${summary(
          seconds.map((s) => rate.per / s),
          0,
        )} ${rate.unit}`
      : `${summary(seconds, seconds[0]! < 0.1 ? 4 : 2)} s`;
    const ratio = (of: keyof Time) => summary(own.map((t, round) => t[of] / reference[round]![of]));
    console.log(
      `  ${name.padEnd(44)}${speed.padEnd(36)} time ${ratio("seconds").padEnd(24)} processor time ${ratio("cpu")}`,
    );
  }
  console.log("  time and processor time: times that of the first row");
}

/** Also the warm-up of every side. All are set against plain PyTorch, where it is there. */
async function compare(
  what: string,
  sides: readonly Side[],
  work: (side: Side) => Promise<Time>,
  nLogits?: number,
): Promise<void> {
  const base = Math.max(
    0,
    sides.findIndex((side) => !side.ours),
  );
  const expected = await sides[base]!.values(work);
  console.log(`\n${what}: largest differences from ${sides[base]!.name}`);
  for (const [i, side] of sides.entries()) {
    if (i === base) continue;
    const got = await side.values(work);
    const last = (x: Float32Array) => x.subarray(x.length - (nLogits ?? 0));
    const logits = nLogits ? `; logits ${difference(last(got), last(expected))}` : "";
    console.log(`  ${side.name.padEnd(44)}${difference(got, expected)}${logits}`);
  }
}

const ids = (rows: number, length: number, dVocab: number): number[][] =>
  Array.from({ length: rows }, () => Array.from({ length }, () => 1 + rng.below(dVocab - 1)));

/** Every library of the first Python; further ones are there for other versions of TransformerLens. */
const peersWanted = (): [python: string, kind: string][] =>
  values.python.flatMap((python, p) =>
    values.peers
      .split(",")
      .filter((kind) => p === 0 || kind === "tl")
      .map((kind): [string, string] => [python, kind]),
  );

function nameOf(kind: string, { about }: Peer): string {
  if (kind === "torch") return `PyTorch ${about["torch"]} hooks`;
  if (kind === "nnsight") return `nnsight ${about["nnsight"]}`;
  return `TransformerLens ${about["transformer_lens"]} (${about["class"]})`;
}

const lastBatch = (): [rows: number, length: number] =>
  values.batches.split(",").at(-1)!.split("x").map(Number) as [number, number];

async function besidePeers(threads: number): Promise<void> {
  const models: HookedModel[] = [];
  const peers: Peer[] = [];
  const capturing: Side[] = [];
  const sweeping: Side[] = [];
  for (const way of ways) {
    const options = { threads, verify: "none", ...WAYS[way] } as const;
    const model = await HookedModel.fromPretrained(folder, options);
    models.push(model);
    capturing.push(ourSide(way, model));
    sweeping.push(ourSide(way, model));
  }
  for (const [python, kind] of peersWanted()) {
    const peer = await startPeer(python, kind, folder, threads);
    if (typeof peer === "string") {
      console.log(`${kind} of ${python} is left out: ${peer}`);
      continue;
    }
    peers.push(peer);
    const name = nameOf(kind, peer);
    capturing.push(peerSide(name, peer));
    sweeping.push(peerSide(name, peer));
    if (kind === "torch") sweeping.push(peerSide("PyTorch, batched by hand", peer, 128));
  }
  const { dVocab = 100, nLayers, dMlp, modelName } = models[0]!.cfg;
  console.log(
    `\n===== ${modelName}, ${threads} thread${threads === 1 ? "" : "s"}; ${cpus()[0]?.model.trim()}, Node ${process.versions.node}, onnxruntime 1.30.0, transformers ${peers[0]?.about["transformers"]}`,
  );
  if (figures.includes("capture")) {
    for (const size of values.batches.split(",")) {
      const [rows, length] = size.split("x").map(Number) as [number, number];
      const batch = ids(rows, length, dVocab);
      const work = (side: Side) => side.capture(batch);
      await compare(`capture of ${size} tokens`, capturing, work, rows * length * dVocab);
      const times = await rounds(capturing, runs, work);
      const rate = { per: rows * length, unit: "tokens/s" };
      table(`capture of ${CAPTURED.join(" and ")}, ${size} tokens`, capturing, times, rate);
    }
  }
  const clean = ids(1, promptLength, dVocab);
  const corrupted = [[...clean[0]!]];
  corrupted[0]![1] = 1 + (clean[0]![1]! % (dVocab - 1));
  const layer = Math.floor(nLayers / 2);
  const prompts: Prompts = { clean, corrupted, right: 5, wrong: 6, layer };
  for (const figure of ["patch", "ablate"] as const) {
    if (!figures.includes(figure)) continue;
    const work = (side: Side) => side[figure](prompts);
    if (figure === "patch" || dMlp !== undefined) await compare(figure, sweeping, work);
    const times = await rounds(sweeping, sweeps, work);
    const title = {
      patch: `activation patching of resid_pre, ${nLayers} layers x ${promptLength} positions`,
      ablate: `each of ${dMlp} neurons of layer ${layer} ablated by itself, prompt of ${promptLength} tokens`,
    }[figure];
    table(title, sweeping, times, undefined);
  }
  for (const peer of peers) peer.close();
  for (const model of models) await model.dispose();
}

const mib = ({ rss, anonymous, file }: Resident): string =>
  `${rss.toFixed(0)} MiB (anonymous ${anonymous.toFixed(0)}, mapped files ${file.toFixed(0)})`;

async function opening(): Promise<void> {
  console.log(`\n===== opening; load ${loadavg()[0]!.toFixed(1)}`);
  const threads = cpus().length;
  const both = (times: readonly Time[]): string =>
    `${summary(times.map((t) => t.seconds))} s (processors ${summary(times.map((t) => t.cpu))} s)`;
  const times = ways.map((): { open: Time[]; extra: Time[] } => ({ open: [], extra: [] }));
  for (let i = 0; i < sweeps; i++) {
    for (const [w, way] of ways.entries()) {
      const options = { threads, verify: "none", ...WAYS[way] } as const;
      const { said } = await runWorker({ do: "open", folder, options, length: promptLength });
      times[w]!.open.push(said["open"] as Time);
      times[w]!.extra.push(...(said["extra"] as Time[]));
    }
  }
  for (const [w, way] of ways.entries()) {
    console.log(`  ${way}: model read in ${both(times[w]!.open)}`);
    console.log(`    a hooked variant compiled in ${both(times[w]!.extra)} (target: at most 1 s)`);
  }
  const full = await runWorker({ do: "open", folder, options: { threads }, length: promptLength });
  console.log(
    `  with the checks at opening (verify: "full"): ${both([full.said["open"] as Time])}`,
  );
}

async function memory(): Promise<void> {
  console.log("\n===== resident memory of a process that captures");
  const weights = (await stat(join(folder, "onnx", "model.onnx"))).size / 2 ** 20;
  const [rows, length] = lastBatch();
  for (const way of ways) {
    const options = { threads: cpus().length, verify: "none", ...WAYS[way] } as const;
    const { peaks, said } = await runWorker({ do: "memory", folder, options, rows, length, runs });
    const batch = Number(said["batchBytes"]) / 2 ** 20;
    const limit = 1.5 * weights + batch;
    console.log(
      `  ${way}: weights ${weights.toFixed(0)} MiB, batch of ${rows} x ${length} ${batch.toFixed(0)} MiB, target at most ${limit.toFixed(0)} MiB`,
    );
    for (const [phase, peak] of peaks) {
      if (phase === "done") continue;
      const share = (peak.rss - batch) / weights;
      console.log(
        `    ${phase.padEnd(12)} peak ${mib(peak)}; less the batch ${share.toFixed(2)} x weights`,
      );
    }
  }
}

/** The same of the peers, which hold the weights in memory of their own. */
async function peerMemory(): Promise<void> {
  const [rows, length] = lastBatch();
  const model = await HookedModel.fromPretrained(folder, { verify: "none" });
  const batch = ids(rows, length, model.cfg.dVocab ?? 100);
  await model.dispose();
  for (const [python, kind] of peersWanted()) {
    const peer = await startPeer(python, kind, folder, cpus().length);
    if (typeof peer === "string") continue;
    const before = resident(peer.pid)!;
    let peak = before;
    const timer = setInterval(() => {
      const now = resident(peer.pid);
      if (now && now.rss > peak.rss) peak = now;
    }, 5);
    for (let i = 0; i < runs; i++) await peer.ask({ do: "capture", ids: batch });
    clearInterval(timer);
    console.log(
      `  ${nameOf(kind, peer)}: before ${mib(before)}; while capturing at most ${mib(peak)}`,
    );
    peer.close();
  }
}

async function store(): Promise<void> {
  const out = join(scratch, "store");
  const options = { threads: cpus().length, verify: "none" } as const;
  const hooks = values.stored.split(",");
  const tokens = Number(values.tokens);
  const job = { do: "store", folder, options, tokens, hooks, out } as const;
  const { samples, said } = await runWorker(job, 100);
  await rm(out, { recursive: true, force: true });
  const { bytes, nShards } = said["summary"] as { bytes: number; nShards: number };
  const { seconds: time, cpu } = said["took"] as Time;
  console.log(
    `\n===== ${tokens} tokens of ${values.stored} to disk: ${time.toFixed(1)} s (processors ${cpu.toFixed(1)} s), ${(tokens / time).toFixed(0)} tokens/s, ${(bytes / 2 ** 30).toFixed(2)} GiB in ${nShards} shards; load ${loadavg()[0]!.toFixed(1)}`,
  );
  for (let tenth = 0; tenth < 10; tenth++) {
    const part = samples.filter(
      ({ done }) => Math.min(9, Math.floor((10 * done) / tokens)) === tenth,
    );
    if (part.length === 0) continue;
    const rss = part.map((s) => s.rss);
    const anonymous = part.map((s) => s.anonymous);
    console.log(
      `  tenth ${tenth + 1}: resident ${quantile(rss, 0.5).toFixed(0)} MiB (most ${Math.max(...rss).toFixed(0)}), anonymous ${quantile(anonymous, 0.5).toFixed(0)} MiB`,
    );
  }
}

try {
  if (["capture", "patch", "ablate"].some((figure) => figures.includes(figure))) {
    for (const threads of values.threads.split(",")) await besidePeers(Number(threads));
  }
  if (figures.includes("open")) await opening();
  if (figures.includes("memory")) {
    await memory();
    await peerMemory();
  }
  if (figures.includes("store")) await store();
  if (values.json) await writeFile(values.json, JSON.stringify(recorded, null, 1));
} finally {
  await rm(scratch, { recursive: true, force: true });
}
