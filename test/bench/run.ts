/**
 * Speed, measured beside the peer in the same run:
 *
 *   npm run bench -- [--model FOLDER] [--python PATH] [--threads N] [--runs N] [--units N]
 *
 * Runs of both sides alternate; ratios are taken pair by pair, and reported as median [min .. max].
 * Without a Python that has torch and transformers, the peer's rows are left out, and it says so.
 *
 * `npm run bench -- hooks` measures hooks beside TransformerLens and nnsight instead: hooks.ts.
 * `npm run bench -- viewer` measures the viewer of units against its budgets: viewer.ts.
 * `npm run bench -- similarity` measures comparisons beside rsatoolbox, netrep and numpy: similarity.ts.
 * `npm run bench -- align` measures regression beside himalaya and scikit-learn: align.ts.
 * `npm run bench -- spiking` measures spiking networks beside snnTorch and Brian2: spiking.ts.
 */
import { spawn } from "node:child_process";
import { cpus } from "node:os";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { ablationMap } from "@penfield/ablate";
import { createRng } from "@penfield/core";
import { HookedModel } from "@penfield/hooks";
import { isOrganism, organismFolder } from "@penfield/organisms";
import { quantile } from "@penfield/stats";

/** Benches of one part, each a program of its own. */
const parts: Readonly<Record<string, () => Promise<unknown>>> = {
  hooks: () => import("./hooks.ts"),
  similarity: () => import("./similarity.ts"),
  align: () => import("./align.ts"),
  spiking: () => import("./spiking.ts"),
  viewer: () => import("./viewer.ts"),
};
const part = parts[process.argv[2] ?? ""];
if (part) {
  await part();
  process.exit();
}

const { values } = parseArgs({
  options: {
    model: { type: "string", default: "organism-a" },
    python: { type: "string", default: process.env["PENFIELD_PYTHON"] ?? "python3" },
    threads: { type: "string", default: String(cpus().length) },
    runs: { type: "string", default: "9" },
    rows: { type: "string", default: "16" },
    length: { type: "string", default: "64" },
    units: { type: "string", default: "512" },
  },
});
const threads = Number(values.threads);
const runs = Number(values.runs);
const folder = isOrganism(values.model) ? organismFolder(values.model) : values.model;

const summary = (x: readonly number[], digits = 2): string =>
  `${quantile(x, 0.5).toFixed(digits)} [${Math.min(...x).toFixed(digits)} .. ${Math.max(...x).toFixed(digits)}]`;
const seconds = async (work: () => Promise<unknown>): Promise<number> => {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
};

interface PeerAnswer {
  readonly seconds: number;
  readonly bytes: number;
  readonly captured: number;
  readonly logits?: number[];
}

interface Peer {
  readonly about: Record<string, unknown>;
  forward(
    ids: readonly (readonly number[])[],
    capture: string,
    check?: boolean,
  ): Promise<PeerAnswer>;
  close(): void;
}

async function startPeer(): Promise<Peer | undefined> {
  const script = fileURLToPath(new URL("peer.py", import.meta.url));
  const child = spawn(values.python, [script, folder, String(threads)], {
    stdio: ["pipe", "pipe", "pipe"],
  });
  const errors: string[] = [];
  child.stderr.on("data", (chunk) => errors.push(String(chunk)));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const failed = new Promise<undefined>((resolve) => {
    child.on("error", () => resolve(undefined));
    child.on("exit", () => resolve(undefined));
  });
  const first = await Promise.race([lines.next(), failed]);
  if (!first?.value) {
    console.log(
      `PyTorch's side is left out: ${values.python} has no torch and transformers (name another with --python).`,
    );
    return undefined;
  }
  return {
    about: JSON.parse(first.value),
    async forward(ids, capture, check = false) {
      child.stdin.write(`${JSON.stringify({ ids, capture, check })}\n`);
      const answer = await Promise.race([lines.next(), failed]);
      if (!answer?.value) throw new Error(`the peer stopped: ${errors.join("").slice(-500)}`);
      return JSON.parse(answer.value);
    },
    close: () => child.stdin.end(),
  };
}

const model = await HookedModel.fromPretrained(folder, { threads, verify: "none" });
const { nLayers, dVocab = 100 } = model.cfg;
const rng = createRng(1);
const ids = (rows: number, length: number): number[][] =>
  Array.from({ length: rows }, () => Array.from({ length }, () => rng.below(dVocab)));
const batch = ids(Number(values.rows), Number(values.length));
const nTokens = batch.length * batch[0]!.length;
const peer = await startPeer();
console.log(
  `${cpus()[0]?.model.trim()}, ${threads} threads, Node ${process.versions.node}, onnxruntime 1.30.0${peer ? `, torch ${peer.about["torch"]}, transformers ${peer.about["transformers"]}, ${peer.about["sameWeights"] ? "same weights" : "random weights"}` : ""}`,
);
console.log(
  `${model.cfg.modelName}: ${nLayers} layers, d_model ${model.cfg.dModel}; ${batch.length} x ${batch[0]!.length} tokens; ${runs} runs after one warm-up\n`,
);

