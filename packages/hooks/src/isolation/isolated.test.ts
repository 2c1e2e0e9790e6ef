import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import {
  ArgumentError,
  DataError,
  HookPointError,
  InterruptedError,
  ModelError,
  PenfieldError,
  TokenizerError,
} from "@penfield/core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  HookedModel,
  type IsolatedModel,
  openIsolated,
  type RunnableModel,
  type RunRequest,
} from "../index.ts";
import { packError, unpackError } from "./messages.ts";

const gpt2 = fileURLToPath(new URL("../../../../test/fixtures/gpt2", import.meta.url));
const bert = fileURLToPath(new URL("../../../../test/fixtures/bert", import.meta.url));
const onnxFile = (folder: string) => `${folder}/model.onnx`;
const options = { threads: 1 } as const;
const tokens = [
  [5, 9, 7, 3],
  [1, 2],
];
/** Long enough to be caught in the middle: thousands of rows. */
const longRequest: RunRequest = {
  tokens: Array.from({ length: 6000 }, (_, i) =>
    Array.from({ length: 32 }, (_, p) => (i + p) % 96),
  ),
  head: "lastLogits",
};
const alive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};
const untilGone = async (pid: number): Promise<void> => {
  while (alive(pid)) await sleep(20);
};
const caught = (promise: Promise<unknown>): Promise<PenfieldError> =>
  promise.then(
    () => {
      throw new Error("expected an error");
    },
    (error) => error,
  );

