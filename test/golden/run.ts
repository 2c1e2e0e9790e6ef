/**
 * Replays reference cases: `npm run golden -- <kind> <folder>`.
 *
 * Prints what every array differs by and, last, `N passed, M failed, K unmapped`. Exits 0, 1 if a case failed,
 * 2 if the command cannot be understood.
 */
import { PenfieldError } from "@penfield/core";
import { cases as encoding, notCompared } from "./encoding.ts";
import { type CaseReplay, casesOfManifest, type FoundCase, replay } from "./replay.ts";
import { casesOfSimilarity, similarityReplay } from "./similarity.ts";
import { mapRdm } from "./similarityRdm.ts";
import { mapXy } from "./similarityXy.ts";
import { casesOfMeasures, replayMeasure } from "./spikingMeasures.ts";
import { casesOfSimulator, replaySimulator } from "./spikingSimulator.ts";

const kinds: Record<
  string,
  {
    find: (folder: string) => FoundCase[];
    cases: Record<string, CaseReplay> | ((found: FoundCase) => CaseReplay | undefined);
  }
> = {
  encoding: { find: casesOfManifest, cases: encoding },
  similarity: { find: casesOfSimilarity, cases: similarityReplay([mapRdm, mapXy]) },
  spiking: {
    find: (folder) => [...casesOfSimulator(folder), ...casesOfMeasures(folder)],
    cases: (found) => replaySimulator(found) ?? replayMeasure(found),
  },
};

async function main(args: readonly string[]): Promise<number> {
  const [kindName = "", folder, ...rest] = args;
  const kind = Object.hasOwn(kinds, kindName) ? kinds[kindName] : undefined;
  if (!kind || folder === undefined || rest.length > 0) {
    console.error(
      `golden: expected <kind> <folder>, got ${args.length === 0 ? "nothing" : args.join(" ")}`,
    );
    console.error(`Kinds: ${Object.keys(kinds).join(", ")}.`);
    return 2;
  }
  const { passed, failed, unmapped, notJudged } = await replay(
    kind.find(folder),
    kind.cases,
    console.log,
    kindName === "encoding" ? notCompared : {},
  );
  if (notJudged) console.log(`${notJudged} not judged: their reference has no stable value`);
  console.log(`${passed} passed, ${failed} failed, ${unmapped} unmapped`);
  return failed > 0 ? 1 : 0;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  console.error((error as Error).message);
  if (error instanceof PenfieldError && error.hint) console.error(error.hint);
  process.exitCode = 2;
}
