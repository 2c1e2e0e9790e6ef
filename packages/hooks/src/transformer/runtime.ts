import { ModelError } from "@penfield/core";
import { encodeModel, type ModelProto } from "@penfield/onnx";
import { InferenceSession } from "onnxruntime-node";

/** Where a model's weights lie, for the sessions built from it. */
export type Weights =
  | { readonly kind: "folder"; readonly folder: string }
  | { readonly kind: "bytes"; readonly files: readonly { path: string; data: Uint8Array }[] };

/** How sessions are run. */
export interface RuntimeOptions {
  /** Threads inside one operator; the runtime's default is one per core. */
  readonly threads?: number | undefined;
  /**
   * `basic` (default) keeps results bit-equal whatever is captured; `all` is faster for some models
   * and moves logits by about 1e-6 when a hook breaks a fusion.
   */
  readonly optimization?: "disabled" | "basic" | "extended" | "all" | undefined;
  /**
   * Let each session rearrange the weights for its kernels. It costs a copy of the weights and a
   * second or more for each session of a large model, and makes short inputs (below about a hundred
   * tokens in a batch) faster. Off by default: the weights stay in the model's file, mapped once for
   * all sessions.
   */
  readonly prepack?: boolean | undefined;
  /** Bytes that one run may need, as far as that can be told before; default what the machine has free. */
  readonly memoryLimit?: number | undefined;
}

/**
 * Compiles a model. Threads do not spin while they wait: on shared cores spinning costs half the speed.
 *
 * @throws {ModelError} with the runtime's own words if it refuses the graph.
 */
export async function createSession(
  model: ModelProto,
  weights: Weights,
  { threads, optimization = "basic", prepack = false }: RuntimeOptions,
): Promise<InferenceSession> {
  try {
    return await InferenceSession.create(encodeModel(model), {
      executionProviders: ["cpu"],
      graphOptimizationLevel: optimization,
      // What goes wrong is thrown; the runtime must not print it as well.
      logSeverityLevel: 4,
      ...(threads === undefined ? {} : { intraOpNumThreads: threads }),
      ...(weights.kind === "bytes" ? { externalData: [...weights.files] } : {}),
      extra: {
        session: {
          intra_op: { allow_spinning: "0" },
          ...(prepack ? {} : { disable_prepacking: "1" }),
          ...(weights.kind === "folder"
            ? { model_external_initializers_file_folder_path: weights.folder }
            : {}),
        },
      },
    });
  } catch (cause) {
    const words = (cause as Error).message;
    throw new ModelError(`createSession: onnxruntime refused the model: ${words}`, {
      hint:
        words.includes("xternal data") || words.includes("No such file")
          ? "A file with the model's weights is missing or too short; fetch the model again."
          : "The file may be damaged, or made for a newer onnxruntime.",
      cause,
    });
  }
}
