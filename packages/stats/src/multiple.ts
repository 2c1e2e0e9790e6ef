import { ArgumentError } from "@penfield/core";

function checkP(name: string, p: ArrayLike<number>): void {
  for (let i = 0; i < p.length; i++) {
    if (!(p[i]! >= 0 && p[i]! <= 1)) {
      throw new ArgumentError(`${name}: expected p-values within 0..1, got ${p[i]} at ${i}`, {
        hint: "Give a test that could not be made p = 1, so that it still counts as a test.",
      });
    }
  }
}

/**
 * P-values adjusted so that keeping those below q holds the expected share of false discoveries
 * below q (Benjamini–Hochberg).
 *
 *   q_(i) = min over j >= i of p_(j) m / j, at most 1
 *
 * @param p - [m], each 0..1, in any order.
 * @returns [m], in the order of `p`.
 * @throws {ArgumentError} if a value is NaN or outside 0..1 (as scipy; no test is left out silently).
 *
 * Cost: O(m log m).
 * Source: Benjamini & Hochberg (1995), J R Stat Soc B 57:289-300. Matches scipy.stats.false_discovery_control.
 *
 * @example
 * Array.from(benjaminiHochberg([0.01, 0.04, 0.03, 0.5])).map((q) => q.toFixed(4)).join(" ") // => "0.0400 0.0533 0.0533 0.5000"
 */
export function benjaminiHochberg(p: ArrayLike<number>): Float64Array {
  checkP("benjaminiHochberg", p);
  const m = p.length;
  const order = Uint32Array.from({ length: m }, (_, i) => i).sort((i, j) => p[i]! - p[j]!);
  const q = new Float64Array(m);
  let least = 1;
  for (let rank = m; rank >= 1; rank--) {
    const i = order[rank - 1]!;
    least = Math.min(least, p[i]! * (m / rank));
    q[i] = least;
  }
  return q;
}

/**
 * P-values times their number, at most 1: keeping those below alpha holds the chance of even one
 * false discovery below alpha.
 *
 * @param p - [m], each 0..1.
 * @throws {ArgumentError} if a value is NaN or outside 0..1.
 *
 * @example
 * bonferroni([0.01, 0.5]).join(" ") // => "0.02 1"
 */
export function bonferroni(p: ArrayLike<number>): Float64Array {
  checkP("bonferroni", p);
  return Float64Array.from(p, (value) => Math.min(1, value * p.length));
}
