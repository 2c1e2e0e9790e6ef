import { FormatError } from "@penfield/core";
import { childrenOf, numbersIn, parseXml, type XmlElement } from "./xml.ts";

/** A surface or a structure of voxels that a CIFTI matrix has values for. */
export interface CiftiModel {
  /** Without the prefix: `CORTEX_LEFT`, `THALAMUS_RIGHT`, ... */
  readonly structure: string;
  /** Of the whole surface; undefined: the model is of voxels. */
  readonly nVertices: number | undefined;
  /** Vertices, or voxels i + nx (j + ny k) of the volume. */
  readonly indices: Int32Array;
}

/** The grid that voxels of a CIFTI file refer to. */
export interface CiftiVolume {
  readonly shape: readonly [nx: number, ny: number, nz: number];
  /** Voxel indices to millimetres, 4 x 4 by rows, [16]. */
  readonly affine: Float64Array;
}

/** What the rows or columns of a CIFTI matrix are. */
export type CiftiAxis =
  | {
      readonly kind: "brain-models";
      readonly size: number;
      readonly models: readonly CiftiModel[];
      readonly volume: CiftiVolume | undefined;
    }
  | {
      readonly kind: "parcels";
      readonly size: number;
      readonly parcels: readonly { readonly name: string; readonly nGrayordinates: number }[];
    }
  | {
      readonly kind: "series";
      readonly size: number;
      /** In `unit`s, the exponent of the file applied. */
      readonly start: number;
      readonly step: number;
      readonly unit: "second" | "hertz" | "meter" | "radian";
    }
  | { readonly kind: "scalars"; readonly size: number; readonly names: readonly string[] }
  | {
      readonly kind: "labels";
      readonly size: number;
      readonly maps: readonly {
        readonly name: string;
        readonly labels: ReadonlyMap<number, string>;
      }[];
    };

type Wrong = (expected: string, got: unknown) => FormatError;

/**
 * Reads the axes of a two-dimensional CIFTI-2 matrix from the XML of its extension.
 *
 * @param sizes - Of the matrix: along a row, and along a column.
 * @throws {FormatError} if an axis is not described, or describes another number of elements.
 */
export function parseCiftiAxes(
  text: string,
  sizes: readonly number[],
  { file, doing }: { file: string; doing: string },
): readonly CiftiAxis[] {
  const wrong: Wrong = (expected, got) =>
    new FormatError(`${doing}: ${file}: CIFTI XML: expected ${expected}, got ${got}`);
  const root = parseXml(text, { file, doing });
  if (root.name !== "CIFTI" || !/^2(\.|$)/.test(root.attributes["Version"] ?? "")) {
    throw wrong('<CIFTI Version="2">', `<${root.name} Version="${root.attributes["Version"]}">`);
  }
  const matrix = childrenOf(root, "Matrix")[0];
  if (matrix === undefined) throw wrong("a Matrix", "none");
  const axes: (CiftiAxis | undefined)[] = sizes.map(() => undefined);
  for (const map of childrenOf(matrix, "MatrixIndicesMap")) {
    const dimensions = (map.attributes["AppliesToMatrixDimension"] ?? "").split(",").map(Number);
    for (const dimension of dimensions) {
      const size = sizes[dimension];
      if (size === undefined || axes[dimension] !== undefined) {
        throw wrong("one map for each dimension of the matrix", `dimension ${dimension}`);
      }
      const axis = parseAxis(map, wrong, size);
      if (axis.size !== size) {
        throw wrong(`${size} elements along dimension ${dimension}`, axis.size);
      }
      axes[dimension] = axis;
    }
  }
  const missing = axes.indexOf(undefined);
  if (missing >= 0) throw wrong(`a map for dimension ${missing}`, "none");
  return axes as CiftiAxis[];
}

