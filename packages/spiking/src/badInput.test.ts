import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import {
  ArgumentError,
  DataError,
  FileError,
  FormatError,
  HookPointError,
  ModelError,
  PenfieldError,
  ShapeError,
} from "@penfield/core";
import { writeHdf5 } from "@penfield/hdf5";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type OpenSpikingOptions, SpikingModel, type SpikingRunRequest } from "./model.ts";
import { chain, lif, makeNir, type TestGraph, type TestNode } from "./testNir.ts";

const golden = fileURLToPath(new URL("../../../../shared/golden/spiking/nir/", import.meta.url));

const open = (bytes: Uint8Array, options: Partial<OpenSpikingOptions> = {}) =>
  SpikingModel.fromBytes(bytes, { dt: 1e-3, ...options, name: "net.nir" });

const good = chain([2], { fc: { type: "Linear", weight: [[1, 2]] }, lif: lif(1) }, [1]);
const one = (node: TestNode, n = 1): TestGraph => chain([n], { n: node }, [n]);
const cuba = (changes: Record<string, number[]> = {}): TestNode => ({
  type: "CubaLIF",
  tau_syn: [0.01],
  tau_mem: [0.02],
  r: [1],
  v_leak: [0],
  v_threshold: [1],
  ...changes,
});
const conv = (changes: Record<string, unknown> = {}): TestNode =>
  ({
    type: "Conv2d",
    weight: { data: new Float64Array(2 * 1 * 3 * 3), shape: [2, 1, 3, 3] },
    bias: [0, 0],
    stride: [1, 1],
    padding: [0, 0],
    dilation: [1, 1],
    groups: 1,
    ...changes,
  }) as TestNode;
const image = (node: TestNode, shape = [1, 5, 5], out = [2, 3, 3]) =>
  chain(shape, { n: node }, out);

type ErrorClass = new (...all: never[]) => PenfieldError;
type Row = readonly [
  what: string,
  file: () => Promise<Uint8Array>,
  error: ErrorClass,
  message: RegExp,
];

const files: Row[] = [
  [
    "text",
    async () => new TextEncoder().encode("not HDF5 at all, but a long enough text to be looked at"),
    FormatError,
    /net.nir: expected an HDF5 file, got 55 bytes that do not begin as one/,
  ],
  ["nothing", async () => new Uint8Array(0), FormatError, /expected an HDF5 file, got 0 bytes/],
  [
    "a half",
    async () => {
      const bytes = await makeNir(good);
      return bytes.subarray(0, bytes.length / 2);
    },
    FormatError,
    /net.nir: expected \d+ bytes, as its head says, got \d+/,
  ],
  [
    "another HDF5 file",
    () => writeHdf5({ arrays: { x: { data: Float64Array.of(1) } } }),
    FormatError,
    /expected a group "node", got x/,
  ],
];

