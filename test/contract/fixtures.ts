import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { readSafetensors, type SafeTensor } from "@penfield/core";
import type { Intervention, ModelInputs } from "@penfield/hooks";

/** Tiny exports of every family with random weights, and what PyTorch saw in them: see fixtures/README.md. */
const folder = fileURLToPath(new URL("../fixtures/", import.meta.url));

/** A lesion made in PyTorch: by zeroed weights or a forward hook. */
interface Lesion {
  readonly name: string;
  readonly interventions: readonly Intervention[];
}

/** One exported file and what belongs to it. */
export interface ExportedFile {
  readonly family: string;
  /** The file's name without `.onnx`: `model`, `with_past`, `decoder_int8_dynamic`, … */
  readonly file: string;
  /** How it was exported: `model` for the plain export, else `with_past`, `fp16`, … */
  readonly variant: string;
  readonly path: string;
  readonly config: Record<string, unknown>;
  readonly golden: ReadonlyMap<string, SafeTensor>;
  readonly lesions: readonly Lesion[];
  /** Real lengths of the rows of text. */
  readonly rows: readonly number[] | undefined;
  /** What stands before the names of goldens that this file's hooks do not have. */
  readonly prefix: string;
  /** Output of the file -> its golden. */
  readonly outputs: Readonly<Record<string, string>>;
  readonly inputs: ModelInputs;
}

const VARIANTS = [
  ...["dynamo", "with_past", "merged", "ort_optimized", "builder_fp32", "builder_int4"],
  ...["fp16", "int8_dynamic", "int8_qdq"],
];

interface FileRecord {
  readonly inputs: Record<string, string>;
  readonly outputs: Record<string, string>;
  readonly prefix: string;
}

/** Every exported file of every family, in the order of their names. */
export function exportedFiles(): ExportedFile[] {
  return readdirSync(folder)
    .filter((family) => existsSync(join(folder, family, "golden.safetensors")))
    .sort()
    .flatMap(filesOf);
}

function filesOf(family: string): ExportedFile[] {
  const at = join(folder, family);
  const readConfig = (name: string) => JSON.parse(readFileSync(join(at, name), "utf8"));
  return readdirSync(at)
    .filter((name) => name.endsWith(".onnx"))
    .sort()
    .map((name): ExportedFile => {
      const file = name.slice(0, -".onnx".length);
      const variant = VARIANTS.find((v) => file === v || file.endsWith(`_${v}`)) ?? "model";
      const own = join(at, "golden.builder.safetensors");
      const path =
        file.startsWith("builder") && existsSync(own) ? own : join(at, "golden.safetensors");
      const { tensors, metadata } = readSafetensors(readFileSync(path), family);
      const records: Record<string, FileRecord> = JSON.parse(metadata["files"] ?? "{}");
      const stem = variant === "model" ? file : file.slice(0, -variant.length).replace(/_$/, "");
      const base = stem === "" ? "model" : stem.endsWith("model") ? stem : `${stem}_model`;
      const record = records[name] ?? records[`${base}.onnx`] ?? plainRecord(tensors);
      const rows: number[] | undefined = metadata["rows"]
        ? JSON.parse(metadata["rows"])
        : undefined;
      return {
        family,
        file,
        variant,
        path: join(at, name),
        config: readConfig(path === own ? "config.builder.json" : "config.json"),
        golden: tensors,
        lesions: JSON.parse(metadata["lesions"] ?? "[]"),
        rows,
        prefix: record.prefix,
        outputs: record.outputs,
        inputs: withEncoderCache(file, inputsOf(record, tensors, rows), tensors),
      };
    });
}

/** A later step of an encoder-decoder reads the encoder's keys and values from its cache. */
function withEncoderCache(
  file: string,
  inputs: ModelInputs,
  tensors: ReadonlyMap<string, SafeTensor>,
): ModelInputs {
  if (file !== "decoder_with_past") return inputs;
  const mask = inputs.inputs?.["encoder_attention_mask"];
  const cache = [...tensors].flatMap(([name, { data, shape }]) => {
    const [, layer, kind] = /^decoder\.blocks\.(\d+)\.cross_attn\.hook_([kv])$/.exec(name) ?? [];
    if (layer === undefined) return [];
    const [b, p, h, d] = shape as [number, number, number, number];
    const turned = new Float32Array(data.length);
    for (let i = 0; i < data.length; i++) {
      const [unit, head] = [i % d, Math.floor(i / d) % h];
      const [pos, row] = [Math.floor(i / (d * h)) % p, Math.floor(i / (d * h * p))];
      turned[((row * h + head) * p + pos) * d + unit] = Number(data[i]);
    }
    const input = `past_key_values.${layer}.encoder.${kind === "k" ? "key" : "value"}`;
    return [[input, { data: turned, shape: [b, h, p, d] }] as const];
  });
  const named = Object.fromEntries(cache);
  return {
    ...inputs,
    inputs: mask ? { ...named, encoder_attention_mask: mask } : named,
  };
}

/** A text model: its inputs and outputs are named as the goldens are. */
function plainRecord(tensors: ReadonlyMap<string, SafeTensor>): FileRecord {
  const named = (kind: string) =>
    Object.fromEntries(
      [...tensors.keys()]
        .filter((name) => name.startsWith(kind))
        .map((name) => [name.slice(kind.length), name]),
    );
  return { inputs: named("input."), outputs: named("output."), prefix: "" };
}

/** Tokens as rows of their real lengths, all else by name. */
function inputsOf(
  record: FileRecord,
  tensors: ReadonlyMap<string, SafeTensor>,
  lengths: readonly number[] | undefined,
): ModelInputs {
  // Experts count padding among their tokens: it must be the golden's own.
  const whole = [...tensors.keys()].some((name) => name.includes(".experts."));
  const rowsOf = (name: string): number[][] => {
    const { data, shape } = tensors.get(name)!;
    const [nRows, length] = shape as [number, number];
    return Array.from({ length: nRows }, (_, row) =>
      Array.from(data.subarray(row * length, (row + 1) * length) as never, Number).slice(
        0,
        name === "input.input_ids" && !whole ? (lengths?.[row] ?? length) : length,
      ),
    );
  };
  const derived = new Set(whole ? [] : ["attention_mask", "position_ids"]);
  const inputs: NonNullable<ModelInputs["inputs"]> = Object.fromEntries(
    Object.entries(record.inputs)
      .filter(([input]) => !input.endsWith("input_ids") && !derived.has(input))
      .map(([input, name]) => {
        const { data, shape } = tensors.get(name)!;
        return [input, { data: data as Float32Array, shape }];
      }),
  );
  const tokens = record.inputs["input_ids"];
  const decoder = record.inputs["decoder_input_ids"];
  return {
    ...(tokens ? { tokens: rowsOf(tokens) } : {}),
    ...(decoder ? { decoderTokens: rowsOf(decoder) } : {}),
    ...(Object.keys(inputs).length > 0 ? { inputs } : {}),
  };
}
