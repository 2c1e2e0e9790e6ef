import { createRng, type Rng } from "@penfield/core";
import { areaUnderRoc } from "@penfield/stats";
import type { RuleText } from "./rules/ruleText.ts";

/** A place in the kept documents: their number and the token there, both from 0. */
export interface TokenPlace {
  readonly document: number;
  readonly position: number;
}

/** How well a rule goes with a unit on documents that it has not seen: what its own rule, another unit's and one made from noise are asked alike. */
export interface RuleFit {
  /** Pearson's correlation of what the rule predicts with the values; 0 where either does not vary. */
  readonly r: number;
  /** Of the rule as a claim about when the unit is active. */
  readonly precision: number;
  readonly recall: number;
  readonly f1: number;
  /** Stretches of 32 tokens: does the rule tell those where the unit is active from others? Undefined where there are too few. */
  readonly detectionAuroc: number | undefined;
  /** Inside stretches where it is active: does the rule tell active tokens from as many others? */
  readonly fuzzingAuroc: number | undefined;
}

/** How well a rule holds on documents that it has not seen. */
export interface RuleScores extends RuleFit {
  /** 95 % interval of `r`, documents resampled. */
  readonly rLow: number;
  readonly rHigh: number;
  /** 1 - error / variance of the two-level prediction that was calibrated on the select documents; can be negative. */
  readonly r2: number;
  /** Where the unit stands when other units' values are compared with its rule: 1 the best of `nCompared` + 1. */
  readonly specificityRank: number | undefined;
  readonly nCompared: number;
  /** Tokens where the rule holds and the unit is silent, and the strongest ones that the rule leaves out. */
  readonly falsePositives: readonly TokenPlace[];
  readonly falseNegatives: readonly TokenPlace[];
  readonly nTokens: number;
  readonly nActive: number;
  readonly nRule: number;
}

/** How often each document is drawn in each resampling; the same for all units. */
export interface Resampling {
  /** `[nResamples, nDocuments]` */
  readonly counts: Uint8Array;
  readonly nResamples: number;
  readonly documents: Int32Array;
}

export function resampleDocuments(splitOf: Uint8Array, seed: number, nResamples = 200): Resampling {
  const documents = Int32Array.from(
    Array.from(splitOf, (split, d) => (split === 2 ? d : -1)).filter((d) => d >= 0),
  );
  const n = documents.length;
  const counts = new Uint8Array(nResamples * n);
  const rng = createRng(seed, 77);
  for (let s = 0; s < nResamples && n > 0; s++) {
    for (let i = 0; i < n; i++) {
      const at = s * n + rng.below(n);
      if (counts[at]! < 255) counts[at]!++;
    }
  }
  return { counts, nResamples, documents };
}

/** Sums from which a correlation is made. */
interface PairSums {
  n: number;
  x: number;
  xx: number;
  m: number;
  xm: number;
}

/** Pearson's r of values and a rule of 0 and 1, from their sums; 0 where either does not vary. */
function correlationOf({ n, x, xx, m, xm }: PairSums): number {
  const varX = xx - (x * x) / n;
  const varM = m - (m * m) / n;
  if (!(varX > 1e-12 * xx) || !(varM > 0)) return 0;
  return (xm - (x * m) / n) / Math.sqrt(varX * varM);
}

/** Correlation of values with a mask on some tokens. */
function maskCorrelation(values: Float32Array, mask: Uint8Array, tokens: Int32Array): number {
  const sums: PairSums = { n: tokens.length, x: 0, xx: 0, m: 0, xm: 0 };
  for (let j = 0; j < tokens.length; j++) add(sums, values[tokens[j]!]!, mask[tokens[j]!]!);
  return correlationOf(sums);
}

function add(sums: PairSums, value: number, bit: number): void {
  sums.x += value;
  sums.xx += value * value;
  sums.m += bit;
  sums.xm += value * bit;
}

