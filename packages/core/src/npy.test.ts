import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FormatError } from "./errors.ts";
import { float16ToNumber, type NpyArray, readNpy, writeNpy } from "./npy.ts";

/** A file with any header, so that readers meet what our writer never writes. */
function file(
  header: string,
  body: ArrayBufferView | Uint8Array,
  { version = 1 }: { version?: number } = {},
): Uint8Array {
  const text = new TextEncoder().encode(`${header}\n`);
  const wide = version >= 2;
  const start = wide ? 12 : 10;
  const out = new Uint8Array(start + text.length + body.byteLength);
  out.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, version, 0]);
  const view = new DataView(out.buffer);
  if (wide) view.setUint32(8, text.length, true);
  else view.setUint16(8, text.length, true);
  out.set(text, start);
  out.set(new Uint8Array(body.buffer, body.byteOffset, body.byteLength), start + text.length);
  return out;
}

const header = (descr: string, shape: string, fortran = "False") =>
  `{'descr': '${descr}', 'fortran_order': ${fortran}, 'shape': (${shape}), }`;

const arrays: Record<string, Exclude<NpyArray["data"], string[]>> = {
  f8: new Float64Array([0, -0, 1.5, Number.NaN, Number.NEGATIVE_INFINITY, 5e-324]),
  f4: new Float32Array([0, 1.5, -2, Number.POSITIVE_INFINITY, 3, 4]),
  i8: new BigInt64Array([0n, -1n, 2n ** 62n, 3n, 4n, -(2n ** 63n)]),
  u8: new BigUint64Array([0n, 2n ** 64n - 1n, 1n, 2n, 3n, 4n]),
  i4: new Int32Array([0, -1, 2 ** 31 - 1, -(2 ** 31), 4, 5]),
  u4: new Uint32Array([0, 1, 2 ** 32 - 1, 3, 4, 5]),
  i2: new Int16Array([0, -1, 32767, -32768, 4, 5]),
  u2: new Uint16Array([0, 1, 65535, 3, 4, 5]),
  i1: new Int8Array([0, -1, 127, -128, 4, 5]),
  u1: new Uint8Array([0, 1, 255, 3, 4, 5]),
};

describe("round trip", () => {
  test.each(Object.entries(arrays))("%s", (_, data) => {
    for (const shape of [[6], [2, 3], [1, 6, 1], [3, 2]]) {
      const back = readNpy(writeNpy(data, shape));
      expect(back.data).toEqual(data);
      expect(back.shape).toEqual(shape);
    }
  });

  test("of nothing, of one number, and of part of a buffer", () => {
    expect(readNpy(writeNpy(new Float32Array(0), [0, 3]))).toEqual({
      data: new Float32Array(0),
      shape: [0, 3],
    });
    expect(readNpy(writeNpy(new Float64Array([7]), []))).toEqual({
      data: new Float64Array([7]),
      shape: [],
    });
    const part = new Float32Array([1, 2, 3, 4]).subarray(1, 3);
    expect(readNpy(writeNpy(part, [2])).data).toEqual(new Float32Array([2, 3]));
  });

  test("of a Node Buffer at an odd offset, as readFile gives them", () => {
    const bytes = writeNpy(new Float64Array([1, 2, 3]), [3]);
    const pool = Buffer.alloc(bytes.length + 3);
    pool.set(bytes, 3);
    const buffer = pool.subarray(3);
    const before = Buffer.from(buffer);
    expect(readNpy(buffer).data).toEqual(new Float64Array([1, 2, 3]));
    expect(buffer.equals(before)).toBe(true);
  });

  test("big-endian input is not changed", () => {
    const bytes = Buffer.from(file(header(">i2", "2,"), new Uint8Array([1, 2, 3, 4])));
    const before = Buffer.from(bytes);
    expect(readNpy(bytes).data).toEqual(new Int16Array([0x0102, 0x0304]));
    expect(bytes.equals(before)).toBe(true);
  });

  test("the data starts at a multiple of 64, as numpy wants it", () => {
    for (const shape of [[6], [2, 3], [1, 1, 1, 1, 1, 6]]) {
      const bytes = writeNpy(new Uint8Array(6), shape);
      expect((bytes.length - 6) % 64).toBe(0);
      expect(bytes[bytes.length - 7]).toBe(0x0a);
    }
  });
});

