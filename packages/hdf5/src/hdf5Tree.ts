/** The kinds of arrays in which numbers are given, as the file holds them: integers stay integers. */
export type H5Numbers =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

/** Values with their sizes; a scalar has none. */
export interface H5Values {
  /** `boolean` is HDF5's enumeration of FALSE and TRUE, as 0 and 1; `reference` is text, the path of what is meant ("" for none). */
  readonly type: "float" | "integer" | "boolean" | "enum" | "text" | "reference";
  /** Row-major. */
  readonly data: H5Numbers | readonly string[];
  readonly shape: readonly number[];
  /** For lists of uneven length: how many of `data` belong to each value, in order. */
  readonly lengths?: readonly number[] | undefined;
  /** Of an `enum`: which number each name stands for. */
  readonly members?: Readonly<Record<string, number>> | undefined;
}

/** What groups and arrays say about themselves. Attributes of types that are not read are left out. */
export type H5Attributes = ReadonlyMap<string, H5Values>;

/** A dataset. */
export interface H5Array extends H5Values {
  readonly kind: "array";
  readonly path: string;
  readonly attributes: H5Attributes;
}

/** A dataset without its values, because nobody asked for them or its type is not read. */
export interface H5Unread {
  readonly kind: "unread";
  readonly path: string;
  readonly attributes: H5Attributes;
  /** What its values would be, where that type is read. */
  readonly type: H5Values["type"] | undefined;
  /** Without sizes for a link that leads nowhere. */
  readonly shape: readonly number[];
  /** `not asked for`, or what its type is. */
  readonly reason: string;
}

export interface H5Group {
  readonly kind: "group";
  readonly path: string;
  readonly attributes: H5Attributes;
  readonly children: ReadonlyMap<string, H5Entry>;
}

export type H5Entry = H5Array | H5Group | H5Unread;

/** What is written: groups with attributes, and arrays. */
export interface H5Draft {
  readonly attributes?: Readonly<Record<string, string | number>>;
  readonly groups?: Readonly<Record<string, H5Draft>>;
  readonly arrays?: Readonly<Record<string, H5DraftArray>>;
}

export interface H5DraftArray {
  readonly data:
    | Float32Array
    | Float64Array
    | Int32Array
    | BigInt64Array
    | Uint8Array
    | string
    | readonly string[];
  readonly shape?: readonly number[];
  readonly gzip?: boolean;
  readonly attributes?: Readonly<Record<string, string | number>>;
}
