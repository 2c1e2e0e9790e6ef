import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { UsageError } from "@penfield/core";
import { HookedModel, type HookPoint } from "@penfield/hooks";
import { isOrganism, organismFolder } from "@penfield/organisms";
import { openSpikingModel } from "@penfield/probes";
import { numberOption, type Options, readWords, refuseWords, type Values } from "./options.ts";
import { createProgressBar } from "./progressBar.ts";
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
  if (spiking) await spikingHooks(name, pattern, values, io);
  else await transformerHooks(name, pattern, values, io);
}

async function transformerHooks(
  name: string,
  pattern: string,
  values: Values,
  io: Surroundings,
): Promise<void> {
  const bar = createProgressBar(io.err);
  const model = await HookedModel.fromPretrained(isOrganism(name) ? organismFolder(name) : name, {
    file: values["file"] as string | undefined,
    onProgress: bar.onProgress,
  }).finally(bar.finish);
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
  await model.dispose();
}

/** Hook points do not depend on it; all else does. */
const ANY_DT = 0.001;

/** A network whose dt nobody has said is opened with any: its hook points are the same. */
async function spikingHooks(
  name: string,
  pattern: string,
  values: Values,
  io: Surroundings,
): Promise<void> {
  if (isOrganism(name)) {
    throw new UsageError(`hooks: expected a spiking network with --dt or --preset, got ${name}`, {
      hint: "spiking-a, spiking-b, a .nir file, or a folder with config.json.",
    });
  }
  if (values["file"] !== undefined) {
    throw new UsageError("hooks: expected --file of a transformer, got it of a spiking network");
  }
  const given = numberOption(values, "dt");
  const isFile = /\.nir$/i.test(name);
  const { model, channels } = await openSpikingModel(name, {
    dt: given ?? (isFile ? ANY_DT : undefined),
    preset: values["preset"] as string | undefined,
  });
  const dt = isFile && given === undefined ? null : model.dt;
  const found = model.listHooks(pattern);
  if (values["json"]) {
    const { sha256, options } = model;
    const described = { name: model.name, sha256, dt, options, channels: channels ?? null };
    io.out.write(`${JSON.stringify({ model: described, hooks: found })}\n`);
  } else {
    io.out.write(
      `${name}: ${model.network.nodes.length} nodes, ${dt === null ? "dt not said" : `dt ${dt} s`}${channels ? `, channels ${channels.join(", ")}` : ""}\n\n`,
    );
    for (const hook of found) io.out.write(hookLine(hook));
  }
  await model.dispose();
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
