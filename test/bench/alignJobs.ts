import {
  bandedRidgeCv,
  type Kernel,
  kernelRidgeCv,
  type Responses,
  ridgeCv,
  ridgePredictions,
} from "@penfield/align";
import { type Activations, tensor } from "@penfield/core";
import type { Linalg } from "@penfield/linalg";

/** What a peer found, `of-<name>.npy` in the job's folder. */
export type Found = (name: string) => ArrayLike<number>;
type Write = (name: string, data: Float32Array, shape: readonly number[]) => void;

/** A row of the table: inputs made from a seed, the public function that works on them, and whom it is held against. */
export interface AlignJob {
  readonly name: string;
  readonly title: string;
  /** Of the fastest peer's time, in the same run. */
  readonly goal: number;
  readonly peers: readonly string[];
  /** Makes the inputs and gives what is timed. */
  readonly prepare: (write: Write, scale: number) => AlignWork;
}

interface AlignWork {
  readonly run: (linalg: Linalg) => Promise<unknown>;
  /** Throws unless the peer found the same; says how near. */
  readonly agree: (result: unknown, found: Found) => string;
  readonly inputBytes: number;
}

/** Numbers of mean 0 and variance 1, fast; not normal, which no time here depends on. */
function noise(seed: number): (n: number) => Float32Array {
  let state = seed >>> 0;
  const uniform = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return (n) => {
    const out = new Float32Array(n);
    for (let i = 0; i < n; i++) out[i] = 2 * (uniform() + uniform() + uniform()) - 3;
    return out;
  };
}

/** Units, and targets of which each hears 16 of them and as much noise. */
function planted(n: number, p: number, nTargets: number, seed: number) {
  const next = noise(seed);
  const x = next(n * p);
  const y = next(n * nTargets);
  const weights = next(16 * nTargets);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < 16; j++) {
      const value = 0.4 * x[i * p + ((j * 31) % p)]!;
      const [from, to] = [j * nTargets, i * nTargets];
      for (let t = 0; t < nTargets; t++) y[to + t]! += value * weights[from + t]!;
    }
  }
  return { x, y };
}

const units = (x: Float32Array, n: number, p: number): Activations =>
  tensor(x, ["stimulus", "unit"], [n, p]);
const targets = (y: Float32Array, n: number, nTargets: number): Responses =>
  tensor(y, ["stimulus", "target"], [n, nTargets]);

const ALPHAS = Array.from({ length: 10 }, (_, i) => 10 ** i);

/** How many of the penalties are another, and how far the scores at the best are apart. */
function sameChoice(
  ours: ArrayLike<number>,
  theirs: ArrayLike<number>,
  scores: ArrayLike<number>,
  theirScores: ArrayLike<number>,
): string {
  let other = 0;
  let most = 0;
  for (let t = 0; t < ours.length; t++) {
    if (Math.abs(ours[t]! / theirs[t]! - 1) > 1e-3) other++;
    most = Math.max(most, Math.abs(scores[t]! - theirScores[t]!));
  }
  if (ours.length !== theirs.length || other > 1e-3 * ours.length || !(most < 1e-3)) {
    throw new Error(`${other} of ${ours.length} penalties differ, scores by ${most}`);
  }
  return `${other} of ${ours.length} penalties differ; scores by ${most.toExponential(1)} at most`;
}

interface Chosen {
  readonly bestAlphas: Float64Array;
  readonly cvScores: Float64Array;
}

const ridge = (name: string, nTargets: number, peers: readonly string[]): AlignJob => ({
  name,
  title: `ridge, 3000 x 1024 -> ${nTargets} targets, 10 penalties, 5 folds, coefficients, float32`,
  goal: 0.5,
  peers,
  prepare(write, scale) {
    const [n, p, m] = [
      Math.round(3000 * scale),
      Math.round(1024 * scale),
      Math.round(nTargets * scale),
    ];
    const { x, y } = planted(n, p, m, 1);
    write("x", x, [n, p]);
    write("y", y, [n, m]);
    return {
      inputBytes: x.byteLength + y.byteLength,
      run: (linalg) => ridgeCv(units(x, n, p), targets(y, n, m), { alphas: ALPHAS, linalg }),
      agree: (result, found) => {
        const { bestAlphas, cvScores } = result as Chosen;
        return sameChoice(bestAlphas, found("alphas"), cvScores, found("scores"));
      },
    };
  },
});

/** Weights of two spaces: equal, then others in no order. */
const weightsOf = (count: number): number[][] =>
  Array.from({ length: count }, (_, i) => {
    const first = i === 0 ? 0.5 : (i * 0.618) % 1;
    return [first, 1 - first];
  });

interface Weighted {
  readonly deltas: { readonly data: ArrayLike<number> };
  readonly cvScores: { readonly data: ArrayLike<number> };
}

