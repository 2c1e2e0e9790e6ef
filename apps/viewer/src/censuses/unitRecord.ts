import {
  type CensusContext,
  type ContextKind,
  contextKinds,
  type UnitColumn,
} from "@penfield/localize/census-reader";
import { type OpenCensus, type OpenCensuses, unitAddress, unitName } from "./openCensuses.ts";
import type { ReportLinks, UnitInReport } from "./reportLinks.ts";
import { type Fields, fieldsOf, listOf, numberOf, textOf } from "./untrusted.ts";

/** A stretch of the corpus with the unit's values, ready to be shown. */
export interface ShownContext {
  readonly document: string;
  /** Place of the first token in its document. */
  readonly from: number;
  readonly tokens: readonly string[];
  /** null where no values were kept. */
  readonly values: readonly number[] | null;
  readonly peak: number;
  readonly value: number | null;
  /** Of sampled contexts: 0 the lowest bin. */
  readonly bin: number;
}

/** Scores of a description on documents that it was not made from, each beside what it must beat. */
export interface ShownDescription {
  readonly source: string;
  readonly sentence: string;
  readonly refusal: string | null;
  readonly rule: unknown;
  readonly r: number | null;
  readonly interval: readonly [number, number] | null;
  /** r of another unit's rule. */
  readonly otherRuleR: number | null;
  readonly scores: readonly {
    readonly name: string;
    readonly value: number | null;
    readonly floor: number | null;
    readonly what: string;
  }[];
  readonly output: {
    readonly role: string | null;
    readonly sentence: string | null;
    readonly score: ShownOutputScore | null;
  } | null;
}

/** Whether setting the unit moves the tokens that its output sentence names, in nats, beside what it must beat. */
interface ShownOutputScore {
  readonly measure: string;
  readonly value: number | null;
  readonly randomUnits: number | null;
  readonly p: number | null;
  readonly otherTokens: number | null;
  readonly otherTokensP: number | null;
  readonly holds: boolean;
}

/** One kind of contexts that the unit answers to. */
interface ShownFacet {
  readonly phrase: string | null;
  readonly words: readonly string[];
  readonly share: number | null;
  readonly otherShare: number | null;
  readonly nContexts: number | null;
  readonly contexts: readonly ShownContext[];
}

interface ShownNeighbour {
  readonly by: string;
  readonly census: string;
  readonly model: string;
  readonly name: string;
  readonly address: string;
  readonly r: number | null;
  readonly sentence: string;
}

/** Everything that a census, its notes and the reports beside it say about one unit: the page, and its .json. */
export interface UnitRecord {
  readonly census: string;
  readonly model: { readonly name: string; readonly sha256: string };
  readonly unit: number;
  readonly name: string;
  readonly hook: string;
  readonly layer: number | null;
  readonly index: number;
  readonly threshold: number;
  readonly types: readonly string[];
  readonly statistics: Readonly<Record<UnitColumn, number>>;
  readonly nActive: number;
  readonly classes: Fields | null;
  readonly description: ShownDescription | null;
  readonly weights: {
    readonly values: readonly (readonly [name: string, value: number | null])[];
    readonly role: string | null;
    readonly top: readonly (readonly [token: string, score: number | null])[];
    readonly bottom: readonly (readonly [token: string, score: number | null])[];
  } | null;
  readonly facets: { readonly common: string | null; readonly kinds: readonly ShownFacet[] } | null;
  readonly neighbours: readonly ShownNeighbour[];
  readonly histogram: {
    readonly low: number;
    readonly high: number;
    readonly counts: readonly number[];
  };
  readonly positions: readonly {
    readonly from: number;
    readonly to: number;
    readonly nTokens: number;
    readonly nActive: number;
    readonly mean: number;
  }[];
  readonly ngrams: readonly {
    readonly kind: string;
    readonly lost: number;
    readonly most: readonly { readonly text: readonly string[]; readonly count: number }[];
  }[];
  readonly contexts: Readonly<Record<ContextKind, readonly ShownContext[]>>;
  readonly counterexamples: {
    readonly falsePositives: readonly ShownContext[];
    readonly falseNegatives: readonly ShownContext[];
  };
  readonly reports: readonly UnitInReport[];
}

/** N-grams shown of each kind. */
const N_NGRAMS = 10;

