/**
 * Censuses of the two organisms with everything that the viewer shows: classes, descriptions, weights, and neighbours in the other
 * model. For looking at the viewer, and for the pictures in docs/images:
 *
 *   node --import tsx --conditions=@penfield/source test/bench/viewerOrganisms.ts FOLDER [--every N]
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { describeUnits } from "@penfield/describe";
import { HookedModel } from "@penfield/hooks";
import {
  type Census,
  censusBlocks,
  classifyUnits,
  compareUnits,
  modelSource,
  outputRoles,
  takeCensus,
  weightStatistics,
} from "@penfield/localize";
import {
  type UnitNeighbours,
  type UnitWeights,
  writeUnitNotes,
} from "@penfield/localize/census-reader";
import { organismFolder } from "@penfield/organisms";

const { values, positionals } = parseArgs({
  options: { every: { type: "string", default: "1" } },
  allowPositionals: true,
});
const folder = positionals[0] ?? "reports";
const organisms = ["organism-a", "organism-b"] as const;
const nameOf = (organism: string): string => `census-${organism}`;
const corpora = fileURLToPath(new URL("../../corpora", import.meta.url));

/** Texts that ship with Penfield: passages, and the good sentences of the minimal pairs. */
function texts(): { id: string; text: string }[] {
  const lines = (path: string) => readFileSync(join(corpora, path), "utf8").trim().split("\n");
  return [
    ...lines("prose/passages.jsonl").map(
      (line) => JSON.parse(line) as { id: string; text: string },
    ),
    ...lines("language-localizer/stimuli.tsv")
      .slice(1)
      .map((line) => line.split("\t"))
      .map(([id, , text]) => ({ id: id!, text: text! })),
  ];
}

const say = (text: string): void => void process.stderr.write(`${text}\n`);

async function makeCensus(organism: (typeof organisms)[number]): Promise<Census> {
  const model = await HookedModel.fromPretrained(organismFolder(organism), { verify: "none" });
  const tokenizer = model.requireTokenizer();
  const documents = texts().map(({ id, text }) => ({
    id,
    tokens: tokenizer.encode(text, { prependBos: true, maxTokens: 256 }),
  }));
  const census = await takeCensus(modelSource(model), documents, join(folder, nameOf(organism)));
  say(`${organism}: ${census.nUnits} units, ${census.meta.nTokens} tokens`);
  const weights = await weightStatistics(model);
  await writeUnitNotes(
    census.folder,
    "weights",
    weights.flatMap((layer) => {
      const hook = census.hook(`blocks.${layer.layer}.mlp.hook_post`);
      const roles = outputRoles(layer, model.cfg.nLayers);
      const pairs = (tokens: Int32Array, scores: Float32Array, unit: number) =>
        Array.from({ length: layer.nTokens }, (_, i) => {
          const at = unit * layer.nTokens + i;
          return [tokens[at]!, scores[at]!] as const;
        });
      return Array.from(
        { length: layer.nUnits },
        (_, unit): UnitWeights => ({
          unit: hook.firstUnit + unit,
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
    }),
  );
  await model.dispose();
  await writeUnitNotes(census.folder, "classes", await classifyUnits(census));
  say(`${organism}: sorted`);
  return census;
}

const censuses: Census[] = [];
for (const organism of organisms) censuses.push(await makeCensus(organism));
const [a, b] = censuses as [Census, Census];

const found = await compareUnits(censusBlocks(a), censusBlocks(b));
const neighboursOf = new Map<Census, Map<number, UnitNeighbours["neighbours"][number][]>>([
  [a, new Map()],
  [b, new Map()],
]);
found.match.forEach((unit, i) => {
  const r = found.correlation[i]!;
  neighboursOf.get(a)!.set(i, [{ by: "activation", census: nameOf(organisms[1]), unit, r }]);
  const back = neighboursOf.get(b)!;
  const list = back.get(unit) ?? [];
  list.push({ by: "activation", census: nameOf(organisms[0]), unit: i, r });
  back.set(unit, list);
});
for (const [census, byUnit] of neighboursOf) {
  await writeUnitNotes(
    census.folder,
    "neighbours",
    [...byUnit].map(
      ([unit, neighbours]): UnitNeighbours => ({
        unit,
        neighbours: neighbours.sort((x, y) => y.r - x.r).slice(0, 5),
      }),
    ),
  );
}
say("compared");

for (const census of censuses) {
  const units = Array.from({ length: census.nUnits }, (_, i) => i).filter(
    (i) => i % Number(values.every) === 0,
  );
  const { units: described } = await describeUnits(census, { units, folder: census.folder });
  const n = described.filter(({ refusal }) => refusal === undefined).length;
  say(`${census.meta.model.name}: ${n} of ${units.length} units have a description`);
  await census.close();
}
