import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { createRequire } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";
import { ArgumentError, InterruptedError, ModelError, type OnProgress } from "@penfield/core";
import {
  type Description,
  type FromChild,
  type Method,
  type OpenCommand,
  type ToChild,
  unpackError,
} from "./messages.ts";

/** Last words of a process that are worth keeping. */
const LAST_WORDS = 2000;

/** Where the child's program lies, and how it is run: beside this file, as source or compiled. */
function program(): { path: string; execArgv: string[] } {
  const source = fileURLToPath(new URL("./child.ts", import.meta.url));
  if (import.meta.url.endsWith(".js")) return { path: source.replace(/ts$/, "js"), execArgv: [] };
  const loader = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
  return { path: source, execArgv: ["--import", loader, "--conditions=@penfield/source"] };
}

/** What became of a process, in words. */
function describeEnd(code: number | null, signal: string | null, lastWords: string): ModelError {
  const words = lastWords.trim();
  const memory = signal === "SIGKILL" || /out of memory|bad_alloc/i.test(words);
  const reason = memory
    ? "It was ended from outside, or memory ran out: smaller batches need less."
    : signal === null
      ? `Its last words: ${words.split("\n").at(-1) || "none"}.`
      : "The runtime crashed in it.";
  return new ModelError(
    `run: expected an answer of the model's process, got its end by ${signal ?? `exit code ${code}`}`,
    {
      hint: `${reason} The next call starts a new process.`,
      ...(words === "" ? {} : { cause: new Error(words) }),
    },
  );
}

interface Pending {
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

/** One child process with one model in it. */
class Child {
  alive = true;
  /** Ended by us, on purpose. */
  wasKilled = false;
  readonly #ended: Promise<void>;
  readonly #process: ChildProcess;
  readonly #onProgress: OnProgress | undefined;
  #pending: Pending | undefined;
  #nextId = 0;

  constructor(onProgress: OnProgress | undefined) {
    this.#onProgress = onProgress;
    const { path, execArgv } = program();
    this.#process = fork(path, [], {
      execArgv,
      serialization: "advanced",
      stdio: ["ignore", "ignore", "pipe", "ipc"],
    });
    let lastWords = "";
    const stderr = this.#process.stderr!;
    stderr.setEncoding("utf8").on("data", (words: string) => {
      lastWords = (lastWords + words).slice(-LAST_WORDS);
    });
    this.#process.on("message", (message: FromChild) => this.#receive(message));
    this.#ended = new Promise((resolve) => {
      const end = (error: ModelError) => {
        this.alive = false;
        this.#settle()?.reject(error);
        resolve();
      };
      // Not "close": it does not come after a disconnection from this side.
      this.#process.once("exit", async (code, signal) => {
        this.alive = false;
        if (!stderr.closed) await once(stderr, "close");
        end(describeEnd(code, signal, lastWords));
      });
      this.#process.on("error", (cause) => {
        // Also "could not be killed" and "could not be sent"; then it still lives.
        if (this.#process.pid !== undefined) return;
        end(new ModelError(`run: the model's process could not be started: ${cause}`, { cause }));
      });
    });
  }

  get pid(): number | undefined {
    return this.#process.pid;
  }

  /** Sends one message and waits for its answer; one at a time. */
  ask(
    message: { open: OpenCommand } | { method: Method; args: readonly unknown[] },
  ): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#pending = { resolve, reject };
      this.#hold(true);
      const numbered: ToChild = { id: ++this.#nextId, ...message };
      try {
        this.#process.send(numbered, (cause) => {
          // A process that has ended says so by its end, with the reason.
          if (cause && this.alive && this.#process.connected) this.#settle()?.reject(cause);
        });
      } catch (cause) {
        this.#settle()?.reject(
          new ArgumentError(
            `run: expected a request of plain data and arrays, got what cannot be sent to another process: ${(cause as Error).message}`,
            { hint: "Functions cannot be part of a request to an isolated model.", cause },
          ),
        );
      }
    });
  }

  kill(): void {
    this.alive = false;
    this.wasKilled = true;
    this.#process.kill("SIGKILL");
  }

  /** Lets it end by itself. */
  release(): void {
    this.alive = false;
    this.wasKilled = true;
    if (this.#process.connected) this.#process.disconnect();
  }

  /** Waits for its end, and keeps this process from ending meanwhile. */
  async gone(): Promise<void> {
    this.#hold(true);
    await this.#ended;
  }

  #receive(message: FromChild): void {
    if (message.id !== this.#nextId) return;
    if ("progress" in message) this.#onProgress?.(message.progress);
    else if ("error" in message) this.#settle()?.reject(unpackError(message.error));
    else this.#settle()?.resolve(message.value);
  }

  #settle(): Pending | undefined {
    const pending = this.#pending;
    this.#pending = undefined;
    this.#hold(false);
    return pending;
  }

  /** A child that has nothing to do must not keep this process from ending. */
  #hold(on: boolean): void {
    const verb = on ? "ref" : "unref";
    this.#process[verb]();
    this.#process.channel?.[verb]();
    (this.#process.stderr as { ref?(): void; unref?(): void } | null)?.[verb]?.();
  }
}

