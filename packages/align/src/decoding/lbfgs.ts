/** What a smooth function says at a point: its value, and its gradient written into `gradient`. */
type Objective = (at: Float64Array, gradient: Float64Array) => number;

const dot = (a: Float64Array, b: Float64Array): number => {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
};

/**
 * The minimum of a smooth convex function by limited-memory BFGS with steps halved until they descend.
 *
 * Source: Nocedal & Wright (2006), Numerical Optimization, algorithms 7.4 and 7.5.
 */
export function minimize(
  objective: Objective,
  start: Float64Array,
  {
    tolerance,
    maxIterations,
    memory = 10,
  }: {
    readonly tolerance: number;
    readonly maxIterations: number;
    readonly memory?: number;
  },
): { readonly at: Float64Array; readonly converged: boolean } {
  const n = start.length;
  let at = start.slice();
  let gradient = new Float64Array(n);
  let value = objective(at, gradient);
  const steps: Float64Array[] = [];
  const changes: Float64Array[] = [];
  for (let iteration = 0; iteration < maxIterations; iteration++) {
    if (gradient.every((g) => Math.abs(g) <= tolerance)) return { at, converged: true };
    let direction = descent(gradient, steps, changes);
    let slope = dot(direction, gradient);
    if (!(slope < 0)) {
      steps.length = 0;
      changes.length = 0;
      direction = gradient.map((g) => -g);
      slope = dot(direction, gradient);
    }
    let length = steps.length === 0 ? Math.min(1, 1 / Math.sqrt(dot(gradient, gradient))) : 1;
    const nextGradient = new Float64Array(n);
    let next = at;
    let nextValue = value;
    for (let halving = 0; halving < 60; halving++, length /= 2) {
      next = at.map((x, i) => x + length * direction[i]!);
      nextValue = objective(next, nextGradient);
      if (nextValue <= value + 1e-4 * length * slope) break;
    }
    // Rounding leaves nothing to descend.
    if (!(nextValue < value))
      return { at, converged: Math.abs(slope) < 1e-8 * (1 + Math.abs(value)) };
    const step = next.map((x, i) => x - at[i]!);
    const change = nextGradient.map((g, i) => g - gradient[i]!);
    if (dot(step, change) > 1e-14 * dot(change, change)) {
      steps.push(step);
      changes.push(change);
      if (steps.length > memory) {
        steps.shift();
        changes.shift();
      }
    }
    at = next;
    gradient = nextGradient;
    value = nextValue;
  }
  return { at, converged: false };
}

/** Minus the inverse Hessian, as far as remembered, times the gradient. */
function descent(
  gradient: Float64Array,
  steps: readonly Float64Array[],
  changes: readonly Float64Array[],
): Float64Array {
  const q = gradient.slice();
  const alphas: number[] = [];
  for (let k = steps.length - 1; k >= 0; k--) {
    const alpha = dot(steps[k]!, q) / dot(steps[k]!, changes[k]!);
    alphas[k] = alpha;
    for (let i = 0; i < q.length; i++) q[i]! -= alpha * changes[k]![i]!;
  }
  const last = steps.length - 1;
  const scale =
    last < 0 ? 1 : dot(steps[last]!, changes[last]!) / dot(changes[last]!, changes[last]!);
  for (let i = 0; i < q.length; i++) q[i]! *= scale;
  for (let k = 0; k < steps.length; k++) {
    const beta = dot(changes[k]!, q) / dot(steps[k]!, changes[k]!);
    for (let i = 0; i < q.length; i++) q[i]! += (alphas[k]! - beta) * steps[k]![i]!;
  }
  return q.map((value) => -value);
}