describe("an isolated model", () => {
  let here: HookedModel;
  let there: IsolatedModel;
  beforeAll(async () => {
    here = await HookedModel.fromPretrained(gpt2, options);
    there = await openIsolated(gpt2, options);
  });
  afterAll(async () => {
    await here.dispose();
    await there.dispose();
  });

  test("says of itself what the model in this process says", () => {
    const both: readonly RunnableModel[] = [here, there];
    const [a, b] = both.map((model) => ({
      cfg: model.cfg,
      hookPoints: model.hookPoints,
      sha256: model.sha256,
      identity: model.identity,
      mlp: model.listHooks("*.mlp.hook_post"),
      one: model.hookPoint("blocks.1.hook_out"),
    }));
    expect(b).toEqual(a);
    expect(a!.mlp).toHaveLength(2);
  });

  test("gives the same bits: captures, lesions, patches, starts in the middle", async () => {
    const hook = "blocks.0.hook_resid_post";
    const { cache } = await here.run({ tokens, capture: [hook] });
    const requests: RunRequest[] = [
      { tokens, capture: ["blocks.*"] },
      { tokens, head: "tokenLogProbs" },
      { tokens, head: "none", capture: ["hook_embed"] },
      {
        tokens,
        capture: ["blocks.1.mlp.hook_post"],
        interventions: [
          { hook, op: { type: "zero" }, units: new Int32Array([2, 5]), rows: [1] },
          { hook: "blocks.0.attn.hook_z", op: { type: "patch", source: [1, 0] }, heads: [1] },
          {
            hook: "blocks.1.hook_mlp_out",
            op: { type: "add", value: new Float32Array(here.cfg.dModel).fill(0.25) },
          },
          { hook, op: { type: "noise", standardDeviation: 0.1, seed: 3 } },
        ],
      },
      { tokens, from: { hook, values: cache.get(hook)! }, head: "lastLogits" },
    ];
    for (const request of requests) {
      expect(await there.run(request)).toEqual(await here.run(request));
    }
    const filter = { namesFilter: "*.hook_mlp_out" };
    expect(await there.runWithCache(tokens, filter)).toEqual(
      await here.runWithCache(tokens, filter),
    );
    const lesion = [{ hook, op: { type: "zero" } } as const];
    expect(await there.runWithInterventions(tokens, lesion)).toEqual(
      await here.runWithInterventions(tokens, lesion),
    );
  });

  test("arrays arrive as typed arrays", async () => {
    const { logits, batch, cache } = await there.run({ tokens, capture: ["hook_embed"] });
    expect(logits!.data).toBeInstanceOf(Float32Array);
    expect(batch.ids).toBeInstanceOf(BigInt64Array);
    expect(cache).toBeInstanceOf(Map);
  });

  test("requests made at once wait in line, each with its own answer", async () => {
    const rows = Array.from({ length: 12 }, (_, i) => [i + 1, 3, 2]);
    const together = await Promise.all(rows.map((row) => there.run({ tokens: [row] })));
    for (const [i, row] of rows.entries()) {
      expect(together[i]).toEqual(await here.run({ tokens: [row] }));
    }
  });

  test("this process goes on while a long run is under way", async () => {
    let ticks = 0;
    let over = false;
    const tick = () => {
      ticks++;
      if (!over) setImmediate(tick);
    };
    setImmediate(tick);
    await there.run(longRequest);
    over = true;
    // A run in this process lets a few pass at its ends.
    expect(ticks).toBeGreaterThan(100);
  });

  test("errors keep class, message, hint and code", async () => {
    const wrong: [RunRequest, typeof HookPointError | typeof DataError][] = [
      [{ tokens, capture: ["blocks.7.hook_resid_post"] }, HookPointError],
      [{ tokens: [[]] }, DataError],
      [{ tokens: [[96]] }, DataError],
      [{ tokens: [Array(33).fill(1)] }, DataError],
    ];
    for (const [request, type] of wrong) {
      const [a, b] = await Promise.all([caught(here.run(request)), caught(there.run(request))]);
      expect(b).toBeInstanceOf(type);
      expect(b).toMatchObject({ message: a.message, hint: a.hint, code: a.code, name: a.name });
    }
    expect(() => there.hookPoint("nowhere")).toThrow(HookPointError);
    expect(() => there.requireTokenizer()).toThrow(TokenizerError);
  });

  test("what cannot be sent is refused, and the model goes on", async () => {
    const request = { tokens, capture: [() => "a"] as unknown as string[] };
    const error = await caught(there.run(request));
    expect(error).toBeInstanceOf(ArgumentError);
    expect(error.message).toMatch(/^run: expected a request of plain data and arrays, got /);
    expect((await there.run({ tokens })).logits!.shape).toEqual([2, 4, 96]);
  });

  test("killed in the middle of a run: a ModelError for all in line, then the next call works", async () => {
    const before = there.pid!;
    const running = caught(there.run(longRequest));
    const waiting = caught(there.run({ tokens }));
    await sleep(30);
    process.kill(before, "SIGKILL");
    for (const error of [await running, await waiting]) {
      expect(error).toBeInstanceOf(ModelError);
      expect(error.message).toBe(
        "run: expected an answer of the model's process, got its end by SIGKILL",
      );
      expect(error.hint).toMatch(/memory ran out.*next call starts a new process/);
    }
    expect(there.pid).toBeUndefined();
    expect(await there.run({ tokens })).toEqual(await here.run({ tokens }));
    expect(there.pid).not.toBe(before);
  });

  test("a crash says so", async () => {
    const running = caught(there.run(longRequest));
    await sleep(30);
    process.kill(there.pid!, "SIGSEGV");
    const error = await running;
    expect(error).toBeInstanceOf(ModelError);
    expect(error.message).toMatch(/its end by SIGSEGV$/);
    expect(error.hint).toMatch(/The runtime crashed in it/);
  });

  test("an idle process that is killed is noticed at the next call at the latest", async () => {
    await there.run({ tokens });
    const pid = there.pid!;
    process.kill(pid, "SIGKILL");
    await untilGone(pid);
    while (there.pid !== undefined) await sleep(10);
    expect((await there.run({ tokens })).logits!.shape).toEqual([2, 4, 96]);
  });

  test("the abort signal ends a run in its middle; those in line are not touched", async () => {
    await there.run({ tokens });
    const before = there.pid!;
    const stop = new AbortController();
    const running = caught(there.run(longRequest, { signal: stop.signal }));
    const waiting = there.run({ tokens });
    await sleep(30);
    stop.abort();
    const error = await running;
    expect(error).toBeInstanceOf(InterruptedError);
    expect(error.message).toBe("run: interrupted");
    expect(await waiting).toEqual(await here.run({ tokens }));
    await untilGone(before);
  });

  test("the abort signal of a run that waits takes it out of the line", async () => {
    await there.run({ tokens });
    const pid = there.pid;
    const stop = new AbortController();
    const running = there.run({ tokens });
    const waiting = caught(there.run({ tokens }, { signal: stop.signal }));
    const late = caught(there.run({ tokens }, { signal: AbortSignal.abort() }));
    stop.abort();
    expect(await waiting).toBeInstanceOf(InterruptedError);
    expect(await late).toBeInstanceOf(InterruptedError);
    expect((await running).batch.nRows).toBe(2);
    // A signal that fires when all is done stops nothing.
    const after = new AbortController();
    await there.run({ tokens }, { signal: after.signal });
    after.abort();
    expect(there.pid).toBe(pid);
  });
});

test("dispose ends the process, rejects what is under way, and can be called again", async () => {
  const model = await openIsolated(gpt2, { ...options, verify: "none" });
  const pid = model.pid!;
  const running = caught(model.run(longRequest));
  const waiting = caught(model.run({ tokens }));
  await model.dispose();
  expect(alive(pid)).toBe(false);
  for (const call of [running, waiting, caught(model.run({ tokens }))]) {
    const error = await call;
    expect(error).toBeInstanceOf(ModelError);
    expect(error.message).toMatch(/^run: expected an open model, got one that has been disposed/);
  }
  await model.dispose();
  const idle = await openIsolated(gpt2, { ...options, verify: "none" });
  await idle.dispose();
  expect(idle.pid).toBeUndefined();
});

