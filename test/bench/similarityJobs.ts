import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  bootstrapModels,
  calcRdm,
  cka,
  crossnobisRdm,
  energyShapeDistances,
  fixedModels,
  gaussianShapeDistance,
  type RdmComparison,
  rdms,
  scoreGaussianShape,
  shapeDistances,
} from "@penfield/compare";
import { type Activations, readNpy, tensor, writeNpy } from "@penfield/core";
import { eigenSymmetric, type Linalg, matrix, singularValues, svd } from "@penfield/linalg";

/** What a peer found, `of-<name>.npy` in the job's folder. */
export type Found = (name: string) => ArrayLike<number>;

export interface SimilarityPeer {
  readonly name: "numpy" | "rsatoolbox" | "netrep";
  /** The peer does so many draws, and its time is multiplied up to 1000. */
  readonly draws?: number;
  /** Takes seconds: run fewer times. */
  readonly slow?: boolean;
}

/** A row of the table: inputs on disk, the public functions that work on them, and whom it is held against. */
export interface SimilarityJob {
  readonly name: string;
  readonly title: string;
  readonly goal:
    | { readonly seconds: number }
    | { readonly times: number; readonly of: SimilarityPeer["name"] };
  /** Timed calls are made so many in a row. */
  readonly calls: number;
  readonly peers: readonly SimilarityPeer[];
  /** Makes the inputs and gives what is timed. */
  readonly prepare: (write: Write) => Work;
}

export interface Work {
  readonly run: (linalg: Linalg) => Promise<unknown>;
  /** Throws unless the peer found the same (or, where optima are sought, nothing better); says how near. */
  readonly agree: (linalg: Linalg, found: Found, peer: SimilarityPeer["name"]) => Promise<string>;
}

type Write = (
  name: string,
  data: Float64Array | Int32Array,
  shape: readonly number[],
) => Float64Array;

/** Numbers of mean 0 and variance 1, fast; not normal, which no time here depends on. */
export function noise(seed: number): (n: number) => Float64Array {
  let state = seed >>> 0;
  const uniform = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return (n) => {
    const out = new Float64Array(n);
    for (let i = 0; i < n; i++) out[i] = 2 * (uniform() + uniform() + uniform()) - 3;
    return out;
  };
}

export function prepareJob(job: SimilarityJob, folder: string): Work & { readonly found: Found } {
  const own = join(folder, job.name);
  mkdirSync(own, { recursive: true });
  const work = job.prepare((name, data, shape) => {
    writeFileSync(join(own, `${name}.npy`), writeNpy(data, shape));
    return data as Float64Array;
  });
  const found: Found = (name) => {
    const { data } = readNpy(readFileSync(join(own, `of-${name}.npy`)));
    return data as Float64Array;
  };
  return { ...work, found };
}

function nearness(ours: ArrayLike<number>, theirs: ArrayLike<number>, allowed: number): string {
  if (ours.length !== theirs.length) {
    throw new Error(`${ours.length} numbers here, ${theirs.length} there`);
  }
  let most = 0;
  for (let i = 0; i < ours.length; i++) {
    const off = Math.abs(ours[i]! - theirs[i]!) / Math.max(1, Math.abs(theirs[i]!));
    if (!(off <= allowed)) throw new Error(`${ours[i]} here, ${theirs[i]} there (number ${i})`);
    if (off > most) most = off;
  }
  return `differ by ${most.toExponential(1)} at most`;
}

const stimuli = (data: Float64Array, n: number, p: number): Activations =>
  tensor(data, ["stimulus", "unit"], [n, p]);

const bootstrap = (
  method: RdmComparison,
  name: string,
  goal: number,
  draws: number,
): SimilarityJob => ({
  name: `bootstrap-${name}`,
  title: `bootstrap of patterns, 10 models, 8 RDMs, 92 conditions, N = 1000, ${method}`,
  goal: { seconds: goal },
  calls: 1,
  peers: [{ name: "rsatoolbox", draws, slow: true }],
  prepare(write) {
    const next = noise(11);
    const nPairs = (92 * 91) / 2;
    const truth = next(nPairs);
    const rows = (count: number, share: number): Float64Array[] =>
      Array.from({ length: count }, () => next(nPairs).map((v, p) => 4 + truth[p]! * share + v));
    const flat = (list: readonly Float64Array[]) => Float64Array.from(list.flatMap((r) => [...r]));
    const [subjects, candidates] = [rows(8, 1), rows(10, 0.5)];
    write("data", flat(subjects), [8, nPairs]);
    write("models", flat(candidates), [10, nPairs]);
    const data = rdms(subjects);
    const models = fixedModels(rdms(candidates));
    const options = { method, over: "conditions" } as const;
    return {
      run: (linalg) => bootstrapModels(models, data, { ...options, linalg, nDraws: 1000, seed: 1 }),
      async agree(linalg, found) {
        const drawn = Array.from(found("draws"));
        const n = drawn.length / 92;
        const sampled = Array.from({ length: n }, (_, d) => ({
          conditions: drawn.slice(d * 92, (d + 1) * 92),
        }));
        const ours = await bootstrapModels(models, data, { ...options, linalg, draws: sampled });
        const { lower, upper } = ours.ceiling;
        const rowsOfDraws = sampled.flatMap((_, d) => [
          ...ours.evaluations.subarray(d * 10, (d + 1) * 10),
          lower[d]!,
          upper[d]!,
        ]);
        return `scores and ceilings of ${n} draws ${nearness(rowsOfDraws, found("result"), 1e-9)}`;
      },
    };
  },
});

