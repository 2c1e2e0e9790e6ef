import {
  ArgumentError,
  DataError,
  HookPointError,
  type LongWork,
  throwIfAborted,
} from "@penfield/core";
import type { HookPoint } from "../hookPoint.ts";
import type { Intervention } from "../interventions.ts";
import type { TokenRows } from "../transformer/inputs.ts";
import type { HookedModel } from "../transformer/model.ts";
import type { Circuit, CircuitNode } from "./circuitFile.ts";
import { type MeanActivation, meanActivation } from "./meanActivation.ts";
import type { Metric } from "./metrics.ts";
import { writableHook } from "./patching.ts";
import { blockOfRows, meansOf, type PromptChunk, promptChunks, rowsInRun } from "./rows.ts";

/** On what a circuit is measured, and what is done to everything outside of it. */
export interface CircuitOptions extends LongWork {
  readonly tokens: TokenRows;
  /** F: averaged over the prompts. */
  readonly metric: Metric;
  /**
   * What the parts that are knocked out are set to. `mean` (default): their mean over `reference`.
   * `zero`. `resample`: their values in the reference row of the same number.
   */
  readonly method?: "mean" | "zero" | "resample" | undefined;
  /**
   * `mean`: default the prompts themselves, which keeps what they have in common. `resample`: one row
   * per prompt, as long as the prompt.
   */
  readonly reference?: TokenRows | undefined;
  /**
   * `mean`: keep positions apart. Default: if all prompts and reference rows have one length.
   */
  readonly perPosition?: boolean | undefined;
  /**
   * The hook points that make up the model M, names or patterns; what lies elsewhere is never knocked
   * out. Default: those of the kinds that the circuit names, in all layers.
   */
  readonly hooks?: readonly string[] | undefined;
  /** Rows in one run; default 128, fewer where they would not fit. */
  readonly batchSize?: number | undefined;
  /** Use a circuit of another model file, such as another precision. Default false. */
  readonly allowOtherModel?: boolean | undefined;
}

/** `keep`: everything but these nodes is knocked out. `remove`: these nodes are. */
export interface Lesion {
  readonly kind: "keep" | "remove";
  readonly nodes: readonly number[];
}

/** A node with its units counted out. */
interface ResolvedNode {
  readonly hook: string;
  readonly units: readonly number[];
  readonly positions: ReadonlySet<number> | undefined;
}

/** Runs a model with sets of a circuit's nodes knocked out, many sets as rows of one batch. */
export class Knockouts {
  readonly all: readonly number[];
  readonly #model: HookedModel;
  readonly #nodes: readonly ResolvedNode[];
  readonly #scope: readonly HookPoint[];
  readonly #options: CircuitOptions;
  readonly #name: string;
  readonly #length: number;
  readonly #means: ReadonlyMap<string, MeanActivation>;
  readonly #batchSize: number;
  /** F by lesion: subsets come back. */
  readonly #known = new Map<string, number>();

  private constructor(
    model: HookedModel,
    options: CircuitOptions,
    parts: {
      nodes: readonly ResolvedNode[];
      scope: readonly HookPoint[];
      means: ReadonlyMap<string, MeanActivation>;
      length: number;
      name: string;
    },
  ) {
    this.#model = model;
    this.#options = options;
    this.#nodes = parts.nodes;
    this.#scope = parts.scope;
    this.#means = parts.means;
    this.#length = parts.length;
    this.#name = parts.name;
    this.all = parts.nodes.map((_, i) => i);
    const width = parts.scope.reduce((sum, point) => sum + (point.nUnits ?? 0), 0);
    this.#batchSize = rowsInRun(model, parts.length, width, options.batchSize, parts.name);
  }

  static async open(
    model: HookedModel,
    circuit: Circuit,
    options: CircuitOptions,
    name: string,
  ): Promise<Knockouts> {
    const { tokens, method = "mean", allowOtherModel = false, signal } = options;
    if (circuit.model.sha256 !== model.sha256 && !allowOtherModel) {
      throw new DataError(
        `${name}: expected a circuit of ${model.cfg.modelName} (sha256 ${model.sha256.slice(0, 12)}…), got one of ${circuit.model.name} (${circuit.model.sha256.slice(0, 12)}…)`,
        { hint: "If the files are versions of one model, pass allowOtherModel." },
      );
    }
    if (tokens.length === 0) throw new DataError(`${name}: expected prompts, got none`);
    if (!["mean", "zero", "resample"].includes(method)) {
      throw new ArgumentError(`${name}: expected method mean, zero or resample, got ${method}`);
    }
    const scope = scopeOf(model, circuit, options, name);
    const reference = options.reference ?? tokens;
    const lengths = new Set([...tokens, ...reference].map((row) => row.length));
    if (method === "resample") {
      const fits =
        options.reference?.length === tokens.length &&
        tokens.every((row, i) => row.length === reference[i]!.length);
      if (!fits) {
        throw new DataError(
          `${name}: expected for each prompt a reference row of its length, got ${options.reference === undefined ? "none" : `${reference.length} for ${tokens.length} prompts, or other lengths`}`,
          { hint: "Values move between the same positions of two prompts." },
        );
      }
    }
    const length = Math.max(...tokens.map((row) => row.length));
    const nodes = circuit.nodes.map((node) => resolve(model, node, scope, length, name));
    const perPosition = options.perPosition ?? lengths.size === 1;
    if (perPosition && method === "mean" && lengths.size !== 1) {
      throw new DataError(
        `${name}: expected prompts and reference of one length for means per position, got lengths ${[...lengths].join(", ")}`,
      );
    }
    const names = scope.map((point) => point.name);
    const means =
      method === "mean"
        ? await meanActivation(model, reference, names, { perPosition, signal })
        : new Map<string, MeanActivation>();
    return new Knockouts(model, options, { nodes, scope, means, length, name });
  }

