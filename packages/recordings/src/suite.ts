import { DataError, FormatError, ShapeError } from "@penfield/core";
import { z } from "zod";
import { evaluateFormula, type Formula, parseFormula, regionsOf } from "./formula.ts";
import type { SuiteTask } from "./tasks.ts";

const suiteSchema = z.object({
  meta: z.object({ name: z.string().min(1).optional(), metric: z.string().optional() }).optional(),
  predictions: z
    .array(z.object({ type: z.literal("formula"), formula: z.string().min(1) }))
    .min(1, "at least one prediction"),
  items: z
    .array(
      z.object({
        item_number: z.number().int(),
        conditions: z
          .array(
            z.object({
              condition_name: z.string().min(1),
              regions: z
                .array(z.object({ region_number: z.number().int(), content: z.string() }))
                .min(1, "at least one region"),
            }),
          )
          .min(1, "at least one condition"),
      }),
    )
    .min(1, "at least one item"),
});

/**
 * Reads a SyntaxGym suite (JSON).
 *
 * @param text - The file's content.
 * @param options.id - What to call the task.
 * @param options.file - How error messages call the file.
 * @throws {FormatError} if it is not a suite, its regions are not numbered 1, 2, ..., a formula cannot
 *   be read, asks for a region or condition that an item does not have, or its metric is not `sum`.
 * @throws {DataError} if an item number is there twice.
 */
export function parseSuite(
  text: string,
  { id, file = id }: { id: string; file?: string },
): SuiteTask {
  const fail = (reason: string): never => {
    throw new FormatError(`parseSuite: ${file}: ${reason}`);
  };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    return fail(`expected JSON, got text that is not: ${(cause as Error).message}`);
  }
  const result = suiteSchema.safeParse(value);
  if (!result.success) {
    const issue = result.error.issues[0]!;
    return fail(`field ${issue.path.join(".") || "(all)"}: ${issue.message}`);
  }
  const suite = result.data;
  const metric = suite.meta?.metric ?? "sum";
  if (metric !== "sum") fail(`expected the metric sum, got ${JSON.stringify(metric)}`);
  const formulas = suite.predictions.map(({ formula }) => parseFormula(formula, file));
  const seen = new Set<number>();
  const items = suite.items.map(({ item_number, conditions }) => {
    if (seen.has(item_number)) {
      throw new DataError(
        `parseSuite: ${file}: expected each item number once, got ${item_number} twice`,
      );
    }
    seen.add(item_number);
    const read = conditions.map(({ condition_name, regions }) => {
      const wrong = regions.findIndex(({ region_number }, i) => region_number !== i + 1);
      if (wrong >= 0) {
        fail(
          `item ${item_number}, ${condition_name}: expected region ${wrong + 1}, got ${regions[wrong]!.region_number}`,
        );
      }
      return { name: condition_name, regions: regions.map(({ content }) => content.trim()) };
    });
    for (const formula of formulas) checkRegions(formula, read, fail, item_number);
    return { id: String(item_number), conditions: read };
  });
  return {
    kind: "syntaxgym",
    id,
    title: (suite.meta?.name ?? id).replace(/[_-]+/g, " "),
    items,
    predictions: suite.predictions.map(({ formula }) => formula),
  };
}

function checkRegions(
  formula: Formula,
  conditions: SuiteTask["items"][number]["conditions"],
  fail: (reason: string) => never,
  item: number,
): void {
  for (const { region, condition } of regionsOf(formula)) {
    const found = conditions.find(({ name }) => name === condition);
    if (!found) {
      const names = conditions.map(({ name }) => name).join(", ");
      fail(`item ${item}: a prediction asks for condition ${condition}, got ${names}`);
    } else if (region !== "*" && (region < 1 || region > found.regions.length)) {
      fail(
        `item ${item}: a prediction asks for region ${region} of ${condition}, got ${found.regions.length} regions`,
      );
    }
  }
}

/**
 * Which predictions of a suite hold, item by item.
 *
 * @param task - A SyntaxGym suite.
 * @param regionSurprisals - For each item, for each condition by name, the summed surprisal of each
 *   region in order (0 for an empty one), in any unit but one and the same.
 * @returns `[nItems][nPredictions]`. A suite's published accuracy is the share of items for which all hold.
 * @throws {ShapeError} if an item, condition or region has no surprisal.
 * @throws {DataError} if a surprisal is not finite.
 *
 * Source: Hu et al. (2020), ACL; equality with relative 1e-5 and absolute 1e-3 as in brain-score/language.
 */
export function evaluateSuite(
  task: SuiteTask,
  regionSurprisals: readonly Readonly<Record<string, ArrayLike<number>>>[],
): readonly (readonly boolean[])[] {
  if (regionSurprisals.length !== task.items.length) {
    throw new ShapeError(
      `evaluateSuite: expected surprisals for ${task.items.length} items, got ${regionSurprisals.length}`,
    );
  }
  const formulas = task.predictions.map((prediction) => parseFormula(prediction, task.id));
  return task.items.map(({ id, conditions }, i) => {
    const surprisals = regionSurprisals[i]!;
    for (const { name, regions } of conditions) {
      const values = surprisals[name];
      if (values?.length !== regions.length) {
        throw new ShapeError(
          `evaluateSuite: ${task.id}: item ${id}: expected ${regions.length} surprisals for ${name}, got ${values?.length ?? "none"}`,
        );
      }
      for (let r = 0; r < values.length; r++) {
        if (!Number.isFinite(values[r])) {
          throw new DataError(
            `evaluateSuite: ${task.id}: item ${id}: expected finite surprisals for ${name}, got ${values[r]} in region ${r + 1}`,
          );
        }
      }
    }
    return formulas.map((formula) => evaluateFormula(formula, surprisals));
  });
}
