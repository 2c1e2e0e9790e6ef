import {
  ArgumentError,
  createRng,
  DataError,
  type Rng,
  sampleWithoutReplacement,
} from "@penfield/core";
import type { Census } from "@penfield/localize";
import type { OutputSide } from "../outputSide.ts";
import { keptDocuments, splitDocuments } from "../splits.ts";

/** A stretch of text with what one unit did there. */
export interface EvidenceContext {
  /** Its tokens as text, with their spaces. */
  readonly tokens: readonly string[];
  /** Level of each token: floor(10 max(0, a) / the highest value of all contexts), 0 to 10. */
  readonly levels: readonly number[];
  /** The highest value in it. */
  readonly value: number;
  /** Number of its document among the kept ones. */
  readonly document: number;
}

/** What an explainer is shown of a unit, from the documents that are for explaining alone. */
export interface Evidence {
  readonly unit: number;
  readonly hook: string;
  readonly index: number;
  /** Half of them of the highest tenth, half from all heights; the highest first. */
  readonly active: readonly EvidenceContext[];
  /** Stretches where the unit is silent although its own tokens stand there; as far as there are, else others. */
  readonly nearMisses: readonly EvidenceContext[];
  /** The logit lens: tokens whose scores the unit raises and lowers most; empty without weights. */
  readonly raises: readonly string[];
  readonly lowers: readonly string[];
}

/** A stretch of tokens of one document, `from` to before `to`. */
export interface TextWindow {
  readonly document: number;
  readonly from: number;
  readonly to: number;
}

/** The kept documents of a census as text, cut into stretches that are shown to explainers, and others that judges are asked about. */
export interface WindowText {
  /** All tokens, document after document, with their spaces. */
  readonly tokens: readonly string[];
  /** Of the explain and the score documents. No document has stretches in both. */
  readonly explain: readonly TextWindow[];
  readonly score: readonly TextWindow[];
}

/** Tokens of a stretch. */
const WINDOW = 32;

export interface WindowTextOptions {
  /** A name for documents that belong together: they are never parted. */
  readonly groupOf?: ((documentId: string) => string | undefined) | undefined;
  readonly seed?: number | undefined;
}

/**
 * The documents of a census in stretches of up to 32 tokens, parted as by `describeUnits`: 40 % to explain, 40 % to score, by a hash of each
 * document.
 *
 * @throws {DataError} if the census kept no values.
 *
 * @example
 * import { mkdtemp } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 * import { join } from "node:path";
 * import { plantedSource, takeCensus } from "@penfield/localize";
 * const words = ["The", " dog", " cat", " saw", " heard", " the"];
 * const units = [{ name: "cat", active: (text, i) => text[i] === " cat" }];
 * const documents = Array.from({ length: 150 }, (_, d) => ({ tokens: [0, 1 + (d % 3 === 0), 3 + (d % 5 === 0), 5, 1 + ((d >> 1) % 2)] }));
 * const census = await takeCensus(plantedSource({ words, units }), documents, join(await mkdtemp(join(tmpdir(), "census-")), "planted"));
 * const { explain, score } = await windowText(census, { groupOf: (id) => id });
 * const shown = new Set(explain.map(({ document }) => document));
 * score.some(({ document }) => shown.has(document)) // => false
 * await census.close();
 */
export async function windowText(
  census: Census,
  { groupOf, seed = 0 }: WindowTextOptions = {},
): Promise<WindowText> {
  if (census.meta.nKeptTokens === 0) {
    throw new DataError("windowText: expected a census with kept values, got none", {
      hint: "Take it with a keepShare above 0.",
    });
  }
  const { documents, ids } = await keptDocuments(census);
  const word = await census.words();
  const { splitOf } = splitDocuments(
    documents,
    ids.map((id) => groupOf?.(id)),
    seed,
  );
  const parts: [TextWindow[], TextWindow[], TextWindow[]] = [[], [], []];
  let start = 0;
  documents.forEach(({ length }, document) => {
    for (let from = start; from < start + length; from += WINDOW) {
      const to = Math.min(from + WINDOW, start + length);
      parts[splitOf[document] as 0 | 1 | 2].push({ document, from, to });
    }
    start += length;
  });
  return {
    tokens: documents.flatMap((tokens) => Array.from(tokens, word)),
    explain: parts[0],
    score: parts[2],
  };
}

/** A stretch and what the unit does there. */
export interface MeasuredWindow extends TextWindow {
  /** Place of its highest value. */
  readonly peak: number;
  readonly nActive: number;
}

/** Stretches by what the unit does there: active (the highest first), silent with one of the unit's own tokens, silent without. */
export interface WindowStrata {
  readonly active: readonly MeasuredWindow[];
  readonly hard: readonly MeasuredWindow[];
  readonly plain: readonly MeasuredWindow[];
}

/** Parts stretches by what the unit does there; its own tokens are those of its 20 highest stretches. */
export function stratify(
  tokens: readonly string[],
  windows: readonly TextWindow[],
  values: Float32Array,
  threshold: number,
): WindowStrata {
  const measured = windows.map((window): MeasuredWindow => {
    let peak = window.from;
    let nActive = 0;
    for (let i = window.from; i < window.to; i++) {
      if (values[i]! > values[peak]!) peak = i;
      if (values[i]! > threshold) nActive++;
    }
    return { ...window, peak, nActive };
  });
  const active = measured
    .filter(({ nActive }) => nActive > 0)
    .sort((a, b) => values[b.peak]! - values[a.peak]! || a.from - b.from);
  const plainly = (i: number) => tokens[i]!.trim().toLowerCase();
  const own = new Set(active.slice(0, 20).map(({ peak }) => plainly(peak)));
  const hard: MeasuredWindow[] = [];
  const plain: MeasuredWindow[] = [];
  for (const window of measured) {
    if (window.nActive > 0) continue;
    let has = false;
    for (let i = window.from; i < window.to && !has; i++) has = own.has(plainly(i));
    (has ? hard : plain).push(window);
  }
  return { active, hard, plain };
}

