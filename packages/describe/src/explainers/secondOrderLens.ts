import { type Activations, ArgumentError, DataError, ShapeError } from "@penfield/core";

/** A text of the dictionary and its part in a direction. */
export interface LensText {
  readonly text: string;
  /** Coefficient of the text's centred embedding of length 1; negative where the direction points away from it. */
  readonly weight: number;
}

/** What a unit writes into the space that a two-tower model shares between images and texts. */
export interface SecondOrderLens {
  /** The direction, of length 1, `[nDimensions]`. */
  readonly direction: Float64Array;
  /** Share of the strongest effects' squared length that lies along it: 1 if they all point one way. */
  readonly shareAlong: number;
  /** Texts that make up the direction, the largest weights first. */
  readonly texts: readonly LensText[];
  /** 1 - squared length of what the texts leave over. */
  readonly shareExplained: number;
  /** Stimuli with the strongest effects, the strongest first. */
  readonly strongest: readonly number[];
}

export interface SecondOrderLensOptions {
  /** Stimuli with the strongest effects that the direction is made from; default 100. */
  readonly nStrongest?: number | undefined;
  /** Texts of the dictionary that a direction is made of; default 4. */
  readonly nTexts?: number | undefined;
}

/**
 * The second-order lens for CLIP-like models: the main direction of a unit's effects on the output over its strongest stimuli, as a sparse sum of texts.
 *
 *   c = effects - mean over stimuli;  direction = first right singular vector of the `nStrongest` longest rows of c,
 *   its sign that of most of their projections;  texts by orthogonal matching pursuit
 *
 * @param effects - What the unit adds to the output for each stimulus, `[nStimuli, nDimensions]`: through later attention, as published, or by any other measure.
 * @param texts - Embeddings of the dictionary by the text tower, `[nTexts, nDimensions]`, and the texts; they are centred and brought to length 1 here.
 * @throws {ShapeError} if dimensions, or texts and embeddings, do not fit.
 * @throws {DataError} if effects do not vary, or a value is not finite.
 *
 * Cost: O(nTexts of the dictionary x nDimensions) for each text of the direction.
 * Source: Gandelsman, Efros & Steinhardt (2024), Interpreting the Second-Order Effects of Neurons in CLIP. Its code brings each dimension of the texts to
 * length 1, not each text, so that texts of large embeddings are preferred; here each text counts alike.
 *
 * @example
 * const effects = activations([[3, 0], [-3, 0], [1, 0], [-1, 0.1]]);
 * const texts = { names: ["dog", "car", "sea"], embeddings: activations([[1, 0], [0, 1], [-1, -1]]) };
 * Math.abs(secondOrderLens(effects, texts).direction[0]).toFixed(2) // => "1.00"
 */
export function secondOrderLens(
  effects: Activations,
  texts: { readonly names: readonly string[]; readonly embeddings: Activations },
  { nStrongest = 100, nTexts = 4 }: SecondOrderLensOptions = {},
): SecondOrderLens {
  const [nStimuli, nDimensions] = effects.shape;
  const [nNames, width] = texts.embeddings.shape;
  if (width !== nDimensions || nNames !== texts.names.length) {
    throw new ShapeError(
      `secondOrderLens: expected ${texts.names.length} texts of ${nDimensions} dimensions, got ${nNames} of ${width}`,
    );
  }
  if (
    !(Number.isInteger(nStrongest) && nStrongest >= 1 && Number.isInteger(nTexts) && nTexts >= 1)
  ) {
    throw new ArgumentError(
      `secondOrderLens: expected nStrongest and nTexts from 1, got ${nStrongest} and ${nTexts}`,
    );
  }
  const rows = centredRows(effects);
  const lengths = rows.map((row) => Math.sqrt(dot(row, row)));
  const strongest = [...lengths.keys()]
    .sort((a, b) => lengths[b]! - lengths[a]! || a - b)
    .slice(0, nStrongest);
  const largest = Math.max(...effects.data.map(Math.abs));
  if (nStimuli < 2 || !(lengths[strongest[0]!]! > 1e-9 * largest)) {
    throw new DataError("secondOrderLens: expected effects that vary between stimuli, got none");
  }
  const top = strongest.map((i) => rows[i]!);
  const direction = mainDirection(top);
  const along = top.map((row) => dot(row, direction));
  if (along.filter((value) => value < 0).length > along.length / 2) {
    for (let j = 0; j < nDimensions; j++) direction[j] = -direction[j]!;
  }
  const whole = top.reduce((sum, row) => sum + dot(row, row), 0);
  const { atoms, left } = pursue(direction, centredRows(texts.embeddings), nTexts);
  return {
    direction,
    shareAlong: along.reduce((sum, value) => sum + value * value, 0) / whole,
    texts: atoms
      .map(({ index, weight }) => ({ text: texts.names[index]!, weight }))
      .sort((a, b) => Math.abs(b.weight) - Math.abs(a.weight)),
    shareExplained: 1 - left,
    strongest,
  };
}

