import type { Intervention, Slot } from "../interventions.ts";
import { padTokens, type TokenRows } from "./inputs.ts";
import type { CoreRequest, HookValues, RunResult } from "./modelCore.ts";
import { OUTPUT } from "./plan.ts";

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
  readonly located: { readonly batchDependent: number };
  isWritable(name: string): boolean;
  runPlain(batch: ReturnType<typeof padTokens>): Promise<HookValues>;
  run(request: CoreRequest): Promise<RunResult>;
}

/** Token ids that even a tiny vocabulary has; two rows that differ in their last token. */
const PROBE: readonly (readonly number[])[] = [
  [1, 3, 2, 0],
  [1, 3, 2, 1],
];

const ROWS_AT_ONCE = 16;

/**
 * Looks at a freshly opened model: sizes of its hooks; whether hooks wired with neutral inputs leave
 * the output bit-equal; whether adding to each hook changes the output; whether later tokens change
 * earlier positions.
 */
export async function verify(
  core: Verifiable,
  level: "full" | "identity" | "none",
): Promise<Verification> {
  const hooks = core.hookNames;
  const writable = hooks.filter((name) => core.isWritable(name));
  const checked = level !== "none";
  const neutral = new Map<string, readonly Slot[]>(
    checked ? writable.map((name) => [name, ["affine", "set"]]) : [],
  );
  // One session does all of it: everything readable, and everything wired that is to be checked.
  const look = (
    tokens: TokenRows,
    capture: readonly string[],
    interventions: readonly Intervention[] = [],
  ) => core.run({ tokens, capture, interventions, neutral, readable: hooks });

  // A quantised model's rows disturb each other: its identity is judged one row at a time.
  const tokens = core.located.batchDependent > 0 ? PROBE.slice(0, 1) : PROBE;
  const read = await look(tokens, hooks);
  const shapes = new Map([...read.cache].map(([name, values]) => [name, values.shape]));
  if (read.logits) shapes.set(OUTPUT, read.logits.shape);
  const firstBlock = "blocks.0.hook_resid_post";
  const both = tokens === PROBE ? read : await look(PROBE, [firstBlock]);
  const causal = isCausal(both.cache.get(firstBlock)!);
  const verified = new Set<string>();
  if (!checked || !read.logits) {
    const identity = { state: "unchecked" as const, maxAbsDifference: Number.NaN };
    return { identity, verified, shapes, causal };
  }
  const plain = await core.runPlain(padTokens(tokens, 0));
  const identity: IdentityCheck = {
    state: sameBits(plain.data, read.logits.data) ? "exact" : "close",
    maxAbsDifference: maxDifference(plain.data, read.logits.data),
  };
  for (let start = 0; level === "full" && start < writable.length; start += ROWS_AT_ONCE) {
    // One hook changed in each row; the first row is left alone.
    const some = writable.slice(start, start + ROWS_AT_ONCE);
    const rows = [PROBE[0]!, ...some.map(() => PROBE[0]!)];
    const interventions = some.map(
      (hook, i): Intervention => ({
        hook,
        op: { type: "add", value: 0.5 },
        units: [0],
        // Keys that are moved alike at all positions leave the attention where it was.
        ...(hook.endsWith(".attn.hook_k") || hook.endsWith(".attn.hook_attn_scores")
          ? { positions: [1] }
          : {}),
        rows: [i + 1],
      }),
    );
    const { data } = (await look(rows, [], interventions)).logits!;
    const size = data.length / rows.length;
    some.forEach((name, i) => {
      const row = data.subarray((i + 1) * size, (i + 2) * size);
      if (maxDifference(data.subarray(0, size), row) > 0) verified.add(name);
    });
  }
  return { identity, verified, shapes, causal };
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
