import { FormatError } from "@penfield/core";

/** Numbers of the format's enumerations, as far as our tables use them. */
const WIDTHS: ReadonlyMap<unknown, number> = new Map([
  [1, 4], // INT32
  [2, 8], // INT64
  [5, 8], // DOUBLE
]);
const BYTE_ARRAY = 6;
const OPTIONAL = 1;
const UTF8 = 0;
const UNCOMPRESSED = 0;
const PLAIN = 0;
const DATA_PAGE_V2 = 3;

const MAGIC = 0x31524150;
const MAX_FOOTER_BYTES = 2 ** 20;
const MAX_DEPTH = 12;

type Thrift = number | boolean | Uint8Array | readonly Thrift[] | Struct;
type Struct = ReadonlyMap<number, Thrift>;

/** What is wrong with the bytes; `checkParquet` says where. */
class Fault extends Error {}

/** Bytes from a position to an end that nothing may pass. */
class Cursor {
  private readonly view: DataView;
  position: number;
  readonly end: number;

  constructor(view: DataView, position: number, end: number) {
    this.view = view;
    this.position = position;
    this.end = end;
  }

  get left(): number {
    return this.end - this.position;
  }

  /** Moves on by n bytes, and says where they begin. */
  skip(n: number): number {
    if (!(n >= 0 && n <= this.left)) throw new Fault(`${n} bytes where ${this.left} are left`);
    this.position += n;
    return this.position - n;
  }

  byte(): number {
    return this.view.getUint8(this.skip(1));
  }

  uint32(): number {
    return this.view.getUint32(this.skip(4), true);
  }

  bytes(n: number): Uint8Array {
    const { buffer, byteOffset } = this.view;
    return new Uint8Array(buffer, byteOffset + this.skip(n), n);
  }

  /** An unsigned number in groups of seven bits, up to 2^53 - 1. */
  varint(): number {
    let value = 0;
    for (let scale = 1; scale <= 2 ** 49; scale *= 128) {
      const byte = this.byte();
      value += (byte & 127) * scale;
      if (byte < 128) {
        if (!Number.isSafeInteger(value)) break;
        return value;
      }
    }
    throw new Fault("a number that is too large");
  }

  /** A signed number. */
  zigzag(): number {
    const value = this.varint();
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }
}

/**
 * Makes sure that bytes are a Parquet file of the layout that `writeTable` gives: flat, optional columns of
 * INT32, INT64, DOUBLE or UTF8 text, at most one row group, plain pages without compression that
 * follow one another.
 *
 * A general decoder believes counts: a list, a run or a page of a few bytes may announce 2^30 values. Here every
 * count is held against the bytes that are there, so that the decoder can be let loose afterwards.
 *
 * @param checkCells - Called with the numbers of rows and columns before anything of that size is walked.
 * @throws {FormatError} with what was found.
 */
export function checkParquet(
  bytes: Uint8Array,
  where: string,
  checkCells: (nRows: number, nColumns: number) => void = () => {},
): { readonly columns: readonly string[]; readonly nRows: number } {
  try {
    return walkFile(
      new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength),
      bytes.length,
      checkCells,
    );
  } catch (cause) {
    if (!(cause instanceof Fault)) throw cause;
    throw new FormatError(
      `${where}: expected a Parquet file as writeTable writes it, got ${cause.message}`,
      { hint: "The file is damaged, or another program wrote it.", cause },
    );
  }
}