const graphs: readonly (readonly [string, TestGraph, ErrorClass, RegExp])[] = [
  ["a node of no known type", one({ type: "Izhikevich" }), FormatError, /nodes\/n: .*"Izhikevich"/],
  [
    "a node without parameters",
    one({ type: "LIF" }),
    FormatError,
    /nodes\/n: expected a parameter "tau"/,
  ],
  ["text as a parameter", one(lif(1, { r: "one" })), FormatError, /nodes\/n: .*"r" as numbers/],
  [
    "NaN",
    one(lif(1, { v_threshold: [Number.NaN] })),
    FormatError,
    /finite numbers in "v_threshold", got NaN at 0/,
  ],
  [
    "infinity",
    one(lif(2, { r: [1, 1 / 0] }), 2),
    FormatError,
    /finite numbers in "r", got Infinity at 1/,
  ],
  [
    "NaN weights",
    one({ type: "Linear", weight: [[Number.NaN]] }),
    FormatError,
    /"weight", got NaN/,
  ],
  ["tau = 0", one(lif(1, { tau: [0] })), FormatError, /time constant "tau" above 0, got 0 at 0/],
  ["tau < 0", one(lif(1, { tau: [-0.02] })), FormatError, /time constant "tau" above 0, got -0.02/],
  ["tau_syn = 0", one(cuba({ tau_syn: [0] })), FormatError, /time constant "tau_syn" above 0/],
  ["tau_mem < 0", one(cuba({ tau_mem: [-1] })), FormatError, /time constant "tau_mem" above 0/],
  [
    "a delay < 0",
    one({ type: "Delay", delay: [-1] }),
    FormatError,
    /delays of 0 or more, got delay = -1/,
  ],
  [
    "parameters of several shapes",
    one(lif(3, { r: [1, 2] }), 3),
    FormatError,
    /of one shape, \[3\] as tau, got \[2\] of r/,
  ],
  [
    "a vector of weights",
    one({ type: "Linear", weight: [1, 2] }),
    FormatError,
    /"weight" as \[out, in\], got \[2\]/,
  ],
  [
    "a bias of another length",
    one({ type: "Affine", weight: [[1]], bias: [1, 2] }),
    ShapeError,
    /n \(Affine\): expected a bias for each of 1 units, got \[2\]/,
  ],
  [
    "weights of another width",
    one({ type: "Linear", weight: [[1, 2]] }),
    ShapeError,
    /n \(Linear\): expected \[2\] for a weight of \[1, 2\], got \[1\]/,
  ],
  [
    "neurons of another number",
    chain([2], { lif: lif(3) }, [3]),
    ShapeError,
    /lif \(LIF\): expected \[3\], got \[2\]/,
  ],
  [
    "an Output of another size",
    chain([1], { lif: lif(1) }, [4]),
    ShapeError,
    /output \(Output\): expected \[4\], got \[1\]/,
  ],
  [
    "a kernel of two axes",
    image(conv({ weight: [[1, 2]] })),
    FormatError,
    /"weight" as \[out, in \/ groups, height, width\]/,
  ],
  [
    "groups that do not divide",
    image(conv({ groups: 3 })),
    FormatError,
    /groups that divide 2, got 3/,
  ],
  [
    "channels of another number",
    image(conv(), [3, 5, 5]),
    ShapeError,
    /n \(Conv2d\): expected 1 channels .* got \[3, 5, 5\]/,
  ],
  [
    "an image smaller than the kernel",
    image(conv(), [1, 2, 2]),
    ShapeError,
    /at least as large as the kernel, got \[1, 2, 2\]/,
  ],
  [
    "a stride of 0",
    image(conv({ stride: [0, 1] })),
    FormatError,
    /"stride" as one or two whole numbers from 1 on/,
  ],
  [
    "a stride with same padding",
    image(conv({ padding: "same", stride: [2, 2] })),
    FormatError,
    /stride of 1 with padding "same"/,
  ],
  [
    "an unknown padding",
    image(conv({ padding: "full" })),
    FormatError,
    /padding "same", "valid" or numbers, got "full"/,
  ],
  [
    "a pool of a vector",
    chain(
      [4],
      { n: { type: "SumPool2d", kernel_size: [2, 2], stride: [2, 2], padding: [0, 0] } },
      [4],
    ),
    ShapeError,
    /n \(SumPool2d\): expected \[channels, height, width\], got \[4\]/,
  ],
  [
    "a Flatten beyond the axes",
    chain([2, 2], { n: { type: "Flatten", start_dim: 1, end_dim: 5 } }, [4]),
    ShapeError,
    /n \(Flatten\): expected axes within \[2, 2\], got 1 to 5/,
  ],
  [
    "an edge to nowhere",
    { ...good, edges: [...good.edges, ["lif", "gone"]] },
    ModelError,
    /lif -> gone: there is no node "gone"/,
  ],
  [
    "an edge from nowhere",
    { ...good, edges: [...good.edges, ["gone", "lif"]] },
    ModelError,
    /there is no node "gone"/,
  ],
  [
    "an algebraic loop",
    chain([1], { a: { type: "Scale", scale: [1] } }, [1], [["a", "a"]]),
    ModelError,
    /algebraic loop a -> a/,
  ],
  [
    "a loop of a Delay of 0",
    chain([1], { d: { type: "Delay", delay: [0] } }, [1], [["d", "d"]]),
    ModelError,
    /algebraic loop d -> d/,
  ],
  [
    "sources of several shapes",
    chain(
      [2],
      { a: { type: "Linear", weight: [[1, 1]] }, b: { type: "Scale", scale: [1] } },
      [1],
      [["input", "b"]],
    ),
    ShapeError,
    /b \(Scale\): expected sources of one shape/,
  ],
  [
    "a size that no machine holds",
    chain([2 ** 40], { n: { type: "IF", r: 1, v_threshold: 1 } }, [2 ** 40]),
    ModelError,
    /input \(Input\): expected at most 33554432 values at a node, got \[1099511627776\]/,
  ],
  [
    "a padding that no machine holds",
    image(conv({ padding: [2 ** 30, 2 ** 30] }), [1, 5, 5], [2, 2 ** 31 + 3, 2 ** 31 + 3]),
    ModelError,
    /n \(Conv2d\): expected at most 33554432 values/,
  ],
  [
    "no Input",
    { nodes: { o: { type: "Output", shape: [1] } }, edges: [] },
    ModelError,
    /has no Input/,
  ],
  [
    "no Output",
    { nodes: { i: { type: "Input", shape: [1] } }, edges: [] },
    ModelError,
    /has no Output/,
  ],
  ["a size of 0", chain([0], {}, [1]), FormatError, /positive whole sizes in "shape", got 0/],
  [
    "a nested graph with two Inputs",
    chain(
      [1],
      {
        g: {
          nodes: {
            a: { type: "Input", shape: [1] },
            b: { type: "Input", shape: [1] },
            o: { type: "Output", shape: [1] },
          },
          edges: [["a", "o"]],
        },
      },
      [1],
    ),
    ModelError,
    /one Input in the nested graph g, got 2/,
  ],
];

