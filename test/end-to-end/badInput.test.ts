import { chmod, copyFile, mkdir, readdir, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { writeNpy } from "@penfield/core";
import { encodeModel, makeModel, makeNode, makeTensor, makeValueInfo } from "@penfield/onnx";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  expectError,
  expectNothingWritten,
  makeSetting,
  penfield,
  type Setting,
  stimulusSource,
  wordTokenizer,
} from "./setting.ts";

let setting: Setting;
let out: string;
beforeAll(async () => {
  setting = await makeSetting();
  out = join(setting.root, "reports", "never");
});
afterAll(() => setting.remove());

/** The experiment with some of its words replaced. */
const run = (changes: Record<string, string>, more: readonly string[] = []) => {
  const words = [...setting.words];
  for (const [name, value] of Object.entries(changes)) {
    const at = words.indexOf(name);
    if (at >= 0) words[at + 1] = value;
    else words.push(name, value);
  }
  return penfield(["run", "language-network", ...words, "--out", out, ...more]);
};
/** A copy of the model's folder with some files of its own. */
async function modelWith(name: string, files: Record<string, string | undefined>): Promise<string> {
  const folder = join(setting.root, name);
  await mkdir(folder, { recursive: true });
  for (const file of await readdir(setting.model)) {
    await copyFile(join(setting.model, file), join(folder, file));
  }
  for (const [file, content] of Object.entries(files)) {
    if (content === undefined) await rm(join(folder, file));
    else await setting.write(`${name}/${file}`, content);
  }
  return folder;
}

describe("models", () => {
  test("no such model", async () => {
    expectError(await run({ "--model": join(setting.root, "nowhere") }), {
      code: "ERR_MODEL",
      message: /expected a model, got .*nowhere.*no such file or folder/,
      hint: /hub id/,
    });
    expectNothingWritten(out);
  });

  test("a graph that is no transformer", async () => {
    const graph = makeModel({
      nodes: [makeNode("MatMul", ["x", "w"], ["y"]), makeNode("Relu", ["y"], ["z"])],
      inputs: [makeValueInfo("x", "float32", ["n", 2])],
      outputs: [makeValueInfo("z", "float32")],
      initializers: [makeTensor("w", "float32", [2, 2], [1, 0, 0, 1])],
    });
    const path = await setting.write("perceptron.onnx", encodeModel(graph));
    expectError(await run({ "--model": path }), {
      code: "ERR_MODEL",
      message: /expected a transformer .* got 2 nodes/,
    });
    expectNothingWritten(out);
  });

  test("a text that calls itself a model, and a model cut off in the middle", async () => {
    const text = await setting.write("text.onnx", "Dear reader, this is no model.\n");
    expectError(await run({ "--model": text }), {
      code: "ERR_FORMAT",
      message: /text\.onnx: expected an ONNX model/,
      hint: /exported to ONNX/,
    });
    const empty = await setting.write("empty.onnx", "");
    expectError(await run({ "--model": empty }), {
      code: "ERR_FORMAT",
      message: /empty\.onnx: expected an ONNX model/,
    });
    expectNothingWritten(out);
  });

  test("a folder without a model, or without a tokenizer", async () => {
    const none = await modelWith("none", { "model.onnx": undefined });
    expectError(await run({ "--model": none }), {
      code: "ERR_MODEL",
      message: /none: expected onnx\/model\.onnx, got no \.onnx file/,
    });
    const mute = await modelWith("mute", { "tokenizer.json": undefined });
    expectError(await run({ "--model": mute }), {
      code: "ERR_TOKENIZER",
      message: /came without a tokenizer/,
      hint: /tokenizer\.json/,
    });
    expectNothingWritten(out);
  });

  test("the tokenizer of another model, and what is no tokenizer", async () => {
    const words = ["<unk>", ...Array.from({ length: 299 }, (_, i) => `w${i}`)];
    const other = await modelWith("other", { "tokenizer.json": wordTokenizer(words) });
    expectError(await run({ "--model": other }), {
      code: "ERR_TOKENIZER",
      message: /expected a tokenizer of at most 96 tokens, got one of 300/,
    });
    const broken = await modelWith("broken", { "tokenizer.json": '{"model":' });
    expectError(await run({ "--model": broken }), {
      code: "ERR_MODEL",
      message: /tokenizer\.json is not JSON/,
    });
    const strange = await modelWith("strange", { "tokenizer.json": "{}" });
    expectError(await run({ "--model": strange }), {
      code: "ERR_FORMAT",
      message: /tokenizer\.json is not a tokenizer/,
    });
    expectNothingWritten(out);
  });
});

