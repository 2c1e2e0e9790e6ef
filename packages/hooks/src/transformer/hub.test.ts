import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { DownloadError, type Progress } from "@penfield/core";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { findModelFiles, HookedModel, wordLevelTokenizer } from "../index.ts";

// The real download machinery against a server of our own. It keeps its settings in a global
// object: these tests stay in a file, and so in a process, of their own.
const gpt2 = fileURLToPath(new URL("../../../../test/fixtures/gpt2/", import.meta.url));
const vocabulary = Array.from({ length: 96 }, (_, i) => `w${i}`);
const repository = new Map<string, Buffer>([
  ["onnx/model.onnx", readFileSync(`${gpt2}model.onnx`)],
  ["onnx/model_fp16.onnx", readFileSync(`${gpt2}fp16.onnx`)],
  ["config.json", readFileSync(`${gpt2}config.json`)],
  ["tokenizer_config.json", Buffer.from('{"tokenizer_class": "PreTrainedTokenizer"}')],
  ["tokenizer.json", Buffer.from(JSON.stringify(wordLevelTokenizer(vocabulary)))],
]);

interface Hub {
  readonly address: string;
  readonly asked: string[];
  /** File whose connection is cut in the middle. */
  cut: string | undefined;
  missing: string | undefined;
  close(): Promise<void>;
}

async function startHub(): Promise<Hub> {
  const server: Server = createServer((request, response) => {
    const [, owner, name, , , ...rest] = new URL(request.url!, "http://hub").pathname.split("/");
    const file = rest.join("/");
    const body = `${owner}/${name}` === "tiny/gpt2" ? repository.get(file) : undefined;
    if (!body || file === hub.missing) {
      response.writeHead(404).end("not found");
      return;
    }
    // How the machinery asks for a file's size.
    if (request.headers.range === "bytes=0-0") {
      const range = `bytes 0-0/${body.length}`;
      response.writeHead(206, { "content-length": 1, "content-range": range });
      response.end(body.subarray(0, 1));
      return;
    }
    if (request.method === "GET") hub.asked.push(file);
    response.writeHead(200, { "content-length": body.length });
    if (request.method === "HEAD") response.end();
    else if (file === hub.cut) {
      response.write(body.subarray(0, body.length / 2), () => response.destroy());
    } else response.end(body);
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const hub: Hub = {
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked: [],
    cut: undefined,
    missing: undefined,
    close: () =>
      new Promise((closed) => {
        server.closeAllConnections();
        server.close(() => closed());
      }),
  };
  return hub;
}

let hub: Hub;
const folders: string[] = [];
const temporary = async (): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), "penfield-hub-"));
  folders.push(folder);
  return folder;
};
const filesBelow = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => entry.name)
    .sort();

beforeAll(async () => {
  hub = await startHub();
});
afterEach(() => {
  hub.cut = undefined;
  hub.missing = undefined;
});
afterAll(async () => {
  await hub.close();
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
});

describe("a model of the hub", () => {
  test("is downloaded once, with progress, and is the model that was served", async () => {
    const cacheFolder = await temporary();
    const seen: Progress[] = [];
    const model = await HookedModel.fromPretrained("tiny/gpt2", {
      hub: hub.address,
      cacheFolder,
      verify: "none",
      onProgress: (progress) => seen.push(progress),
    });
    expect(model.cfg.modelName).toBe("tiny/gpt2");
    expect(model.requireTokenizer().encode("w3 w5")).toEqual([3, 5]);
    const here = await HookedModel.fromPretrained(gpt2, { verify: "none" });
    expect(model.sha256).toBe(here.sha256);
    await here.dispose();
    await model.dispose();
    expect(seen.some((p) => p.stage.includes("onnx/model.onnx") && p.unit === "bytes")).toBe(true);
    expect(hub.asked.filter((file) => file === "onnx/model.onnx")).toHaveLength(1);
    const asked = hub.asked.length;
    // From now on no server is needed.
    const again = await findModelFiles("tiny/gpt2", { hub: "http://127.0.0.1:1", cacheFolder });
    expect(readFileSync(again.onnxPath).equals(repository.get("onnx/model.onnx")!)).toBe(true);
    expect(hub.asked).toHaveLength(asked);
  });

  test("in another of its files, kept beside the first", async () => {
    const cacheFolder = await temporary();
    const find = (file?: string) =>
      findModelFiles("tiny/gpt2", { hub: hub.address, cacheFolder, file });
    const [plain, half] = [await find(), await find("model_fp16")];
    expect(half.onnxPath.endsWith(join("onnx", "model_fp16.onnx"))).toBe(true);
    expect(readFileSync(half.onnxPath).equals(repository.get("onnx/model_fp16.onnx")!)).toBe(true);
    expect((await find()).onnxPath).toBe(plain.onnxPath);
    const asked = hub.asked.length;
    await find("model_fp16");
    expect(hub.asked).toHaveLength(asked);
    await expect(find("model_none")).rejects.toThrow(DownloadError);
  });

  test("that does not exist", async () => {
    const cacheFolder = await temporary();
    const finding = findModelFiles("tiny/none", { hub: hub.address, cacheFolder });
    await expect(finding).rejects.toThrow(DownloadError);
    await expect(finding).rejects.toThrow(/tiny\/none could not be fetched from http:\/\/127/);
    await expect(finding).rejects.toMatchObject({ hint: expect.stringMatching(/Check the id/) });
  });

  test("without an ONNX file is refused, also when asked again", async () => {
    const cacheFolder = await temporary();
    hub.missing = "onnx/model.onnx";
    for (let attempt = 0; attempt < 2; attempt++) {
      const finding = findModelFiles("tiny/gpt2", { hub: hub.address, cacheFolder });
      await expect(finding).rejects.toThrow(DownloadError);
    }
  });

  test("of a hub that cannot be reached", async () => {
    const cacheFolder = await temporary();
    const finding = findModelFiles("tiny/gpt2", { hub: "http://127.0.0.1:1/", cacheFolder });
    await expect(finding).rejects.toThrow(DownloadError);
    await expect(finding).rejects.toMatchObject({
      hint: expect.stringMatching(/no connection to the hub/),
    });
  });

  test.each(["onnx/model.onnx", "tokenizer.json", "config.json"])(
    "whose connection is cut in the middle of %s leaves nothing that is used later",
    async (file) => {
      const cacheFolder = await temporary();
      hub.cut = file;
      const broken = findModelFiles("tiny/gpt2", { hub: hub.address, cacheFolder });
      await expect(broken).rejects.toThrow(DownloadError);
      hub.cut = undefined;
      const { onnxPath, folder } = await findModelFiles("tiny/gpt2", {
        hub: hub.address,
        cacheFolder,
      });
      for (const [name, body] of repository) {
        if (name === "onnx/model_fp16.onnx") continue;
        expect(readFileSync(join(folder!, name)).equals(body), name).toBe(true);
      }
      expect(existsSync(onnxPath)).toBe(true);
      expect(filesBelow(cacheFolder).filter((name) => name.includes(".tmp"))).toEqual([]);
    },
  );
});