describe("what numpy writes and we do not", () => {
  test.each(Object.keys(arrays))("big-endian %s", (kind) => {
    const data = arrays[kind]!;
    const swapped = new Uint8Array(data.buffer.slice(0) as ArrayBuffer);
    const width = data.BYTES_PER_ELEMENT;
    for (let i = 0; i < swapped.length; i += width) swapped.subarray(i, i + width).reverse();
    expect(readNpy(file(header(`>${kind}`, "6,"), swapped)).data).toEqual(data);
  });

  test("half precision", () => {
    const halves = new Uint16Array([
      0x3c00, 0xc000, 0x7bff, 0x0001, 0x7c00, 0xfc00, 0x7e00, 0x8000,
    ]);
    const values = [
      1,
      -2,
      65504,
      2 ** -24,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
      Number.NaN,
      -0,
    ];
    const { data } = readNpy(file(header("<f2", "8,"), halves));
    expect(Array.from(data as Float32Array)).toEqual(values);
    expect(Array.from(halves, float16ToNumber)).toEqual(values);
    // 1/3 rounded to half precision, and the largest number below the normal ones.
    expect(float16ToNumber(0x3555)).toBe(0.333251953125);
    expect(float16ToNumber(0x03ff)).toBe(1023 * 2 ** -24);
  });

  test("booleans", () => {
    expect(readNpy(file(header("|b1", "2,"), new Uint8Array([1, 0]))).data).toEqual(
      new Uint8Array([1, 0]),
    );
  });

  test("column-major arrays of two and three axes", () => {
    const two = file(header("<f8", "2, 3", "True"), new Float64Array([1, 4, 2, 5, 3, 6]));
    expect(readNpy(two)).toEqual({ data: new Float64Array([1, 2, 3, 4, 5, 6]), shape: [2, 3] });
    // Element (i, j, k) of a [2, 3, 2] array lies at i + 2 j + 6 k, and holds 100 i + 10 j + k.
    const body = new Int16Array(12);
    for (let i = 0; i < 2; i++) {
      for (let j = 0; j < 3; j++)
        for (let k = 0; k < 2; k++) body[i + 2 * j + 6 * k] = 100 * i + 10 * j + k;
    }
    expect(
      Array.from(readNpy(file(header("<i2", "2, 3, 2", "True"), body)).data as Int16Array),
    ).toEqual([0, 1, 10, 11, 20, 21, 100, 101, 110, 111, 120, 121]);
  });

  test("strings, either byte order, with characters beyond 16 bits", () => {
    const points = (words: string[], width: number) =>
      Uint32Array.from(
        words.flatMap((w) => [...w.padEnd(width, "\0")].slice(0, width)),
        (c) => c.codePointAt(0)!,
      );
    const words = ["ab", "", "é🧠c"];
    const little = points(words, 3);
    expect(readNpy(file(header("<U3", "3,"), little)).data).toEqual(words);
    const big = new Uint8Array(little.buffer.slice(0));
    for (let i = 0; i < big.length; i += 4) big.subarray(i, i + 4).reverse();
    expect(readNpy(file(header(">U3", "3,"), big)).data).toEqual(words);
    // Only padding is taken off: a zero inside stays, as in numpy.
    expect(readNpy(file(header("<U3", "1,"), points(["a\0b"], 3))).data).toEqual(["a\0b"]);
    const turned = file(header("<U1", "2, 2", "True"), points(["a", "c", "b", "d"], 1));
    expect(readNpy(turned).data).toEqual(["a", "b", "c", "d"]);
  });

  test.each([1, 2, 3])("format version %d", (version) => {
    const bytes = file(header("<f4", "2,"), new Float32Array([1, 2]), { version });
    expect(readNpy(bytes).data).toEqual(new Float32Array([1, 2]));
  });

  test("a header of 200 kB", () => {
    const bytes = file(`${header("|u1", "1,")}${" ".repeat(200_000)}`, new Uint8Array([5]), {
      version: 2,
    });
    expect(readNpy(bytes).data).toEqual(new Uint8Array([5]));
  });
});

