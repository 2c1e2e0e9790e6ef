import { ArgumentError, FormatError, ModelError, ShapeError } from "@penfield/core";
import { readHdf5, writeHdf5 } from "@penfield/hdf5";
import { describe, expect, test } from "vitest";
import { SpikingModel } from "./model.ts";
import { readNir } from "./nir/readNir.ts";
import { chain, lif, makeNir, type TestGraph, type TestNode } from "./testNir.ts";

const open = async (graph: TestGraph, dt = 1e-3): Promise<SpikingModel> =>
  SpikingModel.fromBytes(await makeNir(graph), { dt, name: "net.nir" });

const small = chain([2], { fc: { type: "Linear", weight: [[1, 2]] }, lif: lif(1) }, [1]);

describe("files", () => {
  test("are read with all that they hold, compressed or not", async () => {
    for (const gzip of [false, true]) {
      const { root, version } = await readNir(await makeNir(small, { gzip }));
      expect(version).toBe("1.0.7");
      expect([...root.nodes.keys()].sort()).toEqual(["fc", "input", "lif", "output"]);
      expect(root.nodes.get("fc")).toMatchObject({
        type: "Linear",
        weight: { data: Float64Array.of(1, 2), shape: [1, 2] },
      });
      expect(root.edges).toContainEqual(["fc", "lif"]);
    }
  });

  test("of old writers have no v_reset: it is 0", async () => {
    const old: TestNode = { type: "LIF", tau: [1], r: [1], v_leak: [0], v_threshold: [1] };
    const { root } = await readNir(await makeNir(chain([1], { lif: old }, [1])));
    expect(root.nodes.get("lif")).toMatchObject({ vReset: { data: Float64Array.of(0) } });
  });

  test("that are none are refused", async () => {
    const text = new TextEncoder().encode(
      "a text that is no HDF5 file, however long it may be made",
    );
    await expect(readNir(text, "x.nir")).rejects.toThrow(FormatError);
    await expect(readNir(text, "x.nir")).rejects.toThrow(
      "readNir: x.nir: expected an HDF5 file, got 56 bytes that do not begin as one",
    );
    await expect(readNir(new Uint8Array(0))).rejects.toThrow(/got 0 bytes/);
    const other = await writeHdf5({ arrays: { x: { data: Float64Array.of(1) } } });
    await expect(readNir(other)).rejects.toThrow(/expected a group "node", got x/);
  });

  test("that are cut short are refused", async () => {
    const bytes = await makeNir(small);
    await expect(readNir(bytes.subarray(0, bytes.length - 10), "x.nir")).rejects.toThrow(
      `readNir: x.nir: expected ${bytes.length} bytes, as its head says, got ${bytes.length - 10}`,
    );
  });

  test("with groups in groups in groups are not followed for ever", async () => {
    let draft = {};
    for (let k = 0; k < 40; k++) draft = { groups: { g: draft } };
    await expect(readHdf5(await writeHdf5(draft))).rejects.toThrow(/at most 24 deep/);
  });
});

describe("parameters", () => {
  test("a single neuron's parameters stand for all units", async () => {
    const model = await open(
      chain([3], { lif: { type: "LIF", tau: 0.02, r: 1, v_leak: 0, v_threshold: 1 } }, [3]),
    );
    expect(model.network.nodes.find((n) => n.name === "lif")?.nUnits).toBe(3);
  });
});

