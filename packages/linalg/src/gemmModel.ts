/**
 * The bytes of an ONNX model with one node, `c = Gemm(a, b)`, written field by field: ONNX is
 * protobuf, and this much of it needs no library.
 *
 * Field numbers: onnx.proto (IR version 8, operator set 13).
 */
export function gemmModel(
  elementType: "float32" | "float64",
  { transposeA, transposeB }: { transposeA: boolean; transposeB: boolean },
): Uint8Array {
  const type = elementType === "float32" ? 1 : 11;
  const dimension = (name: string) => bytesField(1, textField(2, name));
  const value = (name: string, rows: string, columns: string) => [
    ...textField(1, name),
    ...bytesField(
      2,
      bytesField(1, [
        ...numberField(1, type),
        ...bytesField(2, [...dimension(rows), ...dimension(columns)]),
      ]),
    ),
  ];
  const flag = (name: string, on: boolean) =>
    bytesField(5, [...textField(1, name), ...numberField(3, on ? 1 : 0), ...numberField(20, 2)]);
  const node = [
    ...textField(1, "a"),
    ...textField(1, "b"),
    ...textField(2, "c"),
    ...textField(4, "Gemm"),
    ...flag("transA", transposeA),
    ...flag("transB", transposeB),
  ];
  const graph = [
    ...bytesField(1, node),
    ...textField(2, "gemm"),
    ...bytesField(11, value("a", "aRows", "aColumns")),
    ...bytesField(11, value("b", "bRows", "bColumns")),
    ...bytesField(12, value("c", "cRows", "cColumns")),
  ];
  return Uint8Array.from([
    ...numberField(1, 8),
    ...bytesField(7, graph),
    ...bytesField(8, numberField(2, 13)),
  ]);
}

const WIRE_NUMBER = 0;
const WIRE_BYTES = 2;

function numberField(field: number, value: number): number[] {
  return [...varint(field * 8 + WIRE_NUMBER), ...varint(value)];
}

function bytesField(field: number, bytes: readonly number[]): number[] {
  return [...varint(field * 8 + WIRE_BYTES), ...varint(bytes.length), ...bytes];
}

function textField(field: number, text: string): number[] {
  return bytesField(field, [...new TextEncoder().encode(text)]);
}

function varint(value: number): number[] {
  return value < 128 ? [value] : [(value % 128) + 128, ...varint(Math.floor(value / 128))];
}
