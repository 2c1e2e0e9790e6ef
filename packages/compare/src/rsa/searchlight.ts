import {
  type Activations,
  ArgumentError,
  type LongWork,
  ShapeError,
  tensor,
  throwIfAborted,
} from "@penfield/core";
import { calcRdm, type RdmOptions } from "./calcRdm.ts";
import { type CrossnobisOptions, crossnobisRdm } from "./crossValidated.ts";
import { withLinalg } from "./products.ts";
import { makeRdms, pairsOf, type Rdms } from "./rdms.ts";

/** Places of a volume or surface, and which others belong to each. */
export interface Searchlights {
  /** Linear indices (row-major) of the centres. */
  readonly centers: Int32Array;
  /** For each centre the indices of its neighbourhood, itself among them. */
  readonly neighbors: readonly Int32Array[];
}

/**
 * The balls of a volume: for each voxel of the mask, the voxels nearer than a radius.
 *
 * @param mask - `[nx, ny, nz]` values, row-major; other than 0 means inside.
 * @param shape - The three sizes.
 * @param options.radius - In voxels; a neighbour's distance is less than it. Default 2.
 * @param options.threshold - The least share of a ball that lies inside the mask. Default 1.
 * @param options.truncate - Leave voxels outside the mask out of the balls. Default false: with a threshold below 1 balls
 *   then hold voxels outside the mask (where data are often zero).
 * @returns Centres in row-major order; neighbours ascending.
 * @throws {ShapeError} if the mask is not of that shape.
 * @throws {ArgumentError} if the radius is not above 0 or the threshold outside 0..1.
 *
 * Cost: O(number of voxels in the mask times those of a cube of side 2 radius).
 * Source: Kriegeskorte, Goebel & Bandettini (2006), PNAS 103:3863-3868. Matches
 * rsatoolbox.util.searchlight.get_volume_searchlight.
 *
 * @example
 * volumeSearchlights([1, 1, 1], [1, 1, 3], { radius: 1.5 }).neighbors[1].join(" ") // => "0 1 2"
 */
export function volumeSearchlights(
  mask: ArrayLike<number>,
  shape: readonly [number, number, number],
  {
    radius = 2,
    threshold = 1,
    truncate = false,
  }: { radius?: number; threshold?: number; truncate?: boolean } = {},
): Searchlights {
  const [nx, ny, nz] = shape;
  if (nx * ny * nz !== mask.length) {
    throw new ShapeError(
      `volumeSearchlights: expected a mask of ${nx} x ${ny} x ${nz} voxels, got ${mask.length}`,
    );
  }
  if (!(radius > 0)) {
    throw new ArgumentError(`volumeSearchlights: expected a radius above 0, got ${radius}`);
  }
  if (!(threshold >= 0 && threshold <= 1)) {
    throw new ArgumentError(
      `volumeSearchlights: expected a threshold within 0..1, got ${threshold}`,
    );
  }
  const offsets = ballOffsets(radius);
  const centers: number[] = [];
  const neighbors: Int32Array[] = [];
  for (let at = 0; at < mask.length; at++) {
    if (!mask[at]) continue;
    const x = Math.floor(at / (ny * nz));
    const y = Math.floor(at / nz) % ny;
    const z = at % nz;
    const ball: number[] = [];
    let inside = 0;
    for (const [dx, dy, dz] of offsets) {
      const i = x + dx;
      const j = y + dy;
      const k = z + dz;
      if (i < 0 || j < 0 || k < 0 || i >= nx || j >= ny || k >= nz) continue;
      const place = (i * ny + j) * nz + k;
      if (truncate && !mask[place]) continue;
      ball.push(place);
      if (mask[place]) inside++;
    }
    if (inside / ball.length < threshold) continue;
    centers.push(at);
    neighbors.push(Int32Array.from(ball));
  }
  return { centers: Int32Array.from(centers), neighbors };
}

function ballOffsets(radius: number): [number, number, number][] {
  const reach = Math.ceil(radius);
  const steps = Array.from({ length: 2 * reach + 1 }, (_, i) => i - reach);
  const out: [number, number, number][] = [];
  for (const dx of steps) {
    for (const dy of steps) {
      for (const dz of steps) {
        if (Math.sqrt(dx * dx + dy * dy + dz * dz) < radius) out.push([dx, dy, dz]);
      }
    }
  }
  return out;
}

