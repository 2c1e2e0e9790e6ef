import {
  type Activations,
  ArgumentError,
  createRng,
  DataError,
  type LongWork,
  permutation,
  type Rng,
  ShapeError,
  takeRows,
  tensor,
  throwIfAborted,
} from "@penfield/core";
import { meanOverRepeats, simulateRecording } from "@penfield/recordings";
import type { Responses } from "../regression/ridgeCv.ts";

/** A model, a layer or a set of units that could be the brain. */
export interface Candidate {
  readonly name: string;
  /** What is scored, `[nStimuli, nUnits]`. */
  readonly features: Activations;
  /**
   * What plays the brain in its place, each `[nStimuli, n]`: other seeds of the same architecture, say, so
   * that the right answer is of the right kind and not the very same units. Default: the features.
   */
  readonly brains?: readonly Activations[] | undefined;
}

/** A way to score a candidate against a brain. */
export interface IdentifyMethod {
  /** As the command line spells it. */
  readonly name: string;
  readonly title: string;
  /**
   * Larger is more like the brain; NaN counts as the lowest.
   *
   * @param features - `[nKept, nUnits]` of a candidate.
   * @param responses - `[nKept, nTargets]`.
   * @param stimuli - Which of all stimuli these rows are, in ascending order: for folds and groups.
   */
  readonly score: (
    features: Activations,
    responses: Responses,
    stimuli: Int32Array,
  ) => Promise<number>;
}

/** Where finished brains are kept, so that an interrupted run goes on. */
export interface IdentifyWork {
  getJson(key: string): Promise<unknown>;
  putJson(key: string, value: unknown): Promise<void>;
}

/** Which models could be the brain, and how much of it would be recorded. */
export interface IdentifyOptions extends LongWork {
  /** At least 2, over the same stimuli. */
  readonly candidates: readonly Candidate[];
  /** At least 1. */
  readonly methods: readonly IdentifyMethod[];
  /** Simulated recordings of each candidate. Default 10. */
  readonly nSimulations?: number | undefined;
  /** As in the recording at hand. Default 50. */
  readonly nTargets?: number | undefined;
  /** As in the recording at hand. Default 1. */
  readonly nRepeats?: number | undefined;
  /**
   * Variance of the signal over that of the noise in one repeat. From a reliability R of the mean of n
   * repeats: R / (1 - R) / n. Default 1.
   */
  readonly signalToNoise?: number | undefined;
  /**
   * What a target records: a random `mixture` of all units (a voxel; default), or one random `unit` (a
   * neuron; drawn without repetition while there are enough).
   */
  readonly targets?: "mixture" | "unit" | undefined;
  /** Smaller numbers of stimuli to try as well, drawn at random. Default none. */
  readonly stimulusCounts?: readonly number[] | undefined;
  /** Other numbers of targets to try as well. Default none. */
  readonly targetCounts?: readonly number[] | undefined;
  /** Default 0. */
  readonly seed?: number | undefined;
  readonly work?: IdentifyWork | undefined;
}

