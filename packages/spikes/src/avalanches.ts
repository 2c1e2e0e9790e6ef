import { DataError, ShapeError } from "@penfield/core";
import { checkCount, checkCounts } from "./check.ts";
import { fitPowerLaw, type PowerLawFit, type PowerLawOptions } from "./powerLaw.ts";

/** Runs of bins with spikes, between bins without. */
export interface Avalanches {
  /** Spikes in each, `[nAvalanches]`. */
  readonly sizes: Float64Array;
  /** Bins that each lasted, `[nAvalanches]`. */
  readonly durations: Float64Array;
  /** Runs at the ends of the recording, whose true length is not known. */
  readonly nTruncated: number;
}

/**
 * Neuronal avalanches: runs of time bins with spikes.
 *
 * @param counts - Spikes of all units per bin. The bin sets what an avalanche is: often the mean interval between spikes of
 *   the population.
 * @param options.truncated - Whether to `keep` runs that touch an end of the recording or `drop` them. Default keep.
 * @returns Sizes (spikes) and durations (bins) in order; none if there are no spikes.
 * @throws {DataError} if a count is no whole number of 0 or more.
 *
 * Cost: O(nBins).
 * Source: Beggs & Plenz (2003), J Neurosci 23:11167-11177.
 *
 * @example
 * findAvalanches([0, 2, 1, 0, 0, 4, 0]).sizes.join(" ") // => "3 4"
 * findAvalanches([0, 2, 1, 0, 0, 4, 0]).durations.join(" ") // => "2 1"
 */
export function findAvalanches(
  counts: ArrayLike<number>,
  { truncated = "keep" }: { truncated?: "keep" | "drop" } = {},
): Avalanches {
  checkCounts("findAvalanches", "counts", counts, 0);
  const sizes: number[] = [];
  const durations: number[] = [];
  let nTruncated = 0;
  for (let i = 0; i < counts.length; ) {
    if (counts[i] === 0) {
      i++;
      continue;
    }
    const start = i;
    let size = 0;
    while (i < counts.length && counts[i]! > 0) size += counts[i++]!;
    const cut = start === 0 || i === counts.length;
    if (cut) nTruncated++;
    if (cut && truncated === "drop") continue;
    sizes.push(size);
    durations.push(i - start);
  }
  return { sizes: Float64Array.from(sizes), durations: Float64Array.from(durations), nTruncated };
}

/**
 * How the mean size of avalanches grows with their duration, as a straight line between logarithms.
 *
 *   ln <S>(T) = slope ln T + intercept
 *
 * @param avalanches - From {@link findAvalanches}.
 * @param options.minCount - Durations with fewer avalanches are left out. Default 4.
 * @param options.maxDuration - Longer ones are left out. Default infinity.
 * @param options.durations - Use exactly these instead.
 * @returns The slope 1 / (sigma nu z), and the durations used.
 * @throws {DataError} if fewer than two durations are left.
 *
 * Cost: O(n).
 *
 * @example
 * const { slope } = sizeGivenDuration({ sizes: [1, 4, 9], durations: [1, 2, 3] }, { minCount: 1 });
 * slope.toFixed(3) // => "2.000"
 */
export function sizeGivenDuration(
  { sizes, durations }: { sizes: ArrayLike<number>; durations: ArrayLike<number> },
  {
    minCount = 4,
    maxDuration = Number.POSITIVE_INFINITY,
    durations: wanted,
  }: { minCount?: number; maxDuration?: number; durations?: ArrayLike<number> | undefined } = {},
): { slope: number; intercept: number; durations: Float64Array } {
  const name = "sizeGivenDuration";
  if (sizes.length !== durations.length) {
    throw new ShapeError(
      `${name}: expected as many sizes as durations, got ${sizes.length} and ${durations.length}`,
    );
  }
  checkCount(name, "minCount", minCount, 1);
  const byDuration = new Map<number, { count: number; sum: number }>();
  for (let i = 0; i < sizes.length; i++) {
    const entry = byDuration.get(durations[i]!) ?? { count: 0, sum: 0 };
    byDuration.set(durations[i]!, { count: entry.count + 1, sum: entry.sum + sizes[i]! });
  }
  const named = wanted && new Set(Array.from(wanted));
  const used = [...byDuration]
    .filter(([duration, { count }]) =>
      named ? named.has(duration) : count >= minCount && duration <= maxDuration,
    )
    .sort(([a], [b]) => a - b);
  if (used.length < 2) {
    throw new DataError(
      `${name}: expected at least two durations with ${minCount} or more avalanches, got ${used.length}`,
      { hint: "Record for longer, or lower minCount." },
    );
  }
  const x = used.map(([duration]) => Math.log(duration));
  const y = used.map(([, { count, sum }]) => Math.log(sum / count));
  const meanX = x.reduce((a, b) => a + b, 0) / x.length;
  const meanY = y.reduce((a, b) => a + b, 0) / y.length;
  const xx = x.reduce((sum, v) => sum + (v - meanX) ** 2, 0);
  const slope = x.reduce((sum, v, i) => sum + (v - meanX) * (y[i]! - meanY), 0) / xx;
  return {
    slope,
    intercept: meanY - slope * meanX,
    durations: Float64Array.from(used, ([duration]) => duration),
  };
}

