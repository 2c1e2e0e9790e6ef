import { appendFile, mkdir, readFile, truncate } from "node:fs/promises";
import { dirname } from "node:path";
import { FileError, FormatError, fileError, writeFileAtomic } from "@penfield/core";

export interface LineFileOptions {
  /** The function that errors name. */
  readonly caller: string;
  /** What the lines are: "rules of this census and these options". */
  readonly content: string;
  /** What to do where it is a file of other work; default to choose another folder. */
  readonly hint?: string | undefined;
}

/**
 * A file of JSON lines that grows as work is done, so that work that was stopped goes on. Its first line says what work it is; a last line
 * that a stop has cut is left out.
 */
export class LineFile {
  /** What stood in it when it was opened, without the first line. */
  readonly lines: readonly unknown[];
  readonly #path: string;
  readonly #caller: string;

  private constructor(path: string, caller: string, lines: readonly unknown[]) {
    this.#path = path;
    this.#caller = caller;
    this.lines = lines;
  }

  /**
   * Opens a file, or begins it.
   *
   * @param header - What work it is, each field a part of it.
   * @throws {FileError} if the file is of other work; the error names the first field that differs.
   * @throws {FormatError} for a line that is not JSON.
   */
  static async open(
    path: string,
    header: Readonly<Record<string, unknown>>,
    { caller, content, hint = "Choose another folder." }: LineFileOptions,
  ): Promise<LineFile> {
    const first = JSON.stringify(header);
    try {
      await mkdir(dirname(path), { recursive: true });
      const text = await readFile(path, "utf8").catch((cause: NodeJS.ErrnoException) => {
        if (cause.code === "ENOENT") return "";
        throw cause;
      });
      const whole = text.slice(0, text.lastIndexOf("\n") + 1);
      if (whole === "") {
        await writeFileAtomic(path, `${first}\n`);
        return new LineFile(path, caller, []);
      }
      const [found, ...rest] = whole.split("\n").slice(0, -1) as [string, ...string[]];
      if (found !== first) {
        throw new FileError(
          `${caller}: ${path}: expected ${content}, got ${differenceOf(header, found)}`,
          { hint },
        );
      }
      const lines = rest.map((line, i): unknown => {
        try {
          return JSON.parse(line);
        } catch (cause) {
          throw new FormatError(`${caller}: ${path}: line ${i + 2}: expected JSON`, { cause });
        }
      });
      await truncate(path, Buffer.byteLength(whole));
      return new LineFile(path, caller, lines);
    } catch (cause) {
      if (cause instanceof FileError || cause instanceof FormatError) throw cause;
      throw fileError(caller, path, cause);
    }
  }

  /** Adds lines at the end. */
  async add(...lines: readonly object[]): Promise<void> {
    if (lines.length === 0) return;
    const text = lines.map((line) => `${JSON.stringify(line)}\n`).join("");
    await appendFile(this.#path, text).catch((cause) => {
      throw fileError(this.#caller, this.#path, cause);
    });
  }
}

/** The first field of a header that another header has otherwise. */
function differenceOf(header: Readonly<Record<string, unknown>>, line: string): string {
  let found: unknown;
  try {
    found = JSON.parse(line);
  } catch {
    return "a file of something else";
  }
  const other = (typeof found === "object" && found !== null ? found : {}) as typeof header;
  const name = Object.keys(header).find(
    (key) => JSON.stringify(header[key]) !== JSON.stringify(other[key]),
  );
  if (name === undefined || !(name in other)) return "a file of something else";
  const shown = (value: unknown) => JSON.stringify(value).slice(0, 60);
  return `others: ${name} is ${shown(other[name])} there and ${shown(header[name])} here`;
}