/**
 * The discs of a surface: for each vertex, those within some rings of edges, or within a distance along edges.
 *
 * @param edges - Pairs of vertices, `[from, to]`; or triangles, `[a, b, c]`, of a mesh.
 * @param nVertices - How many vertices there are.
 * @param reach.rings - How many edges away a neighbour may be; or
 * @param reach.distance - how far along edges (less than it), with `coordinates`, `[nVertices, 3]`.
 * @param reach.mask - `[nVertices]`; vertices with 0 are neither centres nor neighbours nor passed through.
 * @returns Every vertex (of the mask) with its disc, ascending.
 * @throws {ArgumentError} if a vertex is out of range or the reach is not above 0.
 * @throws {ShapeError} if coordinates or mask do not fit.
 *
 * Cost: rings: O(size of the discs times edges per vertex); distance: Dijkstra's algorithm within each disc. Distances along
 * edges are longer than geodesics on the surface, by up to some 10 % on regular meshes.
 * Source: Oosterhof et al. (2011), NeuroImage 56:593-600 (surface searchlights); Dijkstra (1959).
 *
 * @example
 * surfaceSearchlights([[0, 1], [1, 2], [2, 3]], 4, { rings: 1 }).neighbors[1].join(" ") // => "0 1 2"
 */
export function surfaceSearchlights(
  edges: readonly (readonly number[])[],
  nVertices: number,
  reach: {
    readonly rings?: number;
    readonly distance?: number;
    readonly coordinates?: ArrayLike<number>;
    readonly mask?: ArrayLike<number>;
  },
): Searchlights {
  const name = "surfaceSearchlights";
  const { rings, distance, coordinates, mask } = reach;
  const limit = rings ?? distance;
  if ((rings === undefined) === (distance === undefined) || !(limit !== undefined && limit > 0)) {
    throw new ArgumentError(`${name}: expected either rings or a distance above 0, got ${limit}`);
  }
  if (distance !== undefined && coordinates?.length !== 3 * nVertices) {
    throw new ShapeError(
      `${name}: expected coordinates of ${nVertices} vertices, got ${coordinates?.length ?? "none"}`,
    );
  }
  if (mask && mask.length !== nVertices) {
    throw new ShapeError(`${name}: expected a mask of ${nVertices} vertices, got ${mask.length}`);
  }
  const adjacent = adjacency(name, edges, nVertices, mask);
  const length = (a: number, b: number): number =>
    rings === undefined ? euclid(coordinates!, a, b) : 1;
  const within = (d: number): boolean => (rings === undefined ? d < limit : d <= limit);
  const centers: number[] = [];
  const neighbors: Int32Array[] = [];
  for (let v = 0; v < nVertices; v++) {
    if (mask && !mask[v]) continue;
    centers.push(v);
    neighbors.push(disc(v, adjacent, length, within));
  }
  return { centers: Int32Array.from(centers), neighbors };
}

function adjacency(
  name: string,
  edges: readonly (readonly number[])[],
  nVertices: number,
  mask: ArrayLike<number> | undefined,
): Set<number>[] {
  const adjacent = Array.from({ length: nVertices }, () => new Set<number>());
  for (const face of edges) {
    for (const [i, a] of face.entries()) {
      if (!(Number.isInteger(a) && a >= 0 && a < nVertices)) {
        throw new ArgumentError(`${name}: expected vertices within 0..${nVertices - 1}, got ${a}`);
      }
      for (const b of face.slice(i + 1)) {
        if (a === b || b >= nVertices || (mask && !(mask[a] && mask[b]))) continue;
        adjacent[a]!.add(b);
        adjacent[b]?.add(a);
      }
    }
  }
  return adjacent;
}

function euclid(xyz: ArrayLike<number>, a: number, b: number): number {
  return Math.hypot(
    xyz[3 * a]! - xyz[3 * b]!,
    xyz[3 * a + 1]! - xyz[3 * b + 1]!,
    xyz[3 * a + 2]! - xyz[3 * b + 2]!,
  );
}