/** Reads the record of a unit. */
export async function readUnitRecord(
  open: OpenCensus,
  unit: number,
  {
    censuses,
    links,
    kinds = contextKinds,
  }: {
    readonly censuses: OpenCensuses;
    readonly links: ReportLinks;
    /** Contexts to be read; the others, and counterexamples, stay empty. Default all. */
    readonly kinds?: readonly ContextKind[] | undefined;
  },
): Promise<UnitRecord> {
  const { census, meta, notes, index } = open;
  const { hook, index: place } = census.place(unit);
  const [word, statistics, active, histogram, positions, contexts] = await Promise.all([
    census.words(),
    readStatistics(open, unit),
    census.activeCounts(),
    census.histogram(unit),
    census.positions(unit),
    census.contexts(unit),
  ]);
  const [descriptionNote, classes, weights, facets, neighbours] = await Promise.all([
    notes.descriptions?.read(unit),
    notes.classes?.read(unit),
    notes.weights?.read(unit),
    notes.facets?.read(unit),
    notes.neighbours?.read(unit),
  ]);
  const shown = contextShower(open, word);
  const entries = await Promise.all(
    contextKinds.map(async (kind) => {
      const wanted = kinds.includes(kind) ? contexts[kind] : [];
      return [kind, await Promise.all(wanted.map(shown))] as const;
    }),
  );
  return {
    census: open.id,
    model: meta.model,
    unit,
    name: unitName(open, unit),
    hook: hook.name,
    layer: hook.layer,
    index: place,
    threshold: hook.threshold,
    types: index.types(unit),
    statistics,
    nActive: active[unit]!,
    classes: classes === undefined ? null : fieldsOf(classes),
    description: descriptionNote === undefined ? null : description(fieldsOf(descriptionNote)),
    weights: weights === undefined ? null : weightsOf(fieldsOf(weights), word),
    facets: facets === undefined ? null : await facetsOf(fieldsOf(facets), contexts, shown),
    neighbours: await neighboursOf(open, fieldsOf(neighbours), censuses),
    histogram: {
      low: hook.histogram[0],
      high: hook.histogram[1],
      counts: Array.from(histogram),
    },
    positions: Array.from(positions.nTokens, (nTokens, i) => ({
      from: i * meta.positionsPerBin,
      to: (i + 1) * meta.positionsPerBin,
      nTokens,
      nActive: positions.nActive[i]!,
      mean: positions.mean[i]!,
    })).filter(({ nTokens }) => nTokens > 0),
    ngrams: await Promise.all(
      meta.ngramKinds.map(async (kind) => {
        const { ngrams, lost } = await census.ngrams(unit, kind);
        return {
          kind,
          lost,
          most: ngrams
            .slice(0, N_NGRAMS)
            .map(({ tokens, count }) => ({ text: tokens.map(word), count })),
        };
      }),
    ),
    contexts: Object.fromEntries(entries) as unknown as UnitRecord["contexts"],
    counterexamples:
      kinds === contextKinds
        ? await counterexamples(open, unit, fieldsOf(descriptionNote), word)
        : { falsePositives: [], falseNegatives: [] },
    reports: await links.of(meta.model.sha256, hook.name, hook.layer, place),
  };
}

/** From columns that are in memory already, instead of one read for each. */
async function readStatistics(
  { census, meta }: OpenCensus,
  unit: number,
): Promise<Record<UnitColumn, number>> {
  const columns = meta.columns as readonly UnitColumn[];
  const values = await Promise.all(columns.map((name) => census.column(name)));
  return Object.fromEntries(columns.map((name, i) => [name, values[i]![unit]!])) as Record<
    UnitColumn,
    number
  >;
}

