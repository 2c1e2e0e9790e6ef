import { readFile, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import {
  ArgumentError,
  FormatError,
  fileError,
  HookPointError,
  ModelError,
  readSafetensors,
  type Safetensors,
  ShapeError,
} from "@penfield/core";
import { createLinalg, type Linalg, type Matrix, matrix } from "@penfield/linalg";
import type { TokenRows } from "../transformer/inputs.ts";
import type { HookedModel } from "../transformer/model.ts";
import type { HookValues } from "../transformer/values.ts";
import { runWithActivationCache } from "./activationCache.ts";

/** How features come from the encoder's product; SAELens' names. */
export type SaeArchitecture =
  | "standard"
  | "topk"
  | "jumprelu"
  | "gated"
  | "transcoder"
  | "skip_transcoder"
  | "jumprelu_transcoder";

const ARCHITECTURES: readonly SaeArchitecture[] = [
  "standard",
  "topk",
  "jumprelu",
  "gated",
  "transcoder",
  "skip_transcoder",
  "jumprelu_transcoder",
];

/** What a dictionary is and where it belongs. */
export interface SaeConfig {
  readonly architecture: SaeArchitecture;
  readonly dIn: number;
  readonly dSae: number;
  /** The same as `dIn`, but for transcoders. */
  readonly dOut: number;
  /** The hook that is read: TransformerLens' name, as the dictionary's makers wrote it. */
  readonly hookName: string | undefined;
  /** The hook that the decoder writes: that which is read, but for transcoders. */
  readonly hookNameOut: string | undefined;
  readonly applyBDecToInput: boolean;
  /**
   * Trained on a model whose writing weights were centered (TransformerLens' default for LayerNorm
   * models): the mean over the units is taken off each vector before it is encoded.
   */
  readonly centerInput: boolean;
  /** How many features `topk` leaves. */
  readonly k: number | undefined;
  /** The model that it was trained on. */
  readonly modelName: string | undefined;
}

/** The arrays of a dictionary, row-major, in float32; which there are depends on the architecture. */
export interface SaeWeights {
  /** `[d_in, d_sae]` */
  readonly W_enc: Float32Array;
  /** `[d_sae, d_out]` */
  readonly W_dec: Float32Array;
  /** `[d_out]` */
  readonly b_dec: Float32Array;
  /** `[d_sae]`; all but `gated`. */
  readonly b_enc?: Float32Array | undefined;
  /** `[d_sae]`; `jumprelu`. */
  readonly threshold?: Float32Array | undefined;
  /** `[d_sae]`, all three; `gated`. */
  readonly b_gate?: Float32Array | undefined;
  readonly b_mag?: Float32Array | undefined;
  readonly r_mag?: Float32Array | undefined;
  /** `[d_out, d_in]`; `skip_transcoder`. */
  readonly W_skip?: Float32Array | undefined;
}

/**
 * A sparse dictionary of the values at a hook: a sparse autoencoder or a transcoder.
 *
 *   s = x - mean(x) (where `centerInput`) - b_dec (where `applyBDecToInput`)
 *   p = s W_enc + b_enc
 *   standard    f = relu(p)
 *   topk        f = relu(p) at the k largest p, 0 elsewhere
 *   jumprelu    f = relu(p) where p > threshold, 0 elsewhere
 *   gated       f = relu(s W_enc exp(r_mag) + b_mag) where s W_enc + b_gate > 0, 0 elsewhere
 *   decoded     f W_dec + b_dec; a transcoder's at another hook; skip_transcoder: + x W_skipᵀ
 *
 * Dictionaries trained with BatchTopK are published as `jumprelu`.
 *
 * Source: SAELens 6 (`sae_lens/saes`); Bricken et al. (2023) and Cunningham et al. (2023) for the
 * standard form, Gao et al. (2024) top-k, Rajamanoharan et al. (2024) gated and JumpReLU, Dunefsky et
 * al. (2024) transcoders.
 */
export class Sae {
  readonly cfg: SaeConfig;
  readonly weights: SaeWeights;
  readonly #linalg: Linalg;

  /** @throws {FormatError} if an array is missing, or of another size than `cfg` says. */
  constructor(cfg: SaeConfig, weights: SaeWeights) {
    checkWeights(cfg, weights);
    this.cfg = cfg;
    this.weights = weights;
    this.#linalg = createLinalg();
  }

  /**
   * The features of values at the hook.
   *
   * @param x - `[..., d_in]`
   * @returns `[..., d_sae]`, most of them 0.
   * @throws {ShapeError} if the last axis is not d_in.
   *
   * Cost: one product of `[tokens, d_in]` and `[d_in, d_sae]` in float32.
   */
  async encode(x: HookValues): Promise<HookValues> {
    const { dIn, dSae, architecture, applyBDecToInput, centerInput, k } = this.cfg;
    const { W_enc, b_dec, b_enc, threshold, b_gate, b_mag, r_mag } = this.weights;
    const rows = rowsOf("encode", x, dIn, "d_in");
    const jumps = architecture.startsWith("jumprelu");
    const given = centerInput ? matrix(centered(rows.data, dIn), rows.nRows, dIn) : rows;
    const input = applyBDecToInput
      ? matrix(
          Float32Array.from(given.data, (v, i) => v - b_dec[i % dIn]!),
          rows.nRows,
          dIn,
        )
      : given;
    const product = await this.#linalg.matmul(input, matrix(W_enc, dIn, dSae));
    const data = product.data as Float32Array;
    for (let i = 0; i < data.length; i++) {
      const f = i % dSae;
      if (architecture === "gated") {
        const gate = Math.fround(data[i]! + b_gate![f]!) > 0;
        const magnitude = data[i]! * Math.exp(r_mag![f]!) + b_mag![f]!;
        data[i] = gate && magnitude > 0 ? magnitude : 0;
        continue;
      }
      data[i]! += b_enc![f]!;
      if (architecture === "topk") continue;
      const floor = jumps ? Math.max(0, threshold![f]!) : 0;
      if (!(data[i]! > floor)) data[i] = 0;
    }
    if (architecture === "topk") {
      for (let row = 0; row < rows.nRows; row++) {
        keepLargest(data.subarray(row * dSae, (row + 1) * dSae), k!);
      }
    }
    return { data, shape: [...x.shape.slice(0, -1), dSae] };
  }

  /**
   * What features stand for: f W_dec + b_dec. A skip transcoder's share of x is not in it.
   *
   * @param features - `[..., d_sae]`
   * @returns `[..., d_out]`
   * @throws {ShapeError} if the last axis is not d_sae.
   */
  async decode(features: HookValues): Promise<HookValues> {
    const { dSae, dOut } = this.cfg;
    const { W_dec, b_dec } = this.weights;
    const rows = rowsOf("decode", features, dSae, "d_sae");
    const product = await this.#linalg.matmul(rows, matrix(W_dec, dSae, dOut));
    const data = product.data as Float32Array;
    for (let i = 0; i < data.length; i++) data[i]! += b_dec[i % dOut]!;
    return { data, shape: [...features.shape.slice(0, -1), dOut] };
  }

  /** decode(encode(x)), with the share of x that a skip transcoder adds. */
  async reconstruct(x: HookValues): Promise<HookValues> {
    const decoded = await this.decode(await this.encode(x));
    return this.#skip(x, decoded);
  }

  /** For `reconstruct` and runs without an error term: adds x W_skipᵀ where there is one. */
  async #skip(x: HookValues, decoded: HookValues): Promise<HookValues> {
    const { W_skip } = this.weights;
    if (!W_skip) return decoded;
    const { dIn, dOut } = this.cfg;
    const rows = rowsOf("reconstruct", x, dIn, "d_in");
    const skip = await this.#linalg.matmul(rows, matrix(W_skip, dOut, dIn), { transposeB: true });
    return { data: decoded.data.map((v, i) => v + skip.data[i]!), shape: decoded.shape };
  }

  /** What is written in place of the values at the hook where there is no error term. */
  async replacement(x: HookValues, features: HookValues): Promise<HookValues> {
    return this.#skip(x, await this.decode(features));
  }

  /** The direction in which a feature writes, `[d_out]` (view). @throws {ArgumentError} if there is no such feature. */
  direction(feature: number): Float32Array {
    const { dSae, dOut } = this.cfg;
    checkFeature("direction", feature, dSae);
    return this.weights.W_dec.subarray(feature * dOut, (feature + 1) * dOut);
  }

  /** Frees the native memory. The dictionary cannot encode or decode afterwards. */
  async dispose(): Promise<void> {
    await this.#linalg.dispose();
  }
}

