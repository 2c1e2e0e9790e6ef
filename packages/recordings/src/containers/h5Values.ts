import type { H5Array, H5Entry, H5Group, H5Values } from "@penfield/hdf5";

/** The entry at a path, or undefined. */
export function entryAt(tree: H5Group, path: string): H5Entry | undefined {
  let found: H5Entry | undefined = tree;
  for (const name of path.split("/").filter(Boolean)) {
    found = found?.kind === "group" ? found.children.get(name) : undefined;
  }
  return found;
}

export function arrayAt(tree: H5Group, path: string): H5Array | undefined {
  const entry = entryAt(tree, path);
  return entry?.kind === "array" ? entry : undefined;
}

export function groupAt(tree: H5Group, path: string): H5Group | undefined {
  const entry = entryAt(tree, path);
  return entry?.kind === "group" ? entry : undefined;
}

/** Numbers as doubles; undefined for text and references. */
export function h5Numbers(values: H5Values | undefined): Float64Array | undefined {
  if (!values || values.type === "text" || values.type === "reference") return undefined;
  if (values.data instanceof Float64Array) return values.data;
  return Float64Array.from(values.data as ArrayLike<number | bigint>, Number);
}

/** Each value as text: booleans as true and false, names of enumerations. */
export function h5Texts(values: H5Values | undefined): readonly string[] | undefined {
  if (!values || values.lengths) return undefined;
  if (values.type === "text" || values.type === "reference") return values.data as string[];
  const numbers = Array.from(values.data as ArrayLike<number | bigint>, String);
  if (values.type === "boolean") return numbers.map((n) => (n === "1" ? "true" : "false"));
  const names = new Map(Object.entries(values.members ?? {}).map(([k, v]) => [String(v), k]));
  return numbers.map((n) => names.get(n) ?? n);
}

export const h5Number = (values: H5Values | undefined): number | undefined =>
  h5Numbers(values)?.[0];

export const h5Text = (values: H5Values | undefined): string | undefined =>
  values?.type === "text" ? (values.data as readonly string[])[0] : undefined;