function sameWeights(result: unknown, found: Found): string {
  const { deltas, cvScores } = result as Weighted;
  const theirs = found("deltas");
  let other = 0;
  for (let i = 0; i < theirs.length; i++) {
    if (Math.abs(deltas.data[i]! - theirs[i]!) > 1e-3) other++;
  }
  const scores = found("scores");
  let most = 0;
  for (let i = 0; i < scores.length; i++) {
    most = Math.max(most, Math.abs(cvScores.data[i]! - scores[i]!));
  }
  if (other > 0.05 * theirs.length || !(most < 1e-3)) {
    throw new Error(`${other} of ${theirs.length} weights differ, scores by ${most}`);
  }
  return `${other} of ${theirs.length} weights differ; scores by ${most.toExponential(1)} at most`;
}

const banded: AlignJob = {
  name: "banded",
  title:
    "banded ridge, 1000 x (256 + 256) -> 2000 targets, 20 weights x 10 penalties, 5 folds, float32",
  goal: 0.7,
  peers: ["himalaya"],
  prepare(write, scale) {
    const [n, p, m] = [
      Math.round(1000 * scale),
      2 * Math.round(256 * scale),
      Math.round(2000 * scale),
    ];
    const { x, y } = planted(n, p, m, 2);
    const weights = weightsOf(20);
    write("x", x, [n, p]);
    write("y", y, [n, m]);
    write("weights", Float32Array.from(weights.flat()), [20, 2]);
    const half = (from: number): Activations => {
      const out = new Float32Array((n * p) / 2);
      for (let i = 0; i < n; i++) {
        out.set(x.subarray(i * p + from, i * p + from + p / 2), (i * p) / 2);
      }
      return units(out, n, p / 2);
    };
    const spaces = [half(0), half(p / 2)];
    return {
      inputBytes: x.byteLength + y.byteLength,
      run: (linalg) => bandedRidgeCv(spaces, targets(y, n, m), { alphas: ALPHAS, weights, linalg }),
      agree: sameWeights,
    };
  },
};

const kernels: AlignJob = {
  name: "kernels",
  title: "two kernels of 600 stimuli -> 2000 targets, 20 weights x 10 penalties, 5 folds, float32",
  goal: 0.7,
  peers: ["himalaya"],
  prepare(write, scale) {
    const [n, p, m] = [Math.round(600 * scale), 1024, Math.round(2000 * scale)];
    const { x, y } = planted(n, p, m, 3);
    const weights = weightsOf(20);
    const kernel = (from: number): Float32Array => {
      const out = new Float32Array(n * n);
      for (let i = 0; i < n; i++) {
        for (let j = 0; j <= i; j++) {
          let sum = 0;
          for (let u = from; u < from + p / 2; u++) sum += x[i * p + u]! * x[j * p + u]!;
          out[i * n + j] = sum;
          out[j * n + i] = sum;
        }
      }
      return out;
    };
    const both = [kernel(0), kernel(p / 2)];
    write("kernels", Float32Array.from([...both[0]!, ...both[1]!]), [2, n, n]);
    write("y", y, [n, m]);
    write("weights", Float32Array.from(weights.flat()), [20, 2]);
    const own: Kernel[] = both.map((k) => tensor(k, ["stimulus", "stimulus"], [n, n]));
    return {
      inputBytes: 2 * both[0]!.byteLength + y.byteLength,
      run: (linalg) => kernelRidgeCv(own, targets(y, n, m), { alphas: ALPHAS, weights, linalg }),
      agree: sameWeights,
    };
  },
};

const overTime: AlignJob = {
  name: "time",
  title:
    "306 sensors x 200 samples from 128 units, 800 stimuli, held out 200; 10 penalties, 5 folds, float32",
  goal: 0.5,
  peers: ["himalaya-loop", "himalaya-once"],
  prepare(write, scale) {
    const [n, held, p] = [800, 200, 128];
    const m = 306 * Math.round(200 * scale);
    const { x, y } = planted(n + held, p, m, 4);
    write("x", x, [n + held, p]);
    write("y", y, [n + held, m]);
    write("n", Float32Array.of(n, 306), [2]);
    return {
      inputBytes: x.byteLength + y.byteLength,
      run: (linalg) =>
        ridgePredictions(
          units(x.subarray(0, n * p), n, p),
          targets(y.subarray(0, n * m), n, m),
          units(x.subarray(n * p), held, p),
          { alphas: ALPHAS, linalg },
        ),
      agree: (result, found) => {
        const { data } = result as Responses;
        const theirs = found("predicted");
        let [sum, square] = [0, 0];
        for (let i = 0; i < data.length; i++) {
          sum += (data[i]! - theirs[i]!) ** 2;
          square += theirs[i]! ** 2;
        }
        const off = Math.sqrt(sum / square);
        if (!(off < 1e-2) || data.length !== theirs.length)
          throw new Error(`predictions off by ${off}`);
        return `predictions differ by ${off.toExponential(1)} of their size`;
      },
    };
  },
};

export const alignJobs: readonly AlignJob[] = [
  ridge("ridge", 20_000, ["himalaya", "himalaya-2000"]),
  ridge("ridge-1000", 1000, ["himalaya", "sklearn-loo"]),
  banded,
  kernels,
  overTime,
];
