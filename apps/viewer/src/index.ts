export { createViewer } from "./app.ts";
export { type RunningViewer, startViewer } from "./server.ts";
