import {
  concatRdms,
  geodesicRdms,
  geotopologicalRdms,
  minmaxRdms,
  positiveRdms,
  type Rdms,
  rankRdms,
  sqrtRdms,
  takeRdms,
} from "@penfield/compare";
import { DataError, UsageError } from "@penfield/core";
import { choiceOption, type Values } from "../options.ts";

type PlainName = "rank" | "sqrt" | "positive" | "min-max" | "geodesic";

const plain: Readonly<Record<PlainName, (from: Rdms) => Rdms>> = {
  rank: rankRdms,
  sqrt: sqrtRdms,
  positive: positiveRdms,
  "min-max": minmaxRdms,
  geodesic: (from) => geodesicRdms(from),
};

/** What `--transform` names. */
const transformNames = [...(Object.keys(plain) as PlainName[]), "geo-topological"] as const;

/** A change of dissimilarities, of each RDM by itself. */
export type RdmTransform =
  | { readonly name: PlainName }
  | { readonly name: "geo-topological"; readonly low: number; readonly high: number };

/** What `--transform` and `--quantiles` say, in the order in which it is done. */
export function readTransforms(values: Values): readonly RdmTransform[] {
  const text = values["transform"] as string | undefined;
  const names = (text?.split(",") ?? []).map(
    (name) => choiceOption({ transform: name.trim() }, "transform", transformNames)!,
  );
  const quantiles = values["quantiles"] as string | undefined;
  if (quantiles !== undefined && !names.includes("geo-topological")) {
    throw new UsageError(
      `--quantiles: expected --transform geo-topological beside it, got ${text ?? "none"}`,
    );
  }
  const [low, high] = readQuantiles(quantiles ?? "0.2,0.8");
  return names.map((name) => (name === "geo-topological" ? { name, low, high } : { name }));
}

function readQuantiles(text: string): readonly [number, number] {
  const parts = text.split(",").map((part) => (part.trim() === "" ? Number.NaN : Number(part)));
  const [low = Number.NaN, high = Number.NaN] = parts;
  if (parts.length !== 2 || !(low >= 0 && low < high && high <= 1)) {
    throw new UsageError(
      `--quantiles: expected LOW,HIGH with 0 <= LOW < HIGH <= 1, got ${JSON.stringify(text)}`,
      {
        hint: "--quantiles 0.2,0.8 takes the nearest fifth for equal and the farthest for equally far.",
      },
    );
  }
  return [low, high];
}

/** Transforms in words, for reports: "rank, geo-topological (quantiles 0.2 and 0.8)"; null for none. */
export const transformTitle = (steps: readonly RdmTransform[]): string | null =>
  steps
    .map((step) =>
      step.name === "geo-topological"
        ? `${step.name} (quantiles ${step.low} and ${step.high})`
        : step.name,
    )
    .join(", ") || null;

/** Every RDM transformed by itself; one that cannot be is refused. */
export const transformed = (from: Rdms, steps: readonly RdmTransform[]): Rdms =>
  steps.length === 0 ? from : eachOf(from, (one) => steps.reduce(changed, one));

/** The same for RDMs at many places: those that cannot be transformed are undefined. */
export const transformedAtPlaces = (from: Rdms, steps: readonly RdmTransform[]): Rdms =>
  steps.length === 0
    ? from
    : eachOf(from, (one) => {
        try {
          return steps.reduce(changed, one);
        } catch (cause) {
          if (!(cause instanceof DataError)) throw cause;
          return { ...one, data: one.data.map(() => Number.NaN) };
        }
      });

const eachOf = (from: Rdms, change: (one: Rdms) => Rdms): Rdms =>
  concatRdms(Array.from({ length: from.nRdms }, (_, k) => change(takeRdms(from, [k]))));

/** One RDM after one step. What a comparison could only take for missing pairs is refused. */
function changed(one: Rdms, step: RdmTransform): Rdms {
  const where = `rsa: --transform ${step.name}: ${one.names[0]}`;
  const present = one.data.filter((v) => !Number.isNaN(v));
  const nAbsent = one.nPairs - present.length;
  const scales = step.name !== "rank" && step.name !== "sqrt" && step.name !== "positive";
  if (step.name === "geodesic" && nAbsent > 0) {
    throw new DataError(
      `${where}: expected a dissimilarity of every pair, got ${nAbsent} of ${one.nPairs} undefined`,
      { hint: "Leave out the conditions that lack them." },
    );
  }
  if (scales && present.every((v) => v === present[0])) {
    throw new DataError(
      `${where}: expected dissimilarities that vary, got ${present[0] ?? "none"}${present.length > 0 ? " for every pair" : ""}`,
    );
  }
  if (step.name === "geo-topological") {
    try {
      return geotopologicalRdms(one, step.low, step.high);
    } catch (cause) {
      if (!(cause instanceof DataError)) throw cause;
      throw new DataError(`${where}: ${cause.message.replace(/^geotopologicalRdms: /, "")}`, {
        hint: "Many of its dissimilarities are equal: take quantiles farther apart, such as --quantiles 0,1.",
        cause,
      });
    }
  }
  const out = plain[step.name](one);
  const apart = out.data.filter((v) => v === Number.POSITIVE_INFINITY).length;
  if (apart > 0) {
    throw new DataError(
      `${where}: expected a path between all conditions, got none for ${apart} of ${one.nPairs} pairs`,
      {
        hint: "Paths go along all pairs but the farthest. A model of two values falls apart: leave it out, or use --transform geo-topological.",
      },
    );
  }
  return out;
}
