import {
  type Activations,
  ArgumentError,
  createRng,
  DataError,
  ShapeError,
  tensor,
} from "@penfield/core";
import { createLinalg, type Linalg } from "@penfield/linalg";

/**
 * Features that know nothing: a value drawn for each stimulus and unit, as many units as the model has. With many
 * units and shuffled folds over stimuli that repeat, even these can score.
 *
 * @param nStimuli - At least 1.
 * @param nUnits - At least 1; as many as the model whose floor this is.
 * @param options.seed - Default 0.
 * @returns `[nStimuli, nUnits]`, standard normal: a random projection of each stimulus' own indicator.
 * @throws {ArgumentError} if a size is not a positive whole number.
 *
 * @example
 * randomFeatures(10, 3).shape.join() // => "10,3"
 */
export function randomFeatures(
  nStimuli: number,
  nUnits: number,
  { seed = 0 }: { seed?: number } = {},
): Activations {
  for (const [name, value] of Object.entries({ nStimuli, nUnits })) {
    if (!Number.isInteger(value) || value < 1) {
      throw new ArgumentError(
        `randomFeatures: expected a positive whole number for ${name}, got ${value}`,
      );
    }
  }
  const rng = createRng(seed);
  const data = Float64Array.from({ length: nStimuli * nUnits }, () => rng.normal());
  return tensor(data, ["stimulus", "unit"], [nStimuli, nUnits]);
}

/**
 * Another model's features in as many dimensions as the model has units, so that a comparison is not one of sizes.
 *
 *   X W,  W ~ N(0, 1 / nUnitsX), columns of X centred and of deviation 1 (0 if they do not vary)
 *
 * @param x - `[nStimuli, nUnitsX]`, finite.
 * @param nUnits - How many dimensions are wanted.
 * @param options.seed - Default 0.
 * @param options.linalg - Default: one made for this call.
 * @returns `[nStimuli, nUnits]`, float64.
 * @throws {ArgumentError} if nUnits is not a positive whole number.
 * @throws {DataError} if a value is not finite.
 *
 * Cost: one product, 2 nStimuli nUnitsX nUnits operations.
 * Source: Johnson & Lindenstrauss (1984).
 *
 * @example
 * (await projectFeatures(activations([[1, 2], [3, 5], [4, 4]]), 7)).shape.join() // => "3,7"
 */
export async function projectFeatures(
  x: Activations,
  nUnits: number,
  { seed = 0, linalg }: { seed?: number; linalg?: Linalg } = {},
): Promise<Activations> {
  const [nStimuli, nUnitsX] = x.shape;
  const bad = x.data.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) {
    throw new DataError(
      `projectFeatures: expected finite activations, got ${x.data[bad]} at stimulus ${Math.floor(bad / nUnitsX)}, unit ${bad % nUnitsX}`,
    );
  }
  const weights = randomFeatures(nUnitsX, nUnits, { seed });
  const scale = 1 / Math.sqrt(nUnitsX);
  const used = linalg ?? createLinalg();
  try {
    const { data } = await used.matmul(
      { data: zScored(x), nRows: nStimuli, nColumns: nUnitsX },
      {
        data: weights.data.map((w) => w * scale) as Float64Array,
        nRows: nUnitsX,
        nColumns: nUnits,
      },
    );
    return tensor(data, ["stimulus", "unit"], [nStimuli, nUnits]);
  } finally {
    if (linalg === undefined) await used.dispose();
  }
}

function zScored({ data, shape: [n, nUnits] }: Activations): Float64Array {
  const means = new Float64Array(nUnits);
  for (let i = 0; i < data.length; i++) means[i % nUnits]! += data[i]! / n;
  const squares = new Float64Array(nUnits);
  for (let i = 0; i < data.length; i++)
    squares[i % nUnits]! += (data[i]! - means[i % nUnits]!) ** 2;
  const scales = squares.map((square, u) => {
    const deviation = Math.sqrt(square / n);
    return deviation > 1e-14 * Math.abs(means[u]!) ? 1 / deviation : 0;
  });
  return Float64Array.from(data, (v, i) => (v - means[i % nUnits]!) * scales[i % nUnits]!);
}

/** What floors are made from; those whose material is there are made. */
export interface FloorMaterial {
  /** The model's activations, `[nStimuli, nUnits]`: floors are given as many units where that is possible. */
  readonly activations: Activations;
  /**
   * Activations of the same model with weights drawn anew (the same configuration, other numbers), by the name of
   * each draw: they share its shape and its reading of the text, but not what it has learned.
   */
  readonly untrained?: Readonly<Record<string, Activations>> | undefined;
  /** Another model's activations, by its name; brought to the model's number of units. */
  readonly others?: Readonly<Record<string, Activations>> | undefined;
  /** Further features by name, such as `textFloor(stimuli)`. */
  readonly features?: Readonly<Record<string, Activations>> | undefined;
  /** Default 0. */
  readonly seed?: number | undefined;
  readonly linalg?: Linalg | undefined;
}

/**
 * Floors for `encodingScore`'s option `floors`: features that know nothing, untrained models and other models at the
 * model's own number of units, and whatever trivial features there are.
 *
 * @param material - What floors are made from.
 * @returns By name: `random`, then each of `features`, `untrained` and `others`.
 * @throws {ShapeError} if stimuli differ in number, or an untrained model has another number of units.
 * @throws {ArgumentError} if a name is there twice.
 *
 * @example
 * const floors = await floorFeatures({ activations: activations([[1, 2, 3], [4, 6, 5]]), others: { small: activations([[1], [2]]) } });
 * Object.entries(floors).map(([name, { shape }]) => `${name} ${shape[1]}`).join() // => "random 3,small 3"
 */
export async function floorFeatures({
  activations,
  untrained = {},
  others = {},
  features = {},
  seed = 0,
  linalg,
}: FloorMaterial): Promise<Readonly<Record<string, Activations>>> {
  const [nStimuli, nUnits] = activations.shape;
  const floors: Record<string, Activations> = {
    random: randomFeatures(nStimuli, nUnits, { seed }),
  };
  const add = (name: string, floor: Activations): void => {
    if (Object.hasOwn(floors, name)) {
      throw new ArgumentError(`floorFeatures: expected each name once, got ${name} twice`);
    }
    if (floor.shape[0] !== nStimuli) {
      throw new ShapeError(
        `floorFeatures: expected ${nStimuli} stimuli in ${name}, got ${floor.shape[0]}`,
      );
    }
    floors[name] = floor;
  };
  for (const [name, floor] of Object.entries(features)) add(name, floor);
  for (const [name, floor] of Object.entries(untrained)) {
    if (floor.shape[1] !== nUnits) {
      throw new ShapeError(
        `floorFeatures: expected ${nUnits} units in the untrained ${name}, got ${floor.shape[1]}`,
        { hint: "Read it at the same hook point; a model of another size belongs in others." },
      );
    }
    add(name, floor);
  }
  for (const [name, floor] of Object.entries(others)) {
    add(
      name,
      floor.shape[1] === nUnits
        ? floor
        : await projectFeatures(floor, nUnits, linalg === undefined ? { seed } : { seed, linalg }),
    );
  }
  return floors;
}
