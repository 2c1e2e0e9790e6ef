import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  DataError,
  DownloadError,
  FileError,
  InterruptedError,
  type Progress,
  sha256,
} from "@penfield/core";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { fetchCorpus } from "./fetchCorpus.ts";
import type { CorpusSource } from "./source.ts";
import { loadStimulusSet } from "./stimulusSet.ts";

const content = "id\ttext\na\tone\n".padEnd(200_000, "#comment\ttext\n");
let server: Server;
let address: string;
let requests: string[] = [];
let destination: string;

beforeAll(async () => {
  server = createServer((request, response) => {
    requests.push(request.url!);
    switch (request.url) {
      case "/stimuli.tsv":
        response.end(content);
        break;
      case "/moved":
        response.writeHead(302, { location: "/stimuli.tsv" }).end();
        break;
      case "/cut":
        response.writeHead(200, { "content-length": String(content.length) });
        response.write(content.slice(0, 1000), () => response.destroy());
        break;
      case "/slow":
        response.writeHead(200, { "content-length": String(content.length) });
        response.write(content.slice(0, 1000));
        break;
      default:
        response.writeHead(request.url === "/broken" ? 503 : 404).end("no");
    }
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  server.closeAllConnections();
  await new Promise((done) => server.close(done));
});
beforeEach(() => {
  requests = [];
  destination = mkdtempSync(join(tmpdir(), "penfield-fetch-"));
  return () => rmSync(destination, { recursive: true, force: true });
});

const source = (path: string, more: Partial<CorpusSource> = {}): CorpusSource => ({
  name: "mine",
  title: "Mine",
  licence: "MIT",
  loader: "stimuli-tsv",
  files: [{ path: "stimuli.tsv", url: address + path, sha256: sha256(content) }],
  ...more,
});

describe("fetchCorpus", () => {
  test("downloads, checks, tells how far it is, and does it once", async () => {
    const bytes = content.length;
    const files = [
      { path: "stimuli.tsv", url: `${address}/stimuli.tsv`, sha256: sha256(content), bytes },
    ];
    const progress: Progress[] = [];
    const onProgress = (p: Progress) => progress.push(p);
    const first = await fetchCorpus(source("", { files }), { destination, onProgress });
    expect(first).toMatchObject({ folder: join(destination, "mine"), cached: false });
    expect(readFileSync(join(first.folder, "stimuli.tsv"), "utf8")).toBe(content);
    expect(progress.at(-1)).toEqual({
      stage: "fetching mine",
      done: bytes,
      total: bytes,
      unit: "bytes",
    });
    const again = await fetchCorpus(join(first.folder, "source.json"), { destination });
    expect(again.cached).toBe(true);
    const named = await fetchCorpus("mine", { destination, corpora: destination });
    expect(named.cached).toBe(true);
    await expect(fetchCorpus("other", { destination, corpora: destination })).rejects.toThrow(
      FileError,
    );
    expect(requests).toEqual(["/stimuli.tsv"]);
  });

  test("makes a folder that loadStimulusSet reads, also from one address and through a redirect", async () => {
    const small = "id\ttext\na\tone\n";
    const fetch = (async () => new Response(small)) as typeof globalThis.fetch;
    const one = { name: "small", files: undefined, url: "https://x.org/y/stimuli.tsv" };
    const { folder } = await fetchCorpus(source("", { ...one, sha256: sha256(small) }), {
      destination,
      fetch,
    });
    expect((await loadStimulusSet(folder)).title).toBe("Mine");
    expect((await fetchCorpus(source("/moved"), { destination })).cached).toBe(false);
  });

  test("fetches again what was changed on disk", async () => {
    const { folder } = await fetchCorpus(source("/stimuli.tsv"), { destination });
    writeFileSync(join(folder, "stimuli.tsv"), "spoiled");
    expect((await fetchCorpus(source("/stimuli.tsv"), { destination })).cached).toBe(false);
    expect(readFileSync(join(folder, "stimuli.tsv"), "utf8")).toBe(content);
  });

  test.each([
    ["/gone", "got HTTP status 404", "moved"],
    ["/broken", "got HTTP status 503", "later"],
    ["/cut", "the connection was cut before the end", "try again"],
  ])("leaves nothing behind after %s", async (path, message, hint) => {
    const failure = await fetchCorpus(source(path), { destination }).catch((error) => error);
    expect(failure).toBeInstanceOf(DownloadError);
    expect(failure.message).toContain(message);
    expect(failure.hint).toContain(hint);
    expect(readdirSync(destination)).toEqual([]);
  });

  test("keeps an old set when the new bytes are wrong", async () => {
    await fetchCorpus(source("/stimuli.tsv"), { destination });
    const other = [{ path: "stimuli.tsv", url: `${address}/stimuli.tsv`, sha256: "0".repeat(64) }];
    await expect(fetchCorpus(source("", { files: other }), { destination })).rejects.toThrow(
      `expected sha256 ${"0".repeat(64)}, got sha256 ${sha256(content)}`,
    );
    const longer = [{ ...other[0]!, bytes: 10 }];
    await expect(fetchCorpus(source("", { files: longer }), { destination })).rejects.toThrow(
      "got more than 10 bytes",
    );
    expect(readdirSync(destination)).toEqual(["mine"]);
    expect(readFileSync(join(destination, "mine", "stimuli.tsv"), "utf8")).toBe(content);
  });

  test("gives up a connection that stalls, and one that is not there", async () => {
    await expect(
      fetchCorpus(source("/slow"), { destination, stallMilliseconds: 50 }),
    ).rejects.toThrow("the connection brought nothing more");
    const nobody = [{ path: "a", url: "http://127.0.0.1:1/a", sha256: "0".repeat(64) }];
    await expect(fetchCorpus(source("", { files: nobody }), { destination })).rejects.toThrow(
      DownloadError,
    );
    await expect(fetchCorpus(source("", { files: nobody }), { destination })).rejects.toThrow(
      "the server cannot be reached",
    );
    expect(readdirSync(destination)).toEqual([]);
  });

  test("stops when asked to", async () => {
    const controller = new AbortController();
    const onProgress = () => controller.abort();
    await expect(
      fetchCorpus(source("/slow"), { destination, signal: controller.signal, onProgress }),
    ).rejects.toThrow(InterruptedError);
    expect(existsSync(join(destination, "mine"))).toBe(false);
    await expect(
      fetchCorpus(source("/slow"), { destination, signal: AbortSignal.abort() }),
    ).rejects.toThrow(InterruptedError);
    expect(requests).toEqual(["/slow"]);
  });

  test("refuses a set that has no address", async () => {
    const own = source("", { files: undefined });
    await expect(fetchCorpus(own, { destination })).rejects.toThrow(DataError);
  });
});
