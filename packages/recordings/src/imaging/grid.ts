import { DataError, FormatError } from "@penfield/core";
import { type NiftiImage, type NiftiVolumes, openVolumes, valueAt } from "./nifti.ts";

/** An image that lies over another one: a file, or one that was read. */
export type VolumeInput = string | NiftiImage;

/** Where the voxels of an image are. */
export interface Grid {
  readonly file: string;
  readonly shape: readonly [nx: number, ny: number, nz: number];
  readonly affine: Float64Array;
}

/** Voxel positions may differ by this, which float32 affines do. */
const LARGEST_DISTANCE_MM = 0.01;

/**
 * One value per voxel of a mask or an atlas, which must lie on the same grid: the same sizes, and no
 * corner further off than 0.01 mm.
 *
 * @throws {DataError} with both shapes, or the distance, if the grids differ, or the image has several volumes.
 */
export async function onGrid(
  input: VolumeInput,
  grid: Grid,
  what: "mask" | "atlas",
  doing: string,
): Promise<Float64Array> {
  if (typeof input !== "string") {
    const [nx = 1, ny = 1, nz = 1, ...more] = input.shape;
    const own: Grid = { file: `the ${what}`, shape: [nx, ny, nz], affine: input.affine };
    checkOne(
      more.reduce((a, b) => a * b, 1),
      own.file,
      what,
      doing,
    );
    checkGrid(own, grid, what, doing);
    return Float64Array.from(input.data);
  }
  const volumes = await openVolumes(input, { doing });
  try {
    checkOne(volumes.nVolumes, input, what, doing);
    checkGrid(gridOf(volumes), grid, what, doing);
    const stored = await volumes.next();
    await volumes.finish();
    const value = valueAt(stored, volumes.header);
    return Float64Array.from({ length: stored.length }, (_, i) => value(i));
  } finally {
    await volumes.close();
  }
}

/** Where the voxels of an open image are. */
export const gridOf = ({ file, grid, header }: NiftiVolumes): Grid => ({
  file,
  shape: grid,
  affine: header.affine,
});

function checkOne(nVolumes: number, file: string, what: string, doing: string): void {
  if (nVolumes === 1) return;
  throw new DataError(
    `${doing}: ${file}: expected a ${what} of one volume, got ${nVolumes} volumes`,
  );
}

/**
 * The same sizes, and no corner further off than 0.01 mm.
 *
 * @throws {DataError} with both shapes, or the distance.
 */
export function checkGrid(own: Grid, grid: Grid, what: string, doing: string): void {
  const sizes = (shape: readonly number[]) => shape.join(" x ");
  if (own.shape.some((size, axis) => size !== grid.shape[axis])) {
    throw new DataError(
      `${doing}: ${own.file}: expected a ${what} on the grid of ${grid.file}, ${sizes(grid.shape)} voxels, got ${sizes(own.shape)}`,
      { hint: `Resample the ${what} to the images' grid first.` },
    );
  }
  const distance = largestDistance(own.affine, grid.affine, grid.shape);
  if (!(distance <= LARGEST_DISTANCE_MM)) {
    throw new DataError(
      `${doing}: ${own.file}: expected a ${what} that lies where ${grid.file} does, to ${LARGEST_DISTANCE_MM} mm, got voxels up to ${distance.toFixed(3)} mm apart`,
      { hint: `Resample the ${what} to the images' grid first.` },
    );
  }
}

/** Affine maps differ most at a corner. */
function largestDistance(a: Float64Array, b: Float64Array, shape: readonly number[]): number {
  let largest = 0;
  for (let corner = 0; corner < 8; corner++) {
    const ijk = shape.map((size, axis) => ((corner >> axis) & 1) * (size - 1));
    const [p, q] = [positionOf(a, ijk), positionOf(b, ijk)];
    const distance = Math.hypot(p[0] - q[0], p[1] - q[1], p[2] - q[2]);
    // A NaN must not pass as near.
    if (!(distance <= largest)) largest = distance;
  }
  return largest;
}

/** Millimetres of a voxel's centre. */
export function positionOf(
  affine: ArrayLike<number>,
  ijk: ArrayLike<number>,
): readonly [x: number, y: number, z: number] {
  const row = (r: number): number =>
    affine[r * 4]! * ijk[0]! +
    affine[r * 4 + 1]! * ijk[1]! +
    affine[r * 4 + 2]! * ijk[2]! +
    affine[r * 4 + 3]!;
  return [row(0), row(1), row(2)];
}

/** Whole numbers of an atlas. */
export function checkAtlas(values: Float64Array, file: string, doing: string): void {
  const bad = values.findIndex((value) => !Number.isInteger(value) && !Number.isNaN(value));
  if (bad >= 0) {
    throw new FormatError(
      `${doing}: ${file}: expected whole numbers in an atlas, got ${values[bad]} in voxel ${bad}`,
      { hint: "A probabilistic atlas must be cut into regions first." },
    );
  }
}
