import { languageNetwork } from "../language-network/probe.ts";
import { plantedCircuit } from "../planted-circuit/probe.ts";
import { spikingLesions } from "../spiking-lesions/probe.ts";
import { stochasticSpiking } from "../stochastic-spiking/probe.ts";
import type { Probe } from "./probe.ts";

/** Every experiment that `penfield run` knows. */
export const probes: readonly Probe[] = [
  languageNetwork,
  plantedCircuit,
  spikingLesions,
  stochasticSpiking,
];
