import { readFile, stat } from "node:fs/promises";
import { FormatError, fileError, writeFileAtomic } from "@penfield/core";
import type { HookedModel } from "../transformer/model.ts";

/** A part of a model: a hook point, or at it one head, some units, some positions. */
export interface CircuitNode {
  /** A hook point with axes batch, pos, units: `blocks.9.attn.hook_z`, `blocks.0.hook_mlp_out`, … */
  readonly hook: string;
  /** At `attn.hook_z`: one head, in place of `units`. */
  readonly head?: number;
  readonly units?: readonly number[];
  readonly positions?: readonly number[];
}

/** A connection that was found between two nodes, which are given by their places in `nodes`. */
export interface CircuitEdge {
  readonly from: number;
  readonly to: number;
  /** By what the second node reads it: `q`, `k`, `v`, … */
  readonly component?: string;
}

/** Parts of one model that are claimed to do a job, as they are kept in a file. */
export interface Circuit {
  readonly version: 1;
  /** `sha256` is that of the .onnx file. */
  readonly model: { readonly name: string; readonly sha256: string };
  /** Should not overlap: what one of them keeps, another cannot lose. */
  readonly nodes: readonly CircuitNode[];
  /** For the reader: measures of a circuit use its nodes alone. */
  readonly edges?: readonly CircuitEdge[];
  readonly notes?: string;
}

const FORMAT = "penfield-circuit";
/** A million heads would take less. */
const MAX_BYTES = 64 * 2 ** 20;

/**
 * A circuit of a model.
 *
 * @example
 * const model = await HookedModel.fromPretrained("test/fixtures/gpt2");
 * const circuit = circuitOf(model, [{ hook: "blocks.0.attn.hook_z", head: 1 }]);
 * parseCircuit(circuitText(circuit)).nodes // => [{ hook: "blocks.0.attn.hook_z", head: 1 }]
 * await model.dispose();
 */
export function circuitOf(
  model: HookedModel,
  nodes: readonly CircuitNode[],
  more: Pick<Circuit, "edges" | "notes"> = {},
): Circuit {
  const { modelName: name } = model.cfg;
  return { version: 1, model: { name, sha256: model.sha256 }, nodes, ...more };
}

/** A circuit as the text of its file; one node a line. */
export function circuitText(circuit: Circuit): string {
  const { version, model, notes, nodes, edges } = parseValue(
    { format: FORMAT, ...circuit },
    "writeCircuit",
  );
  const lines = (list: readonly object[]): string =>
    list.length === 0 ? "[]" : `[\n${list.map((x) => `    ${JSON.stringify(x)}`).join(",\n")}\n  ]`;
  const parts = [
    `"format": "${FORMAT}"`,
    `"version": ${version}`,
    `"model": ${JSON.stringify(model)}`,
    ...(notes === undefined ? [] : [`"notes": ${JSON.stringify(notes)}`]),
    `"nodes": ${lines(nodes)}`,
    ...(edges === undefined ? [] : [`"edges": ${lines(edges)}`]),
  ];
  return `{\n${parts.map((part) => `  ${part}`).join(",\n")}\n}\n`;
}

/**
 * Reads a circuit from the text of its file. Everything is checked that can be checked without the
 * model; names that are not known are refused, since a misspelt `head` would mean all heads.
 *
 * @param source - What the text is called in errors.
 * @throws {FormatError} naming the first thing that is wrong.
 */
export function parseCircuit(text: string, source = "the text"): Circuit {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new FormatError(
      `readCircuit: ${source}: expected JSON, got ${(cause as Error).message}`,
      { cause },
    );
  }
  return parseValue(value, `readCircuit: ${source}`);
}

/** Writes a circuit to a file, whole or not at all. @throws {FileError} if it cannot be written. */
export async function writeCircuit(path: string, circuit: Circuit): Promise<void> {
  await writeFileAtomic(path, circuitText(circuit));
}

/**
 * Reads a circuit that `writeCircuit` has written.
 *
 * @throws {FormatError} if the file is no circuit. {FileError} if it cannot be read.
 */
