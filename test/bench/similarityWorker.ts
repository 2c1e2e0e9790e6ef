/** One comparison in a process of its own, and how much memory it took at most. */
import { readFileSync, writeFileSync } from "node:fs";
import { calcRdm, cka } from "@penfield/compare";
import { type Activations, tensor } from "@penfield/core";
import { createLinalg } from "@penfield/linalg";
import { noise } from "./similarityJobs.ts";

/** In MiB. */
export interface MemoryReport {
  readonly title: string;
  readonly inputs: number;
  /** Largest resident memory less that before the call, with inputs there and code warm. */
  readonly over: number;
  /** What two kernels (or RDMs in square form) take. */
  readonly kernels: number;
}

const stimuli = (n: number, p: number, seed: number): Activations =>
  tensor(noise(seed)(n * p), ["stimulus", "unit"], [n, p]);
const field = (name: string): number =>
  Number(
    new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(readFileSync("/proc/self/status", "utf8"))?.[1],
  ) / 1024;

const linalg = createLinalg();
const ckaOf = (form: "gram" | "feature", maxKernelBytes?: number, rbf = false) => {
  return (x: Activations, y: Activations) =>
    cka(linalg, x, y, {
      form,
      maxKernelBytes,
      kernel: rbf ? { type: "rbf" } : { type: "linear" },
    });
};
const jobs = {
  rdm: { title: "correlation RDM, 1000 x 4096", n: 1000, p: 4096, side: 1000, one: true },
  "cka-feature": { title: "linear CKA from features, 5000 x 2048", n: 5000, p: 2048, side: 2048 },
  "cka-gram": { title: "linear CKA from kernels, 5000 x 2048", n: 5000, p: 2048, side: 5000 },
  "cka-rbf": { title: "RBF CKA, 5000 x 512", n: 5000, p: 512, side: 5000 },
  "cka-tiled": { title: "RBF CKA, 5000 x 512, tiles of 32 MiB", n: 5000, p: 512, side: 5000 },
} as const;
const name = process.argv[2] as keyof typeof jobs;
const work: Record<keyof typeof jobs, (x: Activations, y: Activations) => Promise<unknown>> = {
  rdm: (x) => calcRdm(x, { linalg }),
  "cka-feature": ckaOf("feature"),
  "cka-gram": ckaOf("gram"),
  "cka-rbf": ckaOf("gram", undefined, true),
  "cka-tiled": ckaOf("gram", 32 * 2 ** 20, true),
};
const { title, n, p, side } = jobs[name];
await work[name](stimuli(40, 10, 1), stimuli(40, 10, 2));
const x = stimuli(n, p, 3);
const y = "one" in jobs[name] ? x : stimuli(n, p, 4);
globalThis.gc?.();
// Linux forgets the largest memory seen so far.
writeFileSync("/proc/self/clear_refs", "5");
const before = field("VmRSS");
await work[name](x, y);
const over = field("VmHWM") - before;
const inputs = (x.data.byteLength + (x === y ? 0 : y.data.byteLength)) / 2 ** 20;
process.send!({
  title,
  inputs,
  over,
  kernels: (2 * 8 * side * side) / 2 ** 20,
} satisfies MemoryReport);
await linalg.dispose();
process.disconnect();
