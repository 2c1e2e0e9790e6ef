/** How often something holds inside a group and outside of it. */
export interface GroupCounts {
  readonly inside: number;
  readonly outside: number;
  readonly nInside: number;
  readonly nOutside: number;
}

/** The prior weighs as much as one item in ten. */
const PRIOR_SHARE = 0.1;

/**
 * z-score of the log-odds ratio of a word inside a group against outside, with a Dirichlet prior made of both:
 *
 *   a = 0.1 (y1 + y2), b = 0.1 (n1 + n2)
 *   d = ln((y1 + a) / (n1 + b - y1 - a)) - ln((y2 + a) / (n2 + b - y2 - a))
 *   z = d / sqrt(1 / (y1 + a) + 1 / (y2 + a))
 *
 * @returns Above 0 for a word of the group; 0 for a word that stands nowhere.
 *
 * Source: Monroe, Colaresi & Quinn (2008), Political Analysis 16(4):372-403, equations 15 to 22, on counts of items (documents, contexts).
 *
 * @example
 * logOddsZ({ inside: 8, outside: 0, nInside: 10, nOutside: 40 }).toFixed(2) // => "3.74"
 */
export function logOddsZ({ inside, outside, nInside, nOutside }: GroupCounts): number {
  if (inside + outside === 0) return 0;
  const a = PRIOR_SHARE * (inside + outside);
  const rest = PRIOR_SHARE * (nInside + nOutside);
  const odds = (y: number, size: number) => Math.log((y + a) / (size + rest - y - a + 1e-9));
  const variance = 1 / (inside + a) + 1 / (outside + a);
  return (odds(inside, nInside) - odds(outside, nOutside)) / Math.sqrt(variance);
}
