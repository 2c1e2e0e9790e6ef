import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ShapeError } from "./errors.ts";
import { activations, takeColumns, takeRows, tensor } from "./tensor.ts";

const matrix = activations([
  [1, 2, 3],
  [4, 5, 6],
]);

describe("tensor", () => {
  test("holds the array itself", () => {
    const data = new Float32Array(6);
    const x = tensor(data, ["stimulus", "unit"], [2, 3]);
    expect(x.data).toBe(data);
    expect(x.axes).toEqual(["stimulus", "unit"]);
    expect(x.shape).toEqual([2, 3]);
    expect(tensor(new Float32Array(1), [], []).shape).toEqual([]);
    expect(tensor(new Float32Array(0), ["stimulus", "unit"], [0, 3]).data.length).toBe(0);
  });

  test("refuses sizes that do not multiply to the values", () => {
    const call = () => tensor(new Float32Array(6), ["stimulus", "unit"], [2, 2]);
    expect(call).toThrow(ShapeError);
    expect(call).toThrow(
      "tensor: expected 2 sizes (stimulus, unit) that multiply to 6, got [2, 2]",
    );
    // @ts-expect-error one size for two axes does not compile
    expect(() => tensor(new Float32Array(6), ["stimulus", "unit"], [6])).toThrow(ShapeError);
    expect(() => tensor(new Float32Array(6), ["a", "b"], [-2, -3])).toThrow(ShapeError);
    expect(() => tensor(new Float32Array(6), ["a", "b"], [1.5, 4])).toThrow(ShapeError);
  });

  test("axes in another order do not compile", () => {
    const turned = tensor(new Float32Array(6), ["unit", "stimulus"], [3, 2]);
    // @ts-expect-error units come second
    expect(takeRows<readonly ["stimulus", "unit"]>(turned, [0]).shape).toEqual([1, 2]);
  });
});

describe("activations", () => {
  test("lays rows out one after the other", () => {
    expect(Array.from(matrix.data)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(activations([]).shape).toEqual([0, 0]);
  });

  test("refuses ragged rows", () => {
    expect(() => activations([[1, 2], [3]])).toThrow(ShapeError);
    expect(() => activations([[1, 2], [3]])).toThrow(
      "activations: expected rows of 2 values, got 1 in row 1",
    );
  });
});

describe("takeRows and takeColumns", () => {
  test("take in the order asked, copy, and keep the type", () => {
    expect(Array.from(takeRows(matrix, [1, 0, 1]).data)).toEqual([4, 5, 6, 1, 2, 3, 4, 5, 6]);
    expect(Array.from(takeColumns(matrix, [2, 0]).data)).toEqual([3, 1, 6, 4]);
    const single = tensor(new Float32Array([1, 2]), ["stimulus", "unit"], [1, 2]);
    expect(takeRows(single, [0]).data).toBeInstanceOf(Float32Array);
    expect(takeColumns(single, [0]).data).toBeInstanceOf(Float32Array);
    takeRows(matrix, [0]).data[0] = 9;
    expect(matrix.data[0]).toBe(1);
    expect(takeRows(matrix, []).shape).toEqual([0, 3]);
    expect(takeColumns(matrix, []).shape).toEqual([2, 0]);
  });

  test("agree with plain indexing", () => {
    const sizes = fc.tuple(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 6 }));
    fc.assert(
      fc.property(sizes, fc.infiniteStream(fc.nat()), ([n, m], stream) => {
        const rows = Array.from({ length: n }, (_, i) =>
          Array.from({ length: m }, (_, j) => i * m + j),
        );
        const pick = (size: number) => Array.from({ length: 4 }, () => stream.next().value % size);
        const [takenRows, takenColumns] = [pick(n), pick(m)];
        const x = activations(rows);
        expect(Array.from(takeRows(x, takenRows).data)).toEqual(takenRows.flatMap((i) => rows[i]!));
        expect(Array.from(takeColumns(x, takenColumns).data)).toEqual(
          rows.flatMap((row) => takenColumns.map((j) => row[j]!)),
        );
      }),
    );
  });

  test.each([2, -1, Number.NaN, 0.5])("refuse the index %d", (index) => {
    expect(() => takeRows(matrix, [index])).toThrow(ShapeError);
    expect(() => takeRows(matrix, [index])).toThrow(
      `takeRows: expected rows within 0..1, got ${index}`,
    );
    expect(() => takeColumns(matrix, [index === 2 ? 3 : index])).toThrow(
      /takeColumns: expected columns within 0..2/,
    );
  });
});
