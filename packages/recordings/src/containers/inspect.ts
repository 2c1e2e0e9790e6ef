import { basename, extname } from "node:path";
import { FormatError, fileError, readNpy } from "@penfield/core";
import { type H5Entry, readHdf5 } from "@penfield/hdf5";
import { asyncBufferFromFile } from "hyparquet";
import { readLargeFile } from "./largeFile.ts";
import { isHdf5, readMat } from "./mat.ts";
import type { MatValue } from "./matValue.ts";
import { readNpz } from "./npz.ts";
import { outlineOf } from "./parquet.ts";

/** What a container holds, in plain values. */
export interface ContainerOutline {
  /** `MATLAB 5`, `MATLAB 7.3`, `NWB`, `netCDF-4`, `HDF5`, `.npz`, `.npy`, `Parquet`. */
  readonly format: string;
  readonly contents: readonly {
    /** Its name or path. */
    readonly name: string;
    /** `double`, `cell`, `float`, `text`, ...; `unread: ` and the reason for what is not read. */
    readonly type: string;
    readonly shape: readonly number[];
  }[];
  readonly notes: readonly string[];
}

/**
 * Says what a container holds: MATLAB 5 to 7.3, HDF5 (also netCDF-4 and NWB), `.npy`, `.npz`, Parquet.
 *
 * @param path - The file.
 * @throws {FileError | FormatError} as the reader of its format; FormatError also for another ending.
 *
 * Cost: of HDF5 and Parquet the outline only; other files are read whole.
 */
export async function inspectContainer(path: string): Promise<ContainerOutline> {
  const doing = "inspectContainer";
  const ending = extname(path).toLowerCase();
  if (ending === ".mat") return inspectMat(path, doing);
  if ([".h5", ".hdf5", ".nc", ".nc4", ".nwb"].includes(ending)) return inspectHdf5(path, doing);
  if (ending === ".npz") {
    const arrays = readNpz(await readLargeFile(path, doing), basename(path));
    const contents = [...arrays].map(([name, { data, shape }]) => ({
      name,
      type: Array.isArray(data) ? "text" : typeOf(data),
      shape,
    }));
    return { format: ".npz", contents, notes: [] };
  }
  if (ending === ".npy") {
    const { data, shape } = readNpy(await readLargeFile(path, doing), basename(path));
    const type = Array.isArray(data) ? "text" : typeOf(data);
    return { format: ".npy", contents: [{ name: basename(path), type, shape }], notes: [] };
  }
  if (ending === ".parquet") return inspectParquet(path, doing);
  throw new FormatError(
    `${doing}: ${basename(path)}: expected .mat, .h5, .hdf5, .nc, .nwb, .npz, .npy or .parquet, got ${ending || "no ending"}`,
    { hint: "inspectElectrophysiology says what .fif, .edf, .bdf, .vhdr and .set files hold." },
  );
}

const typeOf = (data: object): string =>
  data.constructor.name
    .replace(/^Big/, "")
    .replace(/Array$/, "")
    .toLowerCase();

async function inspectMat(path: string, doing: string): Promise<ContainerOutline> {
  const values = await readMat(path, { doing });
  const contents = [...values].map(([name, value]) => ({
    name,
    type: matType(value),
    shape: value.kind === "unread" ? [] : value.shape,
  }));
  const is73 = await isHdf5(path, doing);
  return { format: is73 ? "MATLAB 7.3" : "MATLAB 5", contents, notes: [] };
}

function matType(value: MatValue): string {
  switch (value.kind) {
    case "numbers":
      return value.imaginary ? `complex ${value.class}` : value.class;
    case "struct":
      return `struct: ${[...(value.data[0]?.keys() ?? [])].join(", ")}`;
    case "unread":
      return `unread: ${value.reason}`;
    default:
      return value.kind;
  }
}

async function inspectHdf5(path: string, doing: string): Promise<ContainerOutline> {
  const tree = await readHdf5(path, { doing, paths: [] });
  const contents = listed(tree);
  const isNwb = tree.attributes.has("nwb_version") || tree.children.has("nwb_version");
  const isNetCdf =
    tree.attributes.has("_NCProperties") ||
    [...tree.children.values()].some((entry) => entry.attributes.has("DIMENSION_LIST"));
  const format = isNwb ? "NWB" : isNetCdf ? "netCDF-4" : "HDF5";
  return { format, contents, notes: [] };
}

function listed(entry: H5Entry): ContainerOutline["contents"][number][] {
  if (entry.kind === "group") return [...entry.children.values()].flatMap(listed);
  const { path: name, type, shape } = entry;
  const reason = entry.kind === "unread" ? entry.reason : "";
  return [{ name, type: type ?? `unread: ${reason}`, shape }];
}

async function inspectParquet(path: string, doing: string): Promise<ContainerOutline> {
  const file = await asyncBufferFromFile(path).catch((cause) => {
    throw fileError(doing, path, cause);
  });
  const { nRows, columns } = await outlineOf(file, `${doing}: ${basename(path)}`);
  const contents = [...columns].map(([name, type]) => ({ name, type, shape: [nRows] }));
  return { format: "Parquet", contents, notes: [] };
}
