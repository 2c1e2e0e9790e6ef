import { readdir, readFile, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { DownloadError, fileError, ModelError, type OnProgress } from "@penfield/core";

/** The files of a model on this machine. */
export interface ModelFiles {
  /** How the user named it, without folders: goes into reports. */
  readonly name: string;
  readonly onnxPath: string;
  /** Folder with config.json and tokenizer files, if there is one. */
  readonly folder: string | undefined;
}

export interface SourceOptions {
  /** Which of the files in `onnx/` to take: `model` (default), `model_quantized`, `model_fp16`, … */
  readonly file?: string | undefined;
  /** Where downloads are kept; default `$PENFIELD_CACHE` or `~/.cache/penfield`. */
  readonly cacheFolder?: string | undefined;
  /** Address of the hub; default `$HF_ENDPOINT` or the Hugging Face hub. */
  readonly hub?: string | undefined;
  readonly onProgress?: OnProgress | undefined;
}

/** Where Penfield keeps what it downloads. */
export function cacheFolder(): string {
  return process.env["PENFIELD_CACHE"] ?? join(homedir(), ".cache", "penfield");
}

const isFile = async (path: string): Promise<boolean> =>
  stat(path).then(
    (s) => s.isFile(),
    () => false,
  );

/**
 * Finds a model's files: a path to an .onnx file, a folder laid out like a hub repository, or a hub
 * id ("owner/name"), which is downloaded once by `@huggingface/transformers`' own machinery.
 *
 * @throws {ModelError} if there is no such file or folder, or the folder holds no model.
 * @throws {DownloadError} if the hub cannot be reached or does not have it.
 */
export async function findModelFiles(
  source: string,
  options: SourceOptions = {},
): Promise<ModelFiles> {
  const path = resolve(source);
  const info = await stat(path).catch(() => undefined);
  if (info?.isFile()) {
    const folder = dirname(path);
    const root = basename(folder) === "onnx" ? dirname(folder) : folder;
    const hasConfig = await isFile(join(root, "config.json"));
    return { name: basename(path), onnxPath: path, folder: hasConfig ? root : undefined };
  }
  if (info?.isDirectory()) return filesInFolder(path, basename(path), options.file);
  if (/^[\w.-]+\/[\w.-]+$/.test(source)) return fromHub(source, options);
  throw new ModelError(
    `findModelFiles: expected a model, got ${JSON.stringify(source)}: there is no such file or folder, and it is no hub id`,
    {
      hint: "Give an .onnx file, a folder laid out like a hub repository, or a hub id such as owner/name.",
    },
  );
}

async function filesInFolder(folder: string, name: string, file = "model"): Promise<ModelFiles> {
  const wanted = file.endsWith(".onnx") ? file : `${file}.onnx`;
  for (const candidate of [join(folder, "onnx", wanted), join(folder, wanted)]) {
    if (await isFile(candidate)) return { name, onnxPath: candidate, folder };
  }
  const found = (
    await Promise.all([join(folder, "onnx"), folder].map(async (f) => readdir(f).catch(() => [])))
  )
    .flat()
    .filter((f) => f.endsWith(".onnx"));
  // A decoder exported with and without cache: the merged file runs both ways.
  const merged = found.find((f) => f === "decoder_model_merged.onnx" || f === "decoder_model.onnx");
  if (file === "model" && (merged || found.length === 1)) {
    const only = merged ?? found[0]!;
    const inner = join(folder, "onnx", only);
    return { name, onnxPath: (await isFile(inner)) ? inner : join(folder, only), folder };
  }
  throw new ModelError(
    `findModelFiles: ${name}: expected onnx/${wanted}, got ${found.length === 0 ? "no .onnx file" : found.join(", ")}`,
    {
      hint:
        found.length === 0 ? "Export the model to ONNX first." : "Name one of them with --file.",
    },
  );
}

async function fromHub(id: string, options: SourceOptions): Promise<ModelFiles> {
  const { onProgress } = options;
  const folder = join(options.cacheFolder ?? cacheFolder(), "hub");
  const file = options.file ?? "model";
  const cached = await filesInFolder(join(folder, id), id, file).catch(() => undefined);
  if (cached && (await isFile(join(folder, id, "tokenizer.json")))) return cached;
  // Loaded only here: a large library, needed for nothing but downloads.
  const hub = await import("@huggingface/transformers");
  const host = options.hub ?? process.env["HF_ENDPOINT"];
  if (host) hub.env.remoteHost = host.endsWith("/") ? host : `${host}/`;
  hub.env.cacheDir = folder;
  hub.env.allowLocalModels = false;
  const progress_callback = (event: {
    status: string;
    file?: string;
    loaded?: number;
    total?: number;
  }): void => {
    if (event.status === "progress" && event.total) {
      onProgress?.({
        stage: `downloading ${id} ${event.file ?? ""}`.trim(),
        done: event.loaded ?? 0,
        total: event.total,
        unit: "bytes",
      });
    }
  };
  try {
    await hub.AutoTokenizer.from_pretrained(id, { progress_callback });
    const model = await hub.AutoModel.from_pretrained(id, {
      progress_callback,
      device: "cpu",
      dtype: "fp32",
      ...(file === "model" ? {} : { model_file_name: file }),
    });
    await model.dispose();
  } catch (cause) {
    const words = (cause as Error).message;
    throw new DownloadError(
      `findModelFiles: ${id} could not be fetched from ${hub.env.remoteHost}: ${words}`,
      {
        hint: /fetch failed|ENOTFOUND|ECONNREFUSED|EAI_AGAIN/.test(
          `${words} ${String((cause as Error).cause ?? "")}`,
        )
          ? "There is no connection to the hub; give a folder on this machine instead."
          : "Check the id, and that the repository holds ONNX files.",
        cause,
      },
    );
  }
  return filesInFolder(join(folder, id), id, file);
}

/**
 * A JSON file of a model's folder, or undefined if it is not there.
 *
 * @throws {ModelError} if it is there and is not JSON.
 */
export async function readModelJson(
  folder: string,
  name: string,
): Promise<Record<string, unknown> | undefined> {
  const path = join(folder, name);
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw fileError("readModelJson", path, cause);
  }
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null) return value as Record<string, unknown>;
    throw new SyntaxError("not an object");
  } catch (cause) {
    throw new ModelError(`readModelJson: ${name} is not JSON: ${(cause as Error).message}`, {
      hint: "Fetch the model's files again.",
      cause,
    });
  }
}
