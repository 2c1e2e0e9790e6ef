import { ArgumentError } from "@penfield/core";
import type { SpikeTrain } from "./spikeTrain.ts";

/**
 * What one spike against none comes to: `singleSpike` 1 (as elephant computes it), `vanRossum2001` 1 / sqrt 2 (as the
 * paper defines it).
 */
export type VanRossumNormalization = "singleSpike" | "vanRossum2001";

/** Time constant and scale. */
export interface VanRossumOptions {
  /** tau, in seconds, above 0; infinity compares counts. */
  readonly tauSeconds: number;
  /** Default "singleSpike". */
  readonly normalization?: VanRossumNormalization | undefined;
}

/**
 * Van Rossum's distance: each spike becomes a step that decays with tau, and the traces' difference is integrated.
 *
 *   f(t) = sum_i H(t - t_i) exp(-(t - t_i) / tau)
 *   vanRossum2001:  D^2 = (1 / tau) integral (f - g)^2 dt      one spike against none: D = 1 / sqrt 2
 *   singleSpike:    D^2 = (2 / tau) integral (f - g)^2 dt      one spike against none: D = 1
 *
 * @param a - Times in seconds; the integral runs on after tStop, so the recording's ends play no part.
 * @param b - Another train.
 * @param options.tauSeconds - In seconds. Two spikes dt apart: D^2 = 2 (1 - exp(-dt / tau)) under `singleSpike`.
 * @param options.normalization - Default `singleSpike`. The two differ by a factor of sqrt 2.
 * @returns 0 or more, exactly 0 for equal trains. A metric.
 * @throws {ArgumentError} if tauSeconds is not above 0 or the normalization is unknown.
 *
 * The difference of the traces decays between events: with x_k its value after the k-th one, the integral is
 * sum x_k^2 (1 - exp(-2 (t_{k+1} - t_k) / tau)) tau / 2, in which nothing cancels.
 *
 * Cost: O(n + m), one sweep, no grid.
 * Source: van Rossum (2001), Neural Comput 13:751-763. `singleSpike` matches elephant 1.2 `van_rossum_distance`, which leaves
 * the factor 1 / sqrt 2 out.
 *
 * @example
 * const one = spikeTrain([0.5], { tStop: 1 });
 * const none = spikeTrain([], { tStop: 1 });
 * vanRossum(one, none, { tauSeconds: 0.02 }) // => 1
 * vanRossum(one, none, { tauSeconds: 0.02, normalization: "vanRossum2001" }).toFixed(4) // => "0.7071"
 */
export function vanRossum(
  a: SpikeTrain,
  b: SpikeTrain,
  { tauSeconds, normalization = "singleSpike" }: VanRossumOptions,
): number {
  if (!(tauSeconds > 0)) {
    throw new ArgumentError(`vanRossum: expected tauSeconds above 0, got ${tauSeconds}`);
  }
  if (normalization !== "singleSpike" && normalization !== "vanRossum2001") {
    throw new ArgumentError(
      `vanRossum: expected normalization singleSpike or vanRossum2001, got ${normalization}`,
    );
  }
  const x = a.times;
  const y = b.times;
  let trace = 0;
  let squared = 0;
  let last = Number.NaN;
  for (let i = 0, j = 0; i < x.length || j < y.length; ) {
    const next = Math.min(x[i] ?? Number.POSITIVE_INFINITY, y[j] ?? Number.POSITIVE_INFINITY);
    if (trace !== 0) {
      const gap = (next - last) / tauSeconds;
      squared -= trace * trace * Math.expm1(-2 * gap);
      trace *= Math.exp(-gap);
    }
    for (; x[i] === next; i++) trace++;
    for (; y[j] === next; j++) trace--;
    last = next;
  }
  squared += trace * trace;
  return Math.sqrt(normalization === "singleSpike" ? squared : squared / 2);
}
