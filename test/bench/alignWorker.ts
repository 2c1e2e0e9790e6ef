/** One fit in a process of its own, and how much memory it took at most (Linux). */
import { mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { npyTargets, ridgeCv, ridgeCvStream } from "@penfield/align";
import { tensor, writeNpy } from "@penfield/core";
import { createLinalg } from "@penfield/linalg";
import { alignJobs } from "./alignJobs.ts";

/** In MiB. */
export interface AlignMemory {
  readonly inputs: number;
  /** Largest resident memory less that before the call, with inputs there and code warm. */
  readonly over: number;
  /** Coefficients, which are part of it. */
  readonly results: number;
}

const field = (name: string): number =>
  Number(
    new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(readFileSync("/proc/self/status", "utf8"))?.[1],
  ) / 1024;

const [what = "ridge", threads = "1"] = process.argv.slice(2);
const linalg = createLinalg({ threads: Number(threads) });
const small = (n: number, m: number) =>
  Float32Array.from({ length: n * m }, (_, i) => Math.sin(i * i));
await ridgeCv(
  tensor(small(40, 10), ["stimulus", "unit"], [40, 10]),
  tensor(small(40, 3), ["stimulus", "target"], [40, 3]),
  { linalg },
);

async function measure(work: () => Promise<unknown>): Promise<number> {
  globalThis.gc?.();
  // Linux forgets the largest memory seen so far.
  writeFileSync("/proc/self/clear_refs", "5");
  const before = field("VmRSS");
  await work();
  return field("VmHWM") - before;
}

/** Targets on disk, `nTargets` of them for 500 stimuli of 256 units. */
async function streamed(nTargets: number): Promise<AlignMemory> {
  const folder = mkdtempSync(join(tmpdir(), "penfield-bench-"));
  try {
    const path = join(folder, "y.npy");
    const header = writeNpy(new Float32Array(0), [0, nTargets]).subarray(0, 128);
    const text = Buffer.from(header)
      .toString("latin1")
      .replace(`(0, ${nTargets})`, `(500, ${nTargets})`);
    const file = openSync(path, "w");
    writeSync(file, Buffer.from(`${text.slice(0, 127).padEnd(127)}\n`, "latin1").subarray(0, 128));
    for (let i = 0; i < 500; i++) {
      writeSync(
        file,
        Float32Array.from({ length: nTargets }, (_, t) => Math.sin(i * (t + 1))),
      );
    }
    const x = tensor(small(500, 256), ["stimulus", "unit"], [500, 256]);
    const over = await measure(async () => {
      const targets = npyTargets(path);
      await ridgeCvStream(x, targets, join(folder, "out"), { linalg });
      targets.close();
    });
    return { inputs: (2000 * nTargets) / 2 ** 20, over, results: (nTargets * 256 * 4) / 2 ** 20 };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function fitted(): Promise<AlignMemory> {
  const job = alignJobs.find(({ name }) => name === what)!;
  const work = job.prepare(() => {}, 1);
  let results = 0;
  const over = await measure(async () => {
    const result = (await work.run(linalg)) as { coefficients?: { data: Float32Array } };
    results = (result.coefficients?.data.byteLength ?? 0) / 2 ** 20;
  });
  return { inputs: work.inputBytes / 2 ** 20, over, results };
}

const report = what.startsWith("stream-")
  ? await streamed(Number(what.slice("stream-".length)))
  : await fitted();
process.send!(report satisfies AlignMemory);
await linalg.dispose();
process.disconnect();
