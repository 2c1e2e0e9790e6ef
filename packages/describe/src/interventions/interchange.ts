import { ArgumentError, createRng, DataError, type LongWork, throwIfAborted } from "@penfield/core";
import { type Intervention, logitDiff, type RunnableModel } from "@penfield/hooks";
import { bootstrapInterval, rankP } from "@penfield/stats";
import { matchedUnits } from "./matchedUnits.ts";

/** Two inputs that differ in a concept, and the next token that each one's value of the concept asks for. */
export interface InterchangePair {
  /** Tokens; both as long. */
  readonly base: readonly number[];
  readonly source: readonly number[];
  readonly baseAnswer: number;
  readonly sourceAnswer: number;
}

export interface InterchangeOptions extends LongWork {
  /** A hook point with axes batch, pos, units. */
  readonly hook: string;
  /** The unit or units that are said to carry the concept; several are exchanged together. */
  readonly units: readonly number[];
  /** Positions at which values are exchanged, negative ones from the end; default all. */
  readonly positions?: readonly number[] | undefined;
  /** Random sets of units to compare with; default 20. */
  readonly nRandom?: number | undefined;
  /** Pairs in one run; default 8. */
  readonly pairsPerRun?: number | undefined;
  readonly seed?: number | undefined;
}

/** What exchanging some units does to the output. */
export interface InterchangeEffect {
  /** Share of the output's difference between base and source that the exchange brings about: 1 all, 0 none. */
  readonly effect: number;
  /** Share of the usable pairs in which the source's answer now stands above the base's. */
  readonly successRate: number;
}

/** Whether units mediate a concept. */
export interface InterchangeScores extends InterchangeEffect {
  /** 95 % interval of the effect, pairs resampled. */
  readonly effectLow: number;
  readonly effectHigh: number;
  /** Size of what was exchanged: mean over pairs and positions of |source value - base value|. */
  readonly change: number;
  /** The same for random units of the hook whose values change as much. */
  readonly random: readonly (InterchangeEffect & { readonly units: readonly number[] })[];
  /** Of the effect among those of random units, one-sided; at least 1 / (1 + random sets). */
  readonly p: number;
  /** All units of the hook exchanged: the most that any of them could do. */
  readonly wholeHook: InterchangeEffect;
  readonly nPairs: number;
  /** Pairs in which the model itself prefers the base's answer on the base and the source's on the source. */
  readonly nUsable: number;
}

/**
 * Interchange intervention: gives units on a base input the values they have on a source input that differs in a concept, and looks whether the output
 * goes over to what the source asks for. A unit that only goes along with the concept, such as an unused copy, changes nothing.
 *
 *   d = logit(source's answer) - logit(base's answer) at the last token
 *   effect = sum over pairs of d(exchanged) - d(base)  /  sum of d(source) - d(base)
 *
 * @throws {DataError} if there are fewer than 2 pairs, or base and source give the same output.
 * @throws {ArgumentError} for a pair of unequal lengths, and units or positions that are not there.
 * @throws {HookPointError} for a hook point that is not there or cannot be written to.
 *
 * Cost: one run of 3 + nRandom + 1 rows for each pair, and one of two rows to match random units.
 * Source: Huang et al. (2023), Rigorously Assessing Natural Language Explanations of Neurons, intervention mode; Geiger et al. (2021). The share of
 * the logit difference beside the success rate, and random units matched in how much they change, are ours.
 *
 * @example
 * import { HookedModel } from "@penfield/hooks";
 * const model = await HookedModel.fromPretrained("test/fixtures/gpt2");
 * const pairs = [7, 8, 9].map((last) => ({ base: [5, 6, last], source: [5, 6, last + 20], baseAnswer: 1, sourceAnswer: 2 }));
 * const { effect, random, nPairs } = await interchangeIntervention(model, pairs, { hook: "blocks.1.mlp.hook_post", units: [3] });
 * [Number.isFinite(effect), random.length, nPairs] // => [true, 20, 3]
 * await model.dispose();
 */
