import { encodeModel, makeModel, makeNode, makeTensor, makeValueInfo } from "@penfield/onnx";

const WIDTH = 4;

/**
 * A transformer of one block with one head, no norm and no axis of heads, for tests: everything after the softmax is linear.
 *
 * @param value - Of entry i of a weight with so many rows; default sin(i).
 */
export function oneHeadModel(
  nVocabulary: number,
  value: (name: string, nRows: number, i: number) => number = (_name, _nRows, i) => Math.sin(i),
): Uint8Array {
  const weight = (name: string, rows: number, columns: number) =>
    makeTensor(
      name,
      "float32",
      [rows, columns],
      Float32Array.from({ length: rows * columns }, (_, i) => value(name, rows, i)),
    );
  return encodeModel(
    makeModel({
      nodes: [
        makeNode("Gather", ["E", "input_ids"], ["x"]),
        ...["q", "k", "v"].map((kind) => makeNode("MatMul", ["x", kind.toUpperCase()], [kind])),
        makeNode("Transpose", ["k"], ["kT"], { perm: [0n, 2n, 1n] }),
        makeNode("MatMul", ["q", "kT"], ["scores"]),
        makeNode("Softmax", ["scores"], ["pattern"], { axis: -1n }),
        makeNode("MatMul", ["pattern", "v"], ["z"]),
        makeNode("MatMul", ["z", "O"], ["branch"]),
        makeNode("Add", ["x", "branch"], ["post"]),
        makeNode("MatMul", ["post", "U"], ["logits"]),
      ],
      initializers: [
        weight("E", nVocabulary, WIDTH),
        ...["Q", "K", "V", "O"].map((name) => weight(name, WIDTH, WIDTH)),
        weight("U", WIDTH, nVocabulary),
      ],
      inputs: [makeValueInfo("input_ids", "int64", ["batch", "pos"])],
      outputs: [makeValueInfo("logits", "float32", ["batch", "pos", nVocabulary])],
    }),
  );
}
