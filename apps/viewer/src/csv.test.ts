import type { Cell } from "@penfield/report";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { csvText } from "./csv.ts";

/** The cells of a CSV file by RFC 4180, character by character; nothing is taken for a number. */
function parse(text: string): string[][] {
  const rows: string[][] = [];
  let row: string[] = [];
  let i = 0;
  while (i < text.length) {
    let cell = "";
    if (text[i] === '"') {
      for (i++; text[i] !== '"' || text[i + 1] === '"'; i++) {
        if (text[i] === '"') i++;
        cell += text[i];
      }
      i++;
    } else while (text[i] !== "," && text[i] !== "\r") cell += text[i++];
    row.push(cell);
    if (text[i] === ",") i++;
    else {
      expect(text.slice(i, i + 2)).toBe("\r\n");
      i += 2;
      rows.push(row);
      row = [];
    }
  }
  return rows;
}

describe("csvText", () => {
  test("a case by hand", () => {
    const rows: Cell[][] = [
      ['say "a,b"', -0.1],
      ["3", null],
      ["", Number.NaN],
    ];
    expect(csvText({ columns: ["name", "t"], rows })).toBe(
      'name,t\r\n"say ""a,b""",-0.1\r\n"3",\r\n"",\r\n',
    );
  });

  test.each([
    ["=1+1", "'=1+1"],
    ["+1", "'+1"],
    ["-1", "'-1"],
    ["@SUM(A1)", "'@SUM(A1)"],
    ["\t=1", "'\t=1"],
    ["\r=1", '"\'\r=1"'],
    ['=HYPERLINK("x","y")', '"\'=HYPERLINK(""x"",""y"")"'],
    ["a=1", "a=1"],
  ])("text %j stands as %j, in the header too", (cell, expected) => {
    expect(csvText({ columns: [cell], rows: [[cell]] })).toBe(`${expected}\r\n${expected}\r\n`);
  });

  test("negative numbers are numbers", () => {
    expect(csvText({ columns: ["x"], rows: [[-1.5], [-1e-9]] })).toBe("x\r\n-1.5\r\n-1e-9\r\n");
  });

  test("any text and number can be read from it, and no text is a formula", () => {
    const cell = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.constantFrom("=1", "-2.5e3", "", "\r\n", '"', ",", "'"),
      fc.double({ noNaN: true, noDefaultInfinity: true }).map((x) => x + 0),
    );
    const rows = fc.array(fc.tuple(cell, cell), { maxLength: 5 });
    fc.assert(
      fc.property(rows, (rows) => {
        const [, ...read] = parse(csvText({ columns: ["a", "b"], rows }));
        for (const [i, row] of rows.entries()) {
          for (const [j, value] of row.entries()) {
            const got = read[i]![j]!;
            if (typeof value === "number") expect(Number(got)).toBe(value);
            else {
              expect(got).not.toMatch(/^[=+\-@\t\r]/);
              expect(/^[=+\-@\t\r]/.test(value) ? got.slice(1) : got).toBe(value);
            }
          }
        }
        expect(read.length).toBe(rows.length);
      }),
    );
  });
});
