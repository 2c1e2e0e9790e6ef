import { FormatError } from "@penfield/core";
import fc from "fast-check";
import { parquetMetadata } from "hyparquet";
import { type ParquetWriteOptions, parquetWriteBuffer } from "hyparquet-writer";
import { describe, expect, test } from "vitest";
import { type Cell, readTable, type Table, writeTable } from "./index.ts";

const number = fc.double({ noNaN: true, noDefaultInfinity: true });
const cells: fc.Arbitrary<Cell>[] = [
  fc.string({ unit: "binary" }),
  fc.constantFrom("", "1", "\r\n", "=1+1", "\ufeffmarked", "\0", "ü€😀"),
  fc.integer(),
  fc.maxSafeInteger(),
  number,
  fc.constantFrom(-0, 0, 5e-324, -1e-300, Number.MAX_VALUE, 2 ** 31, -(2 ** 31), 2 ** 53, 0.1),
];
const names = fc
  .string({ unit: "binary", minLength: 1, maxLength: 8 })
  .filter((name) => !name.startsWith("\ufeff"));
const tables: fc.Arbitrary<Table> = fc
  .record({
    columns: fc.uniqueArray(fc.oneof(names, fc.constantFrom("a.b", "__proto__", "length")), {
      minLength: 1,
      maxLength: 4,
    }),
    nRows: fc.nat(20),
  })
  .chain(({ columns, nRows }) =>
    fc
      .tuple(
        ...columns.map(() =>
          fc
            .constantFrom(...cells)
            .chain((cell) =>
              fc.array(fc.option(cell, { freq: 3 }), { minLength: nRows, maxLength: nRows }),
            ),
        ),
      )
      .map((data) => ({
        columns,
        rows: Array.from({ length: nRows }, (_, i) => data.map((column) => column[i]!)),
      })),
  );
/** The physical type of each column. */
const types = (table: Table) =>
  parquetMetadata(writeTable(table))
    .schema.slice(1)
    .map(({ type }) => type);
const one = (...values: Cell[]): Table => ({ columns: ["a"], rows: values.map((v) => [v]) });

describe("writeTable and readTable", () => {
  test("any table comes back as it was, -0 too", async () => {
    await fc.assert(
      fc.asyncProperty(tables, async (table) => {
        // toStrictEqual tells -0 from 0.
        expect(await readTable(writeTable(table))).toStrictEqual(table);
      }),
      { numRuns: 300 },
    );
  });

  test("a table of several pages comes back as it was", async () => {
    const rows = Array.from({ length: 150_000 }, (_, i) => [
      i,
      i % 3 ? i / 7 : null,
      i % 5 ? `unit ${i}` : null,
      null,
    ]);
    const table = { columns: ["i", "x", "name", "none"], rows };
    const read = await readTable(writeTable(table));
    expect(read.columns).toEqual(table.columns);
    expect(read.rows.findIndex((row, i) => row.join() !== rows[i]!.join())).toBe(-1);
    expect(read.rows.length).toBe(rows.length);
  });

  test("text longer than a page comes back", async () => {
    const table = one("x".repeat(3_000_000), null, "y");
    expect(await readTable(writeTable(table))).toEqual(table);
  });

  test.each<[string, Table, string]>([
    ["whole numbers", one(1, null, -(2 ** 31)), "INT32"],
    ["large whole numbers", one(1, 2 ** 31), "INT64"],
    ["whole numbers that are not exact", one(1, 2 ** 53), "DOUBLE"],
    ["-0", one(1, -0), "DOUBLE"],
    ["numbers", one(1, 0.5), "DOUBLE"],
    ["text", one("1", null), "BYTE_ARRAY"],
    ["nulls", one(null, null), "DOUBLE"],
    ["no rows", one(), "DOUBLE"],
  ])("%s have their type", (_, table, type) => {
    expect(types(table)).toEqual([type]);
  });

  test("NaN and Infinity become null, and do not make whole numbers broken", async () => {
    const table = one(1, Number.NaN, Number.POSITIVE_INFINITY);
    expect(types(table)).toEqual(["INT32"]);
    expect(await readTable(writeTable(table))).toEqual(one(1, null, null));
  });

  test("equal tables give equal bytes, and what is written does not change", () => {
    fc.assert(
      fc.property(tables, (table) => {
        expect(writeTable(structuredClone(table))).toEqual(writeTable(table));
      }),
      { numRuns: 50 },
    );
  });

  test.each<[string, Table, string]>([
    [
      "a row of another length",
      { columns: ["a"], rows: [[1, 2]] },
      "row 0: expected 1 cells, got 2",
    ],
    ["a name twice", { columns: ["a", "a"], rows: [] }, "expected column names, each of them once"],
    ["no name", { columns: [""], rows: [] }, "expected column names"],
    ["no column", { columns: [], rows: [] }, "expected column names"],
    ["text and numbers", one("a", 1), 'column "a": expected only text or only numbers, got both'],
    ["half a character", one("\ud800"), 'column "a": expected well-formed Unicode'],
    [
      "too many cells",
      { columns: ["a", "b"], rows: new Array(2 ** 23 + 1).fill([1, 2]) },
      "expected at most 16777216 cells, got 8388609 rows of 2",
    ],
  ])("%s is refused", (_, table, message) => {
    expect(() => writeTable(table)).toThrow(FormatError);
    expect(() => writeTable(table)).toThrow(message);
  });
});

const sample = writeTable({
  columns: ["rank", "unit", "hook", "t"],
  rows: [
    [1, 2 ** 40, "blocks.0.mlp", 2.5],
    [2, 7, null, -0.5],
    [3, null, "ü", null],
  ],
});

