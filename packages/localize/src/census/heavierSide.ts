import { ArgumentError, DataError, type LongWork, sha256, throwIfAborted } from "@penfield/core";
import { addMoments, type MomentSums, momentsOf } from "./moments.ts";
import type { UnitSource } from "./source.ts";

/** What the name of a hook ends with whose values are turned. */
const SUFFIX = ":heavier-side";

/** A source with turned hooks, and how each of them was turned. */
export interface HeavierSideSource extends UnitSource {
  readonly turned: readonly TurnedHook[];
}

/** How the units of a hook were turned: the turned value is sign x (value - mean) / deviation. */
export interface TurnedHook {
  /** Name of the turned hook. */
  readonly name: string;
  /** Its name without the turning. */
  readonly of: string;
  /** 1, or -1 for a unit whose heavier tail is the negative one, `[nUnits]`. */
  readonly signs: Int8Array;
  readonly means: Float64Array;
  /** 0 for a unit that does not vary: its turned value is 0. */
  readonly deviations: Float64Array;
}

export interface HeavierSideOptions extends LongWork {
  /** Hooks to turn; default all. */
  readonly hooks?: readonly string[] | undefined;
  /** Documents in one reading; default 64. */
  readonly documentsPerRead?: number | undefined;
  /** The documents' names, where the source asks for them, as `spikingSource` does. */
  readonly ids?: readonly string[] | undefined;
}

/**
 * Adds to a source, for each of some hooks, a second one (`NAME:heavier-side`) whose units are turned so that what they do rarely and strongly is positive:
 *
 *   turned = s (value - mean) / deviation,   s the sign of the values' third central moment
 *
 * For gated MLPs (SwiGLU, GEGLU), whose neurons are the product of a gate and a linear part: values of both signs are alike frequent and mean
 * different things, "above 0" holds on about half of all tokens, and units differ in scale. A census with `threshold: { "NAME:heavier-side": 2 }` then counts a unit as
 * active where it is more than two of its own deviations from its mean, on its heavier side. The other side is not looked at.
 *
 * @param documents - Tokens, to take moments, deviations and sides from; where descriptions are to be scored, those that are not scored on.
 *   A leading beginning-of-text token is left out, as in a census.
 * @throws {ArgumentError} for a hook that the source does not have, and for `documentsPerRead` below 1.
 * @throws {DataError} without documents.
 *
 * Cost: the source's own for these documents; afterwards one more copy of the values of the turned hooks.
 * Source: both signs of a neuron looked at apart as in Choi et al. (2024), Scaling Automatic Neuron Description (Transluce); to take the heavier one alone, and its scale, is our choice.
 *
 * @example
 * const source = plantedSource({ words: ["a", "b"], units: [{ name: "b", active: (w, i) => w[i] === "b" }], misses: 0, falseAnswers: 0 });
 * const negated = { ...source, read: async (rows) => (await source.read(rows)).map((values) => values.map((value) => -value)) };
 * const { hooks, turned } = await heavierSide(negated, [[0, 0, 1, 0], [0, 0, 0, 0]]);
 * [hooks.map(({ name }) => name).join(), turned[0].signs[0]] // => ["planted,planted:heavier-side", -1]
 */
export async function heavierSide(
  source: UnitSource,
  documents: readonly (readonly number[])[],
  options: HeavierSideOptions = {},
): Promise<HeavierSideSource> {
  const { hooks = source.hooks.map(({ name }) => name), documentsPerRead = 64, ids } = options;
  const indices = hooks.map((name) => {
    const index = source.hooks.findIndex((hook) => hook.name === name);
    if (index >= 0) return index;
    throw new ArgumentError(
      `heavierSide: expected one of ${source.hooks.map((hook) => hook.name).join(", ")}, got ${name}`,
    );
  });
  if (!(Number.isSafeInteger(documentsPerRead) && documentsPerRead >= 1)) {
    throw new ArgumentError(
      `heavierSide: expected documentsPerRead, a whole number from 1, got ${documentsPerRead}`,
    );
  }
  if (documents.length === 0) throw new DataError("heavierSide: expected a document, got none");
  const sums = indices.map((index) => emptySums(source.hooks[index]!.nUnits));
  for (let from = 0; from < documents.length; from += documentsPerRead) {
    throwIfAborted(options.signal, "heavierSide");
    const some = documents.slice(from, from + documentsPerRead);
    const counted = countedPlaces(some, source.bosId);
    const values = await source.read(some, ids?.slice(from, from + documentsPerRead));
    indices.forEach((index, h) => {
      addValues(sums[h]!, values[index]!, counted);
    });
    options.onProgress?.({
      stage: "weighing sides",
      done: from + some.length,
      total: documents.length,
      unit: "documents",
    });
  }
  const turned = indices.map((index, h) => turnedHook(source.hooks[index]!.name, sums[h]!));
  return {
    ...source,
    sha256: sha256(
      JSON.stringify([
        source.sha256,
        turned.map(({ of, signs, means, deviations }) =>
          [of, [...signs], [...means], [...deviations]].join(" "),
        ),
      ]),
    ),
    hooks: [
      ...source.hooks,
      ...indices.map((index, h) => ({ ...source.hooks[index]!, name: turned[h]!.name })),
    ],
    turned,
    async read(rows, names) {
      const values = await source.read(rows, names);
      return [...values, ...indices.map((index, h) => turn(values[index]!, turned[h]!))];
    },
  };
}

function emptySums(nUnits: number): MomentSums {
  const [mean, m2, m3, m4] = Array.from({ length: 4 }, () => new Float64Array(nUnits));
  return { n: 0, mean: mean!, m2: m2!, m3: m3!, m4: m4! };
}

/** Where the tokens stand, all documents one after the other, that count. */
function countedPlaces(
  documents: readonly (readonly number[])[],
  bosId: number | undefined,
): number[] {
  const places: number[] = [];
  let start = 0;
  for (const tokens of documents) {
    for (let i = bosId !== undefined && tokens[0] === bosId ? 1 : 0; i < tokens.length; i++) {
      places.push(start + i);
    }
    start += tokens.length;
  }
  return places;
}

function addValues(sums: MomentSums, values: Float32Array, places: readonly number[]): void {
  const nUnits = sums.mean.length;
  const own = new Float32Array(places.length);
  for (let u = 0; u < nUnits; u++) {
    let total = 0;
    for (let i = 0; i < places.length; i++) {
      own[i] = values[places[i]! * nUnits + u]!;
      total += own[i]!;
    }
    if (own.length > 0) addMoments(sums, u, sums.n, own, total / own.length);
  }
  sums.n += places.length;
}

function turnedHook(of: string, sums: MomentSums): TurnedHook {
  const moments = Array.from(sums.mean, (_, unit) => momentsOf(sums, unit, sums.n));
  return {
    name: `${of}${SUFFIX}`,
    of,
    signs: Int8Array.from(moments, ({ skewness }) => (skewness < 0 ? -1 : 1)),
    means: Float64Array.from(moments, ({ mean }) => mean),
    deviations: Float64Array.from(moments, ({ variance }) => Math.sqrt(variance)),
  };
}

function turn(values: Float32Array, { signs, means, deviations }: TurnedHook): Float32Array {
  const nUnits = signs.length;
  const out = new Float32Array(values.length);
  for (let i = 0, u = 0; i < values.length; i++) {
    if (deviations[u]! > 0) out[i] = (signs[u]! * (values[i]! - means[u]!)) / deviations[u]!;
    u = u + 1 === nUnits ? 0 : u + 1;
  }
  return out;
}