/** The middle 95 % of the correlations over resampled documents. */
function interval(
  values: Float32Array,
  mask: Uint8Array,
  text: RuleText,
  { counts, nResamples, documents }: Resampling,
): [number, number] {
  const perDocument = Array.from(documents, (d): PairSums => {
    const sums = { n: text.starts[d + 1]! - text.starts[d]!, x: 0, xx: 0, m: 0, xm: 0 };
    for (let i = text.starts[d]!; i < text.starts[d + 1]!; i++) add(sums, values[i]!, mask[i]!);
    return sums;
  });
  const drawn = Float64Array.from({ length: nResamples }, (_, s) => {
    const sums: PairSums = { n: 0, x: 0, xx: 0, m: 0, xm: 0 };
    perDocument.forEach((own, i) => {
      const times = counts[s * documents.length + i]!;
      if (times === 0) return;
      sums.n += times * own.n;
      sums.x += times * own.x;
      sums.xx += times * own.xx;
      sums.m += times * own.m;
      sums.xm += times * own.xm;
    });
    return sums.n === 0 ? 0 : correlationOf(sums);
  }).sort();
  const at = (q: number) => drawn[Math.round(q * (nResamples - 1))] ?? 0;
  return [at(0.025), at(0.975)];
}

/** Values of other units of the hook on the score tokens, with their sums: against these a rule must be specific. */
export interface Panel {
  readonly units: readonly number[];
  /** `[unit][score token]` */
  readonly values: readonly Float32Array[];
  readonly sums: readonly (readonly [x: number, xx: number])[];
}

export function makePanel(
  units: readonly number[],
  columns: readonly Float32Array[],
  tokens: Int32Array,
): Panel {
  const values = columns.map((column) => Float32Array.from(tokens, (i) => column[i]!));
  const sums = values.map((own) => {
    let x = 0;
    let xx = 0;
    for (const value of own) {
      x += value;
      xx += value * value;
    }
    return [x, xx] as const;
  });
  return { units, values, sums };
}

function specificity(
  unit: number,
  own: number,
  mask: Uint8Array,
  tokens: Int32Array,
  panel: Panel,
): { rank: number | undefined; nCompared: number } {
  const held: number[] = [];
  for (let j = 0; j < tokens.length; j++) if (mask[tokens[j]!] === 1) held.push(j);
  let better = 0;
  let nCompared = 0;
  panel.units.forEach((other, p) => {
    if (other === unit) return;
    nCompared++;
    const [x, xx] = panel.sums[p]!;
    let xm = 0;
    for (const j of held) xm += panel.values[p]![j]!;
    if (correlationOf({ n: tokens.length, x, xx, m: held.length, xm }) >= own) better++;
  });
  return { rank: nCompared === 0 ? undefined : better + 1, nCompared };
}

const WINDOW = 32;
/** Stretches of each kind that a rule is judged on. */
const N_WINDOWS = 50;
/** With fewer, an area under a curve says nothing. */
const MIN_WINDOWS = 5;

/** Stretches of the score documents, in their order. */
export function scoreWindows(text: RuleText, splitOf: Uint8Array): (readonly [number, number])[] {
  const windows: (readonly [number, number])[] = [];
  splitOf.forEach((split, d) => {
    if (split !== 2) return;
    for (let from = text.starts[d]!; from < text.starts[d + 1]!; from += WINDOW) {
      windows.push([from, Math.min(from + WINDOW, text.starts[d + 1]!)]);
    }
  });
  return windows;
}

interface Window {
  readonly from: number;
  readonly to: number;
  /** The highest value, and its token. */
  readonly peak: number;
  readonly nActive: number;
}