export async function readCircuit(path: string): Promise<Circuit> {
  try {
    const { size } = await stat(path);
    if (size <= MAX_BYTES) return parseCircuit(await readFile(path, "utf8"), path);
    throw new FormatError(`readCircuit: ${path}: expected at most ${MAX_BYTES} bytes, got ${size}`);
  } catch (cause) {
    if (cause instanceof FormatError) throw cause;
    throw fileError("readCircuit", path, cause);
  }
}

type Fields = Record<string, unknown>;

function parseValue(value: unknown, name: string): Circuit {
  const fail = (where: string, rule: string, got: unknown): never => {
    const shown = got === undefined ? "nothing" : JSON.stringify(got).slice(0, 60);
    throw new FormatError(`${name}: expected ${where} to be ${rule}, got ${shown}`);
  };
  const object = (x: unknown, where: string, known: readonly string[]): Fields => {
    if (typeof x !== "object" || x === null || Array.isArray(x)) {
      return fail(where, "an object", x);
    }
    const other = Object.keys(x).find((key) => !known.includes(key));
    if (other !== undefined) fail(where, `an object with ${known.join(", ")} alone`, other);
    return x as Fields;
  };
  const list = (x: unknown, where: string): readonly unknown[] =>
    Array.isArray(x) ? x : fail(where, "a list", x);
  const whole = (x: unknown, where: string): number =>
    typeof x === "number" && Number.isSafeInteger(x) && x >= 0
      ? x
      : fail(where, "a whole number from 0", x);
  const text = (x: unknown, where: string): string =>
    typeof x === "string" && x.length > 0 ? x : fail(where, "a text", x);
  const wholes = (x: unknown, where: string): number[] =>
    list(x, where).map((item, i) => whole(item, `${where}[${i}]`));

  const root = object(value, "a circuit", [
    ...["format", "version", "model", "nodes", "edges", "notes"],
  ]);
  if (root["format"] !== FORMAT) fail("format", JSON.stringify(FORMAT), root["format"]);
  if (root["version"] !== 1) fail("version", "1", root["version"]);
  const model = object(root["model"], "model", ["name", "sha256"]);
  const sha256 = text(model["sha256"], "model.sha256");
  if (!/^[0-9a-f]{64}$/.test(sha256)) fail("model.sha256", "64 hexadecimal digits", sha256);
  const nodes = list(root["nodes"], "nodes").map((item, i): CircuitNode => {
    const where = `nodes[${i}]`;
    const node = object(item, where, ["hook", "head", "units", "positions"]);
    const { hook, head, units, positions } = node;
    if ("head" in node && "units" in node) {
      fail(where, "a node with a head or with units", item);
    }
    return {
      hook: text(hook, `${where}.hook`),
      ...("head" in node ? { head: whole(head, `${where}.head`) } : {}),
      ...("units" in node ? { units: wholes(units, `${where}.units`) } : {}),
      ...("positions" in node ? { positions: wholes(positions, `${where}.positions`) } : {}),
    };
  });
  const edges =
    root["edges"] === undefined
      ? undefined
      : list(root["edges"], "edges").map((item, i): CircuitEdge => {
          const where = `edges[${i}]`;
          const { from, to, component } = object(item, where, ["from", "to", "component"]);
          for (const end of [from, to]) {
            if (whole(end, where) >= nodes.length) {
              fail(where, `between nodes within 0..${nodes.length - 1}`, end);
            }
          }
          return {
            from: from as number,
            to: to as number,
            ...(component === undefined
              ? {}
              : { component: text(component, `${where}.component`) }),
          };
        });
  const notes = root["notes"];
  if (notes !== undefined && typeof notes !== "string") fail("notes", "a text", notes);
  return {
    version: 1,
    model: { name: text(model["name"], "model.name"), sha256 },
    nodes,
    ...(edges === undefined ? {} : { edges }),
    ...(notes === undefined ? {} : { notes: notes as string }),
  };
}
