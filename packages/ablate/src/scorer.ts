import { DataError, type LongWork, ModelError, throwIfAborted } from "@penfield/core";
import type { HookedModel, Intervention, TextTokenizer } from "@penfield/hooks";
import { batchesByLength } from "@penfield/localize";
import { evaluateSuite, type SuiteTask, type Task } from "@penfield/recordings";

/** How a model did on one task. */
export interface TaskOutcome {
  readonly task: string;
  /** `accuracy`: 1 right, 0 wrong, 0.5 undecided. `loss`: nats per token. */
  readonly metric: "accuracy" | "loss";
  /** One value per item. */
  readonly values: Float64Array;
}

/** What a task is about and how it is counted. */
export interface TaskSummary {
  readonly id: string;
  readonly title: string;
  readonly metric: "accuracy" | "loss";
  readonly higherIsBetter: boolean;
  /** Accuracy of guessing; undefined for a loss. */
  readonly chance: number | undefined;
  /** One per item. */
  readonly groups: readonly string[];
  readonly itemIds: readonly string[];
}

export interface ScorerOptions {
  /**
   * `sum`: the sentence with the larger log-probability is preferred (BLiMP, default). `mean`: per
   * token, which does not favour short sentences.
   */
  readonly scoring?: "sum" | "mean" | undefined;
  /**
   * Put the beginning-of-text token before each text, so that its first word is scored too. Default:
   * yes if the tokenizer has one.
   */
  readonly prependBos?: boolean | undefined;
  /**
   * Tokens, padding included, in one run of the model. Default: 2048, and fewer where the vocabulary is
   * so large that the scores of a batch would pass 64 MB.
   */
  readonly batchTokens?: number | undefined;
}

/** Tasks turned into token rows once, to be scored again and again under different lesions. */
export interface Scorer {
  readonly tasks: readonly TaskSummary[];
  readonly nTexts: number;
  readonly nTokens: number;
  /**
   * Runs all tasks with the given interventions.
   *
   * @throws {ModelError} if the model's output is not a number.
   * @param wired - Hook points that any of the lesions to come touches, so that all share one session.
   */
  score(
    interventions: readonly Intervention[],
    options?: LongWork & { readonly wired?: readonly string[] | undefined },
  ): Promise<readonly TaskOutcome[]>;
}

/** Scores over the vocabulary held at once: 64 MB. Larger batches fall out of the processor's caches. */
const MAX_SCORES = 16 * 2 ** 20;

/** From the log-probabilities of each text's tokens to one value per item. */
type Judge = (logProbs: (row: number) => Float32Array) => Float64Array;

/** Texts as rows of tokens, each once. */
class Rows {
  readonly ids: number[][] = [];
  readonly #known = new Map<string, number>();

  add(ids: number[]): number {
    const key = ids.join(" ");
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    this.#known.set(key, this.ids.length);
    return this.ids.push(ids) - 1;
  }
}

/**
 * Prepares tasks for a model: tokens, batches, and how each item is judged.
 *
 * Texts are padded on the right, so a batch's rows do not see each other; a text that several items
 * share is run once.
 *
 * @throws {DataError} for a text longer than the model's context, with its item.
 * @throws {TokenizerError} if the model came without a tokenizer.
 */