describe("stimuli", () => {
  const table = (rows: readonly string[]): string => `id\tcondition\ttext\n${rows.join("\n")}\n`;
  const cases: [string, string, string, RegExp][] = [
    [
      "none",
      table([]),
      "ERR_DATA",
      /stimuli\.tsv: expected .* at least one row, got a header only/,
    ],
    ["empty", "", "ERR_DATA", /stimuli\.tsv: expected .*, got an empty file/],
    [
      "one condition",
      table(["a\tsentence\tw1 w2", "b\tsentence\tw2 w3"]),
      "ERR_DATA",
      /expected at least 2 stimuli of condition "nonwords", got 0/,
    ],
    [
      "repeated ids",
      table(["a\tsentence\tw1 w2", "a\tnonwords\tw2 w3"]),
      "ERR_DATA",
      /expected each id once, got "a" twice/,
    ],
    ["no text", table(["a\tsentence\t", "b\tnonwords\tw1"]), "ERR_DATA", /line 2: expected a text/],
    [
      "a short row",
      table(["a\tsentence\tw1", "b\tnonwords"]),
      "ERR_FORMAT",
      /line 3: expected 3 cells/,
    ],
  ];
  const stimuliOf = async (name: string, text: string): Promise<string> => {
    await setting.write(`stimuli ${name}/source.json`, stimulusSource);
    return join(await setting.write(`stimuli ${name}/stimuli.tsv`, text), "..");
  };
  test.each(cases)("%s", async (name, text, code, message) => {
    expectError(await run({ "--stimuli": await stimuliOf(name, text) }), { code, message });
    expectNothingWritten(out);
  });

  test("a table alone does not say which condition is set against which", async () => {
    const path = await setting.write("alone.tsv", table(["a\tsentence\tw1", "b\tnonwords\tw2"]));
    expectError(await run({ "--stimuli": path }), {
      code: "ERR_DATA",
      message: /expected two conditions to set against each other, got none named/,
    });
  });

  test("no such file", async () => {
    expectError(await run({ "--stimuli": join(setting.root, "nowhere.tsv") }), {
      code: "ERR_FILE",
      message: /nowhere\.tsv: there is no such file or folder/,
    });
  });

  test("a text longer than the model's context, unless a limit shortens it", async () => {
    const long = Array.from({ length: 40 }, (_, i) => `w${i}`).join(" ");
    const path = await stimuliOf(
      "long",
      table([`a\tsentence\t${long}`, "b\tnonwords\tw1 w2", "c\tsentence\tw3", "d\tnonwords\tw4"]),
    );
    expectError(await run({ "--stimuli": path, "--max-tokens": "all" }), {
      code: "ERR_DATA",
      message: /expected 1 to 32 tokens, got 4[01]/,
    });
    expectNothingWritten(out);
  });
});

describe("tasks", () => {
  const pair = JSON.stringify({
    sentence_good: "w1 w2",
    sentence_bad: "w2 w1",
    UID: "x",
    linguistics_term: "x",
    pairID: "0",
  });
  test.each([
    ["broken JSON", `${pair}\n{"sentence_good": "w1`, "ERR_FORMAT", /line 2/],
    ["nothing in it", "", "ERR_DATA", /expected a stimulus set or a task in a known form/],
    ["an id twice", `${pair}\n${pair}\n`, "ERR_DATA", /line 2: expected each pairID once, got "0"/],
    ["another kind of lines", '{"hello": 1}\n', "ERR_DATA", /in a known form, got something else/],
  ] as const)("%s", async (name, text, code, message) => {
    const path = await setting.write(`tasks ${name}.jsonl`, text);
    expectError(await run({ "--tasks": path }), { code, message });
    expectNothingWritten(out);
  });

  test("an item longer than the model's context is named", async () => {
    const long = Array.from({ length: 40 }, (_, i) => `w${i}`).join(" ");
    const text = JSON.stringify({ ...JSON.parse(pair), sentence_good: long, pairID: "long one" });
    const path = await setting.write("tasks long.jsonl", `${text}\n`);
    expectError(await run({ "--tasks": path }), {
      code: "ERR_DATA",
      message: /expected 1 to 32 tokens, got 41 in item long one/,
    });
    expectNothingWritten(out);
  });
});

