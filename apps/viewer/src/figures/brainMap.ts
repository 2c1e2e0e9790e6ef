import type { BrainMapSection, Cell } from "@penfield/report";
import { interpolateCividis } from "d3";
import { fixed, short } from "../format.ts";
import { html } from "../html.ts";
import { type Exhibit, label, px, WIDTH } from "./exhibit.ts";
import { endsOf } from "./heat.ts";
import type { FieldMaps } from "./scoreMap.ts";

/** Slices of a map, pictures, and voxels along the longer side of a slice; more are averaged in blocks. */
const MOST_SLICES = 9;
const MOST_MAPS = 8;
const MOST_VOXELS = 48;
const STEPS = 32;

/** Axial slices of each map: voxels with a value in colour, the first axis to the right, the second upwards. */
export function brainMapFigures(
  section: BrainMapSection,
  { fields }: FieldMaps,
): readonly Exhibit[] {
  const { shape, nTargets, affine, maps } = section;
  const [nx, ny, nz] = shape;
  const [indices, values] = [fields["indices"]!, fields["array"]!];
  const place = (target: number): readonly [number, number, number] => {
    const index = indices[target]!;
    return [index % nx, Math.floor(index / nx) % ny, Math.floor(index / (nx * ny))];
  };
  const slices = chosenSlices(indices, nTargets, nx * ny, nz);
  const block = Math.max(1, Math.ceil(Math.max(nx, ny) / MOST_VOXELS));
  const [wide, high] = [Math.ceil(nx / block), Math.ceil(ny / block)];
  const across = Math.min(3, slices.length);
  const cellSize = Math.min(10, (WIDTH - 8 * (across + 1)) / (across * wide));
  const top = 30;
  const millimetres = (k: number): string => short(affine[10]! * k + affine[11]!);
  return maps.slice(0, MOST_MAPS).map(({ title, file }, m): Exhibit => {
    const own = Array.from({ length: nTargets }, (_, t) => values[m * nTargets + t]!);
    const ends = endsOf(own);
    const drawn = slices.map((slice, s) => {
      const left = 8 + (s % across) * (wide * cellSize + 8);
      const bottom = top + (Math.floor(s / across) + 1) * (high * cellSize + 18) - 18;
      const runs = slicePaths({ own, place, slice, block, wide, high, ends });
      return html`${label(left, bottom + 12, `z ${millimetres(slice)} mm`, { kind: "tick" })}<g transform="translate(${px(left)} ${px(bottom)}) scale(${cellSize.toFixed(4)} ${(-cellSize).toFixed(4)})" shape-rendering="crispEdges">${runs.map(
        ([step, path]) =>
          html`<path fill="${interpolateCividis(step / (STEPS - 1))}" d="${path}"/>`,
      )}</g>`;
    });
    const rows = Math.ceil(slices.length / across);
    const known = own.filter(Number.isFinite);
    let peak = -1;
    own.forEach((v, t) => {
      if (Number.isFinite(v) && (peak < 0 || v > own[peak]!)) peak = t;
    });
    return {
      id: `${section.id}-${m}`,
      title,
      description: `${known.length} voxels with a value, from ${fixed(ends[0])} to ${fixed(ends[1])}${
        peak < 0
          ? ""
          : `; the highest at ${world(affine, place(peak))
              .map((v) => short(v))
              .join(", ")} mm`
      }.`,
      caption: `Slices across the third axis, the first axis to the right. Blank: no value.${block > 1 ? ` Means of ${block} × ${block} voxels.` : ""}${file === null ? "" : ` As NIfTI: maps/${file}.`}`,
      drawing: {
        width: WIDTH,
        height: top + rows * (high * cellSize + 18) + 4,
        content: html`${Array.from(
          { length: 20 },
          (_, i) =>
            html`<rect x="${px(WIDTH - 162 + i * 7.5)}" y="4" width="7.8" height="7" fill="${interpolateCividis(i / 19)}"/>`,
        )}${label(WIDTH - 162, 22, short(ends[0]), { kind: "tick" })}${label(WIDTH - 12, 22, short(ends[1]), { anchor: "end", kind: "tick" })}${drawn}`,
      },
      numbers: {
        columns: ["i", "j", "k", "x_mm", "y_mm", "z_mm", "value"],
        rows: own.map((value, t): Cell[] => {
          const voxel = place(t);
          return [...voxel, ...world(affine, voxel), Number.isFinite(value) ? value : null];
        }),
      },
      nShown: 24,
    };
  });
}

function world(affine: readonly number[], voxel: readonly number[]): number[] {
  return [0, 4, 8].map(
    (row) =>
      affine[row]! * voxel[0]! +
      affine[row + 1]! * voxel[1]! +
      affine[row + 2]! * voxel[2]! +
      affine[row + 3]!,
  );
}

/** Slices that have voxels, spread over their range. */
function chosenSlices(
  indices: ArrayLike<number>,
  nTargets: number,
  perSlice: number,
  nz: number,
): readonly number[] {
  const filled = new Set<number>();
  for (let t = 0; t < nTargets; t++) {
    const slice = Math.floor(indices[t]! / perSlice);
    if (slice >= 0 && slice < nz) filled.add(slice);
  }
  const all = [...filled].sort((a, b) => a - b);
  if (all.length <= MOST_SLICES) return all;
  return Array.from(
    { length: MOST_SLICES },
    (_, i) => all[Math.round(((i + 0.5) * all.length) / MOST_SLICES - 0.5)]!,
  );
}

interface Slice {
  readonly own: readonly number[];
  readonly place: (target: number) => readonly [number, number, number];
  readonly slice: number;
  readonly block: number;
  readonly wide: number;
  readonly high: number;
  readonly ends: readonly [number, number];
}

/** One path for each colour. */
function slicePaths({ own, place, slice, block, wide, high, ends }: Slice): [number, string][] {
  const sums = new Float64Array(wide * high);
  const counts = new Int32Array(wide * high);
  own.forEach((value, t) => {
    if (!Number.isFinite(value)) return;
    const [i, j, k] = place(t);
    if (k !== slice) return;
    const at = Math.floor(j / block) * wide + Math.floor(i / block);
    sums[at]! += value;
    counts[at]!++;
  });
  const [low, top] = ends;
  const stepOf = (at: number): number => {
    if (counts[at] === 0) return -1;
    if (top <= low) return STEPS - 1;
    const share = (sums[at]! / counts[at]! - low) / (top - low);
    return Math.round(Math.min(1, Math.max(0, share)) * (STEPS - 1));
  };
  const paths = new Map<number, string>();
  for (let j = 0; j < high; j++) {
    for (let i = 0; i < wide; ) {
      const step = stepOf(j * wide + i);
      let end = i + 1;
      while (end < wide && stepOf(j * wide + end) === step) end++;
      if (step >= 0) paths.set(step, `${paths.get(step) ?? ""}M${i} ${j}h${end - i}v1H${i}z`);
      i = end;
    }
  }
  return [...paths];
}
