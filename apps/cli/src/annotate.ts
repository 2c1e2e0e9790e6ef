import { basename } from "node:path";
import type { LongWork } from "@penfield/core";
import { partOfSpeechLabels } from "@penfield/describe";
import type { HookedModel } from "@penfield/hooks";
import {
  type Census,
  censusBlocks,
  classifyUnits,
  compareUnits,
  outputRoles,
  unitFacets,
  weightStatistics,
} from "@penfield/localize";
import {
  openUnitNotes,
  type UnitFacets,
  type UnitNeighbours,
  type UnitWeights,
  writeUnitNotes,
} from "@penfield/localize/census-reader";

type Classes = Awaited<ReturnType<typeof classifyUnits>>;

/** Writes what the viewer shows beside a census' own numbers: what kind each unit is, and what its weights say. */
export async function annotateCensus(census: Census, model: HookedModel): Promise<Classes> {
  const classes = await classifyUnits(census, { labels: [await partOfSpeechLabels(census)] });
  await writeUnitNotes(census.folder, "classes", classes);
  if (neuronLayers(census).length > 0) {
    await writeUnitNotes(census.folder, "weights", await weights(census, model));
  }
  return classes;
}

/** The layers whose MLP neurons a census counts. */
export const neuronLayers = (census: Census): number[] =>
  census.meta.hooks.flatMap(({ name, layer }) =>
    layer !== null && name === `blocks.${layer}.mlp.hook_post` ? [layer] : [],
  );

async function weights(census: Census, model: HookedModel): Promise<UnitWeights[]> {
  const layers = await weightStatistics(model, { layers: neuronLayers(census) });
  return layers.flatMap((layer) => {
    const { firstUnit } = census.hook(`blocks.${layer.layer}.mlp.hook_post`);
    const roles = outputRoles(layer, model.cfg.nLayers);
    const pairs = (tokens: Int32Array, scores: Float32Array, unit: number) =>
      Array.from({ length: layer.nTokens }, (_, i) => {
        const at = unit * layer.nTokens + i;
        return [tokens[at]!, scores[at]!] as const;
      });
    return Array.from(
      { length: layer.nUnits },
      (_, unit): UnitWeights => ({
        unit: firstUnit + unit,
        inNorm: layer.inNorm[unit]!,
        outNorm: layer.outNorm[unit]!,
        cosInOut: layer.cosInOut[unit]!,
        vocabularyVariance: layer.vocabularyVariance[unit]!,
        vocabularySkewness: layer.vocabularySkewness[unit]!,
        vocabularyKurtosis: layer.vocabularyKurtosis[unit]!,
        role: roles[unit] ?? null,
        top: pairs(layer.topTokens, layer.topScores, unit),
        bottom: pairs(layer.bottomTokens, layer.bottomScores, unit),
      }),
    );
  });
}

/** Writes the kinds of contexts of some units; notes on other units stay. */
export async function writeFacets(
  census: Census,
  units: readonly number[],
  work: LongWork,
): Promise<void> {
  const found = await unitFacets(census, { ...work, units });
  const old = await openUnitNotes(census.folder, "facets", census.nUnits);
  const own = new Set(units);
  const kept: UnitFacets[] = [];
  for (let unit = 0; old && unit < census.nUnits; unit++) {
    const note = own.has(unit) ? undefined : await old.read(unit);
    if (note !== undefined) kept.push(note as UnitFacets);
  }
  await old?.close();
  await writeUnitNotes(
    census.folder,
    "facets",
    [...kept, ...found].sort((a, b) => a.unit - b.unit),
  );
}

/** Neighbours that a unit keeps in the other census. */
const MOST_NEIGHBOURS = 5;

/** Of two censuses of the same documents: each unit's most alike one in the other, written into both. */
export async function writeNeighbours(a: Census, b: Census): Promise<{ universal: number }> {
  const { match, correlation, orthogonalExcess } = await compareUnits(
    censusBlocks(a),
    censusBlocks(b),
  );
  const [here, there] = [a, b].map(({ folder }) => basename(folder)) as [string, string];
  const back = new Map<number, UnitNeighbours["neighbours"][number][]>();
  const own = Array.from(match, (unit, i): UnitNeighbours => {
    const r = correlation[i]!;
    back.set(unit, [...(back.get(unit) ?? []), { by: "activation", census: here, unit: i, r }]);
    return { unit: i, neighbours: [{ by: "activation", census: there, unit, r }] };
  });
  await writeUnitNotes(a.folder, "neighbours", own);
  await writeUnitNotes(
    b.folder,
    "neighbours",
    [...back].map(([unit, list]): UnitNeighbours => {
      return { unit, neighbours: list.sort((x, y) => y.r - x.r).slice(0, MOST_NEIGHBOURS) };
    }),
  );
  const above = orthogonalExcess.reduce((n, excess) => n + (excess > 0.5 ? 1 : 0), 0);
  return { universal: above / match.length };
}
