import { runCommandLine } from "./commandLine.ts";

/** Runs one command for a test and keeps what it writes. */
export async function penfield(
  words: readonly string[],
  signal: AbortSignal = new AbortController().signal,
): Promise<{ readonly code: number; readonly out: string; readonly err: string }> {
  let out = "";
  let err = "";
  const code = await runCommandLine(words, {
    out: { write: (text) => (out += text) },
    err: { write: (text) => (err += text) },
    signal,
  });
  return { code, out, err };
}
