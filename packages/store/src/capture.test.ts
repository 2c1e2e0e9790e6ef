import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdir, readdir, readFile, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import {
  ArgumentError,
  DataError,
  FileError,
  HookPointError,
  InterruptedError,
  type PenfieldError,
  type Progress,
  readNpy,
  TokenizerError,
} from "@penfield/core";
import { HookedModel, openIsolated, type RunnableModel } from "@penfield/hooks";
import { organismFolder } from "@penfield/organisms";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { capture } from "./capture.ts";
import { type CaptureOptions, captureActivations, openActivations } from "./index.ts";
import { gpt2, hashes, randomRows, temporaryFolder } from "./testSetting.ts";

let model: HookedModel;
beforeAll(async () => {
  model = await HookedModel.fromPretrained(gpt2, { threads: 1, verify: "none" });
});
afterAll(() => model.dispose());

let root: string;
let remove: () => Promise<void>;
beforeEach(async () => {
  ({ path: root, remove } = await temporaryFolder());
});
afterEach(() => remove());
const at = (...parts: string[]) => join(root, ...parts);

const rows = randomRows(40, 12);
const nTokens = rows.reduce((sum, row) => sum + row.length, 0);
const hooks = ["blocks.0.mlp.hook_post", "blocks.1.hook_resid_post", "blocks.0.attn.hook_q"];
const small: CaptureOptions = { hooks, shardTokens: 40, batchTokens: 24 };
const caught = (promise: Promise<unknown>): Promise<PenfieldError> =>
  promise.then(
    () => {
      throw new Error("expected an error");
    },
    (error) => error,
  );
const readArray = async (...parts: string[]) => readNpy(await readFile(at(...parts)), parts.at(-1));

/** Each text alone, its values at a hook point: `[text][token * unit]`. */
const alone = async (hook: string): Promise<Float32Array[]> => {
  const values: Float32Array[] = [];
  for (const row of rows) {
    const { cache } = await model.run({ tokens: [row], capture: [hook] });
    values.push(cache.get(hook)!.data);
  }
  return values;
};
const largestDifference = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  expect(a.length).toBe(b.length);
  let max = 0;
  for (let i = 0; i < a.length; i++) max = Math.max(max, Math.abs(a[i]! - b[i]!));
  return max;
};

