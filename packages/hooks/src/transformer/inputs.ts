import { createRng, DataError, ModelError, ShapeError } from "@penfield/core";
import { elementType, type ModelProto, type ValueInfoProto } from "@penfield/onnx";
import { Tensor } from "onnxruntime-node";

/** Token ids of several texts, one row each; rows may differ in length. */
export type TokenRows = readonly (readonly number[])[];

/** A named input of a model that is not tokens: pixels, sound, the states of an encoder. */
export interface ModelInput {
  readonly data: Float32Array | Float64Array | BigInt64Array | Int32Array | Uint8Array;
  /** Its first axis is the batch. */
  readonly shape: readonly number[];
}

/** What a model is fed: tokens, or named inputs, or both (an encoder's states and a decoder's tokens). */
export interface ModelInputs {
  readonly tokens?: TokenRows | undefined;
  /** Tokens of the decoder, where a file holds encoder and decoder. */
  readonly decoderTokens?: TokenRows | undefined;
  readonly inputs?: Readonly<Record<string, ModelInput>> | undefined;
}

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

/** What the inputs of a run are made from. */
export interface FeedSource {
  readonly batch: PaddedBatch;
  readonly decoderBatch: PaddedBatch | undefined;
  readonly inputs: Readonly<Record<string, ModelInput>>;
  readonly nKeyValueHeads: number | undefined;
  readonly dHead: number | undefined;
}

/**
 * Fills a model's inputs: named ones as they are given; from tokens the ids, mask, positions, token
 * types, and an empty cache of past keys and values.
 *
 * @param names - The inputs of the session to be fed; others of the model are left out.
 * @throws {ModelError} naming an input that is neither given nor known.
 * @throws {ShapeError} if a given input's size differs from what the model declares.
 */
export function modelFeeds(
  model: ModelProto,
  names: readonly string[],
  source: FeedSource,
): Record<string, Tensor> {
  const feeds: Record<string, Tensor> = {};
  for (const name of names) {
    const info = model.graph!.input.find((v) => v.name === name);
    if (!info) continue;
    const given = source.inputs[name];
    feeds[name] = given ? givenTensor(name, given, info) : derivedTensor(name, info, source);
  }
  return feeds;
}

function givenTensor(name: string, { data, shape }: ModelInput, info: ValueInfoProto): Tensor {
  const declared = declaredDims(info);
  const size = shape.reduce((a, b) => a * b, 1);
  const fits =
    size === data.length &&
    (declared.length === 0 ||
      (declared.length === shape.length &&
        declared.every((d, i) => typeof d !== "number" || d <= 0 || d === shape[i])));
  if (!fits) {
    throw new ShapeError(
      `run: ${name}: expected [${declared.join(", ")}], got [${shape.join(", ")}] with ${data.length} values`,
    );
  }
  const type = declaredType(info);
  if (type === elementType.float32 && data instanceof Float32Array) {
    return new Tensor("float32", data, [...shape]);
  }
  // Typed arrays of numbers and of bigints have no type in common that can be mapped over.
  const values = Array.from(data as Iterable<number | bigint>);
  switch (type) {
    case elementType.int64:
      return new Tensor("int64", BigInt64Array.from(values, BigInt), [...shape]);
    case elementType.int32:
      return new Tensor("int32", Int32Array.from(values, Number), [...shape]);
    case elementType.bool:
      return new Tensor("bool", Uint8Array.from(values, Number), [...shape]);
    case elementType.float16:
      return new Tensor(
        "float16",
        Uint16Array.from(values, (v) => numberToFloat16(Number(v))),
        [...shape],
      );
    default:
      return new Tensor("float32", Float32Array.from(values, Number), [...shape]);
  }
}

