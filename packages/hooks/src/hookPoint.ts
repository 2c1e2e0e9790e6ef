import { HookPointError } from "@penfield/core";

/** What a hook point's tensor means; TransformerLens' classic names without the block. */
export type HookKind =
  | "hook_embed"
  | "hook_resid_pre"
  | "hook_resid_mid"
  | "hook_resid_mid_cross"
  | "hook_resid_post"
  | "hook_attn_out"
  | "hook_cross_attn_out"
  | "hook_mlp_out"
  | "attn.hook_q"
  | "attn.hook_k"
  | "attn.hook_v"
  | "attn.hook_z"
  | "attn.hook_attn_scores"
  | "attn.hook_pattern"
  | "cross_attn.hook_q"
  | "cross_attn.hook_k"
  | "cross_attn.hook_v"
  | "cross_attn.hook_z"
  | "cross_attn.hook_attn_scores"
  | "cross_attn.hook_pattern"
  | "mlp.hook_pre"
  | "mlp.hook_pre_linear"
  | "mlp.hook_post"
  | "mlp.hook_gate"
  | "mlp.hook_expert_weights"
  | `mlp.experts.${number}.${ExpertPart}`
  | "tensor";

/** Inside one expert of a mixture: its neurons, on the tokens that were sent to it. */
type ExpertPart = "hook_pre" | "hook_pre_linear" | "hook_post";

/** A place in a model where values can be read, and mostly also changed. */
export interface HookPoint {
  /** `blocks.5.mlp.hook_post`; for a raw tensor, its name in the file. */
  readonly name: string;
  readonly kind: HookKind;
  /** Undefined for the embedding and raw tensors. */
  readonly layer: number | undefined;
  /** `encoder`, `decoder`, `text`, `vision`, `audio` in a model with several stacks of blocks. */
  readonly stack: string | undefined;
  /** Other names that mean the same place. */
  readonly aliases: readonly string[];
  /** The tensor's name in the ONNX graph. */
  readonly tensor: string;
  readonly axes: readonly string[];
  /** Size of the last axis: how many units; undefined where that axis is token positions. */
  readonly nUnits: number | undefined;
  readonly readable: boolean;
  readonly writable: boolean;
  /** Why it is not readable or not writable. */
  readonly reason: string | undefined;
  /** Whether changing it was seen to change the model's output. */
  readonly verified: boolean;
}

const RESIDUAL = ["batch", "pos", "d_model"];
const ATTENTION = ["batch", "head_index", "dest_pos", "src_pos"];
const PER_HEAD = ["batch", "pos", "head_index", "d_head"];

/** Kinds of hook points but those of single experts. */
export type PlainHookKind = Exclude<HookKind, `mlp.experts.${string}`>;

/** Axis names of a kind, as TransformerLens calls them. */
export function axesOf(kind: HookKind): readonly string[] {
  // An expert sees some of the tokens of the whole batch, one after the other.
  return PLAIN_AXES[kind as PlainHookKind] ?? ["batch", "routed_token", "d_mlp"];
}

export const PLAIN_AXES: Record<PlainHookKind, readonly string[]> = {
  hook_embed: RESIDUAL,
  hook_resid_pre: RESIDUAL,
  hook_resid_mid: RESIDUAL,
  hook_resid_mid_cross: RESIDUAL,
  hook_resid_post: RESIDUAL,
  hook_attn_out: RESIDUAL,
  hook_cross_attn_out: RESIDUAL,
  hook_mlp_out: RESIDUAL,
  "attn.hook_q": PER_HEAD,
  "attn.hook_k": PER_HEAD,
  "attn.hook_v": PER_HEAD,
  "attn.hook_z": ["batch", "pos", "head_index*d_head"],
  "attn.hook_attn_scores": ATTENTION,
  "attn.hook_pattern": ATTENTION,
  "cross_attn.hook_q": PER_HEAD,
  "cross_attn.hook_k": PER_HEAD,
  "cross_attn.hook_v": PER_HEAD,
  "cross_attn.hook_z": ["batch", "pos", "head_index*d_head"],
  "cross_attn.hook_attn_scores": ATTENTION,
  "cross_attn.hook_pattern": ATTENTION,
  "mlp.hook_pre": ["batch", "pos", "d_mlp"],
  "mlp.hook_pre_linear": ["batch", "pos", "d_mlp"],
  "mlp.hook_post": ["batch", "pos", "d_mlp"],
  "mlp.hook_gate": ["batch", "pos", "expert"],
  "mlp.hook_expert_weights": ["batch", "pos", "expert"],
  tensor: [],
};

