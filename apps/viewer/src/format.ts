import type { Estimate, Statistic } from "@penfield/report";

/** What stands where a number is not defined. */
export const ABSENT = "–";

/** A number with a fixed count of decimals, and a true minus sign. */
export function fixed(value: Statistic, decimals = 3): string {
  if (value === null) return ABSENT;
  if (value !== 0 && Math.abs(value) >= 1e6) return value.toExponential(2).replace("-", "−");
  const text = value.toFixed(decimals);
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
}

/** The same, with a sign in front of every number other than 0. */
export function signed(value: Statistic, decimals = 3): string {
  const text = fixed(value, decimals);
  return value !== null && value > 0 && Number(text) !== 0 ? `+${text}` : text;
}

/** A probability, as papers print it. */
export function probability(p: Statistic): string {
  return p !== null && p >= 0 && p < 0.001 ? "< 0.001" : fixed(p, 3);
}

/** A count with its thousands apart. */
export function whole(count: number): string {
  return String(count).replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

/** Significant digits without trailing zeros, for doses, percentages and axis ticks. */
export function short(value: number, digits = 3): string {
  return String(Number(value.toPrecision(digits))).replace("-", "−");
}

/** "[low, high]", or nothing where there is no interval. */
export function interval(estimate: Estimate, write: typeof fixed = fixed): string {
  return estimate.interval === null
    ? ""
    : `[${write(estimate.interval[0])}, ${write(estimate.interval[1])}]`;
}

/** "0.812 [0.790, 0.834]". */
export function withInterval(estimate: Estimate, write: typeof fixed = fixed): string {
  return `${write(estimate.value)} ${interval(estimate, write)}`.trim();
}

/** "p = 0.012", or "p < 0.001". */
export function pText(p: Statistic): string {
  const text = probability(p);
  return text.startsWith("<") ? `p ${text}` : `p = ${text}`;
}