function description(note: Fields): ShownDescription {
  const scores = fieldsOf(note["scores"]);
  const other = fieldsOf(note["otherRule"]);
  const otherRuleR = numberOf(note["otherRuleR"]);
  const [low, high] = [numberOf(scores["rLow"]), numberOf(scores["rHigh"])];
  const nCompared = numberOf(scores["nCompared"]);
  // Descriptions of before other units' rules were asked for more than r are held against chance.
  const score = (name: string, key: string, chance: number | null, what: string) => {
    const floor = numberOf(other[key]);
    return floor === null
      ? { name, value: numberOf(scores[key]), floor: chance, what }
      : { name, value: numberOf(scores[key]), floor, what: "the rules of other units" };
  };
  const nTokens = numberOf(scores["nTokens"]);
  const rate = (key: string): number | null => {
    const count = numberOf(scores[key]);
    return count === null || !nTokens ? null : count / nTokens;
  };
  return {
    source: textOf(note["source"], 100) ?? "rule",
    sentence: textOf(note["sentence"]) ?? "",
    refusal: textOf(note["refusal"]),
    rule: note["rule"] ?? null,
    r: numberOf(note["r"]),
    interval: low === null || high === null ? null : [low, high],
    otherRuleR,
    scores: [
      {
        ...{ name: "simulation r", value: numberOf(note["r"]), floor: otherRuleR },
        what: "the rules of other units",
      },
      score("R²", "r2", 0, "predicting the mean"),
      score("detection AUROC", "detectionAuroc", 0.5, "guessing which stretches"),
      score("fuzzing AUROC", "fuzzingAuroc", 0.5, "guessing which tokens"),
      score(
        "precision",
        "precision",
        rate("nActive"),
        "the share of tokens on which the unit is active",
      ),
      score("recall", "recall", rate("nRule"), "the share of tokens where the rule holds"),
      {
        ...{ name: "specificity rank", value: numberOf(scores["specificityRank"]), floor: null },
        what:
          nCompared === null
            ? "1 is best"
            : `of ${nCompared + 1} units, 1 is best; guessing gives ${(nCompared + 2) / 2}`,
      },
    ],
    output: note["output"] === undefined ? null : outputOf(fieldsOf(note["output"])),
  };
}

function outputOf(output: Fields): ShownDescription["output"] {
  const score = output["score"] === undefined ? null : fieldsOf(output["score"]);
  return {
    role: textOf(output["role"], 40),
    sentence: textOf(output["sentence"]),
    score: score && {
      measure: textOf(score["measure"], 40) ?? "",
      value: numberOf(score["value"]),
      randomUnits: numberOf(score["randomUnits"]),
      p: numberOf(score["p"]),
      otherTokens: numberOf(score["otherTokens"]),
      otherTokensP: numberOf(score["otherTokensP"]),
      holds: score["holds"] === true,
    },
  };
}

/** Contexts of facets are among those of the unit: what is not, is of another census and left out. */
async function facetsOf(
  note: Fields,
  contexts: Readonly<Record<ContextKind, readonly CensusContext[]>>,
  shown: Shower,
): Promise<UnitRecord["facets"]> {
  const key = (start: unknown, peak: unknown) => `${start}:${peak}`;
  const known = new Map(
    [...contexts.sampled, ...contexts.top].map((one) => [key(one.start, one.peak), one] as const),
  );
  const kinds = listOf(note["facets"], 12).map(async (item): Promise<ShownFacet> => {
    const facet = fieldsOf(item);
    const own = listOf(facet["contexts"], 5).flatMap((place) => {
      const { start, peak } = fieldsOf(place);
      return known.get(key(start, peak)) ?? [];
    });
    return {
      phrase: textOf(facet["phrase"]),
      words: listOf(facet["words"], 10).flatMap((word) => textOf(word, 60) ?? []),
      share: numberOf(facet["share"]),
      otherShare: numberOf(facet["otherShare"]),
      nContexts: numberOf(facet["nContexts"]),
      contexts: await Promise.all(own.map(shown)),
    };
  });
  return { common: textOf(note["common"]), kinds: await Promise.all(kinds) };
}

function weightsOf(note: Fields, word: (token: number) => string): UnitRecord["weights"] {
  const tokens = (list: unknown) =>
    listOf(list, 20).map((pair): readonly [string, number | null] => {
      const [token, score] = listOf(pair, 2);
      return [
        typeof token === "number" ? word(token) : String(token).slice(0, 100),
        numberOf(score),
      ];
    });
  return {
    values: (
      [
        ["length of input weights", "inNorm"],
        ["length of output weights", "outNorm"],
        ["cosine of input and output weights", "cosInOut"],
        ["vocabulary variance", "vocabularyVariance"],
        ["vocabulary skewness", "vocabularySkewness"],
        ["vocabulary kurtosis", "vocabularyKurtosis"],
      ] as const
    ).map(([name, key]) => [name, numberOf(note[key])]),
    role: textOf(note["role"], 40),
    top: tokens(note["top"]),
    bottom: tokens(note["bottom"]),
  };
}

