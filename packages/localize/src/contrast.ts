import { type Activations, ShapeError, type Tensor, tensor } from "@penfield/core";
import {
  benjaminiHochberg,
  cohenDFromMoments,
  unitMoments,
  welchFromMoments,
} from "@penfield/stats";

/** Activations of every unit of every layer, [nStimuli, nLayers, nUnits]. */
export type LayerActivations = Tensor<readonly ["stimulus", "layer", "unit"]>;

/** Activations of units of one place, such as a spiking population's rates, count as those of one layer. */
export type UnitActivations = LayerActivations | Activations;

/** One float64 per unit, [nLayers, nUnits]. */
export type UnitMap = Tensor<readonly ["layer", "unit"]> & { readonly data: Float64Array };

/** What a localizer contrast found; each map is [nLayers, nUnits]. */
export interface Contrast {
  /** Welch's t, positive minus negative; NaN for a unit that never varies. */
  readonly t: UnitMap;
  /** Welch–Satterthwaite degrees of freedom. */
  readonly df: UnitMap;
  /** Two-sided; 1 for a unit that never varies. */
  readonly p: UnitMap;
  /** Benjamini–Hochberg over all units of all layers. */
  readonly q: UnitMap;
  /** Cohen's d. */
  readonly d: UnitMap;
  readonly magnitude: boolean;
  readonly nPositive: number;
  readonly nNegative: number;
  /** Units that never vary, which no contrast can judge. */
  readonly nConstant: number;
}

/**
 * Which units answer more strongly to one kind of stimulus than to another: Welch's t of each unit.
 *
 *   t = (mean(pos) - mean(neg)) / sqrt(var(pos) / nPos + var(neg) / nNeg)
 *
 * @param positive - Activations for the stimuli of interest (sentences), [nPositive, nLayers, nUnits] or [nPositive, nUnits], nPositive >= 2.
 * @param negative - Activations for the control (lists of non-words), [nNegative, nLayers, nUnits] or [nNegative, nUnits], nNegative >= 2.
 * @param options.magnitude - True (default): of |activation|, as the published localizer does, so that a
 *   unit driven far below zero counts as active. False: of the signed activation, as Brain-Score's
 *   localizer does. The two find different units. The sign of t is kept either way.
 * @returns Maps of t, df, p, q and d, in float64.
 * @throws {ShapeError} if layers or units differ, or a group has fewer than 2 stimuli.
 * @throws {DataError} if a value is not finite.
 *
 * Cost: two passes over the values, no copy; O(nLayers nUnits) memory.
 * Source: AlKhamissi, Tuckute, Bosselut & Schrimpf (2025), The LLM Language Network, arXiv 2411.02280;
 * matches scipy.stats.ttest_ind(equal_var=False) and false_discovery_control.
 *
 * @example
 * const pos = tensor(new Float64Array([5, -1, 6, 1, 7, -1]), ["stimulus", "layer", "unit"], [3, 1, 2]);
 * const neg = tensor(new Float64Array([1, 1, 2, -1, 3, 1]), ["stimulus", "layer", "unit"], [3, 1, 2]);
 * const { t, nConstant } = contrast(pos, neg);
 * t.data[0].toFixed(3) // => "4.899"
 * nConstant // => 1
 */
export function contrast(
  positive: UnitActivations,
  negative: UnitActivations,
  { magnitude = true }: { magnitude?: boolean } = {},
): Contrast {
  const [a, b] = [inLayers(positive), inLayers(negative)];
  checkSameUnits("contrast", a, b);
  const [, nLayers, nUnits] = a.shape;
  return contrastOfRows(flatten(a), flatten(b), { nLayers, nUnits, magnitude });
}

/** Activations with an axis of layers. View, no copy. */
export function inLayers(x: UnitActivations): LayerActivations {
  if (x.shape.length === 3) return x as LayerActivations;
  const [nStimuli, nUnits] = (x as Activations).shape;
  return tensor(x.data, ["stimulus", "layer", "unit"], [nStimuli, 1, nUnits]);
}

export function checkSameUnits(name: string, a: LayerActivations, b: LayerActivations): void {
  const [nA, layersA, unitsA] = a.shape;
  const [nB, layersB, unitsB] = b.shape;
  if (layersA !== layersB || unitsA !== unitsB) {
    throw new ShapeError(
      `${name}: expected the same layers and units, got ${layersA} x ${unitsA} and ${layersB} x ${unitsB}`,
    );
  }
  if (nA < 2 || nB < 2 || layersA * unitsA === 0) {
    throw new ShapeError(
      `${name}: expected at least 2 stimuli of each kind and 1 unit, got ${nA} and ${nB} stimuli, ${layersA} x ${unitsA} units`,
    );
  }
}

/** All units of all layers side by side, [nStimuli, nLayers * nUnits]. View, no copy. */
export function flatten(x: LayerActivations): Activations {
  const [nStimuli, nLayers, nUnits] = x.shape;
  return tensor(x.data, ["stimulus", "unit"], [nStimuli, nLayers * nUnits]);
}

/** As {@link contrast}, with layers side by side. */
export function contrastOfRows(
  positive: Activations,
  negative: Activations,
  { nLayers, nUnits, magnitude }: { nLayers: number; nUnits: number; magnitude: boolean },
): Contrast {
  const a = unitMoments(positive, { magnitude });
  const b = unitMoments(negative, { magnitude });
  const { t, df, p } = welchFromMoments(a, b);
  const map = (data: Float64Array): UnitMap => unitMap(data, nLayers, nUnits);
  return {
    t: map(t),
    df: map(df),
    p: map(p),
    q: map(benjaminiHochberg(p)),
    d: map(cohenDFromMoments(a, b)),
    magnitude,
    nPositive: a.n,
    nNegative: b.n,
    nConstant: t.reduce((count, value) => count + (Number.isNaN(value) ? 1 : 0), 0),
  };
}

/**
 * Values of units with the sizes of their model, to select from. No copy.
 *
 * @param data - [nLayers * nUnits], row-major.
 * @throws {ShapeError} if there are more or fewer values.
 *
 * @example
 * unitMap(new Float64Array([1, 2, 3, 4]), 2, 2).shape[0] // => 2
 */
export function unitMap(data: Float64Array, nLayers: number, nUnits: number): UnitMap {
  return tensor(data, ["layer", "unit"], [nLayers, nUnits]) as UnitMap;
}
