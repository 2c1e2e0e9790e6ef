import { rankData } from "@penfield/stats";

/** Measures how well the tokens of a rule fit the values of a unit; higher is better. */
type ObjectiveFunction = (mask: Uint8Array) => number;

/** Prepares an objective for the values of one unit on some tokens. */
export type Objective = (
  values: Float32Array,
  active: Uint8Array,
  tokens: Int32Array,
) => ObjectiveFunction;

/** Correlation of the rule, as 0 and 1, with the values; 0 where either does not vary. */
const correlation: Objective = (values, _active, tokens) => {
  const n = tokens.length;
  let total = 0;
  let square = 0;
  for (let j = 0; j < n; j++) {
    total += values[tokens[j]!]!;
    square += values[tokens[j]!]! ** 2;
  }
  const deviation = Math.sqrt(Math.max(0, square / n - (total / n) ** 2));
  return (mask) => {
    let sum = 0;
    let count = 0;
    for (let j = 0; j < n; j++) {
      if (mask[tokens[j]!] === 0) continue;
      sum += values[tokens[j]!]!;
      count++;
    }
    if (count === 0 || count === n || deviation === 0) return 0;
    const difference = sum / count - (total - sum) / (n - count);
    return (difference * Math.sqrt(count * (n - count))) / (n * deviation);
  };
};

/** How strongly a description's own frequency is held against it; as published. */
const LAMBDA = 0.2;

/**
 * MILAN's weighted pointwise mutual information, log p(rule | active) - 0.2 log p(rule), with the rule's frequency among
 * active tokens and among all in place of two language models; half a token is added to each count.
 *
 * Source: Hernandez et al. (2022), Natural Language Descriptions of Deep Visual Features, ICLR, equation 2; lambda as in its code.
 */
const pmi: Objective = (_values, active, tokens) => (mask) => {
  let both = 0;
  let nActive = 0;
  let count = 0;
  for (let j = 0; j < tokens.length; j++) {
    const i = tokens[j]!;
    nActive += active[i]!;
    count += mask[i]!;
    both += active[i]! & mask[i]!;
  }
  return (
    Math.log((both + 0.5) / (nActive + 1)) - LAMBDA * Math.log((count + 0.5) / (tokens.length + 1))
  );
};

/** Share of the tokens that a rule chosen by the area under the curve must hold on. */
const LEAST_SHARE = 0.005;

/**
 * INVERT's area under the ROC curve of the values as a detector of the rule, less one half so that nothing found is 0. It asks whether values are
 * high where the rule holds, not whether the rule holds where they are high: a part of what a unit answers to is as good as all of it.
 * Rules on less than half a percent or more than half of the tokens are passed over, the lower limit being our choice.
 *
 * Source: Bykov et al. (2023), Labeling Neural Representations with Inverse Recognition, NeurIPS.
 */
const auroc: Objective = (values, _active, tokens) => {
  const n = tokens.length;
  const ranks = rankData(Float64Array.from(tokens, (i) => values[i]!));
  return (mask) => {
    let count = 0;
    let sum = 0;
    for (let j = 0; j < n; j++) {
      if (mask[tokens[j]!] === 0) continue;
      count++;
      sum += ranks[j]!;
    }
    if (count < LEAST_SHARE * n || count > n / 2 || count === 0) return Number.NEGATIVE_INFINITY;
    return (sum - (count * (count + 1)) / 2) / (count * (n - count)) - 0.5;
  };
};

/** What rules can be chosen by. */
export const objectives: Readonly<Record<ObjectiveName, Objective>> = { correlation, pmi, auroc };

export type ObjectiveName = "correlation" | "pmi" | "auroc";