/** Both kinds of stretches: the active ones from all heights, the silent ones half at random, half with the unit's own tokens in them. */
function chooseWindows(
  text: RuleText,
  windows: readonly (readonly [number, number])[],
  values: Float32Array,
  active: Uint8Array,
  rng: Rng,
): { on: Window[]; off: Window[] } {
  const all = windows.map(([from, to]): Window => {
    let peak = from;
    let nActive = 0;
    for (let i = from; i < to; i++) {
      if (values[i]! > values[peak]!) peak = i;
      nActive += active[i]!;
    }
    return { from, to, peak, nActive };
  });
  const firing = all
    .filter(({ nActive }) => nActive > 0)
    .sort((a, b) => values[b.peak]! - values[a.peak]! || a.from - b.from);
  const on =
    firing.length <= N_WINDOWS
      ? firing
      : Array.from(
          { length: N_WINDOWS },
          (_, i) => firing[Math.floor(((i + 0.5) * firing.length) / N_WINDOWS)]!,
        );
  const own = new Set(firing.slice(0, 10).map(({ peak }) => text.spellingIds[peak]!));
  const silent = all.filter(({ nActive }) => nActive === 0);
  const hard = silent.filter(({ from, to }) => {
    for (let i = from; i < to; i++) if (own.has(text.spellingIds[i]!)) return true;
    return false;
  });
  const chosen = new Set([...draw(hard, N_WINDOWS / 2, rng), ...draw(silent, N_WINDOWS / 2, rng)]);
  return { on, off: [...chosen] };
}

function draw<T>(items: readonly T[], n: number, rng: Rng): T[] {
  const left = [...items];
  return Array.from({ length: Math.min(n, left.length) }, () => {
    const [item] = left.splice(rng.below(left.length), 1);
    return item!;
  });
}

/** What scoring needs besides the rule: the same for all units. */
export interface ScoreSetting {
  readonly text: RuleText;
  readonly select: Int32Array;
  readonly score: Int32Array;
  readonly resampling: Resampling;
  readonly windows: readonly (readonly [number, number])[];
  readonly panel: Panel;
  readonly seed: number;
}

/** What a unit asks of rules: drawn once, so that every rule is asked the same. */
export interface RuleTrial {
  readonly values: Float32Array;
  readonly active: Uint8Array;
  readonly score: Int32Array;
  readonly on: readonly Window[];
  readonly off: readonly Window[];
  /** Tokens of active stretches, and 1 for those where the unit is active. */
  readonly places: readonly number[];
  readonly labels: readonly number[];
}

export function ruleTrial(
  unit: number,
  values: Float32Array,
  active: Uint8Array,
  { text, score, windows, seed }: Pick<ScoreSetting, "text" | "score" | "windows" | "seed">,
): RuleTrial {
  const rng = createRng(seed + unit, 78);
  const { on, off } = chooseWindows(text, windows, values, active, rng);
  return { values, active, score, on, off, ...fuzzingPlaces(active, on, rng) };
}

/** How well a rule goes with a unit, whichever unit it was made for. */
export function fitOf(
  mask: Uint8Array,
  { values, active, score, on, off, places, labels }: RuleTrial,
): RuleFit {
  let both = 0;
  let nActive = 0;
  let nRule = 0;
  for (const i of score) {
    both += active[i]! & mask[i]!;
    nActive += active[i]!;
    nRule += mask[i]!;
  }
  const precision = nRule === 0 ? 0 : both / nRule;
  const recall = nActive === 0 ? 0 : both / nActive;
  return {
    r: maskCorrelation(values, mask, score),
    precision,
    recall,
    f1: precision + recall === 0 ? 0 : (2 * precision * recall) / (precision + recall),
    detectionAuroc: detection(mask, on, off),
    fuzzingAuroc:
      labels.length < 2 * MIN_WINDOWS
        ? undefined
        : areaUnderRoc(
            places.map((i) => mask[i]!),
            labels,
          ),
  };
}

