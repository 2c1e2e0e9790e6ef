import type { Intervention, Slot } from "../interventions.ts";
import type { ModelInputs } from "./inputs.ts";
import type { CoreRequest, RunResult } from "./modelCore.ts";
import { OUTPUT } from "./plan.ts";
import type { HookValues } from "./values.ts";

/** Whether the hooked model, with nothing done to it, equals the model as it came. */
export interface IdentityCheck {
  /** `exact`: every output value bit for bit; `unchecked` if the check was not asked for. */
  readonly state: "exact" | "close" | "unchecked";
  /** Largest difference of any output value. */
  readonly maxAbsDifference: number;
}

export interface Verification {
  readonly identity: IdentityCheck;
  /** Hooks whose change was seen in the output. */
  readonly verified: ReadonlySet<string>;
  /** Shape of each hook's tensor for the probe input. */
  readonly shapes: ReadonlyMap<string, readonly number[]>;
  readonly causal: boolean;
}

interface Verifiable {
  readonly hookNames: readonly string[];
  readonly located: {
    readonly batchDependent: number;
    readonly outputs: readonly string[];
    readonly output: string | undefined;
    readonly missing: string | undefined;
    readonly main: { readonly name: string | undefined };
  };
  readonly readsTokens: boolean;
  readonly endOfText: number | undefined;
  isWritable(name: string): boolean;
  probeInputs(nRows: number): ModelInputs["inputs"];
  runPlain(inputs: ModelInputs): Promise<ReadonlyMap<string, HookValues>>;
  run(request: CoreRequest): Promise<RunResult>;
}

/** Token ids that even a tiny vocabulary has; two rows that differ in their last token. */
const PROBE: readonly (readonly number[])[] = [
  [1, 3, 2, 0],
  [1, 3, 2, 1],
];

const ROWS_AT_ONCE = 16;
const ROUTED_TRIED = 24;

/**
 * Looks at a freshly opened model: sizes of its hooks; whether hooks wired with neutral inputs leave
 * all outputs bit-equal; whether adding to each hook changes an output; whether later tokens change
 * earlier positions.
 */