describe("hostile bytes", () => {
  /** A table or a FormatError; nothing else may come of any bytes. */
  const outcome = (bytes: Uint8Array) =>
    readTable(bytes, "x.parquet").then(
      () => "table",
      (error) => {
        if (!(error instanceof FormatError)) throw error;
        expect(error.message).toMatch(/^readTable: x\.parquet: expected /);
        return "refused";
      },
    );

  test("a file that is cut short anywhere is refused", async () => {
    for (let n = 0; n < sample.length; n++) {
      expect(await outcome(sample.slice(0, n))).toBe("refused");
    }
  });

  test("each single bit turned is refused or changes a value", async () => {
    let refused = 0;
    for (let i = 0; i < 8 * sample.length; i++) {
      const bytes = sample.slice();
      bytes[i >> 3]! ^= 1 << (i & 7);
      if ((await outcome(bytes)) === "refused") refused++;
    }
    expect(refused).toBeGreaterThan(4 * sample.length);
  });

  test("bytes changed, put in, taken out or made up give a table or a FormatError", async () => {
    const edit = fc.record({
      at: fc.nat(sample.length),
      remove: fc.nat(8),
      insert: fc.uint8Array({ maxLength: 8 }),
    });
    const spoiled = fc.array(edit, { minLength: 1, maxLength: 4 }).map((edits) =>
      edits.reduce<number[]>(
        (bytes, { at, remove, insert }) => {
          bytes.splice(at, remove, ...insert);
          return bytes;
        },
        [...sample],
      ),
    );
    const framed = fc.uint8Array({ maxLength: 60 }).map((inner) => {
      const magic = [80, 65, 82, 49];
      return [...magic, ...inner, inner.length, 0, 0, 0, ...magic];
    });
    await fc.assert(
      fc.asyncProperty(fc.oneof(spoiled, framed), async (bytes) => {
        await outcome(new Uint8Array(bytes));
      }),
      { numRuns: 2000 },
    );
  });

  /** A file with a footer of given bytes. */
  const withFooter = (...footer: number[]) => {
    const size = new Uint8Array(new Uint32Array([footer.length]).buffer);
    return new Uint8Array([80, 65, 82, 49, ...footer, ...size, 80, 65, 82, 49]);
  };

  test.each<[string, Uint8Array, string]>([
    ["nothing", new Uint8Array(0), "bytes that do not begin and end with PAR1"],
    ["a table as .csv", new TextEncoder().encode("rank,layer\r\n1,2\r\n"), "PAR1"],
    [
      "a list that announces 2^28 elements",
      withFooter(0x19, 0xfc, 128, 128, 128, 128, 1),
      "a list",
    ],
    [
      "lists in lists",
      withFooter(0x19, ...new Array(40).fill(0x19), ...new Array(80).fill(0)),
      "more than 12 levels",
    ],
    ["a number without end", withFooter(0x16, ...new Array(30).fill(0xff)), "too large"],
  ])("%s is refused by what it holds", async (_, bytes, message) => {
    await expect(readTable(bytes)).rejects.toThrow(FormatError);
    await expect(readTable(bytes)).rejects.toThrow(message);
  });

  test("a run that announces more values than its page is refused", async () => {
    const bytes = writeTable(one(...new Array(200).fill(5)));
    // One run of 200 present values: 2 * 200 in groups of seven bits, then 1.
    const at = bytes.findIndex((x, i) => x === 0x90 && bytes[i + 1] === 3 && bytes[i + 2] === 1);
    bytes.set([0xfe, 0x7f], at);
    await expect(readTable(bytes)).rejects.toThrow("a run of 8191");
  });

  const foreign = (options: Omit<ParquetWriteOptions, "writer">) =>
    new Uint8Array(parquetWriteBuffer(options));
  test.each<[string, Uint8Array, string]>([
    [
      "compressed",
      foreign({
        columnData: [{ name: "a", data: [1, 1, 1, 2], type: "INT32" }],
        statistics: false,
      }),
      "another compression",
    ],
    [
      "with a dictionary",
      foreign({
        columnData: [
          {
            name: "a",
            data: new Array(99).fill("text"),
            type: "STRING",
            encoding: "RLE_DICTIONARY",
          },
        ],
        codec: "UNCOMPRESSED",
        statistics: false,
      }),
      "another dictionary",
    ],
    [
      "of another type",
      foreign({ columnData: [{ name: "a", data: [true], type: "BOOLEAN" }] }),
      "a column of type 0",
    ],
    [
      "with dates",
      foreign({ columnData: [{ name: "a", data: [new Date(0)], type: "TIMESTAMP" }] }),
      "another converted type",
    ],
    [
      "of several row groups",
      foreign({ columnData: [{ name: "a", data: [1, 2], type: "INT32" }], rowGroupSize: 1 }),
      "another row groups: 2, not 1",
    ],
  ])("good Parquet %s is refused by name", async (_, bytes, message) => {
    await expect(readTable(bytes)).rejects.toThrow(message);
  });

  test("numbers that cannot be exact, and text that is not UTF-8, are refused", async () => {
    const large = sample.slice();
    const at = large.findIndex(
      (_, i) => new DataView(large.buffer).getBigInt64(i, true) === 2n ** 40n,
    );
    new DataView(large.buffer).setBigInt64(at, 2n ** 60n, true);
    await expect(readTable(large)).rejects.toThrow("finite exact numbers");
    const odd = sample.slice();
    odd[odd.indexOf(0xc3)] = 0xff;
    await expect(readTable(odd)).rejects.toThrow("expected a sound Parquet file");
  });
});
