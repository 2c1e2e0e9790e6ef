/** Each power of two is cut into this many buckets. */
const PER_OCTAVE = 16;
const MANTISSA_SHIFT = 23 - Math.log2(PER_OCTAVE);
/** Magnitudes from 2^-14 to 2^10 have buckets of their own. */
const LOWEST_EXPONENT = -14;
const N_OCTAVES = 24;
const PER_SIGN = PER_OCTAVE * N_OCTAVES;
const FIRST = (127 + LOWEST_EXPONENT) * PER_OCTAVE;

/** Buckets of a unit: negative ones, one for zero, positive ones, in the order of their values. */
export const SKETCH_BUCKETS: number = 2 * PER_SIGN + 1;

/** How far a quantile from the sketch may be from the true one, as a share of it; and near zero. */
export const SKETCH_ERROR: { readonly relative: number; readonly absolute: number } = {
  relative: 1 / (2 * PER_OCTAVE),
  absolute: 2 ** LOWEST_EXPONENT,
};

/** Counts values by the leading bits of their float32 form: log-linear buckets without a logarithm. */
export function addToSketch(values: Float32Array, bits: Uint32Array, counts: Uint32Array): void {
  for (let i = 0; i < values.length; i++) {
    const word = bits[i]!;
    const place = ((word & 0x7fffffff) >>> MANTISSA_SHIFT) - FIRST;
    if (place < 0) counts[PER_SIGN]!++;
    else {
      const bounded = place < PER_SIGN ? place : PER_SIGN - 1;
      counts[word >>> 31 ? PER_SIGN - 1 - bounded : PER_SIGN + 1 + bounded]!++;
    }
  }
}

/**
 * The value at rank ceil(q n) of the sorted values (q = 0: the smallest), to within `SKETCH_ERROR`.
 *
 * @param min - And `max`: the exact ends, which no quantile passes.
 *
 * Source: the relative-error guarantee is that of Masson, Rim & Lee (2019), DDSketch, PVLDB 12(12):2195.
 */
export function sketchQuantile(counts: Uint32Array, q: number, min: number, max: number): number {
  let n = 0;
  for (let i = 0; i < counts.length; i++) n += counts[i]!;
  const rank = Math.max(1, Math.ceil(q * n));
  if (rank <= 1) return min;
  if (rank >= n) return max;
  let seen = 0;
  let bucket = 0;
  while (seen + counts[bucket]! < rank) seen += counts[bucket++]!;
  return Math.min(max, Math.max(min, middleOf(bucket)));
}

function middleOf(bucket: number): number {
  if (bucket === PER_SIGN) return 0;
  const negative = bucket < PER_SIGN;
  const place = negative ? PER_SIGN - 1 - bucket : bucket - PER_SIGN - 1;
  const octave = Math.floor(place / PER_OCTAVE);
  const low = 2 ** (LOWEST_EXPONENT + octave) * (1 + (place % PER_OCTAVE) / PER_OCTAVE);
  const middle = low + 2 ** (LOWEST_EXPONENT + octave) / (2 * PER_OCTAVE);
  return negative ? -middle : middle;
}
