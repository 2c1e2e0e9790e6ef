import { type ChildProcess, fork } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { OpenOptions } from "@penfield/hooks";
import { quantile } from "@penfield/stats";
import { type PeerProcess, startPython } from "./peers.ts";

/** What is captured: the residual stream after all blocks, and the MLP neurons of all blocks. */
export const CAPTURED: readonly string[] = ["blocks.*.hook_resid_post", "blocks.*.mlp.hook_post"];

/** What a process of its own is to do. */
export type WorkerJob = { readonly folder: string; readonly options: OpenOptions } & (
  | { readonly do: "memory"; readonly rows: number; readonly length: number; readonly runs: number }
  | { readonly do: "open"; readonly length: number }
  | {
      readonly do: "store";
      readonly tokens: number;
      readonly hooks: readonly string[];
      readonly out: string;
    }
);

/** Resident memory in MiB: all, not backed by a file, mapped from files. */
export interface Resident {
  readonly rss: number;
  readonly anonymous: number;
  readonly file: number;
}

/** What Linux says of a process' memory; undefined elsewhere, or when the process is gone. */
export function resident(pid: number): Resident | undefined {
  let status: string;
  try {
    status = readFileSync(`/proc/${pid}/status`, "utf8");
  } catch {
    return undefined;
  }
  const field = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(status)?.[1] ?? Number.NaN) / 1024;
  const rss = field("VmRSS");
  return Number.isNaN(rss)
    ? undefined
    : { rss, anonymous: field("RssAnon"), file: field("RssFile") };
}

export interface WorkerReport {
  /** Largest resident memory in each phase. */
  readonly peaks: ReadonlyMap<string, Resident>;
  /** Memory over time in the phase `capture`. */
  readonly samples: readonly (Resident & { done: number })[];
  /** What the worker said last. */
  readonly last: Record<string, unknown>;
  readonly said: Record<string, unknown>;
}

/** Runs a job in a process of its own and looks at its memory every few milliseconds. */
export function runWorker(job: WorkerJob, everyMs = 5): Promise<WorkerReport> {
  const script = fileURLToPath(new URL("hooksWorker.ts", import.meta.url));
  const child: ChildProcess = fork(script, [JSON.stringify(job)]);
  const peaks = new Map<string, Resident>();
  const samples: (Resident & { done: number })[] = [];
  let phase = "start";
  let done = 0;
  let last: Record<string, unknown> = {};
  let said: Record<string, unknown> = {};
  const look = (): void => {
    const now = resident(child.pid!);
    if (now === undefined) return;
    if (now.rss > (peaks.get(phase)?.rss ?? 0)) peaks.set(phase, now);
    if (phase === "capture") samples.push({ ...now, done });
  };
  const timer = setInterval(look, everyMs);
  return new Promise((resolve, reject) => {
    child.on("message", (message: Record<string, unknown>) => {
      if (typeof message["done"] === "number") done = message["done"];
      if (typeof message["phase"] !== "string") return;
      look();
      phase = message["phase"];
      last = message;
      said = { ...said, ...message };
    });
    child.on("exit", (code) => {
      clearInterval(timer);
      if (code === 0) resolve({ peaks, samples, last, said });
      else reject(new Error(`the worker for ${job.do} ended with ${code}`));
    });
  });
}

/** How long something took, and how long processors worked on it: the second hardly depends on who else uses them. */
export interface Time {
  readonly seconds: number;
  readonly cpu: number;
}

interface PeerAnswer extends Time {
  readonly bytes: number;
}

/** A library in a Python process. */
export type Peer = PeerProcess<Record<string, unknown>, PeerAnswer>;

/** Starts a peer; undefined if its Python has not what it needs. */
export async function startPeer(
  python: string,
  kind: string,
  folder: string,
  threads: number,
): Promise<Peer | string> {
  const script = fileURLToPath(new URL("peers_hooks.py", import.meta.url));
  const peer = await startPython<Peer["about"], PeerAnswer>(python, script, [
    kind,
    folder,
    String(threads),
  ]);
  return peer === "" ? "it does not start" : peer;
}

/** Median with smallest and largest. */
export function summary(x: readonly number[], digits = 2): string {
  return `${quantile(x, 0.5).toFixed(digits)} [${Math.min(...x).toFixed(digits)} .. ${Math.max(...x).toFixed(digits)}]`;
}
