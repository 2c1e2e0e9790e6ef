import type { MeasureInfo } from "./registry.ts";
import { rdmComparisonMeasures, rdmMeasures } from "./rsa/measures.ts";
import { representationMeasures } from "./similarity/measures.ts";
import { dynamicsMeasures, stochasticMeasures } from "./stochastic/measures.ts";

/**
 * Every measure of the package, of every kind: what the command line, the docs and the tests enumerate. Names are
 * unique within a kind.
 */
export const measures: readonly MeasureInfo[] = [
  ...rdmMeasures,
  ...rdmComparisonMeasures,
  ...representationMeasures,
  ...stochasticMeasures,
  ...dynamicsMeasures,
];
