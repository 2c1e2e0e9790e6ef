import { ArgumentError } from "./errors.ts";

/** The parts of numpy's legacy `np.random` that published analyses drew their controls with. */
export interface NumpyRandom {
  /** `np.random.permutation(n)`. */
  permutation(n: number): Int32Array;
  /** `np.random.choice(values, k, replace=False)`. */
  choice<T>(values: ArrayLike<T>, k: number): T[];
  /** `np.random.randint(low, high)`: one number in [low, high). */
  randint(low: number, high: number): number;
  /** `np.random.random_sample()`. */
  random(): number;
}

const N = 624;
const M = 397;

/**
 * numpy's legacy generator (`np.random.seed(s)` / `RandomState(s)`): MT19937 with numpy's own
 * way of turning words into shuffles and bounded integers, so that masks and stimuli drawn with a
 * published seed come out the same, number for number.
 *
 * @param seed - 0 .. 2^32 - 1, as numpy takes it.
 *
 * Source: Matsumoto & Nishimura (1998); numpy 1.x `legacy` distributions (masked rejection).
 * Golden: `np.random.RandomState(42).permutation(10)`.
 *
 * @example
 * numpyRandom(42).permutation(10).join(" ") // => "8 1 5 0 7 2 9 4 3 6"
 */
export function numpyRandom(seed: number): NumpyRandom {
  if (!Number.isInteger(seed) || seed < 0 || seed > 0xffffffff) {
    throw new ArgumentError(`numpyRandom: expected a whole number in 0..2^32-1, got ${seed}`);
  }
  const key = new Uint32Array(N);
  key[0] = seed;
  for (let i = 1; i < N; i++) {
    const previous = key[i - 1]! ^ (key[i - 1]! >>> 30);
    key[i] = Math.imul(1812433253, previous) + i;
  }
  let position = N;

  const refill = (): void => {
    for (let i = 0; i < N; i++) {
      const y = (key[i]! & 0x80000000) | (key[(i + 1) % N]! & 0x7fffffff);
      key[i] = key[(i + M) % N]! ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    position = 0;
  };
  const word = (): number => {
    if (position === N) refill();
    let y = key[position++]!;
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    y ^= y >>> 18;
    return y >>> 0;
  };
  /** A number in [0, max], by masking to the next power of two and rejecting. */
  const interval = (max: number): number => {
    if (max === 0) return 0;
    let mask = max;
    for (const shift of [1, 2, 4, 8, 16]) mask |= mask >>> shift;
    mask >>>= 0;
    let value = (word() & mask) >>> 0;
    while (value > max) value = (word() & mask) >>> 0;
    return value;
  };
  const shuffled = (n: number): Int32Array => {
    const order = Int32Array.from({ length: n }, (_, i) => i);
    for (let i = n - 1; i > 0; i--) {
      const j = interval(i);
      const swap = order[i]!;
      order[i] = order[j]!;
      order[j] = swap;
    }
    return order;
  };

  return {
    permutation: shuffled,
    choice<T>(values: ArrayLike<T>, k: number): T[] {
      if (!(Number.isInteger(k) && k >= 0 && k <= values.length)) {
        throw new ArgumentError(`choice: expected k within 0..${values.length}, got ${k}`);
      }
      return Array.from(shuffled(values.length).subarray(0, k), (i) => values[i]!);
    },
    randint(low: number, high: number): number {
      const whole = Number.isSafeInteger(low) && Number.isSafeInteger(high);
      if (!(whole && high > low && high - low <= 4294967296)) {
        throw new ArgumentError(
          `randint: expected whole numbers low < high at most 2^32 apart, got ${low}, ${high}`,
        );
      }
      return low + interval(high - low - 1);
    },
    random: () => ((word() >>> 5) * 67108864 + (word() >>> 6)) / 9007199254740992,
  };
}