describe("refuses", () => {
  const one = new Float64Array([1]);
  test.each<[string, Uint8Array, RegExp]>([
    ["nothing", new Uint8Array(0), /expected a .npy file, got 0 bytes/],
    ["another format", new TextEncoder().encode("PK\u0003\u0004 something else"), /magic number/],
    [
      "version 9",
      file(header("<f8", "1,"), one, { version: 9 }),
      /expected format version 1 to 3, got 9/,
    ],
    [
      "version 0",
      file(header("<f8", "1,"), one, { version: 0 }),
      /expected format version 1 to 3, got 0/,
    ],
    ["too few values", file(header("<f8", "2,"), one), /expected 2 values of 8 bytes, got 8 bytes/],
    [
      "too many values",
      file(header("<f8", "1,"), new Float64Array(2)),
      /expected 1 values of 8 bytes, got 16/,
    ],
    ["objects", file(header("|O", "1,"), one), /expected a numeric or unicode type, got \|O/],
    ["complex numbers", file(header("<c16", "1,"), new Float64Array(2)), /got <c16/],
    ["bytes strings", file(header("|S8", "1,"), one), /got \|S8/],
    ["long doubles", file(header("<f16", "1,"), new Float64Array(2)), /got <f16/],
    [
      "structures",
      file("{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1,), }", one),
      /expected a plain array/,
    ],
    ["a negative size", file(header("<f8", "-1,"), one), /expected whole sizes, got \(-1,\)/],
    ["half a size", file(header("<f8", "0.5,"), one), /expected whole sizes/],
    [
      "a size beyond all memory",
      file(header("<f8", "99999999999, 99999999999"), one),
      /values of 8 bytes/,
    ],
    [
      "a huge array of no characters",
      file(header("<U0", "9007199254740991,"), new Uint8Array(0)),
      /got <U0/,
    ],
    [
      "no character",
      file(header("<U1", "1,"), new Uint32Array([0x110000])),
      /got the code point 1114112/,
    ],
    ["half a header", file(header("<f8", "1,"), one).subarray(0, 40), /expected a header of/],
  ])("%s", (_, bytes, message) => {
    expect(() => readNpy(bytes, "x.npy")).toThrow(FormatError);
    expect(() => readNpy(bytes, "x.npy")).toThrow(message);
    expect(() => readNpy(bytes, "x.npy")).toThrow(/^readNpy: x\.npy: /);
  });

  test("sizes that are not the data's, when writing", () => {
    expect(() => writeNpy(new Float32Array(3), [2])).toThrow(FormatError);
    expect(() => writeNpy(new Float32Array(3), [2])).toThrow(
      "writeNpy: expected sizes that multiply to 3, got [2]",
    );
    expect(() => writeNpy(new Float32Array(6), [-2, -3])).toThrow(FormatError);
    expect(() => writeNpy(new Float32Array(6), [1.5, 4])).toThrow(FormatError);
  });
});

describe("damaged files give a FormatError or an array, and nothing else", () => {
  const whole = [
    writeNpy(new Float32Array([1, 2, 3, 4, 5, 6]), [2, 3]),
    file(header("<U2", "3,"), new Uint32Array(6)),
    file(header(">f8", "2, 3", "True"), new Float64Array(6), { version: 2 }),
  ];
  const attempt = (bytes: Uint8Array): void => {
    try {
      const { data, shape } = readNpy(bytes);
      expect(data.length).toBe(shape.reduce((a, b) => a * b, 1));
      expect(data.length).toBeLessThanOrEqual(bytes.length);
    } catch (error) {
      expect(error).toBeInstanceOf(FormatError);
    }
  };

  test("cut off anywhere", () => {
    for (const bytes of whole) {
      for (let end = 0; end < bytes.length; end++) {
        expect(() => readNpy(bytes.subarray(0, end))).toThrow(FormatError);
      }
    }
  });

  test("with any one byte changed", () => {
    for (const bytes of whole) {
      for (let at = 0; at < bytes.length; at++) {
        for (const value of [0, 0x20, 0x2c, 0x30, 0x39, 0x80, 0xff, bytes[at]! ^ 1]) {
          const changed = bytes.slice();
          changed[at] = value;
          attempt(changed);
        }
      }
    }
  });

  test("with several bytes changed, and of random bytes", () => {
    const change = fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }));
    fc.assert(
      fc.property(
        fc.constantFrom(...whole),
        fc.array(change, { maxLength: 8 }),
        (bytes, changes) => {
          const changed = bytes.slice();
          for (const [at, value] of changes) changed[at % changed.length] = value;
          attempt(changed);
        },
      ),
      { numRuns: 500 },
    );
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), attempt));
  });
});
