import { FormatError } from "@penfield/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { evaluateFormula, parseFormula } from "./formula.ts";

const surprisals = { a: [1, 2, 3], "b-1_x": [1, 2, 4] };
const holds = (text: string) => evaluateFormula(parseFormula(text), surprisals);

describe("a formula", () => {
  test.each([
    ["(1;%a%) < (3;%a%)", true],
    ["(*;%a%) < (*;%b-1_x%)", true],
    ["(3;%a%) > (3;%b-1_x%)", false],
    ["(1;%a%) + (2;%a%) = (3;%a%)", true],
    ["(3;%b-1_x%) - (3;%a%) - (1;%a%) = 0", true],
    ["10 - 4 - 3 = 3", true],
    ["10 - (4 - 3) = 9", true],
    ["[ (1;%a%) < (2;%a%) ] & [ (2;%a%) < (3;%a%) ]", true],
    ["(1;%a%) > (2;%a%) | (2;%a%) < (3;%a%)", true],
    ["(1;%a%) > 2 | 1 < 2 & 2 < 1", false],
    ["((1;%a%)-(1;%b-1_x%))+((3;%b-1_x%)-(3;%a%))>0.5", true],
    ["1 = 1.0009", true],
    ["1 = 1.0011", false],
  ])("%s is %s", (text, expected) => {
    expect(holds(text)).toBe(expected);
  });

  test("sums and differences come out as JavaScript's, read from the left", () => {
    const term = fc.tuple(fc.constantFrom("+", "-"), fc.integer({ min: 0, max: 99 }));
    fc.assert(
      fc.property(fc.array(term, { minLength: 1, maxLength: 8 }), (terms) => {
        const text = `0 ${terms.map(([sign, n]) => `${sign} ${n}`).join(" ")}`;
        const value = terms.reduce((sum, [sign, n]) => (sign === "+" ? sum + n : sum - n), 0);
        // A negative number cannot be written; compare on the other side of the sign.
        const comparison = value < 0 ? `${text} + ${-value} = 0` : `${text} = ${value}`;
        expect(holds(comparison)).toBe(true);
      }),
    );
  });

  test.each([
    ["", "expected a region, a number or a bracket at character 1"],
    ["(1;%a%) <", "expected a region, a number or a bracket at character 10"],
    ["((1;%a%) < (2;%a%)", 'expected ")" at character 19'],
    ["[(1;%a%) < (2;%a%))", 'expected "]" at character 19'],
    ["(1;%a%) < (2;%a%) )", "expected the end at character 19"],
    ["(x;%a%) < 1", "expected a region such as (3;%name%), a number or a sign at character 2"],
    ["(1;%a%)", "expected a comparison at character 1"],
    ["1 < 2 < 3", "expected surprisals on both sides"],
    ["(1;%a%) & (2;%a%)", "expected comparisons on both sides"],
    ["(1 < 2) + 1 > 0", "expected surprisals on both sides"],
  ])("refuses %j", (text, message) => {
    expect(() => parseFormula(text)).toThrow(FormatError);
    expect(() => parseFormula(text)).toThrow(message);
  });
});
