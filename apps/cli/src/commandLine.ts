import { createRequire } from "node:module";
import { PenfieldError, UsageError } from "@penfield/core";
import { commands } from "./commands.ts";
import { overview } from "./help.ts";
import type { Surroundings } from "./surroundings.ts";

/**
 * Runs one command and turns what it throws into an error message.
 *
 * @returns The exit code: 0 done, 1 failed, 2 the command could not be understood.
 */
export async function runCommandLine(
  args: readonly string[],
  io: Surroundings,
): Promise<0 | 1 | 2> {
  const [verb, ...rest] = args;
  const asJson = args.includes("--json");
  try {
    const asked = rest.some((word) => word === "--help" || word === "-h");
    if (verb === undefined || verb === "--help" || verb === "-h") {
      io.out.write(overview());
      return verb === undefined ? 2 : 0;
    }
    if (verb === "--version") {
      const { version } = createRequire(import.meta.url)("../package.json") as { version: string };
      io.out.write(`${version}\n`);
      return 0;
    }
    const command = Object.hasOwn(commands, verb) ? commands[verb] : undefined;
    if (!command) {
      throw new UsageError(
        `expected a verb (${Object.keys(commands).join(", ")}), got ${JSON.stringify(verb)}`,
        {
          hint: "Run penfield help.",
        },
      );
    }
    await (asked ? commands["help"]!([verb], io) : command(rest, io));
    return 0;
  } catch (error) {
    const known = error instanceof PenfieldError;
    const code = known ? error.code : "ERR_UNEXPECTED";
    const message = error instanceof Error ? error.message : String(error);
    const hint = known
      ? error.hint
      : "This is a fault of Penfield; please report it with the command that led to it.";
    if (asJson)
      io.err.write(`${JSON.stringify({ error: { code, message, hint: hint ?? null } })}\n`);
    else {
      io.err.write(`Error: ${message}\n`);
      if (hint) io.err.write(`Hint: ${hint}\n`);
      io.err.write(`Code: ${code}\n`);
      if (!known && error instanceof Error) io.err.write(`${error.stack}\n`);
    }
    return error instanceof UsageError ? 2 : 1;
  }
}