describe("what is written", () => {
  test("all tokens in the corpus' order, as if each text were run alone", async () => {
    const summary = await captureActivations(model, rows, at("s"), small);
    expect(summary).toMatchObject({ nTexts: 40, nTokens, nRows: nTokens, nResumed: 0 });
    expect(summary.nShards).toBeGreaterThan(4);
    // In the model's order.
    expect(summary.hooks).toEqual(
      model.hookPoints.map((h) => h.name).filter((n) => hooks.includes(n)),
    );
    const store = await openActivations(at("s"));
    for (const hook of hooks) {
      const { data, shape } = await store.read(hook);
      expect(shape).toEqual([nTokens, hook.endsWith("post") && hook.includes("mlp") ? 96 : 24]);
      const expected = (await alone(hook)).flatMap((values) => Array.from(values));
      // Batches of other sizes sum in another order: a few units in the last place of float32.
      expect(largestDifference(data, expected)).toBeLessThan(1e-5);
    }
    expect(store.hook("blocks.0.attn.hook_q")).toMatchObject({
      axes: ["head_index", "d_head"],
      shape: [3, 8],
      nUnits: 24,
    });
  });

  test("the files: plain arrays, tokens, rows, texts", async () => {
    const { nShards, bytes } = await captureActivations(model, rows, at("s"), small);
    const names = await readdir(at("s"));
    expect(names.sort()).toEqual([
      "index.json",
      ...Array.from({ length: nShards }, (_, i) => `shard-0000${i}`),
      "texts.jsonl",
    ]);
    const ids: number[] = [];
    const places: number[] = [];
    let nRows = 0;
    for (let i = 0; i < nShards; i++) {
      const shard = `shard-0000${i}`;
      expect((await readdir(at("s", shard))).sort()).toEqual(
        [...hooks.map((hook) => `${hook}.npy`), "rows.npy", "tokens.npy"].sort(),
      );
      const values = await readArray("s", shard, `${hooks[0]}.npy`);
      expect(values.data).toBeInstanceOf(Float32Array);
      const own = await readArray("s", shard, "tokens.npy");
      expect(values.shape).toEqual([own.shape[0], 96]);
      ids.push(...(own.data as Int32Array));
      places.push(...((await readArray("s", shard, "rows.npy")).data as Int32Array));
      nRows += values.shape[0]!;
    }
    expect(nRows).toBe(nTokens);
    expect(ids).toEqual(rows.flat());
    expect(places).toEqual(rows.flatMap((row, text) => row.flatMap((_, pos) => [text, pos])));
    const texts = (await readFile(at("s", "texts.jsonl"), "utf8")).trim().split("\n");
    expect(texts.map((line) => JSON.parse(line))).toEqual(
      rows.map((row, i) => ({ id: String(i), tokens: row.length })),
    );
    const sizes = await Promise.all(
      Object.keys(await hashes(at("s"))).map(async (name) =>
        name.endsWith(".npy") ? (await readFile(at("s", name))).length : 0,
      ),
    );
    expect(sizes.reduce((a, b) => a + b)).toBe(bytes);
  });

  test("last tokens and means", async () => {
    const hook = hooks[0]!;
    const expected = await alone(hook);
    for (const positions of ["last", "mean"] as const) {
      await captureActivations(model, rows, at(positions), { ...small, positions });
      const store = await openActivations(at(positions));
      expect(store.nRows).toBe(40);
      const { data } = await store.read(hook);
      const wanted = expected.flatMap((values, text) => {
        const n = rows[text]!.length;
        return Array.from({ length: 96 }, (_, unit) => {
          const column = Array.from({ length: n }, (_, pos) => values[pos * 96 + unit]!);
          return positions === "last" ? column.at(-1)! : column.reduce((a, b) => a + b) / n;
        });
      });
      expect(largestDifference(data, wanted)).toBeLessThan(1e-5);
      const { data: places } = await readArray(positions, "shard-00000", "rows.npy");
      expect(Array.from((places as Int32Array).subarray(0, 2))).toEqual([
        0,
        positions === "last" ? rows[0]!.length - 1 : -1,
      ]);
    }
  });

  test("float16: half the bytes, the nearest values", async () => {
    const hook = hooks[0]!;
    const full = await captureActivations(model, rows, at("f4"), { ...small, hooks: hook });
    const half = await captureActivations(model, rows, at("f2"), {
      ...small,
      hooks: hook,
      dtype: "float16",
    });
    expect(full.bytes - half.bytes).toBe(nTokens * 96 * 2);
    const [a, b] = await Promise.all(
      ["f4", "f2"].map(async (name) => (await (await openActivations(at(name))).read(hook)).data),
    );
    for (let i = 0; i < a!.length; i++) {
      // Half of the distance between neighbours: 2^-11 of the value, or of the smallest normal number.
      expect(Math.abs(a![i]! - b![i]!)).toBeLessThanOrEqual(
        2 ** -11 * Math.max(Math.abs(a![i]!), 2 ** -14),
      );
    }
    // numpy's type, as core reads it.
    expect((await readArray("f2", "shard-00000", `${hook}.npy`)).data[0]).toBe(b![0]);
  });

  test("float16 refuses what it cannot hold", async () => {
    const huge: RunnableModel = spy((values) => values.fill(70_000, 5, 6));
    const error = await caught(
      captureActivations(huge, rows, at("s"), { ...small, dtype: "float16" }),
    );
    expect(error).toBeInstanceOf(DataError);
    expect(error.message).toMatch(
      /expected values within 65504 for float16, got 70000 in text \d+$/,
    );
    // Infinity and NaN are what the model gave: they are kept.
    const broken = spy((values) => values.set([Number.NaN, Number.POSITIVE_INFINITY]));
    await captureActivations(broken, [[1, 2]], at("t"), { hooks: hooks[0]!, dtype: "float16" });
    const { data } = await (await openActivations(at("t"))).read(hooks[0]!);
    expect(Array.from(data.subarray(0, 2))).toEqual([Number.NaN, Number.POSITIVE_INFINITY]);
  });

  test("texts, with their ids; the same as the tokenizer's tokens", async () => {
    const organism = await HookedModel.fromPretrained(organismFolder("organism-a"), {
      threads: 1,
      verify: "none",
    });
    const options = { hooks: "blocks.0.hook_mlp_out", maxTokens: 4, prependBos: true };
    const texts = ["The boys near the tree", "A cat."];
    await captureActivations(organism, texts, at("a"), options);
    const items = texts.map((text, i) => ({ id: `t${i}`, text }));
    await captureActivations(organism, items, at("b"), options);
    const [a, b] = await Promise.all(["a", "b"].map((name) => openActivations(at(name))));
    const tokens = organism.requireTokenizer().encode(texts[0]!, options);
    expect(Array.from(await a!.tokensOf(0))).toEqual(tokens);
    expect(tokens).toHaveLength(4);
    expect(b!.place(5)).toEqual({ text: 1, id: "t1", position: 1 });
    expect((await b!.read(options.hooks)).data).toEqual((await a!.read(options.hooks)).data);
    expect(await caught(captureActivations(model, texts, at("c"), options))).toBeInstanceOf(
      TokenizerError,
    );
    await organism.dispose();
  });

  test("texts longer than the context: refused, cut, or split into pieces", async () => {
    const long = [Array.from({ length: 70 }, (_, i) => i)];
    const hook = hooks[0]!;
    const error = await caught(captureActivations(model, long, at("a"), { hooks: hook }));
    expect(error).toBeInstanceOf(DataError);
    expect(error.message).toBe("capture: expected 1 to 32 tokens, got 70 in text 0");
    expect(error.hint).toMatch(/--max-tokens.*--split/);
    await captureActivations(model, long, at("b"), { hooks: hook, maxTokens: 32 });
    await captureActivations(model, long, at("c"), { hooks: hook, longTexts: "split" });
    const store = await openActivations(at("c"));
    expect([0, 1, 2].map((text) => store.place(store.rowsOf(text).from).id)).toEqual([
      "0#0",
      "0#1",
      "0#2",
    ]);
    expect(store.rowsOf(2)).toEqual({ from: 64, to: 70 });
    const first = await store.read(hook, store.rowsOf(0));
    const cut = await (await openActivations(at("b"))).read(hook);
    expect(largestDifference(first.data, cut.data)).toBeLessThan(1e-5);
  });

  test("of a dynamically quantised model each text is run alone: its values do not depend on others", async () => {
    const quantised = await HookedModel.fromPretrained(gpt2, {
      file: "int8_dynamic",
      threads: 1,
      verify: "none",
    });
    expect(quantised.cfg.batchDependent).toBe(true);
    const hook = hooks[0]!;
    await captureActivations(quantised, rows, at("s"), { ...small, hooks: hook });
    const store = await openActivations(at("s"));
    for (const [text, row] of rows.entries()) {
      const { cache } = await quantised.run({ tokens: [row], capture: [hook], head: "none" });
      expect((await store.read(hook, store.rowsOf(text))).data).toEqual(cache.get(hook)!.data);
    }
    await quantised.dispose();
  });

  test("an isolated model writes the same bytes", async () => {
    const isolated = await openIsolated(gpt2, { threads: 1, verify: "none" });
    await captureActivations(model, rows, at("a"), small);
    await captureActivations(isolated, rows, at("b"), small);
    await isolated.dispose();
    expect(await hashes(at("b"))).toEqual(await hashes(at("a")));
  });
});