function rowsOf(
  name: string,
  { data, shape }: HookValues,
  size: number,
  axis: string,
): Matrix<Float32Array> {
  if (shape.at(-1) !== size) {
    throw new ShapeError(
      `${name}: expected values of ${axis} = ${size} on the last axis, got [${shape.join(", ")}]`,
      { hint: "The dictionary was made for another model or another hook." },
    );
  }
  return matrix(data, data.length / size, size);
}

function centered(data: Float32Array, size: number): Float32Array {
  const out = new Float32Array(data.length);
  for (let start = 0; start < data.length; start += size) {
    let mean = 0;
    for (let i = 0; i < size; i++) mean += data[start + i]! / size;
    for (let i = 0; i < size; i++) out[start + i] = data[start + i]! - mean;
  }
  return out;
}

/** Leaves the k largest values, and of those what is above 0; of equal ones the first. */
function keepLargest(values: Float32Array, k: number): void {
  if (k < values.length) {
    const sorted = values.slice().sort();
    const least = sorted[values.length - k]!;
    let ties = 0;
    for (let i = values.length - k; i < values.length && sorted[i] === least; i++) ties++;
    for (let i = 0; i < values.length; i++) {
      if (values[i] === least && ties > 0) ties--;
      else if (!(values[i]! > least)) values[i] = 0;
    }
  }
  for (let i = 0; i < values.length; i++) if (!(values[i]! > 0)) values[i] = 0;
}

