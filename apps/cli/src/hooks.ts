import { HookedModel } from "@penfield/hooks";
import { isOrganism, organismFolder } from "@penfield/organisms";
import { readWords, refuseWords } from "./options.ts";
import { createProgressBar } from "./progressBar.ts";
import type { Surroundings } from "./surroundings.ts";

const json = { type: "boolean" } as const;

export async function hooks(args: readonly string[], io: Surroundings): Promise<void> {
  const { values, positionals } = readWords(args, {
    model: { type: "string" },
    file: { type: "string" },
    pattern: { type: "string" },
    json,
  });
  refuseWords("hooks", positionals, "Name the model with --model.");
  const name = (values["model"] as string | undefined) ?? "organism-a";
  const bar = createProgressBar(io.err);
  const model = await HookedModel.fromPretrained(isOrganism(name) ? organismFolder(name) : name, {
    file: values["file"] as string | undefined,
    onProgress: bar.onProgress,
  }).finally(bar.finish);
  const found = model.listHooks((values["pattern"] as string | undefined) ?? "*");
  if (values["json"])
    io.out.write(`${JSON.stringify({ cfg: model.cfg, identity: model.identity, hooks: found })}\n`);
  else {
    const { cfg, identity } = model;
    io.out.write(
      `${cfg.modelName}: ${cfg.nLayers} layers, d_model ${cfg.dModel}, ${cfg.nHeads ?? "?"} heads, d_mlp ${cfg.dMlp ?? "?"}, vocabulary ${cfg.dVocab ?? "?"}\n` +
        `With neutral hooks everywhere the output is ${identity.state === "exact" ? "bit-equal to the plain model's" : `within ${identity.maxAbsDifference.toExponential(1)} of the plain model's`}.\n\n`,
    );
    for (const h of found) {
      const state = [
        h.readable ? "readable" : "",
        h.writable ? "writable" : "",
        h.verified ? "verified" : "",
      ]
        .filter(Boolean)
        .join(", ");
      io.out.write(
        `${h.name}  [${h.axes.join(", ")}]  ${h.nUnits ?? "?"} units  ${state}${h.reason ? ` (${h.reason})` : ""}\n`,
      );
    }
  }
  await model.dispose();
}