/** The model, with an eye on what it gives. */
function spy(look: (values: Float32Array) => unknown): RunnableModel {
  const run: RunnableModel["run"] = async (request) => {
    const result = await model.run(request);
    for (const { data } of result.cache.values()) look(data);
    return result;
  };
  return new Proxy(model, {
    get: (target, key) => {
      if (key === "run") return run;
      const value = Reflect.get(target, key, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

describe("memory", () => {
  test("of last tokens nothing else leaves the runtime", async () => {
    let largest = 0;
    const watched = spy((values) => {
      largest = Math.max(largest, values.length);
    });
    const row = Array.from({ length: 30 }, (_, i) => i);
    const options = { hooks: hooks[0]!, positions: "last", bufferBytes: 4 * 96 * 3 } as const;
    await captureActivations(watched, Array(10).fill(row), at("s"), options);
    expect(largest).toBe(3 * 96);
  });

  test("values held at once stay within the bound, whatever the corpus' length", async () => {
    const perToken = 4 * (96 + 24 + 24);
    const bufferBytes = 30 * perToken;
    for (const n of [20, 200]) {
      let run = 0;
      let largest = 0;
      const requests: number[] = [];
      const watched = new Proxy(model, {
        get: (target, key) => {
          if (key !== "run") {
            const value = Reflect.get(target, key, target);
            return typeof value === "function" ? value.bind(target) : value;
          }
          return async (request: Parameters<HookedModel["run"]>[0]) => {
            expect(request.head).toBe("none");
            const result = await model.run(request);
            run = 0;
            for (const { data } of result.cache.values()) run += data.byteLength;
            largest = Math.max(largest, run);
            requests.push(request.tokens!.length);
            return result;
          };
        },
      });
      await captureActivations(watched, randomRows(n, 12, 3), at(String(n)), {
        ...small,
        shardTokens: 400,
        batchTokens: 2048,
        bufferBytes,
      });
      expect(largest).toBeLessThanOrEqual(bufferBytes);
      // And the bound is used: several texts at once.
      expect(Math.max(...requests)).toBeGreaterThan(3);
    }
  });

  test("shards hold at most what they may, and one text at least", async () => {
    const perToken = 4 * 96;
    await captureActivations(model, rows, at("s"), { hooks: hooks[0]!, shardBytes: 20 * perToken });
    const { shards } = (await openActivations(at("s"))).index;
    expect(shards.length).toBeGreaterThan(nTokens / 20 - 1);
    for (const {
      rows: [from, to],
    } of shards)
      expect(to - from).toBeLessThanOrEqual(20);
    await captureActivations(model, rows, at("t"), { hooks: hooks[0]!, shardBytes: 1 });
    expect((await openActivations(at("t"))).index.shards).toHaveLength(40);
  });
});

describe("interruption", () => {
  test("stopped anywhere and resumed: the same bytes as in one go", async () => {
    await captureActivations(model, rows, at("whole"), small);
    const wanted = await hashes(at("whole"));
    const seen: Progress[] = [];
    for (const stopAt of [0, 1, 60, 130]) {
      const stop = new AbortController();
      const out = at(`stopped-${stopAt}`);
      const error = await caught(
        captureActivations(model, rows, out, {
          ...small,
          signal: stop.signal,
          onProgress: ({ stage, done }) => {
            if (stage.startsWith("capturing") && done >= stopAt) stop.abort();
          },
        }),
      );
      expect(error).toBeInstanceOf(InterruptedError);
      expect(error.hint).toMatch(/--resume/);
      expect((await readdir(out)).filter((name) => name.startsWith("."))).toEqual([]);
      const left = await hashes(out);
      expect(Object.keys(left).length).toBeLessThan(Object.keys(wanted).length);
      const again = await captureActivations(model, rows, out, {
        ...small,
        resume: true,
        onProgress: (p) => seen.push(p),
      });
      if (stopAt > 40) expect(again.nResumed).toBeGreaterThan(0);
      expect(await hashes(out)).toEqual(wanted);
    }
    // What is counted is what remains to be done.
    const last = seen.at(-1)!;
    expect(last.done).toBe(last.total);
    expect(last.total).toBeLessThan(nTokens);
  });

  test("resuming what is complete changes nothing; resuming nothing is a beginning", async () => {
    await captureActivations(model, rows, at("s"), { ...small, resume: true });
    const before = await hashes(at("s"));
    const again = await captureActivations(model, rows, at("s"), { ...small, resume: true });
    expect(again.nResumed).toBe(again.nShards);
    expect(await hashes(at("s"))).toEqual(before);
  });

  test("a signal that has fired before: nothing is run", async () => {
    const call = captureActivations(model, rows, at("s"), {
      ...small,
      signal: AbortSignal.abort(),
    });
    expect(await caught(call)).toBeInstanceOf(InterruptedError);
    expect(await readdir(root)).toEqual([]);
  });

  test("killed in the middle of a shard and resumed: the same bytes", async () => {
    await captureActivations(model, rows, at("whole"), small);
    const child = killable(at("killed"), 100);
    await new Promise<void>((resolve) => child.stdout!.once("data", () => resolve()));
    child.kill("SIGKILL");
    await new Promise((resolve) => child.once("close", resolve));
    const left = await readdir(at("killed"));
    expect(left.filter((name) => name.endsWith(".partial"))).toHaveLength(1);
    expect(left.filter((name) => name.startsWith("shard-")).length).toBeGreaterThan(0);
    const { nResumed, nShards } = await captureActivations(model, rows, at("killed"), {
      ...small,
      resume: true,
    });
    expect(nResumed).toBeGreaterThan(0);
    expect(nResumed).toBeLessThan(nShards);
    expect(await hashes(at("killed"))).toEqual(await hashes(at("whole")));
  });

  /** A process that captures, says when it has done so many tokens, and then waits to be killed. */
  function killable(out: string, tokens: number): ChildProcess {
    const require = createRequire(import.meta.url);
    const program = `
      const { HookedModel } = await import("@penfield/hooks");
      const { captureActivations } = await import(${JSON.stringify(new URL("./index.ts", import.meta.url).href)});
      const model = await HookedModel.fromPretrained(${JSON.stringify(gpt2)}, { threads: 1, verify: "none" });
      await captureActivations(model, ${JSON.stringify(rows)}, ${JSON.stringify(out)}, {
        ...${JSON.stringify(small)},
        onProgress: ({ stage, done }) => {
          if (!stage.startsWith("capturing") || done < ${tokens}) return;
          require("node:fs").writeSync(1, "here\\n");
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
        },
      });`;
    return spawn(
      process.execPath,
      [
        ...[
          "--import",
          pathToFileURL(require.resolve("tsx")).href,
          "--conditions=@penfield/source",
        ],
        ...["--input-type=module", "-e"],
        `import { createRequire } from "node:module"; const require = createRequire(import.meta.url);${program}`,
      ],
      { stdio: ["ignore", "pipe", "inherit"], cwd: join(gpt2, "../../../packages/store") },
    );
  }
});

describe("refusals", () => {
  test("a folder that is in use", async () => {
    await mkdir(at("s"));
    await writeFile(at("s", "mine.txt"), "");
    const other = await caught(captureActivations(model, rows, at("s"), small));
    expect(other).toBeInstanceOf(FileError);
    expect(other.message).toMatch(/s: expected no such folder or an empty one, got 1 entries$/);
    await captureActivations(model, rows, at("t"), small);
    const store = await caught(captureActivations(model, rows, at("t"), small));
    expect(store.message).toMatch(/got a store of activations$/);
    expect(store.hint).toMatch(/--resume/);
    await writeFile(at("file"), "");
    expect(await caught(captureActivations(model, rows, at("file"), small))).toBeInstanceOf(
      FileError,
    );
    expect(await caught(captureActivations(model, rows, at("file", "x"), small))).toBeInstanceOf(
      FileError,
    );
  });

  test("a store of another model, corpus, hooks or options, by name", async () => {
    await captureActivations(model, rows, at("s"), small);
    const before = await hashes(at("s"));
    const other = new Proxy(model, {
      get: (target, key) => {
        if (key === "sha256") return "0".repeat(64);
        const value = Reflect.get(target, key, target);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    const cases: [RunnableModel, number[][], Partial<CaptureOptions>, RegExp][] = [
      [other, rows, {}, /got another model \(gpt2, sha256 [0-9a-f]{12}\)$/],
      [model, rows.slice(1), {}, /got another corpus \(40 texts, \d+ tokens\)/],
      [model, [...rows.slice(0, 39), rows[39]!.map((id) => (id + 1) % 96)], {}, /another corpus/],
      [model, rows, { hooks: hooks[0]! }, /got other hook points \(blocks/],
      [model, rows, { dtype: "float16" }, /got dtype "float32"$/],
      [model, rows, { positions: "last" }, /got positions "all"$/],
      [model, rows, { batchTokens: 25 }, /got batchTokens 24$/],
    ];
    for (const [m, corpus, changes, message] of cases) {
      const error = await caught(
        captureActivations(m, corpus, at("s"), { ...small, ...changes, resume: true }),
      );
      expect(error, String(message)).toBeInstanceOf(FileError);
      expect(error.message).toMatch(message);
    }
    expect(await hashes(at("s"))).toEqual(before);
  });

  test("a disk without room is found out before the first run, with the number that fits", async () => {
    let runs = 0;
    const counted = spy(() => runs++);
    const options = { ...small, hooks: hooks[0]! };
    const { bytes } = await captureActivations(model, rows, at("s"), options);
    const room = (share: number) => async () => 16 * 2 ** 20 + Math.floor(share * bytes);
    const error = await caught(capture(counted, rows, at("t"), options, room(0.5)));
    expect(error).toBeInstanceOf(FileError);
    expect(error.message).toBe(`capture: ${at("t")}: expected room for 1 MB, got 1 MB`);
    expect(error.hint).toMatch(
      new RegExp(
        `^About ${Math.floor(nTokens / 2)} of ${nTokens} tokens fit\\..*float16.*one position`,
      ),
    );
    expect(runs).toBe(1); // one token, to learn how many units there are
    // Enough to the byte; of an interrupted run only the rest is needed.
    await capture(model, rows, at("t"), { ...options, resume: true }, room(1));
    await capture(model, rows, at("t"), { ...options, resume: true }, room(0));
  });

  const mount = (folder: string, command: string) => [
    ...["--user", "--map-root-user", "--mount", "sh", "-c"],
    `mount -t tmpfs -o size=64k tmpfs "${folder}" && ${command}`,
  ];
  const possible = spawnSync("unshare", mount("/mnt", "true")).status === 0;
  test.skipIf(!possible)(
    "a disk that is full says which folder (skipped where no small disk can be mounted)",
    async () => {
      await mkdir(at("disk"));
      const source = (path: string) => JSON.stringify(new URL(path, import.meta.url).href);
      const program = `
        const { HookedModel } = await import("@penfield/hooks");
        const { capture } = await import(${source("./capture.ts")});
        const model = await HookedModel.fromPretrained(${JSON.stringify(gpt2)}, { threads: 1, verify: "none" });
        const tokens = Array.from({ length: 400 }, () => [1, 2, 3]);
        const options = { hooks: "*.hook_post", shardTokens: 60 };
        await capture(model, tokens, ${JSON.stringify(at("disk", "store"))}, options, async () => 1e12)
          .catch((e) => process.stdout.write(e.code + " " + e.message));`;
      await writeFile(at("program.mts"), program);
      // Packages are looked for from where the program lies.
      await symlink(join(gpt2, "../../../packages/store/node_modules"), at("node_modules"));
      const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
      const command = `'${process.execPath}' --import '${tsx}' --conditions=@penfield/source '${at("program.mts")}'; ls -A "${at("disk", "store")}"`;
      const ran = spawnSync("unshare", mount(at("disk"), command), { encoding: "utf8" });
      expect(ran.stderr).toBe("");
      expect(ran.stdout).toMatch(/^ERR_FILE capture: .*disk\/store: the disk is full/);
      expect(ran.stdout).not.toMatch(/partial/);
    },
  );

  test("hook points that are not there, or have no value per unit and token", async () => {
    const cases: [string | string[], RegExp][] = [
      ["blocks.9.mlp.hook_post", /^hookPoint: expected a hook point of gpt2/],
      ["*.nowhere", /got none that fits "\*\.nowhere"$/],
      ["blocks.0.attn.hook_pattern", /expected a hook point with axes batch, pos and units/],
      [[], /expected at least one hook point, got none$/],
    ];
    for (const [wanted, message] of cases) {
      const error = await caught(captureActivations(model, rows, at("s"), { hooks: wanted }));
      expect(error).toBeInstanceOf(HookPointError);
      expect(error.message).toMatch(message);
    }
    // A pattern passes over those.
    const { hooks: names } = await captureActivations(model, [[1]], at("s"), {
      hooks: "blocks.0.*",
    });
    expect(names).toContain("blocks.0.hook_mlp_out");
    expect(names.filter((name) => /pattern|scores/.test(name))).toEqual([]);
  });

  test("texts that cannot be run, and options that mean nothing", async () => {
    const corpora: [number[][], RegExp][] = [
      [[], /at least one text, got none$/],
      [[[1], []], /expected 1 to 32 tokens, got 0 in text 1$/],
      [[[1, 96]], /whole numbers below 96, got 96 in text 0$/],
      [[[1.5]], /got 1.5 in text 0$/],
      [[[-1]], /got -1 in text 0$/],
    ];
    for (const [corpus, message] of corpora) {
      const error = await caught(captureActivations(model, corpus, at("s"), small));
      expect(error).toBeInstanceOf(DataError);
      expect(error.message).toMatch(message);
    }
    const wrong = [
      { batchTokens: 0 },
      { shardBytes: 1.5 },
      { maxTokens: -1 },
      { positions: "first" },
    ];
    for (const changes of wrong as Partial<CaptureOptions>[]) {
      expect(
        await caught(captureActivations(model, rows, at("s"), { ...small, ...changes })),
      ).toBeInstanceOf(ArgumentError);
    }
    expect(await readdir(root)).toEqual([]);
  });
});

describe("a store that is not what its index says", () => {
  const expectFormatError = async (message: RegExp) => {
    const error = await caught(openActivations(at("s")));
    expect(error.code, error.message).toBe("ERR_FORMAT");
    expect(error.message).toMatch(message);
  };
  beforeEach(() => captureActivations(model, rows, at("s"), small));

  test("files cut, exchanged, missing", async () => {
    const file = at("s", "shard-00001", `${hooks[0]}.npy`);
    const bytes = await readFile(file);
    await truncate(file, bytes.length - 4);
    await expectFormatError(/blocks\.0\.mlp\.hook_post\.npy: expected \d+ bytes, got \d+$/);
    const wrong = Buffer.from(bytes);
    wrong.write("<f2", bytes.indexOf("<f4"));
    await writeFile(file, wrong);
    await expectFormatError(/expected an array <f4 of \[\d+, 96\], got the header/);
    await rm(file);
    expect(await caught(openActivations(at("s")))).toBeInstanceOf(FileError);
    await rm(at("s", "shard-00001"), { recursive: true });
    const unfinished = await caught(openActivations(at("s")));
    expect(unfinished).toBeInstanceOf(DataError);
    expect(unfinished.message).toMatch(/expected \d+ shards, got the first 1$/);
    const store = await openActivations(at("s"), { allowIncomplete: true });
    expect(store.complete).toBe(false);
    expect(store.nRows).toBe(store.index.shards[0]!.rows[1]);
    expect((await store.read(hooks[0]!)).shape[0]).toBe(store.nRows);
    expect(() => store.place(store.nRows)).toThrow(ArgumentError);
  });

  test("an index that contradicts itself, or leaves the folder", async () => {
    const text = await readFile(at("s", "index.json"), "utf8");
    // biome-ignore lint/suspicious/noExplicitAny: fields are broken on purpose
    const cases: [(index: any) => void, RegExp][] = [
      [(i) => (i.version = 2), /version: /],
      [(i) => (i.more = 1), /nrecognized key/],
      [(i) => (i.nRows += 1), /nRows: expected \d+, got/],
      [(i) => (i.corpus.nTexts += 1), /shards: expected 41 texts/],
      [(i) => (i.hooks[0].nUnits = 5), /sizes that multiply to 5/],
      [(i) => (i.hooks[0].file = "../../x.npy"), /expected the file/],
      [(i) => (i.hooks[0].name = "../x"), /hooks\.0\.name: /],
      [(i) => (i.hooks[1] = i.hooks[0]), /each name once/],
      [(i) => (i.shards[1].folder = "../x"), /expected the folder shard-00001/],
      [(i) => (i.shards[1].rows[0] += 1), /expected rows from/],
      [(i) => i.shards.pop(), /shards: expected 40 texts/],
      [(i) => (i.shards[0].rows = [5, 5]), /a range that holds something/],
    ];
    for (const [change, message] of cases) {
      const index = JSON.parse(text);
      change(index);
      await writeFile(at("s", "index.json"), JSON.stringify(index));
      await expectFormatError(message);
    }
    await writeFile(at("s", "index.json"), "{");
    await expectFormatError(/expected JSON/);
  });

  test("a list of texts that does not fit", async () => {
    const text = await readFile(at("s", "texts.jsonl"), "utf8");
    const cases: [string, RegExp][] = [
      [text.slice(0, -20), /expected 40 lines/],
      [text.replace(/"tokens":\d+/, '"tokens":99'), /expected the texts of shard-00000 to have/],
      [text.replace(/"id"/, '"name"'), /line 1: expected an id/],
      [text.replace("{", ""), /line 1: expected an id/],
    ];
    for (const [changed, message] of cases) {
      await writeFile(at("s", "texts.jsonl"), changed);
      await expectFormatError(message);
    }
  });

  test("no store at all", async () => {
    expect(await caught(openActivations(at("nowhere")))).toBeInstanceOf(FileError);
  });
});