export async function interchangeIntervention(
  model: RunnableModel,
  pairs: readonly InterchangePair[],
  options: InterchangeOptions,
): Promise<InterchangeScores> {
  const { units, nRandom = 20, pairsPerRun = 8, seed = 0, signal, onProgress } = options;
  if (!(Number.isInteger(nRandom) && nRandom >= 1 && pairsPerRun >= 1)) {
    throw new ArgumentError(
      `interchangeIntervention: expected nRandom and pairsPerRun from 1, got ${nRandom} and ${pairsPerRun}`,
    );
  }
  const hook = model.hookPoint(options.hook).name;
  checkPairs(pairs);
  const changes = await changesOf(model, hook, pairs, options);
  for (const unit of units) {
    if (!(Number.isInteger(unit) && unit >= 0 && unit < changes.length)) {
      throw new ArgumentError(
        `interchangeIntervention: expected units within 0..${changes.length - 1}, got ${unit}`,
      );
    }
  }
  if (units.length === 0) throw new ArgumentError("interchangeIntervention: expected a unit");
  const randomSets = matchedUnits(units, changes, nRandom, createRng(seed, 95));
  const sets: (readonly number[] | undefined)[] = [units, ...randomSets, undefined];

  const rows: PairOutputs[] = [];
  for (let from = 0; from < pairs.length; from += pairsPerRun) {
    throwIfAborted(signal, "interchangeIntervention");
    const some = pairs.slice(from, from + pairsPerRun);
    rows.push(...(await runPairs(model, hook, some, sets, options.positions)));
    onProgress?.({
      stage: "exchanging units",
      done: rows.length,
      total: pairs.length,
      unit: "pairs",
    });
  }
  const spread = rows.reduce((sum, { base, source }) => sum + Math.abs(source - base), 0);
  const whole = rows.reduce((sum, { base, source }) => sum + source - base, 0);
  if (!(Math.abs(whole) > 1e-6 * spread) || spread === 0) {
    throw new DataError(
      "interchangeIntervention: expected outputs that differ between base and source, got none that do",
      { hint: "Check the answers: each is the next token that its own input asks for." },
    );
  }
  const usable = rows.filter(({ base, source }) => base < 0 && source > 0);
  const effectOf = (s: number, indices: ArrayLike<number>): number => {
    let done = 0;
    let all = 0;
    for (const i of Array.from(indices)) {
      const { base, source, exchanged } = rows[i]!;
      done += exchanged[s]! - base;
      all += source - base;
    }
    return done / all;
  };
  const everyPair = [...rows.keys()];
  const effects = sets.map(
    (_, s): InterchangeEffect => ({
      effect: effectOf(s, everyPair),
      successRate:
        usable.length === 0
          ? 0
          : usable.filter(({ exchanged }) => exchanged[s]! > 0).length / usable.length,
    }),
  );
  const random = randomSets.map((own, s) => ({ ...effects[s + 1]!, units: own }));
  const { low, high } = bootstrapInterval({
    nItems: rows.length,
    statistic: (items) => effectOf(0, items),
    nDraws: 500,
    seed,
  });
  return {
    ...effects[0]!,
    effectLow: low,
    effectHigh: high,
    change: units.reduce((sum, unit) => sum + changes[unit]!, 0) / units.length,
    random,
    p: rankP(
      effects[0]!.effect,
      random.map(({ effect }) => effect),
    ),
    wholeHook: effects.at(-1)!,
    nPairs: rows.length,
    nUsable: usable.length,
  };
}

function checkPairs(pairs: readonly InterchangePair[]): void {
  if (pairs.length < 2) {
    throw new DataError(`interchangeIntervention: expected at least 2 pairs, got ${pairs.length}`);
  }
  pairs.forEach(({ base, source, baseAnswer, sourceAnswer }, i) => {
    if (base.length !== source.length || base.length === 0) {
      throw new ArgumentError(
        `interchangeIntervention: pair ${i}: expected as many tokens in base and source, got ${base.length} and ${source.length}`,
        { hint: "Values are exchanged position by position." },
      );
    }
    if (baseAnswer === sourceAnswer) {
      throw new ArgumentError(
        `interchangeIntervention: pair ${i}: expected two answers, got ${baseAnswer} twice`,
      );
    }
  });
}

