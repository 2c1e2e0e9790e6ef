/** A typed array, text, or a list of texts, with its sizes; a scalar has none. */
export interface H5Array {
  readonly kind: "array";
  readonly data: ArrayLike<number> | readonly string[];
  readonly shape: readonly number[];
}

export interface H5Group {
  readonly kind: "group";
  readonly children: ReadonlyMap<string, H5Array | H5Group>;
}

/** What is written: groups with attributes, and arrays. */
export interface H5Draft {
  readonly attributes?: Readonly<Record<string, string | number>>;
  readonly groups?: Readonly<Record<string, H5Draft>>;
  readonly arrays?: Readonly<
    Record<
      string,
      {
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
      }
    >
  >;
}
