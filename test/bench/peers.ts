import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

/** Python programs that do the same jobs, in a process of their own: one job a line, one answer a line. */
export interface Peers<Answer> {
  /** Versions of what is measured. */
  readonly about: Readonly<Record<string, string>>;
  ask(job: Readonly<Record<string, unknown>>): Promise<Answer>;
  close(): void;
}

/** A Python process that answers one line with one line. */
export interface PeerProcess<About, Answer> {
  readonly about: About;
  readonly pid: number;
  ask(job: Readonly<Record<string, unknown>>): Promise<Answer>;
  close(): void;
}

/** Starts a Python program, whose first line says what it is; its last words if it says none. */
export async function startPython<About, Answer>(
  python: string,
  script: string,
  args: readonly string[],
): Promise<PeerProcess<About, Answer> | string> {
  const child = spawn(python, [script, ...args]);
  let errors = "";
  child.stderr.on("data", (chunk) => {
    errors = `${errors}${chunk}`.slice(-2000);
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const failed = new Promise<undefined>((resolve) => {
    child.on("error", () => resolve(undefined));
    child.on("close", () => resolve(undefined));
  });
  const answer = async (): Promise<string | undefined> =>
    (await Promise.race([lines.next(), failed]))?.value;
  const first = await answer();
  if (first === undefined) return errors.trim().split("\n").at(-1) ?? "";
  return {
    about: JSON.parse(first),
    pid: child.pid!,
    async ask(job) {
      child.stdin.write(`${JSON.stringify(job)}\n`);
      const line = await answer();
      if (line === undefined) throw new Error(`the peer stopped: ${errors}`);
      return JSON.parse(line);
    },
    close: () => child.stdin.end(),
  };
}

/**
 * Starts them; undefined, and a line that says so, where this Python lacks what they need.
 *
 * @param script - The Python program.
 * @param folder - Where inputs are written and results are found.
 */
export async function startPeers<Answer>(
  python: string,
  script: string,
  folder: string,
  threads: number,
): Promise<Peers<Answer> | undefined> {
  const peers = await startPython<Peers<Answer>["about"], Answer>(python, script, [
    folder,
    String(threads),
  ]);
  if (typeof peers !== "string") return peers;
  console.log(`The peers are left out: ${peers || python}`);
  return undefined;
}
