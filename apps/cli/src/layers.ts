import { existsSync } from "node:fs";
import {
  type Activations,
  DataError,
  type OnProgress,
  tensor,
  throwIfAborted,
} from "@penfield/core";
import { HookedModel } from "@penfield/hooks";
import { batchesByLength, type UnitKind, unitHook } from "@penfield/localize";
import { isOrganism } from "@penfield/organisms";
import type { WorkStore } from "@penfield/probes";
import type { ReportModel } from "@penfield/report";
import { modelPath } from "./shipped.ts";

/** How a model reads stimuli. */
export interface Reading {
  /** Which of several ONNX files. */
  readonly file: string | undefined;
  readonly units: UnitKind;
  readonly pooling: "mean" | "last";
  readonly maxTokens: number | undefined;
  readonly prependBos: boolean | undefined;
  readonly threads: number | undefined;
  /** Read the model with its weights in another, random order. */
  readonly untrained?: number | undefined;
}

interface Layer {
  readonly title: string;
  readonly matrix: Activations;
}

/** Every layer of a model, as it represents some stimuli. */
export interface Layers {
  readonly record: ReportModel;
  readonly items: readonly Layer[];
}

/** Texts that are read between two savings of what was read. */
const CHUNK = 256;
const BATCH_TOKENS = 2048;

/** The values of all layers for all texts, one value per unit and text; what was read is kept. */
export async function readLayers(
  verb: string,
  name: string,
  texts: readonly string[],
  { units, pooling, maxTokens, prependBos, file, threads, untrained }: Reading,
  work: WorkStore,
  onProgress: OnProgress,
  signal: AbortSignal,
): Promise<Layers> {
  const stage = `reading ${name.replace(/^.*[\\/]/, "")}${untrained === undefined ? "" : ", untrained"}`;
  onProgress({ stage, done: 0, total: texts.length, unit: "texts" });
  const model = await HookedModel.fromPretrained(modelPath(name), {
    file,
    threads,
    untrained,
    // Of a floor only the activations count.
    ...(untrained === undefined ? {} : { verify: "none" as const }),
    onProgress,
  });
  try {
    const { nLayers, nCtx = Number.POSITIVE_INFINITY } = model.cfg;
    const tokenizer = model.requireTokenizer();
    const tokens = texts.map((text) => tokenizer.encode(text, { maxTokens, prependBos }));
    const odd = tokens.findIndex((row) => row.length < 1 || row.length > nCtx);
    if (odd >= 0) {
      throw new DataError(
        `${verb}: expected 1 to ${nCtx} tokens, got ${tokens[odd]!.length} for ${JSON.stringify(texts[odd]!.slice(0, 60))}`,
        { hint: "Shorten the text, or give --max-tokens." },
      );
    }
    const capture = Array.from({ length: nLayers }, (_, layer) => unitHook(units, layer));
    let layers: Float32Array[] = [];
    let widths: number[] = [];
    for (let from = 0; from < texts.length; from += CHUNK) {
      const part = tokens.slice(from, from + CHUNK);
      const key = `${model.sha256} ${from}`;
      const known = await work.getArray(key);
      // All layers of a text behind each other, [nTexts, sum of widths].
      const chunk = known?.data ?? (await readChunk(part));
      const size = chunk.length / part.length;
      if (layers.length === 0) {
        widths = Array.from({ length: nLayers }, () => size / nLayers);
        layers = widths.map((width) => new Float32Array(texts.length * width));
      }
      if (!known) await work.putArray(key, chunk, [part.length, size]);
      part.forEach((_, i) => {
        let at = i * size;
        layers.forEach((values, layer) => {
          const width = widths[layer]!;
          values.set(chunk.subarray(at, at + width), (from + i) * width);
          at += width;
        });
      });
      const done = Math.min(texts.length, from + CHUNK);
      onProgress({ stage, done, total: texts.length, unit: "texts" });
    }
    async function readChunk(part: readonly (readonly number[])[]): Promise<Float32Array> {
      let out: Float32Array | undefined;
      for (const batch of batchesByLength(part, BATCH_TOKENS)) {
        throwIfAborted(signal, verb);
        const { cache } = await model.run({
          tokens: batch.map((i) => [...part[i]!]),
          capture,
          head: "none",
          reduce: pooling,
        });
        capture.forEach((hook, layer) => {
          const { data } = cache.get(hook)!;
          const width = data.length / batch.length;
          out ??= new Float32Array(part.length * nLayers * width);
          batch.forEach((text, row) => {
            const at = (text * nLayers + layer) * width;
            out!.set((data as Float32Array).subarray(row * width, (row + 1) * width), at);
          });
        });
      }
      return out!;
    }
    const items = layers.map((values, layer): Layer => {
      const shape = [texts.length, widths[layer]!] as const;
      return {
        title: `${model.cfg.modelName} layer ${layer}`,
        matrix: tensor(values, ["stimulus", "unit"], shape),
      };
    });
    return { items, record: modelRecord(model, name) };
  } finally {
    await model.dispose();
  }
}

function modelRecord(model: HookedModel, given: string): ReportModel {
  const { modelName, nLayers, dModel, nHeads, dMlp, dVocab } = model.cfg;
  // A path of the user's machine is of no use to the report's readers; a hub id is.
  const isId = /^[\w.-]+\/[\w.-]+$/.test(given) && !existsSync(given);
  return {
    name: modelName,
    source: isId || isOrganism(given) ? given : modelName,
    sha256: model.sha256,
    nLayers,
    dModel,
    ...(nHeads === undefined ? {} : { nHeads }),
    ...(dMlp === undefined ? {} : { dMlp }),
    dVocab: dVocab ?? 1,
  };
}