describe("graphs", () => {
  test("an edge to nowhere is refused", async () => {
    const graph = { ...small, edges: [...small.edges, ["lif", "gone"] as const] };
    await expect(open(graph)).rejects.toThrow(ModelError);
    await expect(open(graph)).rejects.toThrow(/lif -> gone: there is no node "gone"/);
  });

  test("a cycle without a neuron is refused", async () => {
    const graph = chain(
      [1],
      { a: { type: "Linear", weight: [[1]] }, b: { type: "Scale", scale: [1] } },
      [1],
      [["b", "a"]],
    );
    await expect(open(graph)).rejects.toThrow(ModelError);
    await expect(open(graph)).rejects.toThrow(/the algebraic loop (a -> b -> a|b -> a -> b)/);
  });

  test("shapes that disagree are refused with the node's name", async () => {
    const wrong = chain([3], { fc: { type: "Linear", weight: [[1, 2]] }, lif: lif(1) }, [1]);
    await expect(open(wrong)).rejects.toThrow(ShapeError);
    await expect(open(wrong)).rejects.toThrow(
      "SpikingModel: net.nir: fc (Linear): expected [2] for a weight of [1, 2], got [3]",
    );
    await expect(
      open(chain([2], { fc: { type: "Linear", weight: [[1, 2]] }, lif: lif(4) }, [4])),
    ).rejects.toThrow("lif (LIF): expected [4], got [1]");
    const back = chain(
      [2],
      {
        fc: { type: "Linear", weight: [[1, 2]] },
        lif: lif(1),
        rec: { type: "Linear", weight: [[1], [1]] },
      },
      [2],
      [["rec", "lif"]],
    );
    await expect(open(back)).rejects.toThrow(/lif \(LIF\): expected \[1\], got \[2\] from rec/);
  });

  test("dt is asked for", async () => {
    const bytes = await makeNir(small);
    await expect(SpikingModel.fromBytes(bytes, {} as never)).rejects.toThrow(ArgumentError);
    await expect(SpikingModel.fromBytes(bytes, { dt: 0 })).rejects.toThrow(/expected dt.*got 0/);
  });

  test("a dt larger than a time constant is warned of, with the numbers", async () => {
    const model = await open(small, 0.1);
    expect(model.warnings).toEqual(["lif: dt = 0.1 is larger than tau = 0.02"]);
    expect((await open(small)).warnings).toEqual([]);
  });

  test("duplicate edges add up", async () => {
    const scale: TestNode = { type: "Scale", scale: [2] };
    const model = await open(
      chain(
        [1],
        { scale },
        [1],
        [
          ["input", "scale"],
          ["input", "scale"],
        ],
      ),
    );
    const { output } = await model.run({ input: { data: [1, 5], shape: [1, 2, 1] } });
    expect(Array.from(output.data)).toEqual([6, 30]);
  });

  test("nested graphs are opened, whatever their names", async () => {
    const inner = chain([1], { "a.b": { type: "Scale", scale: [3] } }, [1]);
    const model = await open(chain([1], { "in.ner": inner }, [1]));
    const { output, cache } = await model.run({
      input: { data: [1, 2], shape: [1, 2, 1] },
      capture: ["in.ner/a.b.out"],
    });
    expect(Array.from(output.data)).toEqual([3, 6]);
    expect(Array.from(cache.get("in.ner/a.b.out")!.data)).toEqual([3, 6]);
  });

  test("several inputs and outputs are told apart by name", async () => {
    const model = await open({
      nodes: {
        x: { type: "Input", shape: [1] },
        y: { type: "Input", shape: [1] },
        sum: { type: "Scale", scale: [1] },
        twice: { type: "Scale", scale: [2] },
        a: { type: "Output", shape: [1] },
        b: { type: "Output", shape: [1] },
      },
      edges: [
        ["x", "sum"],
        ["y", "sum"],
        ["sum", "a"],
        ["y", "twice"],
        ["twice", "b"],
      ],
    });
    const one = { data: [1, 2], shape: [1, 2, 1] };
    const { outputs } = await model.run({ input: { x: one, y: { ...one, data: [10, 20] } } });
    expect(Array.from(outputs.get("a")!.data)).toEqual([11, 22]);
    expect(Array.from(outputs.get("b")!.data)).toEqual([20, 40]);
    await expect(model.run({ input: { x: one } })).rejects.toThrow(
      /expected an input for x, y, got x/,
    );
  });
});

describe("graphs made in code", () => {
  const graphOf = async (graph: TestGraph) => readNir(await makeNir(graph));
  const options = { dt: 0.001 };

  test("run as the file would", async () => {
    const graph = chain([2], { fc: { type: "Linear", weight: [[30, 20]] }, lif: lif(1) }, [1]);
    const made = SpikingModel.fromGraph(await graphOf(graph), options);
    const read = await SpikingModel.fromBytes(await makeNir(graph), options);
    const input = { data: [1, 0, 1, 1, 0, 1, 1, 1], shape: [1, 4, 2] };
    const [a, b] = [await made.run({ input }), await read.run({ input })];
    expect(a.output.data).toEqual(b.output.data);
    expect(a.output.data.some((v) => v === 1)).toBe(true);
    expect(made.sha256).toMatch(/^[0-9a-f]{64}$/);
    expect(SpikingModel.fromGraph(await graphOf(graph), options).sha256).toBe(made.sha256);
  });

  test.each([
    [
      "NaN",
      "r",
      { data: Float64Array.of(Number.NaN), shape: [1] },
      "lif: expected finite numbers in r, got NaN at 0",
    ],
    [
      "tau = 0",
      "tau",
      { data: Float64Array.of(0), shape: [1] },
      "lif: expected a time constant above 0 in tau, got 0 at 0",
    ],
    [
      "another length",
      "r",
      { data: Float64Array.of(1), shape: [2] },
      "lif: expected 2 numbers in r, got 1",
    ],
  ])("%s is refused", async (_, name, value, message) => {
    const graph = await graphOf(chain([1], { lif: lif(1) }, [1]));
    const nodes = new Map(graph.root.nodes);
    nodes.set("lif", { ...nodes.get("lif")!, [name]: value } as never);
    const root = { ...graph.root, nodes };
    expect(() => SpikingModel.fromGraph({ ...graph, root }, options)).toThrow(message);
  });
});
