import { FormatError } from "@penfield/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readTable, writeTable } from "./index.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const text = (table: Parameters<typeof writeTable>[0]) =>
  new TextDecoder().decode(writeTable(table));

describe("writeTable", () => {
  test("a case by hand", () => {
    expect(
      text({
        columns: ["name", "t"],
        rows: [
          ['say "a,b"', -0.1],
          ["3", null],
          ["", Number.NaN],
        ],
      }),
    ).toBe('name,t\r\n"say ""a,b""",-0.1\r\n"3",\r\n"",\r\n');
  });

  test("any table comes back as it was", () => {
    const cell = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.constantFrom("1", "-2.5e3", "", "\r\n", '"', ","),
      fc.double({ noNaN: true, noDefaultInfinity: true }).map((x) => x + 0),
      fc.constant(null),
    );
    const tables = fc
      .uniqueArray(fc.string({ minLength: 1 }), { minLength: 1, maxLength: 4 })
      .chain((columns) =>
        fc.record({
          columns: fc.constant(columns),
          rows: fc.array(fc.array(cell, { minLength: columns.length, maxLength: columns.length }), {
            maxLength: 5,
          }),
        }),
      );
    fc.assert(
      fc.property(tables, (table) => {
        expect(readTable(writeTable(table))).toEqual(table);
      }),
    );
  });

  test("rows of other lengths and repeated names are refused", () => {
    expect(() => writeTable({ columns: ["a"], rows: [[1, 2]] })).toThrow(
      "writeTable: row 0: expected 1 cells, got 2",
    );
    expect(() => writeTable({ columns: ["a", "a"], rows: [] })).toThrow(FormatError);
  });
});

describe("readTable", () => {
  test("LF line ends and a missing last one are taken", () => {
    expect(readTable(bytes("a,b\n1,x\n2,"))).toEqual({
      columns: ["a", "b"],
      rows: [
        [1, "x"],
        [2, null],
      ],
    });
  });

  test.each([
    ["", "line 1: expected a header, got an empty file"],
    ["a,b\n1\n", "line 2: expected 2 cells, got 1"],
    ['a\n"x', "line 2: expected a cell with closed quotes"],
    ['a\n"x"y\n', "line 2: expected a cell with closed quotes"],
    ["a,a\n", "expected column names, each of them once"],
  ])("%j is refused", (content, message) => {
    expect(() => readTable(bytes(content))).toThrow(FormatError);
    expect(() => readTable(bytes(content))).toThrow(message);
  });

  test("bytes that are not UTF-8 are refused", () => {
    expect(() => readTable(new Uint8Array([97, 0xff]))).toThrow("expected UTF-8 text");
  });
});
