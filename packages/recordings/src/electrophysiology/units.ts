/** A unit that files write, as an SI unit and what to multiply by; other units stay as they are. */
export function siUnit(unit: string): { unit: string | undefined; scale: number } {
  const plain = unit.trim();
  const match = /^(n|u|µ|μ|m|p|f|k)?(V|T|A|S)$/.exec(plain);
  if (match) return { unit: match[2], scale: match[1] ? PREFIXES[match[1]]! : 1 };
  return { unit: plain === "" || plain === "n/a" ? undefined : plain, scale: 1 };
}

const PREFIXES: Readonly<Record<string, number>> = {
  f: 1e-15,
  p: 1e-12,
  n: 1e-9,
  u: 1e-6,
  // The micro sign and the Greek letter.
  µ: 1e-6,
  μ: 1e-6,
  m: 1e-3,
  k: 1e3,
};
