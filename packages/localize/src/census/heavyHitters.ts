/** How many keys of a unit are counted at once. */
export const HITTERS = 64;

/**
 * The most frequent keys of many units in bounded memory, after Misra and Gries. A count is never too high, and too
 * low by at most `lost` of its unit; a key that is not there was seen at most `lost` times.
 *
 * Source: Misra & Gries (1982), Science of Computer Programming 2:143; merging as Agarwal et al. (2013), ACM TODS 38(4):26.
 */
export interface HeavyHitters {
  /** `[nUnits, HITTERS]`; only the first `used` of a unit count. */
  readonly keys: Float64Array;
  readonly counts: Uint32Array;
  readonly used: Uint32Array;
  readonly lost: Uint32Array;
}

export function createHeavyHitters(nUnits: number): HeavyHitters {
  return {
    keys: new Float64Array(nUnits * HITTERS),
    counts: new Uint32Array(nUnits * HITTERS),
    used: new Uint32Array(nUnits),
    lost: new Uint32Array(nUnits),
  };
}

/** The keys at the tokens of a batch, numbered from 0: what all units of the batch share. */
export class BatchKeys {
  /** Of each token; -1 where there is none. */
  readonly local: Int32Array;
  readonly keys: number[] = [];
  readonly #numbers = new Map<number, number>();
  /** Counts of one unit, and which of them are not 0. */
  readonly #counts: Uint32Array;
  readonly #touched: Uint32Array;

  constructor(keys: Float64Array) {
    this.local = new Int32Array(keys.length);
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i]!;
      if (key < 0) {
        this.local[i] = -1;
        continue;
      }
      let number = this.#numbers.get(key);
      if (number === undefined) {
        number = this.keys.length;
        this.#numbers.set(key, number);
        this.keys.push(key);
      }
      this.local[i] = number;
    }
    this.#counts = new Uint32Array(this.keys.length);
    this.#touched = new Uint32Array(this.keys.length);
  }

  /** Counts the keys at the first `n` of `active` for one unit. */
  addTo(hitters: HeavyHitters, unit: number, active: Int32Array, n: number): void {
    const counts = this.#counts;
    const touched = this.#touched;
    let nTouched = 0;
    for (let i = 0; i < n; i++) {
      const number = this.local[active[i]!]!;
      if (number < 0) continue;
      if (counts[number]!++ === 0) touched[nTouched++] = number;
    }
    const start = unit * HITTERS;
    let used = hitters.used[unit]!;
    for (let i = 0; i < used; i++) {
      const number = this.#numbers.get(hitters.keys[start + i]!);
      if (number === undefined || counts[number] === 0) continue;
      hitters.counts[start + i]! += counts[number]!;
      counts[number] = 0;
    }
    let nNew = 0;
    for (let i = 0; i < nTouched; i++) if (counts[touched[i]!]! > 0) touched[nNew++] = touched[i]!;
    if (used + nNew > HITTERS) used = this.#shrink(hitters, unit, used, nNew);
    for (let i = 0; i < nNew; i++) {
      const number = touched[i]!;
      const count = counts[number]!;
      counts[number] = 0;
      if (count <= this.#cut) continue;
      hitters.keys[start + used] = this.keys[number]!;
      hitters.counts[start + used] = count - this.#cut;
      used++;
    }
    this.#cut = 0;
    hitters.used[unit] = used;
  }

  /** What is taken off all counts of the unit at hand so that the rest fits. */
  #cut = 0;

  #shrink(hitters: HeavyHitters, unit: number, used: number, nNew: number): number {
    const start = unit * HITTERS;
    const all = new Uint32Array(used + nNew);
    all.set(hitters.counts.subarray(start, start + used));
    for (let i = 0; i < nNew; i++) all[used + i] = this.#counts[this.#touched[i]!]!;
    // The largest that does not fit: with all counts lower by it, at most HITTERS are left.
    this.#cut = nthLargest(all, HITTERS);
    hitters.lost[unit]! += this.#cut;
    let kept = 0;
    for (let i = 0; i < used; i++) {
      const count = hitters.counts[start + i]! - this.#cut;
      if (count <= 0) continue;
      hitters.keys[start + kept] = hitters.keys[start + i]!;
      hitters.counts[start + kept++] = count;
    }
    return kept;
  }
}

/** The value that `n` others of the array reach or pass. Most counts are small: those are counted, not sorted. */
function nthLargest(values: Uint32Array, n: number): number {
  const LIMIT = 64;
  const tally = new Uint32Array(LIMIT + 1);
  for (const value of values) tally[Math.min(value, LIMIT)]!++;
  if (tally[LIMIT]! > n) return values.sort()[values.length - 1 - n]!;
  let above = tally[LIMIT]!;
  for (let value = LIMIT - 1; value > 0; value--) {
    above += tally[value]!;
    if (above > n) return value;
  }
  return 0;
}
