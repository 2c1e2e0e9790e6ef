import { ArgumentError, DataError } from "@penfield/core";
import { type Label, labelsOf, makeRdms, pairIndex, pairsOf, type Rdms, rdmRow } from "./rdms.ts";

/**
 * RDMs of different subsets of conditions as one object over all conditions; pairs that an RDM does not
 * have are NaN.
 *
 * @param parts - RDMs with named conditions.
 * @param options.conditions - All conditions, in the order wanted. Default: in the order they first appear.
 * @throws {ArgumentError} if a part has a condition that is not in the list, or one twice.
 *
 * @example
 * const a = rdms([[1]], { conditions: ["x", "y"] });
 * const b = rdms([[2]], { conditions: ["y", "z"] });
 * combinePartials([a, b]).data.join(" ") // => "1 NaN NaN NaN NaN 2"
 */
export function combinePartials(
  parts: readonly Rdms[],
  { conditions }: { conditions?: readonly Label[] } = {},
): Rdms {
  const all = conditions ?? [...new Set(parts.flatMap((part) => part.conditions))];
  const place = new Map(all.map((label, i) => [label, i]));
  const nPairs = pairsOf(all.length);
  const nRdms = parts.reduce((sum, part) => sum + part.nRdms, 0);
  const data = new Float64Array(nRdms * nPairs).fill(Number.NaN);
  let row = 0;
  for (const part of parts) {
    const at = part.conditions.map((label) => {
      const found = place.get(label);
      if (found !== undefined) return found;
      throw new ArgumentError(`combinePartials: expected a condition of the list, got ${label}`);
    });
    if (new Set(at).size < at.length) {
      throw new ArgumentError("combinePartials: expected each condition once per RDM");
    }
    for (let k = 0; k < part.nRdms; k++, row++) {
      const from = rdmRow(part, k);
      let p = 0;
      for (let i = 0; i < at.length; i++) {
        for (let j = i + 1; j < at.length; j++) {
          const [low, high] = at[i]! < at[j]! ? [at[i]!, at[j]!] : [at[j]!, at[i]!];
          data[row * nPairs + pairIndex(all.length, low, high)] = from[p++]!;
        }
      }
    }
  }
  return makeRdms(data, nRdms, { conditions: all, names: parts.flatMap((part) => part.names) });
}

/** How partial RDMs weigh in the estimate that they are scaled to. */
export type RescaleMethod = "evidence" | "setsize" | "simple";

/**
 * Brings partial RDMs to one scale: each is scaled so that its norm is that of the common
 * estimate on the pairs it has, and the estimate is their weighted mean, until that stays.
 *
 * @param partials - RDMs with NaN where a pair was not measured.
 * @param options.method - Weights of the mean: `evidence` (default; the squared dissimilarity, at least 0.04:
 *   large ones are measured better in multi-arrangement), `setsize` (1 / number of pairs), `simple` (1).
 * @param options.threshold - Largest squared change of the estimate at which to stop. Default 1e-8.
 * @returns The scaled RDMs, and the weights `[nRdms, nPairs]` with which to average them ({@link meanRdm}).
 * @throws {DataError} if an RDM has no value but zero and NaN, or if 1000 rounds do not suffice.
 *
 * Cost: O(nRdms nPairs) per round, some tens of rounds.
 * Source: Kriegeskorte & Mur (2012), Front Psychol 3:245. Matches rsatoolbox.rdm.rescale.
 *
 * @example
 * const { scaled } = rescalePartials(rdms([[1, 2, NaN], [2, 4, 6]]), { method: "simple" });
 * (scaled.data[3] / scaled.data[0]).toFixed(3) // => "1.000"
 */
export function rescalePartials(
  partials: Rdms,
  { method = "evidence", threshold = 1e-8 }: { method?: RescaleMethod; threshold?: number } = {},
): { readonly scaled: Rdms; readonly weights: Float64Array } {
  const { nRdms, nPairs, data } = partials;
  const weights = weightsOf(partials, method);
  const norms = Float64Array.from({ length: nRdms }, (_, k) => {
    const norm = Math.sqrt(squares(rdmRow(partials, k)));
    if (norm > 0) return norm;
    throw new DataError(`rescalePartials: expected a dissimilarity other than 0 in RDM ${k}`);
  });
  let estimate = unit(weightedMean(data, nRdms, nPairs, undefined));
  const scaled = new Float64Array(data.length);
  for (let round = 0; round < 1000; round++) {
    for (let k = 0; k < nRdms; k++) {
      let shared = 0;
      for (let p = 0; p < nPairs; p++) {
        if (!Number.isNaN(data[k * nPairs + p]!)) shared += (estimate[p]! || 0) ** 2;
      }
      const factor = Math.sqrt(shared) / norms[k]!;
      for (let p = 0; p < nPairs; p++) scaled[k * nPairs + p] = data[k * nPairs + p]! * factor;
    }
    const next = unit(weightedMean(scaled, nRdms, nPairs, weights));
    let change = 0;
    for (let p = 0; p < nPairs; p++) change += (next[p]! - estimate[p]! || 0) ** 2;
    estimate = next;
    if (change <= threshold) {
      return { scaled: makeRdms(scaled, nRdms, labelsOf(partials)), weights };
    }
  }
  throw new DataError("rescalePartials: expected the scales to settle within 1000 rounds");
}

function weightsOf(partials: Rdms, method: RescaleMethod): Float64Array {
  const { nRdms, nPairs, data } = partials;
  if (method === "evidence") return data.map((d) => Math.max(d * d, 0.2 ** 2));
  if (method === "simple") return data.map((d) => (Number.isNaN(d) ? d : 1));
  if (method !== "setsize") {
    throw new ArgumentError(
      `rescalePartials: expected method evidence, setsize or simple, got ${method}`,
    );
  }
  const sizes = Array.from({ length: nRdms }, (_, k) =>
    rdmRow(partials, k).reduce((count, d) => count + (Number.isNaN(d) ? 0 : 1), 0),
  );
  return data.map((d, i) => (Number.isNaN(d) ? d : 1 / sizes[Math.floor(i / nPairs)]!));
}

const squares = (values: Float64Array): number =>
  values.reduce((sum, v) => (Number.isNaN(v) ? sum : sum + v * v), 0);

const unit = (values: Float64Array): Float64Array => {
  const norm = Math.sqrt(squares(values));
  return values.map((v) => v / norm);
};

function weightedMean(
  data: Float64Array,
  nRdms: number,
  nPairs: number,
  weights: Float64Array | undefined,
): Float64Array {
  const out = new Float64Array(nPairs);
  for (let p = 0; p < nPairs; p++) {
    let sum = 0;
    let total = 0;
    for (let k = 0; k < nRdms; k++) {
      const value = data[k * nPairs + p]!;
      if (Number.isNaN(value)) continue;
      const weight = weights ? weights[k * nPairs + p]! : 1;
      sum += weight * value;
      total += weight;
    }
    out[p] = sum / total;
  }
  return out;
}