/** The names that TransformerLens 3 gives to the same places. */
const version3: Partial<Record<HookKind, string>> = {
  hook_resid_pre: "hook_in",
  hook_resid_mid: "ln2.hook_in",
  hook_resid_post: "hook_out",
  hook_attn_out: "attn.hook_out",
  hook_mlp_out: "mlp.hook_out",
  "attn.hook_q": "attn.q.hook_out",
  "attn.hook_k": "attn.k.hook_out",
  "attn.hook_v": "attn.v.hook_out",
  "attn.hook_z": "attn.o.hook_in",
  "mlp.hook_pre": "mlp.in.hook_out",
  "mlp.hook_post": "mlp.out.hook_in",
};

/**
 * The full name of a kind of hook in a block; in a model with several stacks, with the stack before it.
 *
 * @example
 * hookName("hook_resid_post", 3, "decoder") // => "decoder.blocks.3.hook_resid_post"
 */
export function hookName(kind: HookKind, layer: number | undefined, stack?: string): string {
  const name = layer === undefined ? kind : `blocks.${layer}.${kind}`;
  return stack === undefined ? name : `${stack}.${name}`;
}

/** Other names for the same place: TransformerLens 3's, and those of its encoder-decoders. */
export function hookAliases(kind: HookKind, layer: number | undefined, stack?: string): string[] {
  const other = version3[kind];
  if (layer === undefined) return [];
  const names = other ? [`blocks.${layer}.${other}`] : [];
  return stack === undefined
    ? names
    : [...names.map((name) => `${stack}.${name}`), `${stack}.${layer}.${kind}`];
}

const SHORTHAND: Record<string, HookKind> = {
  embed: "hook_embed",
  resid_pre: "hook_resid_pre",
  resid_mid: "hook_resid_mid",
  resid_post: "hook_resid_post",
  attn_out: "hook_attn_out",
  cross_attn_out: "hook_cross_attn_out",
  resid_mid_cross: "hook_resid_mid_cross",
  mlp_out: "hook_mlp_out",
  q: "attn.hook_q",
  k: "attn.hook_k",
  v: "attn.hook_v",
  z: "attn.hook_z",
  attn_scores: "attn.hook_attn_scores",
  pattern: "attn.hook_pattern",
  pre: "mlp.hook_pre",
  pre_linear: "mlp.hook_pre_linear",
  post: "mlp.hook_post",
};

/**
 * The full hook name of a short one, as TransformerLens' `get_act_name`.
 *
 * @example
 * getActName("resid_post", 5) // => "blocks.5.hook_resid_post"
 *
 * @example
 * getActName("z", 0) // => "blocks.0.attn.hook_z"
 */
export function getActName(short: string, layer?: number, stack?: string): string {
  const kind = Object.hasOwn(SHORTHAND, short) ? SHORTHAND[short] : undefined;
  if (!kind) {
    throw new HookPointError(
      `getActName: expected one of ${Object.keys(SHORTHAND).join(", ")}, got ${JSON.stringify(short)}`,
    );
  }
  return hookName(kind, layer, stack);
}

/** Whether a name fits a pattern in which `*` stands for any run of characters without a line end. */
export function matchesHook(pattern: string, name: string): boolean {
  const source = pattern.split("*").map((part) => part.replace(/[.+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(`^${source.join(".*")}$`).test(name);
}

/** Up to `count` of the names that are most like a wanted one, the likest first. */
export function nearestNames(wanted: string, names: readonly string[], count = 3): string[] {
  const limit = Math.max(3, Math.ceil(wanted.length / 3));
  return names
    .map((name) => ({ name, distance: editDistance(wanted, name, limit) }))
    .filter(({ distance }) => distance <= limit)
    .sort((a, b) => a.distance - b.distance)
    .slice(0, count)
    .map(({ name }) => name);
}

/** Levenshtein's distance; beyond `limit` some larger number. */
function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) > limit) return limit + 1;
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + same));
    }
    row = next;
  }
  return row[b.length]!;
}