function checkFeature(name: string, feature: number, dSae: number): void {
  if (Number.isInteger(feature) && feature >= 0 && feature < dSae) return;
  throw new ArgumentError(`${name}: expected features within 0..${dSae - 1}, got ${feature}`);
}

function checkWeights(cfg: SaeConfig, weights: SaeWeights): void {
  const { architecture, dIn, dSae, dOut, k } = cfg;
  const gated = architecture === "gated";
  const needed: Partial<Record<keyof SaeWeights, number>> = {
    W_enc: dIn * dSae,
    W_dec: dSae * dOut,
    b_dec: dOut,
    ...(gated ? { b_gate: dSae, b_mag: dSae, r_mag: dSae } : { b_enc: dSae }),
    ...(architecture.startsWith("jumprelu") ? { threshold: dSae } : {}),
    ...(architecture === "skip_transcoder" ? { W_skip: dOut * dIn } : {}),
  };
  for (const [name, size] of Object.entries(needed)) {
    const found = weights[name as keyof SaeWeights]?.length;
    if (found === size) continue;
    throw new FormatError(
      `Sae: expected ${size} values of ${name} for a dictionary of ${architecture}, got ${found ?? "none"}`,
    );
  }
  if (architecture === "topk" && !(Number.isInteger(k) && k! >= 1 && k! <= dSae)) {
    throw new FormatError(`Sae: expected k within 1..${dSae}, got ${k}`);
  }
}

const CONFIG = "cfg.json";
const WEIGHTS = "sae_weights.safetensors";
/** A configuration is some lines of text. */
const MAX_CONFIG_BYTES = 2 ** 22;

/**
 * Opens a dictionary in SAELens' layout: a folder with `cfg.json` and `sae_weights.safetensors`, as
 * `save_model` writes it and hubs publish it, or the weights' file itself with `cfg.json` beside it.
 * Configurations from before SAELens 6 are read too.
 *
 * Refused, with a word on what to do: activations that are normalised before encoding, scaling
 * factors that are not folded in, dictionaries of single heads, and other architectures. Top-k
 * dictionaries that rescale by the decoder's norms have the norms folded in.
 *
 * @param options.centerInput - See `SaeConfig`; default what the configuration says, else false. SAELens'
 *   list of dictionaries says it of gpt2-small-res-jb and its kin, whose own files do not.
 * @param options.scalingFactor - For dictionaries with normalised activations (`expected_average_only_in`): the
 *   factor that SAELens' list gives as `norm_scaling_factor`; it is folded in.
 * @throws {FileError} if there is no such folder or file.
 * @throws {FormatError} if the configuration or the arrays are not as the format says.
 * @throws {ModelError} for what is not supported.
 *
 * Source: SAELens 6.18 (`load_from_disk`, `handle_pre_6_0_config`).
 */
