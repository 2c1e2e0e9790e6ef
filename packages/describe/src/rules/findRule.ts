import type { LiteralFinder } from "./literals.ts";
import { type ObjectiveName, objectives } from "./objectives.ts";
import { literalCount, type Rule } from "./rule.ts";
import { joined, type RuleText } from "./ruleText.ts";

/** Which tokens each step may look at. */
export interface TokenSplits {
  readonly explain: Int32Array;
  readonly select: Int32Array;
  readonly score: Int32Array;
}

export interface FindRuleOptions {
  readonly objective: ObjectiveName;
  /** Most conditions of a rule. */
  readonly maxLength: number;
  /** What each condition must add to the objective. */
  readonly penalty: number;
  /** Rules that are tried further at each length. */
  readonly beam: number;
}

/** A rule with its mask and value on the documents that it was selected on. */
export interface FoundRule {
  readonly rule: Rule;
  readonly mask: Uint8Array;
  readonly value: number;
}

/** What rules are looked for in: all documents, and those of the `select` tokens alone, on which every rule that is tried runs. */
export interface RuleTexts {
  readonly all: RuleText;
  readonly selected: RuleText;
}

/**
 * The rule that fits a unit best: conditions are proposed on the `explain` tokens, joined by and, or and not, and chosen on the
 * `select` tokens. To a rule's tokens those conditions are proposed that part them, to the other tokens those that add to them.
 *
 * @returns Undefined if nothing was proposed, or nothing is better than no rule.
 */
export function findRule(
  { all, selected }: RuleTexts,
  finder: LiteralFinder,
  values: Float32Array,
  active: Uint8Array,
  splits: TokenSplits,
  { objective, maxLength, penalty, beam }: FindRuleOptions,
): FoundRule | undefined {
  const { select } = splits;
  const measure = objectives[objective](
    Float32Array.from(select, (i) => values[i]!),
    Uint8Array.from(select, (i) => active[i]!),
    select.map((_, j) => j),
  );
  const seen = new Set<string>();
  const masks = new Map<string, Uint8Array>();
  /** Conditions are proposed again and again. */
  const maskOf = (literal: Rule): Uint8Array => {
    const key = JSON.stringify(literal);
    let mask = masks.get(key);
    if (!mask) {
      mask = selected.mask(literal);
      masks.set(key, mask);
    }
    return mask;
  };
  const weigh = (rule: Rule, makeMask: () => Uint8Array): FoundRule[] => {
    const key = JSON.stringify(rule);
    if (seen.has(key)) return [];
    seen.add(key);
    const mask = makeMask();
    return [{ rule, mask, value: measure(mask) - penalty * literalCount(rule) }];
  };
  let rules = finder
    .find(values, active, splits.explain)
    .flatMap((rule) => weigh(rule, () => maskOf(rule)))
    .sort(better)
    .slice(0, beam);
  let best = rules[0];
  for (let length = 2; length <= maxLength && rules.length > 0; length++) {
    const longer = rules
      .filter(({ rule }) => literalCount(rule) === length - 1)
      .flatMap(({ rule, mask }) => {
        const [outside, inside] = partedBy(all.mask(rule), splits.explain);
        const narrower = finder
          .find(values, active, inside)
          .flatMap((literal) =>
            weigh(join("and", rule, literal), () => joined("and", mask, maskOf(literal))),
          );
        const wider = finder
          .find(values, active, outside)
          .filter(({ type }) => type !== "not")
          .flatMap((literal) =>
            weigh(join("or", rule, literal), () => joined("or", mask, maskOf(literal))),
          );
        return [...narrower, ...wider];
      });
    rules = [...rules, ...longer].sort(better).slice(0, beam);
    const first = rules[0];
    if (!first || first === best) break;
    best = first;
  }
  return best && best.value > 0 ? best : undefined;
}

/** Of conditions that hold on the same tokens the plainest is said. */
const PLAINEST: readonly Rule["type"][] = [
  ...(["word", "ngram", "position", "partOfSpeech", "family", "lexicographer"] as const),
  ...(["hypernym", "topic", "period", "repeat", "not", "and", "or"] as const),
];

const better = (a: FoundRule, b: FoundRule): number =>
  b.value - a.value ||
  literalCount(a.rule) - literalCount(b.rule) ||
  PLAINEST.indexOf(a.rule.type) - PLAINEST.indexOf(b.rule.type);

/** The tokens where a mask is 0, and those where it is 1. */
function partedBy(mask: Uint8Array, tokens: Int32Array): [Int32Array, Int32Array] {
  const parts: [Int32Array, Int32Array] = [
    new Int32Array(tokens.length),
    new Int32Array(tokens.length),
  ];
  const counts: [number, number] = [0, 0];
  for (let j = 0; j < tokens.length; j++) {
    const side = mask[tokens[j]!]! as 0 | 1;
    parts[side][counts[side]++] = tokens[j]!;
  }
  return [parts[0].subarray(0, counts[0]), parts[1].subarray(0, counts[1])];
}

function join(type: "and" | "or", rule: Rule, literal: Rule): Rule {
  return rule.type === type
    ? { type, rules: [...rule.rules, literal] }
    : { type, rules: [rule, literal] };
}
