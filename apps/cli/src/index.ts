export { runCommandLine } from "./commandLine.ts";
export type { Surroundings } from "./surroundings.ts";
