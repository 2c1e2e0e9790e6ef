import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createRng, readNpy, writeNpy } from "@penfield/core";
import {
  type NirArray,
  type NirGraph,
  type NirNode,
  type SpikingInput,
  SpikingModel,
} from "@penfield/spiking";

export interface SpikingJob {
  readonly name: string;
  readonly title: string;
  readonly peer: "snntorch" | "brian2";
  /** At most so many times the peer. */
  readonly goal: number;
  /** Writes what the peer needs. */
  prepare(folder: string): PreparedJob;
}

interface PreparedJob {
  /** Hook points whose spikes are captured where that is timed. */
  readonly hooks: readonly string[];
  readonly open: (threads: number) => SpikingModel;
  readonly input: SpikingInput;
  /** Beside what the peer wrote: how many spikes, and how many differ. */
  agree(model: SpikingModel): Promise<string>;
}

const values = (data: Float64Array, ...shape: number[]): NirArray => ({ data, shape });
const all = (n: number, value: number): NirArray => values(new Float64Array(n).fill(value), n);

function graph(
  nodes: Readonly<Record<string, NirNode>>,
  edges: readonly (readonly [string, string])[],
): NirGraph {
  const root = { type: "NIRGraph" as const, nodes: new Map(Object.entries(nodes)), edges };
  return { root, version: undefined };
}

const lif = (n: number, tau: number, r: number): NirNode => ({
  type: "LIF",
  tau: all(n, tau),
  r: all(n, r),
  vLeak: all(n, 0),
  vThreshold: all(n, 1),
  vReset: all(n, 0),
});

const save = (folder: string, name: string, data: Float64Array | Uint8Array, shape: number[]) =>
  writeFileSync(join(folder, `${name}.npy`), writeNpy(data, shape));

const [ROWS, STEPS, N_IN, N_HIDDEN, N_OUT] = [128, 100, 784, 1000, 10] as const;

/** 784-1000-10 LIF, 128 rows of 100 steps, as snnTorch computes it: float32, beta 0.9. */
function feedForward(density: number): SpikingJob {
  const name = `feed-forward-${Math.round(100 * density)}`;
  return {
    name,
    title: `784-1000-10 LIF, batch 128, 100 steps, ${100 * density} % of inputs active, float32`,
    peer: "snntorch",
    goal: 1,
    prepare(root) {
      const folder = join(root, name);
      mkdirSync(folder, { recursive: true });
      const rng = createRng(1);
      const normal = (n: number, scale: number) =>
        Float64Array.from({ length: n }, () => Math.fround(scale * rng.normal()));
      const fc1 = normal(N_HIDDEN * N_IN, 0.05);
      const fc2 = normal(N_OUT * N_HIDDEN, 0.05);
      const input = Uint8Array.from({ length: ROWS * STEPS * N_IN }, () =>
        rng.uniform() < density ? 1 : 0,
      );
      save(folder, "fc1", fc1, [N_HIDDEN, N_IN]);
      save(folder, "fc2", fc2, [N_OUT, N_HIDDEN]);
      save(folder, "input", input, [ROWS, STEPS, N_IN]);
      const linear = (weight: Float64Array, nOut: number, nIn: number): NirNode => ({
        type: "Linear",
        weight: values(weight, nOut, nIn),
        bias: undefined,
      });
      const net = graph(
        {
          input: { type: "Input", shape: [N_IN] },
          fc1: linear(fc1, N_HIDDEN, N_IN),
          lif1: lif(N_HIDDEN, 0.01, 10),
          fc2: linear(fc2, N_OUT, N_HIDDEN),
          lif2: lif(N_OUT, 0.01, 10),
          output: { type: "Output", shape: [N_OUT] },
        },
        [
          ["input", "fc1"],
          ["fc1", "lif1"],
          ["lif1", "fc2"],
          ["fc2", "lif2"],
          ["lif2", "output"],
        ],
      );
      const hooks = ["lif1.spikes", "lif2.spikes"];
      return {
        hooks,
        input: { data: Float32Array.from(input), shape: [ROWS, STEPS, N_IN] },
        open: (threads) =>
          SpikingModel.fromGraph(net, {
            dt: 1e-3,
            preset: "snntorch",
            precision: "float32",
            threads,
          }),
        async agree(model) {
          const { cache } = await model.run({ input: this.input, capture: hooks });
          const parts = ["hidden", "out"].map((layer, k) => {
            const there = readNpy(readFileSync(join(folder, `snntorch_${layer}.npy`))).data;
            const here = cache.get(hooks[k]!)!.data;
            let [spikes, different] = [0, 0];
            for (let i = 0; i < here.length; i++) {
              spikes += here[i]!;
              if (here[i] !== Number(there[i])) different++;
            }
            return `${layer} ${different} of ${here.length} differ, ${((100 * spikes) / here.length).toFixed(1)} % are spikes`;
          });
          return parts.join("; ");
        },
      };
    },
  };
}