/** The three exponents of avalanches and whether they agree. */
export interface CracklingNoise {
  /** tau of p(S). */
  readonly size: PowerLawFit;
  /** alpha of p(T). */
  readonly duration: PowerLawFit;
  /** Of ln <S> on ln T. */
  readonly measured: number;
  /** (alpha - 1) / (tau - 1). */
  readonly predicted: number;
  /** |measured - predicted|: the deviation from criticality coefficient. */
  readonly deviation: number;
}

/**
 * The crackling-noise relation: at criticality the exponents of size, of duration and of size given duration are tied.
 *
 *   (alpha - 1) / (tau - 1) = 1 / (sigma nu z)
 *
 * @param avalanches - From {@link findAvalanches}.
 * @param options.size - Bounds of the fit to sizes. Default xMin 1, no upper bound.
 * @param options.duration - Bounds of the fit to durations.
 * @param options.minCount - As in {@link sizeGivenDuration}.
 * @returns The exponents, both sides of the relation and their difference. The relation can hold without criticality: report it
 *   beside the branching ratio and the tests of the power laws.
 * @throws {DataError} if there are too few different sizes or durations.
 *
 * Cost: two fits.
 * Source: Sethna, Dahmen & Myers (2001), Nature 410:242; Friedman et al. (2012), Phys Rev Lett 108:208102; the deviation is
 * that of Ma et al. (2019), Neuron 104:655.
 *
 * @example
 * const rng = createRng(5);
 * const counts = avalancheActivity({ m: 1, nAvalanches: 3000, maxSize: 2000 }, rng);
 * const { size, predicted, measured } = cracklingNoise(findAvalanches(counts), { size: { xMax: 200 }, duration: { xMax: 20 } });
 * Math.abs(size.alpha - 1.5) < 0.1 // => true
 */
export function cracklingNoise(
  avalanches: Pick<Avalanches, "sizes" | "durations">,
  {
    size = {},
    duration = {},
    minCount = 4,
    maxDuration = Number.POSITIVE_INFINITY,
  }: {
    size?: PowerLawOptions;
    duration?: PowerLawOptions;
    minCount?: number;
    maxDuration?: number;
  } = {},
): CracklingNoise {
  const ofSize = fitPowerLaw(avalanches.sizes, size);
  const ofDuration = fitPowerLaw(avalanches.durations, duration);
  const measured = sizeGivenDuration(avalanches, { minCount, maxDuration }).slope;
  const predicted = (ofDuration.alpha - 1) / (ofSize.alpha - 1);
  return {
    size: ofSize,
    duration: ofDuration,
    measured,
    predicted,
    deviation: Math.abs(measured - predicted),
  };
}

/**
 * The usual ratio of activity to activity one step before, as a first look: too low under subsampling, see `branchingRatio`.
 *
 *   mean of A_{t+1} / A_t over steps with A_t > 0
 *
 * @param counts - Spikes of all units per bin.
 * @returns NaN if no bin but the last has a spike.
 * @throws {DataError} if a count is no whole number of 0 or more.
 *
 * @example
 * naiveBranchingRatio([2, 1, 1, 0]) // => 0.5
 */
export function naiveBranchingRatio(counts: ArrayLike<number>): number {
  checkCounts("naiveBranchingRatio", "counts", counts, 0);
  let sum = 0;
  let n = 0;
  for (let t = 0; t + 1 < counts.length; t++) {
    if (counts[t] === 0) continue;
    sum += counts[t + 1]! / counts[t]!;
    n++;
  }
  return n === 0 ? Number.NaN : sum / n;
}
