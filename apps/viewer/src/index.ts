export { createViewer, type ViewerOptions } from "./app.ts";
export type { LiveActivations, LiveLesion, LiveModel } from "./censuses/live.ts";
export { type ExportOptions, exportPage, exportSite } from "./exportSite.ts";
export { type RunningViewer, startViewer } from "./server.ts";
