import { cp, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { FormatError, ModelError } from "@penfield/core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { findModelFiles, HookedModel } from "../index.ts";
import { readModelJson } from "./source.ts";

const gpt2 = fileURLToPath(new URL("../../../../test/fixtures/gpt2", import.meta.url));
let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "penfield-source-"));
});
afterAll(() => rm(root, { recursive: true, force: true }));

/** A folder with these files in it; what is in them does not matter. */
async function folderWith(name: string, files: readonly string[]): Promise<string> {
  const folder = join(root, name);
  for (const file of files) {
    await mkdir(join(folder, file, ".."), { recursive: true });
    await writeFile(join(folder, file), "x");
  }
  await mkdir(folder, { recursive: true });
  return folder;
}

describe("findModelFiles", () => {
  test("an .onnx file, with and without the rest of its folder", async () => {
    const bare = await folderWith("bare", ["strange name.onnx"]);
    expect(await findModelFiles(join(bare, "strange name.onnx"))).toEqual({
      name: "strange name.onnx",
      onnxPath: join(bare, "strange name.onnx"),
      folder: undefined,
    });
    const hub = await folderWith("hub", ["config.json", "onnx/model.onnx"]);
    expect((await findModelFiles(join(hub, "onnx", "model.onnx"))).folder).toBe(hub);
    const flat = await folderWith("flat", ["config.json", "model.onnx"]);
    expect((await findModelFiles(join(flat, "model.onnx"))).folder).toBe(flat);
  });

  test.each([
    ["hub layout", ["onnx/model.onnx", "onnx/model_fp16.onnx"], undefined, "onnx/model.onnx"],
    ["flat", ["model.onnx"], undefined, "model.onnx"],
    ["hub layout wins", ["model.onnx", "onnx/model.onnx"], undefined, "onnx/model.onnx"],
    ["named", ["onnx/model.onnx", "onnx/model_fp16.onnx"], "model_fp16", "onnx/model_fp16.onnx"],
    ["named with its end", ["onnx/a.onnx", "onnx/b.onnx"], "b.onnx", "onnx/b.onnx"],
    ["the only one", ["onnx/whatever.onnx"], undefined, "onnx/whatever.onnx"],
    [
      "a merged decoder",
      ["onnx/decoder_model_merged.onnx", "onnx/other.onnx"],
      undefined,
      "onnx/decoder_model_merged.onnx",
    ],
    [
      "a decoder without cache",
      ["decoder_model.onnx", "decoder_with_past_model.onnx"],
      undefined,
      "decoder_model.onnx",
    ],
  ] as const)("a folder: %s", async (name, files, file, expected) => {
    const folder = await folderWith(`ok ${name}`, [...files, "config.json"]);
    const found = await findModelFiles(folder, { file });
    expect(found).toEqual({ name: `ok ${name}`, onnxPath: join(folder, expected), folder });
  });

  test("what is not there is refused, with what is", async () => {
    const missing = findModelFiles(join(root, "nowhere"));
    await expect(missing).rejects.toThrow(ModelError);
    await expect(missing).rejects.toThrow(/there is no such file or folder, and it is no hub id/);
    const empty = await folderWith("empty", ["config.json"]);
    await expect(findModelFiles(empty)).rejects.toThrow(
      /empty: expected onnx\/model\.onnx, got no \.onnx file/,
    );
    const several = await folderWith("several", ["onnx/a.onnx", "b.onnx"]);
    const asked = findModelFiles(several);
    await expect(asked).rejects.toThrow(/expected onnx\/model\.onnx, got a\.onnx, b\.onnx/);
    await expect(asked).rejects.toMatchObject({ hint: expect.stringMatching(/--file/) });
    await expect(findModelFiles(several, { file: "c" })).rejects.toThrow(/expected onnx\/c\.onnx/);
  });
});

describe("a folder's files", () => {
  test("JSON that is broken or no object is refused; none is none", async () => {
    const folder = await folderWith("json", []);
    expect(await readModelJson(folder, "config.json")).toBeUndefined();
    await writeFile(join(folder, "config.json"), '{"a": 1');
    await expect(readModelJson(folder, "config.json")).rejects.toThrow(ModelError);
    await writeFile(join(folder, "config.json"), "3");
    await expect(readModelJson(folder, "config.json")).rejects.toThrow(/config\.json is not JSON/);
  });

  test("a model opened from its folder, its file or its bytes is the same", async () => {
    const folder = join(root, "copy");
    await cp(gpt2, folder, { recursive: true });
    const options = { verify: "none", threads: 1 } as const;
    const fromFolder = await HookedModel.fromPretrained(folder, options);
    const fromFile = await HookedModel.fromPretrained(join(folder, "model.onnx"), options);
    const tokens = [[5, 9, 7, 3]];
    const [a, b] = [await fromFolder.run({ tokens }), await fromFile.run({ tokens })];
    expect(a.logits!.data).toEqual(b.logits!.data);
    expect(fromFolder.sha256).toBe(fromFile.sha256);
    await fromFolder.dispose();
    await fromFile.dispose();
  });

  test("a text that calls itself a model is refused as what it is", async () => {
    const folder = await folderWith("text", ["model.onnx"]);
    const opening = HookedModel.fromPretrained(folder);
    await expect(opening).rejects.toThrow(FormatError);
    await expect(opening).rejects.toThrow(/model\.onnx: expected an ONNX model/);
  });
});
