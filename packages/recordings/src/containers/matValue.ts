/** Numbers in the kind of their MATLAB class. */
export type MatNumbers =
  | Float64Array
  | Float32Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

/**
 * A MATLAB value. Files hold arrays column by column; here all of them (also cells and structs) are
 * row-major, the last axis fastest, with the sizes that MATLAB shows.
 */
export type MatValue =
  | {
      readonly kind: "numbers";
      /** MATLAB's class: `double`, `int16`, ... */
      readonly class: string;
      readonly data: MatNumbers;
      /** Of complex numbers. */
      readonly imaginary?: MatNumbers | undefined;
      readonly shape: readonly number[];
    }
  | { readonly kind: "logical"; readonly data: Uint8Array; readonly shape: readonly number[] }
  | {
      readonly kind: "text";
      /** One per row of the char array; most have one. */
      readonly rows: readonly string[];
      readonly shape: readonly number[];
    }
  | { readonly kind: "cell"; readonly data: readonly MatValue[]; readonly shape: readonly number[] }
  | {
      readonly kind: "struct";
      /** One record per element. */
      readonly data: readonly ReadonlyMap<string, MatValue>[];
      readonly shape: readonly number[];
      /** Of an object of the old kind. */
      readonly className?: string | undefined;
    }
  | {
      readonly kind: "sparse";
      /** Of each value, from 0. */
      readonly rows: Int32Array;
      /** Of each column the index of its first value, and the number of values, [nColumns + 1]. */
      readonly columnStarts: Int32Array;
      readonly data: Float64Array;
      readonly imaginary?: Float64Array | undefined;
      readonly shape: readonly number[];
    }
  | {
      readonly kind: "unread";
      /** `function_handle`, `opaque` (tables, strings, datetimes), or what else is not read. */
      readonly reason: string;
    };

/** A column-major array in row-major order; the array itself where that is the same. */
export function toRowMajor<T extends MatNumbers | unknown[]>(data: T, shape: readonly number[]): T {
  const wide = shape.filter((size) => size !== 1);
  if (wide.length < 2 || data.length === 0) return data;
  const out = (Array.isArray(data) ? new Array(data.length) : data.slice()) as unknown as unknown[];
  // Row-major strides of the columns-first order: walking the output, the first axis moves by 1 in the input.
  const strides = wide.map((_, axis) => wide.slice(0, axis).reduce((a, b) => a * b, 1));
  const last = wide.length - 1;
  const inner = wide[last]!;
  const step = strides[last]!;
  const index = new Array<number>(last).fill(0);
  let from = 0;
  for (let flat = 0; flat < out.length; flat += inner) {
    for (let k = 0; k < inner; k++) out[flat + k] = data[from + k * step];
    for (let axis = last - 1; axis >= 0; axis--) {
      from += strides[axis]!;
      if (++index[axis]! < wide[axis]!) break;
      from -= strides[axis]! * wide[axis]!;
      index[axis] = 0;
    }
  }
  return out as unknown as T;
}

/** A field of a struct's first element. */
export function matField(value: MatValue | undefined, name: string): MatValue | undefined {
  return value?.kind === "struct" ? value.data[0]?.get(name) : undefined;
}

/** Real numbers (or logical values) as doubles; undefined for everything else. */
export function matNumbers(value: MatValue | undefined): Float64Array | undefined {
  if (value?.kind === "logical") return Float64Array.from(value.data);
  if (value?.kind !== "numbers" || value.imaginary) return undefined;
  if (value.data instanceof Float64Array) return value.data;
  return Float64Array.from(value.data as ArrayLike<number | bigint>, Number);
}

/** A single number; undefined for everything else. */
export function matNumber(value: MatValue | undefined): number | undefined {
  const data = matNumbers(value);
  return data?.length === 1 ? data[0] : undefined;
}

/** The text of a char array of one row (an empty array is ""); undefined for everything else. */
export function matText(value: MatValue | undefined): string | undefined {
  if (value?.kind === "text" && value.rows.length <= 1) return value.rows[0] ?? "";
  if (value?.kind === "numbers" && value.data.length === 0) return "";
  return undefined;
}
