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
