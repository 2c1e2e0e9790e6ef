/**
 * Where a function of a few numbers is least, by a simplex that crawls downhill (Nelder & Mead 1965, Comput J 7:308).
 * Finds the valley that it starts in.
 */
export function nelderMead(
  f: (x: readonly number[]) => number,
  start: readonly number[],
  { step = 0.5, tolerance = 1e-10, maxSteps = 400 }: Partial<Record<string, number>> = {},
): { x: readonly number[]; value: number } {
  const n = start.length;
  const vertex = (x: readonly number[]) => ({ x, value: f(x) });
  const simplex = [
    start,
    ...start.map((_, i) => start.map((v, j) => (i === j ? v + step : v))),
  ].map(vertex);
  for (let i = 0; i < maxSteps; i++) {
    simplex.sort((a, b) => a.value - b.value);
    const best = simplex[0]!;
    const worst = simplex[n]!;
    if (worst.value - best.value <= tolerance * (Math.abs(best.value) + 1e-12)) break;
    const centre = start.map(
      (_, j) => simplex.slice(0, n).reduce((sum, v) => sum + v.x[j]!, 0) / n,
    );
    const along = (by: number) => vertex(centre.map((c, j) => c + by * (worst.x[j]! - c)));
    const reflected = along(-1);
    if (reflected.value < best.value) {
      const expanded = along(-2);
      simplex[n] = expanded.value < reflected.value ? expanded : reflected;
    } else if (reflected.value < simplex[n - 1]!.value) {
      simplex[n] = reflected;
    } else {
      const contracted = along(reflected.value < worst.value ? -0.5 : 0.5);
      if (contracted.value < Math.min(worst.value, reflected.value)) simplex[n] = contracted;
      else {
        for (let k = 1; k <= n; k++) {
          simplex[k] = vertex(simplex[k]!.x.map((v, j) => (v + best.x[j]!) / 2));
        }
      }
    }
  }
  return simplex.reduce((a, b) => (b.value < a.value ? b : a));
}