async function neighboursOf(
  own: OpenCensus,
  note: Fields,
  censuses: OpenCensuses,
): Promise<ShownNeighbour[]> {
  const out: ShownNeighbour[] = [];
  for (const item of listOf(note["neighbours"], 20)) {
    const { by, census, unit, r } = fieldsOf(item);
    const id = textOf(census, 200) ?? own.id;
    // A census that is gone or broken has nothing to show here.
    const open = id === own.id ? own : await censuses.get(id).catch(() => undefined);
    if (
      !open ||
      !Number.isInteger(unit) ||
      !((unit as number) >= 0 && (unit as number) < open.meta.nUnits)
    ) {
      continue;
    }
    out.push({
      by: textOf(by, 40) ?? "",
      census: id,
      model: open.meta.model.name,
      name: unitName(open, unit as number),
      address: unitAddress(open, unit as number),
      r: numberOf(r),
      sentence: open.index.sentence(unit as number),
    });
  }
  return out;
}

type Shower = (context: CensusContext) => Promise<ShownContext>;

function contextShower(open: OpenCensus, word: (token: number) => string): Shower {
  return async ({ start, peak, value, bin, values }) => {
    const [tokens, { id, from }] = await Promise.all([
      open.tokens.read(start, values.length),
      documentAt(open, start),
    ]);
    return {
      document: id,
      from,
      tokens: Array.from(tokens, word),
      values: Array.from(values, (x) => Number(x.toPrecision(4))),
      peak,
      value,
      bin,
    };
  };
}

/** Names of documents are kept in memory up to so many; of more, their numbers are shown. */
const MAX_NAMES = 200_000;

const names = new WeakMap<OpenCensus, Promise<readonly string[]>>();

function documentNames(open: OpenCensus): Promise<readonly string[]> {
  let found = names.get(open);
  if (!found) {
    found =
      open.meta.nDocuments > MAX_NAMES
        ? Promise.resolve([])
        : open.census.documentIds().catch(() => []);
    names.set(open, found);
  }
  return found;
}

async function documentAt(open: OpenCensus, token: number): Promise<{ id: string; from: number }> {
  const [starts, ids] = await Promise.all([open.census.documentStarts(), documentNames(open)]);
  let low = 0;
  let high = starts.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (starts[middle]! <= token) low = middle;
    else high = middle;
  }
  return { id: (ids[low] ?? `document ${low}`).slice(0, 200), from: token - starts[low]! };
}

/** Above this, values of whole documents are not read for a page. */
const MAX_KEPT = 2 ** 21;
const BEFORE = 12;
const LENGTH = 24;

/** Where a rule and its unit part: places in the kept documents, which are all documents unless the census says otherwise. */
async function counterexamples(
  open: OpenCensus,
  unit: number,
  note: Fields,
  word: (token: number) => string,
): Promise<UnitRecord["counterexamples"]> {
  const scores = fieldsOf(note["scores"]);
  const all = [scores["falsePositives"], scores["falseNegatives"]].map((list) => listOf(list, 10));
  const none = { falsePositives: [], falseNegatives: [] };
  const { nTokens, nKeptTokens, nDocuments } = open.meta;
  if (nKeptTokens !== nTokens || all.every((list) => list.length === 0)) return none;
  const starts = await open.census.documentStarts();
  const values = nKeptTokens <= MAX_KEPT ? await open.census.values(unit) : undefined;
  const shown = async (place: unknown): Promise<ShownContext[]> => {
    const { document, position } = fieldsOf(place);
    const [d, p] = [numberOf(document), numberOf(position)];
    if (d === null || p === null || !Number.isInteger(d) || !Number.isInteger(p)) return [];
    if (d < 0 || d >= nDocuments || p < 0) return [];
    const [from, to] = [starts[d]!, starts[d + 1]!];
    const at = from + p;
    if (at >= to) return [];
    const first = Math.max(from, Math.min(at - BEFORE, to - LENGTH));
    const tokens = await open.tokens.read(first, Math.min(LENGTH, to - first));
    return [
      {
        document: (await documentAt(open, at)).id,
        from: first - from,
        tokens: Array.from(tokens, word),
        values: values
          ? Array.from(values.subarray(first, first + tokens.length), (x) =>
              Number(x.toPrecision(4)),
            )
          : null,
        peak: at - first,
        value: values ? values[at]! : null,
        bin: 0,
      },
    ];
  };
  const [falsePositives, falseNegatives] = await Promise.all(
    all.map(async (list) => (await Promise.all(list.map(shown))).flat()),
  );
  return { falsePositives: falsePositives!, falseNegatives: falseNegatives! };
}
