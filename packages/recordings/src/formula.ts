import { FormatError } from "@penfield/core";

/** A prediction of a SyntaxGym suite, parsed. */
export type Formula =
  | { readonly kind: "region"; readonly region: number | "*"; readonly condition: string }
  | { readonly kind: "number"; readonly value: number }
  | {
      readonly kind: "operation";
      readonly operator: Operator;
      readonly left: Formula;
      readonly right: Formula;
    };

type Operator = "+" | "-" | "<" | ">" | "=" | "&" | "|";

type Token =
  | { readonly kind: "region"; readonly region: number | "*"; readonly condition: string }
  | { readonly kind: "number"; readonly value: number }
  | { readonly kind: "sign"; readonly sign: string };

const TOKEN =
  /\s*(?:\(\s*(\d+|\*)\s*;\s*%([A-Za-z0-9_-]+)%\s*\)|(\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|([-+<>=&|()[\]]))/y;

/** Loosest last; operators of one level are read from left to right. */
const LEVELS: readonly (readonly string[])[] = [
  ["-", "+"],
  ["<", ">", "="],
  ["&", "|"],
];

/**
 * Reads a prediction of a SyntaxGym suite.
 *
 * `(3;%match%)` is the surprisal of region 3 in condition `match`, `(*;%match%)` that of the whole
 * sentence; `+ -` bind tighter than `< > =`, these tighter than `& |`; round and square brackets group.
 *
 * @throws {FormatError} with the position, if it is not a formula, adds truth values or joins numbers by `&` or `|`.
 *
 * Source: Gauthier et al. (2020), SyntaxGym; the suites' own grammar.
 *
 * @example
 * evaluateFormula(parseFormula("(2;%a%) < (2;%b%)"), { a: [1, 2], b: [1, 3] }) // => true
 */
export function parseFormula(text: string, file = "formula"): Formula {
  const tokens = tokenize(text, file);
  let at = 0;
  const fail = (expected: string): never => {
    throw formulaError(text, file, expected, tokens[at]?.start ?? text.length);
  };
  const isSign = (sign: string): boolean => {
    const token = tokens[at]?.token;
    return token?.kind === "sign" && token.sign === sign;
  };
  const atom = (): Formula => {
    const token = tokens[at]?.token;
    if (token === undefined) return fail("a region, a number or a bracket");
    if (token.kind !== "sign") {
      at++;
      return token;
    }
    const closing = token.sign === "(" ? ")" : token.sign === "[" ? "]" : undefined;
    if (closing === undefined) return fail("a region, a number or a bracket");
    at++;
    const inside = level(LEVELS.length - 1);
    if (!isSign(closing)) fail(`"${closing}"`);
    at++;
    return inside;
  };
  const level = (depth: number): Formula => {
    if (depth < 0) return atom();
    let left = level(depth - 1);
    for (;;) {
      const operator = LEVELS[depth]!.find(isSign) as Operator | undefined;
      if (operator === undefined) return left;
      const start = at++;
      const right = level(depth - 1);
      const joinsTruths = operator === "&" || operator === "|";
      if (isTruth(left) !== joinsTruths || isTruth(right) !== joinsTruths) {
        at = start;
        fail(joinsTruths ? "comparisons on both sides" : "surprisals on both sides");
      }
      left = { kind: "operation", operator, left, right };
    }
  };
  const formula = level(LEVELS.length - 1);
  if (at < tokens.length) fail("the end");
  if (!isTruth(formula)) {
    throw formulaError(text, file, "a comparison", 0);
  }
  return formula;
}

function isTruth(formula: Formula): boolean {
  return formula.kind === "operation" && formula.operator !== "+" && formula.operator !== "-";
}

function tokenize(text: string, file: string): readonly { token: Token; start: number }[] {
  const tokens: { token: Token; start: number }[] = [];
  let at = 0;
  while (text.slice(at).trim() !== "") {
    TOKEN.lastIndex = at;
    const match = TOKEN.exec(text);
    if (match === null) {
      throw formulaError(text, file, "a region such as (3;%name%), a number or a sign", at);
    }
    const [, region, condition, number, sign] = match;
    const token: Token =
      region !== undefined
        ? { kind: "region", region: region === "*" ? "*" : Number(region), condition: condition! }
        : number !== undefined
          ? { kind: "number", value: Number(number) }
          : { kind: "sign", sign: sign! };
    at = TOKEN.lastIndex;
    tokens.push({ token, start: at - match[0].trimStart().length });
  }
  return tokens;
}

function formulaError(text: string, file: string, expected: string, at: number): FormatError {
  const rest = text.slice(at).trim();
  return new FormatError(
    `parseFormula: ${file}: expected ${expected} at character ${at + 1} of ${JSON.stringify(text)}, got ${rest === "" ? "the end" : JSON.stringify(rest.slice(0, 24))}`,
  );
}

/** How far apart two surprisals may be and still count as equal (numpy.isclose(a, b)), as in the suites' own evaluation. */
const EQUAL_RELATIVE = 1e-5;
const EQUAL_ABSOLUTE = 1e-3;

/**
 * Whether a prediction holds.
 *
 * @param formula - From `parseFormula`.
 * @param surprisals - For each condition, the surprisal of each region in order.
 */
export function evaluateFormula(
  formula: Formula,
  surprisals: Readonly<Record<string, ArrayLike<number>>>,
): boolean {
  return compute(formula, surprisals) === true;
}

function compute(
  formula: Formula,
  surprisals: Readonly<Record<string, ArrayLike<number>>>,
): number | boolean {
  if (formula.kind === "number") return formula.value;
  if (formula.kind === "region") {
    const regions = surprisals[formula.condition]!;
    if (formula.region !== "*") return regions[formula.region - 1]!;
    let sum = 0;
    for (let i = 0; i < regions.length; i++) sum += regions[i]!;
    return sum;
  }
  const left = compute(formula.left, surprisals) as number;
  const right = compute(formula.right, surprisals) as number;
  switch (formula.operator) {
    case "+":
      return left + right;
    case "-":
      return left - right;
    case "<":
      return left < right;
    case ">":
      return left > right;
    case "=":
      return Math.abs(left - right) <= EQUAL_ABSOLUTE + EQUAL_RELATIVE * Math.abs(right);
    case "&":
      return Boolean(left) && Boolean(right);
    case "|":
      return Boolean(left) || Boolean(right);
  }
}

/** The regions that a formula asks for. */
export function regionsOf(
  formula: Formula,
): readonly { readonly region: number | "*"; readonly condition: string }[] {
  if (formula.kind === "number") return [];
  if (formula.kind === "region") return [formula];
  return [...regionsOf(formula.left), ...regionsOf(formula.right)];
}
