import { DataError } from "@penfield/core";
import { openInput } from "./input.ts";
import { continuationTasks, minimalPairTasks, suiteTasks, textTasks } from "./taskLoaders.ts";

/** Which of two sentences does the model find likelier? */
export interface MinimalPairTask {
  readonly kind: "minimal-pairs";
  readonly id: string;
  readonly title: string;
  readonly items: readonly {
    readonly id: string;
    readonly good: string;
    readonly bad: string;
    /** What the phenomenon is counted under. */
    readonly group: string;
  }[];
}

/** Which of two continuations of a prompt does the model find likelier? The text is prompt + continuation. */
export interface ContinuationTask {
  readonly kind: "continuation";
  readonly id: string;
  readonly title: string;
  readonly items: readonly {
    readonly id: string;
    readonly prompt: string;
    readonly good: string;
    readonly bad: string;
  }[];
}

/** How well does the model predict running text? */
export interface TextTask {
  readonly kind: "text";
  readonly id: string;
  readonly title: string;
  readonly passages: readonly { readonly id: string; readonly text: string }[];
}

/** Do region surprisals stand to each other as predicted? */
export interface SuiteTask {
  readonly kind: "syntaxgym";
  readonly id: string;
  readonly title: string;
  readonly items: readonly {
    readonly id: string;
    readonly conditions: readonly {
      readonly name: string;
      /** In order; joined by single spaces they are the sentence. Some are empty. */
      readonly regions: readonly string[];
    }[];
  }[];
  /** Formulas over region surprisals; `evaluateSuite` computes them. */
  readonly predictions: readonly string[];
}

/** Something that a model can be right or wrong about. */
export type Task = MinimalPairTask | ContinuationTask | TextTask | SuiteTask;

/**
 * Reads tasks from a folder or a file: minimal pairs (BLiMP's keys; one task per file, also from a
 * zip), continuations (one per file), passages (one per file) and SyntaxGym suites (one per file).
 *
 * @param path - A folder, or one file.
 * @returns At least one task, in order of file name.
 * @throws {FileError} if it cannot be read.
 * @throws {DataError} with file and line: nothing in it, a missing key, an empty text, an id twice, or
 *   a stimulus set, which asks nothing.
 * @throws {FormatError} with file and line: broken JSON, a formula that cannot be read.
 */
export async function loadTasks(path: string): Promise<readonly Task[]> {
  const input = await openInput(path, "loadTasks");
  switch (input.loader) {
    case "blimp-jsonl":
      return minimalPairTasks(input);
    case "continuation-jsonl":
      return continuationTasks(input);
    case "text-jsonl":
      return textTasks(input);
    case "syntaxgym":
      return suiteTasks(input);
    default:
      throw new DataError(
        `loadTasks: ${path}: expected minimal pairs, continuations, passages or suites, got stimuli (${input.loader})`,
        { hint: "Stimuli have no right answer; read them with loadStimulusSet." },
      );
  }
}
