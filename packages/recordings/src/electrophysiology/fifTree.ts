import {
  type ByteView,
  bytesPer,
  byteView,
  failAt,
  int32,
  latin1,
  need,
  numbers,
  type Place,
} from "../containers/byteView.ts";

const BLOCK_START = 104;
const BLOCK_END = 105;
const FILE_ID = 100;
const ROOT = 999;
const MAX_DEPTH = 64;

const SHORT = 2;
const INT = 3;
const FLOAT = 4;
const DOUBLE = 5;
const UNSIGNED_SHORT = 7;
const UNSIGNED_INT = 8;
const PACKED = 16;
const MATRIX = 0x40000000;

/** One entry of a FIF file. */
export interface FifTag {
  readonly kind: number;
  readonly type: number;
  /** Of the content, in bytes. */
  readonly size: number;
  readonly start: number;
}

/** A block with what is in it, in the file's order. */
export interface FifBlock {
  readonly kind: number;
  readonly tags: readonly FifTag[];
  readonly blocks: readonly FifBlock[];
}

/** A FIF file taken apart. */
export interface FifTree {
  readonly at: ByteView;
  readonly root: FifBlock;
}

/** Walks all tags of a FIF file. */
export function readFifTree(bytes: Uint8Array, place: Place): FifTree {
  const at = byteView(bytes, false, place);
  if (bytes.length < 36 || int32(at, 0, "a tag") !== FILE_ID || int32(at, 4, "a tag") !== 31) {
    failAt(at, 0, "a FIF file", `${bytes.length} bytes that do not begin as one`);
  }
  type Open = { kind: number; tags: FifTag[]; blocks: FifBlock[] };
  const root: Open = { kind: ROOT, tags: [], blocks: [] };
  const stack: Open[] = [root];
  let offset = 0;
  while (offset < bytes.length) {
    need(at, offset, 16, "a tag");
    const [kind, type, size, next] = [0, 4, 8, 12].map((k) => at.view.getInt32(offset + k)) as [
      number,
      number,
      number,
      number,
    ];
    const start = offset + 16;
    need(at, start, size, `tag ${kind}`);
    const top = stack.at(-1)!;
    if (kind === BLOCK_START) {
      const block: Open = { kind: int32(at, start, "a block's kind"), tags: [], blocks: [] };
      top.blocks.push(block);
      if (stack.push(block) > MAX_DEPTH) {
        failAt(at, offset, `blocks at most ${MAX_DEPTH} deep`, "deeper ones");
      }
    } else if (kind === BLOCK_END) {
      if (stack.length > 1) stack.pop();
    } else top.tags.push({ kind, type, size, start });
    if (next === -1) break;
    if (next !== 0 && next <= offset) failAt(at, offset, "a next tag further on", `one at ${next}`);
    offset = next === 0 ? start + size : next;
  }
  return { at, root };
}

/** All blocks of a kind, outermost first, the block itself included. */
export function blocksOf(block: FifBlock, kind: number): FifBlock[] {
  const inner = block.blocks.flatMap((child) => blocksOf(child, kind));
  return block.kind === kind ? [block, ...inner] : inner;
}

export const tagOf = (block: FifBlock, kind: number): FifTag | undefined =>
  block.tags.find((tag) => tag.kind === kind);

/** The numbers of a tag: its plain type, or the values of a matrix. */
export function tagNumbers(
  { at }: FifTree,
  tag: FifTag,
): Int16Array | Uint16Array | Int32Array | Uint32Array | Float32Array | Float64Array {
  const isMatrix = (tag.type & MATRIX) !== 0;
  const sizes = isMatrix ? matrixSizes(at, tag) : undefined;
  const kind = kindOf(at, tag);
  const length = sizes ? sizes.reduce((a, b) => a * b, 1) : Math.floor(tag.size / bytesPer(kind));
  if (length * bytesPer(kind) > tag.size) {
    failAt(at, tag.start, `${length} values in ${tag.size} bytes`, "fewer");
  }
  return numbers(at, kind, tag.start, length, `tag ${tag.kind}`);
}

function kindOf(
  at: ByteView,
  tag: FifTag,
): "int16" | "uint16" | "int32" | "uint32" | "float32" | "float64" {
  const type = tag.type & ~MATRIX;
  if (type === SHORT || type === PACKED) return "int16";
  if (type === INT) return "int32";
  if (type === FLOAT) return "float32";
  if (type === DOUBLE) return "float64";
  if (type === UNSIGNED_SHORT) return "uint16";
  if (type === UNSIGNED_INT) return "uint32";
  return failAt(
    at,
    tag.start,
    `integers or floats in tag ${tag.kind}`,
    `FIF's data type 0x${tag.type.toString(16)}`,
    "Complex and sparse data are not read.",
  );
}

/** Of a dense matrix, outermost first; they stand behind the values, innermost first. */
export function matrixSizes(at: ByteView, tag: FifTag): readonly number[] {
  const end = tag.start + tag.size;
  const nAxes = int32(at, end - 4, "a matrix");
  if (nAxes < 1 || nAxes > 3 || tag.size < 4 * (nAxes + 1)) {
    failAt(at, end - 4, "a matrix of 1 to 3 axes", `${nAxes}`);
  }
  const sizes = Array.from({ length: nAxes }, (_, k) => int32(at, end - 8 - 4 * k, "a matrix"));
  if (sizes.some((size) => size < 0)) {
    failAt(at, end - 4, "sizes of a matrix", `[${sizes.join(", ")}]`);
  }
  return sizes;
}

export function tagNumber(tree: FifTree, block: FifBlock, kind: number): number | undefined {
  const tag = tagOf(block, kind);
  return tag && tagNumbers(tree, tag)[0];
}

/** Text as Latin-1, which the format says it is. */
export function tagText({ at }: FifTree, block: FifBlock, kind: number): string | undefined {
  const tag = tagOf(block, kind);
  if (!tag) return undefined;
  // MNE writes UTF-8 where it matters (JSON); older programs Latin-1.
  const bytes = at.bytes.subarray(tag.start, tag.start + tag.size);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return latin1(at, tag.start, tag.size, "text");
  }
}

/** Names that colons separate. */
export const namesOf = (text: string | undefined): readonly string[] =>
  text ? text.split(":").map((name) => name.replaceAll("{COLON}", ":")) : [];
