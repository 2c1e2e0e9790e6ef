import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { captureOptions } from "./capture.ts";
import { helpOf } from "./help.ts";
import { penfield } from "./testRun.ts";

const gpt2 = fileURLToPath(new URL("../../../test/fixtures/gpt2", import.meta.url));
let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "penfield-capture-"));
  const lines = [[1, 2, 3], [4], [5, 6]].map((tokens) => JSON.stringify({ tokens }));
  await writeFile(join(root, "corpus.jsonl"), lines.join("\n"));
});
afterAll(() => rm(root, { recursive: true, force: true }));

const capture = (words: readonly string[], signal?: AbortSignal) =>
  penfield(["capture", ...words], signal);
const words = (out: string, more: readonly string[] = []) => [
  ...["--model", gpt2, "--corpus", join(root, "corpus.jsonl"), "--threads", "1"],
  ...["--hooks", "*.mlp.hook_post,hook_embed", "--out", join(root, out), ...more],
];

describe("penfield capture", () => {
  test("writes a store, says so, and prints what is in it", async () => {
    const { code, out, err } = await capture(words("a"));
    expect({ code, out }).toEqual({
      code: 0,
      out: `3 texts, 6 tokens, 6 rows at 3 hook points: 0.0 MB\nThe activations are in ${join(root, "a")}\n`,
    });
    expect(err).toMatch(/^capturing activations: 100 % \(6 of 6 tokens\)$/m);
    const shown = await capture(["--inspect", join(root, "a")]);
    expect(shown.out).toMatch(
      /^gpt2 \(sha256 [0-9a-f]{12}\), 3 texts, 6 tokens\nevery token, float32\ncomplete: 6 of 6 rows, 1 shards\n\n/,
    );
    expect(shown.out).toContain("\nblocks.1.mlp.hook_post  [d_mlp 96]\n");
    const asJson = JSON.parse((await capture(["--inspect", join(root, "a"), "--json"])).out);
    expect(asJson).toMatchObject({ complete: true, nRows: 6, index: { corpus: { nTexts: 3 } } });
  });

  test("options reach the store", async () => {
    const more = ["--positions", "last", "--dtype", "float16", "--max-tokens", "2", "--json"];
    const { code, out } = await capture(words("b", more));
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ nTexts: 3, nTokens: 5, nRows: 3, nShards: 1 });
    const { index } = JSON.parse((await capture(["--inspect", join(root, "b"), "--json"])).out);
    expect(index.options).toMatchObject({ positions: "last", dtype: "float16", maxTokens: 2 });
  });

  test("an older store is refused without --resume; interrupted, it can go on", async () => {
    await capture(words("c"));
    const again = await capture(words("c"));
    expect(again.code).toBe(1);
    expect(again.err).toMatch(/^Error: capture: .*got a store of activations$/m);
    expect(again.err).toMatch(/^Hint: Go on with it with --resume/m);
    expect((await capture(words("c", ["--resume"]))).code).toBe(0);
    const stopped = await capture(words("d"), AbortSignal.abort());
    expect(stopped.code).toBe(1);
    expect(stopped.err).toMatch(/^Code: ERR_INTERRUPTED$/m);
    expect(await readdir(root)).not.toContain("d");
  });

  test("commands that cannot be understood", async () => {
    const cases: [string[], RegExp][] = [
      [["x"], /expected options only, got "x"/],
      [["--corpus", "x", "--out", "y"], /expected --hooks NAMES/],
      [["--hooks", "x", "--out", "y"], /expected --corpus/],
      [["--hooks", "x", "--corpus", "y"], /expected --out/],
      [words("e", ["--positions", "first"]), /--positions: expected all, last, mean/],
      [words("e", ["--dtype", "int8"]), /--dtype: expected float32, float16/],
      [words("e", ["--max-tokens", "0"]), /--max-tokens: expected a whole number/],
      [words("e", ["--dance"]), /--dance/],
      [["--inspect", "x", "--out", "y"], /expected --inspect alone, got --out too/],
    ];
    for (const [line, message] of cases) {
      const { code, err } = await capture(line);
      expect(err).toMatch(message);
      expect(code).toBe(2);
    }
    expect((await capture(["--inspect", join(root, "nowhere")])).code).toBe(1);
  });
});

test("the help names every option", () => {
  for (const name of Object.keys(captureOptions))
    expect(helpOf("capture"), name).toContain(`--${name}`);
});
