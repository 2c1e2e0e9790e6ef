/** Directions over some channels. */
interface Directions {
  readonly channels: readonly string[];
  /** [nVectors, nChannels]. */
  readonly vectors: Float64Array;
  readonly nVectors: number;
}

/** Singular values below this share of the largest count as none. */
const LEAST_PART = 1e-2;
const MAX_PASSES = 60;

/**
 * An orthonormal basis of what projections take out, over the channels of a recording; bad ones are left alone.
 * Directions are cut to the channels that are there and scaled to length 1; the basis is their left singular
 * vectors with singular values above 1 % of the largest.
 *
 * @returns [nDirections][nChannels].
 *
 * Cost: one-sided Jacobi rotations, a few passes of O(nVectors^2 nChannels).
 * Source: as mne.make_projector.
 */
export function projectionBasis(
  projections: readonly Directions[],
  channels: readonly { readonly name: string; readonly isBad: boolean }[],
): Float64Array[] {
  const vectors = projections.flatMap(({ channels: names, vectors: all, nVectors }) =>
    Array.from({ length: nVectors }, (_, v) => {
      const own = new Map(names.map((name, i) => [name, all[v * names.length + i]!]));
      const cut = Float64Array.from(channels, ({ name, isBad }) =>
        isBad ? 0 : (own.get(name) ?? 0),
      );
      return scaled(cut, lengthOf(cut));
    }),
  );
  for (let pass = 0; pass < MAX_PASSES && makeOrthogonal(vectors); pass++);
  const lengths = vectors.map(lengthOf);
  const least = LEAST_PART * Math.max(0, ...lengths);
  return vectors.flatMap((vector, i) => (lengths[i]! > least ? [scaled(vector, lengths[i]!)] : []));
}

/** Turns each pair of vectors so that they are orthogonal, in place; whether anything was turned. */
function makeOrthogonal(vectors: readonly Float64Array[]): boolean {
  let turned = false;
  vectors.forEach((p, i) => {
    for (const q of vectors.slice(i + 1)) {
      const [pp, qq, pq] = [dot(p, p), dot(q, q), dot(p, q)];
      if (Math.abs(pq) <= 1e-15 * Math.sqrt(pp * qq)) continue;
      turned = true;
      const zeta = (qq - pp) / (2 * pq);
      const tangent = (zeta < 0 ? -1 : 1) / (Math.abs(zeta) + Math.hypot(1, zeta));
      const cosine = 1 / Math.hypot(1, tangent);
      const sine = cosine * tangent;
      for (let k = 0; k < p.length; k++) {
        const [x, y] = [p[k]!, q[k]!];
        p[k] = cosine * x - sine * y;
        q[k] = sine * x + cosine * y;
      }
    }
  });
  return turned;
}

const dot = (x: Float64Array, y: Float64Array): number => {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += x[i]! * y[i]!;
  return sum;
};

const lengthOf = (x: Float64Array): number => Math.sqrt(dot(x, x));

const scaled = (x: Float64Array, length: number): Float64Array =>
  length > 0 ? x.map((value) => value / length) : x;

/** Takes the part of `x` along a unit vector out of it, in place. */
export function takeOut(x: Float64Array, unit: Float64Array): void {
  const part = dot(x, unit);
  for (let i = 0; i < x.length; i++) x[i]! -= part * unit[i]!;
}