/** Dijkstra's algorithm, no farther than the disc: small enough for a plain list as its queue. */
function disc(
  from: number,
  adjacent: readonly Set<number>[],
  length: (a: number, b: number) => number,
  within: (d: number) => boolean,
): Int32Array {
  const best = new Map([[from, 0]]);
  const done = new Set<number>();
  const waiting = new Set([from]);
  while (waiting.size > 0) {
    let next = -1;
    for (const v of waiting) if (next < 0 || best.get(v)! < best.get(next)!) next = v;
    waiting.delete(next);
    done.add(next);
    for (const v of adjacent[next]!) {
      if (done.has(v)) continue;
      const d = best.get(next)! + length(next, v);
      if (!within(d) || d >= (best.get(v) ?? Infinity)) continue;
      best.set(v, d);
      waiting.add(v);
    }
  }
  return Int32Array.from(done).sort();
}

/** How searchlight RDMs are computed. */
export interface SearchlightOptions extends LongWork {
  /** As {@link calcRdm}. Default: its defaults. */
  readonly rdm?: RdmOptions | undefined;
  /** Computes crossnobis instead; a precision is cut down to each neighbourhood's channels. */
  readonly crossnobis?: CrossnobisOptions | undefined;
}

/**
 * An RDM for each searchlight.
 *
 * @param x - `[nObservations, nPlaces]`, places as in the searchlights' indices.
 * @param lights - From {@link volumeSearchlights} or {@link surfaceSearchlights}.
 * @param options - What to compute.
 * @returns One RDM per centre, named by the centre's index.
 * @throws {ShapeError} if a neighbour's index is beyond the data.
 * @throws {InterruptedError} if the signal fires.
 *
 * Cost: that of one RDM per centre; memory: the result and one neighbourhood at a time.
 * Source: as rsatoolbox.util.searchlight.get_searchlight_RDMs.
 *
 * @example
 * const lights = volumeSearchlights([1, 1, 1], [1, 1, 3], { radius: 1.5 });
 * const x = activations([[0, 0, 0], [1, 2, 3]]);
 * (await searchlightRdms(x, lights, { rdm: { method: "euclidean" } })).data.join(" ") // => "2.5 4.666666666666667 6.5"
 */
export function searchlightRdms(
  x: Activations,
  lights: Searchlights,
  options: SearchlightOptions = {},
): Promise<Rdms> {
  const [n, nPlaces] = x.shape;
  const total = lights.centers.length;
  if (total === 0) {
    throw new ArgumentError("searchlightRdms: expected at least one searchlight, got none", {
      hint: "Lower the threshold, or the radius.",
    });
  }
  const given = options.rdm?.linalg ?? options.crossnobis?.linalg;
  return withLinalg(given, async (linalg) => {
    let data: Float64Array | undefined;
    let first: Rdms | undefined;
    for (const [c, places] of lights.neighbors.entries()) {
      throwIfAborted(options.signal, "searchlightRdms");
      const values = new Float64Array(n * places.length);
      for (let j = 0; j < places.length; j++) {
        const place = places[j]!;
        if (place >= nPlaces) {
          throw new ShapeError(
            `searchlightRdms: expected places within 0..${nPlaces - 1}, got ${place}`,
          );
        }
        for (let i = 0; i < n; i++) values[i * places.length + j] = x.data[i * nPlaces + place]!;
      }
      const local = tensor(values, ["stimulus", "unit"], [n, places.length]);
      const one = options.crossnobis
        ? await crossnobisRdm(local, { ...cutDown(options.crossnobis, places), linalg })
        : await calcRdm(local, { ...cutDown(options.rdm ?? {}, places), linalg });
      first ??= one;
      data ??= new Float64Array(total * pairsOf(one.nConditions));
      data.set(one.data, c * one.nPairs);
      if (c % 100 === 99 || c + 1 === total) {
        options.onProgress?.({ stage: "computing RDMs", done: c + 1, total, unit: "searchlight" });
      }
    }
    return makeRdms(data!, total, {
      conditions: first!.conditions,
      names: Array.from(lights.centers),
    });
  });
}

/** Options with precisions of the neighbourhood's channels alone. */
function cutDown<T extends RdmOptions | CrossnobisOptions>(options: T, places: Int32Array): T {
  const { precision } = options;
  if (precision === undefined) return options;
  const cut = (from: { data: ArrayLike<number>; nColumns: number }) => {
    const m = places.length;
    const data = new Float64Array(m * m);
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < m; j++) {
        data[i * m + j] = from.data[places[i]! * from.nColumns + places[j]!]!;
      }
    }
    return { data, nRows: m, nColumns: m };
  };
  return { ...options, precision: "data" in precision ? cut(precision) : precision.map(cut) } as T;
}