export function createScorer(
  model: HookedModel,
  tasks: readonly Task[],
  options: ScorerOptions = {},
): Scorer {
  const { scoring = "sum", prependBos } = options;
  const fitting = Math.floor(MAX_SCORES / (model.cfg.dVocab ?? 1));
  const batchTokens = options.batchTokens ?? Math.max(256, Math.min(2048, fitting));
  const tokenizer = model.requireTokenizer();
  const bos = prependBos ?? tokenizer.bosId !== undefined;
  const nCtx = model.cfg.nCtx ?? Number.POSITIVE_INFINITY;
  const rows = new Rows();
  const encode = (text: string, item: string): number[] => {
    const ids = tokenizer.encode(text, { prependBos: bos });
    if (ids.length >= 1 && ids.length <= nCtx) return ids;
    throw new DataError(
      `createScorer: expected 1 to ${nCtx} tokens, got ${ids.length} in item ${item}`,
      {
        hint: "Shorten the text; the model cannot read more at once.",
      },
    );
  };
  const prepared = tasks.map((task) => prepare(task, { rows, encode, tokenizer, scoring, bos }));
  const batches = batchesByLength(rows.ids, batchTokens);
  const nTokens = rows.ids.reduce((sum, row) => sum + row.length, 0);
  return {
    tasks: prepared.map((p) => p.summary),
    nTexts: rows.ids.length,
    nTokens,
    async score(interventions, { wired, onProgress, signal } = {}) {
      const logProbs: Float32Array[] = new Array(rows.ids.length);
      let done = 0;
      for (const batch of batches) {
        throwIfAborted(signal, "score");
        const tokens = batch.map((row) => rows.ids[row]!);
        const { tokenLogProbs } = await model.run({
          tokens,
          interventions,
          wired,
          head: "tokenLogProbs",
        });
        const length = tokenLogProbs!.shape[1]!;
        batch.forEach((row, r) => {
          const values = tokenLogProbs!.data.slice(r * length, r * length + rows.ids[row]!.length);
          // Comparisons with NaN would pass for undecided.
          if (values.some(Number.isNaN)) {
            throw new ModelError(
              `score: expected log-probabilities, got NaN for ${JSON.stringify(tokenizer.decode(rows.ids[row]!).slice(0, 60))}`,
              { hint: "Numbers have overflowed in the model; try its float32 file." },
            );
          }
          logProbs[row] = values;
        });
        done += batch.length;
        onProgress?.({ stage: "scoring tasks", done, total: rows.ids.length, unit: "texts" });
      }
      return prepared.map(({ summary, judge }) => ({
        task: summary.id,
        metric: summary.metric,
        values: judge((row) => logProbs[row]!),
      }));
    },
  };
}

interface Preparation {
  readonly rows: Rows;
  readonly encode: (text: string, item: string) => number[];
  readonly tokenizer: TextTokenizer;
  readonly scoring: "sum" | "mean";
  readonly bos: boolean;
}

const sum = (values: Float32Array, from = 0): number => {
  let total = 0;
  for (let i = from; i < values.length; i++) total += values[i]!;
  return total;
};
const prefer = (good: number, bad: number): number => (good > bad ? 1 : good < bad ? 0 : 0.5);