/** A share of simulated brains, with its 95 % Wilson interval. */
export interface Rate {
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

/** How far a method's scores can be trusted to name the right candidate. */
export interface Identified {
  readonly name: string;
  readonly title: string;
  readonly rate: Rate;
  /** confusion[i][j]: how often candidate j scored highest when candidate i was the brain. */
  readonly confusion: readonly (readonly number[])[];
  /** Brains for which several candidates shared the highest score; one of them was drawn. */
  readonly nTies: number;
}

/** Rates at one amount of data. */
export interface IdentificationPoint {
  readonly over: "stimuli" | "targets";
  readonly n: number;
  /** In the order of the methods. */
  readonly rates: readonly Rate[];
}

/** If we got it right, would we know? */
export interface Identification {
  readonly candidates: readonly string[];
  /** Candidates times simulations, at each amount of data. */
  readonly nBrains: number;
  /** What guessing gives: 1 / candidates. */
  readonly chance: number;
  readonly methods: readonly Identified[];
  readonly curve: readonly IdentificationPoint[];
}

/**
 * If we got it right, would we know? Each candidate in turn is the brain (`simulateRecording`: targets that
 * listen to its units, with noise), every method scores every candidate against it, and it is counted how
 * often the right one scores highest.
 *
 * A low rate means that a ranking of these candidates by this score, on this many stimuli and with this much noise,
 * says little. A high rate is an upper bound: a real brain is none of the candidates. Of equal scores one is
 * drawn at random: two candidates that a method cannot tell apart share what they win.
 *
 * @param options - Which models, how they are scored, and how much data.
 * @returns Rates with 95 % Wilson intervals, at the full amount of data and along the curves.
 * @throws {ArgumentError} if there are fewer than 2 candidates, no method, two of one name, or an option is out of range.
 * @throws {ShapeError} if candidates differ in their number of stimuli.
 * @throws {DataError} if features are not finite or do not vary.
 * @throws {InterruptedError} if the signal fires; brains that are done stay in `work`.
 *
 * Cost: (1 + points of the curves) candidates^2 nSimulations times the scores of all methods.
 * Source: Han, Poggio & Cheung (2023), System identification of neural systems: if we got it right, would we
 * know?, ICML. Interval: Wilson (1927), J Am Stat Assoc 22.
 *
 * @example
 * const rng = createRng(1);
 * const random = () => activations(Array.from({ length: 40 }, () => [rng.normal(), rng.normal()]));
 * const { methods } = await identify({
 *   candidates: [{ name: "a", features: random() }, { name: "b", features: random() }],
 *   methods: [ridgeMethod()],
 *   nSimulations: 3,
 *   signalToNoise: 10,
 * });
 * methods[0].rate.value // => 1
 */
export async function identify(options: IdentifyOptions): Promise<Identification> {
  const plan = planIdentify(options);
  const { candidates, methods, points, nSimulations, seed } = plan;
  const { onProgress, signal, work } = options;
  const seeds = createRng(seed);
  const perPoint = candidates.length * nSimulations;
  const total = points.length * perPoint;
  const tallies = points.map(() =>
    methods.map(() => ({
      confusion: candidates.map(() => candidates.map(() => 0)),
      nTies: 0,
    })),
  );
  let done = 0;
  for (let s = 0; s < nSimulations; s++) {
    for (const [truth, candidate] of candidates.entries()) {
      for (const [p, point] of points.entries()) {
        throwIfAborted(signal, "identify");
        // Drawn whether or not the brain is still to be made: the next ones must not depend on it.
        const own = seeds.below(2 ** 31);
        const key = `brain ${p} ${truth} ${s}`;
        const kept = await work?.getJson(key);
        let scores: number[][];
        if (isScores(kept, methods.length, candidates.length)) {
          scores = kept.map((row) => row.map((v) => v ?? Number.NaN));
        } else {
          scores = await scoreBrain(candidate, point, own, s, plan);
          await work?.putJson(key, scores);
        }
        const draw = createRng(own ^ 0x5eed);
        scores.forEach((row, m) => {
          const best = highest(row);
          const tally = tallies[p]![m]!;
          if (best.length > 1) tally.nTies++;
          tally.confusion[truth]![best[draw.below(best.length)]!]!++;
        });
        onProgress?.({ stage: "simulating brains", done: ++done, total, unit: "brains" });
      }
    }
  }
  const rateOf = (confusion: readonly (readonly number[])[]): Rate =>
    wilson(
      confusion.reduce((sum, row, i) => sum + row[i]!, 0),
      perPoint,
    );
  return {
    candidates: candidates.map(({ name }) => name),
    nBrains: perPoint,
    chance: 1 / candidates.length,
    methods: methods.map(({ name, title }, m) => {
      const { confusion, nTies } = tallies[0]![m]!;
      return { name, title, rate: rateOf(confusion), confusion, nTies };
    }),
    curve: points.flatMap(({ over, n }, p) =>
      over === undefined
        ? []
        : [{ over, n, rates: tallies[p]!.map(({ confusion }) => rateOf(confusion)) }],
    ),
  };
}

interface Point {
  /** Undefined for the full amount. */
  readonly over: "stimuli" | "targets" | undefined;
  readonly n: number;
  readonly nStimuli: number;
  readonly nTargets: number;
}

interface Plan {
  readonly candidates: readonly Candidate[];
  readonly methods: readonly IdentifyMethod[];
  readonly points: readonly Point[];
  readonly nAll: number;
  readonly nSimulations: number;
  readonly nRepeats: number;
  readonly signalToNoise: number;
  readonly targets: "mixture" | "unit";
  readonly seed: number;
}

function planIdentify({
  candidates,
  methods,
  nSimulations = 10,
  nTargets = 50,
  nRepeats = 1,
  signalToNoise = 1,
  targets = "mixture",
  stimulusCounts = [],
  targetCounts = [],
  seed = 0,
}: IdentifyOptions): Plan {
  if (candidates.length < 2) {
    throw new ArgumentError(`identify: expected at least 2 candidates, got ${candidates.length}`);
  }
  if (methods.length === 0) {
    throw new ArgumentError("identify: expected at least one method, got none");
  }
  for (const [what, names] of [
    ["candidates", candidates.map(({ name }) => name)],
    ["methods", methods.map(({ name }) => name)],
  ] as const) {
    const twice = names.find((name, i) => names.indexOf(name) !== i);
    if (twice !== undefined) {
      throw new ArgumentError(
        `identify: expected ${what} of different names, got ${JSON.stringify(twice)} twice`,
      );
    }
  }
  const counts = candidates.flatMap(({ features, brains = [] }) =>
    [features, ...brains].map(({ shape }) => shape[0]),
  );
  if (new Set(counts).size > 1) {
    throw new ShapeError(
      `identify: expected equally many stimuli for all candidates, got ${[...new Set(counts)].join(", ")}`,
    );
  }
  const nAll = counts[0]!;
  for (const [key, values, most] of [
    ["nSimulations", [nSimulations], Number.POSITIVE_INFINITY],
    ["nTargets", [nTargets, ...targetCounts], Number.POSITIVE_INFINITY],
    ["nRepeats", [nRepeats], Number.POSITIVE_INFINITY],
    ["stimulusCounts", stimulusCounts, nAll],
  ] as const) {
    const wrong = values.find((n) => !(Number.isInteger(n) && n >= 1 && n <= most));
    if (wrong !== undefined) {
      throw new ArgumentError(
        `identify: expected ${key} of whole numbers from 1${most < Number.POSITIVE_INFINITY ? ` to ${most}` : ""}, got ${wrong}`,
      );
    }
  }
  if (!(signalToNoise > 0)) {
    throw new ArgumentError(`identify: expected signalToNoise above 0, got ${signalToNoise}`);
  }
  return {
    candidates,
    methods,
    points: [
      { over: undefined, n: nAll, nStimuli: nAll, nTargets },
      ...stimulusCounts.map((n) => ({ over: "stimuli" as const, n, nStimuli: n, nTargets })),
      ...targetCounts.map((n) => ({ over: "targets" as const, n, nStimuli: nAll, nTargets: n })),
    ],
    nAll,
    nSimulations,
    nRepeats,
    signalToNoise,
    targets,
    seed,
  };
}

/** Every method's score of every candidate, `[method][candidate]`. */
async function scoreBrain(
  truth: Candidate,
  { nStimuli, nTargets }: Point,
  seed: number,
  simulation: number,
  plan: Plan,
): Promise<number[][]> {
  const rng = createRng(seed);
  const stimuli = permutation(plan.nAll, rng).subarray(0, nStimuli).sort();
  const brains = truth.brains ?? [truth.features];
  const source = brains[simulation % brains.length]!;
  const responses = recorded(takeRows(source, stimuli), nTargets, rng, plan);
  const scores: number[][] = [];
  for (const { score } of plan.methods) {
    const row: number[] = [];
    for (const { features } of plan.candidates) {
      row.push(await score(takeRows(features, stimuli), responses, stimuli));
    }
    scores.push(row);
  }
  return scores;
}

function recorded(
  source: Activations,
  nTargets: number,
  rng: Rng,
  { nRepeats, signalToNoise, targets }: Plan,
): Responses {
  const ids = Array.from({ length: source.shape[0] }, (_, i) => String(i));
  const options = { nRepeats, signalToNoise };
  if (targets === "mixture") {
    const seed = rng.below(2 ** 31);
    return meanOverRepeats(simulateRecording(source, ids, { ...options, nTargets, seed }));
  }
  // Each target is one unit: a mixture of a single unit is that unit, up to its sign.
  const varying = varyingUnits(source);
  const order: number[] = [];
  while (order.length < nTargets) {
    order.push(...permutation(varying.length, rng).map((i) => varying[i]!));
  }
  const out = new Float64Array(ids.length * nTargets);
  for (let t = 0; t < nTargets; t++) {
    const seed = rng.below(2 ** 31);
    const one = simulateRecording(source, ids, {
      ...options,
      nTargets: 1,
      units: [order[t]!],
      seed,
    });
    const { data } = meanOverRepeats(one);
    for (let i = 0; i < ids.length; i++) out[i * nTargets + t] = data[i]!;
  }
  return tensor(out, ["stimulus", "target"], [ids.length, nTargets]);
}

function varyingUnits({ data, shape: [nStimuli, nUnits] }: Activations): number[] {
  const found: number[] = [];
  for (let u = 0; u < nUnits; u++) {
    for (let i = 1; i < nStimuli; i++) {
      if (data[i * nUnits + u] !== data[u]) {
        found.push(u);
        break;
      }
    }
  }
  if (found.length === 0) {
    throw new DataError("identify: expected units that vary over stimuli, got none");
  }
  return found;
}

/** The places of the highest score; all places if none is a number. */
function highest(scores: readonly number[]): number[] {
  const best = Math.max(...scores.map((v) => (Number.isNaN(v) ? Number.NEGATIVE_INFINITY : v)));
  return scores.flatMap((v, i) =>
    v === best || (best === Number.NEGATIVE_INFINITY && Number.isNaN(v)) ? [i] : [],
  );
}

/** NaN is null in JSON. */
function isScores(
  value: unknown,
  nMethods: number,
  nCandidates: number,
): value is (number | null)[][] {
  return (
    Array.isArray(value) &&
    value.length === nMethods &&
    value.every(
      (row) =>
        Array.isArray(row) &&
        row.length === nCandidates &&
        row.every((v) => v === null || typeof v === "number"),
    )
  );
}

const Z = 1.959963984540054;

function wilson(nRight: number, n: number): Rate {
  const p = nRight / n;
  const middle = (p + Z ** 2 / (2 * n)) / (1 + Z ** 2 / n);
  const half = (Z / (1 + Z ** 2 / n)) * Math.sqrt((p * (1 - p)) / n + Z ** 2 / (4 * n ** 2));
  return { value: p, low: Math.max(0, middle - half), high: Math.min(1, middle + half) };
}
