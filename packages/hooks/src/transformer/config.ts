import { type HookKind, hookName } from "../hookPoint.ts";
import type { Located } from "./locate.ts";
import { OUTPUT } from "./plan.ts";

/** What is known of a model; names as in TransformerLens. */
export interface ModelConfig {
  readonly modelName: string;
  /** `model_type` of config.json; undefined for a bare .onnx file. */
  readonly modelType: string | undefined;
  readonly nLayers: number;
  readonly dModel: number;
  readonly nHeads: number | undefined;
  readonly nKeyValueHeads: number | undefined;
  readonly dHead: number | undefined;
  readonly dMlp: number | undefined;
  readonly dVocab: number | undefined;
  /** Longest input in tokens, if the model says. */
  readonly nCtx: number | undefined;
  readonly attentionDir: "causal" | "bidirectional";
  readonly gatedMlp: boolean;
  readonly parallelAttnMlp: boolean;
  /** Each stack of blocks: one, or an encoder and a decoder, or two towers. The other fields speak of the main one. */
  readonly stacks: readonly StackConfig[];
  /** True if a row's result depends on the other rows of its batch (dynamic int8 quantisation). */
  readonly batchDependent: boolean;
}

/** One stack of blocks of a model. */
export interface StackConfig {
  /** What its hook names begin with; undefined where there is only one. */
  readonly name: string | undefined;
  readonly nLayers: number;
  readonly dModel: number | undefined;
  readonly dMlp: number | undefined;
  readonly nHeads: number | undefined;
  readonly gatedMlp: boolean;
  readonly parallelAttnMlp: boolean;
}

const number = (
  config: Record<string, unknown> | undefined,
  ...keys: string[]
): number | undefined => {
  for (const key of keys) {
    const value = config?.[key];
    if (typeof value === "number" && Number.isInteger(value) && value > 0) return value;
  }
  return undefined;
};

/** What config.json says of attention heads. */
export interface HeadSizes {
  readonly nHeads: number | undefined;
  readonly nKeyValueHeads: number | undefined;
  readonly dHead: number | undefined;
}

export function headSizes(config: Record<string, unknown> | undefined): HeadSizes {
  const nHeads = number(config, "num_attention_heads", "n_head", "num_heads");
  const width = number(config, "hidden_size", "n_embd", "d_model");
  return {
    nHeads,
    nKeyValueHeads: number(config, "num_key_value_heads"),
    dHead: number(config, "head_dim") ?? (nHeads && width ? width / nHeads : undefined),
  };
}

export function describeModel(
  name: string,
  located: Located,
  config: Record<string, unknown> | undefined,
  shapes: ReadonlyMap<string, readonly number[]>,
  causal: boolean,
): ModelConfig {
  const heads = headSizes(config);
  const { main } = located;
  const width = (kind: HookKind, stack: string | undefined): number | undefined =>
    shapes.get(hookName(kind, 0, stack))?.at(-1);
  const single = located.stacks.length < 2;
  /** What the graph shows comes first; config.json may speak of another tower. */
  const headsOf = (stack: string | undefined): number | undefined => {
    const pattern = shapes.get(hookName("attn.hook_pattern", 0, stack));
    const q = shapes.get(hookName("attn.hook_q", 0, stack));
    const seen = pattern?.length === 4 ? pattern[1] : q?.[2];
    return seen ?? (single || stack === main.name ? heads.nHeads : undefined);
  };
  const nHeads = headsOf(main.name);
  const z = width("attn.hook_z", main.name);
  const nCtx = number(
    config,
    ...(main.name === "decoder" || located.logits ? ["max_target_positions"] : []),
    ...["max_position_embeddings", "n_positions", "n_ctx"],
  );
  return {
    modelName: name,
    modelType: typeof config?.["model_type"] === "string" ? config["model_type"] : undefined,
    nLayers: main.nLayers,
    dModel: width("hook_resid_post", main.name) ?? 0,
    nHeads,
    nKeyValueHeads: heads.nKeyValueHeads ?? nHeads,
    dHead: heads.dHead ?? (z !== undefined && nHeads ? z / nHeads : undefined),
    dMlp: width("mlp.hook_post", main.name),
    dVocab: located.logits ? shapes.get(OUTPUT)?.at(-1) : number(config, "vocab_size"),
    nCtx,
    attentionDir: causal ? "causal" : "bidirectional",
    gatedMlp: main.gatedMlp,
    parallelAttnMlp: main.parallelAttnMlp,
    stacks: located.stacks.map((stack) => ({
      name: stack.name,
      nLayers: stack.nLayers,
      dModel: width("hook_resid_post", stack.name),
      dMlp: width("mlp.hook_post", stack.name),
      nHeads: headsOf(stack.name),
      gatedMlp: stack.gatedMlp,
      parallelAttnMlp: stack.parallelAttnMlp,
    })),
    batchDependent: located.batchDependent > 0,
  };
}
