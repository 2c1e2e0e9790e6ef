import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FormatError } from "./errors.ts";
import { readSafetensors, writeSafetensors } from "./safetensors.ts";

/** A file built by hand from its header and its bytes. */
const file = (header: unknown, body: readonly number[] = []): Uint8Array => {
  const text = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, Buffer.from(body)]);
};

describe("safetensors", () => {
  test("a file written by hand, byte by byte", () => {
    const { tensors, metadata } = readSafetensors(
      file(
        {
          __metadata__: { kind: "sae" },
          half: { dtype: "F16", shape: [1, 2], data_offsets: [0, 4] },
          brain: { dtype: "BF16", shape: [1], data_offsets: [4, 6] },
          long: { dtype: "I64", shape: [1], data_offsets: [6, 14] },
        },
        [0x00, 0x3c, 0x00, 0xc0, 0xc0, 0x3f, 7, 0, 0, 0, 0, 0, 0, 0],
      ),
    );
    expect(metadata).toEqual({ kind: "sae" });
    expect(Array.from(tensors.get("half")!.data as Float32Array)).toEqual([1, -2]);
    expect(tensors.get("half")!.shape).toEqual([1, 2]);
    expect(Array.from(tensors.get("brain")!.data as Float32Array)).toEqual([1.5]);
    expect(Array.from(tensors.get("long")!.data as BigInt64Array)).toEqual([7n]);
  });

  test("what is written is read back bit for bit", () => {
    fc.assert(
      fc.property(
        fc.float32Array({ maxLength: 40 }),
        fc.string({ unit: "grapheme" }),
        (data, s) => {
          const bytes = writeSafetensors({ x: { data, shape: [data.length] } }, { s });
          const { tensors, metadata } = readSafetensors(bytes);
          expect(metadata).toEqual({ s });
          expect(Buffer.from(tensors.get("x")!.data.buffer)).toEqual(
            Buffer.from(data.buffer, data.byteOffset, data.byteLength),
          );
        },
      ),
    );
  });

  test("lies in a header are refused, and nothing is allocated for them", () => {
    const entry = (fields: object) =>
      file({ w: { dtype: "F32", shape: [1], data_offsets: [0, 4], ...fields } }, [0, 0, 0, 0]);
    for (const bytes of [
      new Uint8Array(3),
      file("{"),
      file("[1"),
      file("null"),
      Uint8Array.from([255, 255, 255, 255, 255, 255, 255, 127, 123, 125]),
      entry({ shape: [2 ** 40] }),
      entry({ shape: [-1] }),
      entry({ shape: "1" }),
      entry({ data_offsets: [0, 8], shape: [2] }),
      entry({ data_offsets: [-4, 0] }),
      entry({ data_offsets: [0, 3] }),
      entry({ dtype: "Q4" }),
      file({ w: null }),
    ]) {
      expect(() => readSafetensors(bytes)).toThrow(FormatError);
    }
  });

  test("no cut or flipped byte gives anything but values or a FormatError", () => {
    const whole = writeSafetensors({ x: { data: new Float32Array([1, 2, 3]), shape: [3] } });
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.nat(255), fc.boolean(), (at, byte, cut) => {
        const bytes = cut ? whole.slice(0, at) : whole.slice();
        if (!cut) bytes[at] = byte;
        try {
          readSafetensors(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(FormatError);
        }
      }),
    );
  });
});
