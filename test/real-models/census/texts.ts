// The corpus of docs/results/census-smollm2.md: the texts that ship with Penfield, and the published ones beside the checkout.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { loadStimulusSet, type Stimulus } from "@penfield/recordings";

export interface CorpusText {
  /** `set/group/id`: texts of one group were made together. */
  readonly id: string;
  readonly text: string;
}

/** Of each paradigm of BLiMP as many of its 1000 grammatical sentences. */
const PER_PARADIGM = 40;

/**
 * Texts of some sets, those that are not there left out. Of pairs the grammatical or right one alone. All texts of one template
 * (a paradigm, a task), and all sentences about one concept, are one group.
 */
export async function corpusTexts(corpora: string, data: string): Promise<CorpusText[]> {
  const sets: readonly (readonly [name: string, path: string, groupColumn?: string])[] = [
    ["prose", join(corpora, "prose")],
    ["control-tasks", join(corpora, "control-tasks"), "task"],
    ["minimal-pairs", join(corpora, "minimal-pairs"), "task"],
    ["language-localizer", join(corpora, "language-localizer")],
    ["theory-of-mind", join(corpora, "theory-of-mind")],
    ["pereira180", join(data, "stimuli", "pereira180", "screen_sentences.csv"), "concept"],
    ["langloc", join(data, "stimuli", "langloc")],
    ["tom_localizer", join(data, "stimuli", "tom_localizer", "raw_english_item_textfiles.zip")],
    ["blimp", join(data, "stimuli", "blimp", "BLiMP.zip"), "task"],
  ];
  const texts: CorpusText[] = [];
  for (const [name, path, groupColumn] of sets) {
    if (!existsSync(path)) continue;
    const { stimuli } = await loadStimulusSet(path);
    const kept = stimuli.filter(({ condition }) => condition !== "bad");
    const chosen = name === "blimp" ? firstOfEach(kept, PER_PARADIGM) : kept;
    for (const { id, text, columns } of chosen) {
      texts.push({ id: `${name}/${columns[groupColumn ?? ""] ?? id}/${id}`, text });
    }
  }
  return texts;
}

/** The name of a text's group. */
export const groupOf = (id: string): string => id.split("/").slice(0, 2).join("/");

/** Their sentences are in random order as published. */
function firstOfEach(stimuli: readonly Stimulus[], n: number): Stimulus[] {
  const taken = new Map<string, number>();
  return stimuli.filter(({ columns }) => {
    const task = columns["task"]!;
    const before = taken.get(task) ?? 0;
    taken.set(task, before + 1);
    return before < n;
  });
}