function walkFile(
  view: DataView,
  size: number,
  checkCells: (nRows: number, nColumns: number) => void,
): { readonly columns: readonly string[]; readonly nRows: number } {
  if (size < 12 || view.getUint32(0, true) !== MAGIC || view.getUint32(size - 4, true) !== MAGIC) {
    throw new Fault("bytes that do not begin and end with PAR1");
  }
  const footerSize = view.getUint32(size - 8, true);
  if (footerSize > Math.min(size - 12, MAX_FOOTER_BYTES)) {
    throw new Fault(`a footer of ${footerSize} bytes`);
  }
  const footerStart = size - 8 - footerSize;
  const footer = readStruct(new Cursor(view, footerStart, size - 8));
  const columns = list(footer, 2, "schema").slice(1).map(readColumn);
  const root = struct(list(footer, 2, "schema")[0], "schema");
  same(root.get(5), columns.length, "columns of the schema");
  const nRows = whole(footer, 3, "number of rows");
  const groups = list(footer, 4, "row groups");
  same(groups.length, nRows > 0 ? 1 : 0, "row groups");
  checkCells(nRows, columns.length);
  let position = 4;
  for (const value of groups) {
    const group = struct(value, "row group");
    same(group.get(3), nRows, "rows of the row group");
    const chunks = list(group, 1, "columns");
    same(chunks.length, columns.length, "columns of the row group");
    for (const [i, chunk] of chunks.entries()) {
      position = walkChunk(
        view,
        struct(chunk, "column"),
        columns[i]!,
        nRows,
        position,
        footerStart,
      );
    }
  }
  same(position, footerStart, "end of the pages");
  return { columns: columns.map(({ name }) => name), nRows };
}

interface Column {
  readonly name: string;
  readonly type: Thrift | undefined;
}

function readColumn(value: Thrift): Column {
  const element = struct(value, "column of the schema");
  const type = element.get(1);
  const name = text(element.get(4));
  const isText = type === BYTE_ARRAY;
  if (!isText && !WIDTHS.has(type)) throw new Fault(`a column of type ${String(type)}`);
  same(element.get(3), OPTIONAL, "repetition");
  same(element.get(5) ?? 0, 0, "inner columns");
  same(element.get(6), isText ? UTF8 : undefined, "converted type");
  if (element.has(10)) {
    // The logical type of text; no other is used.
    const logical = struct(element.get(10), "logical type");
    same(isText && logical.size === 1 && logical.has(1), true, "logical type");
  }
  return { name, type };
}

/** Walks the pages of a column, which must begin at a position; returns where they end. */
function walkChunk(
  view: DataView,
  chunk: Struct,
  { name, type }: Column,
  nRows: number,
  position: number,
  footerStart: number,
): number {
  for (const id of [1, 8, 9]) same(chunk.get(id), undefined, "file path or encryption");
  const meta = struct(chunk.get(3), "column metadata");
  const path = list(meta, 3, "path");
  same(path.length, 1, "length of the path");
  same(text(path[0]), name, "name of the column");
  same(meta.get(1), type, "type of the column");
  same(meta.get(4), UNCOMPRESSED, "compression");
  same(meta.get(5), nRows, "values of the column");
  same(meta.get(11), undefined, "dictionary");
  same(meta.get(9), position, "begin of the column");
  for (const id of [8, 12, 13, 14, 16, 17]) same(meta.get(id), undefined, "statistics");
  const size = whole(meta, 7, "size of the column");
  if (size > footerStart - position) throw new Fault(`a column of ${size} bytes`);
  const pages = new Cursor(view, position, position + size);
  let left = nRows;
  while (left > 0) left -= walkPage(view, pages, type, left);
  same(pages.left, 0, "bytes after a column's last page");
  return pages.end;
}

/** Walks one page with at most so many rows, and returns how many it has. */
function walkPage(
  view: DataView,
  pages: Cursor,
  type: Thrift | undefined,
  maxRows: number,
): number {
  const header = readStruct(pages);
  same(header.get(1), DATA_PAGE_V2, "type of a page");
  for (const id of [5, 6, 7]) same(header.get(id), undefined, "another page header");
  const size = whole(header, 3, "size of a page");
  same(header.get(2), size, "uncompressed size of a page");
  const info = struct(header.get(8), "page header");
  const nValues = whole(info, 1, "values of a page");
  if (nValues < 1 || nValues > maxRows) throw new Fault(`a page of ${nValues} values`);
  same(info.get(3), nValues, "rows of a page");
  same(info.get(4), PLAIN, "encoding");
  same(info.get(6), 0, "repetition levels");
  same(info.get(8), undefined, "statistics");
  const start = pages.skip(size);
  const levelSize = whole(info, 5, "size of the levels");
  if (levelSize > size) throw new Fault(`levels of ${levelSize} bytes`);
  const nPresent = countPresent(new Cursor(view, start, start + levelSize), nValues);
  same(info.get(2), nValues - nPresent, "nulls of a page");
  const values = new Cursor(view, start + levelSize, start + size);
  const width = WIDTHS.get(type);
  if (width) values.skip(width * nPresent);
  else for (let i = 0; i < nPresent; i++) values.skip(values.uint32());
  same(values.left, 0, "bytes after a page's last value");
  return nValues;
}

