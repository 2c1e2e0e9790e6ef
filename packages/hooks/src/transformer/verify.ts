import type { Intervention, Slot } from "../interventions.ts";
import { padTokens } from "./inputs.ts";
import type { CoreRequest, HookValues, RunResult } from "./model.ts";
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

/** Token ids that every vocabulary has; two rows that differ in their last token. */
const PROBE: readonly (readonly number[])[] = [
  [5, 9, 7, 3],
  [5, 9, 7, 8],
];

/**
 * Looks at a freshly opened model: sizes of its hooks; whether hooks wired with neutral inputs leave
 * the output bit-equal; whether adding to each hook changes the output; whether later tokens change
 * earlier positions.
 */
export async function verify(
  core: Verifiable,
  level: "full" | "identity" | "none",
): Promise<Verification> {
  const writable = core.hookNames.filter((name) => core.isWritable(name));
  const neutral = new Map<string, readonly Slot[]>(
    writable.map((name) => [name, ["affine", "set"]]),
  );
  // A quantised model's rows disturb each other: its identity is judged one row at a time.
  const tokens = core.located.batchDependent > 0 ? PROBE.slice(0, 1) : PROBE;
  const read = await core.run({ tokens, capture: core.hookNames, interventions: [] });
  const shapes = new Map([...read.cache].map(([name, values]) => [name, values.shape]));
  if (read.logits) shapes.set(OUTPUT, read.logits.shape);
  const other =
    tokens === PROBE
      ? read
      : await core.run({ tokens: PROBE, capture: ["blocks.0.hook_resid_post"], interventions: [] });
  const causal = isCausal(other.cache.get("blocks.0.hook_resid_post")!);
  if (level === "none") {
    return {
      identity: { state: "unchecked", maxAbsDifference: Number.NaN },
      verified: new Set(),
      shapes,
      causal,
    };
  }
  const plain = await core.runPlain(padTokens(tokens, 0));
  const hooked = await core.run({ tokens, capture: [], interventions: [], neutral });
  const difference = plain.data.length === 0 ? 0 : maxDifference(plain.data, hooked.logits!.data);
  const identity: IdentityCheck = {
    state: sameBits(plain.data, hooked.logits?.data ?? plain.data) ? "exact" : "close",
    maxAbsDifference: difference,
  };
  const verified = new Set<string>();
  if (level === "full" && hooked.logits) {
    // One row for each hook, all in one run; the first row is left alone.
    const rows = [PROBE[0]!, ...writable.map(() => PROBE[0]!)];
    const interventions = writable.map(
      (hook, i): Intervention => ({
        hook,
        op: { type: "add", value: 0.5 + i / 1000 },
        units: [0],
        rows: [i + 1],
      }),
    );
    const { logits } = await core.run({ tokens: rows, capture: [], interventions, neutral });
    const size = logits!.data.length / rows.length;
    const first = logits!.data.subarray(0, size);
    writable.forEach((name, i) => {
      const row = logits!.data.subarray((i + 1) * size, (i + 2) * size);
      if (maxDifference(first, row) > 0) verified.add(name);
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