const [N, TEN_KILOSTEPS] = [1000, 10_000] as const;

/** 1000 LIF units with 10 % of all connections, for 1 s at 0.1 ms, as Brian2 computes it: float64, Euler. */
const recurrent: SpikingJob = {
  name: "recurrent",
  title: "recurrent 1000 LIF, 10 % connectivity, 1 s at 0.1 ms, float64",
  peer: "brian2",
  goal: 0.25,
  prepare(root) {
    const folder = join(root, "recurrent");
    mkdirSync(folder, { recursive: true });
    const rng = createRng(2);
    const drive = Float64Array.from({ length: N }, () => 1.1 + 0.2 * rng.uniform());
    const weight = Float64Array.from({ length: N * N }, (_, k) =>
      rng.uniform() < 0.1 && k % (N + 1) !== 0 ? 0.02 * rng.normal() : 0,
    );
    save(folder, "drive", drive, [N]);
    save(folder, "weight", weight, [N, N]);
    // There a spike adds w after the step; here it comes in with the next one, which leaks and scales it.
    const [tau, dt] = [0.02, 1e-4];
    const scaled = weight.map((w) => w * (1 - dt / tau) * (tau / dt));
    const net = graph(
      {
        input: { type: "Input", shape: [1] },
        drive: {
          type: "Affine",
          weight: values(new Float64Array(N), N, 1),
          bias: values(drive, N),
        },
        lif: lif(N, tau, 1),
        recurrent: { type: "Linear", weight: values(scaled, N, N), bias: undefined },
        count: {
          type: "Linear",
          weight: values(new Float64Array(N).fill(1), 1, N),
          bias: undefined,
        },
        output: { type: "Output", shape: [1] },
      },
      [
        ["input", "drive"],
        ["drive", "lif"],
        ["lif", "recurrent"],
        ["recurrent", "lif"],
        ["lif", "count"],
        ["count", "output"],
      ],
    );
    const hooks = ["lif.spikes"];
    return {
      hooks,
      input: { events: [], nRows: 1, nSteps: TEN_KILOSTEPS },
      open: (threads) => SpikingModel.fromGraph(net, { dt, threads }),
      async agree(model) {
        const { cache } = await model.run({
          input: this.input,
          capture: [{ hook: "lif.spikes", as: "events" }],
        });
        const { step, unit } = cache.get("lif.spikes")!.events!;
        const there = readNpy(readFileSync(join(folder, "brian2_spikes.npy")));
        const [, n] = there.shape as [number, number];
        const key = (s: number, u: number) => s * N + u;
        const early = 2000;
        const ours = new Set<number>();
        step.forEach((s, k) => {
          if (s < early) ours.add(key(s, unit[k]!));
        });
        let [theirs, shared] = [0, 0];
        for (let k = 0; k < n; k++) {
          const s = Number(there.data[k]);
          if (s >= early) continue;
          theirs++;
          if (ours.has(key(s, Number(there.data[n + k])))) shared++;
        }
        return `${step.length} spikes here, ${n} there; of the first 200 ms ${shared} of ${ours.size} and ${theirs} are the same`;
      },
    };
  },
};

export const spikingJobs: readonly SpikingJob[] = [feedForward(0.05), feedForward(0.2), recurrent];