/** The middle of several fits, score by score; undefined without any. */
export function medianFit(fits: readonly RuleFit[]): RuleFit | undefined {
  if (fits.length === 0) return undefined;
  const middle = (name: keyof RuleFit): number | undefined => {
    const sorted = fits.flatMap((fit) => fit[name] ?? []).sort((a, b) => a - b);
    return sorted[Math.floor(sorted.length / 2)];
  };
  return {
    r: middle("r")!,
    precision: middle("precision")!,
    recall: middle("recall")!,
    f1: middle("f1")!,
    detectionAuroc: middle("detectionAuroc"),
    fuzzingAuroc: middle("fuzzingAuroc"),
  };
}

/** All scores of a rule for its own unit. */
export function scoreRule(
  unit: number,
  mask: Uint8Array,
  trial: RuleTrial,
  { text, select, score, resampling, panel }: ScoreSetting,
): RuleScores {
  const { values, active } = trial;
  const fit = fitOf(mask, trial);
  const [rLow, rHigh] = interval(values, mask, text, resampling);
  const { rank, nCompared } = specificity(unit, fit.r, mask, score, panel);
  const place = (i: number): TokenPlace => ({
    document: text.documentOf[i]!,
    position: text.positions[i]!,
  });
  const wrong = score.filter((i) => mask[i] === 1 && active[i] === 0).slice(0, 5);
  const missed = score
    .filter((i) => mask[i] === 0 && active[i] === 1)
    .sort((a, b) => values[b]! - values[a]! || a - b)
    .slice(0, 5);
  return {
    ...fit,
    rLow,
    rHigh,
    r2: calibratedR2(values, mask, select, score),
    specificityRank: rank,
    nCompared,
    falsePositives: Array.from(wrong, place),
    falseNegatives: Array.from(missed, place),
    nTokens: score.length,
    nActive: score.reduce((sum, i) => sum + active[i]!, 0),
    nRule: score.reduce((sum, i) => sum + mask[i]!, 0),
  };
}

function calibratedR2(
  values: Float32Array,
  mask: Uint8Array,
  select: Int32Array,
  score: Int32Array,
): number {
  const sums = [0, 0];
  const counts = [0, 0];
  for (const i of select) {
    sums[mask[i]!]! += values[i]!;
    counts[mask[i]!]!++;
  }
  const overall = (sums[0]! + sums[1]!) / select.length;
  const levels = [0, 1].map((bit) => (counts[bit] ? sums[bit]! / counts[bit]! : overall));
  let mean = 0;
  for (const i of score) mean += values[i]! / score.length;
  let error = 0;
  let spread = 0;
  for (const i of score) {
    error += (values[i]! - levels[mask[i]!]!) ** 2;
    spread += (values[i]! - mean) ** 2;
  }
  return spread === 0 ? 0 : 1 - error / spread;
}

function detection(
  mask: Uint8Array,
  on: readonly Window[],
  off: readonly Window[],
): number | undefined {
  if (on.length < MIN_WINDOWS || off.length < MIN_WINDOWS) return undefined;
  const scores = [...on, ...off].map(({ from, to }) => Number(mask.subarray(from, to).includes(1)));
  return areaUnderRoc(
    scores,
    scores.map((_, i) => Number(i < on.length)),
  );
}

/** In each active stretch its active tokens and as many others. */
function fuzzingPlaces(
  active: Uint8Array,
  on: readonly Window[],
  rng: Rng,
): { places: number[]; labels: number[] } {
  const places: number[] = [];
  const labels: number[] = [];
  for (const { from, to } of on) {
    const all = Array.from({ length: to - from }, (_, i) => from + i);
    const firing = all.filter((i) => active[i] === 1);
    const others = draw(
      all.filter((i) => active[i] === 0),
      firing.length,
      rng,
    );
    // As many of each: a stretch that is active all over has nothing to be told apart.
    places.push(...firing.slice(0, others.length), ...others);
    labels.push(...others.map(() => 1), ...others.map(() => 0));
  }
  return { places, labels };
}
