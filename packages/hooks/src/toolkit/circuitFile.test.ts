import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FileError, FormatError } from "@penfield/core";
import { describe, expect, test } from "vitest";
import { type Circuit, circuitText, parseCircuit, readCircuit, writeCircuit } from "../index.ts";

const circuit: Circuit = {
  version: 1,
  model: { name: "gpt2", sha256: "a".repeat(64) },
  nodes: [
    { hook: "blocks.9.attn.hook_z", head: 6 },
    { hook: "blocks.0.hook_mlp_out", positions: [3, 4] },
    { hook: "blocks.1.mlp.hook_post", units: [7] },
  ],
  edges: [{ from: 1, to: 0, component: "q" }],
  notes: "name mover",
};

test("what is written is read, from text and from a file", async () => {
  expect(parseCircuit(circuitText(circuit))).toEqual(circuit);
  const bare: Circuit = { version: 1, model: circuit.model, nodes: [] };
  expect(parseCircuit(circuitText(bare))).toEqual(bare);
  expect(circuitText(circuit).split("\n")).toContain(
    '    {"hook":"blocks.9.attn.hook_z","head":6},',
  );
  const folder = await mkdtemp(join(tmpdir(), "penfield-circuit-"));
  try {
    const path = join(folder, "ioi.json");
    await writeCircuit(path, circuit);
    expect(await readCircuit(path)).toEqual(circuit);
    await writeFile(path, "{");
    await expect(readCircuit(path)).rejects.toThrow(FormatError);
    await expect(readCircuit(path)).rejects.toThrow(/ioi\.json: expected JSON/);
    await expect(readCircuit(join(folder, "none.json"))).rejects.toThrow(FileError);
    await expect(readCircuit(folder)).rejects.toThrow(FileError);
  } finally {
    await rm(folder, { recursive: true });
  }
});

describe("what is no circuit is refused, with the place", () => {
  const whole = () => JSON.parse(circuitText(circuit));
  test.each<[string, (c: Record<string, unknown>) => unknown, RegExp]>([
    ["a list", () => [], /a circuit to be an object, got \[\]/],
    ["null", () => null, /got null/],
    ["another format", (c) => ({ ...c, format: "x" }), /format to be "penfield-circuit", got "x"/],
    ["a later version", (c) => ({ ...c, version: 2 }), /version to be 1, got 2/],
    ["no model", ({ model, ...c }) => c, /model to be an object, got nothing/],
    ["no hash", (c) => ({ ...c, model: { name: "x", sha256: "abc" } }), /64 hexadecimal digits/],
    ["no nodes", ({ nodes, ...c }) => c, /nodes to be a list, got nothing/],
    ["nodes by name", (c) => ({ ...c, nodes: { length: 1 } }), /nodes to be a list/],
    ["a node that is a text", (c) => ({ ...c, nodes: ["L9H6"] }), /nodes\[0\] to be an object/],
    [
      "a misspelt head",
      (c) => ({ ...c, nodes: [{ hook: "a", heads: [1] }] }),
      /alone, got "heads"/,
    ],
    [
      "a node without a hook",
      (c) => ({ ...c, nodes: [{ head: 1 }] }),
      /nodes\[0\].hook to be a text/,
    ],
    ["half a head", (c) => ({ ...c, nodes: [{ hook: "a", head: 0.5 }] }), /whole number from 0/],
    ["a head as text", (c) => ({ ...c, nodes: [{ hook: "a", head: "1" }] }), /got "1"/],
    ["a unit below 0", (c) => ({ ...c, nodes: [{ hook: "a", units: [1, -1] }] }), /units\[1\]/],
    [
      "positions of 1e300",
      (c) => ({ ...c, nodes: [{ hook: "a", positions: [1e300] }] }),
      /1e\+300/,
    ],
    [
      "head and units",
      (c) => ({ ...c, nodes: [{ hook: "a", head: 1, units: [1] }] }),
      /or with units/,
    ],
    [
      "edges to nowhere",
      (c) => ({ ...c, edges: [{ from: 0, to: 3 }] }),
      /nodes within 0..2, got 3/,
    ],
    [
      "edges from nowhere",
      (c) => ({ ...c, edges: [{ to: 0 }] }),
      /whole number from 0, got nothing/,
    ],
    [
      "a component that is a number",
      (c) => ({ ...c, edges: [{ from: 0, to: 1, component: 1 }] }),
      /component/,
    ],
    ["notes that are a list", (c) => ({ ...c, notes: [] }), /notes to be a text/],
    ["another field", (c) => ({ ...c, extra: 1 }), /alone, got "extra"/],
  ])("%s", (_, change, message) => {
    const text = JSON.stringify(change(whole()));
    expect(() => parseCircuit(text)).toThrow(FormatError);
    expect(() => parseCircuit(text)).toThrow(message);
  });

  test("names of Object's own, depth, and long values", () => {
    const text = circuitText(circuit).replace('"version"', '"__proto__": {"x": 1}, "version"');
    expect(() => parseCircuit(text)).toThrow(/got "__proto__"/);
    expect(({} as Record<string, unknown>)["x"]).toBeUndefined();
    expect(() => parseCircuit("[".repeat(100_000))).toThrow(FormatError);
    const long = JSON.stringify({ ...whole(), format: "x".repeat(1e5) });
    expect(() => parseCircuit(long)).toThrow(/^.{0,200}$/);
  });

  test("a circuit that is no circuit is not written", () => {
    expect(() => circuitText({ ...circuit, nodes: [{ hook: "" }] })).toThrow(
      /writeCircuit: expected nodes\[0\].hook to be a text/,
    );
    const vague = { hook: "a", head: undefined } as never;
    expect(() => circuitText({ ...circuit, nodes: [vague] })).toThrow(/got nothing/);
  });
});