export async function loadSae(
  path: string,
  options: { centerInput?: boolean; scalingFactor?: number } = {},
): Promise<Sae> {
  const { centerInput, scalingFactor } = options;
  if (scalingFactor !== undefined && !(Number.isFinite(scalingFactor) && scalingFactor > 0)) {
    throw new ArgumentError(`loadSae: expected a scaling factor above 0, got ${scalingFactor}`);
  }
  const info = await stat(path).catch((cause) => {
    throw fileError("loadSae", path, cause);
  });
  const folder = info.isDirectory() ? path : dirname(path);
  const file = info.isDirectory() ? join(path, WEIGHTS) : path;
  const name = basename(folder);
  const read = async (at: string): Promise<Buffer> =>
    readFile(at).catch((cause) => {
      throw fileError("loadSae", at, cause);
    });
  const text = await read(join(folder, CONFIG));
  const { config, rescaled } = parseConfig(text, name, scalingFactor !== undefined);
  const found = readSafetensors(await read(file), `${name}/${basename(file)}`);
  let weights = parseWeights(found, config, name);
  if (rescaled) weights = foldNorms(weights, config);
  if (scalingFactor !== undefined) weights = foldScale(weights, scalingFactor);
  return new Sae({ ...config, centerInput: centerInput ?? config.centerInput }, weights);
}

function parseConfig(
  bytes: Buffer,
  name: string,
  scaled: boolean,
): { config: SaeConfig; rescaled: boolean } {
  const fail = (rule: string, got: unknown): never => {
    const shown = typeof got === "string" ? got : (JSON.stringify(got) ?? "nothing");
    throw new FormatError(
      `loadSae: ${name}/${CONFIG}: expected ${rule}, got ${shown.slice(0, 80)}`,
      {
        hint: "Dictionaries in SAELens' layout are read; others must be converted with SAELens first.",
      },
    );
  };
  const refuse = (what: string, hint: string): never => {
    throw new ModelError(`loadSae: ${name}: ${what} is not supported`, { hint });
  };
  if (bytes.length > MAX_CONFIG_BYTES) fail("a configuration", `${bytes.length} bytes`);
  let parsed: unknown;
  try {
    parsed = JSON.parse(bytes.toString("utf8"));
  } catch (cause) {
    return fail("JSON", (cause as Error).message);
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
    return fail("an object", parsed);
  }
  const cfg = parsed as Record<string, unknown>;
  const inner = cfg["metadata"];
  const metadata = (typeof inner === "object" && inner !== null ? inner : {}) as Record<
    string,
    unknown
  >;
  const own = (key: string): unknown => (Object.hasOwn(cfg, key) ? cfg[key] : undefined);
  const either = (...keys: string[]): unknown =>
    keys
      .map((key) => own(key) ?? (Object.hasOwn(metadata, key) ? metadata[key] : undefined))
      .find((value) => value !== undefined && value !== null);
  const size = (key: string): number => {
    const value = own(key);
    return Number.isSafeInteger(value) && (value as number) > 0
      ? (value as number)
      : fail(`a whole number above 0 as ${key}`, value);
  };
  const string = (value: unknown): string | undefined =>
    typeof value === "string" && value !== "" ? value : undefined;
  const kwargs = either("activation_fn_kwargs");
  const activation = either("activation_fn", "activation_fn_str") ?? "relu";
  let architecture = own("architecture") ?? "standard";
  let k = own("k");
  if (activation === "topk" && (architecture === "standard" || architecture === "topk")) {
    architecture = "topk";
    k ??= (kwargs as Record<string, unknown> | undefined)?.["k"];
  } else if (activation !== "relu" && activation !== "topk") {
    refuse(`the activation ${JSON.stringify(activation)}`, "relu and topk are read.");
  }
  const known = ARCHITECTURES.find((a) => a === architecture);
  if (!known) {
    return fail(`an architecture among ${ARCHITECTURES.join(", ")}`, architecture);
  }
  const normalize = own("normalize_activations") || "none";
  const onAverage = normalize === "expected_average_only_in" || normalize === true;
  if (normalize !== "none" && !(onAverage && scaled)) {
    refuse(
      `the normalisation of activations ${JSON.stringify(normalize)}`,
      onAverage
        ? "Give the factor of SAELens' list: loadSae(path, { scalingFactor: ... })."
        : "Choose a dictionary without it.",
    );
  }
  if (normalize === "none" && scaled) {
    return fail("normalised activations, as a scaling factor was given", normalize);
  }
  const head = either("hook_head_index", "hook_point_head_index");
  if (head !== undefined)
    refuse(`a dictionary of head ${String(head)} alone`, "Use one of all heads.");
  const transcoder = known.endsWith("transcoder");
  const dIn = size("d_in");
  const hookName = string(either("hook_name", "hook_point"));
  const apply = own("apply_b_dec_to_input") ?? !transcoder;
  if (typeof apply !== "boolean") return fail("true or false as apply_b_dec_to_input", apply);
  if (apply && transcoder) return fail("apply_b_dec_to_input false in a transcoder", apply);
  const training = either("model_from_pretrained_kwargs") as Record<string, unknown> | undefined;
  const center = training?.["center_writing_weights"];
  return {
    rescaled: known === "topk" && own("rescale_acts_by_decoder_norm") === true,
    config: {
      architecture: known,
      dIn,
      dSae: size("d_sae"),
      dOut: transcoder ? size("d_out") : dIn,
      hookName,
      hookNameOut: transcoder ? string(either("hook_name_out")) : hookName,
      applyBDecToInput: apply,
      k: known === "topk" ? (k as number | undefined) : undefined,
      modelName: string(either("model_name")),
      centerInput: center === true,
    },
  };
}