const placesOf = (
  positions: readonly number[] | undefined,
  length: number,
): readonly number[] | undefined =>
  positions?.map((position) => {
    const place = position < 0 ? length + position : position;
    if (Number.isInteger(place) && place >= 0 && place < length) return place;
    throw new ArgumentError(
      `interchangeIntervention: expected positions within ${-length}..${length - 1}, got ${position}`,
    );
  });

/** Mean |source value - base value| of each unit over pairs and exchanged positions. */
async function changesOf(
  model: RunnableModel,
  hook: string,
  pairs: readonly InterchangePair[],
  { positions, pairsPerRun = 8, signal }: InterchangeOptions,
): Promise<Float64Array> {
  let sums = new Float64Array(0);
  let n = 0;
  for (let from = 0; from < pairs.length; from += pairsPerRun) {
    throwIfAborted(signal, "interchangeIntervention");
    const some = pairs.slice(from, from + pairsPerRun);
    const { cache } = await model.run({
      tokens: some.flatMap(({ base, source }) => [base, source]),
      capture: [hook],
      head: "none",
    });
    const { data, shape } = cache.get(hook)!;
    if (shape.length !== 3) {
      throw new ArgumentError(
        `interchangeIntervention: expected a hook point with axes batch, pos and units, got ${hook} with ${shape.length} axes`,
      );
    }
    const [, longest, nUnits] = shape as [number, number, number];
    if (sums.length === 0) sums = new Float64Array(nUnits);
    some.forEach(({ base }, i) => {
      for (const place of placesOf(positions, base.length) ?? base.keys()) {
        const first = (2 * i * longest + place) * nUnits;
        const second = first + longest * nUnits;
        for (let u = 0; u < nUnits; u++) sums[u]! += Math.abs(data[second + u]! - data[first + u]!);
        n++;
      }
    });
  }
  return sums.map((sum) => sum / n);
}

/** The logit difference of one pair: on base, on source, and on base with each set of units exchanged. */
interface PairOutputs {
  readonly base: number;
  readonly source: number;
  readonly exchanged: readonly number[];
}

/** Runs some pairs: for each a row of the base, one of the source, and one for each set; `undefined` stands for all units. */
async function runPairs(
  model: RunnableModel,
  hook: string,
  pairs: readonly InterchangePair[],
  sets: readonly (readonly number[] | undefined)[],
  positions: readonly number[] | undefined,
): Promise<PairOutputs[]> {
  const perPair = 2 + sets.length;
  const tokens = pairs.flatMap(({ base, source }) => [base, source, ...sets.map(() => base)]);
  const source = tokens.map((_, row) => Math.floor(row / perPair) * perPair + 1);
  const interventions = pairs.flatMap(({ base }, i) => {
    const places = placesOf(positions, base.length);
    return sets.map(
      (units, s): Intervention => ({
        hook,
        op: { type: "patch", source },
        rows: [i * perPair + 2 + s],
        ...(units ? { units } : {}),
        ...(places ? { positions: places } : {}),
      }),
    );
  });
  const { logits } = await model.run({ tokens, interventions, head: "lastLogits" });
  const answers = (key: "sourceAnswer" | "baseAnswer") => pairs.map((pair) => pair[key]);
  const metric = logitDiff({
    tokens: answers("sourceAnswer"),
    incorrectTokens: answers("baseAnswer"),
  });
  const differences = metric(
    logits!,
    tokens.map((_, row) => ({ row, prompt: Math.floor(row / perPair) })),
  );
  return pairs.map((_, i) => {
    const [base, own, ...exchanged] = differences.slice(i * perPair, (i + 1) * perPair);
    return { base: base!, source: own!, exchanged };
  });
}