function prepare(task: Task, preparation: Preparation): { summary: TaskSummary; judge: Judge } {
  const { rows, encode, scoring, tokenizer, bos } = preparation;
  const { id, title } = task;
  const accuracy = { id, title, metric: "accuracy" as const, higherIsBetter: true, chance: 0.5 };
  switch (task.kind) {
    case "minimal-pairs": {
      const pairs = task.items.map((item) => ({
        good: rows.add(encode(item.good, item.id)),
        bad: rows.add(encode(item.bad, item.id)),
      }));
      const value = (logProbs: Float32Array): number =>
        scoring === "sum" ? sum(logProbs) : sum(logProbs) / Math.max(1, logProbs.length - 1);
      return {
        summary: {
          ...accuracy,
          groups: task.items.map((item) => item.group),
          itemIds: task.items.map((item) => item.id),
        },
        judge: (logProbs) =>
          Float64Array.from(pairs, ({ good, bad }) =>
            prefer(value(logProbs(good)), value(logProbs(bad))),
          ),
      };
    }
    case "continuation": {
      const pairs = task.items.map((item) => {
        const good = encode(item.prompt + item.good, item.id);
        const bad = encode(item.prompt + item.bad, item.id);
        // Only where the two differ can they be told apart; what follows counts to the end. The
        // first token of a text has no log-probability.
        let same = 0;
        while (same < good.length && same < bad.length && good[same] === bad[same]) same++;
        return { good: rows.add(good), bad: rows.add(bad), from: Math.max(1, same) };
      });
      const value = (logProbs: Float32Array, from: number): number =>
        scoring === "sum"
          ? sum(logProbs, from)
          : sum(logProbs, from) / Math.max(1, logProbs.length - from);
      return {
        summary: {
          ...accuracy,
          groups: task.items.map(() => id),
          itemIds: task.items.map((i) => i.id),
        },
        judge: (logProbs) =>
          Float64Array.from(pairs, ({ good, bad, from }) =>
            prefer(value(logProbs(good), from), value(logProbs(bad), from)),
          ),
      };
    }
    case "text": {
      const passages = task.passages.map((p) => rows.add(encode(p.text, p.id)));
      return {
        summary: {
          id,
          title,
          metric: "loss",
          higherIsBetter: false,
          chance: undefined,
          groups: passages.map(() => id),
          itemIds: task.passages.map((p) => p.id),
        },
        judge: (logProbs) =>
          Float64Array.from(passages, (row) => {
            const values = logProbs(row);
            return -sum(values) / Math.max(1, values.length - 1);
          }),
      };
    }
    case "syntaxgym":
      return prepareSuite(task, { rows, encode, tokenizer, bos }, accuracy);
  }
}

function prepareSuite(
  task: SuiteTask,
  { rows, encode, tokenizer, bos }: Omit<Preparation, "scoring">,
  accuracy: Pick<TaskSummary, "id" | "title" | "metric" | "higherIsBetter" | "chance">,
): { summary: TaskSummary; judge: Judge } {
  const items = task.items.map((item) =>
    item.conditions.map(({ name, regions }) => {
      const text = regions.filter((region) => region !== "").join(" ");
      const ids = encode(text, `${item.id} ${name}`);
      return {
        name,
        row: rows.add(ids),
        regionOf: regionOfTokens(tokenizer, ids, regions, bos),
        nRegions: regions.length,
      };
    }),
  );
  const judge: Judge = (logProbs) => {
    const held = evaluateSuite(
      task,
      items.map((conditions) => {
        const surprisals: Record<string, number[]> = {};
        for (const { name, row, regionOf, nRegions } of conditions) {
          const sums = new Array<number>(nRegions).fill(0);
          logProbs(row).forEach((logProb, token) => {
            const region = regionOf[token]!;
            // Bits, as surprisal is reported.
            if (region >= 0) sums[region]! -= logProb / Math.LN2;
          });
          surprisals[name] = sums;
        }
        return surprisals;
      }),
    );
    return Float64Array.from(held, (predictions) => (predictions.every(Boolean) ? 1 : 0));
  };
  const itemIds = task.items.map((item) => item.id);
  // Several predictions must hold together: guessing gets them all right less often than one.
  const chance = 0.5 ** task.predictions.length;
  return { summary: { ...accuracy, chance, groups: itemIds.map(() => task.id), itemIds }, judge };
}

/**
 * The region in which each token ends, or -1 for the beginning-of-text token. A space before a
 * word belongs to the word's region.
 */
function regionOfTokens(
  tokenizer: TextTokenizer,
  ids: readonly number[],
  regions: readonly string[],
  bos: boolean,
): number[] {
  const ends: number[] = [];
  let length = 0;
  for (const region of regions) {
    if (region !== "") length += region.length + (length > 0 ? 1 : 0);
    ends.push(length);
  }
  const words = bos ? ids.slice(1) : ids;
  const found = words.map((_, token) => {
    const end = tokenizer.decode(words.slice(0, token + 1)).trimStart().length;
    const region = ends.findIndex((e) => end <= e);
    return region >= 0 ? region : regions.length - 1;
  });
  return bos ? [-1, ...found] : found;
}
