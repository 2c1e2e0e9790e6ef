/** How bytes stand for values: value = (byte - zero) * scale. */
export interface ByteScale {
  readonly scale: number;
  readonly zero: number;
}

/**
 * The finest scale on which a byte holds every value from `min` to `max`, 0 exactly among them. A value is off by at
 * most scale / 2, which is max / 510 where nothing is negative.
 *
 * @example
 * byteScale(0, 510) // => { scale: 2, zero: 0 }
 */
export function byteScale(min: number, max: number): ByteScale {
  const low = Math.min(0, min);
  const high = Math.max(0, max);
  if (low === 0 && high === 0) return { scale: 0, zero: 0 };
  if (low === 0) return { scale: high / 255, zero: 0 };
  if (high === 0) return { scale: -low / 255, zero: 255 };
  const ideal = (255 * -low) / (high - low);
  const candidates = [Math.floor(ideal), Math.ceil(ideal)].map((place) => {
    const zero = Math.min(254, Math.max(1, place));
    return { zero, scale: Math.max(high / (255 - zero), -low / zero) };
  });
  return candidates[0]!.scale <= candidates[1]!.scale ? candidates[0]! : candidates[1]!;
}

/** The byte of a value. */
export function toByte(value: number, { scale, zero }: ByteScale): number {
  if (scale === 0) return zero;
  return Math.min(255, Math.max(0, zero + Math.round(value / scale)));
}
