/** When a loop appears and when it is filled. */
export interface Bar {
  readonly birth: number;
  readonly death: number;
}

/**
 * The loops of a growing graph whose triangles are filled: one-dimensional persistent homology of the Vietoris-Rips filtration, over
 * the field of two elements. Loops that are filled at once are left out.
 *
 * By cohomology: edges from the longest to the shortest, each paired with the first triangle that is left of its
 * coboundary; edges of a minimum spanning tree join parts and make no loops. A triangle is one number, the rank of its
 * longest edge first and its place among all triangles after, so that columns are lists of numbers.
 *
 * @param d - `[n, n]`, symmetric, at least 0, zeros on the diagonal.
 *
 * Cost: n^3 / 2 steps at least, and 4 n^2 bytes; a column that meets another costs n steps for each edge it is made of.
 * Source: de Silva, Morozov & Vejdemo-Johansson (2011), Inverse Problems 27:124003; Bauer (2021), J Appl Comput Topol 5 (Ripser).
 */
export function cycleBars(d: Float64Array, n: number): Bar[] {
  const { ranks, values, edges } = rankEdges(d, n);
  const isTree = spanningTree(edges, n);
  const columnOf = new Map<number, number[]>();
  const bars: Bar[] = [];
  const heap = new KeyHeap();
  for (let at = edges.length - 1; at >= 0; at--) {
    if (isTree[at] === 1) continue;
    const edge = edges[at]!;
    const first = firstTriangle(ranks, n, edge);
    let pivot = first;
    let made = [edge];
    if (first !== undefined && columnOf.has(first)) {
      heap.clear();
      made = [];
      for (let next: readonly number[] | undefined = [edge]; next; ) {
        for (const one of next) {
          pushTriangles(ranks, n, one, heap);
          made.push(one);
        }
        pivot = heap.first();
        next = pivot === undefined ? undefined : columnOf.get(pivot);
      }
      made = odd(made);
    }
    if (pivot === undefined) continue;
    columnOf.set(pivot, made);
    const birth = values[ranks[edge]!]!;
    const death = values[Math.floor(pivot / triangles(n))]!;
    if (death > birth) bars.push({ birth, death });
  }
  return bars;
}

const triangles = (n: number): number => (n * (n - 1) * (n - 2)) / 6;

interface RankedEdges {
  /** `[n, n]`: equal lengths have equal ranks. */
  readonly ranks: Int32Array;
  /** Length of each rank. */
  readonly values: Float64Array;
  /** As a * n + b, a > b, from the shortest. */
  readonly edges: Float64Array;
}

function rankEdges(d: Float64Array, n: number): RankedEdges {
  const edges = new Float64Array((n * (n - 1)) / 2);
  let count = 0;
  for (let a = 1; a < n; a++) for (let b = 0; b < a; b++) edges[count++] = a * n + b;
  edges.sort((p, q) => d[p]! - d[q]! || p - q);
  const ranks = new Int32Array(n * n);
  const values: number[] = [];
  for (const edge of edges) {
    const length = d[edge]!;
    if (values.length === 0 || values[values.length - 1] !== length) values.push(length);
    const [a, b] = [Math.floor(edge / n), edge % n];
    ranks[edge] = values.length - 1;
    ranks[b * n + a] = values.length - 1;
  }
  return { ranks, values: Float64Array.from(values), edges };
}

/** 1 for the edges that join two parts, from the shortest on. */
function spanningTree(edges: Float64Array, n: number): Uint8Array {
  const parent = Int32Array.from({ length: n }, (_, i) => i);
  const root = (i: number): number => {
    let r = i;
    while (parent[r] !== r) r = parent[r]!;
    for (let at = i; at !== r; ) {
      const next = parent[at]!;
      parent[at] = r;
      at = next;
    }
    return r;
  };
  return Uint8Array.from(edges, (edge) => {
    const [a, b] = [root(Math.floor(edge / n)), root(edge % n)];
    if (a === b) return 0;
    parent[a] = b;
    return 1;
  });
}

/** The number of the triangle of an edge (a > b) and a third point. */
function triangleKey(
  ranks: Int32Array,
  n: number,
  all: number,
  a: number,
  b: number,
  third: number,
): number {
  let place: number;
  if (third < b) place = (a * (a - 1) * (a - 2)) / 6 + (b * (b - 1)) / 2 + third;
  else if (third < a) place = (a * (a - 1) * (a - 2)) / 6 + (third * (third - 1)) / 2 + b;
  else place = (third * (third - 1) * (third - 2)) / 6 + (a * (a - 1)) / 2 + b;
  const rank = Math.max(ranks[a * n + b]!, ranks[a * n + third]!, ranks[b * n + third]!);
  return rank * all + place;
}

function firstTriangle(ranks: Int32Array, n: number, edge: number): number | undefined {
  const [a, b] = [Math.floor(edge / n), edge % n];
  const own = ranks[edge]!;
  let best = -1;
  let least = Number.POSITIVE_INFINITY;
  for (let third = 0; third < n; third++) {
    if (third === a || third === b) continue;
    const rank = Math.max(own, ranks[a * n + third]!, ranks[b * n + third]!);
    // Places grow with the third point: of equal ranks the first counts, and none is below the edge's own.
    if (rank < least) {
      least = rank;
      best = third;
      if (rank === own) break;
    }
  }
  return best < 0 ? undefined : triangleKey(ranks, n, triangles(n), a, b, best);
}

function pushTriangles(ranks: Int32Array, n: number, edge: number, heap: KeyHeap): void {
  const [a, b] = [Math.floor(edge / n), edge % n];
  const all = triangles(n);
  for (let third = 0; third < n; third++) {
    if (third !== a && third !== b) heap.push(triangleKey(ranks, n, all, a, b, third));
  }
}

/** What is there an odd number of times. */
function odd(list: readonly number[]): number[] {
  const seen = new Set<number>();
  for (const one of list) if (!seen.delete(one)) seen.add(one);
  return [...seen];
}

/** Numbers of which two equal ones cancel; the smallest is found first. */
class KeyHeap {
  readonly #keys: number[] = [];

  clear(): void {
    this.#keys.length = 0;
  }

  push(key: number): void {
    const keys = this.#keys;
    let at = keys.length;
    keys.push(key);
    while (at > 0) {
      const up = (at - 1) >> 1;
      if (keys[up]! <= key) break;
      keys[at] = keys[up]!;
      at = up;
    }
    keys[at] = key;
  }

  /** The smallest that is there an odd number of times; it stays. */
  first(): number | undefined {
    for (;;) {
      const key = this.#pop();
      if (key === undefined) return undefined;
      if (this.#keys[0] !== key) {
        this.push(key);
        return key;
      }
      this.#pop();
    }
  }

  #pop(): number | undefined {
    const keys = this.#keys;
    const first = keys[0];
    const last = keys.pop();
    if (first === undefined || last === undefined || keys.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= keys.length) break;
      if (child + 1 < keys.length && keys[child + 1]! < keys[child]!) child++;
      if (keys[child]! >= last) break;
      keys[at] = keys[child]!;
      at = child;
    }
    keys[at] = last;
    return first;
  }
}
