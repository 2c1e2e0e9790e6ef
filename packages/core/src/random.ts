import { ArgumentError } from "./errors.ts";

/**
 * A seeded source of random numbers. Everything random in Penfield takes one (or a seed to make
 * one), so that the same inputs and seed give the same bytes.
 */
export interface Rng {
  /** Uniform in [0, 1), 53 bits. */
  uniform(): number;
  /** A whole number, uniform in [0, bound), without modulo bias. */
  below(bound: number): number;
  /** Standard normal. */
  normal(): number;
}

const MULTIPLIER = 6364136223846793005n;
const MASK_64 = (1n << 64n) - 1n;

/**
 * PCG-XSH-RR 64/32: a 64-bit congruential state with a permuted 32-bit output.
 *
 * @param seed - Any whole number; equal seeds give equal streams.
 * @param stream - Which of 2^63 independent streams; use one per purpose rather than seed + 1.
 *
 * Source: O'Neill (2014), HMC-CS-2014-0905; matches pcg32 of the reference C library
 * (seed 42, stream 54: a15c02b7 7b47f409 ba1d3330 ...).
 *
 * @example
 * const rng = createRng(42, 54);
 * Math.floor(rng.uniform() * 100) // => 63
 */
export function createRng(seed: number, stream = 54): Rng {
  if (!Number.isSafeInteger(seed) || !Number.isSafeInteger(stream)) {
    throw new ArgumentError(
      `createRng: expected whole numbers for seed and stream, got ${seed}, ${stream}`,
    );
  }
  const increment = ((BigInt(stream) << 1n) | 1n) & MASK_64;
  let state = 0n;
  const next = (): number => {
    const old = state;
    state = (old * MULTIPLIER + increment) & MASK_64;
    const xorshifted = Number((((old >> 18n) ^ old) >> 27n) & 0xffffffffn);
    const rotation = Number(old >> 59n);
    return ((xorshifted >>> rotation) | (xorshifted << (-rotation & 31))) >>> 0;
  };
  next();
  state = (state + (BigInt(seed) & MASK_64)) & MASK_64;
  next();
  return rngFromUint32(next);
}

/** Builds the distributions on top of a source of 32-bit words. */
export function rngFromUint32(next: () => number): Rng {
  const uniform = (): number => ((next() >>> 5) * 67108864 + (next() >>> 6)) / 9007199254740992;
  let spare: number | undefined;
  return {
    uniform,
    below(bound: number): number {
      if (!Number.isInteger(bound) || bound < 1 || bound > 4294967296) {
        throw new ArgumentError(`below: expected a whole number in 1..2^32, got ${bound}`);
      }
      // Rejection: the first multiple of `bound` that 32 bits cannot fill evenly is thrown away.
      const limit = 4294967296 - (4294967296 % bound);
      let word = next();
      while (word >= limit) word = next();
      return word % bound;
    },
    normal(): number {
      if (spare !== undefined) {
        const value = spare;
        spare = undefined;
        return value;
      }
      // Marsaglia's polar method: two normals from a point in the unit disc.
      let x: number, y: number, r: number;
      do {
        x = 2 * uniform() - 1;
        y = 2 * uniform() - 1;
        r = x * x + y * y;
      } while (r >= 1 || r === 0);
      const factor = Math.sqrt((-2 * Math.log(r)) / r);
      spare = y * factor;
      return x * factor;
    },
  };
}

/**
 * A random order of 0..n-1 (Fisher–Yates).
 *
 * @example
 * Array.from(permutation(5, createRng(1))).sort().join() // => "0,1,2,3,4"
 */
export function permutation(n: number, rng: Rng): Int32Array {
  const order = Int32Array.from({ length: n }, (_, i) => i);
  for (let i = n - 1; i > 0; i--) {
    const j = rng.below(i + 1);
    const swap = order[i]!;
    order[i] = order[j]!;
    order[j] = swap;
  }
  return order;
}

/**
 * k distinct numbers out of 0..n-1, in ascending order.
 *
 * @throws {ArgumentError} if k is more than n.
 *
 * @example
 * sampleWithoutReplacement(10, 10, createRng(3)).length // => 10
 */
export function sampleWithoutReplacement(n: number, k: number, rng: Rng): Int32Array {
  if (!(Number.isInteger(k) && k >= 0 && k <= n)) {
    throw new ArgumentError(`sampleWithoutReplacement: expected k within 0..${n}, got ${k}`);
  }
  return permutation(n, rng).slice(0, k).sort();
}