/** Square matrices of 512. */
const decomposition = (
  name: string,
  title: string,
  symmetric: boolean,
  work: (linalg: Linalg, a: ReturnType<typeof matrix<Float64Array>>) => Promise<Float64Array>,
): SimilarityJob => ({
  name,
  title,
  goal: { times: 4, of: "numpy" },
  calls: 3,
  peers: [{ name: "numpy" }],
  prepare(write) {
    const n = 512;
    const raw = noise(12)(n * n);
    const data = symmetric ? raw.map((v, at) => v + raw[(at % n) * n + Math.floor(at / n)]!) : raw;
    const a = matrix(write("x", data, [n, n]), n, n);
    return {
      run: (linalg) => work(linalg, a),
      agree: async (linalg, found) =>
        `values ${nearness(await work(linalg, a), found("result"), 1e-12 * 64)}`,
    };
  },
});

export const similarityJobs: readonly SimilarityJob[] = [
  {
    name: "rdm",
    title: "correlation RDM, 1000 x 4096",
    goal: { times: 1.3, of: "numpy" },
    calls: 3,
    peers: [{ name: "numpy" }, { name: "rsatoolbox", slow: true }],
    prepare(write) {
      const x = stimuli(write("x", noise(1)(1000 * 4096), [1000, 4096]), 1000, 4096);
      const run = (linalg: Linalg) => calcRdm(x, { linalg });
      return {
        run,
        agree: async (linalg, found) => nearness((await run(linalg)).data, found("result"), 1e-12),
      };
    },
  },
  {
    name: "crossnobis",
    title: "crossnobis, 8 runs x 92 x 500, precision given",
    goal: { seconds: 0.02 },
    calls: 10,
    peers: [{ name: "rsatoolbox" }],
    prepare(write) {
      const next = noise(2);
      const [nRuns, n, p] = [8, 92, 500];
      const truth = next(n * p);
      const x = stimuli(
        write(
          "x",
          next(nRuns * n * p).map((v, at) => v + truth[at % (n * p)]!),
          [nRuns * n, p],
        ),
        nRuns * n,
        p,
      );
      const conditions = write(
        "conditions",
        Int32Array.from({ length: nRuns * n }, (_, i) => i % n),
        [nRuns * n],
      );
      const runs = write(
        "runs",
        Int32Array.from({ length: nRuns * n }, (_, i) => Math.floor(i / n)),
        [nRuns * n],
      );
      const root = next(p * 3);
      const data = new Float64Array(p * p);
      for (let i = 0; i < p; i++) {
        data[i * p + i] = 1;
        for (let j = 0; j < p; j++) {
          for (let k = 0; k < 3; k++) data[i * p + j]! += (root[i * 3 + k]! * root[j * 3 + k]!) / p;
        }
      }
      const precision = matrix(write("precision", data, [p, p]), p, p);
      const run = (linalg: Linalg) => crossnobisRdm(x, { conditions, runs, precision, linalg });
      return {
        run,
        agree: async (linalg, found) => nearness((await run(linalg)).data, found("result"), 1e-11),
      };
    },
  },
  bootstrap("pearson", "pearson", 0.5, 60),
  bootstrap("spearman", "spearman", 3, 25),
  bootstrap("whitened-pearson", "whitened", 8, 15),
  {
    name: "cka",
    title: "linear CKA, 5000 x 2048, float64",
    goal: { times: 1.2, of: "numpy" },
    calls: 1,
    peers: [{ name: "numpy", slow: true }],
    prepare(write) {
      const next = noise(3);
      const [n, p] = [5000, 2048];
      const first = next(n * p);
      const x = stimuli(write("x", first, [n, p]), n, p);
      const second = next(n * p).map((v, at) => v + first[at]! / 2);
      const y = stimuli(write("y", second, [n, p]), n, p);
      const run = (linalg: Linalg) => cka(linalg, x, y);
      return {
        run,
        agree: async (linalg, found) => nearness([await run(linalg)], found("result"), 1e-12),
      };
    },
  },
  {
    name: "shape",
    title: "shape distances, 20 networks 1000 x 512, 190 pairs",
    goal: { seconds: 8 },
    calls: 1,
    peers: [
      { name: "numpy", slow: true },
      { name: "netrep", slow: true },
    ],
    prepare(write) {
      const next = noise(4);
      const [k, n, p] = [20, 1000, 512];
      const truth = next(n * p);
      const data = next(k * n * p).map((v, at) => v + truth[at % (n * p)]!);
      write("x", data, [k, n, p]);
      const networks = Array.from({ length: k }, (_, i) =>
        stimuli(data.subarray(i * n * p, (i + 1) * n * p), n, p),
      );
      const run = (linalg: Linalg) => shapeDistances(linalg, networks);
      return {
        run,
        agree: async (linalg, found) => nearness((await run(linalg)).data, found("result"), 1e-9),
      };
    },
  },
  {
    name: "gaussian",
    title: "Gaussian stochastic metric, 50 conditions x 64 units, one pair",
    goal: { seconds: 1 },
    calls: 1,
    peers: [{ name: "netrep", slow: true }],
    prepare(write) {
      const next = noise(5);
      const [n, p] = [50, 64];
      const network = (which: string) => {
        const means = matrix(write(`means${which}`, next(n * p), [n, p]), n, p);
        const data = new Float64Array(n * p * p);
        for (let i = 0; i < n; i++) {
          const factor = next(p * 2 * p);
          for (let a = 0; a < p; a++) {
            for (let b = 0; b <= a; b++) {
              let sum = 0;
              for (let t = 0; t < 2 * p; t++)
                sum += factor[a * 2 * p + t]! * factor[b * 2 * p + t]!;
              data[(i * p + a) * p + b] = sum / (2 * p);
              data[(i * p + b) * p + a] = sum / (2 * p);
            }
          }
        }
        write(`covariances${which}`, data, [n, p, p]);
        return { means, covariances: { data, count: n, nRows: p, nColumns: p } };
      };
      const [x, y] = [network("X"), network("Y")];
      const run = (linalg: Linalg) => gaussianShapeDistance(linalg, x, y);
      return {
        run,
        async agree(linalg, found) {
          const { distance: ours, iterations } = await run(linalg);
          const theirs = found("result")[0]!;
          const transform = matrix(Float64Array.from(found("transform")), p, p);
          const check = await scoreGaussianShape(linalg, x, y, transform);
          const same = nearness([check], [theirs], 1e-9);
          if (!(ours <= theirs * (1 + 1e-9))) throw new Error(`${ours} here, ${theirs} there`);
          return `distance ${ours.toFixed(6)} (${iterations} iterations) here, ${theirs.toFixed(6)} there; scores of their alignment ${same}`;
        },
      };
    },
  },
  {
    name: "energy",
    title: "energy metric, 10 networks 30 x 30 x 30, 45 pairs",
    goal: { seconds: 4 },
    calls: 1,
    peers: [{ name: "netrep", slow: true }],
    prepare(write) {
      const [k, n] = [10, 30];
      const next = noise(6);
      // Noise of other sizes in every network, so that distances are not 0.
      const [sizes, raw] = [next(k * n), next(k * n ** 3)];
      const data = raw.map((v, at) => v * Math.exp(sizes[Math.floor(at / n ** 3) * n + (at % n)]!));
      write("x", data, [k, n, n, n]);
      const networks = Array.from({ length: k }, (_, i) => ({
        data: data.subarray(i * n ** 3, (i + 1) * n ** 3),
        nStimuli: n,
        nRepeats: n,
        nUnits: n,
      }));
      const run = (linalg: Linalg) => energyShapeDistances(linalg, networks);
      return {
        run,
        agree: async (linalg, found) => nearness((await run(linalg)).data, found("result"), 1e-6),
      };
    },
  },
  decomposition(
    "eigen",
    "symmetric eigenvalues and vectors, 512",
    true,
    async (linalg, a) => (await eigenSymmetric(a, linalg)).values,
  ),
  decomposition(
    "eigenvalues",
    "symmetric eigenvalues alone, 512",
    true,
    async (linalg, a) => (await eigenSymmetric(a, linalg, { vectors: false })).values,
  ),
  decomposition("svd", "SVD, 512 x 512", false, async (linalg, a) => (await svd(a, linalg)).s),
  decomposition("singular-values", "singular values alone, 512 x 512", false, (linalg, a) =>
    singularValues(a, linalg),
  ),
];
