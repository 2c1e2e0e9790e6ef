import { runCommandLine } from "./commandLine.ts";

const interrupt = new AbortController();
// The first Ctrl-C stops the work and keeps what is finished; a second one ends the process at once.
process.once("SIGINT", () => {
  interrupt.abort();
  process.once("SIGINT", () => process.exit(130));
});
process.once("SIGTERM", () => interrupt.abort());
// A reader that closes the pipe (head) is no error.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
  throw error;
});

process.exitCode = await runCommandLine(process.argv.slice(2), {
  out: process.stdout,
  err: process.stderr,
  signal: interrupt.signal,
});
