export { corporaFolder } from "./corpora.ts";
export {
  defaultSettings,
  type Probe,
  type ProbeContext,
  type ProbeResult,
  type ProbeSettings,
} from "./probe.ts";
export { probes } from "./probes.ts";
export {
  isSpikingName,
  type OpenedSpiking,
  type OpenSpikingSettings,
  openSpikingModel,
  organismTrials,
} from "./spikingModel.ts";
export { clearStore, folderStore, noStore, type WorkStore } from "./workStore.ts";
