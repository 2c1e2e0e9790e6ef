import { fileURLToPath } from "node:url";

/** The names of the models that ship with Penfield. */
export const organisms = ["organism-a", "organism-b"] as const;

export type OrganismName = (typeof organisms)[number];

/** The one that commands use when no model is named. */
export const defaultOrganism: OrganismName = "organism-a";

/**
 * The folder of a model that ships with Penfield, laid out like a hub repository.
 *
 * @example
 * organismFolder("organism-a").endsWith("organism-a") // => true
 */
export function organismFolder(name: OrganismName): string {
  return fileURLToPath(new URL(`../models/${name}`, import.meta.url));
}

/** Whether a name is that of a model that ships with Penfield. */
export function isOrganism(name: string): name is OrganismName {
  return (organisms as readonly string[]).includes(name);
}

/** The spiking networks that ship with Penfield: two seeds of one recipe, each a folder with `network.nir`. */
export const spikingOrganisms = ["spiking-a", "spiking-b"] as const;

export type SpikingOrganismName = (typeof spikingOrganisms)[number];

/**
 * The folder of a spiking network that ships with Penfield: `network.nir`, and `config.json` with the time step and
 * the conventions that it was trained with.
 *
 * @example
 * spikingOrganismFolder("spiking-b").endsWith("spiking-b") // => true
 */
export function spikingOrganismFolder(name: SpikingOrganismName): string {
  return fileURLToPath(new URL(`../models/${name}`, import.meta.url));
}

/** Whether a name is that of a spiking network that ships with Penfield. */
export function isSpikingOrganism(name: string): name is SpikingOrganismName {
  return (spikingOrganisms as readonly string[]).includes(name);
}