function parseWeights({ tensors }: Safetensors, cfg: SaeConfig, name: string): SaeWeights {
  const { dIn, dSae, dOut } = cfg;
  const shapes: Record<keyof SaeWeights, readonly number[]> = {
    W_enc: [dIn, dSae],
    W_dec: [dSae, dOut],
    b_dec: [dOut],
    b_enc: [dSae],
    threshold: [dSae],
    b_gate: [dSae],
    b_mag: [dSae],
    r_mag: [dSae],
    W_skip: [dOut, dIn],
  };
  const weights: Partial<Record<keyof SaeWeights, Float32Array>> = {};
  for (const [key, shape] of Object.entries(shapes)) {
    const found = tensors.get(key);
    if (!found) continue;
    if (found.shape.join() !== shape.join()) {
      throw new FormatError(
        `loadSae: ${name}: expected ${key} of [${shape.join(", ")}], got [${found.shape.join(", ")}]`,
      );
    }
    const { data } = found;
    if (!(data instanceof Float32Array || data instanceof Float64Array)) {
      throw new FormatError(
        `loadSae: ${name}: expected numbers with fractions as ${key}, got ${found.dtype}`,
      );
    }
    const values = data instanceof Float32Array ? data : Float32Array.from(data);
    const wrong = values.findIndex((v) => !Number.isFinite(v));
    if (wrong >= 0) {
      throw new FormatError(
        `loadSae: ${name}: expected finite values in ${key}, got ${values[wrong]}`,
      );
    }
    weights[key as keyof SaeWeights] = values;
  }
  const scaling = tensors.get("scaling_factor") ?? tensors.get("finetuning_scaling_factor");
  if (scaling && Array.from(scaling.data, Number).some((v) => Math.abs(v - 1) > 1e-5)) {
    throw new ModelError(
      `loadSae: ${name}: a scaling factor that is not folded in is not supported`,
      {
        hint: "Fold it into W_dec and save again.",
      },
    );
  }
  // What is missing is named by the constructor.
  return weights as unknown as SaeWeights;
}

