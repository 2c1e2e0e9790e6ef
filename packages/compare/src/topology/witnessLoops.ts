import type { Bar } from "../similarity/persistence.ts";

/**
 * The loops of a weak witness complex, from 0 to `most`: one-dimensional persistent homology over the field of two elements.
 *
 * A set of landmarks is in the complex from the least alpha on at which some witness has all of it nearer than any other landmark,
 * but for alpha, and at which all its parts are in:
 *
 *   alpha(s) = max(min over witnesses w of (max over s of d(w, .) - min over others of d(w, .)), alpha of the parts of s)
 *
 * @param d - `[nWitnesses, nLandmarks]`, distances, at least 0.
 * @param most - Loops that are open there end there.
 *
 * Cost: one pass over d, and the sets of up to three landmarks that are within `most` for a witness. Memory: nLandmarks^3 / 6 numbers.
 * Source: de Silva & Carlsson (2004), SPBG. Matches GUDHI's WitnessComplex with limit_dimension 2.
 */
export function witnessLoops(d: Float64Array, nLandmarks: number, most: number): Bar[] {
  const entry = entries(d, nLandmarks, most);
  const edges = inOrder(entry.edges, most);
  const placeOf = new Int32Array(entry.edges.length).fill(-1);
  edges.forEach((edge, place) => {
    placeOf[edge] = place;
  });
  const births = loopEdges(edges, nLandmarks);
  const deaths = fillings(inOrder(entry.triangles, most), placeOf, edges.length, births.length);
  const bars: Bar[] = [];
  for (const place of births) {
    const triangle = deaths.get(place);
    const birth = entry.edges[edges[place]!]!;
    const death = triangle === undefined ? most : entry.triangles[triangle]!;
    if (death > birth) bars.push({ birth, death });
  }
  return bars;
}

/** The place of an edge a < b, and of a triangle a < b < c. */
const edgeAt = (a: number, b: number): number => (b * (b - 1)) / 2 + a;
const triangleAt = (a: number, b: number, c: number): number =>
  (c * (c - 1) * (c - 2)) / 6 + edgeAt(a, b);

/** From when on edges and triangles are there; Infinity for those that are not by `most`. */
function entries(
  d: Float64Array,
  m: number,
  most: number,
): { readonly edges: Float64Array; readonly triangles: Float64Array } {
  const vertices = new Float64Array(m).fill(Infinity);
  const edges = new Float64Array((m * (m - 1)) / 2).fill(Infinity);
  const triangles = new Float64Array((m * (m - 1) * (m - 2)) / 6).fill(Infinity);
  for (let from = 0; from < d.length; from += m) {
    const near = nearest(d.subarray(from, from + m), most);
    const at = (i: number): number => d[from + near[i]!]!;
    for (let i = 0; i < near.length; i++) {
      const one = i === 0 ? 0 : at(i) - at(0);
      if (one > most) break;
      vertices[near[i]!] = Math.min(vertices[near[i]!]!, one);
    }
    for (let j = 1; j < near.length; j++) {
      for (let i = 0; i < j; i++) {
        // The nearest that is no part of it.
        const two = i > 0 ? at(j) - at(0) : j > 1 ? at(j) - at(1) : 0;
        if (two <= most) lower(edges, edgeAtAny(near[i]!, near[j]!), two);
        for (let k = j + 1; k < near.length; k++) {
          const three = i > 0 ? at(k) - at(0) : j > 1 ? at(k) - at(1) : k > 2 ? at(k) - at(2) : 0;
          if (three > most) break;
          lower(triangles, triangleAtAny(near[i]!, near[j]!, near[k]!), three);
        }
      }
    }
  }
  for (let b = 1; b < m; b++) {
    for (let a = 0; a < b; a++) {
      const at = edgeAt(a, b);
      edges[at] = Math.max(edges[at]!, vertices[a]!, vertices[b]!);
    }
  }
  for (let c = 2; c < m; c++) {
    for (let b = 1; b < c; b++) {
      for (let a = 0; a < b; a++) {
        const at = triangleAt(a, b, c);
        const parts = Math.max(edges[edgeAt(a, b)]!, edges[edgeAt(a, c)]!, edges[edgeAt(b, c)]!);
        triangles[at] = Math.max(triangles[at]!, parts);
      }
    }
  }
  return { edges, triangles };
}

