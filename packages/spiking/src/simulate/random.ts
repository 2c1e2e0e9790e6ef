/**
 * Random numbers that depend on where they are used and on nothing else: the same whether rows are run
 * together or alone, and whether a recording comes whole or in pieces.
 */
export interface PlacedRandom {
  /** Uniform in [0, 1). */
  uniform(step: number, place: number): number;
  /** Standard normal. */
  normal(step: number, place: number): number;
}

/** Two rounds of a 32-bit mixer (the finalizer of MurmurHash3, Appleby 2011, public domain). */
function mix(h: number): number {
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}

/** @param seed - Any whole number. */
export function placedRandom(seed: number): PlacedRandom {
  const start = mix(seed | 0) ^ mix(Math.floor(seed / 2 ** 32) + 0x9e3779b9);
  const word = (step: number, place: number, draw: number): number =>
    mix(mix(mix(start + Math.imul(step, 0x9e3779b1)) + Math.imul(place, 0x85ebca77)) + draw) >>> 0;
  const uniform = (step: number, place: number, draw = 0): number =>
    word(step, place, draw) / 4294967296;
  return {
    uniform,
    normal(step, place) {
      const radius = Math.sqrt(-2 * Math.log(1 - uniform(step, place, 1)));
      return radius * Math.cos(2 * Math.PI * uniform(step, place, 2));
    },
  };
}
