import type { H5Draft } from "@penfield/hdf5";
import { writeHdf5 } from "@penfield/hdf5";

/** A parameter: one number, a list, a matrix, text, or numbers with their sizes. */
export type Parameter =
  | number
  | string
  | readonly number[]
  | readonly (readonly number[])[]
  | { readonly data: Float64Array | Float32Array; readonly shape: readonly number[] };

/** A node: its type and parameters, or a nested graph. */
export type TestNode =
  | ({ readonly type: string } & Readonly<Record<string, Parameter>>)
  | TestGraph;

export interface TestGraph {
  readonly nodes: Readonly<Record<string, TestNode>>;
  readonly edges: readonly (readonly [string, string])[];
}

const WHOLE = ["shape", "stride", "padding", "dilation", "groups", "kernel_size"];

/** A `.nir` file as nir.write() would make it, for tests. */
export function makeNir(
  graph: TestGraph,
  { gzip = false }: { gzip?: boolean } = {},
): Promise<Uint8Array> {
  return writeHdf5({
    arrays: { version: { data: "1.0.7" } },
    groups: { node: draftOf(graph, gzip) },
  });
}

function draftOf(node: TestNode, gzip: boolean): H5Draft {
  if (isGraph(node)) {
    const names = node.edges.flat();
    return {
      arrays: {
        type: { data: "NIRGraph" },
        ...(names.length > 0 ? { edges: { data: names, shape: [node.edges.length, 2] } } : {}),
      },
      groups: {
        nodes: {
          groups: Object.fromEntries(
            Object.entries(node.nodes).map(([name, child]) => [name, draftOf(child, gzip)]),
          ),
        },
      },
    };
  }
  return {
    arrays: Object.fromEntries(
      Object.entries(node).map(([name, value]) => [name, { ...arrayOf(name, value), gzip }]),
    ),
  };
}

const isGraph = (node: TestNode): node is TestGraph => "nodes" in node;

function arrayOf(name: string, value: Parameter): NonNullable<H5Draft["arrays"]>[string] {
  if (typeof value === "string") return { data: value };
  if (typeof value === "object" && "data" in value) return value;
  const rows = [value].flat() as readonly (number | readonly number[])[];
  const flat = rows.flat() as number[];
  const shape = Array.isArray(rows[0])
    ? [rows.length, rows[0].length]
    : typeof value === "number"
      ? []
      : [flat.length];
  const whole = WHOLE.includes(name) || name.endsWith("_dim");
  return whole
    ? { data: BigInt64Array.from(flat, (v) => BigInt(v)), shape }
    : { data: Float64Array.from(flat), shape };
}

/** Parameters of n equal LIF units. */
export function lif(n: number, changes: Readonly<Record<string, Parameter>> = {}): TestNode {
  const all = (value: number) => new Array<number>(n).fill(value);
  return {
    type: "LIF",
    tau: all(0.02),
    r: all(1),
    v_leak: all(0),
    v_threshold: all(1),
    v_reset: all(0),
    ...changes,
  };
}

/** Nodes one after the other, between an Input and an Output. */
export function chain(
  nIn: readonly number[],
  nodes: Readonly<Record<string, TestNode>>,
  nOut: readonly number[],
  extra: readonly (readonly [string, string])[] = [],
): TestGraph {
  const names = ["input", ...Object.keys(nodes), "output"];
  return {
    nodes: {
      input: { type: "Input", shape: nIn },
      ...nodes,
      output: { type: "Output", shape: nOut },
    },
    edges: [...names.slice(1).map((name, i) => [names[i]!, name] as const), ...extra],
  };
}
