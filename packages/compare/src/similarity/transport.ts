import { ArgumentError, ShapeError } from "@penfield/core";
import { assignment } from "./assignment.ts";
import type { Dense } from "./pair.ts";

/** A transport plan and what it costs. */
export interface TransportPlan {
  /** `[n, m]`: how much goes from each row to each column; rows sum to 1 / n, columns to 1 / m. */
  readonly plan: Dense;
  /** The sum of plan times cost. */
  readonly cost: number;
}

/**
 * Optimal transport between two sets of equal weights: an exact solution of the linear program.
 *
 * Weights are made whole numbers; each row sends its supply along shortest augmenting paths under dual
 * prices. For sets of one size that is a matching.
 *
 * @param cost - `[n, m]`, finite.
 * @throws {ShapeError} if there are no values.
 * @throws {ArgumentError} if a value is not finite.
 *
 * Cost: O((n + m) n m) or so. Source: Ahuja, Magnanti & Orlin (1993), Network Flows, 9.7. Matches POT's emd2 with uniform weights.
 *
 * @example
 * const cost = { data: Float64Array.of(0, 1, 4), nRows: 1, nColumns: 3 };
 * uniformTransport(cost).cost.toFixed(6) // => "1.666667"
 */
export function uniformTransport(cost: Dense): TransportPlan {
  const { data, nRows: n, nColumns: m } = cost;
  if (n === 0 || m === 0) {
    throw new ShapeError(`uniformTransport: expected values, got ${n} x ${m}`);
  }
  const at = data.findIndex((v) => !Number.isFinite(v));
  if (at >= 0) throw new ArgumentError(`uniformTransport: expected finite values, got ${data[at]}`);
  const plan = new Float64Array(n * m);
  if (n === m) {
    const { columns, total } = assignment(cost);
    columns.forEach((j, i) => {
      plan[i * m + j] = 1 / n;
    });
    return { plan: { data: plan, nRows: n, nColumns: m }, cost: total / n };
  }
  const common = gcd(n, m);
  const flow = sendAll(data, n, m, m / common, n / common);
  const unit = common / (n * m);
  let total = 0;
  for (let i = 0; i < flow.length; i++) {
    plan[i] = flow[i]! * unit;
    total += plan[i]! * data[i]!;
  }
  return { plan: { data: plan, nRows: n, nColumns: m }, cost: total };
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}

/** Every row sends `supply`, every column takes `demand`. */
function sendAll(
  cost: Float64Array,
  n: number,
  m: number,
  supply: number,
  demand: number,
): Float64Array {
  const flow = new Float64Array(n * m);
  const u = new Float64Array(n);
  const v = new Float64Array(m);
  const needs = new Float64Array(m).fill(demand);
  const rowDistance = new Float64Array(n);
  const columnDistance = new Float64Array(m);
  /** The row before a column, and the column before a row, on the shortest path. */
  const rowBefore = new Int32Array(m);
  const columnBefore = new Int32Array(n);
  const columnDone = new Uint8Array(m);
  for (let i = 0; i < n; i++) {
    let least = Number.POSITIVE_INFINITY;
    for (let j = 0; j < m; j++) least = Math.min(least, cost[i * m + j]!);
    u[i] = least;
  }
  for (let source = 0; source < n; source++) {
    let left = supply;
    while (left > 0) {
      rowDistance.fill(Number.POSITIVE_INFINITY);
      columnDistance.fill(Number.POSITIVE_INFINITY);
      columnDone.fill(0);
      rowDistance[source] = 0;
      const reached = [source];
      let end = -1;
      for (let next = 0; end === -1; ) {
        for (; next < reached.length; next++) {
          const i = reached[next]!;
          const base = rowDistance[i]! - u[i]!;
          for (let j = 0; j < m; j++) {
            const through = base + cost[i * m + j]! - v[j]!;
            if (through < columnDistance[j]! && !columnDone[j]) {
              columnDistance[j] = through;
              rowBefore[j] = i;
            }
          }
        }
        let nearest = -1;
        for (let j = 0; j < m; j++) {
          if (columnDone[j]) continue;
          const d = columnDistance[j]!;
          if (
            nearest === -1 ||
            d < columnDistance[nearest]! ||
            (d === columnDistance[nearest]! && needs[j]! > 0 && needs[nearest] === 0)
          ) {
            nearest = j;
          }
        }
        columnDone[nearest] = 1;
        if (needs[nearest]! > 0) {
          end = nearest;
          break;
        }
        // A column that is full can give back what rows sent it, at reduced cost 0.
        for (let i = 0; i < n; i++) {
          if (flow[i * m + nearest]! > 0 && rowDistance[i] === Number.POSITIVE_INFINITY) {
            rowDistance[i] = columnDistance[nearest]!;
            columnBefore[i] = nearest;
            reached.push(i);
          }
        }
      }
      const length = columnDistance[end]!;
      for (const i of reached) u[i]! += length - rowDistance[i]!;
      for (let j = 0; j < m; j++) {
        if (columnDone[j]) v[j]! -= length - columnDistance[j]!;
      }
      let amount = Math.min(left, needs[end]!);
      for (let j = end; rowBefore[j] !== source; ) {
        const i = rowBefore[j]!;
        j = columnBefore[i]!;
        amount = Math.min(amount, flow[i * m + j]!);
      }
      for (let j = end; ; ) {
        const i = rowBefore[j]!;
        flow[i * m + j]! += amount;
        if (i === source) break;
        j = columnBefore[i]!;
        flow[i * m + j]! -= amount;
      }
      needs[end]! -= amount;
      left -= amount;
    }
  }
  return flow;
}