  /** The nodes that are not among these. */
  without(nodes: readonly number[]): number[] {
    return this.all.filter((i) => !nodes.includes(i));
  }

  /** F for each lesion. */
  async measure(lesions: readonly Lesion[]): Promise<number[]> {
    const keys = lesions.map(
      ({ kind, nodes }) => `${kind} ${[...new Set(nodes)].sort().join(" ")}`,
    );
    const open = new Map<string, Lesion>();
    keys.forEach((key, i) => {
      if (!this.#known.has(key)) open.set(key, lesions[i]!);
    });
    const pending = [...open];
    const { tokens, method = "mean", signal } = this.#options;
    throwIfAborted(signal, this.#name);
    const nSources = method === "resample" ? 1 : 0;
    const each = pending.map(() => new Float64Array(tokens.length));
    for (const chunk of promptChunks(tokens.length, this.#batchSize)) {
      const n = chunk.end - chunk.start;
      const perRun = Math.max(1, Math.floor(this.#batchSize / n) - nSources);
      for (let start = 0; start < pending.length; start += perRun) {
        throwIfAborted(signal, this.#name);
        const some = pending.slice(start, start + perRun);
        const values = await this.#run(
          some.map(([, lesion]) => lesion),
          chunk,
        );
        some.forEach((_, i) => {
          each[start + i]!.set(values.slice(i * n, (i + 1) * n), chunk.start);
        });
      }
    }
    pending.forEach(([key], i) => {
      this.#known.set(key, meansOf(each[i]!, tokens.length)[0]!);
    });
    return keys.map((key) => this.#known.get(key)!);
  }

  /** The metric of some prompts under each lesion, `[lesion, prompt]`. */
  async #run(lesions: readonly Lesion[], { start, end }: PromptChunk): Promise<number[]> {
    const { metric, method = "mean", reference } = this.#options;
    const tokens = this.#options.tokens.slice(start, end);
    const n = tokens.length;
    const length = Math.max(...tokens.map((row) => row.length));
    const sources = method === "resample" ? reference!.slice(start, end) : [];
    const first = sources.length === 0 ? 0 : 1;
    const rows = [...sources, ...lesions.flatMap(() => tokens)];
    const source = Array.from(rows, (_, row) => row % n);
    const interventions = lesions.flatMap((lesion, i) =>
      this.#scope.flatMap((point) =>
        this.#ablated(lesion, point, length).flatMap(({ units, positions }) =>
          this.#set(point, units, positions, source).map((intervention) => ({
            ...intervention,
            rows: blockOfRows(i + first, n),
          })),
        ),
      ),
    );
    const names = this.#scope.map((point) => point.name);
    // Every hook of the scope is wired in every run, so that all runs share one session.
    const wired = method === "resample" ? [] : names;
    if (method === "resample") {
      const op = { type: "patch", source } as const;
      interventions.push(...names.map((hook) => ({ hook, op, rows: [] })));
    }
    const { logits } = await this.#model.run({ tokens: rows, interventions, wired });
    const read = lesions.flatMap((_, i) =>
      blockOfRows(i + first, n).map((row, p) => ({ row, prompt: start + p })),
    );
    return metric(logits!, read);
  }