describe("files that cannot be run faithfully", () => {
  const rows: Row[] = [
    ...files,
    ...graphs.map(([what, graph, ...rest]): Row => [what, () => makeNir(graph), ...rest]),
  ];

  test.each(rows)("%s: one clear error", async (_, file, error, message) => {
    const got = await open(await file()).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(got).toBeInstanceOf(error);
    expect((got as Error).message).toMatch(message);
    expect((got as Error).message).toContain("net.nir");
  });

  test("a file that is not there", async () => {
    await expect(SpikingModel.fromNir("/nowhere/net.nir", { dt: 1 })).rejects.toThrow(FileError);
  });

  test.each([
    ["LIF", lif(2, { tau: [0.02, 0.0005] }), "n: dt = 0.001 is larger than tau = 0.0005"],
    ["CubaLIF", cuba({ tau_syn: [0.0005] }), "n: dt = 0.001 is larger than tau_syn = 0.0005"],
    [
      "Delay",
      { type: "Delay", delay: [0.0015] },
      "n: a delay of 0.0015 is no whole number of steps of 0.001; it is rounded",
    ],
  ] as const)("%s: a coarse dt is warned of, with the numbers", async (type, node, warning) => {
    const model = await open(await makeNir(one(node as TestNode, type === "LIF" ? 2 : 1)));
    expect(model.warnings).toEqual([warning]);
  });
});

describe("requests that cannot be meant", () => {
  const input = { data: [1, 1, 1, 1], shape: [1, 2, 2] };
  const requests: readonly (readonly [string, unknown, ErrorClass, RegExp])[] = [
    ["no input", {}, ArgumentError, /expected an input for input, got none/],
    [
      "an input of another width",
      { input: { data: [1, 2, 3], shape: [1, 1, 3] } },
      ShapeError,
      /input: expected an input of \[row, step, 2\], got \[1, 1, 3\]/,
    ],
    [
      "an input without time",
      { input: { data: [1, 2], shape: [1, 2] } },
      ShapeError,
      /got \[1, 2\]/,
    ],
    [
      "too few values",
      { input: { data: [1], shape: [1, 2, 2] } },
      ShapeError,
      /expected 4 values for \[1, 2, 2\], got 1/,
    ],
    [
      "an input without a shape",
      { input: { data: [1] } },
      ArgumentError,
      /an input \{ data, shape \}/,
    ],
    [
      "64-bit integers",
      { input: { data: new BigInt64Array(4), shape: [1, 2, 2] } },
      DataError,
      /got 64-bit integers/,
    ],
    [
      "NaN in the input",
      { input: { data: [0, 0, 0, Number.NaN], shape: [1, 2, 2] } },
      DataError,
      /got NaN in row 0 at step 1/,
    ],
    [
      "an event outside",
      { input: { events: [[0, 9, 0]], nSteps: 5 } },
      DataError,
      /within \[1, 5, 2\], got \[0, 9, 0\]/,
    ],
    [
      "events without steps",
      { input: { events: [] } },
      ArgumentError,
      /nSteps as a whole number, got undefined/,
    ],
    [
      "a hook point that is not there",
      { input, capture: ["lif.volts"] },
      HookPointError,
      /got "lif.volts"/,
    ],
    [
      "two captures of one hook point",
      { input, capture: ["lif.v", { hook: "lif.v", every: 2 }] },
      ArgumentError,
      /lif.v: expected one capture of a hook point/,
    ],
    [
      "a capture as something else",
      { input, capture: [{ hook: "lif.v", as: "list" }] },
      ArgumentError,
      /as of dense, events, got "list"/,
    ],
    [
      "a unit for a list of units",
      { input, capture: [{ hook: "lif.v", units: 0 }] },
      ArgumentError,
      /units as a list, got 0/,
    ],
    [
      "a capture of weights",
      { input, capture: ["fc.weight"] },
      HookPointError,
      /values in time to capture, got fc.weight/,
    ],
    [
      "an intervention without an op",
      { input, interventions: [{ hook: "lif.v" }] },
      ArgumentError,
      /as op at lif.v/,
    ],
    [
      "a misspelt field",
      { input, interventions: [{ hook: "lif.v", op: { type: "zero" }, unit: [0] }] },
      ArgumentError,
      /got "unit"/,
    ],
    [
      "a unit for a list to silence",
      { input, interventions: [{ hook: "lif.v", op: { type: "zero" }, units: 0 }] },
      ArgumentError,
      /units as a list, got 0/,
    ],
    [
      "values of another number",
      {
        input,
        interventions: [{ hook: "fc.input", op: { type: "mean", values: [1, 2, 3] }, units: [0] }],
      },
      ArgumentError,
      /expected 2 values, one per unit, or 1, one per chosen unit, got 3/,
    ],
    [
      "a clamp of weights from above to below",
      { input, interventions: [{ hook: "fc.weight", op: { type: "clamp", min: 1, max: 0 } }] },
      ArgumentError,
      /min <= max, got 1 and 0/,
    ],
    [
      "noise that is none on weights",
      {
        input,
        interventions: [
          { hook: "fc.weight", op: { type: "noise", standardDeviation: Number.NaN, seed: 1 } },
        ],
      },
      ArgumentError,
      /finite standardDeviation/,
    ],
  ];

  test.each(requests)("%s: one clear error", async (_, request, error, message) => {
    const model = await open(await makeNir(good));
    const got = await model.run(request as SpikingRunRequest).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(got).toBeInstanceOf(error);
    expect((got as Error).message).toMatch(message);
  });

  test("what is asked of a hook point by name counts beside patterns", async () => {
    const model = await open(await makeNir(good));
    const part = { hook: "lif.v", every: 2 };
    for (const capture of [
      ["*", part],
      [part, "lif.*"],
    ]) {
      const { cache } = await model.run({ input, capture });
      expect(cache.get("lif.v")!.shape).toEqual([1, 1, 1]);
      expect(cache.get("lif.i")!.shape).toEqual([1, 2, 1]);
    }
  });
});

