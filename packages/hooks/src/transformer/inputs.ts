import { DataError, ModelError } from "@penfield/core";
import { elementType, type ModelProto, type ValueInfoProto } from "@penfield/onnx";
import { Tensor } from "onnxruntime-node";

/** Token ids of several texts, one row each; rows may differ in length. */
export type TokenRows = readonly (readonly number[])[];

/** Rows padded on the right to one length. */
export interface PaddedBatch {
  readonly nRows: number;
  readonly length: number;
  /** `[row, pos]`, row-major. */
  readonly ids: BigInt64Array;
  /** 1 for real tokens, 0 for padding. */
  readonly mask: BigInt64Array;
  readonly lengths: readonly number[];
}

/**
 * Pads rows of tokens on the right, where a causal model's real tokens cannot see the padding.
 *
 * @throws {DataError} if there is no row, one is empty, or holds what is no token id.
 */
export function padTokens(rows: TokenRows, padId: number): PaddedBatch {
  const empty = rows.findIndex((row) => row.length === 0);
  if (rows.length === 0 || empty >= 0) {
    throw new DataError(
      rows.length === 0
        ? "padTokens: expected at least one row of tokens, got none"
        : `padTokens: expected tokens in every row, got none in row ${empty}`,
    );
  }
  rows.forEach((row, r) => {
    const wrong = row.findIndex((id) => !(Number.isSafeInteger(id) && id >= 0));
    if (wrong < 0) return;
    throw new DataError(
      `padTokens: expected token ids, whole numbers from 0, got ${row[wrong]} in row ${r}`,
    );
  });
  const lengths = rows.map((row) => row.length);
  const length = Math.max(...lengths);
  const ids = new BigInt64Array(rows.length * length).fill(BigInt(padId));
  const mask = new BigInt64Array(rows.length * length);
  rows.forEach((row, r) => {
    row.forEach((id, p) => {
      ids[r * length + p] = BigInt(id);
      mask[r * length + p] = 1n;
    });
  });
  return { nRows: rows.length, length, ids, mask, lengths };
}

/** The sizes that a declared input asks for; names stand for sizes known at run time. */
function declaredDims(info: ValueInfoProto): (number | string)[] {
  const type = info.type?.value;
  if (type?.case !== "tensorType") return [];
  return (type.value.shape?.dim ?? []).map((d) =>
    d.value.case === "dimValue" ? Number(d.value.value) : (d.value.value ?? ""),
  );
}

function declaredType(info: ValueInfoProto): number {
  const type = info.type?.value;
  return type?.case === "tensorType" ? type.value.elemType : elementType.float32;
}

const wholeTensor = (type: number, values: BigInt64Array, dims: number[]): Tensor =>
  type === elementType.int32
    ? new Tensor("int32", Int32Array.from(values, Number), dims)
    : new Tensor("int64", values, dims);

/**
 * Fills the inputs that text models declare: token ids, mask, positions, token types, an empty
 * cache of past keys and values.
 *
 * @param names - The inputs of the session to be fed; others of the model are left out.
 * @param nKeyValueHeads - For caches whose number of heads is not written in the model.
 * @throws {ModelError} naming inputs of a kind that is not known.
 */
export function textFeeds(
  model: ModelProto,
  names: readonly string[],
  batch: PaddedBatch,
  cache: { nKeyValueHeads: number | undefined; dHead: number | undefined },
): Record<string, Tensor> {
  const feeds: Record<string, Tensor> = {};
  const { nRows, length, ids, mask } = batch;
  const dims = [nRows, length];
  for (const name of names) {
    const info = model.graph!.input.find((v) => v.name === name);
    if (!info) continue;
    const type = declaredType(info);
    if (name === "input_ids" || name === "decoder_input_ids") {
      feeds[name] = wholeTensor(type, ids, dims);
    } else if (name === "attention_mask") feeds[name] = wholeTensor(type, mask, dims);
    else if (name === "position_ids") {
      const positions = BigInt64Array.from(ids, (_, i) => BigInt(i % length));
      feeds[name] = wholeTensor(type, positions, dims);
    } else if (name === "token_type_ids") {
      feeds[name] = wholeTensor(type, new BigInt64Array(ids.length), dims);
    } else if (name === "cache_position") {
      const positions = BigInt64Array.from({ length }, (_, i) => BigInt(i));
      feeds[name] = wholeTensor(type, positions, [length]);
    } else if (name === "num_logits_to_keep" || name === "logits_to_keep") {
      const sizes = declaredDims(info).map(() => 1);
      feeds[name] = wholeTensor(type, new BigInt64Array(1), sizes);
    } else if (name === "use_cache_branch") {
      feeds[name] = new Tensor("bool", new Uint8Array([0]), [1]);
    } else if (/^past(_key_values)?[._]/.test(name)) {
      const sizes = declaredDims(info).map((size, axis) => {
        if (typeof size === "number" && size > 0) return size;
        if (axis === 0) return nRows;
        if (axis === 1 && cache.nKeyValueHeads !== undefined) return cache.nKeyValueHeads;
        if (axis === 3 && cache.dHead !== undefined) return cache.dHead;
        return 0;
      });
      feeds[name] =
        type === elementType.float16
          ? new Tensor("float16", new Uint16Array(0), sizes)
          : new Tensor("float32", new Float32Array(0), sizes);
    } else {
      throw new ModelError(
        `textFeeds: expected the inputs of a text model (input_ids, attention_mask, position_ids, past_key_values.*), got ${name}`,
        { hint: "Models of images and sound cannot be fed from text." },
      );
    }
  }
  return feeds;
}