function parseAxis(map: XmlElement, wrong: Wrong, size: number): CiftiAxis {
  const type = map.attributes["IndicesMapToDataType"] ?? "none";
  const namedMaps = () =>
    childrenOf(map, "NamedMap").map((named) => ({
      name: nameIn(named, "MapName"),
      labels: labelsOf(named, wrong),
    }));
  switch (type) {
    case "CIFTI_INDEX_TYPE_BRAIN_MODELS":
      return brainModels(map, wrong, size);
    case "CIFTI_INDEX_TYPE_PARCELS":
      return parcels(map, wrong);
    case "CIFTI_INDEX_TYPE_SERIES":
      return series(map, wrong);
    case "CIFTI_INDEX_TYPE_SCALARS": {
      const names = namedMaps().map(({ name }) => name);
      return { kind: "scalars", size: names.length, names };
    }
    case "CIFTI_INDEX_TYPE_LABELS": {
      const maps = namedMaps();
      return { kind: "labels", size: maps.length, maps };
    }
    default:
      throw wrong("a known kind of map", type);
  }
}

const nameIn = (element: XmlElement, child: string): string =>
  childrenOf(element, child)[0]?.text.trim() ?? "";

function labelsOf(named: XmlElement, wrong: Wrong): ReadonlyMap<number, string> {
  const labels = new Map<number, string>();
  for (const label of childrenOf(named, "LabelTable").flatMap((t) => childrenOf(t, "Label"))) {
    labels.set(whole(label, "Key", wrong, -(2 ** 31)), label.text.trim());
  }
  return labels;
}

function whole(element: XmlElement, name: string, wrong: Wrong, low = 0): number {
  const text = element.attributes[name];
  const value = text === undefined || text.trim() === "" ? Number.NaN : Number(text);
  if (!(Number.isSafeInteger(value) && value >= low && value < 2 ** 31)) {
    throw wrong(`${name} of ${element.name} to be a whole number`, text ?? "none");
  }
  return value;
}

function volumeOf(map: XmlElement, wrong: Wrong): CiftiVolume | undefined {
  const volume = childrenOf(map, "Volume")[0];
  if (volume === undefined) return undefined;
  const shape = (volume.attributes["VolumeDimensions"] ?? "").split(",").map(Number);
  const nVoxels = shape.reduce((a, b) => a * b, 1);
  if (
    shape.length !== 3 ||
    !shape.every((n) => Number.isInteger(n) && n >= 1) ||
    nVoxels >= 2 ** 31
  ) {
    throw wrong("three VolumeDimensions", volume.attributes["VolumeDimensions"] ?? "none");
  }
  const transform = childrenOf(volume, "TransformationMatrixVoxelIndicesIJKtoXYZ")[0];
  const affine = Float64Array.from(numbersIn(transform?.text ?? ""));
  const exponent = Number(transform?.attributes["MeterExponent"] ?? Number.NaN);
  if (affine.length !== 16 || !affine.every(Number.isFinite) || !Number.isInteger(exponent)) {
    throw wrong("a transformation of 16 finite numbers with a MeterExponent", `${affine.length}`);
  }
  for (let i = 0; i < 12; i++) affine[i]! *= 10 ** (exponent + 3);
  return { shape: shape as unknown as CiftiVolume["shape"], affine };
}

function voxelIndices(text: string, volume: CiftiVolume | undefined, wrong: Wrong): Int32Array {
  if (volume === undefined) throw wrong("a Volume beside voxels", "none");
  const ijk = numbersIn(text);
  const [nx, ny, nz] = volume.shape;
  const isInside = (value: number, axis: number): boolean =>
    Number.isInteger(value) && value >= 0 && value < volume.shape[axis]!;
  const bad = ijk.findIndex((value, at) => !isInside(value, at % 3));
  if (ijk.length % 3 !== 0 || bad >= 0) {
    throw wrong(
      `voxels inside ${nx} x ${ny} x ${nz}`,
      bad >= 0 ? `${ijk[bad]}` : `${ijk.length} numbers`,
    );
  }
  return Int32Array.from(
    { length: ijk.length / 3 },
    (_, v) => ijk[v * 3]! + nx * (ijk[v * 3 + 1]! + ny * ijk[v * 3 + 2]!),
  );
}

function vertexIndices(text: string, nVertices: number, wrong: Wrong): Int32Array {
  const vertices = numbersIn(text);
  const bad = vertices.find((v) => !(Number.isInteger(v) && v >= 0 && v < nVertices));
  if (bad !== undefined) throw wrong(`vertices within 0..${nVertices - 1}`, bad);
  return Int32Array.from(vertices);
}

const structureIn = (element: XmlElement): string =>
  (element.attributes["BrainStructure"] ?? "").replace(/^CIFTI_STRUCTURE_/, "");