function derivedTensor(name: string, info: ValueInfoProto, source: FeedSource): Tensor {
  const type = declaredType(info);
  const forDecoder = name.startsWith("decoder_") && source.decoderBatch !== undefined;
  const batch = forDecoder ? source.decoderBatch! : source.batch;
  const { nRows, length, ids, mask } = batch;
  const dims = [nRows, length];
  const kind = name.replace(/^decoder_/, "");
  if (length > 0) {
    if (kind === "input_ids") return wholeTensor(type, ids, dims);
    if (kind === "attention_mask") return wholeTensor(type, mask, dims);
    if (kind === "position_ids") {
      return wholeTensor(
        type,
        BigInt64Array.from(ids, (_, i) => BigInt(i % length)),
        dims,
      );
    }
    if (kind === "token_type_ids") return wholeTensor(type, new BigInt64Array(ids.length), dims);
    if (kind === "cache_position") {
      return wholeTensor(
        type,
        BigInt64Array.from({ length }, (_, i) => BigInt(i)),
        [length],
      );
    }
  }
  if (name === "encoder_attention_mask") {
    const cache = Object.entries(source.inputs).find(([n]) => n.includes(".encoder."))?.[1].shape;
    const states = source.inputs["encoder_hidden_states"]?.shape ?? cache;
    if (states) {
      const rows = states[0] ?? 0;
      const places = (states.length === 4 ? states[2] : states[1]) ?? 0;
      return wholeTensor(type, new BigInt64Array(rows * places).fill(1n), [rows, places]);
    }
  }
  if (name === "num_logits_to_keep" || name === "logits_to_keep") {
    return wholeTensor(
      type,
      new BigInt64Array(1),
      declaredDims(info).map(() => 1),
    );
  }
  if (name === "use_cache_branch") return new Tensor("bool", new Uint8Array([0]), [1]);
  if (/^past(_key_values)?[._]/.test(name)) {
    const sizes = declaredDims(info).map((size, axis) => {
      if (typeof size === "number" && size > 0) return size;
      if (axis === 0) return nRows;
      if (axis === 1 && source.nKeyValueHeads !== undefined) return source.nKeyValueHeads;
      if (axis === 3 && source.dHead !== undefined) return source.dHead;
      return 0;
    });
    return type === elementType.float16
      ? new Tensor("float16", new Uint16Array(0), sizes)
      : new Tensor("float32", new Float32Array(0), sizes);
  }
  throw new ModelError(
    `run: expected the input ${name} [${declaredDims(info).join(", ")}], got ${Object.keys(source.inputs).join(", ") || (length > 0 ? "tokens alone" : "nothing")}`,
    { hint: `Give it as inputs: { ${JSON.stringify(name)}: { data, shape } }.` },
  );
}

/** The nearest half-precision number's bits, ties to even; what is too large becomes infinite. */
export function numberToFloat16(value: number): number {
  const [bits] = new Uint32Array(new Float32Array([value]).buffer) as unknown as [number];
  const sign = (bits >>> 16) & 0x8000;
  const exponent = ((bits >>> 23) & 0xff) - 127 + 15;
  const fraction = bits & 0x7fffff;
  if (exponent >= 31) {
    return Number.isNaN(value) ? sign | 0x7e00 : sign | 0x7c00;
  }
  const shift = exponent <= 0 ? 14 - exponent : 13;
  if (shift > 24) return sign;
  const full = exponent <= 0 ? fraction | 0x800000 : fraction;
  const kept = full >>> shift;
  const rest = full & ((1 << shift) - 1);
  const half = 1 << (shift - 1);
  const up = rest > half || (rest === half && (kept & 1) === 1) ? 1 : 0;
  return sign | ((exponent <= 0 ? 0 : exponent << 10) + kept + up);
}

/**
 * Made-up inputs for looking at a model that is not fed with tokens alone: seeded noise in the sizes
 * that the model declares, or that its config.json says.
 */
export function probeInputs(
  model: ModelProto,
  config: Record<string, unknown> | undefined,
  nRows: number,
): Record<string, ModelInput> {
  const number = (...keys: string[]): number | undefined => {
    const places = [config, config?.["vision_config"], config?.["audio_config"]];
    for (const place of places) {
      for (const key of keys) {
        const value = (place as Record<string, unknown> | undefined)?.[key];
        if (typeof value === "number" && Number.isInteger(value) && value > 0) return value;
      }
    }
    return undefined;
  };
  const sizesOf: Record<string, () => readonly (number | undefined)[]> = {
    pixel_values: () => {
      const side = number("image_size") ?? 224;
      return [nRows, number("num_channels") ?? 3, side, side];
    },
    input_features: () => [
      nRows,
      number("num_mel_bins") ?? 80,
      2 * (number("max_source_positions") ?? 1500),
    ],
    input_values: () => [nRows, 4000],
    encoder_hidden_states: () => [nRows, 3, number("d_model", "hidden_size")],
    inputs_embeds: () => [nRows, 4, number("hidden_size", "n_embd", "d_model")],
  };
  const rng = createRng(0);
  const found: Record<string, ModelInput> = {};
  // Decoders of later steps read the keys and values of the encoder from their cache.
  const heads = number("decoder_attention_heads", "num_heads", "num_attention_heads", "d_model");
  const width = number("d_kv") ?? (number("d_model", "hidden_size") ?? 0) / (heads ?? 1);
  const isEncoderCache = (name: string) => /^past_key_values\.\d+\.encoder\./.test(name);
  for (const info of model.graph!.input) {
    const cached = isEncoderCache(info.name) ? [nRows, heads, 3, width] : undefined;
    const wanted = sizesOf[info.name]?.() ?? cached;
    if (!wanted) continue;
    const declared = declaredDims(info);
    const shape = wanted.map((size, i) => {
      const said = declared[i];
      return typeof said === "number" && said > 0 && i > 0 ? said : (size ?? 1);
    });
    const one = shape.slice(1).reduce((a, b) => a * b, 1);
    const first = Float32Array.from({ length: one }, () => rng.normal());
    const data = new Float32Array(nRows * one);
    for (let row = 0; row < nRows; row++) data.set(first, row * one);
    found[info.name] = { data, shape };
  }
  return found;
}
