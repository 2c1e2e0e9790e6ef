import { DataError, FormatError } from "@penfield/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseTable } from "./table.ts";

describe("parseTable", () => {
  test("finds the separator from the header", () => {
    expect(parseTable("a\tb\n1 2\t3\n").rows).toEqual([["1 2", "3"]]);
    expect(parseTable("a,b\n1 2,3\n").rows).toEqual([["1 2", "3"]]);
    expect(parseTable("a b\n  1   3 \n").rows).toEqual([["1", "3"]]);
  });

  test("reads quotes, commas, line breaks and empty cells of RFC 4180", () => {
    const table = parseTable('id,text,x\na,"one, ""two""\nthree",\nb,,y\n');
    expect(table.rows).toEqual([
      ["a", 'one, "two"\nthree', ""],
      ["b", "", "y"],
    ]);
    expect(table.lines).toEqual([2, 4]);
  });

  test("keeps words that look like missing values or numbers", () => {
    expect(parseTable("word v0\nnan 1\nnull 2\n007 3\n").rows.map(([word]) => word)).toEqual([
      "nan",
      "null",
      "007",
    ]);
  });

  test("turns escapes of tab-separated cells into what they stand for", () => {
    expect(parseTable("a\tb\none\\ntwo\\\\n\tx\\ty\n").rows).toEqual([["one\ntwo\\n", "x\ty"]]);
  });

  test("gives back any cells that were quoted", () => {
    const cell = fc.string({ unit: fc.constantFrom("a", '"', ",", "\n", " ", "é") });
    fc.assert(
      fc.property(fc.array(fc.tuple(cell, cell), { minLength: 1, maxLength: 5 }), (rows) => {
        const quote = (text: string) => `"${text.replaceAll('"', '""')}"`;
        const text = ["x,y", ...rows.map((row) => row.map(quote).join(","))].join("\n");
        expect(parseTable(text).rows).toEqual(rows);
      }),
    );
  });

  test.each([
    ["", DataError, "parseTable: table: expected a header and at least one row, got an empty file"],
    ["a,b\n", DataError, "got a header only"],
    ["a,a\n1,2\n", FormatError, 'line 1: expected each column once, got "a" twice'],
    ["a,b\n1,2\n1\n", FormatError, "line 3: expected 2 cells as in the header, got 1"],
    ['a,b\n1,"2\n', FormatError, "line 2: expected a closing quote, got the end of the file"],
    ['a,b\n1,"2"x\n', FormatError, 'line 2: expected a comma after a quoted cell, got "x"'],
  ])("refuses %j", (text, type, message) => {
    expect(() => parseTable(text)).toThrow(type);
    expect(() => parseTable(text)).toThrow(message);
  });
});