/** What is captured: nothing, every block's output (what localizers read), or its MLP neurons as well. */
const captures = {
  none: [],
  resid: ["blocks.*.hook_resid_post"],
  all: ["blocks.*.hook_resid_post", "blocks.*.mlp.hook_post"],
} as const;
type Level = keyof typeof captures;
const levels = Object.keys(captures) as Level[];
const titles: Record<Level, string> = {
  none: "plain",
  resid: "residual stream of all blocks",
  all: "residual stream and MLP neurons",
};
const runHere = (level: Level) => model.run({ tokens: batch, capture: captures[level] });
for (const level of levels) {
  const { logits, cache } = await runHere(level);
  if (!peer) continue;
  const check = await peer.forward(batch, level, true);
  if (cache.size !== check.captured)
    throw new Error(`${cache.size} tensors here, ${check.captured} there`);
  if (peer.about["sameWeights"] && level === "none") {
    const last = (batch[0]!.length - 1) * logits!.shape[2]!;
    const differences = check.logits!.map((v, k) => Math.abs(v - logits!.data[last + k]!));
    console.log(`largest difference of logits: ${Math.max(...differences).toExponential(1)}`);
  }
}
const empty = (): Record<Level, number[]> => ({ none: [], resid: [], all: [] });
const [here, there] = [empty(), empty()];
for (let i = 0; i < runs; i++) {
  // Another order each time: what ran before leaves its mark on caches, memory and idle threads.
  const order = levels.map((_, k) => levels[(k + i) % levels.length]!);
  for (const level of order) {
    here[level].push(await seconds(() => runHere(level)));
    if (peer) there[level].push((await peer.forward(batch, level)).seconds);
  }
}
const rate = (t: readonly number[]): string =>
  summary(
    t.map((s) => nTokens / s),
    0,
  );
const ratio = (a: readonly number[], b: readonly number[]): number[] => a.map((v, i) => v / b[i]!);
console.log("\ntokens per second, median [min .. max]");
for (const level of levels) {
  console.log(
    `  ${titles[level].padEnd(34)}${rate(here[level])}${peer ? `   PyTorch ${rate(there[level])}` : ""}`,
  );
}
for (const level of ["resid", "all"] as const) {
  console.log(`capture of the ${titles[level]}`);
  if (peer) {
    console.log(
      `  times as fast as PyTorch's hooks  ${summary(ratio(there[level], here[level]))} (target: at least 1.3)`,
    );
  }
  console.log(
    `  time over a plain run             ${summary(ratio(here[level], here.none))} (target: at most 1.10)`,
  );
}
peer?.close();

// Single-unit ablations in the last third of the layers.
const layer = Math.floor((2 * nLayers) / 3);
const hook = `blocks.${layer}.mlp.hook_post`;
const nUnits = Math.min(Number(values.units), model.cfg.dMlp ?? 512);
const prompt = ids(1, 16);
const units = Array.from({ length: nUnits }, (_, i) => i);
const vocab = dVocab;
const metric = (logits: { data: Float32Array }, rows: readonly { row: number }[]): number[] =>
  rows.map(({ row }) => logits.data[row * vocab]!);
const oneByOne = async (): Promise<Float64Array> => {
  const effects = new Float64Array(nUnits);
  const base = metric((await model.run({ tokens: prompt, head: "lastLogits" })).logits!, [
    { row: 0 },
  ])[0]!;
  for (const unit of units) {
    const { logits } = await model.run({
      tokens: prompt,
      interventions: [{ hook, op: { type: "zero" }, units: [unit] }],
      head: "lastLogits",
    });
    effects[unit] = metric(logits!, [{ row: 0 }])[0]! - base;
  }
  return effects;
};
const batched = async (): Promise<Float64Array> =>
  (
    await ablationMap(model, prompt, {
      hook,
      units,
      metric: (l, rows) => metric(l, rows),
      batchSize: 64,
      positions: "last",
    })
  ).effects;
await batched();
const ablation: { loop: number[]; batch: number[] } = { loop: [], batch: [] };
let different = 0;
for (let i = 0; i < Math.min(3, runs); i++) {
  let a: Float64Array = new Float64Array(0);
  let b: Float64Array = new Float64Array(0);
  ablation.loop.push(
    await seconds(async () => {
      a = await oneByOne();
    }),
  );
  ablation.batch.push(
    await seconds(async () => {
      b = await batched();
    }),
  );
  different = a.reduce((max, v, j) => Math.max(max, Math.abs(v - b[j]!)), different);
}
console.log(`\n${nUnits} single-unit ablations at ${hook}`);
console.log(`  one by one                  ${summary(ablation.loop)} s`);
console.log(`  ablationMap                 ${summary(ablation.batch)} s`);
console.log(
  `  times as fast               ${summary(ratio(ablation.loop, ablation.batch), 1)} (target: at least 5)`,
);
console.log(`  largest difference          ${different}`);
console.log(
  `\npeak memory of this process: ${Math.round(process.resourceUsage().maxRSS / 1024)} MiB`,
);
await model.dispose();
