import {
  calcRdm,
  compareActivations,
  compareRdmPair,
  compareTrajectories,
  compareTrials,
  createShapeMemory,
  dynamicsMeasures,
  type MeasureInfo,
  measures,
  type RdmMethod,
  type Rdms,
  rdmComparisonMeasures,
  representationMeasures,
  stochasticMeasures,
  type Trials,
} from "@penfield/compare";
import { type Activations, DataError, takeRows, UsageError } from "@penfield/core";
import type { Linalg } from "@penfield/linalg";

/** One representation: values of units for stimuli, with their repeats where there are any. */
export interface Item {
  readonly title: string;
  /** Means over repeats, `[nStimuli, nUnits]`. */
  readonly matrix: Activations;
  readonly trials?: Trials | undefined;
}

/** A value, and what to know before believing it. */
export interface Measured {
  readonly value: number;
  readonly warnings: readonly string[];
}

/** A measure of the registry that takes two items. */
export interface PairMeasure {
  readonly info: MeasureInfo;
  readonly compute: (linalg: Linalg, x: Item, y: Item) => Promise<Measured>;
  /** Whether stimuli in another order are another pairing: of trajectories they are not. */
  readonly shuffles: boolean;
}

/** What a measure that goes through RDMs makes them with. */
export type PlainRdmMethod = Extract<RdmMethod, "correlation" | "euclidean" | "cosine">;
export const plainRdmMethods: readonly PlainRdmMethod[] = ["correlation", "euclidean", "cosine"];

/** Every measure that compares two files, in the registry's order. */
export function pairMeasures(rdmMethod: PlainRdmMethod = "correlation"): readonly PairMeasure[] {
  const memory = createShapeMemory();
  const rdmsOf = new WeakMap<Activations, Promise<Rdms>>();
  const rdmOf = (linalg: Linalg, { matrix }: Item): Promise<Rdms> => {
    const known = rdmsOf.get(matrix);
    if (known) return known;
    const made = calcRdm(matrix, { method: rdmMethod, linalg });
    rdmsOf.set(matrix, made);
    return made;
  };
  return [
    ...representationMeasures.map(
      (info): PairMeasure => ({
        info,
        shuffles: true,
        compute: async (linalg, x, y) => {
          const found = await compareActivations(linalg, info.name, x.matrix, y.matrix, memory);
          return named(found, x, y);
        },
      }),
    ),
    ...rdmComparisonMeasures.map(
      (info): PairMeasure => ({
        info,
        shuffles: true,
        compute: async (linalg, x, y) => {
          const [a, b] = [await rdmOf(linalg, x), await rdmOf(linalg, y)];
          return named(await compareRdmPair(linalg, info.name, a, b), x, y);
        },
      }),
    ),
    ...stochasticMeasures.map(
      (info): PairMeasure => ({
        info,
        shuffles: true,
        compute: async (linalg, x, y) => {
          const [a, b] = [trialsOf(info.name, x), trialsOf(info.name, y)];
          return compareTrials(linalg, info.name, a, b);
        },
      }),
    ),
    ...dynamicsMeasures.map(
      (info): PairMeasure => ({
        info,
        shuffles: false,
        compute: async (linalg, x, y) => {
          return compareTrajectories(linalg, info.name, trajectoriesOf(x), trajectoriesOf(y));
        },
      }),
    ),
  ];
}

/** The same, with files' names for x and y. */
const named = ({ value, warnings }: Measured, x: Item, y: Item): Measured => ({
  value,
  warnings: warnings.map((text) =>
    text
      .replace(/^([\w-]+): x has /, `$1: ${x.title} has `)
      .replace(/^([\w-]+): y has /, `$1: ${y.title} has `),
  ),
});

function trialsOf(name: string, { title, trials, matrix }: Item): Trials {
  if (trials && trials.nRepeats >= 2) return trials;
  const got = trials ? "1 trial" : `[${matrix.shape.join(", ")}]`;
  throw new DataError(
    `compare: ${name}: expected [nTrials, nStimuli, nUnits] with at least 2 trials, got ${got} in ${title}`,
    { hint: "One trial says nothing about noise; measures without trials are in compare --list." },
  );
}

/** Rows as times; trials, where there are any, as trajectories of their own. */
function trajectoriesOf({ matrix, trials }: Item) {
  const [nTimes, nUnits] = matrix.shape;
  if (!trials) return { data: Float64Array.from(matrix.data), nTrials: 1, nTimes, nUnits };
  const { nRepeats, data } = trials;
  const out = new Float64Array(data.length);
  for (let time = 0; time < nTimes; time++) {
    for (let trial = 0; trial < nRepeats; trial++) {
      const from = (time * nRepeats + trial) * nUnits;
      out.set(data.subarray(from, from + nUnits), (trial * nTimes + time) * nUnits);
    }
  }
  return { data: out, nTrials: nRepeats, nTimes, nUnits };
}

/** The item with its stimuli in another order. */
export function reorder(item: Item, order: ArrayLike<number>): Item {
  const { trials } = item;
  const matrix = takeRows(item.matrix, order);
  if (!trials) return { ...item, matrix };
  const size = trials.nRepeats * trials.nUnits;
  const data = new Float64Array(trials.data.length);
  for (let i = 0; i < order.length; i++) {
    data.set(trials.data.subarray(order[i]! * size, (order[i]! + 1) * size), i * size);
  }
  return { ...item, matrix, trials: { ...trials, data } };
}

/** The measures that the words of a command name, or all that these items allow. */
export function chooseMeasures(
  verb: string,
  names: readonly string[],
  all: readonly PairMeasure[],
): readonly PairMeasure[] {
  return names.map((name) => {
    const found = all.find(({ info }) => info.name === name);
    if (found) return found;
    const makesRdms = measures.some((info) => info.name === name && info.kind === "rdm");
    throw new UsageError(
      `--metric: expected a measure of two files, got ${JSON.stringify(name)}${makesRdms ? ", which makes an RDM of one" : ""}`,
      {
        hint: makesRdms
          ? `penfield rsa --rdm ${name} makes RDMs and compares them.`
          : `${nearest(name, all)}penfield ${verb} --list names them all.`,
      },
    );
  });
}

function nearest(name: string, all: readonly PairMeasure[]): string {
  const alike = all
    .map(({ info }) => info.name)
    .filter((known) => known.includes(name) || name.includes(known) || sharesPart(known, name));
  return alike.length === 0 ? "" : `Did you mean ${alike.slice(0, 5).join(", ")}? `;
}

const sharesPart = (a: string, b: string): boolean =>
  a.split("-").some((part) => part.length > 2 && b.toLowerCase().split(/[-_]/).includes(part));
