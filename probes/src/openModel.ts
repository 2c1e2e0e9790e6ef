import { HookedModel, type ModelConfig } from "@penfield/hooks";
import { isOrganism, organismFolder } from "@penfield/organisms";
import type { ReportModel } from "@penfield/report";
import type { ProbeContext } from "./probe.ts";

/** Opens the model that the settings name; those that ship with Penfield go by their names. */
export async function openModel({ settings, onProgress }: ProbeContext): Promise<HookedModel> {
  const { model, file, threads } = settings;
  onProgress?.({ stage: "opening the model", done: 0, total: 1, unit: "models" });
  const opened = await HookedModel.fromPretrained(
    isOrganism(model) ? organismFolder(model) : model,
    {
      file,
      threads,
      onProgress,
    },
  );
  onProgress?.({ stage: "opening the model", done: 1, total: 1, unit: "models" });
  return opened;
}

/** What a report says of a model. */
export function describeForReport(
  model: HookedModel,
  settings: { readonly model: string },
): ReportModel {
  const { modelName, nLayers, dModel, nHeads, dMlp, dVocab }: ModelConfig = model.cfg;
  // A path of the user's machine is of no use to the report's readers; a hub id is.
  const isId = /^[\w.-]+\/[\w.-]+$/.test(settings.model) || isOrganism(settings.model);
  return {
    name: modelName,
    source: isId ? settings.model : modelName,
    sha256: model.sha256,
    nLayers,
    dModel,
    ...(nHeads === undefined ? {} : { nHeads }),
    ...(dMlp === undefined ? {} : { dMlp }),
    dVocab: dVocab ?? 1,
  };
}