/** Opens and runs whatever the bytes hold: a network or one of our errors, nothing else. */
async function openAndRun(bytes: Uint8Array): Promise<void> {
  try {
    const model = await open(bytes, { dt: 1e-4 });
    const input = Object.fromEntries(
      model.network.inputs.map((index) => {
        const { name, nUnits } = model.network.nodes[index]!;
        return [name, { data: new Float64Array(2 * nUnits).fill(1), shape: [1, 2, nUnits] }];
      }),
    );
    const { output } = await model.run({ input, capture: ["*"] });
    expect(output.shape[1]).toBe(2);
  } catch (error) {
    expect(error).toBeInstanceOf(PenfieldError);
  }
}

describe("damaged files", () => {
  const damage = (length: number) =>
    fc.array(fc.tuple(fc.nat(length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 });

  test("open as a network or give one error, and leave the reader of use", async () => {
    const bytes = await makeNir(good, { gzip: true });
    await fc.assert(
      fc.asyncProperty(damage(bytes.length), async (changes) => {
        const copy = bytes.slice();
        for (const [at, value] of changes) copy[at] = value;
        await openAndRun(copy);
      }),
      { numRuns: 12 },
    );
    expect((await open(bytes)).network.nodes.length).toBe(4);
  }, 30_000);

  test.skipIf(!existsSync(golden))(
    "of other writers as well (needs ../shared)",
    async () => {
      const all = readdirSync(golden).map((file) => new Uint8Array(readFileSync(golden + file)));
      const cases = fc
        .constantFrom(...all)
        .chain((bytes) => damage(bytes.length).map((changes) => ({ bytes, changes })));
      await fc.assert(
        fc.asyncProperty(cases, async ({ bytes, changes }) => {
          const copy = bytes.slice();
          for (const [at, value] of changes) copy[at] = value;
          await openAndRun(copy);
        }),
        { numRuns: 12 },
      );
    },
    60_000,
  );

  test("a delay of years costs no memory and gives silence", async () => {
    const model = await open(await makeNir(one({ type: "Delay", delay: [1e9] })), { dt: 1e-4 });
    const { output } = await model.run({ input: { data: [1, 2, 3], shape: [1, 3, 1] } });
    expect(Array.from(output.data)).toEqual([0, 0, 0]);
  });
});