describe("recordings", () => {
  const values = (n: number): Float32Array => Float32Array.from({ length: n }, (_, i) => i % 7);

  test("NaN", async () => {
    const data = values(90);
    data[4] = Number.NaN;
    const path = await setting.write("nan.npy", writeNpy(data, [30, 3]));
    expectError(await run({ "--recordings": path }), {
      code: "ERR_DATA",
      message: /NaN|finite/,
    });
    expectNothingWritten(out);
  });

  test("as many rows as there are not stimuli", async () => {
    const path = await setting.write("short.npy", writeNpy(values(60), [20, 3]));
    expectError(await run({ "--recordings": path }), {
      code: "ERR_SHAPE",
      message: /20.*30|30.*20/,
    });
    expectNothingWritten(out);
  });

  test("rows named otherwise than the stimuli", async () => {
    const rows = Array.from({ length: 30 }, (_, i) => `q${i}\t1\t2`).join("\n");
    const path = await setting.write("named.tsv", `id\ta\tb\n${rows}\n`);
    expectError(await run({ "--recordings": path }), {
      code: "ERR_DATA",
      message: /30 recorded ones without a stimulus/,
    });
    expectNothingWritten(out);
  });

  test("a recording without its stimuli, a cut-off file, none at all", async () => {
    const words = setting.words.filter(
      (word) => word !== "--recording-stimuli" && word !== setting.recordingStimuli,
    );
    const alone = await penfield(["run", "language-network", ...words, "--out", out]);
    expectError(alone, {
      code: "ERR_ARGUMENT",
      message: /expected the stimuli of the recording/,
      hint: /--recording-stimuli/,
    });
    const whole = writeNpy(values(90), [30, 3]);
    const cut = await setting.write("cut.npy", whole.subarray(0, whole.length - 9));
    expectError(await run({ "--recordings": cut }), { code: "ERR_FORMAT", message: /cut\.npy/ });
    expectError(await run({ "--recordings": join(setting.root, "nowhere.npy") }), {
      code: "ERR_FILE",
      message: /nowhere\.npy: there is no such file/,
    });
    expectNothingWritten(out);
  });
});

describe("where the report goes", () => {
  test("a folder in use stays as it was", async () => {
    const used = await setting.write("used/mine.txt", "mine");
    const folder = join(used, "..");
    const words = ["run", "language-network", ...setting.words, "--out", folder];
    expectError(await penfield(words), {
      code: "ERR_FILE",
      message: /used: expected no such folder or an empty one, got 1 entries/,
      hint: /--replace/,
    });
    expect(await readdir(folder)).toEqual(["mine.txt"]);
  });

  test("--replace removes reports and nothing else", async () => {
    const mine = await setting.write("thesis/chapter.txt", "years of work");
    const mixed = await setting.write("mixed/report.json", '{"schema": "penfield.report"}');
    await setting.write("mixed/notes.txt", "notes");
    const other = await setting.write("strangers/report.json", '{"schema": "of somebody else"}');
    for (const [file, message] of [
      [mine, /expected an older report to replace, got a folder with chapter\.txt in it/],
      [mixed, /got a folder with notes\.txt in it/],
      [other, /got a folder without one/],
    ] as const) {
      const folder = join(file, "..");
      const before = await readdir(folder);
      for (const words of [
        ["run", "planted-circuit", "--out", folder, "--replace"],
        ["start", "--no-serve", "--out", folder],
      ]) {
        const ran = await penfield(words);
        expectError(
          { ...ran, err: ran.err.replace(/^Running .*\n/, "") },
          { code: "ERR_FILE", message, hint: /Nothing was removed/ },
        );
        expect(await readdir(folder)).toEqual(before);
      }
    }
  });

  test("a file, or a place below a file", async () => {
    const file = await setting.write("a file", "x");
    for (const place of [file, join(file, "report")]) {
      const words = ["run", "language-network", ...setting.words, "--out", place];
      expectError(await penfield(words), { code: "ERR_FILE", message: /a file/ });
    }
  });

  const root = process.getuid?.() === 0;
  test.skipIf(root)("a folder that may not be written (not tested as root, who may)", async () => {
    const locked = join(setting.root, "locked");
    await mkdir(locked);
    await chmod(locked, 0o500);
    const place = join(locked, "report");
    const words = ["run", "language-network", ...setting.words, "--out", place];
    expectError(await penfield(words), { code: "ERR_FILE", message: /permission is denied/ });
    expect(await readdir(locked)).toEqual([]);
  });
});