test("from bytes, with a tokenizer that stays here", async () => {
  const bytes = readFileSync(onnxFile(gpt2));
  const config = JSON.parse(readFileSync(`${gpt2}/config.json`, "utf8"));
  const tokenizer = {
    vocabularySize: 90,
    bosId: undefined,
    padId: 4,
    encode: () => [1],
    decode: () => "",
    toStrTokens: () => [],
  };
  const all = { ...options, name: "own.onnx", config, tokenizer, verify: "none" } as const;
  const [here, there] = await Promise.all([
    HookedModel.fromBytes(bytes, all),
    openIsolated(bytes, all),
  ]);
  expect(there.cfg).toEqual(here.cfg);
  expect(there.requireTokenizer()).toBe(tokenizer);
  // The padding is the tokenizer's.
  const { batch } = await there.run({ tokens });
  expect(Array.from(batch.ids.subarray(4), Number)).toEqual([1, 2, 4, 4]);
  expect(await there.run({ tokens })).toEqual(await here.run({ tokens }));
  await here.dispose();
  await there.dispose();
});

test("an encoder", async () => {
  const [here, there] = await Promise.all(
    [HookedModel.fromPretrained, openIsolated].map((open) => open(bert, options)),
  );
  const request = { tokens, capture: ["blocks.*"] };
  expect(await there!.run(request)).toEqual(await here!.run(request));
  await here!.dispose();
  await there!.dispose();
});

test("inputs that are not tokens: images", async () => {
  const vit = fileURLToPath(new URL("../../../../test/fixtures/vit", import.meta.url));
  const { image_size: side } = JSON.parse(readFileSync(`${vit}/config.json`, "utf8"));
  const data = Float32Array.from({ length: 2 * 3 * side * side }, (_, i) => Math.sin(i));
  const request: RunRequest = {
    inputs: { pixel_values: { data, shape: [2, 3, side, side] } },
    capture: ["*.hook_resid_post"],
  };
  const [here, there] = await Promise.all(
    [HookedModel.fromPretrained, openIsolated].map((open) => open(vit, options)),
  );
  const result = await there!.run(request);
  expect(result.cache.size).toBeGreaterThan(0);
  expect(result).toEqual(await here!.run(request));
  await here!.dispose();
  await there!.dispose();
});

describe("errors at opening", () => {
  test.each([["/nowhere/at/all"], [`${gpt2}/config.json`], ["../"]])("%s", async (source) => {
    const [a, b] = await Promise.all([
      caught(HookedModel.fromPretrained(source)),
      caught(openIsolated(source)),
    ]);
    expect(b).toBeInstanceOf(PenfieldError);
    expect(b).toMatchObject({ message: a.message, hint: a.hint, code: a.code, name: a.name });
  });

  test("stopped while it opens", async () => {
    const stop = new AbortController();
    const opening = caught(openIsolated(gpt2, { signal: stop.signal }));
    stop.abort();
    expect(await opening).toBeInstanceOf(InterruptedError);
  });
});

describe("when the parent ends", () => {
  const index = new URL("../index.ts", import.meta.url).href;
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
  /** A process that opens a model, says the child's number, and does what it is told. */
  const parent = (then: string) => {
    const program = `
      const { openIsolated } = await import(${JSON.stringify(index)});
      const model = await openIsolated(${JSON.stringify(gpt2)}, { threads: 1, verify: "none" });
      process.stdout.write(model.pid + "\\n");
      const tokens = Array.from({ length: 20000 }, () => Array(32).fill(5));
      ${then}`;
    const words = ["--import", tsx, "--conditions=@penfield/source", "--input-type=module"];
    const child = spawn(process.execPath, [...words, "-e", program], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
    const pid = new Promise<number>((resolve) =>
      child.stdout.once("data", (d) => resolve(Number(d))),
    );
    return { child, ended, pid };
  };

  test("an idle model does not keep it from ending, and ends with it", async () => {
    const { ended, pid } = parent("");
    expect(await ended).toBe(0);
    await untilGone(await pid);
  });

  test("killed in the middle of a run: the run ends too", async () => {
    const { child, ended, pid } = parent("await model.run({ tokens });");
    const number = await pid;
    await sleep(100);
    child.kill("SIGKILL");
    await ended;
    await untilGone(number);
  });
});

test("errors of every class survive being sent", () => {
  const cause = new RangeError("inner");
  const error = unpackError(
    structuredClone(packError(new HookPointError("a: b", { hint: "do", cause }))),
  );
  expect(error).toBeInstanceOf(HookPointError);
  expect(error).toMatchObject({ message: "a: b", hint: "do", code: "ERR_HOOK_POINT" });
  expect(error.cause).toBeInstanceOf(RangeError);
  const plain = unpackError(structuredClone(packError(new TypeError("t"))));
  expect(plain).toBeInstanceOf(TypeError);
  class Own extends Error {
    override name = "OwnError";
  }
  expect(unpackError(structuredClone(packError(new Own("o"))))).toMatchObject({
    name: "OwnError",
    message: "o",
  });
  expect(unpackError(packError("words")).message).toBe("words");
});