function brainModels(map: XmlElement, wrong: Wrong, size: number): CiftiAxis {
  const volume = volumeOf(map, wrong);
  const found = childrenOf(map, "BrainModel").map((element) => {
    const structure = structureIn(element);
    const offset = whole(element, "IndexOffset", wrong);
    const count = whole(element, "IndexCount", wrong, 1);
    let nVertices: number | undefined;
    let indices: Int32Array;
    if (element.attributes["ModelType"] === "CIFTI_MODEL_TYPE_SURFACE") {
      nVertices = whole(element, "SurfaceNumberOfVertices", wrong, 1);
      indices = vertexIndices(nameIn(element, "VertexIndices"), nVertices, wrong);
    } else if (element.attributes["ModelType"] === "CIFTI_MODEL_TYPE_VOXELS") {
      indices = voxelIndices(nameIn(element, "VoxelIndicesIJK"), volume, wrong);
    } else {
      throw wrong("a ModelType of surface or voxels", element.attributes["ModelType"] ?? "none");
    }
    if (new Set(indices).size !== indices.length) {
      throw wrong(`vertices or voxels of ${structure} each once`, "one twice");
    }
    if (indices.length !== count) throw wrong(`${count} indices of ${structure}`, indices.length);
    return { offset, structure, nVertices, indices };
  });
  found.sort((a, b) => a.offset - b.offset);
  let next = 0;
  for (const { offset, structure, indices } of found) {
    if (offset !== next) throw wrong(`${structure} to begin at ${next}`, offset);
    next += indices.length;
  }
  if (found.length === 0) throw wrong(`brain models for ${size} elements`, "none");
  return {
    kind: "brain-models",
    size: next,
    models: found.map(({ structure, nVertices, indices }) => ({ structure, nVertices, indices })),
    volume,
  };
}

function parcels(map: XmlElement, wrong: Wrong): CiftiAxis {
  const volume = volumeOf(map, wrong);
  const surfaces = new Map(
    childrenOf(map, "Surface").map((surface) => [
      structureIn(surface),
      whole(surface, "SurfaceNumberOfVertices", wrong, 1),
    ]),
  );
  const found = childrenOf(map, "Parcel").map((parcel) => {
    const name = parcel.attributes["Name"] ?? "";
    let nGrayordinates = 0;
    for (const vertices of childrenOf(parcel, "Vertices")) {
      const nVertices = surfaces.get(structureIn(vertices));
      if (nVertices === undefined) {
        throw wrong(`a Surface ${structureIn(vertices)} for the parcel ${name}`, "none");
      }
      nGrayordinates += vertexIndices(vertices.text, nVertices, wrong).length;
    }
    for (const voxels of childrenOf(parcel, "VoxelIndicesIJK"))
      nGrayordinates += voxelIndices(voxels.text, volume, wrong).length;
    return { name, nGrayordinates };
  });
  return { kind: "parcels", size: found.length, parcels: found };
}

function series(map: XmlElement, wrong: Wrong): CiftiAxis {
  const unit = (map.attributes["SeriesUnit"] ?? "none").toLowerCase();
  if (unit !== "second" && unit !== "hertz" && unit !== "meter" && unit !== "radian") {
    throw wrong("a SeriesUnit of SECOND, HERTZ, METER or RADIAN", unit);
  }
  const exponent = Number(map.attributes["SeriesExponent"] ?? Number.NaN);
  const start = Number(map.attributes["SeriesStart"] ?? Number.NaN);
  const step = Number(map.attributes["SeriesStep"] ?? Number.NaN);
  if (!Number.isInteger(exponent) || Math.abs(exponent) > 30 || !Number.isFinite(start + step)) {
    throw wrong("SeriesExponent, SeriesStart and SeriesStep as numbers", "something else");
  }
  // Divided where the exponent is negative: 720 x 10^-3 is then 0.72 and not 0.7200000000000001.
  const scale = (value: number): number =>
    exponent < 0 ? value / 10 ** -exponent : value * 10 ** exponent;
  return {
    kind: "series",
    size: whole(map, "NumberOfSeriesPoints", wrong, 1),
    start: scale(start),
    step: scale(step),
    unit,
  };
}
