import { DataError, float16ToNumber, ModelError, ShapeError } from "@penfield/core";
import { makeModel, makeNode, makeValueInfo } from "@penfield/onnx";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { padTokens } from "../index.ts";
import { modelFeeds, numberToFloat16 } from "./inputs.ts";

describe("padTokens", () => {
  test("by hand", () => {
    const batch = padTokens([[5, 6, 7], [8]], 2);
    expect([batch.nRows, batch.length, batch.lengths]).toEqual([2, 3, [3, 1]]);
    expect([...batch.ids]).toEqual([5n, 6n, 7n, 8n, 2n, 2n]);
    expect([...batch.mask]).toEqual([1n, 1n, 1n, 1n, 0n, 0n]);
  });

  test("every row stands at the start of its line, and the mask says how far", () => {
    const rows = fc.array(fc.array(fc.nat(500), { minLength: 1, maxLength: 9 }), { minLength: 1 });
    fc.assert(
      fc.property(rows, fc.nat(500), (list, pad) => {
        const { ids, mask, length, lengths } = padTokens(list, pad);
        expect(length).toBe(Math.max(...lengths));
        list.forEach((row, r) => {
          const line = Array.from(ids.subarray(r * length, (r + 1) * length), Number);
          expect(line.slice(0, row.length)).toEqual(row);
          expect(line.slice(row.length).every((id) => id === pad)).toBe(true);
          const real = mask.subarray(r * length, (r + 1) * length);
          expect(real.reduce((sum, m) => sum + Number(m), 0)).toBe(row.length);
        });
      }),
    );
  });

  test.each([
    [[], /expected at least one row of tokens, got none/],
    [[[1], []], /got none in row 1/],
    [[[1, -1]], /whole numbers from 0, got -1 in row 0/],
    [[[1], [1.5]], /got 1\.5 in row 1/],
    [[[Number.NaN]], /got NaN in row 0/],
    [[[1, undefined as unknown as number]], /got undefined in row 0/],
  ])("%j is refused", (rows, message) => {
    expect(() => padTokens(rows, 0)).toThrow(DataError);
    expect(() => padTokens(rows, 0)).toThrow(message);
  });
});

describe("modelFeeds", () => {
  const inputs = [
    makeValueInfo("input_ids", "int64", ["batch", "pos"]),
    makeValueInfo("attention_mask", "int32", ["batch", "pos"]),
    makeValueInfo("position_ids", "int64", ["batch", "pos"]),
    makeValueInfo("token_type_ids", "int64", ["batch", "pos"]),
    makeValueInfo("cache_position", "int64", ["pos"]),
    makeValueInfo("num_logits_to_keep", "int64", []),
    makeValueInfo("use_cache_branch", "bool", [1]),
    makeValueInfo("past_key_values.0.key", "float32", ["batch", "heads", "past", "dim"]),
    makeValueInfo("past_key_values.0.value", "float16", ["batch", 2, "past", 8]),
    makeValueInfo("pixel_values", "float32", ["batch", 3, 224, 224]),
  ];
  const model = makeModel({
    nodes: [makeNode("Identity", ["input_ids"], ["y"])],
    inputs,
    outputs: [makeValueInfo("y", "int64")],
  });
  const batch = padTokens([[5, 6, 7], [8]], 0);
  const source = { batch, decoderBatch: undefined, inputs: {}, nKeyValueHeads: 4, dHead: 6 };
  const names = inputs.map((v) => v.name).filter((name) => name !== "pixel_values");

  test("each input in its type and shape; a cache that is empty", () => {
    const feeds = modelFeeds(model, names, source);
    const seen = Object.entries(feeds).map(([name, { type, dims }]) => [name, type, [...dims]]);
    expect(seen).toEqual([
      ["input_ids", "int64", [2, 3]],
      ["attention_mask", "int32", [2, 3]],
      ["position_ids", "int64", [2, 3]],
      ["token_type_ids", "int64", [2, 3]],
      ["cache_position", "int64", [3]],
      ["num_logits_to_keep", "int64", []],
      ["use_cache_branch", "bool", [1]],
      ["past_key_values.0.key", "float32", [2, 4, 0, 6]],
      ["past_key_values.0.value", "float16", [2, 2, 0, 8]],
    ]);
    expect(Array.from(feeds["position_ids"]!.data as BigInt64Array, Number)).toEqual([
      0, 1, 2, 0, 1, 2,
    ]);
    expect([...(feeds["attention_mask"]!.data as Int32Array)]).toEqual([1, 1, 1, 1, 0, 0]);
  });

  test("only the inputs that the session has; others of the model are left out", () => {
    expect(Object.keys(modelFeeds(model, ["input_ids", "extra"], source))).toEqual(["input_ids"]);
  });

  test("an input of another kind is named", () => {
    const feeding = () => modelFeeds(model, ["pixel_values"], source);
    expect(feeding).toThrow(ModelError);
    expect(feeding).toThrow(
      /expected the input pixel_values \[batch, 3, 224, 224\], got tokens alone/,
    );
  });

  test("named inputs in the type that the model declares; sizes that differ are refused", () => {
    const given = (data: Float32Array, shape: number[]) =>
      modelFeeds(model, ["past_key_values.0.value", "position_ids"], {
        ...source,
        inputs: {
          "past_key_values.0.value": { data, shape },
          position_ids: { data: Int32Array.from([4, 5]), shape: [1, 2] },
        },
      });
    const values = [1, -2.5, 65504, 1e6, 2 ** -24, 2 ** -26, 0.333251953125, Number.NaN];
    const feeds = given(Float32Array.from([...values, ...values]), [1, 2, 1, 8]);
    const halves = Array.from(
      feeds["past_key_values.0.value"]!.data as Uint16Array,
      float16ToNumber,
    );
    const want = [
      1,
      -2.5,
      65504,
      Number.POSITIVE_INFINITY,
      2 ** -24,
      0,
      0.333251953125,
      Number.NaN,
    ];
    expect(halves).toEqual([...want, ...want]);
    expect(Array.from(feeds["position_ids"]!.data as BigInt64Array)).toEqual([4n, 5n]);
    expect(() => given(new Float32Array(24), [1, 3, 1, 8])).toThrow(ShapeError);
    expect(() => given(new Float32Array(15), [1, 2, 1, 8])).toThrow(
      /expected \[batch, 2, past, 8\], got \[1, 2, 1, 8\] with 15 values/,
    );
  });

  test("half precision is rounded as the hardware does, for every value that it has and between", () => {
    for (let half = 0; half < 0x7c00; half++) {
      const [value, next] = [float16ToNumber(half), float16ToNumber(half + 1)];
      expect(numberToFloat16(value)).toBe(half);
      if (half === 0x7bff) continue;
      // Halfway goes to the even one.
      expect(numberToFloat16((value + next) / 2)).toBe(half + (half & 1));
    }
  });
});
