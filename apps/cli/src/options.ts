import { type ParseArgsConfig, parseArgs } from "node:util";
import { UsageError } from "@penfield/core";

export type Options = NonNullable<ParseArgsConfig["options"]>;
export type Values = Record<string, string | boolean | (string | boolean)[] | undefined>;

/** Reads a command's words; a wrong one is a usage error that names it. */
export function readWords(
  args: readonly string[],
  options: Options,
): { values: Values; positionals: string[] } {
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true, strict: true });
  } catch (cause) {
    const message = (cause as Error).message.split(". ")[0]!.replace(/\.$/, "");
    throw new UsageError(message, { hint: "penfield <verb> --help lists the options.", cause });
  }
}

/** Refuses words that are no options. */
export function refuseWords(verb: string, words: readonly string[], hint: string): void {
  if (words.length === 0) return;
  throw new UsageError(`${verb}: expected options only, got ${JSON.stringify(words[0])}`, { hint });
}

/** A number within bounds; undefined if the option is not given. */
export function numberOption(
  values: Values,
  name: string,
  {
    whole = false,
    min = 0,
    max = Number.MAX_SAFE_INTEGER,
  }: { whole?: boolean; min?: number; max?: number } = {},
): number | undefined {
  const text = values[name];
  if (text === undefined) return undefined;
  const value = Number(text);
  if (
    String(text).trim() === "" ||
    !Number.isFinite(value) ||
    value < min ||
    value > max ||
    (whole && !Number.isInteger(value))
  ) {
    throw new UsageError(
      `--${name}: expected a ${whole ? "whole " : ""}number from ${min} to ${max}, got ${JSON.stringify(text)}`,
    );
  }
  return value;
}

/** One of some words; undefined if the option is not given. */
export function choiceOption<T extends string>(
  values: Values,
  name: string,
  choices: readonly T[],
): T | undefined {
  const text = values[name];
  if (text === undefined) return undefined;
  const found = choices.find((choice) => choice === text);
  if (found) return found;
  throw new UsageError(`--${name}: expected ${choices.join(", ")}, got ${JSON.stringify(text)}`);
}
