import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { ModelError, UsageError } from "@penfield/core";
import { HookedModel, type HookPoint } from "@penfield/hooks";
import { isOrganism } from "@penfield/organisms";
import { type OpenedSpiking, openSpikingModel } from "@penfield/probes";
import { numberOption, type Options, readWords, refuseWords, type Values } from "./options.ts";
import { createProgressBar } from "./progressBar.ts";
import { modelPath } from "./shipped.ts";
import { isSpikingCommand } from "./spikingRecordings.ts";
import type { Surroundings } from "./surroundings.ts";

const string = { type: "string" } as const;

/** How a spiking network is opened, where no `config.json` says it. */
const ownSpikingOptions: Options = { dt: string, preset: string };

export async function hooks(args: readonly string[], io: Surroundings): Promise<void> {
  const { values, positionals } = readWords(args, {
    model: string,
    file: string,
    pattern: string,
    ...ownSpikingOptions,
    json: { type: "boolean" },
  });
  refuseWords("hooks", positionals, "Name the model with --model.");
  const name = (values["model"] as string | undefined) ?? "organism-a";
  const pattern = (values["pattern"] as string | undefined) ?? "*";
  const spiking =
    isSpikingCommand(name, values, ownSpikingOptions) || (await isSpikingFolder(name));
  const opened = spiking
    ? await openSpikingHooks(name, values)
    : await openTransformer(name, values, io);
  if (opened instanceof HookedModel) printTransformer(opened, pattern, values, io);
  else printSpiking(name, opened, pattern, values, io);
  await ("model" in opened ? opened.model : opened).dispose();
}

async function openTransformer(
  name: string,
  values: Values,
  io: Surroundings,
): Promise<HookedModel | OpenedSpiking> {
  const bar = createProgressBar(io.err);
  return HookedModel.fromPretrained(modelPath(name), {
    file: values["file"] as string | undefined,
    onProgress: bar.onProgress,
  })
    .catch((cause) => openStepGraph(name, cause))
    .finally(bar.finish);
}

/** An .onnx file that is no transformer may be one time step of a spiking network. @throws What was wrong with it as a transformer. */
async function openStepGraph(name: string, cause: unknown): Promise<OpenedSpiking> {
  if (!(cause instanceof ModelError && /\.onnx$/i.test(name))) throw cause;
  const opened = await openSpikingModel(name).catch(() => undefined);
  if (opened?.model.hookPoints.some(({ kind }) => kind === "spikes")) return opened;
  throw cause;
}

function printTransformer(
  model: HookedModel,
  pattern: string,
  values: Values,
  io: Surroundings,
): void {
  const found = model.listHooks(pattern);
  if (values["json"])
    io.out.write(`${JSON.stringify({ cfg: model.cfg, identity: model.identity, hooks: found })}\n`);
  else {
    const { cfg, identity } = model;
    io.out.write(
      `${cfg.modelName}: ${cfg.nLayers} layers, d_model ${cfg.dModel}, ${cfg.nHeads ?? "?"} heads, d_mlp ${cfg.dMlp ?? "?"}, vocabulary ${cfg.dVocab ?? "?"}\n` +
        `With neutral hooks everywhere the output is ${identity.state === "exact" ? "bit-equal to the plain model's" : `within ${identity.maxAbsDifference.toExponential(1)} of the plain model's`}.\n\n`,
    );
    for (const hook of found) io.out.write(hookLine(hook));
  }
}

/** Hook points do not depend on it; all else does. */
const ANY_DT = 0.001;

/** A network whose dt nobody has said is opened with any: its hook points are the same. */
async function openSpikingHooks(name: string, values: Values): Promise<OpenedSpiking> {
  if (isOrganism(name)) {
    throw new UsageError(`hooks: expected a spiking network with --dt or --preset, got ${name}`, {
      hint: "spiking-a, spiking-b, a .nir file, or a folder with config.json.",
    });
  }
  if (values["file"] !== undefined) {
    throw new UsageError("hooks: expected --file of a transformer, got it of a spiking network");
  }
  return openSpikingModel(name, {
    dt: numberOption(values, "dt") ?? (isNirFile(name) ? ANY_DT : undefined),
    preset: values["preset"] as string | undefined,
  });
}

const isNirFile = (name: string): boolean => /\.nir$/i.test(name);

function printSpiking(
  name: string,
  { model, channels }: OpenedSpiking,
  pattern: string,
  values: Values,
  io: Surroundings,
): void {
  const found = model.listHooks(pattern);
  const unsaid = isNirFile(name) && values["dt"] === undefined;
  const [what, dt, options] =
    "network" in model
      ? [`${model.network.nodes.length} nodes`, unsaid ? null : model.dt, model.options]
      : [`one time step with ${model.states.length} states`, null, null];
  if (values["json"]) {
    const { name: file, sha256 } = model;
    const described = { name: file, sha256, dt, options, channels: channels ?? null };
    io.out.write(`${JSON.stringify({ model: described, hooks: found })}\n`);
  } else {
    io.out.write(
      `${name}: ${what}, ${dt === null ? "dt not said" : `dt ${dt} s`}${channels ? `, channels ${channels.join(", ")}` : ""}\n\n`,
    );
    for (const hook of found) io.out.write(hookLine(hook));
  }
}

function hookLine(hook: Omit<HookPoint, "kind" | "stack">): string {
  const state = (["readable", "writable", "verified"] as const).filter((name) => hook[name]);
  // An edge of a spiking network has no values of its own.
  const size =
    hook.axes.length === 0 ? "" : `[${hook.axes.join(", ")}]  ${hook.nUnits ?? "?"} units  `;
  return `${hook.name}  ${size}${state.join(", ")}${hook.reason ? ` (${hook.reason})` : ""}\n`;
}

/** Whether a folder's `config.json` names a `.nir` file. */
async function isSpikingFolder(name: string): Promise<boolean> {
  const text = await readFile(join(name, "config.json"), "utf8").catch(() => "null");
  try {
    const { file } = (JSON.parse(text) ?? {}) as { file?: unknown };
    return typeof file === "string" && /\.nir$/i.test(file);
  } catch {
    return false;
  }
}