interface Job extends Pending {
  readonly method: Method | "open";
  readonly args: readonly unknown[];
}

/** A model's process that is started when needed and again after its end; requests wait in line. */
export class ModelProcess {
  readonly #command: OpenCommand;
  readonly #onProgress: OnProgress | undefined;
  readonly #queue: Job[] = [];
  #running: Job | undefined;
  #child: Child | undefined;
  #description: Description | undefined;
  #disposed = false;

  constructor(command: OpenCommand, onProgress: OnProgress | undefined) {
    this.#command = command;
    this.#onProgress = onProgress;
  }

  get pid(): number | undefined {
    return this.#child?.alive ? this.#child.pid : undefined;
  }

  /** Starts the process and opens the model. */
  async open(signal: AbortSignal | undefined): Promise<Description> {
    await this.request("open", [], signal);
    return this.#description!;
  }

  /** Has something done in the process. Requests are carried out one after the other. */
  request(
    method: Method | "open",
    args: readonly unknown[],
    signal: AbortSignal | undefined,
  ): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const stop = () => {
        reject(
          new InterruptedError(`${method}: interrupted`, {
            hint: "The process that was at work has been ended; the next call starts a new one.",
          }),
        );
        const waiting = this.#queue.indexOf(job);
        if (waiting >= 0) this.#queue.splice(waiting, 1);
        else if (this.#running === job) this.#child?.kill();
      };
      const done = <T>(settle: (value: T) => void) => {
        return (value: T) => {
          signal?.removeEventListener("abort", stop);
          settle(value);
        };
      };
      const job: Job = { method, args, resolve: done(resolve), reject: done(reject) };
      if (this.#disposed) reject(disposed(method));
      else if (signal?.aborted) stop();
      else {
        signal?.addEventListener("abort", stop, { once: true });
        this.#queue.push(job);
        void this.#work();
      }
    });
  }

  /** Ends the process; what is under way is rejected. */
  async dispose(): Promise<void> {
    this.#disposed = true;
    const waiting = this.#queue.splice(0);
    for (const job of [...(this.#running ? [this.#running] : []), ...waiting]) {
      job.reject(disposed(job.method));
    }
    const child = this.#child;
    if (!child) return;
    if (this.#running) child.kill();
    else child.release();
    await child.gone();
  }

  async #work(): Promise<void> {
    if (this.#running) return;
    const job = this.#queue.shift();
    if (!job) return;
    this.#running = job;
    try {
      const child = await this.#ready();
      const { method, args } = job;
      // Undefined for "open": the process is ready, that is all.
      job.resolve(method === "open" ? undefined : await child.ask({ method, args }));
    } catch (error) {
      job.reject(error);
      // Who waits behind a crash learns of it, and decides; who waits behind a stopped run goes on.
      if (this.#child && !this.#child.alive && !this.#child.wasKilled) {
        for (const other of this.#queue.splice(0)) other.reject(error);
      }
    } finally {
      this.#running = undefined;
      void this.#work();
    }
  }

  /** The process with its model opened. */
  async #ready(): Promise<Child> {
    if (this.#child?.alive) return this.#child;
    const child = new Child(this.#onProgress);
    this.#child = child;
    const first = this.#description;
    // The checks at opening were done the first time.
    const options = first ? { ...this.#command.options, verify: "none" } : this.#command.options;
    try {
      const found = (await child.ask({ open: { ...this.#command, options } })) as Description;
      if (first && first.sha256 !== found.sha256) {
        throw new ModelError(
          `run: expected the model that was opened (sha256 ${first.sha256.slice(0, 12)}), got another one in its place (${found.sha256.slice(0, 12)})`,
          { hint: "The file was changed meanwhile; open it again." },
        );
      }
      this.#description = first ?? found;
    } catch (error) {
      child.release();
      throw error;
    }
    return child;
  }
}

function disposed(method: string): ModelError {
  return new ModelError(`${method}: expected an open model, got one that has been disposed of`);
}
