import { readFileSync } from "node:fs";
import { join } from "node:path";
import { PenfieldError } from "@penfield/core";
import {
  type CaseArrays,
  type CaseReplay,
  type Check,
  type FoundCase,
  readArray,
  readJson,
} from "./replay.ts";

/** One result of a reference case. */
export interface SimilarityCase {
  readonly group: string;
  /** Of the case: rdm_basic. */
  readonly name: string;
  /** Of the result: crossnobis_prec_rm0. */
  readonly label: string;
  readonly params: Record<string, unknown>;
  readonly arrays: CaseArrays;
  /** What the reference gave, for mappings that replay its random draws; undefined if it raised. */
  readonly output: unknown;
}

/** Gives our result in the form of the reference's: a number, nested or typed arrays, or those by key. */
export type SimilarityReplay = (found: SimilarityCase) => unknown;

/** How a group's results are computed by us; undefined for those that are not mapped. */
export type SimilarityMapping = (group: string, label: string) => SimilarityReplay | undefined;

interface Result {
  readonly label: string;
  readonly params?: Record<string, unknown>;
  readonly output?: unknown;
  readonly error?: string;
  readonly "sensitivity_1e-13"?: unknown;
}

/** Above this the reference's own value is a matter of rounding: it is not judged. */
const STABLE = 1e-7;

/** Keys of an output that are inputs of the replay. */
const INPUTS = new Set(["draws", "test_pattern_idx", "test_nrdm"]);

/** Every result of every case of a folder, as one case each: `rdm/rdm_basic/euclidean`. */
export function casesOfSimilarity(folder: string): FoundCase[] {
  const index = readJson(join(folder, "index.json")) as { group: string; name: string }[];
  return index.flatMap(({ group, name }) => {
    const path = join(folder, group, `${name}.json`);
    const { inputs, results } = JSON.parse(readFileSync(path, "utf8")) as {
      inputs: Record<string, { file: string }>;
      results: Result[];
    };
    let arrays: CaseArrays | undefined;
    const read = (): CaseArrays => {
      arrays ??= Object.fromEntries(
        Object.entries(inputs).map(([key, { file }]) => [
          key,
          readArray(join(folder, group, file)),
        ]),
      );
      return arrays;
    };
    return results.map((result) => ({
      name: `${group}/${name}/${result.label}`,
      meta: { group, name, result },
      read,
    }));
  });
}

/** Looks a result up in the mappings, in order. */
export const similarityReplay =
  (mappings: readonly SimilarityMapping[]) =>
  ({ meta }: FoundCase): CaseReplay | undefined => {
    const { group, name, result } = meta as { group: string; name: string; result: Result };
    for (const mapping of mappings) {
      const ours = mapping(group, result.label);
      if (!ours) continue;
      return async (arrays) => {
        const { label, params = {}, output } = result;
        const run = async () =>
          await ours({ group, name, label, params, arrays, output: numbers(output) });
        if (result.error !== undefined) return refusal(result.error, run);
        try {
          return checks(result, await run());
        } catch (thrown) {
          // Ours may refuse where the reference has no number at all.
          const nothing = flat(numbers(output)).every((v) => !Number.isFinite(v));
          if (!(thrown instanceof PenfieldError) || !nothing) throw thrown;
          return [exactly("refused, where the reference has no finite value", [], [])];
        }
      };
    }
    return undefined;
  };

/** The reference raised: ours must refuse too, or flag what it cannot compute. */
async function refusal(
  error: string,
  run: () => Promise<unknown>,
): Promise<Check[] | { notJudged: string }> {
  try {
    const got = flat(await run());
    if (got.some(Number.isNaN)) return [exactly("flagged NaN, reference raised", [], [])];
    return { notJudged: `the reference raised ${error.slice(0, 60)}; ours gives numbers` };
  } catch (thrown) {
    if (!(thrown instanceof PenfieldError)) throw thrown;
    return [exactly("refused, as the reference did", [], [])];
  }
}

function checks(result: Result, ours: unknown): Check[] | { notJudged: string } {
  const expected = numbers(result.output);
  const sensitivity = result["sensitivity_1e-13"];
  const tolerance = Number(result.params?.["tol"] ?? 0);
  if (!isRecord(expected)) {
    if (!isStable(sensitivity)) return { notJudged: `sensitivity ${sensitivity}` };
    return [check("value", ours, expected, sensitivity, tolerance)];
  }
  const bySensitivity = isRecord(sensitivity) ? sensitivity : {};
  const all = Object.keys(expected).filter((key) => !INPUTS.has(key));
  const judged = all.filter((key) => isStable(bySensitivity[key]));
  if (judged.length === 0) return { notJudged: "no key of it is stable" };
  return judged.map((key) =>
    check(
      key,
      (ours as Record<string, unknown>)[key],
      expected[key],
      bySensitivity[key],
      tolerance,
    ),
  );
}

const isStable = (sensitivity: unknown): boolean =>
  sensitivity === undefined || sensitivity === null || Number(sensitivity) <= STABLE;

function check(
  name: string,
  got: unknown,
  expected: unknown,
  sensitivity: unknown,
  tolerance: number,
): Check {
  return {
    name,
    got: flat(got),
    expected: flat(expected),
    // A hundred times the change under noise of 1e-13, where that is more than 1e-9; params.tol overrides.
    absolute: Math.max(1e-9, 100 * Number(sensitivity ?? 0), tolerance),
    relative: Math.max(1e-6, tolerance),
    largerTolerance: true,
  };
}

const exactly = (name: string, got: number[], expected: number[]): Check => ({
  name,
  got,
  expected,
  relative: 0,
  absolute: 0,
});

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" &&
  value !== null &&
  !Array.isArray(value) &&
  !ArrayBuffer.isView(value);

/** "NaN" and "Infinity" as numbers. */
function numbers(value: unknown): unknown {
  if (value === "NaN" || value === "Infinity" || value === "-Infinity") return Number(value);
  if (Array.isArray(value)) return value.map(numbers);
  if (isRecord(value)) {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, numbers(inner)]));
  }
  return value;
}

/** All numbers of nested arrays, in order. */
function flat(value: unknown): number[] {
  if (typeof value === "number") return [value];
  if (typeof value === "boolean") return [Number(value)];
  if (value === null || value === undefined) return [];
  if (ArrayBuffer.isView(value)) return Array.from(value as Float64Array);
  if (Array.isArray(value)) return value.flatMap(flat);
  return Object.values(value as object).flatMap(flat);
}
