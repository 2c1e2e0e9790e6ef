import { Worker } from "node:worker_threads";
import { ArgumentError } from "@penfield/core";
import { Busy } from "../answers.ts";

/** A pattern that takes longer over so many texts is stopped: it is stuck. */
const MILLISECONDS = 500;
const SLICE = 2000;
/** A pattern that goes on, but takes longer over all texts, is stopped too. A busy machine makes a good pattern slow. */
const MILLISECONDS_ALL = 2000;
/** Patterns that wait for their turn; more are turned away. */
const MAX_WAITING = 8;
/** A thread without work ends, and gives back its memory. */
const IDLE_MILLISECONDS = 60_000;

/**
 * The thread's program, as text: it is the same whether the viewer runs from source or from its build. The thread keeps the texts; the engine
 * stops a pattern there (`vm` with a timeout), so that neither the texts nor other requests are lost. Names of a context are slow to look
 * up: the loop has them as its own.
 */
const PROGRAM = `
const { parentPort } = require("node:worker_threads");
const { createContext, Script } = require("node:vm");
const script = new Script("(function (pattern, texts, out, from, to) { for (let i = from; i < to; i++) if (texts[i] !== '' && pattern.test(texts[i])) out[i] = 1; })(pattern, texts, out, from, to)");
const lists = new Map();
parentPort.on("message", ({ id, list, texts, source, flags, forget, timeout, slice, all }) => {
  if (forget !== undefined) return void lists.delete(forget);
  if (texts) lists.set(list, texts);
  const known = lists.get(list);
  const out = new Uint8Array(known.length);
  try {
    const around = createContext({ pattern: new RegExp(source, flags), texts: known, out, from: 0, to: 0 });
    const end = performance.now() + all;
    for (let from = 0; from < known.length; from += slice) {
      if (performance.now() > end) throw new Error("late");
      around.from = from;
      around.to = Math.min(known.length, from + slice);
      script.runInContext(around, { timeout });
    }
    parentPort.postMessage({ id, out }, [out.buffer]);
  } catch {
    parentPort.postMessage({ id });
  }
});
`;

interface Waiting {
  readonly resolve: (out: Uint8Array | undefined) => void;
}

/** Tries regular expressions on many texts, on a thread of its own that starts with the first one: a hostile pattern keeps nobody else waiting. */
export class PatternThread {
  #worker: Worker | undefined;
  #idle: NodeJS.Timeout | undefined;
  #next = 0;
  readonly #waiting = new Map<number, Waiting>();
  /** The lists that the thread has, by number. */
  readonly #lists = new Map<readonly string[], number>();

  /**
   * Which texts a regular expression is found in, capitals or not: 1 for each that it is found in. JavaScript's own patterns. The empty
   * text fits no pattern.
   *
   * @param texts - Sent to the thread once; the same array must hold the same texts.
   * @throws {ArgumentError} for what is not a pattern, takes longer than half a second over 2000 texts, or two seconds over all.
   * @throws {Busy} if too many patterns wait.
   */
  async match(source: string, texts: readonly string[]): Promise<Uint8Array> {
    // Classes such as \p{L} need the slower kind.
    const flags = /\\[pP]\{/.test(source) ? "iu" : "i";
    try {
      new RegExp(source, flags);
    } catch (cause) {
      throw new ArgumentError(`This is not a regular expression: ${(cause as Error).message}`, {
        cause,
      });
    }
    if (this.#waiting.size >= MAX_WAITING) {
      throw new Busy("Other patterns are being tried. Try again in a moment.");
    }
    const out = await this.#ask(source, flags, texts);
    if (out) return out;
    throw new ArgumentError(
      `The pattern was stopped: it took more than ${MILLISECONDS} ms over ${SLICE} texts, or ${MILLISECONDS_ALL} ms over all. It tries too many ways to fit.`,
      { hint: "Leave out a repetition inside a repetition, as in (a+)+." },
    );
  }

  /** Texts that nobody will ask for any more. */
  forget(texts: readonly string[]): void {
    const list = this.#lists.get(texts);
    if (list === undefined) return;
    this.#lists.delete(texts);
    this.#worker?.postMessage({ forget: list });
  }

  #ask(source: string, flags: string, texts: readonly string[]): Promise<Uint8Array | undefined> {
    clearTimeout(this.#idle);
    const worker = this.#start();
    const known = this.#lists.get(texts);
    const list = known ?? ++this.#next;
    this.#lists.set(texts, list);
    const id = ++this.#next;
    return new Promise((resolve) => {
      this.#waiting.set(id, { resolve });
      worker.postMessage({
        ...{ id, list, source, flags },
        ...{ timeout: MILLISECONDS, slice: SLICE, all: MILLISECONDS_ALL },
        ...(known === undefined && { texts }),
      });
    });
  }

  #start(): Worker {
    if (this.#worker) return this.#worker;
    const worker = new Worker(PROGRAM, {
      eval: true,
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: 256 },
    });
    // It must not keep the process alive, nor end it.
    worker.unref();
    worker.on("error", () => {});
    worker.on("message", ({ id, out }: { id: number; out?: Uint8Array }) => {
      this.#waiting.get(id)?.resolve(out);
      this.#waiting.delete(id);
      if (this.#waiting.size > 0) return;
      this.#idle = setTimeout(() => {
        // What is asked from now on goes to a new thread, not to one that is ending.
        this.#worker = undefined;
        this.#lists.clear();
        void worker.terminate();
      }, IDLE_MILLISECONDS).unref();
    });
    worker.on("exit", () => {
      if (this.#worker !== worker) return;
      this.#worker = undefined;
      this.#lists.clear();
      for (const { resolve } of this.#waiting.values()) resolve(undefined);
      this.#waiting.clear();
    });
    this.#worker = worker;
    return worker;
  }
}
