import { ArgumentError } from "@penfield/core";
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
  /** True if a row's result depends on the other rows of its batch (dynamic int8 quantisation). */
  readonly batchDependent: boolean;
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
  const pattern = shapes.get("blocks.0.attn.hook_pattern");
  const nHeads = heads.nHeads ?? (pattern?.length === 4 ? pattern[1] : undefined);
  const z = shapes.get("blocks.0.attn.hook_z")?.at(-1);
  const nCtx = number(config, "max_position_embeddings", "n_positions", "n_ctx");
  const dModel = shapes.get("blocks.0.hook_resid_post")?.at(-1);
  if (dModel === undefined)
    throw new ArgumentError("describeModel: the residual stream has no size");
  return {
    modelName: name,
    modelType: typeof config?.["model_type"] === "string" ? config["model_type"] : undefined,
    nLayers: located.nLayers,
    dModel,
    nHeads,
    nKeyValueHeads: heads.nKeyValueHeads ?? nHeads,
    dHead: heads.dHead ?? (z !== undefined && nHeads ? z / nHeads : undefined),
    dMlp: shapes.get("blocks.0.mlp.hook_post")?.at(-1),
    dVocab: located.logits ? shapes.get(OUTPUT)?.at(-1) : number(config, "vocab_size"),
    nCtx,
    attentionDir: causal ? "causal" : "bidirectional",
    gatedMlp: located.gatedMlp,
    parallelAttnMlp: located.parallelAttnMlp,
    batchDependent: located.batchDependent > 0,
  };
}