/** Features scaled by the norms of what they write: p n, chosen, then W_dec / n. */
function foldNorms(weights: SaeWeights, { dIn, dSae, dOut }: SaeConfig): SaeWeights {
  const { W_enc, W_dec, b_enc } = weights;
  if (!W_enc || !W_dec || !b_enc) return weights;
  const norms = Float64Array.from({ length: dSae }, (_, f) =>
    Math.sqrt(W_dec.subarray(f * dOut, (f + 1) * dOut).reduce((sum, v) => sum + v * v, 0)),
  );
  return {
    ...weights,
    W_enc: Float32Array.from({ length: dIn * dSae }, (_, i) => W_enc[i]! * norms[i % dSae]!),
    b_enc: b_enc.map((v, f) => v * norms[f]!),
    W_dec: W_dec.map((v, i) => (v === 0 ? 0 : v / norms[Math.floor(i / dOut)]!)),
  };
}

/** x s W_enc + ..., decoded and divided by s: as SAELens' `fold_activation_norm_scaling_factor`. */
function foldScale(weights: SaeWeights, s: number): SaeWeights {
  const { W_enc, W_dec, b_dec } = weights;
  if (!W_enc || !W_dec || !b_dec) return weights;
  return {
    ...weights,
    W_enc: W_enc.map((v) => v * s),
    W_dec: W_dec.map((v) => v / s),
    b_dec: b_dec.map((v) => v / s),
  };
}

/** Sets a feature to a value. */
export interface FeatureClamp {
  readonly feature: number;
  readonly value: number;
  /** Token positions from 0; absent: all. */
  readonly positions?: readonly number[] | undefined;
}

export interface SaeRunOptions {
  /** Features set to 0, everywhere. */
  readonly ablate?: readonly number[] | undefined;
  /** Features set to values, after `ablate`; later ones win. */
  readonly clamp?: readonly FeatureClamp[] | undefined;
  /**
   * Keep what the dictionary does not explain (default true): only the change of the features is
   * written. Otherwise the values at the hook are replaced by what the features decode to.
   */
  readonly useErrorTerm?: boolean | undefined;
  /** In place of the hooks that the dictionary names. */
  readonly hook?: string | undefined;
  readonly hookOut?: string | undefined;
}

export interface SaeRun {
  /** `[row, pos, vocab]` (an encoder: last hidden states). */
  readonly logits: HookValues;
  /** `[row, pos, d_sae]`, as encoded from what the model computed. */
  readonly features: HookValues;
  /** `[row, pos, d_sae]`, after `ablate` and `clamp`. */
  readonly changed: HookValues;
}

/**
 * Runs a model with a dictionary at its hook, features changed on the way.
 *
 *   y' = y + (f' - f) W_dec          y: the values at the hook; f, f': features before and after
 *
 * This is the decoder's output with the error term y - decode(f) added, worked out so that the error
 * never has to be: with nothing changed y' is y itself, and the run is the plain one bit for bit.
 * `useErrorTerm: false`: y' = f' W_dec + b_dec.
 *
 * Padding is left as it is.
 *
 * @throws {HookPointError} if the model does not have the dictionary's hook, or it cannot be written.
 * @throws {ShapeError} if the hook is of another width than the dictionary.
 * @throws {ArgumentError} for features or positions that do not exist.
 *
 * Cost: one run up to the hook, one product, one run from the hook on.
 * Source: Marks et al. (2024), arXiv 2403.19647, for the error term; SAELens' `run_with_saes` with `use_error_term`.
 */
