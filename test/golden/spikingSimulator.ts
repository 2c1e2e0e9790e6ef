import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { type SpikingInput, SpikingModel, type SpikingValues } from "@penfield/spiking";
import {
  type CaseReplay,
  type Check,
  casesOfJsonFiles,
  exact,
  type FoundCase,
  readJson,
  within,
} from "./replay.ts";

/** A case of the simulator as it lies in the folder. */
interface SimulatorCase {
  readonly name: string;
  readonly nir: string;
  readonly dt: number;
  readonly input_shape: readonly number[];
  readonly input: readonly number[] | null;
  readonly input_events: readonly (readonly [step: number, unit: number])[] | null;
  readonly delayed_edges: readonly (readonly [string, string])[];
  readonly variants: readonly {
    readonly options: {
      readonly scheme: "euler" | "exact" | "jump";
      readonly reset: "v_reset" | "subtract" | "subtract_snntorch";
      readonly cuba: "new" | "old";
      readonly recurrent_t0: "apply" | "zero";
      readonly threshold: ">" | ">=";
    };
    readonly spikes: Record<string, readonly (readonly [step: number, unit: number])[]>;
    readonly traces: Record<
      string,
      {
        readonly v_units: readonly number[];
        readonly v: readonly (readonly number[])[];
        readonly v_final: readonly number[];
        readonly i_final?: readonly number[];
      }
    >;
    readonly output_sum: readonly number[];
  }[];
}

/** Traces are given with twelve digits; sums over the recording add up their rounding. */
const TRACE = 1e-6;

/** The cases of a folder that name a graph. */
export function casesOfSimulator(folder: string): FoundCase[] {
  return casesOfJsonFiles(folder).flatMap((found) => {
    const path = join(folder, `${found.name}.json`);
    const content = readJson(path) as Partial<SimulatorCase>;
    return content.nir && content.variants ? [{ ...found, meta: { path } }] : [];
  });
}

/** Replays a case of `casesOfSimulator`; undefined for others. */
export function replaySimulator({ meta }: FoundCase): CaseReplay | undefined {
  const { path } = meta;
  if (typeof path !== "string") return undefined;
  const found = readJson(path) as SimulatorCase;
  return () => replayCase(found, readFileSync(join(dirname(path), found.nir)));
}

async function replayCase(one: SimulatorCase, bytes: Uint8Array): Promise<Check[]> {
  const checks: Check[] = [];
  const [nSteps = 0, ...inputShape] = one.input_shape;
  const input: SpikingInput = one.input_events
    ? { events: one.input_events.map(([step, unit]) => [0, step, unit] as const), nSteps }
    : { data: one.input!, shape: [1, nSteps, ...inputShape] };
  for (const { options, spikes, traces, output_sum } of one.variants) {
    const { recurrent_t0, ...rest } = options;
    const model = await SpikingModel.fromBytes(bytes, {
      dt: one.dt,
      name: one.nir,
      options: { ...rest, recurrentStart: recurrent_t0 },
    });
    const label = [rest.scheme, rest.reset, rest.cuba, recurrent_t0].join("/");
    const currents = Object.keys(traces).filter((node) => traces[node]!.i_final);
    const { output, cache } = await model.run({
      input,
      capture: [
        ...Object.keys(spikes).map((node) => `${node}.spikes`),
        ...Object.keys(traces).map((node) => `${node}.v`),
        ...currents.map((node) => `${node}.i`),
      ],
    });
    const delayed = model.network.delayedEdges.flat().join(" ");
    checks.push(
      exact(`${label} cut`, [delayed === one.delayed_edges.flat().join(" ") ? 1 : 0], [1]),
    );
    for (const [node, list] of Object.entries(spikes)) {
      const got = eventsOf(cache.get(`${node}.spikes`)!);
      checks.push(exact(`${label} ${node}.spikes`, got, list.flat()));
    }
    for (const [node, trace] of Object.entries(traces)) {
      const v = cache.get(`${node}.v`)!;
      const nUnits = v.shape[2];
      const units = Array.from({ length: nSteps }, (_, t) =>
        trace.v_units.map((unit) => v.data[t * nUnits + unit]!),
      );
      checks.push(
        within(0, `${label} ${node}.v`, units.flat(), trace.v.flat(), TRACE),
        within(0, `${label} ${node}.v end`, v.data.slice(-nUnits), trace.v_final, TRACE),
      );
      if (trace.i_final) {
        const i = cache.get(`${node}.i`)!;
        checks.push(
          within(0, `${label} ${node}.i end`, i.data.slice(-nUnits), trace.i_final, TRACE),
        );
      }
    }
    const nOut = output.shape[2];
    const sums = new Float64Array(nOut);
    output.data.forEach((value, k) => {
      sums[k % nOut]! += value;
    });
    checks.push(within(1e-9, `${label} output`, sums, output_sum, TRACE));
  }
  return checks;
}

/** `[step, unit]` of all spikes of the first row, one after the other. */
function eventsOf({ data, shape: [, nSteps, nUnits] }: SpikingValues): number[] {
  const list: number[] = [];
  for (let t = 0; t < nSteps; t++) {
    for (let j = 0; j < nUnits; j++) if (data[t * nUnits + j] !== 0) list.push(t, j);
  }
  return list;
}
