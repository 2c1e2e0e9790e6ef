import type { Linalg } from "@penfield/linalg";
import type { Trajectories } from "../dynamics/dmd.ts";
import { dsa } from "../dynamics/dsa.ts";
import type { MeasureInfo } from "../registry.ts";
import { energyShapeDistance } from "./energy.ts";
import { gaussianResponses, gaussianShapeDistance, type Trials } from "./gaussian.ts";
import { processShapeDistance } from "./gaussianProcessOf.ts";

/** A measure of repeated responses of two networks. */
export interface StochasticMeasure extends MeasureInfo {
  readonly kind: "stochastic";
  readonly compute: (linalg: Linalg, x: Trials, y: Trials) => Promise<number>;
}

/** A measure of the trajectories of two systems. */
export interface DynamicsMeasure extends MeasureInfo {
  readonly kind: "dynamics";
  readonly compute: (linalg: Linalg, x: Trajectories, y: Trajectories) => Promise<number>;
}

const gaussian = {
  kind: "stochastic",
  family: "stochastic",
  larger: "less alike",
  metric: true,
  symmetric: true,
  cost: "per iteration 50 n p^3; some 50 to 200 iterations",
  memory: "eight n x p x p arrays",
  minSample: (nUnits: number): number => nUnits + 2,
  minSampleRule:
    "more repeats than units, plus 1: with fewer, covariances are singular and mostly noise",
  withoutVariation: "defined",
  source: "Duong et al. 2023",
} as const;

const energy = {
  kind: "stochastic",
  family: "stochastic",
  larger: "less alike",
  // Between distributions it is one; its unbiased estimate is 0 between networks that differ by less than their noise.
  metric: false,
  symmetric: true,
  cost: "per iteration n r^2 p (r repeats); 5 to 100 iterations",
  memory: "two n x r x r arrays",
  minSample: (): number => 5,
  minSampleRule: "5 repeats: defined from 2 on, but the distance between few trials is noise",
  withoutVariation: "defined",
  source: "Duong et al. 2023",
} as const;

/** Every measure of repeated responses. `minSample` counts repeats per stimulus. */
export const stochasticMeasures: readonly StochasticMeasure[] = [
  {
    ...gaussian,
    name: "gaussian-shape",
    title: "Gaussian stochastic shape distance",
    invariances: ["permutation", "rotation", "stimulus-order"],
    compute: async (l, x, y) =>
      (await gaussianShapeDistance(l, gaussianResponses(x), gaussianResponses(y))).distance,
  },
  {
    ...gaussian,
    name: "gaussian-shape-permutation",
    title: "Gaussian stochastic shape distance, orders of units",
    invariances: ["permutation", "stimulus-order"],
    compute: async (l, x, y) =>
      (
        await gaussianShapeDistance(l, gaussianResponses(x), gaussianResponses(y), {
          group: "permutation",
        })
      ).distance,
  },
  {
    ...gaussian,
    name: "gaussian-process-shape",
    title: "Gaussian process shape distance, rows as times",
    invariances: ["permutation", "rotation", "stimulus-order"],
    cost: "per iteration 20 (n p)^3; some 50 to 200 iterations",
    memory: "eight (n p) x (n p) matrices",
    minSample: (nUnits: number, nRows = 1): number => nUnits * nRows + 2,
    minSampleRule:
      "more repeats than units times times, plus 1: with fewer, the covariance over time is singular and mostly noise",
    source: "Nejatbakhsh et al. 2024",
    compute: processShapeDistance,
  },
  {
    ...energy,
    name: "energy-shape",
    title: "Energy stochastic shape distance",
    invariances: ["permutation", "rotation", "stimulus-order"],
    compute: async (l, x, y) => (await energyShapeDistance(l, x, y)).distance,
  },
  {
    ...energy,
    name: "energy-shape-permutation",
    title: "Energy stochastic shape distance, orders of units",
    invariances: ["permutation", "stimulus-order"],
    compute: async (l, x, y) =>
      (await energyShapeDistance(l, x, y, { group: "permutation" })).distance,
  },
];

const dynamics = {
  kind: "dynamics",
  family: "dynamics",
  larger: "less alike",
  memory: "the delayed states, n times delays times p",
  minSample: (nUnits: number): number => 2 * nUnits + 2,
  minSampleRule:
    "twice as many times as units and delays together: a linear map fits fewer exactly",
  // A state that stays has the eigenvalue 1; one of zeros has none and is refused.
  withoutVariation: "defined",
} as const;

/** Every measure of trajectories. `minSample` counts times. */
export const dynamicsMeasures: readonly DynamicsMeasure[] = [
  {
    ...dynamics,
    name: "dsa",
    title: "Dynamical similarity analysis",
    metric: true,
    symmetric: true,
    invariances: ["permutation", "rotation", "scaling"],
    cost: "two singular value decompositions, and some hundred polar factors of the rank",
    source: "Ostrow et al. 2023",
    compute: (l, x, y) => dsa(l, x, y),
  },
  {
    ...dynamics,
    name: "dsa-wasserstein",
    title: "Dynamical similarity of eigenvalues",
    metric: false,
    symmetric: true,
    invariances: ["permutation", "rotation", "scaling"],
    cost: "two singular value decompositions and eigenvalues of the rank",
    source: "Ostrow et al. 2023",
    compute: (l, x, y) => dsa(l, x, y, { score: "wasserstein" }),
  },
];
