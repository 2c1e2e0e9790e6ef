import { createHash } from "node:crypto";
import { type FileHandle, open, readFile, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import {
  DataError,
  DownloadError,
  fileError,
  InterruptedError,
  type LongWork,
  sha256File,
  throwIfAborted,
  writeFolderAtomic,
} from "@penfield/core";
import { type CorpusFile, type CorpusSource, parseSource } from "./source.ts";

/** Where to put a set and how to fetch it. */
export interface FetchCorpusOptions extends LongWork {
  /** The cache: the set becomes the folder `<destination>/<name>`. */
  readonly destination: string;
  /** The folder with one `<name>/source.json` per set, for a source that is given by name. */
  readonly corpora?: string | undefined;
  /** Default: the global fetch. */
  readonly fetch?: typeof fetch | undefined;
  /** A connection that brings nothing for so long is given up. Default 30 000. */
  readonly stallMilliseconds?: number | undefined;
}

/** A set that is now on disk. */
export interface FetchedCorpus {
  /** Ready for `loadStimulusSet` or `loadTasks`. */
  readonly folder: string;
  readonly source: CorpusSource;
  /** Whether it was there already, with the right hashes, and nothing was downloaded. */
  readonly cached: boolean;
}

/**
 * Downloads a published set and keeps it only if every file has the SHA-256 that its `source.json`
 * states. Files stream to a temporary folder, which takes the set's name when all are there: a
 * reader never sees half a set, and whatever goes wrong leaves nothing behind. A set that is there
 * already is checked against its hashes and not downloaded again.
 *
 * @param source - What to fetch: the content of a `source.json`, its path or that of its folder, or, with
 *   `options.corpora`, the name of a set.
 * @param options.destination - The cache folder.
 * @param options.onProgress - Bytes so far, of all files (0 while the total is not known).
 * @param options.signal - Stops the download.
 * @throws {DataError} if the source has no address or no hash.
 * @throws {DownloadError} if there is no network, the server answers with an error, the connection
 *   is cut or stalls, or the bytes are not those stated.
 * @throws {InterruptedError} if the signal fires.
 * @throws {FileError} if the cache cannot be written.
 */
export async function fetchCorpus(
  source: CorpusSource | string,
  options: FetchCorpusOptions,
): Promise<FetchedCorpus> {
  const { destination, corpora, onProgress, signal } = options;
  const { source: what, text } = await resolve(source, corpora);
  const files = filesOf(what);
  const folder = join(destination, what.name);
  throwIfAborted(signal, "fetchCorpus");
  if (await isComplete(folder, files)) return { folder, source: what, cached: true };

  const total = files.every(({ bytes }) => bytes !== undefined)
    ? files.reduce((sum, { bytes }) => sum + bytes!, 0)
    : 0;
  let done = 0;
  const report = (bytes: number): void => {
    done += bytes;
    onProgress?.({ stage: `fetching ${what.name}`, done, total, unit: "bytes" });
  };
  await writeFolderAtomic(
    folder,
    async (temporary) => {
      for (const file of files) await download(file, join(temporary, file.path), report, options);
      const handle = await open(join(temporary, "source.json"), "w");
      await handle.writeFile(text).finally(() => handle.close());
    },
    { replace: true },
  );
  return { folder, source: what, cached: false };
}

async function resolve(
  source: CorpusSource | string,
  corpora: string | undefined,
): Promise<{ source: CorpusSource; text: string }> {
  if (typeof source !== "string") {
    const text = `${JSON.stringify(source, null, 2)}\n`;
    return { source: parseSource(text, source.name), text };
  }
  const named = corpora !== undefined && !/[\\/]/.test(source);
  const place = named ? join(corpora, source) : source;
  const info = await stat(place).catch((cause) => {
    throw fileError("fetchCorpus", place, cause);
  });
  const path = info.isDirectory() ? join(place, "source.json") : place;
  const text = await readFile(path, "utf8").catch((cause) => {
    throw fileError("fetchCorpus", path, cause);
  });
  return { source: parseSource(text, path), text };
}

function filesOf(source: CorpusSource): readonly CorpusFile[] {
  if (source.files) return source.files;
  const { url, sha256, bytes } = source;
  if (url === undefined || sha256 === undefined) {
    throw new DataError(
      `fetchCorpus: ${source.name}: expected an address and a sha256 to fetch, got none`,
      { hint: "This set comes with the library; it needs no download." },
    );
  }
  return [{ path: basename(new URL(url).pathname), url, sha256, bytes }];
}

async function isComplete(folder: string, files: readonly CorpusFile[]): Promise<boolean> {
  for (const { path, sha256 } of files) {
    const there = await sha256File(join(folder, path)).catch(() => undefined);
    if (there !== sha256) return false;
  }
  return true;
}

async function download(
  file: CorpusFile,
  path: string,
  report: (bytes: number) => void,
  options: FetchCorpusOptions,
): Promise<void> {
  const { signal, fetch: request = fetch, stallMilliseconds = 30_000 } = options;
  const stalled = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const alive = (): void => {
    clearTimeout(timer);
    timer = setTimeout(() => stalled.abort(), stallMilliseconds);
  };
  let handle: FileHandle | undefined;
  try {
    alive();
    const response = await request(file.url, {
      signal: signal ? AbortSignal.any([signal, stalled.signal]) : stalled.signal,
    });
    if (!response.ok || response.body === null) {
      await response.body?.cancel();
      throw new DownloadError(
        `fetchCorpus: ${file.url}: expected the file, got HTTP status ${response.status}`,
        {
          hint:
            response.status >= 500
              ? "The server has a problem; try again later."
              : "The file may have moved; look at the set's home page.",
        },
      );
    }
    handle = await open(path, "wx").catch((cause) => {
      throw fileError("fetchCorpus", path, cause);
    });
    const hash = createHash("sha256");
    let received = 0;
    for await (const chunk of response.body) {
      alive();
      received += chunk.length;
      if (file.bytes !== undefined && received > file.bytes) {
        throw wrongBytes(file, `more than ${file.bytes} bytes`);
      }
      hash.update(chunk);
      await handle.write(chunk).catch((cause) => {
        throw fileError("fetchCorpus", path, cause);
      });
      report(chunk.length);
    }
    const digest = hash.digest("hex");
    if (digest !== file.sha256) {
      throw wrongBytes(file, `sha256 ${digest} (${received} bytes)`);
    }
  } catch (cause) {
    throw explain(cause, file, {
      stopped: signal?.aborted ?? false,
      stalled: stalled.signal.aborted,
    });
  } finally {
    clearTimeout(timer);
    await handle?.close();
  }
}

function wrongBytes(file: CorpusFile, got: string): DownloadError {
  return new DownloadError(
    `fetchCorpus: ${file.url}: expected sha256 ${file.sha256}${file.bytes === undefined ? "" : ` (${file.bytes} bytes)`}, got ${got}`,
    {
      hint: "Nothing was kept. A proxy may have changed the file, or its owner has; do not use it unchecked.",
    },
  );
}

function explain(
  cause: unknown,
  file: CorpusFile,
  why: { readonly stopped: boolean; readonly stalled: boolean },
): unknown {
  if (why.stopped) {
    return new InterruptedError("fetchCorpus: interrupted", {
      hint: "Nothing was kept; run it again to fetch the set.",
      cause,
    });
  }
  if (why.stalled) {
    return new DownloadError(`fetchCorpus: ${file.url}: the connection brought nothing more`, {
      hint: "Check the network and try again.",
      cause,
    });
  }
  // What fetch throws for a network failure is a TypeError whose cause tells why.
  if (!(cause instanceof TypeError)) return cause;
  const inner = cause.cause as NodeJS.ErrnoException | undefined;
  const code = inner?.code ?? inner?.message ?? cause.message;
  const cut = code === "UND_ERR_SOCKET" || code === "ECONNRESET" || cause.message === "terminated";
  return new DownloadError(
    cut
      ? `fetchCorpus: ${file.url}: the connection was cut before the end (${code})`
      : `fetchCorpus: ${file.url}: the server cannot be reached (${code})`,
    { hint: "Check the network and try again; nothing was kept.", cause },
  );
}
