import { float16ToNumber } from "@penfield/core";

/** The largest value that half precision holds. */
export const LARGEST_FLOAT16 = 65504;

/**
 * Numbers as IEEE half precision, rounded to the nearest value, ties to the even one, as numpy does.
 *
 * @param values - What rounds beyond 65504 becomes infinite.
 * @returns The bits. Copy.
 *
 * @example
 * toFloat16(new Float32Array([1, -2, 65504])) // => [15360, 49152, 31743]
 */
export function toFloat16(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const out = new Uint16Array(values.length);
  for (let i = 0; i < values.length; i++) {
    const x = bits[i]!;
    const sign = (x >>> 16) & 0x8000;
    const magnitude = x & 0x7fffffff;
    let half: number;
    if (magnitude > 0x7f800000)
      half = 0x7e00; // NaN
    else if (magnitude >= 0x47800000)
      half = 0x7c00; // 65536 and more
    else if (magnitude >= 0x38800000) {
      // Normal: the exponent's bias goes from 127 to 15; a carry of the rounding goes on into it.
      half = ((magnitude + 0xfff + ((magnitude >>> 13) & 1)) >>> 13) - (112 << 10);
    } else if (magnitude >= 0x33000000) {
      // Subnormal: the hidden one is moved down to where the smallest exponent puts it.
      const shift = 126 - (magnitude >>> 23);
      const fraction = (magnitude & 0x7fffff) | 0x800000;
      const rest = fraction & ((1 << shift) - 1);
      half = fraction >>> shift;
      const middle = 1 << (shift - 1);
      if (rest > middle || (rest === middle && (half & 1) === 1)) half++;
    } else half = 0;
    out[i] = sign | half;
  }
  return out;
}

/** The value of every pattern of 16 bits: reading is looking up. */
export function float16Table(): Float32Array {
  return Float32Array.from({ length: 1 << 16 }, (_, bits) => float16ToNumber(bits));
}
