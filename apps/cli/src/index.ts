export { runCommandLine } from "./commandLine.ts";
export type { Surroundings } from "./commands.ts";