function lower(values: Float64Array, at: number, value: number): void {
  if (value < values[at]!) values[at] = value;
}

const edgeAtAny = (a: number, b: number): number => (a < b ? edgeAt(a, b) : edgeAt(b, a));
function triangleAtAny(a: number, b: number, c: number): number {
  const low = Math.min(a, b, c);
  const high = Math.max(a, b, c);
  return triangleAt(low, a + b + c - low - high, high);
}

/** The landmarks that a witness can add something for, nearest first: up to `most` beyond the third. */
function nearest(row: Float64Array, most: number): Int32Array {
  let [first, second, third] = [Infinity, Infinity, Infinity];
  for (const value of row) {
    if (value < first) [first, second, third] = [value, first, second];
    else if (value < second) [second, third] = [value, second];
    else if (value < third) third = value;
  }
  const near: number[] = [];
  for (let j = 0; j < row.length; j++) if (row[j]! <= third + most) near.push(j);
  return Int32Array.from(near).sort((a, b) => row[a]! - row[b]! || a - b);
}

/** The places that are there by `most`, earliest first. */
function inOrder(values: Float64Array, most: number): Int32Array {
  const there: number[] = [];
  for (let at = 0; at < values.length; at++) if (values[at]! <= most) there.push(at);
  return Int32Array.from(there).sort((a, b) => values[a]! - values[b]! || a - b);
}

/** Edges that close a loop when they come: both ends are joined already. */
function loopEdges(edges: Int32Array, m: number): number[] {
  const parent = Int32Array.from({ length: m }, (_, i) => i);
  const root = (i: number): number => {
    let at = i;
    while (parent[at] !== at) at = parent[at] = parent[parent[at]!]!;
    return at;
  };
  const closing: number[] = [];
  edges.forEach((edge, place) => {
    const [a, b] = endsOf(edge);
    const [p, q] = [root(a), root(b)];
    if (p === q) closing.push(place);
    else parent[p] = q;
  });
  return closing;
}

function endsOf(edge: number): readonly [number, number] {
  let b = Math.floor((1 + Math.sqrt(1 + 8 * edge)) / 2);
  if (edgeAt(0, b) > edge) b--;
  else if (edgeAt(0, b + 1) <= edge) b++;
  return [edge - edgeAt(0, b), b];
}

/** Which triangle fills the loop that an edge (by its place in order) closed: boundary columns, as bits, reduced in order. */
function fillings(
  triangles: Int32Array,
  placeOf: Int32Array,
  nEdges: number,
  nLoops: number,
): Map<number, number> {
  const words = (nEdges + 31) >> 5;
  const columns = new Map<number, Int32Array>();
  const filled = new Map<number, number>();
  for (const triangle of triangles) {
    if (filled.size === nLoops) break;
    const column = new Int32Array(words);
    for (const edge of sidesOf(triangle))
      column[placeOf[edge]! >> 5]! ^= 1 << (placeOf[edge]! & 31);
    for (let word = words - 1; word >= 0; ) {
      if (column[word] === 0) {
        word--;
        continue;
      }
      const last = 32 * word + 31 - Math.clz32(column[word]!);
      const other = columns.get(last);
      if (!other) {
        columns.set(last, column);
        filled.set(last, triangle);
        break;
      }
      for (let i = 0; i <= word; i++) column[i]! ^= other[i]!;
    }
  }
  return filled;
}

function sidesOf(triangle: number): readonly [number, number, number] {
  let c = Math.max(2, Math.floor(Math.cbrt(6 * triangle)));
  while (triangleAt(0, 1, c) > triangle) c--;
  while (triangleAt(0, 1, c + 1) <= triangle) c++;
  const [a, b] = endsOf(triangle - triangleAt(0, 1, c));
  return [edgeAt(a, b), edgeAt(a, c), edgeAt(b, c)];
}