export async function runWithSae(
  model: HookedModel,
  tokens: TokenRows,
  sae: Sae,
  options: SaeRunOptions = {},
): Promise<SaeRun> {
  const { useErrorTerm = true } = options;
  const { read, write } = hooksOf("runWithSae", model, sae, options);
  const { cache, batch } = await model.run({ tokens, capture: [read, write], head: "none" });
  const [x, y] = [cache.get(read)!, cache.get(write)!];
  const { dSae, dOut } = sae.cfg;
  if (y.shape.at(-1) !== dOut) {
    throw new ShapeError(
      `runWithSae: expected values of d_out = ${dOut} at ${write}, got [${y.shape.join(", ")}]`,
      { hint: "The dictionary was made for another model or another hook." },
    );
  }
  const features = await sae.encode(x);
  const changed = { data: features.data.slice(), shape: features.shape };
  const { nRows, length, lengths } = batch;
  if (features.data.length !== nRows * length * dSae) {
    throw new ShapeError(
      `runWithSae: expected values for ${nRows} x ${length} tokens at ${read}, got [${x.shape.join(", ")}]`,
    );
  }
  const set = (feature: number, value: number, positions?: readonly number[]): void => {
    checkFeature("runWithSae", feature, dSae);
    if (!Number.isFinite(value)) {
      throw new ArgumentError(
        `runWithSae: expected a finite value for feature ${feature}, got ${value}`,
      );
    }
    for (const position of positions ?? []) {
      if (Number.isInteger(position) && position >= 0 && position < length) continue;
      throw new ArgumentError(
        `runWithSae: expected positions within 0..${length - 1}, got ${position}`,
      );
    }
    for (let row = 0; row < nRows; row++) {
      for (const p of positions ?? Array.from({ length: lengths[row]! }, (_, i) => i)) {
        if (p < lengths[row]!) changed.data[(row * length + p) * dSae + feature] = value;
      }
    }
  };
  for (const feature of options.ablate ?? []) set(feature, 0);
  for (const { feature, value, positions } of options.clamp ?? []) set(feature, value, positions);
  const values = useErrorTerm
    ? withChange(y, features, changed, sae)
    : await replaced(y, x, changed, sae, lengths);
  const { logits } = await model.run({ tokens, from: { hook: write, values } });
  if (!logits) throw new ModelError("runWithSae: expected a model with an output, got one without");
  return { logits, features, changed };
}

/** The hooks that a dictionary reads and writes in a model. */
function hooksOf(
  name: string,
  model: HookedModel,
  { cfg }: Sae,
  options: { readonly hook?: string | undefined; readonly hookOut?: string | undefined },
): { read: string; write: string } {
  const read = options.hook ?? cfg.hookName;
  const write =
    options.hookOut ?? (cfg.architecture.endsWith("transcoder") ? cfg.hookNameOut : read);
  if (read === undefined || write === undefined) {
    throw new HookPointError(`${name}: expected a hook, got a dictionary that names none`, {
      hint: "Name it: { hook: 'blocks.5.hook_resid_pre' }, and hookOut for a transcoder.",
    });
  }
  const point = model.hookPoint(write);
  if (!point.writable) {
    throw new HookPointError(
      `${name}: expected a writable hook point, got ${write}: ${point.reason}`,
    );
  }
  // What is read may be a tensor of the file that is no hook point.
  const known = model.hookPoints.some((h) => h.name === read || h.aliases.includes(read));
  return { read: known ? model.hookPoint(read).name : read, write: point.name };
}

/** y + (changed - features) W_dec, added up in float64; where nothing has changed, y as it is. */
function withChange(
  y: HookValues,
  features: HookValues,
  changed: HookValues,
  sae: Sae,
): HookValues {
  const { dSae, dOut } = sae.cfg;
  const data = y.data.slice();
  for (let place = 0; place < data.length / dOut; place++) {
    let sum: Float64Array | undefined;
    for (let f = 0; f < dSae; f++) {
      const at = place * dSae + f;
      const delta = changed.data[at]! - features.data[at]!;
      if (delta === 0) continue;
      sum ??= Float64Array.from(data.subarray(place * dOut, (place + 1) * dOut));
      const row = sae.direction(f);
      for (let i = 0; i < dOut; i++) sum[i]! += delta * row[i]!;
    }
    if (sum) data.set(sum, place * dOut);
  }
  return { data, shape: y.shape };
}

