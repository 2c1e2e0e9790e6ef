import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { FileError, type FloatArray, FormatError, fileError } from "@penfield/core";
import type { Precision } from "./arrays.ts";

/** An open .npy file of two axes. */
interface NpyRows {
  readonly nRows: number;
  readonly nColumns: number;
  readonly type: "<f4" | "<f8";
  /** Bytes of the file. */
  readonly size: number;
  /** When it was last written, in milliseconds. */
  readonly modified: number;
  /** `[nRows, to - from]`. */
  readColumns(from: number, to: number): FloatArray;
  close(): void;
}

/** Headers are read up to here; numpy writes 128 bytes. */
const MOST_HEADER = 4096;

export function openNpyRows(path: string): NpyRows {
  let file: number;
  try {
    file = openSync(path, "r");
  } catch (cause) {
    throw fileError("npyTargets", path, cause);
  }
  try {
    return npyRows(file, path);
  } catch (cause) {
    closeSync(file);
    throw cause;
  }
}

function npyRows(file: number, path: string): NpyRows {
  const bytes = new Uint8Array(MOST_HEADER);
  const count = readSync(file, bytes, 0, MOST_HEADER, 0);
  const { size, mtimeMs } = fstatSync(file);
  const wide = bytes[6]! >= 2;
  const view = new DataView(bytes.buffer);
  const start = (wide ? 12 : 10) + (wide ? view.getUint32(8, true) : view.getUint16(8, true));
  const text = new TextDecoder("latin1").decode(bytes.subarray(0, Math.min(count, start)));
  const found =
    /^.NUMPY[^{]*\{'descr': '(<f[48])', 'fortran_order': False, 'shape': \((\d+), (\d+)\),? *\}/s.exec(
      text,
    );
  if (!found) {
    throw new FormatError(
      `npyTargets: ${path}: expected an array of two axes, float32 or float64, row-major, got ${JSON.stringify(text.slice(0, 100))}`,
      { hint: "Save it with numpy.save(file, numpy.ascontiguousarray(array))." },
    );
  }
  const [type, nRows, nColumns] = [found[1] as NpyRows["type"], Number(found[2]), Number(found[3])];
  const itemBytes = type === "<f4" ? 4 : 8;
  const expected = start + nRows * nColumns * itemBytes;
  if (size !== expected) {
    throw new FormatError(`npyTargets: ${path}: expected ${expected} bytes, got ${size}`, {
      hint: "The file was cut; write it again.",
    });
  }
  return {
    nRows,
    nColumns,
    type,
    size,
    modified: mtimeMs,
    readColumns(from, to) {
      const width = to - from;
      const out =
        type === "<f4" ? new Float32Array(nRows * width) : new Float64Array(nRows * width);
      const whole = new Uint8Array(out.buffer);
      const rowBytes = width * itemBytes;
      for (let i = 0; i < nRows; i++) {
        let done = 0;
        while (done < rowBytes) {
          const place = start + (i * nColumns + from) * itemBytes + done;
          const read = readSync(file, whole, i * rowBytes + done, rowBytes - done, place);
          if (read === 0) {
            throw new FileError(`npyTargets: ${path}: the file became shorter while it was read`);
          }
          done += read;
        }
      }
      return out;
    },
    close: () => closeSync(file),
  };
}

const HEADER_BYTES = 128;

/** The first bytes of a .npy file (format 1.0) of a row-major array whose values come later. */
export function npyHeader(precision: Precision, shape: readonly number[]): Uint8Array {
  const sizes = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
  const type = precision === "float32" ? "<f4" : "<f8";
  const dictionary = `{'descr': '${type}', 'fortran_order': False, 'shape': (${sizes}), }`;
  const length = HEADER_BYTES - 10;
  const text = `\u0093NUMPY\u0001\0${String.fromCharCode(length, 0)}${dictionary.padEnd(length - 1)}\n`;
  return Uint8Array.from(text, (c) => c.charCodeAt(0));
}