/** How many of n values are not null: one bit for each, in runs or packed by eight. */
function countPresent(levels: Cursor, n: number): number {
  let seen = 0;
  let present = 0;
  while (seen < n) {
    const header = levels.varint();
    const isPacked = header % 2 === 1;
    const count = Math.floor(header / 2) * (isPacked ? 8 : 1);
    // Packed bits come in eights, and the last ones may be filling.
    if (count < 1 || count > n - seen + (isPacked ? 7 : 0)) throw new Fault(`a run of ${count}`);
    if (!isPacked) {
      const level = levels.byte();
      if (level > 1) throw new Fault(`a level of ${level}`);
      present += level * count;
    } else {
      for (let i = 0; i < count; i += 8) {
        const kept = Math.min(8, n - seen - i);
        for (let bits = levels.byte() & (2 ** kept - 1); bits > 0; bits >>= 1) present += bits & 1;
      }
    }
    seen += count;
  }
  same(levels.left, 0, "bytes after the levels");
  return present;
}

// ---- Thrift's compact protocol, in which headers and footer are written ----

function readStruct(from: Cursor, depth = 0): Struct {
  if (depth > MAX_DEPTH) throw new Fault(`more than ${MAX_DEPTH} levels`);
  const fields = new Map<number, Thrift>();
  let id = 0;
  for (;;) {
    const head = from.byte();
    if ((head & 15) === 0) return fields;
    id = head >> 4 ? id + (head >> 4) : checkRange(from.zigzag(), 4);
    if (id < 1 || fields.has(id)) throw new Fault(`field ${id} out of place`);
    fields.set(id, readElement(from, head & 15, depth));
  }
}

function readElement(from: Cursor, type: number, depth: number): Thrift {
  if (type === 1 || type === 2) return type === 1;
  if (type === 3) return from.byte();
  if (type >= 4 && type <= 6) return checkRange(from.zigzag(), type);
  if (type === 8) return from.bytes(from.varint());
  if (type === 9) return readList(from, depth + 1);
  if (type === 12) return readStruct(from, depth + 1);
  throw new Fault(`Thrift type ${type}`);
}

/** 16 and 32 bits: another decoder would take a larger number for another one. */
function checkRange(value: number, type: number): number {
  if (type < 6 && value !== (value | 0)) throw new Fault(`${value} in 32 bits`);
  return value;
}

function readList(from: Cursor, depth: number): readonly Thrift[] {
  if (depth > MAX_DEPTH) throw new Fault(`more than ${MAX_DEPTH} levels`);
  const head = from.byte();
  const size = head >> 4 === 15 ? from.varint() : head >> 4;
  // Every element takes a byte at least.
  if (size > from.left) throw new Fault(`a list of ${size} where ${from.left} bytes are left`);
  const type = head & 15;
  return Array.from({ length: size }, () => readElement(from, type <= 2 ? 3 : type, depth));
}

function struct(value: Thrift | undefined, what: string): Struct {
  if (value instanceof Map) return value;
  throw new Fault(`no ${what}`);
}

function list(from: Struct, id: number, what: string): readonly Thrift[] {
  const value = from.get(id);
  if (Array.isArray(value)) return value;
  throw new Fault(`no ${what}`);
}

function whole(from: Struct, id: number, what: string): number {
  const value = from.get(id);
  if (typeof value === "number" && value >= 0) return value;
  throw new Fault(`no ${what}`);
}

function text(value: Thrift | undefined): string {
  if (!(value instanceof Uint8Array)) throw new Fault("no name");
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(value);
  } catch {
    throw new Fault("a name that is not UTF-8");
  }
}

function same(value: unknown, expected: unknown, what: string): void {
  if (value !== expected) {
    throw new Fault(`another ${what}: ${String(value).slice(0, 40)}, not ${String(expected)}`);
  }
}
