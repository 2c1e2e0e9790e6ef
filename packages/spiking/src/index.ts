export { encodeCaptureNpy, encodeNirData, writeNirData } from "./exportData.ts";
export type { SpikingIntervention, SpikingOp } from "./interventions.ts";
export {
  type OpenSpikingOptions,
  type SpikingCapture,
  type SpikingHookKind,
  type SpikingHookPoint,
  type SpikingInputs,
  SpikingModel,
  type SpikingRunRequest,
  type SpikingStream,
} from "./model.ts";
export { type Network, type NetworkNode, planNetwork } from "./network.ts";
export type { GraphNode, NirArray, NirGraph, NirNode } from "./nir/nodes.ts";
export { readNir } from "./nir/readNir.ts";
export {
  type OpenStepOptions,
  StepModel,
  type StepRequest,
  type StepResult,
  type StepState,
} from "./onnx/stepModel.ts";
export { openSpiking, type SpikingConfig } from "./openSpiking.ts";
export { meanOverTime } from "./rates.ts";
export type { CapturePlace, SpikeEvents, SpikingValues } from "./simulate/capture.ts";
export {
  type PresetName,
  presets,
  resolveOptions,
  type SimulationOptions,
} from "./simulate/options.ts";
export type { SpikingInput, SpikingResult } from "./simulate/session.ts";
export {
  membraneTraces,
  type RateMap,
  rateMap,
  type SpikeRaster,
  spikeRaster,
  type Traces,
} from "./timecourses.ts";