/** What the features decode to, at real tokens. */
async function replaced(
  y: HookValues,
  x: HookValues,
  changed: HookValues,
  sae: Sae,
  lengths: readonly number[],
): Promise<HookValues> {
  const decoded = await sae.replacement(x, changed);
  const data = y.data.slice();
  const length = data.length / sae.cfg.dOut / lengths.length;
  lengths.forEach((n, row) => {
    const start = row * length * sae.cfg.dOut;
    data.set(decoded.data.subarray(start, start + n * sae.cfg.dOut), start);
  });
  return { data, shape: y.shape };
}

/** Shares of features in a logit: `values` is `[row, d_sae]`. */
export interface FeatureAttribution {
  readonly values: HookValues;
  /** `[row, d_sae]`: the features at the position where the answer is read. */
  readonly features: HookValues;
}

/** Hooks whose values are written to the residual stream as they are. */
const WRITTEN = /(^|\.)hook_(embed|resid_pre|resid_mid|resid_post|attn_out|mlp_out)$/;

/**
 * How much each feature adds to the logit of a token, or to a difference of two, by what it writes to
 * the residual stream directly:
 *
 *   share = f W_dec[f] · d
 *
 * d is the logit's direction with the final norm frozen at what it divides by in this run, as in
 * `directLogitAttribution`. What the dictionary leaves unexplained, its bias, and what later blocks
 * make of a feature are in no share.
 *
 * @param options.tokens - The answer: one for all rows, or one per row.
 * @param options.incorrectTokens - If given, the difference to the logit of these.
 * @param options.position - Where; negative ones count from the end; default the last real token of each row.
 * @throws {HookPointError} for a dictionary of another place than the residual stream, or what attention
 *   or an MLP adds to it.
 * @throws {ModelError} where the residual stream is no sum, or the model has no logits.
 */
export async function featureLogitAttribution(
  model: HookedModel,
  tokens: TokenRows,
  sae: Sae,
  options: {
    tokens: number | readonly number[];
    incorrectTokens?: number | readonly number[];
    position?: number;
    hook?: string;
    hookOut?: string;
  },
): Promise<FeatureAttribution> {
  const { read, write } = hooksOf("featureLogitAttribution", model, sae, options);
  if (!WRITTEN.test(write)) {
    throw new HookPointError(
      `featureLogitAttribution: expected a dictionary that writes to the residual stream, got one at ${write}`,
      { hint: "Use runWithSae with `ablate` to see what its features do." },
    );
  }
  if (!model.weights.blocksAdd()) {
    throw new ModelError(
      "featureLogitAttribution: expected a residual stream that is a sum, got norms between blocks",
    );
  }
  const last = `blocks.${model.cfg.nLayers - 1}.hook_resid_post`;
  const { cache } = await runWithActivationCache(model, tokens, { namesFilter: [read, last] });
  const x = cache.get(read);
  const all = await sae.encode(x);
  const { dSae, dOut } = sae.cfg;
  const length = all.data.length / dSae / tokens.length;
  const features = new Float32Array(tokens.length * dSae);
  const values = new Float32Array(tokens.length * dSae);
  for (const [row, ids] of tokens.entries()) {
    const wanted = options.position ?? -1;
    const pos = wanted < 0 ? ids.length + wanted : wanted;
    if (!Number.isInteger(pos) || pos < 0 || pos >= ids.length) {
      throw new ArgumentError(
        `featureLogitAttribution: expected a position within 0..${ids.length - 1}, got ${options.position} for row ${row}`,
      );
    }
    const { direction } = await cache.logitDirection(
      row,
      pos,
      options.tokens,
      options.incorrectTokens,
    );
    if (direction.length !== dOut) {
      throw new ShapeError(
        `featureLogitAttribution: expected a dictionary of ${direction.length} values, got ${dOut}`,
      );
    }
    for (let f = 0; f < dSae; f++) {
      const activation = all.data[(row * length + pos) * dSae + f]!;
      if (activation === 0) continue;
      const decoder = sae.direction(f);
      let along = 0;
      for (let i = 0; i < dOut; i++) along += decoder[i]! * direction[i]!;
      features[row * dSae + f] = activation;
      values[row * dSae + f] = activation * along;
    }
  }
  const shape = [tokens.length, dSae];
  return { values: { data: values, shape }, features: { data: features, shape } };
}
