import { ArgumentError, ShapeError, writeFileAtomic, writeNpy } from "@penfield/core";
import type { H5Draft } from "@penfield/hdf5";
import { writeHdf5 } from "@penfield/hdf5";
import type { SpikingValues } from "./simulate/capture.ts";

/**
 * Captures as NIRData: an HDF5 file that `nir.read_data` opens.
 *
 * `lif1.v` becomes the observable `v` of the node `lif1`. Spikes (and whatever was captured as events) become
 * EventData, with values (several spikes at once) ValuedEventData; all else TimeGriddedData. As nir has it, a
 * spike of step t is at the time `(t + 1) dt`.
 *
 * @param cache - What `run` captured.
 * @param dt - Seconds of a step, as the model was opened with.
 * @throws {ShapeError} if captures of events are of different recordings.
 *
 * Source: nir 1.0.8, `nir/data_ir`, `write_data`.
 */
export async function encodeNirData(
  cache: ReadonlyMap<string, SpikingValues>,
  { dt }: { readonly dt: number },
): Promise<Uint8Array> {
  if (!(dt > 0)) throw new ArgumentError(`encodeNirData: expected dt above 0, got ${dt}`);
  const root: Folder = { folders: new Map(), observables: {} };
  for (const [hook, values] of cache) {
    const dot = hook.lastIndexOf(".");
    const [node, observable] = [hook.slice(0, dot), hook.slice(dot + 1)];
    let at = root;
    for (const part of node.split("/")) {
      const next = at.folders.get(part) ?? { folders: new Map(), observables: {} };
      at.folders.set(part, next);
      at = next;
    }
    at.observables[observable] =
      observable === "spikes" || values.events ? eventData(values, dt) : griddedData(values, dt);
  }
  return writeHdf5(graphData(root));
}

/** Writes captures as NIRData; the file appears when it is complete. */
export async function writeNirData(
  path: string,
  cache: ReadonlyMap<string, SpikingValues>,
  options: { readonly dt: number },
): Promise<void> {
  await writeFileAtomic(path, await encodeNirData(cache, options));
}

/**
 * One capture as the bytes of a .npy file: `[row, step, unit]`; events as `[n, 4]`: row, step, unit, value.
 */
export function encodeCaptureNpy({ data, shape, events }: SpikingValues): Uint8Array {
  if (!events) return writeNpy(data, shape);
  const { row, step, unit, value } = events;
  const table = new Float64Array(row.length * 4);
  for (let k = 0; k < row.length; k++) {
    table.set([row[k]!, step[k]!, unit[k]!, value[k]!], 4 * k);
  }
  return writeNpy(table, [row.length, 4]);
}

interface Folder {
  readonly folders: Map<string, Folder>;
  readonly observables: Record<string, H5Draft>;
}

function graphData({ folders }: Folder): H5Draft {
  return {
    attributes: { __type__: "NIRGraphData" },
    groups: {
      nodes: {
        groups: Object.fromEntries(
          [...folders].map(([name, folder]) => [
            name,
            folder.folders.size > 0
              ? graphData(folder)
              : {
                  attributes: { __type__: "NIRNodeData" },
                  groups: { observables: { groups: folder.observables } },
                },
          ]),
        ),
      },
    },
  };
}

function griddedData({ data, shape, steps }: SpikingValues, dt: number): H5Draft {
  return {
    attributes: { __type__: "TimeGriddedData", dt: dt * steps.every },
    arrays: { data: { data, shape, gzip: true } },
  };
}

function eventData(values: SpikingValues, dt: number): H5Draft {
  const [nRows, nSteps, nUnits] = values.shape;
  const lists = eventsByRow(values);
  const most = Math.max(1, ...lists.map((list) => list.length));
  const idx = new BigInt64Array(nRows * most).fill(-1n);
  const time = new Float64Array(nRows * most).fill(Number.POSITIVE_INFINITY);
  const value = new Float64Array(nRows * most);
  lists.forEach((list, row) => {
    list.forEach(([step, unit, size], k) => {
      idx[row * most + k] = BigInt(unit);
      time[row * most + k] = (step + 1) * dt;
      value[row * most + k] = size;
    });
  });
  const graded = lists.some((list) => list.some(([, , size]) => size !== 1));
  const shape = [nRows, most];
  const { from, every } = values.steps;
  return {
    attributes: {
      __type__: graded ? "ValuedEventData" : "EventData",
      n_neurons: nUnits,
      t_max: (from + nSteps * every) * dt,
    },
    arrays: {
      idx: { data: idx, shape, gzip: true },
      time: { data: time, shape, gzip: true },
      ...(graded ? { value: { data: value, shape, gzip: true } } : {}),
    },
  };
}

type Event = readonly [step: number, unit: number, value: number];

function eventsByRow({ data, shape, steps, events }: SpikingValues): Event[][] {
  const [nRows, nSteps, nUnits] = shape;
  const lists = Array.from({ length: nRows }, (): Event[] => []);
  if (events) {
    events.row.forEach((row, k) => {
      lists[row]?.push([events.step[k]!, events.unit[k]!, events.value[k]!]);
    });
    return lists;
  }
  if (data.length !== nRows * nSteps * nUnits) {
    throw new ShapeError(
      `encodeNirData: expected ${nRows * nSteps * nUnits} values, got ${data.length}`,
    );
  }
  data.forEach((value, k) => {
    if (value === 0) return;
    const at = Math.floor(k / nUnits);
    const step = steps.from + (at % nSteps) * steps.every;
    lists[Math.floor(at / nSteps)]!.push([step, k % nUnits, value]);
  });
  return lists;
}