export async function verify(
  core: Verifiable,
  level: "full" | "identity" | "none",
): Promise<Verification> {
  const { outputs } = core.located;
  if (core.located.missing !== undefined) {
    // What such a graph is to be fed is not known: nothing can be looked at.
    const identity = { state: "unchecked" as const, maxAbsDifference: Number.NaN };
    return { identity, verified: new Set(), shapes: new Map(), causal: false };
  }
  const hooks = core.hookNames;
  const writable = hooks.filter((name) => core.isWritable(name));
  const checked = level !== "none";
  const neutral = new Map<string, readonly Slot[]>(
    checked ? writable.map((name) => [name, ["affine", "set"]]) : [],
  );
  const probe = (rows: readonly (readonly number[])[]): ModelInputs => {
    const made = core.probeInputs(rows.length);
    const inputs = Object.keys(made ?? {}).length > 0 ? { inputs: made } : {};
    return core.readsTokens ? { tokens: rows, ...inputs } : inputs;
  };
  // One session does all of it: everything readable, and everything wired that is to be checked.
  const look = (
    inputs: ModelInputs,
    capture: readonly string[],
    interventions: readonly Intervention[] = [],
  ) =>
    core.run({
      ...inputs,
      capture: [...capture, ...outputs],
      interventions,
      neutral,
      readable: [...hooks, ...outputs],
      head: "none",
    });

  // A quantised model's rows disturb each other: its identity is judged one row at a time.
  const alone = core.located.batchDependent > 0;
  const inputs = probe(alone ? PROBE.slice(0, 1) : PROBE);
  const read = await look(inputs, hooks);
  const shapes = new Map([...read.cache].map(([name, values]) => [name, values.shape]));
  const main = read.cache.get(core.located.output ?? "");
  if (main) shapes.set(OUTPUT, main.shape);
  const { name: stack } = core.located.main;
  const firstBlock = `${stack === undefined ? "" : `${stack}.`}blocks.0.hook_resid_post`;
  const both = alone ? await look(probe(PROBE), [firstBlock]) : read;
  const first = both.cache.get(firstBlock);
  const causal = core.readsTokens && first !== undefined && isCausal(first);
  const verified = new Set<string>();
  if (!checked || outputs.length === 0) {
    const identity = { state: "unchecked" as const, maxAbsDifference: Number.NaN };
    return { identity, verified, shapes, causal };
  }
  const plain = await core.runPlain(inputs);
  const pairs = outputs.map((name) => [plain.get(name)!.data, read.cache.get(name)!.data] as const);
  const identity: IdentityCheck = {
    state: pairs.every(([a, b]) => sameBits(a, b)) ? "exact" : "close",
    maxAbsDifference: Math.max(...pairs.map(([a, b]) => maxDifference(a, b))),
  };
  // An expert's tokens are those of the whole batch: such hooks are changed one at a time, the first
  // few of them; what is not tried is not called verified.
  const routed = writable.filter((name) => name.includes(".experts."));
  for (const hook of level === "full" ? routed.slice(0, ROUTED_TRIED) : []) {
    const op = { type: "add", value: 0.5 } as const;
    const { cache } = await look(inputs, [], [{ hook, op, units: [0] }]);
    const moved = outputs.some(
      (name) => maxDifference(read.cache.get(name)!.data, cache.get(name)!.data) > 0,
    );
    if (moved) verified.add(hook);
  }
  const byRow = writable.filter((name) => !name.includes(".experts."));
  if (level === "full") await tryInRows(byRow, PROBE[0]!);
  // A model that reads its answer off at the end-of-text token looks nowhere else.
  const unmoved = byRow.filter((name) => !verified.has(name));
  const { endOfText } = core;
  if (level === "full" && unmoved.length > 0 && endOfText !== undefined) {
    await tryInRows(unmoved, [1, 3, 2, endOfText]);
  }
  return { identity, verified, shapes, causal };

  async function tryInRows(names: readonly string[], tokens: readonly number[]): Promise<void> {
    for (let start = 0; start < names.length; start += ROWS_AT_ONCE) {
      await tryOnePerRow(names.slice(start, start + ROWS_AT_ONCE), tokens);
    }
  }

  async function tryOnePerRow(some: readonly string[], tokens: readonly number[]): Promise<void> {
    // One hook changed in each row; the first row is left alone.
    const rows = [tokens, ...some.map(() => tokens)];
    const interventions = some.map(
      (hook, i): Intervention => ({
        hook,
        op: { type: "add", value: 0.5 },
        units: [0],
        // Keys that are moved alike at all positions leave the attention where it was.
        ...(/attn\.hook_k$/.test(hook) ? { positions: [1] } : {}),
        rows: [i + 1],
      }),
    );
    const { cache } = await look(probe(rows), [], interventions);
    for (const output of outputs) {
      const { data, shape } = cache.get(output)!;
      if (shape[0] !== rows.length) continue;
      const size = data.length / rows.length;
      some.forEach((name, i) => {
        const row = data.subarray((i + 1) * size, (i + 2) * size);
        if (maxDifference(data.subarray(0, size), row) > 0) verified.add(name);
      });
    }
  }
}

/** The first block's output at the first positions must not know that the last token differs. */
function isCausal({ data, shape }: HookValues): boolean {
  const [, length, dim] = shape as [number, number, number];
  const row = length * dim;
  return sameBits(data.subarray(0, row - dim), data.subarray(row, 2 * row - dim));
}

function maxDifference(a: Float32Array, b: Float32Array): number {
  let max = 0;
  for (let i = 0; i < a.length; i++) max = Math.max(max, Math.abs(a[i]! - b[i]!));
  return max;
}

function sameBits(a: Float32Array, b: Float32Array): boolean {
  const bits = (x: Float32Array) => Buffer.from(x.buffer, x.byteOffset, x.byteLength);
  return bits(a).equals(bits(b));
}