/** At most `n` of a list, drawn without replacement, in their order. */
export function drawSome<T>(items: readonly T[], n: number, rng: Rng): T[] {
  const chosen = sampleWithoutReplacement(items.length, Math.min(n, items.length), rng);
  return Array.from(chosen, (i) => items[i]!);
}

/** At most `n` of a sorted list, evenly from all of it. */
export function spread<T>(items: readonly T[], n: number): T[] {
  if (items.length <= n) return [...items];
  return Array.from({ length: n }, (_, i) => items[Math.floor(((i + 0.5) * items.length) / n)]!);
}

export interface EvidenceOptions {
  /** Stretches where the unit is active; default 40. */
  readonly nActive?: number | undefined;
  /** Stretches where it is silent; default 10. */
  readonly nNearMisses?: number | undefined;
  readonly output?: OutputSide | undefined;
  readonly seed?: number | undefined;
}

/**
 * What an explainer is shown of a unit: stretches of up to 32 tokens where it is active, half from its highest tenth and half from all
 * heights, and near misses, all from the documents that are for explaining.
 *
 * @param values - Of the unit, `[nKeptTokens]`: `census.values(unit)`.
 * @returns Undefined if the unit is nowhere active there, or its value does not vary: there is nothing to explain.
 * @throws {ArgumentError} if there are not as many values as tokens.
 *
 * Source: levels as in openai/automated-interpretability (Bills et al. 2023), floor and not rounded; the choice of stretches after Paulo et al.
 * (2024), who found contexts from all heights better than the highest alone.
 *
 * @example
 * const text = { tokens: ["a", " cat", "a", " dog"], explain: [{ document: 0, from: 0, to: 2 }, { document: 1, from: 2, to: 4 }], score: [] };
 * const unit = { unit: 0, hook: "planted", index: 0, threshold: 0 };
 * const { active, nearMisses } = gatherEvidence(text, Float32Array.from([0, 2, 0, 0]), unit);
 * active[0].levels // => [0, 10]
 * nearMisses[0].tokens // => ["a", " dog"]
 */
export function gatherEvidence(
  text: WindowText,
  values: Float32Array,
  { unit, hook, index, threshold }: UnitIdentity,
  options: EvidenceOptions = {},
): Evidence | undefined {
  const { nActive = 40, nNearMisses = 10, output, seed = 0 } = options;
  if (values.length !== text.tokens.length) {
    throw new ArgumentError(
      `gatherEvidence: expected ${text.tokens.length} values, got ${values.length}`,
    );
  }
  if (values.every((value) => value === values[0])) return undefined;
  const { active, hard, plain } = stratify(text.tokens, text.explain, values, threshold);
  if (active.length === 0) return undefined;
  const rng = createRng(seed + unit, 90);
  const nTop = Math.ceil(nActive / 2);
  const top = drawSome(active.slice(0, Math.max(nTop, Math.ceil(active.length / 10))), nTop, rng);
  const others = active.filter((window) => !top.includes(window));
  const chosen = [...top, ...spread(others, nActive - top.length)].sort(
    (a, b) => values[b.peak]! - values[a.peak]! || a.from - b.from,
  );
  const misses = drawSome(hard, nNearMisses, rng);
  misses.push(...drawSome(plain, nNearMisses - misses.length, rng));
  const highest = values[chosen[0]!.peak]!;
  const context = (window: MeasuredWindow) => evidenceContext(text, values, window, highest);
  return {
    unit,
    hook,
    index,
    active: chosen.map(context),
    nearMisses: misses.map(context),
    raises: output?.raises ?? [],
    lowers: output?.lowers ?? [],
  };
}

/** Which unit evidence is of, and above which value it counts as active. */
export interface UnitIdentity {
  readonly unit: number;
  readonly hook: string;
  readonly index: number;
  readonly threshold: number;
}

/** A unit of a census. */
export function unitIdentity(census: Census, unit: number): UnitIdentity {
  const { hook, index } = census.place(unit);
  return { unit, hook: hook.name, index, threshold: hook.threshold };
}

/**
 * A value as a level from 0 to 10: floor(10 max(0, value) / highest), as shown to explainers.
 *
 * @example
 * [-1, 0.99, 5, 10].map((value) => activationLevel(value, 10)) // => [0, 0, 5, 10]
 */
export function activationLevel(value: number, highest: number): number {
  return highest > 0 ? Math.min(10, Math.floor((10 * Math.max(0, value)) / highest)) : 0;
}

function evidenceContext(
  { tokens }: WindowText,
  values: Float32Array,
  { document, from, to, peak }: MeasuredWindow,
  highest: number,
): EvidenceContext {
  return {
    tokens: tokens.slice(from, to),
    levels: Array.from(values.subarray(from, to), (value) => activationLevel(value, highest)),
    value: values[peak]!,
    document,
  };
}