describe("commands that cannot be understood", () => {
  const usage: [string, string[], RegExp][] = [
    ["verb", ["dance"], /expected a verb \(run, hooks, .*\), got "dance"/],
    ["verb that is a property of objects", ["constructor"], /expected a verb/],
    ["option", ["run", "language-network", "--modle", "x"], /--modle/],
    ["option without its value", ["run", "language-network", "--model"], /--model/],
    ["experiment", ["run", "phrenology"], /expected one of .*language-network.*, got "phrenology"/],
    [
      "word too many",
      ["run", "language-network", "twice"],
      /expected one experiment, got "twice" too/,
    ],
    ["units", ["run", "language-network", "--units", "synapses"], /expected resid, mlp, heads/],
    ["share", ["run", "language-network", "--percent", "80"], /expected a number from 0.001 to 50/],
    ["dose", ["run", "language-network", "--doses", "1,none"], /--doses: .* got "none"/],
    ["dose too high", ["run", "language-network", "--doses", "1,51"], /--doses/],
    ["number of sets", ["run", "language-network", "--random", "1"], /--random: .* from 2/],
    ["no whole number", ["run", "language-network", "--seed", "1.5"], /--seed: expected a whole/],
    ["no number", ["run", "language-network", "--threads", "many"], /--threads/],
    ["number in letters", ["run", "language-network", "--max-tokens", "few"], /--max-tokens/],
    ["port", ["view", ".", "--port", "99999"], /--port: expected a whole number from 0 to 65535/],
    ["empty port", ["view", ".", "--port", " "], /--port/],
    [
      "place without a name",
      ["run", "planted-circuit", "--out", "", "--replace"],
      /--out: expected/,
    ],
    ["word that hooks does not take", ["hooks", "gpt2"], /expected options only, got "gpt2"/],
    ["second folder", ["view", "a", "b"], /expected options only, got "b"/],
    ["word that start does not take", ["start", "now"], /expected options only, got "now"/],
    ["action", ["corpora", "burn"], /expected "corpora" or "corpora fetch NAME"/],
  ];
  test.each(usage)("%s", async (_, words, message) => {
    expectError(await penfield(words), { exit: 2, code: "ERR_USAGE", message });
  });

  test("no verb at all shows the help and is no success", async () => {
    const { code, out: text } = await penfield([]);
    expect(code).toBe(2);
    expect(text).toMatch(/penfield/);
    expect((await penfield(["help"])).code).toBe(0);
    expect((await penfield(["run", "--help"])).code).toBe(0);
    expect((await penfield(["--version"])).out).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  test("an unknown stimulus set", async () => {
    const { code, err } = await penfield(["corpora", "fetch", "nothing"]);
    expect(code).toBe(1);
    expect(err).toMatch(/expected the name of a stimulus set, got "nothing"/);
  });

  test("a port that is taken", async () => {
    const server = createServer();
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    const { port } = server.address() as AddressInfo;
    await mkdir(join(setting.root, "reports"), { recursive: true });
    const words = ["view", join(setting.root, "reports"), "--port", String(port)];
    expectError(await penfield(words), {
      exit: 2,
      code: "ERR_USAGE",
      message: new RegExp(`expected a free port, got ${port}`),
      hint: /--port/,
    });
    await new Promise((done) => server.close(done));
  });

  test("with --json, an error is one line of JSON", async () => {
    for (const [words, code, exit] of [
      [["dance", "--json"], "ERR_USAGE", 2],
      [["hooks", "--model", join(setting.root, "nowhere"), "--json"], "ERR_MODEL", 1],
    ] as const) {
      const ran = await penfield(words);
      expect([ran.code, ran.out]).toEqual([exit, ""]);
      const { error } = JSON.parse(ran.err);
      expect(error.code).toBe(code);
      expect(error.message).toMatch(/expected/);
      expect(typeof error.hint).toBe("string");
      expect(ran.err.trim().split("\n")).toHaveLength(1);
    }
  });
});
