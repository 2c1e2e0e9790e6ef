import fc from "fast-check";
import { expect, test } from "vitest";
import { gramOfColumns, gramOfRows } from "./gram.ts";

test("products of rows and of columns are what loops give, for any sizes", () => {
  const sizes = fc.tuple(fc.integer({ min: 1, max: 7 }), fc.integer({ min: 1, max: 9 }));
  fc.assert(
    fc.property(sizes, fc.infiniteStream(fc.integer({ min: -50, max: 50 })), ([n, p], stream) => {
      const a = Float64Array.from({ length: n * p }, () => stream.next().value as number);
      const rows = Array.from({ length: n }, (_, i) => Array.from(a.slice(i * p, (i + 1) * p)));
      const columns = Array.from({ length: p }, (_, j) => rows.map((row) => row[j]!));
      const products = (lists: readonly (readonly number[])[]) =>
        lists.flatMap((x) => lists.map((y) => x.reduce((sum, v, k) => sum + v * y[k]!, 0)));
      expect(Array.from(gramOfRows(a, n, p))).toEqual(products(rows));
      expect(Array.from(gramOfColumns(a, n, p))).toEqual(products(columns));
    }),
  );
});
