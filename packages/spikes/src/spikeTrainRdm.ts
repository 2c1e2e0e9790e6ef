import { ArgumentError, ShapeError, type Tensor, tensor } from "@penfield/core";
import type { SpikeTrain } from "./spikeTrain.ts";

/** Any measure of how far two trains are apart, such as `(a, b) => vanRossum(a, b, { tauSeconds: 0.02 })`. */
export type TrainDistance = (a: SpikeTrain, b: SpikeTrain) => number;

/**
 * A measure of all pairs of trains, as a matrix.
 *
 * @param trains - At least one.
 * @param measure - A distance or similarity, taken to be symmetric: each pair is computed once.
 * @returns `[nTrains, nTrains]`, with measure(a, a) on the diagonal.
 * @throws {ShapeError} if there is no train.
 *
 * Cost: n (n + 1) / 2 calls.
 *
 * @example
 * const trains = [[0.1], [0.1, 0.5], []].map((times) => spikeTrain(times, { tStop: 1 }));
 * pairwise(trains, (a, b) => victorPurpura(a, b, { costPerSecond: 10 })).data.join(" ") // => "0 1 1 1 0 2 1 2 0"
 */
export function pairwise(
  trains: readonly SpikeTrain[],
  measure: TrainDistance,
): Tensor<readonly ["train", "train"]> {
  const n = trains.length;
  if (n === 0) throw new ShapeError("pairwise: expected at least one train, got none");
  const data = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = i; j < n; j++) {
      const value = measure(trains[i]!, trains[j]!);
      data[i * n + j] = value;
      data[j * n + i] = value;
    }
  }
  return tensor(data, ["train", "train"], [n, n]);
}

/**
 * The mean of a measure over all pairs of different trains: the multivariate ISI- or SPIKE-distance.
 *
 * @param trains - At least two.
 * @throws {ShapeError} if there are fewer.
 *
 * Source: Kreuz et al. (2013); matches PySpike 0.7 `isi_distance` and `spike_distance` of a list. For synchronization
 * take `spikeSynchronizationOfMany`, which adds over spikes instead.
 *
 * @example
 * const trains = [[0.1], [0.1, 0.5], []].map((times) => spikeTrain(times, { tStop: 1 }));
 * meanOverPairs(trains, (a, b) => victorPurpura(a, b, { costPerSecond: 10 })).toFixed(3) // => "1.333"
 */
export function meanOverPairs(trains: readonly SpikeTrain[], measure: TrainDistance): number {
  const n = trains.length;
  if (n < 2) throw new ShapeError(`meanOverPairs: expected at least 2 trains, got ${n}`);
  let sum = 0;
  for (let i = 0; i < n; i++) {
    for (let j = i + 1; j < n; j++) sum += measure(trains[i]!, trains[j]!);
  }
  return sum / ((n * (n - 1)) / 2);
}

/**
 * A representational dissimilarity matrix of spike trains: how different the responses to each two stimuli are.
 *
 *   euclidean: rdm(s, t) = sqrt(sum over units d(s_u, t_u)^2)
 *   sum:       rdm(s, t) = sum over units d(s_u, t_u)
 *
 * @param responses - `[nStimuli][nUnits]` trains; at least two stimuli, all with the same units.
 * @param distance - Between trains of one unit; its times must be from stimulus onset.
 * @param options.combine - `euclidean` (default) fits distances that are lengths, such as van Rossum's; `sum` those that
 *   are costs, such as Victor and Purpura's.
 * @returns The RDM as a condensed vector: upper triangle, row by row, `[nStimuli (nStimuli - 1) / 2]`, as
 *   `@penfield/compare` takes it.
 * @throws {ShapeError} if there are fewer than 2 stimuli, no units, or the numbers of units differ.
 * @throws {ArgumentError} if combine is unknown.
 *
 * Cost: nUnits calls per pair of stimuli.
 *
 * @example
 * const at = (...times) => spikeTrain(times, { tStop: 1 });
 * const responses = [[at(0.1), at()], [at(), at(0.3)], [at(0.1), at()]]; // 3 stimuli, 2 units
 * const distance = (a, b) => vanRossum(a, b, { tauSeconds: 0.02 });
 * spikeTrainRdm(responses, distance).map((v) => Math.round(v * 1000) / 1000).join(" ") // => "1.414 0 1.414"
 */
export function spikeTrainRdm(
  responses: readonly (readonly SpikeTrain[])[],
  distance: TrainDistance,
  { combine = "euclidean" }: { combine?: "euclidean" | "sum" } = {},
): Float64Array {
  const name = "spikeTrainRdm";
  const n = responses.length;
  if (n < 2) throw new ShapeError(`${name}: expected at least 2 stimuli, got ${n}`);
  const nUnits = responses[0]!.length;
  const other = responses.findIndex((units) => units.length !== nUnits);
  if (other >= 0 || nUnits === 0) {
    throw new ShapeError(
      `${name}: expected the same units for every stimulus (${nUnits}), got ${responses[Math.max(0, other)]!.length} for stimulus ${Math.max(0, other)}`,
    );
  }
  if (combine !== "euclidean" && combine !== "sum") {
    throw new ArgumentError(`${name}: expected combine euclidean or sum, got ${combine}`);
  }
  const rdm = new Float64Array((n * (n - 1)) / 2);
  let at = 0;
  for (let i = 0; i < n; i++) {
    for (let j = i + 1; j < n; j++) {
      let total = 0;
      for (let u = 0; u < nUnits; u++) {
        const d = distance(responses[i]![u]!, responses[j]![u]!);
        total += combine === "sum" ? d : d * d;
      }
      rdm[at++] = combine === "sum" ? total : Math.sqrt(total);
    }
  }
  return rdm;
}