  /** What a lesion knocks out at a hook point: units, by positions that lose the same ones. */
  #ablated(
    { kind, nodes }: Lesion,
    point: HookPoint,
    length: number,
  ): { units: readonly number[] | undefined; positions: readonly number[] | undefined }[] {
    const here = nodes.map((i) => this.#nodes[i]!).filter((node) => node.hook === point.name);
    const groups = new Map<string, number[]>();
    const apart = here.some((node) => node.positions !== undefined);
    const at = (position: number) =>
      here.flatMap((node, i) => (node.positions?.has(position) === false ? [] : [i]));
    for (let position = 0; position < (apart ? length : 1); position++) {
      const key = at(position).join(" ");
      groups.set(key, [...(groups.get(key) ?? []), position]);
    }
    return [...groups].flatMap(([key, positions]) => {
      const active = key === "" ? [] : key.split(" ").map((i) => here[Number(i)]!);
      const named = new Set(active.flatMap((node) => node.units));
      const units = Array.from({ length: point.nUnits! }, (_, unit) => unit).filter(
        (unit) => named.has(unit) === (kind === "remove"),
      );
      if (units.length === 0) return [];
      return {
        units: units.length === point.nUnits ? undefined : units,
        positions: apart ? positions : undefined,
      };
    });
  }

  #set(
    point: HookPoint,
    units: readonly number[] | undefined,
    positions: readonly number[] | undefined,
    source: readonly number[],
  ): Omit<Intervention, "rows">[] {
    const hook = point.name;
    const place = {
      hook,
      ...(units === undefined ? {} : { units }),
      ...(positions === undefined ? {} : { positions }),
    };
    const { method = "mean" } = this.#options;
    if (method === "zero") return [{ ...place, op: { type: "zero" } }];
    if (method === "resample") return [{ ...place, op: { type: "patch", source } }];
    const { values, shape } = this.#means.get(hook)!;
    if (shape.length === 1) return [{ ...place, op: { type: "mean", values } }];
    const width = point.nUnits!;
    const all = positions ?? Array.from({ length: this.#length }, (_, p) => p);
    return all.map((p) => ({
      ...place,
      positions: [p],
      op: { type: "mean", values: values.subarray(p * width, (p + 1) * width) },
    }));
  }
}

function scopeOf(
  model: HookedModel,
  circuit: Circuit,
  { hooks }: CircuitOptions,
  name: string,
): HookPoint[] {
  const named = circuit.nodes.map((node) => model.hookPoint(node.hook));
  const kinds = new Set(named.map((point) => point.kind));
  const points =
    hooks === undefined
      ? model.hookPoints.filter((point) => kinds.has(point.kind))
      : hooks.flatMap((hook) => {
          const found = model.listHooks(hook);
          return found.length > 0 ? found : [model.hookPoint(hook)];
        });
  if (points.length === 0) {
    throw new DataError(`${name}: expected a circuit with nodes, or hooks, got neither`, {
      hint: 'Give hooks: ["blocks.*.attn.hook_z"] to measure the empty circuit.',
    });
  }
  const scope = [...new Set(points)];
  const outside = named.find((point) => !scope.includes(point));
  if (outside) {
    throw new DataError(
      `${name}: expected nodes at the hook points that are knocked out, got ${outside.name}`,
      { hint: "Add it to hooks: what is never knocked out cannot be part of a circuit." },
    );
  }
  const byTensor = new Map<string, HookPoint>();
  for (const point of scope) {
    writableHook(model, point.name, name);
    const twin = byTensor.get(point.tensor);
    if (twin) {
      throw new DataError(
        `${name}: expected each place once, got ${twin.name} and ${point.name}, which are the same`,
      );
    }
    byTensor.set(point.tensor, point);
    if (point.axes.length !== 3 || point.nUnits === undefined) {
      throw new HookPointError(
        `${name}: expected hook points with axes batch, pos and units, got ${point.name} with ${point.axes.join(", ")}`,
        { hint: "A head is a part of attn.hook_z." },
      );
    }
  }
  return scope;
}

function resolve(
  model: HookedModel,
  node: CircuitNode,
  scope: readonly HookPoint[],
  length: number,
  name: string,
): ResolvedNode {
  const point = scope.find((p) => p === model.hookPoint(node.hook))!;
  const nUnits = point.nUnits!;
  const { head, units, positions } = node;
  const given = Object.entries(node).find(([, value]) => value === undefined);
  if (given) {
    throw new ArgumentError(
      `${name}: expected ${given[0]} of the node at ${point.name} to be left out or given, got undefined`,
    );
  }
  const check = (values: readonly number[], n: number, what: string): void => {
    const wrong = values.find((v) => !Number.isInteger(v) || v < 0 || v >= n);
    if (wrong === undefined) return;
    throw new ArgumentError(
      `${name}: expected ${what} within 0..${n - 1} at ${point.name}, got ${wrong}`,
    );
  };
  if (positions) check(positions, length, "positions");
  const place = { hook: point.name, positions: positions && new Set(positions) };
  if (head === undefined) {
    if (units) check(units, nUnits, "units");
    return { ...place, units: units ?? Array.from({ length: nUnits }, (_, i) => i) };
  }
  const { nHeads } = model.cfg;
  if (!point.kind.endsWith("attn.hook_z") || nHeads === undefined || units !== undefined) {
    throw new ArgumentError(
      `${name}: expected a head, without units, at attn.hook_z of a model whose heads are known, got one at ${point.name}`,
    );
  }
  check([head], nHeads, "a head");
  const dHead = nUnits / nHeads;
  return { ...place, units: Array.from({ length: dHead }, (_, i) => head * dHead + i) };
}