/** Rows less their mean, in float64. */
function centredRows({ data, shape: [n, width] }: Activations): Float64Array[] {
  const mean = new Float64Array(width);
  data.forEach((value, i) => {
    if (!Number.isFinite(value)) {
      throw new DataError(`secondOrderLens: expected finite values, got ${value}`);
    }
    mean[i % width]! += value / n;
  });
  return Array.from({ length: n }, (_, i) =>
    Float64Array.from(mean, (own, j) => data[i * width + j]! - own),
  );
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let j = 0; j < a.length; j++) sum += a[j]! * b[j]!;
  return sum;
}

/** First right singular vector, by iteration from the longest row. */
function mainDirection(rows: readonly Float64Array[]): Float64Array {
  let direction = unitLength(rows[0]!);
  for (let step = 0; step < 1000; step++) {
    const next = new Float64Array(direction.length);
    for (const row of rows) {
      const along = dot(row, direction);
      for (let j = 0; j < next.length; j++) next[j]! += along * row[j]!;
    }
    const previous = direction;
    direction = unitLength(next);
    if (dot(direction, previous) > 1 - 1e-14) break;
  }
  return direction;
}

function unitLength(row: Float64Array): Float64Array {
  const length = Math.sqrt(dot(row, row));
  return row.map((value) => value / length);
}

/** Orthogonal matching pursuit of a direction of length 1 in a dictionary. */
function pursue(
  direction: Float64Array,
  dictionary: readonly Float64Array[],
  nAtoms: number,
): { atoms: { index: number; weight: number }[]; left: number } {
  // A text that is the mean of all texts says nothing.
  const atoms = dictionary.map((row) => (dot(row, row) > 1e-20 ? unitLength(row) : undefined));
  const chosen: number[] = [];
  /** Orthonormal basis of the chosen atoms, and each atom in it. */
  const basis: Float64Array[] = [];
  const inBasis: number[][] = [];
  let residual = direction.slice();
  while (chosen.length < nAtoms && dot(residual, residual) > 1e-12) {
    let best = -1;
    let most = 1e-9;
    atoms.forEach((atom, index) => {
      const size = atom && !chosen.includes(index) ? Math.abs(dot(atom, residual)) : 0;
      if (size > most) {
        most = size;
        best = index;
      }
    });
    if (best < 0) break;
    const rest = atoms[best]!.slice();
    const parts = basis.map((vector) => {
      const part = dot(rest, vector);
      for (let j = 0; j < rest.length; j++) rest[j]! -= part * vector[j]!;
      return part;
    });
    const length = Math.sqrt(dot(rest, rest));
    if (length < 1e-9) break;
    const vector = unitLength(rest);
    basis.push(vector);
    inBasis.push([...parts, length]);
    chosen.push(best);
    const along = dot(residual, vector);
    residual = residual.map((value, j) => value - along * vector[j]!);
  }
  // Weights of the atoms from coordinates in the basis, the last one first.
  const weights = basis.map((vector) => dot(direction, vector));
  for (let k = weights.length - 1; k >= 0; k--) {
    weights[k] = weights[k]! / inBasis[k]![k]!;
    for (let i = 0; i < k; i++) weights[i]! -= weights[k]! * inBasis[k]![i]!;
  }
  return {
    atoms: chosen.map((index, k) => ({ index, weight: weights[k]! })),
    left: dot(residual, residual),
  };
}
